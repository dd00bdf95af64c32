"""The ``[policy]`` section: who may answer for a name, and what is withheld."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from itertools import combinations, pairwise

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version
from pydantic import Field

from wheelgate.config.section import Section
from wheelgate.config.values import Cooldown, Moment, Pattern, ProjectName, ReleaseText, Said, SpecifierText
from wheelgate.core.patterns import NamePatterns, normalise_pattern, release, specifier


class MergeSettings(Section):
    """The only way two sources share a project."""

    names: list[Pattern] = Field(min_length=1)
    sources: list[str] = Field(min_length=2)
    public_versions: SpecifierText | None = None
    """The versions that public sources may add; none stated: all."""


class WaiverSettings(Section):
    """An exception from ``deny``, ``allow`` and cool-downs that somebody answers for."""

    name: ProjectName
    version: SpecifierText
    reason: Said
    by: Said
    until: Moment


class PolicySettings(Section):
    """Who may answer for which name, and what is withheld."""

    reserved: list[Pattern] = []
    allow: list[ReleaseText] | None = None
    deny: list[ReleaseText] = []
    cooldown: Cooldown | None = None
    cooldown_exempt: list[Pattern] = []
    merge: list[MergeSettings] = []
    waiver: list[WaiverSettings] = []

    def contradictions(self) -> list[str]:
        """See :class:`~wheelgate.config.section.Section`."""
        allowed = {release(text).key: index for index, text in enumerate(self.allow or ())}
        problems = [
            f"deny[{index}]: {text} stands in policy.allow[{allowed[key]}] too: take it out of one of them"
            for index, text in enumerate(self.deny)
            if (key := release(text).key) in allowed
        ]
        if self.allow == []:
            problems.append("allow: is empty, so nothing public could be installed: name what may be, or leave it out")
        return problems + [
            f"waiver[{later}]: covers versions of {one.name} that policy.waiver[{earlier}] covers too: make one of them"
            for (earlier, one), (later, other) in combinations(enumerate(self.waiver), 2)
            if one.name == other.name and _overlap(specifier(one.version), specifier(other.version))
        ]

    def misfits(self, sources: Collection[str], private: Collection[str]) -> list[str]:
        """What does not fit the sources there are: a sentence each, beginning with the key path from here."""
        problems = [
            f"merge[{index}].sources: there is no source {name}"
            for index, merge in enumerate(self.merge)
            for name in merge.sources
            if name not in sources
        ]
        problems += [
            f"merge[{index}].sources: {later} is private and must come before {earlier}: a public source would take its "
            "file names"
            for index, merge in enumerate(self.merge)
            for earlier, later in pairwise(merge.sources)
            if later in private and earlier in sources and earlier not in private
        ]
        return problems + [
            f"merge[{index}].public_versions: none of its sources is public"
            for index, merge in enumerate(self.merge)
            if merge.public_versions is not None and all(name in private for name in merge.sources)
        ]

    def doubts(self, now: datetime, cooldowns: Iterable[Cooldown], public: Collection[str]) -> list[str]:
        """What is certainly without effect, though nothing is wrong with it; with its key path from here.

        ``cooldowns``: those that single sources have. ``public``: the sources that are.
        """
        told = [
            f"waiver[{index}]: of {waiver.name} ended at {waiver.until:%Y-%m-%d %H:%M}Z: take it out, or renew it"
            for index, waiver in enumerate(self.waiver)
            if waiver.until <= now
        ]
        cooled = self.cooldown or any(cooldowns)
        if self.waiver and not cooled and not self.deny and self.allow is None:
            told.append("waiver: there is no deny, allow or cooldown that it could lift")
        if self.cooldown_exempt and not cooled:
            told.append("cooldown_exempt: there is no cooldown")
        if not public:
            told += [
                f"{key}: is for public sources, and there is none"
                for key, value in (("cooldown", self.cooldown), ("allow", self.allow))
                if value
            ]
        told += [
            f"{key}: is a moment that has not come yet, so nothing is frozen until then"
            for key, value in (("cooldown", self.cooldown),)
            if isinstance(value, datetime) and value > now
        ]
        return told + [
            f"merge[{later}]: every one of its names belongs to merge[{earlier}] already, which comes first"
            for (earlier, one), (later, other) in combinations(enumerate(self.merge), 2)
            if all("*" not in name and name in NamePatterns(one.names) for name in map(normalise_pattern, other.names))
        ]


def _overlap(one: SpecifierSet, other: SpecifierSet) -> bool:
    """Whether a version lies in both, tried at each bound and just beside it."""
    both = one & other
    return any(both.contains(version, prereleases=True) for version in _around([*one, *other]))


def _around(parts: Sequence[object]) -> Iterable[Version]:
    yield Version("0")
    yield Version("99999!0")
    for part in parts:
        text = str(getattr(part, "version", "")).removesuffix(".*")
        try:
            bound = Version(text)
        except InvalidVersion:  # of ===
            continue
        yield bound
        yield Version(f"{bound.base_version}.0.0.0.1")
        if not bound.is_prerelease:
            yield Version(f"{bound.base_version}.dev0")
