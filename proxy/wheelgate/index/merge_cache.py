"""Pages that are made of others, each made once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
from cachetools import LRUCache

from wheelgate.core.memory_cost import page_bytes
from wheelgate.core.model import ProjectPage
from wheelgate.index.decision import MergeRule

_INLINE_FILES = 2_000
"""Looking through more, packed as they may be, would hold everybody else up."""


class MergeCache:
    """Remembers what was made of what, bounded by bytes: the same page while the others, and the rule that joins them, are."""

    def __init__(self, max_bytes: int) -> None:
        self._made: LRUCache[str, _Made] = LRUCache(max_bytes, getsizeof=_bytes)

    async def page(
        self, key: str, rule: MergeRule | None, inputs: tuple[ProjectPage, ...], make: Callable[[], ProjectPage]
    ) -> ProjectPage:
        """What stands under ``key``, if it was made of these very pages by this rule; else what ``make`` gives now.

        ``make`` runs in a thread where there is much to look through.
        """
        made = self._made.get(key)
        if made is None or not made.is_of(rule, inputs):
            self._made.pop(key, None)
            much = sum(len(page.files) for page in inputs) > _INLINE_FILES
            made = _Made(rule, inputs, await asyncio.to_thread(make) if much else make())
            self._made.pop(key, None)  # somebody else's, of the meantime
            if _bytes(made) <= self._made.maxsize:
                self._made[key] = made
        return made.page

    def clear(self) -> None:
        """Forget all of them."""
        self._made.clear()


class _Made(msgspec.Struct, frozen=True):
    """What a page was made of, and the page."""

    rule: MergeRule | None
    inputs: tuple[ProjectPage, ...]
    page: ProjectPage

    def is_of(self, rule: MergeRule | None, inputs: tuple[ProjectPage, ...]) -> bool:
        return self.rule is rule and [*map(_identity, self.inputs)] == [*map(_identity, inputs)]


def _identity(page: ProjectPage) -> tuple[object, ...]:
    """Content and state: equal for pages from which the same would be made."""
    return page.revision, page.as_of, page.known_since, page.stale, page.freshness


def _bytes(made: _Made) -> int:
    return sum(map(page_bytes, (*made.inputs, made.page)))
