"""Worlds of a private source: whether it passes public packages through, and whether the settings say so."""

from __future__ import annotations

from wheelgate.cli.checks.findings import Finding
from wheelgate.cli.checks.subjects import Subject
from wheelgate.core.errors import UpstreamError
from wheelgate.feeds.judge import REMEDY, FeedJudge
from wheelgate.sources.answer_kind import make_nobodys_name
from wheelgate.upstream.failures import READER_REASON, find_not_saved


async def describe_passing(subject: Subject) -> list[Finding]:
    """Ask a source of which nobody said what it passes through for public names; of any other, repeat what was said."""
    if subject.public_names is not None:
        doubt = await subject.public_names.find_doubt()
        if doubt is None or not doubt.is_certain:
            return []  # that it cannot be asked is another finding
        cause = doubt.cause.removeprefix(f"source {subject.name} ")
        then = "so nothing more of it is claimed, and names that it has not claimed yet are refused"
        is_configured = bool(subject.key)  # else it was named to try a connection, which does work
        return [subject.find("passing", f"{cause}, {then}: {doubt.remedy}", ok=not is_configured, doubtful=not is_configured)]
    if isinstance(judge := subject.member.judge, FeedJudge):
        return [await _describe_feed(subject, judge), *await _describe_reader(subject)]
    if subject.settings is None or not subject.settings.passes_through:
        return await _describe_reader(subject)
    own = ", ".join(subject.settings.only or ())
    if own:
        return [subject.find("passing", f"passes public packages through; its own are {own}, and what it claimed before")]
    said = (
        "passes public packages through, and its settings name none of its own: list them in "
        f"{subject.setting('only')} or policy.reserved, or nothing that it has not claimed yet is protected"
    )
    return [subject.find("passing", said, doubtful=True)]


async def _describe_feed(subject: Subject, judge: FeedJudge) -> Finding:
    """Ask the service of a feed what the feed passes on."""
    try:
        return subject.find("passing", await judge.describe())
    except UpstreamError as error:
        is_configured = bool(subject.key)
        said = f"cannot tell its own names from those it passes on: {error}; mend that, or {REMEDY}"
        return subject.find("passing", said, ok=not is_configured, doubtful=not is_configured)


async def _describe_reader(subject: Subject) -> list[Finding]:
    """Ask a feed for a name that nobody can have: an identity that may have nothing saved is told so."""
    if subject.settings is None or subject.settings.type != "devops" or subject.client is None:
        return []
    url = f"{subject.settings.index_url.rstrip('/')}/{make_nobodys_name(subject.only or (), 6)}/"
    try:
        answer = await subject.client.probe(url, accept="*/*")
    except UpstreamError:
        return []  # that it cannot be asked is another finding
    if find_not_saved(answer.body, subject.name) is None:
        return []
    return [
        subject.find("reader", f"answers, but {READER_REASON}; till then only what the feed has saved is served", doubtful=True)
    ]
