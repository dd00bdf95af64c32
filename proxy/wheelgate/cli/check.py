"""`wheelgate check`: the settings, the store, every source, every rule."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import click

from wheelgate.cli.checks.findings import Finding, report, report_configuration
from wheelgate.cli.checks.settings import describe_rules, drop_unreadable_containers, find_duplicates
from wheelgate.cli.checks.sources import check_sources
from wheelgate.cli.checks.stored import check_layouts, check_mirrors, check_records
from wheelgate.cli.checks.subjects import list_subjects
from wheelgate.cli.checks.unoffered import check_unoffered
from wheelgate.cli.options import config_options, json_option, load_settings, load_tls, run_to_end
from wheelgate.cli.progress import Activity
from wheelgate.config import Config
from wheelgate.core.errors import ConfigurationError, StoreError


@click.command()
@config_options
@json_option
def check(config: Path | None, data: Path | None, as_json: bool) -> None:
    """Validate the settings, and test the store and every source, past whatever is remembered of it.

    Exit status 0 if all works, 1 if something does not, 2 if the settings are wrong.
    """
    logging.getLogger().addHandler(logging.NullHandler())  # the findings say what a log would say
    activity = Activity("the connections")
    try:
        settings = load_settings(config, data)
        load_tls(settings)  # a missing certificate is found here, not at the next start
        findings = run_to_end(run_checks(settings, activity.step), activity.describe)
    except ConfigurationError as error:
        if as_json:
            report_configuration(error)
        raise
    report(findings, as_json=as_json)


async def run_checks(config: Config, step: Callable[[str], None] = lambda _: None) -> list[Finding]:
    """Check everything, one thing after the other; ``step`` hears what is next."""
    from wheelgate.wiring import open_keyring, open_services

    async with open_keyring(config) as keyring:
        usable, unusable = await drop_unreadable_containers(config, keyring)
    if usable is None:
        return unusable
    try:
        async with open_services(usable) as services:  # which writes the store
            problem = services.spool.problem()
            store = f"{usable.store_location} can be read{f', but {problem}' if problem else ' and written'}"
            findings = [Finding("store", not problem, store), *find_duplicates(config)]
            subjects = list_subjects(services, usable, config)
            findings += [finding async for finding in check_sources(subjects, step)]
            step("mirrors, containers and records")
            findings += [finding async for finding in check_mirrors(usable, services.containers)]
            findings += [finding async for finding in check_layouts(usable, services.containers)]
            findings += [finding async for finding in check_unoffered(services.index.members)]
            findings += await check_records(services.store)
            idle = [f"policy.{message}" for message in config.find_idle_policy(services.clock.now())]
            findings += describe_rules(services.index, services.rules.rules, idle)
    except StoreError as error:
        findings = [Finding("store", False, str(error))]
    return [*findings, *unusable]
