"""Findings: results of checks as values, and as people and machines read them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import NoReturn

import msgspec

from wheelgate.config import Config


class Finding(msgspec.Struct, frozen=True):
    """Result of one check."""

    what: str
    ok: bool
    detail: str
    doubtful: bool = False
    """It works, but perhaps not as intended."""


def report(findings: Sequence[Finding], *, as_json: bool) -> NoReturn:
    """Print the findings and exit, with status 1 if something does not work."""
    if as_json:
        print(json.dumps([msgspec.structs.asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            print(f"{'warn' if finding.doubtful else 'ok  ' if finding.ok else 'FAIL'}  {finding.what}: {finding.detail}")
    sys.exit(0 if all(finding.ok for finding in findings) else 1)


def label_source(source: str, *, private: bool) -> str:
    """Name a source as findings do."""
    return f"source {source} ({'private' if private else 'public'})"


def tell_place(finding: Finding, config: Config) -> Finding:
    """Add to what a container failed at where it is: the sentence itself, which clients hear too, does not say."""
    urls = {label_source(source.name, private=source.is_private): source.url for source in config.source if source.type == "blob"}
    url = urls.get(finding.what)
    if finding.ok or url is None or url in finding.detail:
        return finding
    return msgspec.structs.replace(finding, detail=f"{finding.detail} ({url})")
