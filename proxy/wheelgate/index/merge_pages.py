"""Merging the pages of several sources into one: who keeps a file name, and the error when nothing is left."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from wheelgate.core.errors import ProjectWithheld
from wheelgate.core.file_list import FileList
from wheelgate.core.model import File, Freshness, ProjectPage, Withheld


def merge_pages(pages: Sequence[ProjectPage]) -> ProjectPage:
    """Merge several pages: the earlier one keeps a file name, the later one's file is withheld if its bytes may differ.

    A name that an earlier page withholds stays taken: a rule against one source's file must not bring in another's.
    """
    files: dict[str, File] = {}
    withheld: list[Withheld] = []
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
        withheld += page.withheld
        for entry in page.withheld:
            taken.setdefault(entry.filename, entry)
    versions = dict.fromkeys(version for page in pages for version in page.versions)
    content = ProjectPage(
        project=pages[0].project,
        files=FileList(files.values(), [page.files for page in pages]),
        versions=tuple(versions),
        status=pages[0].status,
        withheld=tuple(withheld),
        dropped=sum(page.dropped for page in pages),
        as_of=pages[0].as_of,
    )
    return with_merged_state(content, pages)


def with_merged_state(content: ProjectPage, pages: Sequence[ProjectPage]) -> ProjectPage:
    """Content made of some pages, as old as the oldest of them, as stale and as fresh as the weakest.

    The same object if it is so already, or was made of none.
    """
    if not pages:
        return content
    since = [page.known_since for page in pages if page.known_since is not None]
    weakest = msgspec.structs.replace(
        pages[0],
        as_of=min(page.as_of for page in pages),
        known_since=max(since) if len(since) == len(pages) else None,
        stale=any(page.stale for page in pages),
        freshness=Freshness.earliest(page.freshness for page in pages),
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
