"""`wheelgate check`: a dry run of the settings, the store and every source."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import click

from wheelgate.cli import diagnostics
from wheelgate.cli.options import config_options, json_option, load_settings, load_tls
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
    diagnostics.report(asyncio.run(_run_checks(settings)), as_json=as_json)


async def _run_checks(config: Config) -> list[diagnostics.Finding]:
    from wheelgate.wiring import open_keyring, open_services

    async with open_keyring(config) as keyring:
        usable, unusable = await diagnostics.drop_unreadable_containers(config, keyring)
    if usable is None:
        return unusable
    try:
        async with open_services(usable) as services:
            probes = diagnostics.build_probes(usable, services.keyring)
            checks = diagnostics.check_sources(usable.store_location, services.index, services.targets, probes)
            findings = [finding async for finding in checks]
            findings += [finding async for finding in diagnostics.check_mirrors(usable, services.containers)]
            idle = [f"policy.{message}" for message in config.find_idle_policy(services.clock.now())]
            findings += diagnostics.describe_rules(services.index, services.rules.rules, idle)
    except StoreError as error:
        findings = [diagnostics.Finding("store", False, str(error))]
    return [*findings, *unusable]
