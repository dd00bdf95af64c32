"""The locks, as the image installs them: names, versions and digests."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.docs.pages import ROOT

LOCKS = {"requirements.lock": "required", "build.lock": "excluded"}
"""Those of the image: what runs in it, and what only builds it (in CycloneDX's words for a component's scope)."""
_PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(?P<version>[^\s;\\]+)")


@dataclass(frozen=True)
class Pinned:
    """One line of a lock."""

    name: str
    """Normalised."""
    version: Version
    sha256: tuple[str, ...]
    """Of each of its distribution files, any of which may be installed."""


def read_lock(name: str, root: Path = ROOT) -> list[Pinned]:
    """Read everything that a lock pins."""
    found = []
    for entry in re.split(r"\n(?=[A-Za-z0-9])", (root / name).read_text().strip()):
        pin = _PIN.match(entry)
        assert pin, f"{name}: {entry[:80]}"
        digests = tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", entry))
        found.append(Pinned(canonicalize_name(pin["name"]), Version(pin["version"]), digests))
    return found
