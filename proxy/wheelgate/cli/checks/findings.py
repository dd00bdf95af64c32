"""Findings: results of checks as values, and as people and machines read them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NoReturn

import msgspec

from wheelgate.core.errors import ConfigurationError


class Finding(msgspec.Struct, frozen=True):
    """Result of one check. The fields are the keys of a row of ``--json``."""

    what: str
    """The thing that was looked at, for people."""
    ok: bool
    detail: str
    """A sentence. Of one that is not ok: what is wrong, where, and what to do."""
    doubtful: bool = False
    """It works, but perhaps not as intended."""
    check: str = "store"
    """The kind of check, one of those in docs/configuration.md. Stable."""
    source: str | None = None
    """The source that it is about; ``None``: none."""


def report(findings: Sequence[Finding], *, as_json: bool) -> NoReturn:
    """Print the findings and exit, with status 1 if something does not work."""
    if as_json:
        _print_rows(findings)
    else:
        for told in _gather(findings):
            print(f"{'FAIL' if not told.ok else 'warn' if told.doubtful else 'ok  '}  {told.what}: {told.detail}")
    sys.exit(0 if all(finding.ok for finding in findings) else 1)


def report_configuration(error: ConfigurationError) -> NoReturn:
    """Print a row for each problem of the settings, and exit with status 2."""
    problems = [problem.partition(": ") for problem in error.problems]
    _print_rows([Finding(key, False, detail or key, check="configuration") for key, _, detail in problems])
    sys.exit(2)


def _print_rows(findings: Iterable[Finding]) -> None:
    print(json.dumps([msgspec.structs.asdict(finding) for finding in findings], indent=2))


def _gather(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Gather what was found of one source, one after the other, in one sentence."""
    for (what, is_source), rows in groupby(findings, lambda finding: (finding.what, finding.check.startswith("source."))):
        found = list(rows)
        if not is_source:
            yield from found
            continue
        detail = "; ".join(row.detail for row in found)
        yield Finding(what, all(row.ok for row in found), detail, any(row.doubtful for row in found))


def label_source(source: str, *, private: bool) -> str:
    """Name a source as findings do."""
    return f"source {source} ({'private' if private else 'public'})"
