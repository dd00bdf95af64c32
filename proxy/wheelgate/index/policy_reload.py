"""Reloading the policy: rules are built from the settings, and replaced by newer ones while the process runs."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from wheelgate.config import Config
from wheelgate.config.section import find_changed_keys
from wheelgate.core.errors import ConfigurationError
from wheelgate.core.patterns import NamePatterns, parse_release, parse_specifier
from wheelgate.index.decision import MergeRule
from wheelgate.index.merged import Merged
from wheelgate.index.rules import Cooldown, Rules, Waiver
from wheelgate.index.screened import RuleBook


class ReloadResult(msgspec.Struct, frozen=True):
    """The effect of reading the settings again, as key paths of the file."""

    in_force: list[str]
    """Rules that have changed, and apply from now on."""
    after_restart: list[str]
    """Settings that have changed in the file, and apply after a restart of the process."""


class PolicyReload:
    """The settings of this process, and the way for newer rules to come into force everywhere in it at once."""

    def __init__(self, config: Config, book: RuleBook, index: Merged) -> None:
        self._config = config
        self._book = book
        self._index = index

    def replace(self, newer: Config) -> ReloadResult:
        """Apply the rules of settings that were read again, and nothing else of them.

        Raises:
            ConfigurationError: they do not fit the sources of this process; nothing was changed.
        """
        cooldowns = {source.name: source.cooldown for source in newer.source}
        sources = [
            source.model_copy(update={"cooldown": cooldowns.get(source.name, source.cooldown)}) for source in self._config.source
        ]
        config = self._config.model_copy(update={"policy": newer.policy, "source": sources})
        if problems := config.find_contradictions():
            raise ConfigurationError([f"{problem} (of those this process was started with)" for problem in problems])
        in_force = find_changed_keys(self._config, config)
        # Connections of the folder are reloaded by themselves.
        after_restart = [key for key in find_changed_keys(config, newer) if not key.startswith("found_connections")]
        if in_force:
            self._config = config
            self._book.rules, self._book.reserved = rules_of(config), NamePatterns(config.policy.reserved)
            self._index.replace_rules(self._book.reserved, merges_of(config))
        return ReloadResult(in_force, after_restart)


def rules_of(config: Config) -> Rules:
    """Build the rules that may withhold a file."""
    policy = config.policy
    return Rules(
        allow=None if policy.allow is None else [parse_release(text) for text in policy.allow],
        deny=[parse_release(text) for text in policy.deny],
        cooldown=None if policy.cooldown is None else _cooldown(policy.cooldown),
        cooldowns={source.name: _cooldown(source.cooldown) for source in config.source if source.cooldown is not None},
        exempt=policy.cooldown_exempt,
        waivers=[
            Waiver(waiver.name, waiver.version, parse_specifier(waiver.version), waiver.reason, waiver.by, waiver.until)
            for waiver in policy.waiver
        ],
    )


def merges_of(config: Config) -> list[MergeRule]:
    """Build the rules by which several sources share a project."""
    return [
        MergeRule(
            NamePatterns(merge.names),
            tuple(merge.sources),
            None if merge.public_versions is None else parse_specifier(merge.public_versions),
        )
        for merge in config.policy.merge
    ]


def _cooldown(value: float | datetime) -> Cooldown:
    return value if isinstance(value, datetime) else timedelta(seconds=value)
