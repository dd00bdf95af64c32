"""Several sources' pages of one project as one: what a merge rule lets in, who keeps a file name, and when nothing is left."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from wheelgate.core.errors import ProjectWithheld
from wheelgate.core.file_list import FileList
from wheelgate.core.model import File, Freshness, ProjectPage, Withheld


def merge_pages(pages: Sequence[ProjectPage]) -> ProjectPage:
    """One page of several: the earlier one keeps a file name, the later one's file is withheld if its bytes may differ.

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
            if kept is not file and _differ(kept, file):
                reason = f"{file.source} has other bytes under this name than {kept.source}, which comes first"
                withheld.append(Withheld(file.filename, file.source, "merge", reason))
        withheld += page.withheld
        for entry in page.withheld:
            taken.setdefault(entry.filename, entry)
    versions = dict.fromkeys(version for page in pages for version in page.versions)
    return ProjectPage(
        project=pages[0].project,
        files=FileList(files.values(), [page.files for page in pages]),
        versions=tuple(versions),
        status=pages[0].status,
        withheld=tuple(withheld),
        as_of=min(page.as_of for page in pages),
        known_since=_latest(page.known_since for page in pages),
        stale=any(page.stale for page in pages),
        dropped=sum(page.dropped for page in pages),
        freshness=Freshness.earliest(page.freshness for page in pages),
    )


def wholly_withheld(page: ProjectPage) -> ProjectWithheld:
    """The error for a page of which every file is withheld."""
    reasons = {entry.filename: f"{entry.filename} is withheld: {entry.reason}" for entry in page.withheld}
    first = page.withheld[0]
    if all(entry.reason == first.reason for entry in page.withheld):
        message = f"every file of {page.project} is withheld: {first.reason}"
    else:
        message = f"every file of {page.project} is withheld, each for its reason, such as {reasons[first.filename]}"
    return ProjectWithheld(message, reasons)


def _latest(moments: Iterable[datetime | None]) -> datetime | None:
    """Since when all of them: ``None`` if that is not known of one."""
    latest = None
    for moment in moments:
        if moment is None:
            return None
        latest = moment if latest is None else max(latest, moment)
    return latest


def _differ(one: File, other: File) -> bool:
    """Whether two files of one name may have different bytes. Without a digest in common, they may."""
    common = one.hashes.keys() & other.hashes.keys()
    return not common or any(one.hashes[algorithm] != other.hashes[algorithm] for algorithm in common)
