"""What was asked for, as every form of input says it: lines still to be resolved, or files that a lock names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec
from packaging.requirements import Requirement

from wheelgate.mirror.targets import Target


class Line(msgspec.Struct, frozen=True):
    """One requirement as somebody wrote it."""

    requirement: Requirement
    project: str
    hashes: frozenset[str]
    """``sha256:...`` of the files that will do; empty: any."""
    where: str
    """File and line, for sentences."""

    def holds_for(self, target: Target) -> bool:
        """Whether its marker lets it apply there."""
        return target.meets(self.requirement.marker)

    @property
    def pinned(self) -> str | None:
        """The one version it allows, if it says so."""
        specifiers = list(self.requirement.specifier)
        exact = len(specifiers) == 1 and specifiers[0].operator in ("==", "===") and not specifiers[0].version.endswith(".*")
        return specifiers[0].version if exact else None


class Options(msgspec.Struct, frozen=True):
    """What a requirements file says about all its lines, as far as it changes which files an installer takes."""

    no_binary: frozenset[str] = frozenset()
    """Projects of which sdists are wanted; ``:all:``."""
    only_binary: frozenset[str] = frozenset()
    pre: bool = False

    def with_(self, other: Options) -> Options:
        """Both together."""
        return Options(self.no_binary | other.no_binary, self.only_binary | other.only_binary, self.pre or other.pre)


class Need(msgspec.Struct, frozen=True):
    """A version of a project, or one file of it, that a target needs."""

    project: str
    version: str
    filename: str | None = None
    """The very file, where a lock names it."""
    hashes: frozenset[str] = frozenset()
    """Digests of which the file must have one; empty: whatever the index says."""
    where: str = ""


class Lock(Protocol):
    """A lock file: it knows by itself which files a target needs."""

    def needs(self, target: Target, *, all_files: bool) -> list[Need]:
        """The files for one target; with ``all_files`` every file of the versions that it needs.

        Raises:
            BadInput: the lock has nothing that fits the target.
        """
        ...


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """One input, read and understood; nothing of it was looked up yet."""

    label: str
    """What people call it: the file as it was named, or the specifiers."""
    lines: tuple[Line, ...] = ()
    constraints: tuple[Line, ...] = ()
    options: Options = Options()
    lock: Lock | None = None
    python: str | None = None
    """The Python it says it is for."""
    notes: tuple[str, ...] = ()
    """What was passed over, and why; a sentence each."""

    @property
    def is_locked(self) -> bool:
        """Whether it says each version itself, so that there is nothing to resolve: a lock, or hashes on every line."""
        return self.lock is not None or (bool(self.lines) and all(line.hashes and line.pinned for line in self.lines))


def format_hashes(hashes: Mapping[str, str]) -> frozenset[str]:
    """Digests by algorithm in the form that requirements files have."""
    return frozenset(f"{algorithm}:{digest.lower()}" for algorithm, digest in hashes.items())
