"""A cache of pages made of others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from cachetools import LRUCache

from wheelgate.core.memory_cost import page_bytes
from wheelgate.core.model import ProjectPage
from wheelgate.index.decision import MergeRule
from wheelgate.index.merge_pages import with_merged_state

INLINE_FILES = 2_000
"""Going through more, packed as they may be, would block every other request: that takes a thread."""


class MergeCache:
    """An LRU cache of merged pages, bounded by bytes. A page holds while its rule and the content of its parts do."""

    def __init__(self, max_bytes: int) -> None:
        self._pages: LRUCache[str, tuple[object, ProjectPage]] = LRUCache(max_bytes, getsizeof=lambda kept: page_bytes(kept[1]))

    async def page(
        self, key: str, rule: MergeRule | None, parts: Sequence[ProjectPage], make: Callable[[], ProjectPage]
    ) -> ProjectPage:
        """Find the page under ``key``, or ``make`` it if it was made of other parts or by another rule.

        The same object again while content and state are the same. ``make`` runs in a thread where there are many files.
        """
        made_of = (rule, *(page.revision for page in parts))
        known, page = self._pages.get(key, (None, None))
        if page is not None and known == made_of:
            page = with_merged_state(page, parts)
        elif sum(len(page.files) for page in parts) > INLINE_FILES:
            page = await asyncio.to_thread(make)
        else:
            page = make()
        self._pages.pop(key, None)  # also somebody else's, of the meantime
        if page_bytes(page) <= self._pages.maxsize:
            self._pages[key] = made_of, page
        return page

    def clear(self) -> None:
        """Forget all of them."""
        self._pages.clear()
