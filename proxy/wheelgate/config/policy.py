"""``[policy]`` section: reserved names, merges, allow and deny lists, cool-downs, waivers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from itertools import combinations, pairwise

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version
from pydantic import Field

from wheelgate.config.section import Section
from wheelgate.config.value_types import Cooldown, HumanText, Moment, Pattern, ProjectName, ReleaseText, SpecifierText
from wheelgate.core.patterns import NamePatterns, normalise_pattern, parse_release, parse_specifier


class MergeSettings(Section):
    """Merge rule: the only way two sources share a project."""

    names: list[Pattern] = Field(min_length=1)
    sources: list[str] = Field(min_length=2)
    public_versions: SpecifierText | None = None
    """Versions that public sources may add; ``None``: all."""


class WaiverSettings(Section):
    """Waiver: a documented exception from ``deny``, ``allow`` and cool-downs."""

    name: ProjectName
    version: SpecifierText
    reason: HumanText
    by: HumanText
    until: Moment


class PolicySettings(Section):
    """Rules on which source answers for a name, and on what is withheld."""

    reserved: list[Pattern] = []
    allow: list[ReleaseText] | None = None
    deny: list[ReleaseText] = []
    cooldown: Cooldown | None = None
    cooldown_exempt: list[Pattern] = []
    merge: list[MergeSettings] = []
    waiver: list[WaiverSettings] = []

    def find_contradictions(self) -> list[str]:
        allowed = {parse_release(text).key: index for index, text in enumerate(self.allow or ())}
        problems = [
            f"deny[{index}]: {text} is also in policy.allow[{allowed[key]}]: remove it from one of them"
            for index, text in enumerate(self.deny)
            if (key := parse_release(text).key) in allowed
        ]
        if self.allow == []:
            problems.append(
                "allow: is empty, so nothing public could be installed: list what may be installed, or remove the setting"
            )
        return problems + [
            f"waiver[{later}]: overlaps policy.waiver[{earlier}] for {one.name}: combine them into one"
            for (earlier, one), (later, other) in combinations(enumerate(self.waiver), 2)
            if one.name == other.name and _overlap(parse_specifier(one.version), parse_specifier(other.version))
        ]

    def find_misfits(self, sources: Collection[str], private: Collection[str], passing: Collection[str]) -> list[str]:
        """Find rules that do not fit the configured sources; each message begins with the key path from here.

        ``passing``: those of the private sources that may pass public packages through, whose files from there are public.
        """
        problems = []
        for index, merge in enumerate(self.merge):
            key = f"merge[{index}].sources"
            problems += [f"{key}: there is no source named {name}" for name in merge.sources if name not in sources]
            problems += [
                f"{key}: {later} is private and must come before {earlier}: otherwise the public source would take its file names"
                for earlier, later in pairwise(merge.sources)
                if later in private and earlier in sources and earlier not in private
            ]
            if merge.public_versions is not None and not any(name in passing or name not in private for name in merge.sources):
                problems.append(
                    f"merge[{index}].public_versions: none of its sources is public, or passes public packages through: remove it"
                )
        return problems

    def find_idle_rules(self, now: datetime, cooldowns: Iterable[Cooldown], public: Collection[str]) -> list[str]:
        """Find rules that are valid but have no effect; each message begins with the key path from here.

        ``cooldowns``: those of single sources. ``public``: the names of the public sources.
        """
        idle = [
            f"waiver[{index}]: for {waiver.name} expired at {waiver.until:%Y-%m-%d %H:%M}Z: remove or renew it"
            for index, waiver in enumerate(self.waiver)
            if waiver.until <= now
        ]
        cooled = self.cooldown or any(cooldowns)
        if self.waiver and not cooled and not self.deny and self.allow is None:
            idle.append("waiver: has no effect without deny, allow or cooldown")
        if self.cooldown_exempt and not cooled:
            idle.append("cooldown_exempt: has no effect without a cooldown")
        if not public:
            idle += [
                f"{key}: applies to public sources, but there is none"
                for key, value in (("cooldown", self.cooldown), ("allow", self.allow))
                if value
            ]
        if isinstance(self.cooldown, datetime) and self.cooldown > now:
            idle.append("cooldown: is a date in the future, so nothing is frozen until then")
        return idle + [
            f"merge[{later}]: has no effect: merge[{earlier}] comes first and covers all of its names"
            for (earlier, one), (later, other) in combinations(enumerate(self.merge), 2)
            if all("*" not in name and name in NamePatterns(one.names) for name in map(normalise_pattern, other.names))
        ]


def _overlap(one: SpecifierSet, other: SpecifierSet) -> bool:
    """Tell if a version lies in both, trying each bound and its neighbours."""
    both = one & other
    return any(both.contains(version, prereleases=True) for version in _sample_versions([*one, *other]))


def _sample_versions(parts: Sequence[object]) -> Iterable[Version]:
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
