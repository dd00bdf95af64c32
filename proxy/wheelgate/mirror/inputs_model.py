"""Inputs as values, whatever form they had: requirements still to be resolved, or files that a lock names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from wheelgate.core.digests import UnusableDigest, name_algorithm
from wheelgate.mirror.allowed_pythons import AllowedPythons
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


_OPPOSITES = {
    "no_binary": "only_binary",
    "only_binary": "no_binary",
    "all_releases": "only_final",
    "only_final": "all_releases",
}


class SelectionOptions(msgspec.Struct):
    """Options of a requirements file that change which files an installer selects: its format control and release control.

    Each is a set of project names, or ``:all:``; what one of a pair is told is taken from the other. So the order counts.
    """

    no_binary: set[str] = set()
    """Projects of which sdists alone are wanted."""
    only_binary: set[str] = set()
    """Projects of which wheels alone are wanted."""
    all_releases: set[str] = set()
    """Projects of which pre-releases are as good as others."""
    only_final: set[str] = set()
    """Projects of which no pre-release is wanted."""

    def apply(self, option: str, value: str) -> None:
        """Apply one of the four options, ``--no-binary`` for example, to the names of its value, as pip does."""
        attribute = option.removeprefix("--").replace("-", "_")
        named, others = getattr(self, attribute), getattr(self, _OPPOSITES[attribute])
        words = value.split(",")
        if ":all:" in words:
            others.clear()
            named.clear()
            named.add(":all:")
            words = words[len(words) - words[::-1].index(":all:") :]
            words = words if ":none:" in words else []  # else all of them are among all
        for word in words:
            if word == ":none:":
                named.clear()
                continue
            name = canonicalize_name(word)
            others.discard(name)
            named.add(name)

    def allow_all_releases(self) -> None:
        """Apply ``--pre``. Unlike ``--all-releases :all:`` it leaves the exceptions."""
        self.all_releases.add(":all:")

    def wants_wheel(self, project: str) -> bool:
        """True if a wheel of the project will do."""
        return _choose(project, self.only_binary, self.no_binary) is not False

    def wants_sdist(self, project: str) -> bool:
        """True if an sdist of the project will do."""
        return _choose(project, self.only_binary, self.no_binary) is not True

    def wants_prereleases(self, project: str) -> bool | None:
        """True or False as was said; ``None``: only where nothing else will do."""
        return _choose(project, self.all_releases, self.only_final)


def _choose(project: str, yes: Collection[str], no: Collection[str]) -> bool | None:
    """Find which of two sets says something of a project; a name counts for more than all, and yes for more than no."""
    for word in (project, ":all:"):
        if word in yes or word in no:
            return word in yes
    return None


class NeededRelease(msgspec.Struct, frozen=True):
    """A version of a project, or one file of it, that a target needs."""

    project: str
    version: str
    filename: str | None = None
    """The very file, where a lock names it."""
    hashes: frozenset[str] = frozenset()
    """Digests of which the file must have one; empty: whatever the index says."""
    where: str = ""


class LockSelection(msgspec.Struct):
    """The files that a target needs of a lock, and a sentence for each thing that cannot be had there."""

    needs: list[NeededRelease] = []
    notes: list[str] = []


LockFile = Callable[[Target], LockSelection]
"""Selects the files that a target needs from a lock file.

Raises:
    BadInput: the lock has nothing that fits the target.
"""


class MirrorInput(msgspec.Struct, kw_only=True):
    """One input as it was read; nothing of it has been looked up yet."""

    label: str
    """Its name for people and for the manifest: see :mod:`wheelgate.mirror.input_labels`."""
    path: Path | None = None
    """The file or folder that it is; ``None``: it was said on the command line."""
    requirements: list[InputRequirement] = []
    choices: list[list[InputRequirement]] = []
    """The requirements of each extra and group of a project, to be resolved one by one where they exclude each other."""
    constraints: list[InputRequirement] = []
    options: SelectionOptions = msgspec.field(default_factory=SelectionOptions)
    lock: LockFile | None = None
    builds: list[MirrorInput] = []
    """What builds each project of one's own that a lock installs from its folder."""
    python: AllowedPythons | None = None
    """The Pythons it says it is for; ``None``: it says nothing."""
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
