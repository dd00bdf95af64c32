"""Merging the pages of several sources into one: who keeps a file name, and a cache of what was made."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec
from cachetools import LRUCache

from wheelgate.core.errors import ProjectWithheld
from wheelgate.core.file_list import FileList, page_bytes
from wheelgate.core.model import File, Freshness, ProjectPage, Withheld
from wheelgate.runtime.metrics import Metrics

FOREIGN_RULE = "foreign"
"""The word for a file from outside that a source passes through, of a project of which it has versions of its own."""
_INLINE_FILES = 2_000
"""Going through more, packed as they may be, would block every other request: that takes a thread."""


class MadePages:
    """An LRU cache of pages made of others, bounded by bytes.

    A page holds while that by which it was made and the content of its parts do, until the moment at which it changes by itself.
    """

    def __init__(self, max_bytes: int, metrics: Metrics) -> None:
        """``metrics``: count the files that are withheld in the making."""
        self._metrics = metrics
        self._pages: LRUCache[str, tuple[object, ProjectPage | None]] = LRUCache(max_bytes, getsizeof=_weigh)

    async def page(
        self, key: str, by: object, parts: Sequence[ProjectPage], now: datetime, make: Callable[[], ProjectPage]
    ) -> ProjectPage:
        """Find the page under ``key``, or ``make`` it if it was made of other parts or by something else.

        The same object again while content and state are the same. ``make`` runs in a thread where there are many files.
        """
        made_of = (by, *((part.revision, part.freshness.valid_until) for part in parts))
        known_of, known = self._pages.get(key, (None, None))
        until = known.freshness.valid_until if known is not None else None
        if known_of == made_of and (until is None or now < until):
            page = parts[0] if known is None else _with_merged_state(known, parts, until)
        else:
            large = sum(len(part.files) for part in parts) > _INLINE_FILES
            page = await asyncio.to_thread(make) if large else make()
            before = {id(entry) for part in parts for entry in part.withheld}
            withheld = Counter((entry.source, entry.rule) for entry in page.withheld if id(entry) not in before)
            for (source, rule), number in withheld.items():
                self._metrics.withheld_files.labels(source, rule).inc(number)
        kept = made_of, None if any(page is part for part in parts) else page
        self._pages.pop(key, None)  # also somebody else's, of the meantime
        if _weigh(kept) <= self._pages.maxsize:
            self._pages[key] = kept
        return page

    def clear(self) -> None:
        """Forget all of them."""
        self._pages.clear()


def _weigh(kept: tuple[object, ProjectPage | None]) -> int:
    """Estimate the memory of a page; one that is just as its only part is not kept twice."""
    return 500 if kept[1] is None else page_bytes(kept[1])


def merge_pages(pages: Sequence[ProjectPage]) -> ProjectPage:
    """Merge several pages: the earlier one keeps a file name, the later one's file is withheld if its bytes may differ.

    A name that an earlier page withholds stays taken: a rule against one source's file must not bring in another's. What one
    withholds since it comes from outside takes no name, and is left out where another has it.
    """
    files: dict[str, File] = {}
    withheld: list[Withheld] = []
    foreign: list[Withheld] = []
    taken: dict[str, Withheld] = {}
    for page in pages:
        for file in page.files:
            if (entry := taken.get(file.filename)) is not None:
                reason = f"{entry.source} comes first with a file of this name, and that one is withheld: {entry.reason}"
                withheld.append(Withheld(file.filename, file.source, "merge", reason, entry.until))
                continue
            kept = files.setdefault(file.filename, file)
            if kept is not file and _may_differ(kept, file):
                reason = f"{file.source} has other bytes under this name than {kept.source}, which comes first"
                withheld.append(Withheld(file.filename, file.source, "merge", reason))
        foreign += (entry for entry in page.withheld if entry.rule == FOREIGN_RULE)
        ruled = [entry for entry in page.withheld if entry.rule != FOREIGN_RULE]
        withheld += ruled
        for entry in ruled:
            if entry.filename not in files:  # else another of its name is offered, and has it
                taken.setdefault(entry.filename, entry)
    withheld += (entry for entry in foreign if entry.filename not in files and entry.filename not in taken)
    versions = dict.fromkeys(version for page in pages for version in page.versions)
    content = ProjectPage(
        project=pages[0].project,
        files=FileList(files.values(), [page.files for page in pages]),
        versions=tuple(versions),
        status=pages[0].status,
        withheld=tuple(withheld),
        dropped=sum(page.dropped for page in pages),
        unread=sum(page.unread for page in pages),
        as_of=pages[0].as_of,
    )
    return _with_merged_state(content, pages, Freshness.earliest(page.freshness for page in pages).valid_until)


def _with_merged_state(content: ProjectPage, pages: Sequence[ProjectPage], valid_until: datetime | None) -> ProjectPage:
    """Content made of some pages, as old as the oldest of them, as stale and as fresh as the weakest.

    The same object if it is so already, or was made of none.
    """
    if not pages:
        return content
    since = [page.known_since for page in pages if page.known_since is not None]
    earliest = Freshness.earliest(page.freshness for page in pages)
    weakest = msgspec.structs.replace(
        pages[0],
        as_of=min(page.as_of for page in pages),
        known_since=max(since) if len(since) == len(pages) else None,
        stale=any(page.stale for page in pages),
        freshness=msgspec.structs.replace(earliest, valid_until=valid_until),
    )
    return content.with_state_of(weakest)


def wholly_withheld(page: ProjectPage) -> ProjectWithheld:
    """Build the error for a page of which every file is withheld."""
    reasons = {entry.filename: f"{entry.filename} is withheld: {entry.reason}" for entry in page.withheld}
    first = page.withheld[0]
    if all(entry.reason == first.reason for entry in page.withheld):
        message = f"every file of {page.project} is withheld: {first.reason}"
    else:
        message = f"every file of {page.project} is withheld, each for its reason, such as {reasons[first.filename]}"
    return ProjectWithheld(message, reasons)


def _may_differ(one: File, other: File) -> bool:
    """Tell whether two files of one name may have different bytes. Without a digest in common, they may."""
    common = one.hashes.keys() & other.hashes.keys()
    return not common or any(one.hashes[algorithm] != other.hashes[algorithm] for algorithm in common)
