"""`wheelgate check`: the settings, the store, every source, every rule."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import click

from wheelgate.cli.checks.findings import Finding, report, tell_place
from wheelgate.cli.checks.settings import describe_rules, drop_unreadable_containers
from wheelgate.cli.checks.sources import check_sources
from wheelgate.cli.checks.stored import check_layouts, check_mirrors, check_records
from wheelgate.cli.options import config_options, json_option, load_settings, load_tls, run_to_end
from wheelgate.cli.progress import Activity
from wheelgate.config import Config
from wheelgate.core.errors import StoreError


@click.command()
@config_options
@json_option
def check(config: Path | None, data: Path | None, as_json: bool) -> None:
    """Validate the settings, and test the store and every source. Exit status 1 if something does not work."""
    logging.getLogger().addHandler(logging.NullHandler())  # the findings say what a log would say
    settings = load_settings(config, data)
    load_tls(settings)  # a missing certificate is found here, not at the next start
    activity = Activity("the connections")
    report(run_to_end(_run_checks(settings, activity.step), activity.describe), as_json=as_json)


async def _run_checks(config: Config, step: Callable[[str], None]) -> list[Finding]:
    from wheelgate.wiring import open_keyring, open_services

    async with open_keyring(config) as keyring:
        usable, unusable = await drop_unreadable_containers(config, keyring)
    if usable is None:
        return unusable
    try:
        async with open_services(usable) as services:
            remote = {
                one.name: (one, services.keyring.of_page(one.index_url).is_covered) for one in usable.source if one.is_remote
            }
            checks = check_sources(usable.store_location, services.index, services.targets, remote, services.absences, step)
            findings = [tell_place(finding, usable) async for finding in checks]
            if problem := services.spool.problem():
                findings[0] = Finding("store", False, f"{usable.store_location} can be read, but {problem}")
            step("mirrors, containers and records")
            findings += [finding async for finding in check_mirrors(usable, services.containers)]
            findings += [finding async for finding in check_layouts(usable, services.containers)]
            findings += await check_records(services.store)
            idle = [f"policy.{message}" for message in config.find_idle_policy(services.clock.now())]
            findings += describe_rules(services.index, services.rules.rules, idle)
    except StoreError as error:
        findings = [Finding("store", False, str(error))]
    return [*findings, *unusable]
