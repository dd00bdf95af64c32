"""Questions to the members of an index: what each of them says about a name, and which of its worlds that is from.

A private source that passes public packages through holds two worlds, and so is asked by two views of it. The private view has
its own projects alone; the public view is asked, after the public sources, for a project of which nothing is its own, and its
files are public ones. Which of the two a project is in is judged first, so that the source itself is asked once at most.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from wheelgate.core.errors import NotHeld, ProjectNotFound, StoreError, UpstreamError, UpstreamUnavailable
from wheelgate.core.model import Judgement, Ownership, ProjectPage, Withheld
from wheelgate.core.names import same_version_key, version_of
from wheelgate.core.protocols import Clock
from wheelgate.core.unusable import HoldsProject
from wheelgate.index.decision import Answer, Decision, Member, Outcome
from wheelgate.index.merge_pages import FOREIGN_RULE, MadePages
from wheelgate.index.rules import withhold


async def ask_member(member: Member, project: str, *, clock: Clock, made: MadePages) -> Answer:
    """Ask a member about a project. Raises nothing: the answer carries it. ``made``: keeps pages of its own files alone."""
    name = member.source.name
    if not member.may_hold(project):
        return Answer(name, member.private, Outcome.NOT_ASKED, "its `only` does not cover the name")
    judgement = None if member.judge is None else await member.judge.judge(project)
    if judgement is not None and judgement.is_refused:
        try:
            await member.source.project_page(project)
        except ProjectNotFound:
            pass  # it may be there for those who may ask whose it is
        except (UpstreamError, StoreError) as error:
            return Answer(name, member.private, Outcome.FAILED, str(error), clock.now(), error=error, judgement=judgement)
    if judgement is not None and judgement.ownership is not Ownership.OWN:
        return _answer_unasked(member, judgement, clock)
    return await _ask_for_page(member, project, judgement, clock=clock, made=made)


async def _ask_for_page(member: Member, project: str, judgement: Judgement | None, *, clock: Clock, made: MadePages) -> Answer:
    """Ask a member for the page of a project that is, or is presumed to be, its own."""
    name = member.source.name
    try:
        page = await member.source.project_page(project)
        judgement = await _confirm(member, judgement, project, page.as_of if page.files or page.withheld else None)
    except ProjectNotFound as error:
        if error.outage_since is not None and judgement is not None and judgement.is_evident:
            # It was published since the source could last be heard: what was not there then is no public name now.
            reason = f"source {name} cannot be asked now for {project}, which it has: {judgement.reason}"
            unheard = UpstreamUnavailable(reason, source=name)
            return Answer(name, member.private, Outcome.FAILED, reason, clock.now(), error=unheard, judgement=judgement)
        outcome = Outcome.ABSENT if error.outage_since is None else Outcome.ABSENT_BEFORE_OUTAGE
        asked_at = error.last_heard or clock.now()
        return Answer(name, member.private, outcome, str(error), asked_at, error=error, judgement=judgement)
    except (UpstreamError, StoreError) as error:
        judgement = await _confirm(member, judgement, project, clock.now() if isinstance(error, HoldsProject) else None)
        if judgement is None or _is_own(judgement):
            return Answer(name, member.private, Outcome.FAILED, str(error), clock.now(), error=error, judgement=judgement)
        return _answer_unasked(member, judgement, clock)
    if judgement is not None and not _is_own(judgement):
        return _answer_unasked(member, judgement, clock)
    own = None if judgement is None else judgement.own_versions
    if own is not None:
        listed = page
        page = await made.page(f"{project} of {name}", own, [page], clock.now(), lambda: _limit_to_own(listed, name, own))
    return Answer(name, member.private, Outcome.LISTED, _summarise(page), page.as_of, page=page, judgement=judgement)


async def _confirm(member: Member, judgement: Judgement | None, project: str, listed_at: datetime | None) -> Judgement | None:
    """Have a judgement confirmed that was presumed, if the source lists something: what it lists would be claimed for ever."""
    if judgement is None or not judgement.is_presumed or member.judge is None or listed_at is None:
        return judgement
    return await member.judge.confirm(project, listed_at)


def _is_own(judgement: Judgement) -> bool:
    return judgement.ownership is Ownership.OWN


def find_passing(answers: Iterable[Answer], members: Iterable[Member]) -> list[Member]:
    """Find the public views of those private members that answered that nothing of the project is their own."""
    judged = {answer.source: answer.judgement.ownership for answer in answers if answer.private and answer.judgement is not None}
    return [m.public for m in members if m.public is not None and judged.get(m.source.name) is Ownership.PUBLIC]


def note_served(known: Decision, members: Iterable[Member]) -> None:
    """Tell the judges by whom a project is public that it is served as such."""
    judges = {member.source.name: member.judge for member in members}
    for answer in known.answers:
        judge, judgement = judges.get(answer.source), answer.judgement
        if answer.private and judge is not None and judgement is not None and judgement.ownership is Ownership.PUBLIC:
            judge.note_served(known.project)


def _answer_unasked(member: Member, judgement: Judgement, clock: Clock) -> Answer:
    """Build the private view's answer about a project that is not, or not surely, the source's own."""
    name, now = member.source.name, clock.now()
    if judgement.ownership is Ownership.UNKNOWN:
        error = (NotHeld if judgement.is_for_good else UpstreamUnavailable)(judgement.reason, source=name)
        return Answer(name, True, Outcome.FAILED, judgement.reason, now, error=error, judgement=judgement)
    absence = ProjectNotFound(
        judgement.reason,
        outage_since=judgement.outage_since,
        last_heard=judgement.last_heard,
        fresh_until=judgement.fresh_until,
    )
    # One that was judged before an outage may have become the source's own since.
    outcome = Outcome.ABSENT if judgement.outage_since is None else Outcome.ABSENT_BEFORE_OUTAGE
    asked_at = judgement.last_heard or now
    return Answer(name, True, outcome, judgement.reason, asked_at, error=absence, judgement=judgement)


def _limit_to_own(page: ProjectPage, source: str, own: frozenset[str]) -> ProjectPage:
    """Withhold the files of a source's own project that are of versions from outside. The same object if there is none."""
    files = tuple(page.files)
    reason = (
        f"it comes from outside through source {source}, which has versions of its own of {page.project}: add a public source "
        "and a policy.merge rule if both are wanted"
    )
    withheld = [
        Withheld(file.filename, file.source, FOREIGN_RULE, reason)
        for file in files
        if (version := version_of(file.filename, page.project)) is None or same_version_key(version) not in own
    ]
    if not withheld:
        return page
    versions = tuple(version for version in page.versions if same_version_key(version) in own)
    limited = withhold(page, files, withheld)
    return limited.with_files(limited.files, limited.withheld, versions=versions)


def _summarise(page: ProjectPage) -> str:
    stale = ", its last good page" if page.stale else ""
    dropped = f", {page.dropped} unusable entries left out" if page.dropped else ""
    return f"{len(page.files)} files as of {page.as_of:%Y-%m-%d %H:%M:%S}Z{stale}{dropped}"
