"""Views of each source: what of it is asked as a private source, and what, if it passes public packages through, as a public one.

=======================================  ==================================================================================
a private source                         its views
=======================================  ==================================================================================
with ``upstream = "public"``             a private one of the names that the operator says are its own, a public one of the rest
whose service tells whose a project is   the same, by what the service says
with ``only``, ``upstream = "none"``     a private one of all that it is asked for
of uploads                               the same: each of its names was given to it on purpose
a folder or container, nothing said      the same two, by its manifest, of projects that this tells of; of others as any other
any other                                the same, until it lists well-known public names
=======================================  ==================================================================================
"""

from __future__ import annotations

from wheelgate.config import SourceSettings
from wheelgate.core.patterns import NamePatterns
from wheelgate.core.protocols import OwnershipJudge, Source
from wheelgate.feeds.judge import FeedJudge
from wheelgate.index.decision import Member
from wheelgate.index.mirrored import MirrorJudge, OwnFiles, ToldSource, UntoldSource
from wheelgate.index.ownership import GuardedSource, HeldSource, StatedJudge
from wheelgate.index.read_ahead import ReadAhead
from wheelgate.index.screened import RuleBook, Screened
from wheelgate.sources.cached import Cached
from wheelgate.sources.mirror_facts import ReadFacts
from wheelgate.sources.public_names import PublicNames
from wheelgate.storage.claims import Claims
from wheelgate.wiring.foundation import Foundation

_REMOTE_REMEDY = (
    'set its upstream = "public" if it passes public packages through, and list its own names in `only`; or upstream = "none" if '
    "all of its names are yours"
)
_OTHER_REMEDY = (
    "set its private = false if its names are public, private = true if all of them are yours, or list those in `only`"
)


class Views:
    """Builds what the index asks of a source."""

    def __init__(self, base: Foundation, book: RuleBook, claims: Claims) -> None:
        self._base = base
        self._book = book
        self._claims = claims
        self.judges: dict[str, OwnershipJudge] = {}
        """By source, of those that pass public packages through. One whose service tells whose a project is has to be
        there before the views of its source are built; what the operator states goes before it."""
        self.mirrors: dict[str, ReadFacts] = {}
        """By source, of the folders and containers, what reads their manifest; there before the views are built."""
        self.watches: dict[str, PublicNames] = {}
        """Of private sources of which nobody said what they pass through."""

    def build_member(self, source: Source, settings: SourceSettings, watched: Source) -> Member:
        """Build the views of a source. ``watched``: the same source, to be asked for public names without learning from them."""
        private = settings.is_private
        only = None if settings.own_names is None else NamePatterns(settings.own_names)
        read_facts = self.mirrors.get(settings.name) if settings.may_be_mirror else None
        judge = self._find_judge(settings, read_facts) if private else None
        public = None
        if judge is not None:
            public = Member(self._screen(source, private=False), False, only)
        if read_facts is not None:
            guarded = self._guard(source, settings, UntoldSource(watched, read_facts=read_facts), watched)
            told = ToldSource(source, guarded=guarded, read_facts=read_facts)
            source = OwnFiles(told, read_facts=read_facts, book=self._book, clock=self._base.clock, metrics=self._base.metrics)
        elif judge is None and private and _is_unsaid(settings):
            source = self._guard(source, settings, watched, watched)
        return Member(self._screen(source, private=private), private, only, judge, public)

    def build_read_ahead(self, settings: SourceSettings, feed: FeedJudge | None) -> ReadAhead:
        """Build the choice of what is read of a remote source's files before anybody asks. ``feed``: tells what it has saved."""
        own_by_word = settings.upstream == "none"

        async def find_saved(project: str) -> frozenset[str] | None:
            saved: frozenset[str] | None = frozenset() if feed is None else await feed.find_saved(project)
            return None if own_by_word and not saved else saved

        is_unsaid = settings.is_private and settings.type != "devops" and _is_unsaid(settings)
        return ReadAhead(
            settings.name,
            private=settings.is_private,
            book=self._book,
            clock=self._base.clock,
            find_judge=lambda: self.judges.get(settings.name),
            claims=self._claims if is_unsaid else None,
            find_saved=find_saved if settings.type == "devops" else None,
        )

    def _guard(self, source: Source, settings: SourceSettings, watched: Source, kept: Source) -> GuardedSource | HeldSource:
        """Have a private source fail for what is unclaimed as soon as it lists public names. ``kept``: remembers its answers."""
        base = self._base
        remedy = _REMOTE_REMEDY if settings.type in ("index", "devops") else _OTHER_REMEDY
        if base.config.is_offline(settings):
            return HeldSource(source, remedy=remedy, book=self._book, claims=self._claims)
        drop = kept.drop if isinstance(kept, Cached) else None
        names = base.closing(PublicNames(watched, remedy=remedy, clock=base.clock, metrics=base.metrics, drop=drop))
        self.watches[settings.name] = names
        return GuardedSource(source, names=names, book=self._book, claims=self._claims)

    def _screen(self, source: Source, *, private: bool) -> Source:
        return Screened(source, private=private, book=self._book, clock=self._base.clock, metrics=self._base.metrics)

    def _find_judge(self, settings: SourceSettings, read_facts: ReadFacts | None) -> OwnershipJudge | None:
        if read_facts is not None:
            return MirrorJudge(settings.name, read_facts=read_facts, claims=self._claims, clock=self._base.clock)
        if settings.passes_through:
            own = None if settings.only is None else NamePatterns(settings.only)
            self.judges[settings.name] = StatedJudge(settings.name, only=own, book=self._book, claims=self._claims)
        elif settings.upstream is not None or settings.only is not None:
            self.judges.pop(settings.name, None)  # all that it is asked for is its own, whatever its service says
        return self.judges.get(settings.name)


def _is_unsaid(settings: SourceSettings) -> bool:
    """Tell whether nobody said what a private source holds beside its own."""
    if settings.only is not None or settings.upstream is not None or settings.type == "store" or settings.writable:
        return False
    return settings.type in ("index", "devops") or settings.private is None  # the others are private without a word
