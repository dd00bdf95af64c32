"""Outage windows: the time since a source was last heard, in which anybody may have put anything elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from itertools import takewhile

import msgspec

from wheelgate.core.errors import ProjectNotFound, WheelgateError
from wheelgate.core.model import ProjectPage, Withheld
from wheelgate.index.decision import Answer, Outcome
from wheelgate.index.rules import withhold

OUTAGE_RULE = "outage"
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
"""For a time that a source does not say: then nothing was known before."""


class OutageWindow(msgspec.Struct, frozen=True):
    """The outages of all sources that come before the owner, taken together."""

    error: WheelgateError
    """The failure of a request that nothing known before the outage can answer."""
    outage_since: datetime
    """The moment the first of them became unreachable."""
    last_heard: datetime
    """The earliest moment at which one of them was last heard."""
    is_vouched_for: bool = False
    """Each of them said then that the name is a public one that somebody has."""

    def is_predated_by(self, page: ProjectPage) -> bool:
        """Tell whether we knew this page before the outage."""
        return self.is_vouched_for or (page.known_since is not None and page.known_since < self.outage_since)


def find_outage_window(answers: Iterable[Answer], owner: str | None) -> OutageWindow | None:
    """Find the outage window of an owner's page; ``None``: every source before the owner was heard.

    ``answers`` are in the order of trust.
    """
    # An owner without a page here is the private view of a source that answers as a public one: others may come between.
    before = takewhile(lambda answer: answer.source != owner or answer.page is None, answers)
    silent = [answer for answer in before if answer.outcome is Outcome.ABSENT_BEFORE_OUTAGE]
    errors = [answer.error for answer in silent if isinstance(answer.error, ProjectNotFound)]
    if not silent or silent[0].failure is None:
        return None
    return OutageWindow(
        silent[0].failure,
        min(error.outage_since or _LONG_AGO for error in errors),
        min(error.last_heard or _LONG_AGO for error in errors),
        all(answer.judgement is not None and answer.judgement.is_vouched_for for answer in silent),
    )


def withhold_uncertain(page: ProjectPage, outage: OutageWindow, public: Collection[str]) -> ProjectPage:
    """Withhold the files of ``public`` sources that may have been uploaded since. The same object if there is none."""
    files = tuple(page.files)
    reason = f"it may have been uploaded since: {outage.error}"
    withheld = [
        Withheld(file.filename, file.source, OUTAGE_RULE, reason)
        for file in files
        if file.source in public and (file.upload_time is None or file.upload_time >= outage.last_heard)
    ]
    return withhold(page, files, withheld)
