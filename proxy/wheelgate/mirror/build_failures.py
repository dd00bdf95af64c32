"""Builds of sdists that failed while their dependencies were asked for: a sentence for people, and the whole output in a file."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import msgspec

_FAILED = re.compile(r"Failed to build `(?P<release>[^`\s]{1,200})`(?=.*?Call to `)", re.DOTALL)
_EXCEPTION = re.compile(r"^\s*((?:\w+\.)*\w*(?:Error|Exception|Exit|Interrupt)\b[^\n]*)$", re.MULTILINE)
_UNSAFE = re.compile(r"[^A-Za-z0-9.+-]+")
_LONGEST = 300


class FailedBuild(msgspec.Struct, frozen=True):
    """A build that failed, as uv tells of it."""

    release: str
    """``demo==1.0``."""
    output: str
    """All that uv and the build wrote."""

    def describe(self, folder: Path) -> str:
        """Describe it in a sentence, and write its output to a file in a folder, which the sentence names."""
        causes = _EXCEPTION.findall(self.output.partition("\nhint:")[0])
        cause = f" ({causes[-1].strip()[:_LONGEST]})" if causes else ""
        sentence = f"{self.release} has to be built to tell what it needs, and its build failed{cause}"
        path = folder / f"{_UNSAFE.sub('-', self.release)}.log"
        with suppress(OSError):  # then without: the sentence matters more
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(self.output, "utf-8")
            sentence += f": its output is in {path}"
        return f"{sentence}; name a version that has a wheel, or run this where pip can build it"


def find_failed_build(output: str) -> FailedBuild | None:
    """Find the build that failed in what uv wrote; ``None``: it failed for another reason."""
    match = _FAILED.search(output)
    return None if match is None else FailedBuild(match["release"], output)
