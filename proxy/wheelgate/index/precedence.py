"""Precedence as pure functions: from what is known about a name so far, whom to ask next, or what is decided.

Nothing here asks, writes or waits; :class:`~wheelgate.index.merged.Merged` does that, step by step. The four rules, and the
attack they prevent, stand there.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from wheelgate.core.errors import NotHeld, ProjectNotFound, WheelgateError, advise_mirroring
from wheelgate.core.model import ProjectPage
from wheelgate.index.decision import Answer, Decision, Member, MergeRule, Outcome
from wheelgate.index.merge_pages import wholly_withheld
from wheelgate.index.outage_window import OUTAGE_RULE, OutageWindow, find_outage_window


class Inquiry(msgspec.Struct, frozen=True):
    """A name, the settings that apply to it, and what is known about it so far."""

    project: str
    members: tuple[Member, ...]
    """Every source, in the operator's order."""
    reserved_by: str | None = None
    """The pattern; ``None``: the name is not reserved."""
    merge: MergeRule | None = None
    offline: bool = False
    """No remote source is asked for anything, so what this server lacks may well exist elsewhere."""
    answers: tuple[Answer, ...] = ()
    """In the order of asking: private sources, public ones, and those that only a merge rule brings in."""
    claimed: bool | None = None
    """``None``: not known, as nothing has depended on it yet."""
    unrecorded: bool = False
    """It is claimed, and the claim could not be written."""

    def find_unasked(self, members: Iterable[Member]) -> tuple[Member, ...]:
        """Find those that have not answered yet."""
        answered = {answer.source for answer in self.answers}
        return tuple(member for member in members if member.source.name not in answered)


class AskSources(msgspec.Struct, frozen=True):
    """The next step: ask these, all at once."""

    members: tuple[Member, ...]


class RecordClaim(msgspec.Struct, frozen=True):
    """The next step: claim the name, as this private source lists a file of it."""

    source: str


class LookUpClaim(msgspec.Struct, frozen=True):
    """The next step: look up whether the name is claimed."""


class MakePage(msgspec.Struct, frozen=True):
    """The last step: make the page that has been decided on, and :func:`conclude`."""

    decision: Decision
    parts: tuple[Answer, ...] = ()
    """The answers whose pages it is made of, the first winning a file name. Empty: a claimed name that nobody lists a file of."""
    rule: MergeRule | None = None
    """The rule that joins them."""
    outage: OutageWindow | None = None
    """The time since which public files may be a stranger's."""


Step = AskSources | RecordClaim | LookUpClaim | MakePage | Decision


def next_step(inquiry: Inquiry) -> Step:
    """Apply the rules to what is known so far."""
    private = [member for member in inquiry.members if member.private]
    if unasked := inquiry.find_unasked(private):
        return AskSources(unasked)
    # Before anything is decided: whoever owns the name, and whether or not there will be a page, it is private.
    listers = (a for a in inquiry.answers if a.private and a.page is not None and (a.page.files or a.page.withheld))
    if inquiry.claimed is None and (lister := next(listers, None)) is not None:
        return RecordClaim(lister.source)
    if (first := _find_first(inquiry, private)) is not None:
        return _let_answer(inquiry, first, f"the first private source that has it is {first.source}")
    if inquiry.reserved_by is None and inquiry.claimed is None:
        return LookUpClaim()
    public, not_asked = _find_askable(inquiry)
    if unasked := inquiry.find_unasked(public):
        return AskSources(unasked)
    if (first := _find_first(inquiry, public)) is not None:
        return _let_answer(inquiry, first, f"no private source has it, and the first public one that does is {first.source}")
    return _let_nobody_answer(inquiry, not_asked)


def conclude(step: MakePage, page: ProjectPage) -> Decision:
    """Decide with the finished page, which is refused if everything on it is withheld."""
    decision = step.decision
    if page.files or not page.withheld:
        return msgspec.structs.replace(decision, page=page)
    if step.outage is not None and any(entry.rule == OUTAGE_RULE for entry in page.withheld):
        return msgspec.structs.replace(decision, error=step.outage.error)
    error = wholly_withheld(page)
    return msgspec.structs.replace(decision, page=page, error=error, reason=f"{decision.reason}, but {error}")


def fail(inquiry: Inquiry, error: WheelgateError, reason: str = "", *, owner: str | None = None, not_asked: str = "") -> Decision:
    """Decide that the request fails; without a ``reason``, the error is the reason."""
    return _decide(inquiry, reason or str(error), owner=owner, not_asked=not_asked, error=error)


