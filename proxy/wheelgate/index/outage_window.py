"""What the silence of a source puts in doubt: whatever may have been put elsewhere since it was last heard."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

import msgspec

from wheelgate.core.errors import ProjectNotFound
from wheelgate.core.file_list import FileList
from wheelgate.core.model import ProjectPage, Withheld
from wheelgate.index.decision import ABSENT_BEFORE, Answer


class OutageWindow(msgspec.Struct, frozen=True):
    """What the silence of sources that come before the owner puts in doubt."""

    source: str
    sentence: str
    outage_since: datetime
    """The first of them fell silent."""
    last_heard: datetime
    """The longest unheard of them was heard."""


def find_outage_window(heard: Sequence[Answer], owner: Answer) -> OutageWindow | None:
    """The outages of sources that would come before the owner, taken together."""
    doubts = []
    for answer in heard:
        if answer is owner:
            break
        if answer.outcome == ABSENT_BEFORE and isinstance(answer.error, ProjectNotFound):
            doubts.append((answer.source, answer.error))
    if not doubts:
        return None
    source, error = doubts[0]
    return OutageWindow(
        source=source,
        sentence=str(error),
        outage_since=min(_moment(error.outage_since) for _, error in doubts),
        last_heard=min(_moment(error.last_heard) for _, error in doubts),
    )


def withhold_uncertain(page: ProjectPage, doubt: OutageWindow, public: Collection[str]) -> ProjectPage:
    """The page less the public files that may have been uploaded since. The same object if there is none."""
    files = tuple(page.files)
    doubtful = {
        file.filename: file
        for file in files
        if file.source in public and (file.upload_time is None or file.upload_time >= doubt.last_heard)
    }
    if not doubtful:
        return page
    reason = f"it may have been uploaded since: {doubt.sentence}"
    withheld = [Withheld(file.filename, file.source, "outage", reason) for file in doubtful.values()]
    certain = FileList((file for file in files if file.filename not in doubtful), [page.files])
    return page.with_files(certain, (*page.withheld, *withheld))


def _moment(moment: datetime | None) -> datetime:
    if moment is None:
        raise AssertionError("an outage without its times")
    return moment
