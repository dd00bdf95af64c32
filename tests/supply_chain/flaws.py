"""Known flaws of dependencies, as ``advisories.toml`` lists them, and whether a version has one."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from packaging.version import Version

OLD_AFTER_DAYS = 90
"""An older list is warned of, and fails the tests that are run before a release: no build breaks because time has passed."""


@dataclass(frozen=True)
class Flaw:
    """One flaw of a package, or the latest of several old ones."""

    package: str
    id: str
    introduced: Version
    fixed: Version
    source: str
    what: str
    stance: str
    """Why it does not concern us, in a few words."""

    def concerns(self, package: str, version: Version) -> bool:
        """Tell whether a version has it."""
        return package == self.package and self.introduced <= version < self.fixed


@dataclass(frozen=True)
class Advisories:
    """The list, and its date."""

    as_of: date
    sources: dict[str, str]
    flaws: tuple[Flaw, ...]
    none_found: frozenset[str]
    """Packages that were looked up, and of which nothing was found."""

    @property
    def known(self) -> frozenset[str]:
        """The packages that were looked up."""
        return self.none_found | {flaw.package for flaw in self.flaws}

    def find(self, versions: Iterable[tuple[str, Version]]) -> list[str]:
        """Say which of these versions have which flaw, one sentence each."""
        return [
            f"{package} {version} has {flaw.id} ({flaw.what}): {flaw.fixed} has not"
            for package, version in versions
            for flaw in self.flaws
            if flaw.concerns(package, version)
        ]

    def age_days(self, today: date) -> int:
        return (today - self.as_of).days

    def describe_age(self, today: date) -> str:
        """Say how old the list is, and that it knows nothing newer."""
        old = " It is old: look the sources through again." if self.age_days(today) > OLD_AFTER_DAYS else ""
        return f"The list of known flaws is of {self.as_of}, {self.age_days(today)} days old, and knows nothing newer.{old}"


def read_advisories() -> Advisories:
    """Read the list."""
    written = tomllib.loads(Path(__file__).with_name("advisories.toml").read_text())
    flaws = tuple(
        Flaw(
            package,
            row["id"],
            Version(row.get("introduced", "0.dev0")),
            Version(row["fixed"]),
            row["source"],
            row["what"],
            row["stance"],
        )
        for package, rows in written["flaws"].items()
        for row in rows
    )
    return Advisories(written["as_of"], written["sources"], flaws, frozenset(written["none_found"]["packages"]))
