"""Reloading the policy: rules are built from the settings, and replaced by newer ones while the process runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import msgspec

from wheelgate.config import Config, Connection, SourceSettings
from wheelgate.config.load import find_sources_made_private, make_sources_private
from wheelgate.config.section import find_changed_keys
from wheelgate.core.errors import ConfigurationError
from wheelgate.core.patterns import NamePatterns, parse_release, parse_specifier
from wheelgate.index.decision import Member, MergeRule
from wheelgate.index.merged import Merged
from wheelgate.index.rules import Cooldown, Rules, Waiver
from wheelgate.index.screened import RuleBook

_log = logging.getLogger(__name__)


class ReloadResult(msgspec.Struct, frozen=True):
    """The effect of reading the settings again, as key paths of the file."""

    in_force: list[str]
    """Rules that have changed, and apply from now on."""
    after_restart: list[str]
    """Settings that have changed in the file, and apply after a restart of the process."""


class PolicyReload:
    """The settings of this process, and the way for newer rules to come into force everywhere in it at once."""

    def __init__(self, config: Config, book: RuleBook, index: Merged, build_member: Callable[[SourceSettings], Member]) -> None:
        """``build_member``: builds a source by other settings, to take the place of the one that runs."""
        self._config = config
        self._book = book
        self._index = index
        self._build_member = build_member

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
            self._index.replace_rules(NamePatterns(config.policy.reserved), merges_of(config))
            self._book.rules = rules_of(config)
        return ReloadResult(in_force, after_restart)

    def admit(self, connections: Sequence[Connection]) -> None:
        """Make the sources private that these connections serve, before they are used. They stay so until this process ends.

        The answers of such an index while it was public, and nobody had signed in, are forgotten. If it is unreachable, its kept
        pages stand in for it (stale-if-error), as after a restart.

        Raises:
            ConfigurationError: a rule in force does not fit; nothing was changed.
        """
        becoming = find_sources_made_private(self._config, connections)
        self._config = make_sources_private(self._config, connections)
        for source in self._config.source:
            if source.name in becoming:
                self._index.replace_member(self._build_member(source))
                _log.warning(
                    "connection %s makes source %s private: its names are never asked of a public source from now on",
                    becoming[source.name],
                    source.name,
                )


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
