"""`wheelgate check`."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path

import click

from wheelgate.cli.diagnostics import (
    Finding,
    findings,
    mirror_findings,
    remotes,
    rule_findings,
    store_failed,
    without_missing_secrets,
)
from wheelgate.cli.options import config_options, load_settings
from wheelgate.config import Config
from wheelgate.core.errors import StoreError


@click.command()
@config_options
@click.option("--json", "as_json", is_flag=True, help="The findings as JSON.")
def check(config: Path | None, data: Path | None, as_json: bool) -> None:
    """Validate the settings, and try the store and every source. Exit status 1 if something does not work."""
    logging.getLogger().addHandler(logging.NullHandler())  # what a log would say of a source stands in its finding
    loaded = load_settings(config, data)
    _check_tls(loaded)
    found = asyncio.run(_found(loaded))
    if as_json:
        print(json.dumps([{"what": f.what, "ok": f.ok, "doubtful": f.doubtful, "detail": f.detail} for f in found], indent=2))
    else:
        for finding in found:
            print(f"{'warn' if finding.doubtful else 'ok  ' if finding.ok else 'FAIL'}  {finding.what}: {finding.detail}")
    sys.exit(0 if all(finding.ok for finding in found) else 1)


def _check_tls(config: Config) -> None:
    """As `serve` would: a missing certificate is found here, not at the next start."""
    server = config.server
    if server.tls_cert is not None and server.tls_key is not None:
        from wheelgate.web.server import build_tls_context

        build_tls_context(config.folder / server.tls_cert, config.folder / server.tls_key)


async def _found(config: Config) -> list[Finding]:
    from wheelgate.wiring import open_keyring, open_services

    async with open_keyring(config) as keyring:
        usable, found = await without_missing_secrets(config, keyring)
    if usable is None:
        return found
    try:
        async with open_services(usable) as gate:
            asked = remotes(usable, gate.keyring)
            tried = [finding async for finding in findings(usable.store_location, gate.index, gate.targets, asked)]
            tried += [finding async for finding in mirror_findings(usable, gate.containers)]
            doubts = [f"policy.{doubt}" for doubt in config.find_idle_policy(gate.clock.now())]
            tried += rule_findings(gate.index, gate.rules.rules, doubts)
    except StoreError as error:
        tried = [store_failed(error)]
    return [*tried, *found]
