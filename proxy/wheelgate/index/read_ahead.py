"""Reading ahead: which files of a page may be read before anybody asks for them.

None that a rule withholds, since nobody will ask; and none that its source would keep for good because it was read. A feed saves
whatever is downloaded from it, and from then on offers it to all who use it: young versions and versions of strangers too, which
are withheld here for that very reason.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from wheelgate.core.errors import StoreError
from wheelgate.core.model import Ownership, ProjectPage
from wheelgate.core.names import same_version_key, version_of
from wheelgate.core.protocols import Clock, OwnershipJudge
from wheelgate.index.screened import RuleBook
from wheelgate.storage.claims import Claims

FindSaved = Callable[[str], Awaitable[frozenset[str] | None]]
"""Finds the versions of a project that its source has already, by their keys; ``None``: reading saves nothing there."""


class ReadAhead:
    """The choice for the pages of one source."""

    def __init__(
        self,
        source: str,
        *,
        private: bool,
        book: RuleBook,
        clock: Clock,
        find_judge: Callable[[], OwnershipJudge | None],
        claims: Claims | None = None,
        find_saved: FindSaved | None = None,
    ) -> None:
        """The choice, which goes by the rules in force.

        Args:
            source: the operator's name.
            private: whether its own names are private.
            book: the rules.
            clock: the age of files.
            find_judge: finds who tells whose its projects are; ``None``: nobody needs to.
            claims: of a source of which nobody said what it passes through: what is not claimed may come from anywhere.
            find_saved: of a source that keeps what is read.
        """
        self._source = source
        self._private = private
        self._book = book
        self._clock = clock
        self._find_judge = find_judge
        self._claims = claims
        self._find_saved = find_saved

    async def choose(self, page: ProjectPage) -> frozenset[str]:
        """Choose by the names of the files. ``page``: as the source lists it. Raises nothing."""
        chosen = await self._find_versions(page.project)
        if chosen is not None and not chosen:
            return frozenset()
        screened = self._book.rules.screen(page, self._source, self._private, self._clock.now())
        # How old a file is that has no time of its own, reading may tell: else nothing would ever end its cool-down.
        untimed = {file.filename for file in page.files if file.upload_time is None}
        withheld = {entry.filename for entry in screened.withheld if entry.rule != "cooldown" or entry.filename not in untimed}
        return frozenset(
            file.filename
            for file in page.files
            if file.filename not in withheld
            and (chosen is None or ((version := version_of(file.filename, page.project)) and same_version_key(version) in chosen))
        )

    async def _find_versions(self, project: str) -> frozenset[str] | None:
        """Find the keys of the versions that may be read; ``None``: all."""
        own: frozenset[str] | None = None
        if self._private and (judge := self._find_judge()) is not None:
            judgement = await judge.judge(project)
            if judgement.ownership is not Ownership.OWN or judgement.is_presumed:
                return frozenset()
            own = judgement.own_versions
        if self._claims is not None and project not in self._book.reserved:
            try:
                if not await self._claims.holds(project):
                    return frozenset()
            except StoreError:
                return frozenset()
        saved = None if self._find_saved is None else await self._find_saved(project)
        return saved if own is None else own if saved is None else own & saved
