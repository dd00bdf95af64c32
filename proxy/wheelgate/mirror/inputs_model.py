"""Inputs as values, whatever form they had: requirements still to be resolved, or files that a lock names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

import msgspec
from packaging.requirements import Requirement

from wheelgate.core.digests import UnusableDigest, name_algorithm
from wheelgate.mirror.targets import Target


class InputRequirement(msgspec.Struct, frozen=True):
    """One requirement as somebody wrote it."""

    requirement: Requirement
    project: str
    hashes: frozenset[str]
    """``sha256:...`` of the files that will do; empty: any."""
    where: str
    """File and line, for messages."""

    def holds_for(self, target: Target) -> bool:
        return target.meets(self.requirement.marker, self.where)

    @property
    def pinned(self) -> str | None:
        """The one version it allows, if it says so."""
        specifiers = list(self.requirement.specifier)
        exact = len(specifiers) == 1 and specifiers[0].operator in ("==", "===") and not specifiers[0].version.endswith(".*")
        return specifiers[0].version if exact else None


class SelectionOptions(msgspec.Struct):
    """Options of a requirements file that change which files an installer selects."""

    no_binary: frozenset[str] = frozenset()
    """Projects of which sdists are wanted; ``:all:``."""
    only_binary: frozenset[str] = frozenset()
    pre: bool = False


class NeededRelease(msgspec.Struct, frozen=True):
    """A version of a project, or one file of it, that a target needs."""

    project: str
    version: str
    filename: str | None = None
    """The very file, where a lock names it."""
    hashes: frozenset[str] = frozenset()
    """Digests of which the file must have one; empty: whatever the index says."""
    where: str = ""


LockFile = Callable[[Target], list[NeededRelease]]
"""Selects the files that a target needs from a lock file.

Raises:
    BadInput: the lock has nothing that fits the target.
"""


class MirrorInput(msgspec.Struct, kw_only=True):
    """One input as it was read; nothing of it has been looked up yet."""

    label: str
    """Its name for people: the file as it was named, or the specifiers."""
    requirements: list[InputRequirement] = []
    constraints: list[InputRequirement] = []
    options: SelectionOptions = msgspec.field(default_factory=SelectionOptions)
    lock: LockFile | None = None
    python: str | None = None
    """The Python it says it is for."""
    notes: list[str] = []
    """A sentence for each thing that is ignored, and why."""

    @property
    def is_locked(self) -> bool:
        """Says each version itself, so that there is nothing to resolve: a lock, or hashes on every line."""
        lines = self.requirements
        return self.lock is not None or (bool(lines) and all(line.hashes and line.pinned for line in lines))


def format_hashes(hashes: Mapping[str, str]) -> frozenset[str]:
    """Format digests by algorithm as requirements files have them, each under the name that :func:`new_hash` knows it by."""
    return frozenset(_format_hash(algorithm, digest) for algorithm, digest in hashes.items())


def _format_hash(algorithm: str, digest: str) -> str:
    with suppress(UnusableDigest):  # nothing has such a digest, so nothing will do
        algorithm = name_algorithm(algorithm, digest)
    return f"{algorithm}:{digest.lower()}"
