"""Checks of sources: each is asked past what is remembered of it, for names that it may be asked for, and used as clients do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import suppress
from itertools import islice

from wheelgate.cli.checks.files import check_files, check_stored
from wheelgate.cli.checks.findings import Finding
from wheelgate.cli.checks.manner import describe_manner
from wheelgate.cli.checks.meanwhile import describe_meanwhile, recall_names
from wheelgate.cli.checks.passing import describe_passing
from wheelgate.cli.checks.remedies import explain_failure
from wheelgate.cli.checks.subjects import Subject
from wheelgate.core.errors import NotHeld, NotSaved, ProjectNotFound, StillListing, StoreError, UpstreamError
from wheelgate.core.model import ProjectPage
from wheelgate.core.patterns import NamePatterns, normalise_pattern
from wheelgate.core.protocols import Credential
from wheelgate.sources.answer_kind import make_nobodys_name
from wheelgate.sources.blob_scan import BlobScan
from wheelgate.sources.github_releases import GithubReleases
from wheelgate.sources.offline import HeldNowhere

_LISTING_S = 60.0
_PROBE = "pip"
"""A project that any index may be asked for without revealing a private name; it need not exist."""
_SAMPLES = 3


async def check_connection(credential: Credential | None, subjects: Sequence[Subject]) -> AsyncIterator[Finding]:
    """Check a connection: its secret, then every source that it serves."""
    if credential is not None:
        try:
            await credential.headers()
            await credential.sign_url("https://example.com/")
        except UpstreamError as error:
            yield Finding("secret", False, str(error), check="secret")
            return
        yield Finding("secret", True, "is available", check="secret")
    if not subjects:
        none = "no configured source is under this target; pass --url to test one"
        yield Finding("sources", True, none, check="configuration")
    async for finding in check_sources(subjects):
        yield finding


async def check_sources(subjects: Iterable[Subject], step: Callable[[str], None] = lambda _: None) -> AsyncIterator[Finding]:
    """Check every source, one after the other."""
    for subject in subjects:
        step(f"source {subject.name}")
        findings = await _check_source(subject)
        for finding in findings:
            yield finding
        if not all(finding.ok for finding in findings):
            async for finding in describe_meanwhile(subject):
                yield finding


async def _check_source(subject: Subject) -> list[Finding]:
    asked = await _choose_names(subject)
    if not asked:
        return [subject.find("answers", f"is never asked: {subject.setting('only')} names nothing", doubtful=True)]
    try:
        stored = await check_stored(subject)
        await _list_again(subject)
        page, absent = await _ask_first(asked, subject)
    except StillListing as error:
        return [subject.find("answers", f"answers; {error}", doubtful=True)]
    except (HeldNowhere, NotHeld):
        return [subject.find("answers", "is offline: only what the store holds of it is served, and it is never asked")]
    except (UpstreamError, StoreError) as error:
        return [subject.find("answers", _explain(subject, error), ok=False)]
    findings = [await _describe_answer(subject, asked[0], page, absent=absent), *stored]
    if page is not None:
        findings += await check_files(subject, page, is_own=page.project != _PROBE)
    findings += await describe_passing(subject)
    is_reader = any(finding.check == "source.reader" for finding in findings)  # who is told so of every name that is not saved
    if not is_reader and subject.absence is not None and all(finding.ok for finding in findings):
        verdict = await subject.absence.describe()
        is_said = verdict.believed or subject.place in verdict.sentence
        sentence = verdict.sentence if is_said else f"{verdict.sentence} ({subject.place})"
        findings.append(subject.find("absence", sentence, ok=verdict.believed))
        findings += describe_manner(subject) if verdict.believed else []  # else that was what is wrong
    return findings


async def _choose_names(subject: Subject) -> list[str]:
    """Choose names to ask for, none that the settings keep from it: its own, if they or earlier days know some."""
    only = subject.only
    own = [normalise_pattern(pattern) for pattern in only or () if "*" not in pattern]
    if only is None:
        own.append(_PROBE)
    known = [name for name in await recall_names(subject) if only is None or name in NamePatterns(only)]
    names = list(dict.fromkeys([*own[:_SAMPLES], *known[:_SAMPLES]]))
    return names or ([make_nobodys_name(only, 6)] if only else [])


async def _list_again(subject: Subject) -> None:
    """List a container anew; an earlier listing of it may have been kept."""
    if isinstance(subject.source, BlobScan):
        with suppress(TimeoutError):  # then it is still being listed, which its answer says
            await asyncio.wait_for(subject.source.scan(), _LISTING_S)


async def _ask_first(names: Sequence[str], subject: Subject) -> tuple[ProjectPage | None, str | None]:
    """Ask for names until one has files: its page, and the first name that is not there."""
    page, absent = None, None
    for name in names:
        try:
            found = await _ask_for(name, subject)
        except (HeldNowhere, NotHeld):
            raise
        except (ProjectNotFound, NotSaved):
            absent = absent or name
            continue
        page = page or found
        if found.files or found.withheld:
            return found, absent
    return page, absent


async def _ask_for(project: str, subject: Subject) -> ProjectPage:
    """Ask a source for a page; one that has to be listed first is waited for."""
    try:
        return await subject.source.project_page(project)
    except StillListing as error:
        with suppress(TimeoutError):
            await asyncio.wait_for(error.wait(), _LISTING_S)
        return await subject.source.project_page(project)


def _explain(subject: Subject, error: UpstreamError | StoreError) -> str:
    """Say what a source failed with; of several repositories what each did."""
    problems = subject.source.problems if isinstance(subject.source, GithubReleases) else {}
    told = [f"{repo}: {explain_failure(subject, problem)}" for repo, problem in problems.items()]
    return "; ".join(told) or explain_failure(subject, error)


async def _describe_answer(subject: Subject, first: str, page: ProjectPage | None, *, absent: str | None) -> Finding:
    if isinstance(subject.source, GithubReleases) and (problems := subject.source.problems):
        said = _explain(subject, next(iter(problems.values())))
        return subject.find("answers", f"what its other repositories have is served, but not all can be read: {said}", ok=False)
    if page is None:
        return subject.find("answers", f"answers{await _describe_absence(subject, first)}")
    said = f"answers{f', and has no {absent} any more' if absent not in (None, _PROBE) else ''}"
    if page.dropped:
        said = f"{said}; {page.dropped} entries of {page.project} are left out as unusable"
    if page.withheld:
        said = f"{said}; {len(page.withheld)} files of {page.project} are withheld, such as {page.withheld[0].filename}"
    is_devops = subject.settings is not None and subject.settings.type == "devops"
    if is_devops and subject.member.private and page.project == _PROBE and page.files:
        public = (
            f"{said}; it also answers for public names (it has {_PROBE}), which are then never asked of a public source: disable "
            "the feed's upstream sources, or list its own names with `only`"
        )
        return subject.find("answers", public, doubtful=True)
    return subject.find("answers", said)


async def _describe_absence(subject: Subject, first: str) -> str:
    """Say what it means that a source has nothing that it was asked for."""
    if subject.settings is not None and subject.settings.type in ("blob", "directory", "github"):
        with suppress(UpstreamError, StoreError):
            names = await subject.source.project_names()
            return "" if next(iter(islice(names, 1)), None) else f", and holds no package ({subject.place})"
    if first == _PROBE:
        # Nearly every public index has it; without it, the URL may not be that of the index.
        doubt = f", but has no project {first}: check that its URL is the one that installers use ({subject.place})"
        return "" if subject.member.private else doubt
    named = f"{subject.setting('only')} names no project itself" if subject.only else ""
    return f" (asked for {first}{f', since {named}' if named and first.count('wheelgate') else ''}, which it has not)"
