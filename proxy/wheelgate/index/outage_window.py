"""Outage windows: the time since a source was last heard, in which anybody may have put anything elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

import msgspec

from wheelgate.core.errors import ProjectNotFound, UpstreamUnavailable
from wheelgate.core.model import ProjectPage, Withheld
from wheelgate.index.decision import Answer, Outcome
from wheelgate.index.rules import withhold

OUTAGE_RULE = "outage"


class OutageWindow(msgspec.Struct, frozen=True):
    """The outages of all sources that come before the owner, taken together."""

    source: str
    sentence: str
    outage_since: datetime
    """The moment the first of them became unreachable."""
    last_heard: datetime
    """The earliest moment at which one of them was last heard."""

    @property
    def error(self) -> UpstreamUnavailable:
        """The failure of a request that nothing known before the outage can answer."""
        return UpstreamUnavailable(self.sentence, source=self.source)

    def is_predated_by(self, page: ProjectPage) -> bool:
        """Tell whether we knew this page before the outage."""
        return page.known_since is not None and page.known_since < self.outage_since


def find_outage_window(answers: Iterable[Answer], owner: Answer) -> OutageWindow | None:
    """Find the outage window of an owner's page; ``None``: every source before the owner was heard.

    ``answers`` are in the order of trust.
    """
    before = []
    for answer in answers:
        if answer is owner:
            break
        if answer.outcome is Outcome.ABSENT_BEFORE_OUTAGE and isinstance(answer.error, ProjectNotFound):
            before.append((answer, answer.error))
    if not before:
        return None
    return OutageWindow(
        source=before[0][0].source,
        sentence=before[0][0].detail,
        outage_since=min(_require(error.outage_since) for _, error in before),
        last_heard=min(_require(error.last_heard) for _, error in before),
    )


def withhold_uncertain(page: ProjectPage, outage: OutageWindow, public: Collection[str]) -> ProjectPage:
    """Withhold the files of ``public`` sources that may have been uploaded since. The same object if there is none."""
    files = tuple(page.files)
    reason = f"it may have been uploaded since: {outage.sentence}"
    withheld = [
        Withheld(file.filename, file.source, OUTAGE_RULE, reason)
        for file in files
        if file.source in public and (file.upload_time is None or file.upload_time >= outage.last_heard)
    ]
    return withhold(page, files, withheld)


def _require(moment: datetime | None) -> datetime:
    if moment is None:
        raise AssertionError("an outage without its times")
    return moment
