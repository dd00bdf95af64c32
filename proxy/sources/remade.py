"""Pages that are made of others, each made once."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from cachetools import LRUCache

from proxy.model import ProjectPage
from proxy.sources.decision import MergeRule
from proxy.sources.weight import page_bytes


class Remade:
    """Remembers what was made of what, bounded by bytes: the same page while the others, and the rule that joins them, are."""

    def __init__(self, max_bytes: int) -> None:
        self._made: LRUCache[str, _Made] = LRUCache(max_bytes, getsizeof=_bytes)

    def page(
        self, key: str, rule: MergeRule | None, inputs: tuple[ProjectPage, ...], make: Callable[[], ProjectPage]
    ) -> ProjectPage:
        """What stands under ``key``, if it was made of these very pages by this rule; else what ``make`` gives now."""
        made = self._made.get(key)
        if made is None or not made.is_of(rule, inputs):
            self._made.pop(key, None)
            made = _Made(rule, inputs, make())
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
        same = self.rule is rule and len(self.inputs) == len(inputs)
        return same and all(one is other for one, other in zip(self.inputs, inputs, strict=True))


def _bytes(made: _Made) -> int:
    return sum(map(page_bytes, (*made.inputs, made.page)))
