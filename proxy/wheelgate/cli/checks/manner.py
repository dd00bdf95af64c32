"""Manner of an index, as it was seen just now: a sentence for each habit that people should know of."""

from __future__ import annotations

import msgspec

from wheelgate.cli.checks.findings import Finding
from wheelgate.cli.checks.subjects import Subject
from wheelgate.core.patterns import NamePatterns, normalise_pattern
from wheelgate.sources.answer_kind import make_nobodys_name


def describe_manner(subject: Subject) -> list[Finding]:
    """Describe what an index did when it was asked for a name that nobody can have, if the settings let it be asked for one."""
    if subject.absence is None:
        return []
    only = [normalise_pattern(pattern) for pattern in subject.only or ()]
    if only and make_nobodys_name(only, 6) not in NamePatterns(only):
        return [
            subject.find(
                "manner", f"{subject.setting('only')} allows no name that nobody has, so it was not seen what it says of one"
            )
        ]
    # What the page of a project showed has findings of its own.
    seen = msgspec.structs.replace(subject.absence.known.seen_manner, states_digests=None, sends_upload_times=None)
    doubtful = bool(seen.passes_public or (seen.redirects_to and not seen.redirects_to_source))
    return [subject.find("manner", f"{sentence} ({subject.place})", doubtful=doubtful) for sentence in seen.sentences()]
