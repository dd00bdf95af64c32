"""Claimed names that no private source lists: said in the log once, and counted, for whoever releases them or mends a source."""

from __future__ import annotations

import logging
from collections.abc import Collection

from cachetools import LRUCache

from wheelgate.core.errors import ProjectWithheld, StoreError, WheelgateError
from wheelgate.index.decision import Decision
from wheelgate.runtime.logs import RepeatedWarning
from wheelgate.runtime.metrics import Metrics
from wheelgate.storage.claims import Claims

_MOST = 10_000
_log = logging.getLogger(__name__)


class UnlistedClaims:
    """The names that were last decided so. Installers get an empty page for each, and nobody else would say why."""

    def __init__(self, metrics: Metrics, most: int = _MOST) -> None:
        """``most``: names that are remembered; of more, those that were asked for last."""
        self._names: LRUCache[str, None] = LRUCache(most)
        self._warning = RepeatedWarning(_log, "a claimed name is listed by no private source any more, so its page is empty")
        metrics.unlisted_claims.set_function(lambda: len(self._names))

    def note(self, decision: Decision) -> None:
        """Learn from a decision. One that failed says nothing: who was not heard may list the name."""
        project = decision.project
        if decision.error is not None:
            return
        if decision.owner is not None or not decision.claimed:
            self._names.pop(project, None)
        else:
            if project not in self._names:
                self._warning.give(f"{project}; `wheelgate claims --empty` lists all such names; {advise_release(project)}")
            self._names[project] = None


def advise_release(project: str) -> str:
    """Say how public sources come to answer for a claimed name that nobody lists."""
    return f"if public sources should answer: wheelgate release {project} --reason ..."


async def find_foreign_claim(claims: Claims, project: str, passing: Collection[str]) -> WheelgateError | None:
    """Find out if a claimed name was claimed by a source that passes it through from outside now; the refusal then.

    An empty page would not say why. It is refused all the same: whoever has the name in public may have taken it after the last
    file of the source's own was gone. ``passing``: sources that have nothing of their own of the project.
    """
    try:
        claimant = await claims.claimed_by(project)
    except StoreError as error:
        return error
    if claimant not in passing:
        return None
    reason = (
        f"{project} was claimed by source {claimant}, which has nothing of its own of it now and passes it through from outside: "
        f"if it is public, end the claim (wheelgate release --foreign, or wheelgate release {project})"
    )
    return ProjectWithheld(reason, {})
