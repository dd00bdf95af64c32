"""Manner of an index: what it does for a name that nobody can have, in a sentence."""

from __future__ import annotations

import re

import msgspec

from wheelgate.cli.checks.findings import Finding
from wheelgate.cli.checks.subjects import Subject
from wheelgate.core.errors import AddressRefused, UpstreamError
from wheelgate.core.patterns import NamePatterns, normalise_pattern
from wheelgate.core.urls import display_host, parse
from wheelgate.sources.answer_kind import make_nobodys_name
from wheelgate.sources.index_root import ROOT_ACCEPT

_TARGET = re.compile(r" points to (\S+), ")


async def describe_manner(subject: Subject) -> list[Finding]:
    """Ask an index for such a name, if the settings let it be asked for one; nothing is found of one that says 404."""
    if subject.client is None or subject.absence is None or subject.settings is None:
        return []
    seen = msgspec.structs.replace(subject.absence.known.seen_manner, states_digests=None, sends_upload_times=None)
    if sentences := seen.sentences():
        return [subject.find("manner", f"{sentence} ({subject.place})", doubtful=True) for sentence in sentences]
    only = [normalise_pattern(pattern) for pattern in subject.only or ()]
    name = make_nobodys_name(only, 6)
    if only and name not in NamePatterns(only):
        names = f"{subject.setting('only')} allows no name that nobody has, so that it was not seen what it says of one"
        return [subject.find("manner", names)]
    url = subject.settings.index_url
    try:
        answer = await subject.client.probe(f"{url.rstrip('/')}/{name}/", accept=ROOT_ACCEPT)
    except AddressRefused as error:
        led = _TARGET.search(str(error))
        return [] if led is None else [_find_forwarding(subject, led[1])]
    except UpstreamError:
        return []  # which another finding says
    there = parse(answer.url)
    if not subject.client.rules.is_own(there):
        return [_find_forwarding(subject, display_host(there))]
    if answer.status == 200:
        every = f"answers every name, also one that nobody can have ({name}): its empty pages say nothing"
        return [subject.find("manner", f"{every} ({subject.place})", doubtful=True)]
    if answer.status in (401, 403):
        return [subject.find("manner", f"answers {answer.status} for a name that nobody can have", doubtful=True)]
    return []


def _find_forwarding(subject: Subject, host: str) -> Finding:
    said = (
        f"forwards unknown names to {host}: switch that off at {subject.place}, so that it says itself what it lacks; names of "
        f"{host} are asked of a source of their own"
    )
    return subject.find("manner", said, doubtful=True)