def _decide(
    inquiry: Inquiry, reason: str, *, owner: str | None = None, not_asked: str = "", error: WheelgateError | None = None
) -> Decision:
    """Decide, but for the page. ``not_asked``: why public sources that have not been asked will not be."""
    unasked = inquiry.find_unasked(member for member in inquiry.members if not member.private) if not_asked else ()
    return Decision(
        project=inquiry.project,
        answers=(*inquiry.answers, *(Answer(m.source.name, False, Outcome.NOT_ASKED, not_asked) for m in unasked)),
        reason=reason,
        owner=owner,
        reserved_by=inquiry.reserved_by,
        claimed=bool(inquiry.claimed),
        merge=inquiry.merge,
        unrecorded=inquiry.unrecorded,
        error=error,
    )


def _find_first(inquiry: Inquiry, members: Iterable[Member]) -> Answer | None:
    """Rules 1 and 2: find the first of these that has the project, or that failed and so may be the owner."""
    names = {member.source.name for member in members}
    decisive = (Outcome.LISTED, Outcome.FAILED)
    return next((answer for answer in inquiry.answers if answer.source in names and answer.outcome in decisive), None)


def _find_askable(inquiry: Inquiry) -> tuple[list[Member], str]:
    """Rule 2: find the public sources that may be asked, or the reason that none may."""
    public = [member for member in inquiry.members if not member.private]
    if inquiry.reserved_by is not None:
        return [], "reserved names are never asked of a public source"
    if not inquiry.claimed:
        return public, ""
    shared = [member for member in public if inquiry.merge is not None and member.source.name in inquiry.merge.sources]
    return shared, "" if shared else "a claimed name is never asked of a public source"


def _let_nobody_answer(inquiry: Inquiry, not_asked: str) -> Step:
    """Rule 2: no source that may answer has the name. That is certain only if each of them was heard just now."""
    project, pattern = inquiry.project, inquiry.reserved_by
    silence = next((answer.failure for answer in inquiry.answers if answer.failure is not None), None)
    if pattern is not None:
        error = silence or ProjectNotFound(f"no private source has {project}, and {pattern} is reserved for them")
        reason = f"the name is reserved by {pattern}, and no private source has it"
        return fail(inquiry, error, reason, not_asked=not_asked)
    if silence is not None:
        return fail(inquiry, silence, not_asked=not_asked)
    if inquiry.claimed:  # an empty page, no absence: a client with further indexes of its own must stop here too
        reason = "the name was claimed by a private source, and none lists a file of it now"
        return MakePage(_decide(inquiry, reason, not_asked=not_asked))
    reason = "every source was asked, and none has it"
    if inquiry.offline:  # nobody could be asked, and that says nothing about what there is elsewhere
        held = f"this server is offline and holds nothing of {project}: {advise_mirroring(project)}"
        return fail(inquiry, NotHeld(held), reason)
    return fail(inquiry, ProjectNotFound(f"no source has a project {project}"), reason)


def _let_answer(inquiry: Inquiry, first: Answer, reason: str) -> Step:
    """Let the first source answer, alone or by rule 4 with others; if it failed, the request does."""
    if first.failure is not None:
        return fail(inquiry, first.failure)
    rule = inquiry.merge
    if rule is None or first.source not in rule.sources:
        return _make_page(inquiry, first, (first,), None, reason, f"{first.source} owns the name")
    return _share(inquiry, first, rule, reason)


def _share(inquiry: Inquiry, owner: Answer, rule: MergeRule, reason: str) -> Step:
    """Rule 4: let the sources of a merge rule share the project, once each of them was heard."""
    members = {member.source.name: member for member in inquiry.members}
    unasked = inquiry.find_unasked(members[name] for name in rule.sources if name in members)
    if unasked and inquiry.reserved_by is None:  # a public source is never asked for a reserved name
        return AskSources(unasked)
    answers = {answer.source: answer for answer in inquiry.answers}
    shared = [answers[name] for name in rule.sources if name in answers]
    for answer in shared:
        # Were it left out, its files would silently be missing, or another's take their place.
        if answer.failure is not None:
            return fail(inquiry, answer.failure, reason, owner=owner.source)
    parts = tuple(answer for answer in shared if answer.page is not None)
    reason += f", and a merge rule joins {', '.join(part.source for part in parts)}"
    return _make_page(inquiry, owner, parts, rule, reason, "")


def _make_page(
    inquiry: Inquiry, owner: Answer, parts: tuple[Answer, ...], rule: MergeRule | None, reason: str, not_asked: str
) -> Step:
    """Rule 3: in an outage of a source before the owner, make only a page of which we knew every part before."""
    outage = find_outage_window(inquiry.answers, owner)
    if outage is not None and not all(part.page is not None and outage.is_predated_by(part.page) for part in parts):
        return fail(inquiry, outage.error, reason, owner=owner.source, not_asked=not_asked)
    return MakePage(_decide(inquiry, reason, owner=owner.source, not_asked=not_asked), parts, rule, outage)
