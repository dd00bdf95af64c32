"""Precedence: which source may answer for a name. This is where dependency confusion is prevented.

The attack, step by step. ``acme-secrets`` lives in a private feed. A stranger registers ``acme-secrets`` 99.0 in public. If both
were asked and the answers merged, every build would install the stranger's. If the public index were asked whenever the feed is
unreachable, the stranger would only have to wait for an outage. If it were asked once the last private file has been deleted, for
the next clean-up. So:

1. All private sources that may hold the name are asked at once. The first, in the operator's order, that has it owns it;
   nobody else is asked. If one that comes before it cannot be reached, the request fails.
2. Only when every private source has said "not there", and the name is neither claimed nor reserved, are the public ones
   asked, at once, by the same rule.
3. A private source that cannot be reached, and said "not there" before, lets a public page through only if we knew that page
   before the outage, and without the files uploaded since the source was last heard.
4. Two sources share a project only where a merge rule says so.
5. A private source that passes public packages through says "not there" of those, as far as its own are concerned. It is asked
   for them after the public sources, as one of these.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from functools import partial

import msgspec

from wheelgate.core.errors import (
    Busy,
    NotHeld,
    ProjectNotFound,
    StoreError,
    WheelgateError,
    advise_mirroring,
)
from wheelgate.core.file_list import RECENT_BYTES
from wheelgate.core.model import ProjectPage
from wheelgate.core.patterns import NamePatterns
from wheelgate.core.protocols import Clock
from wheelgate.index.decision import Answer, Decision, Member, MergeRule, Outcome
from wheelgate.index.listing_wait import LISTING_WAIT_S, find_first, hear_listings
from wheelgate.index.merge_pages import MadePages, merge_pages, wholly_withheld
from wheelgate.index.outage_window import OUTAGE_RULE, find_outage_window, withhold_uncertain
from wheelgate.index.project_list import ProjectList
from wheelgate.index.questions import ask_member, find_passing, note_served
from wheelgate.index.rules import limit_versions
from wheelgate.index.unlisted_claims import UnlistedClaims, advise_release, find_foreign_claim
from wheelgate.runtime.logs import TroubleLog
from wheelgate.runtime.metrics import Metrics
from wheelgate.runtime.signal import Listener, Signal
from wheelgate.storage.claims import Claims

_LONGEST_S = 12.0
"""Time for which any request waits at most, and a "not there" is good for whoever is asked next."""
_BUSY_S = 1.0
_log = logging.getLogger(__name__)


class Merged:
    """Many sources as one :class:`~wheelgate.core.protocols.Pages`, by the rules above."""

    name = "index"

    def __init__(
        self,
        members: Sequence[Member],
        *,
        claims: Claims,
        clock: Clock,
        metrics: Metrics,
        reserved: NamePatterns,
        merges: Sequence[MergeRule] = (),
        offline: bool = False,
        listing_wait_s: float = LISTING_WAIT_S,
        max_bytes: int = RECENT_BYTES,
    ) -> None:
        """An index over some sources.

        Args:
            members: in the operator's order; private ones come first all the same.
            claims: read before a public source is asked, and written when a private one lists a file.
            clock: of the times at which sources were asked.
            metrics: count the files that a merge rule or an outage withholds.
            reserved: names that no public source is asked for.
            merges: the first that names a project applies.
            offline: no remote source is asked for anything.
            listing_wait_s: time that a decision waits for sources that are still being listed.
            max_bytes: kept of pages made of others.
        """
        self._order = tuple(members)
        self._claims = claims
        self._clock = clock
        self._reserved = reserved
        self._merges = tuple(merges)
        self._offline = offline
        self._listing_wait_s = listing_wait_s
        self._made = MadePages(max_bytes, metrics)
        self._invalidated = Signal()
        self._troubles = TroubleLog(_log)
        self._unlisted = UnlistedClaims(metrics)

    @property
    def members(self) -> Sequence[Member]:
        """The sources in the order they are asked: private ones, then public ones."""
        return tuple(sorted(self._order, key=lambda member: not member.private))

    def replace_rules(self, reserved: NamePatterns, merges: Sequence[MergeRule]) -> None:
        """Apply these from the next decision on, and drop what was made by the old ones."""
        self._reserved = reserved
        self._merges = tuple(merges)
        self._made.clear()
        self.invalidate()

    def subscribe(self, listener: Listener) -> None:
        """Call ``listener`` whenever decisions may be out of date before their time."""
        self._invalidated.subscribe(listener)

    def invalidate(self, project: str | None = None) -> None:
        """Announce that something has changed that the decision about a project, or about any (``None``), rests on."""
        self._invalidated.emit(project)

    async def list_projects(self) -> ProjectList:
        """List every name that is claimed or that a private source holds, and those that public sources care to list."""
        members = self._order
        claimed, *held = await asyncio.gather(self._claims.names(), *(member.source.project_names() for member in members))
        return ProjectList([(claimed, None), *zip(held, (member.only for member in members), strict=True)])

    async def project_page(self, project: str) -> ProjectPage:
        """See :class:`~wheelgate.core.protocols.Source`. The same object again while nothing changed."""
        return (await self.decide(project)).require_page()

    async def decide(self, project: str, *, learn: bool = True) -> Decision:
        """Decide by the rules above. Never raises for what a source did: the decision carries it.

        ``learn=False``: for people who only look. A name that a private source lists is not claimed by that.
        """
        decision = await self._decide(project, learn=learn)
        if learn:
            self._unlisted.note(decision)
        return decision

    async def _decide(self, project: str, *, learn: bool) -> Decision:
        """Apply rules 1 and 2. ``known``, here and below: what is known so far, as a decision that has no reason yet."""
        began_s = self._clock.monotonic()
        merge = next((rule for rule in self._merges if project in rule.names), None)
        known = Decision(project, (), "", reserved_by=self._reserved.first_for(project), merge=merge)
        private, public = ([member for member in self._order if member.private is side] for side in (True, False))
        known, claim = await self._ask_private(known, private)
        # Before anything is decided: whoever owns the name, and whether or not there will be a page, it is private.
        listers = (answer.source for answer in known.answers if answer.has_files)
        if (lister := next(listers, None)) is not None:
            known = msgspec.structs.replace(known, claimed=True)
            if learn and (failure := await self._record_claim(project, lister)) is not None:
                return _fail(known, failure)
        if (first := find_first(known.answers)) is not None:
            return await self._let_answer(known, first, f"the first private source that has it is {first.source}")
        if known.reserved_by is None:
            if claim is False and self._claims.recall(project) is not False:  # somebody claimed it while they were asked
                claim = await self._find_claim(project)
            if isinstance(claim, StoreError):
                return _fail(known, claim)
            known = msgspec.structs.replace(known, claimed=claim)
        try:
            known = await self._ask_public(known, private, public, began_s)
        except Busy as error:
            return _fail(known, error)
        if (first := find_first(known.answers)) is not None:
            reason = f"no private source has it, and the first public one that does is {first.source}"
            if first.page is not None:
                note_served(known, private)
            return await self._let_answer(known, first, reason)
        return await self._let_nobody_answer(known)

    def _end_if_late(self, known: Decision, began_s: float) -> None:
        """Raise :class:`Busy` where so long was asked, as after a standstill, that what the private ones said may be over."""
        relies = any(answer.private and answer.outcome is not Outcome.NOT_ASKED for answer in known.answers)
        if relies and self._clock.monotonic() - began_s > _LONGEST_S:
            late = f"it took more than {_LONGEST_S:.0f} s to ask whose {known.project} is: try again"
            raise Busy(late, source=self.name, retry_after_s=_BUSY_S)

    async def _ask_public(self, known: Decision, private: Sequence[Member], public: Sequence[Member], began_s: float) -> Decision:
        """Ask the public sources that may be asked, and by rule 5 the private ones that pass the project through.

        Raises:
            Busy: that took too long since ``began_s``.
        """
        self._end_if_late(known, began_s)
        shared = known.merge.sources if known.merge else ()
        askable, passing = (
            [member for member in members if member.source.name in shared or not known.claimed]
            for members in (public, find_passing(known.answers, private))
        )
        if known.reserved_by is not None:
            return _spare(known, public, "reserved names are never asked of a public source")
        if known.claimed and not askable and not passing:
            return _spare(known, public, "a claimed name is never asked of a public source")
        known = await self._ask(known, askable)
        if find_first(known.answers) is None:  # else a public source has it sooner, and with all that belongs to it
            known = await self._ask(known, passing)
        self._end_if_late(known, began_s)
        return known

    async def _let_nobody_answer(self, known: Decision) -> Decision:
        """Rule 2: no source that may answer has the name. That is certain only if each of them was heard just now."""
        project, pattern = known.project, known.reserved_by
        silence = next((answer.failure for answer in known.answers if answer.failure is not None), None)
        if pattern is not None:
            error = silence or ProjectNotFound(f"no private source has {project}, and {pattern} is reserved for them")
            return _fail(known, error, f"the name is reserved by {pattern}, and no private source has it")
        if silence is not None:
            return _fail(known, silence)
        passing = {member.source.name for member in find_passing(known.answers, self._order)}
        if known.claimed and passing and (refusal := await find_foreign_claim(self._claims, project, passing)) is not None:
            return _fail(known, refusal)
        if known.claimed:  # an empty page, no absence: a client with further indexes of its own must stop here too
            reason = f"the name was claimed by a private source, and none lists a file of it now; {advise_release(project)}"
            empty = ProjectPage(project=project, files=(), as_of=self._clock.now())
            page = await self._made.page(project, None, (), self._clock.now(), lambda: empty)
            return msgspec.structs.replace(known, reason=reason, page=page)
        reason = "every source was asked, and none has it"
        if self._offline:  # nobody could be asked, and that says nothing about what there is elsewhere
            held = f"this server is offline and holds nothing of {project}: {advise_mirroring(project)}"
            return _fail(known, NotHeld(held), reason)
        return _fail(known, ProjectNotFound(f"no source has a project {project}"), reason)

    async def _let_answer(self, known: Decision, first: Answer, reason: str) -> Decision:
        """Let the first source answer, alone or by rule 4 with others; if it failed, the request does."""
        if first.failure is not None:
            return _fail(known, first.failure)
        known, rule = msgspec.structs.replace(known, owner=first.source), known.merge
        if rule is None or first.source not in rule.sources:
            known = _spare(known, (member for member in self._order if not member.private), f"{first.source} owns the name")
            return await self._serve(known, (first,), None, reason)
        if known.reserved_by is None:  # a public source is never asked for a reserved name
            passing = {member.source.name: member for member in find_passing(known.answers, self._order)}
            members = {member.source.name: member for member in self._order} | passing
            known = await self._ask(known, (members[name] for name in rule.sources if name in members))
        answers = {answer.source: answer for answer in known.answers}
        shared = [answers[name] for name in rule.sources if name in answers]
        for answer in shared:
            # Were it left out, its files would silently be missing, or another's take their place.
            if answer.failure is not None:
                return _fail(known, answer.failure, reason)
        parts = [answer for answer in shared if answer.page is not None]
        reason += f", and a merge rule joins {', '.join(part.source for part in parts)}"
        return await self._serve(known, parts, rule, reason)

    async def _serve(self, known: Decision, parts: Sequence[Answer], rule: MergeRule | None, reason: str) -> Decision:
        """Decide for the page made of these parts, which is refused if everything on it is withheld.

        Rule 3: in an outage of a source before the owner, only if we knew every part before, and less what may be newer.
        """
        pages = [part.page for part in parts if part.page is not None]
        outage = find_outage_window(known.answers, known.owner)
        if outage is not None and not all(map(outage.is_predated_by, pages)):
            return _fail(known, outage.error, reason)
        page = pages[0]
        if rule is not None and (len(pages) > 1 or rule.public_versions is not None):
            page = await self._made.page(known.project, rule, pages, self._clock.now(), lambda: self._merge(rule, parts))
        if outage is not None:
            public = {part.source for part in parts if not part.private}
            make = partial(withhold_uncertain, page, outage, public)
            key = f"{known.project} outage {outage.last_heard.timestamp()}"
            page = await self._made.page(key, None, [page], self._clock.now(), make)
        if page.files or not page.withheld:
            return msgspec.structs.replace(known, reason=reason, page=page)
        if outage is not None and any(entry.rule == OUTAGE_RULE for entry in page.withheld):
            return _fail(known, outage.error, reason)
        error = wholly_withheld(page)
        return msgspec.structs.replace(known, reason=f"{reason}, but {error}", page=page, error=error)

    async def _ask(self, known: Decision, members: Iterable[Member]) -> Decision:
        """Ask those of them that have not answered yet, all at once."""
        unasked = _find_unasked(known, members)
        questions = (self._ask_source(member, known.project) for member in unasked)
        # For one alone, as nearly always, a task of its own would only cost time.
        answers = [await question for question in questions] if len(unasked) < 2 else await asyncio.gather(*questions)
        known = msgspec.structs.replace(known, answers=(*known.answers, *answers))
        return await hear_listings(known, unasked, self._ask_source, self._listing_wait_s)

    async def _ask_private(self, known: Decision, members: Sequence[Member]) -> tuple[Decision, bool | StoreError]:
        """Ask the private sources, and meanwhile look up if the name is claimed."""
        claim = self._claims.recall(known.project)
        if claim is not None:
            return await self._ask(known, members), claim
        return await asyncio.gather(self._ask(known, members), self._find_claim(known.project))

    async def _find_claim(self, project: str) -> bool | StoreError:
        try:
            return await self._claims.holds(project)
        except StoreError as error:
            return error

    async def _ask_source(self, member: Member, project: str) -> Answer:
        return await ask_member(member, project, clock=self._clock, made=self._made)

    async def _record_claim(self, project: str, source: str) -> StoreError | None:
        """Make the name private for ever, from the first file on; return the failure to.

        A page must not be handed out as private while nothing but this process remembers that it is: after a restart, and a
        "not there" of the source, a public index would be asked for a name that builds rely on.
        """
        try:
            await self._claims.claim(project, source, listed=True)
        except StoreError as error:
            self._troubles.report(project, f"project {project} cannot be recorded as private: {error}")
            return StoreError(f"source {source} has {project}, which cannot be recorded as private, so it is not served: {error}")
        return None

    def _merge(self, rule: MergeRule, parts: Sequence[Answer]) -> ProjectPage:
        limit = rule.public_versions
        page = merge_pages(
            [
                part.page if part.private or limit is None else limit_versions(part.page, part.source, limit)
                for part in parts
                if part.page is not None
            ]
        )
        for entry in page.withheld:
            if entry.rule == "merge":
                _log.warning("project %s: %s of %s is withheld: %s", page.project, entry.filename, entry.source, entry.reason)
        return page


def _find_unasked(known: Decision, members: Iterable[Member]) -> list[Member]:
    answered = {(answer.source, answer.private) for answer in known.answers}
    return [member for member in members if (member.source.name, member.private) not in answered]


def _spare(known: Decision, members: Iterable[Member], reason: str) -> Decision:
    """Note that those who have not been asked will not be."""
    spared = (Answer(m.source.name, m.private, Outcome.NOT_ASKED, reason) for m in _find_unasked(known, members))
    return msgspec.structs.replace(known, answers=(*known.answers, *spared))


def _fail(known: Decision, error: WheelgateError, reason: str = "") -> Decision:
    """Decide that the request fails; without a ``reason``, the error is the reason."""
    return msgspec.structs.replace(known, reason=reason or str(error), error=error)
