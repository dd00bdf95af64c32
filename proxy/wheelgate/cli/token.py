"""`wheelgate token new`, `token list`, `token revoke`."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import timedelta
from pathlib import Path

import click

from wheelgate.cli.options import config_options, load_settings
from wheelgate.config import Config, parse_duration_s
from wheelgate.storage.tokens import Token


@click.group()
def token() -> None:
    """Tokens that let people and builds in: uploads always need one."""


@token.command()
@config_options
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    help="read or upload, or one of them for some names (upload:acme-*); who uploads may also yank and delete. Repeatable.",
)
@click.option("--expires", default="90d", show_default=True, help="How long it lives, at most 366d.")
@click.option("--note", default="", help="What it is for, for whoever lists tokens later.")
def new(config: Path | None, data: Path | None, scopes: tuple[str, ...], expires: str, note: str) -> None:
    """Make a token. It is printed once and cannot be shown again; only a hash of it is stored."""
    try:
        life = timedelta(seconds=parse_duration_s(expires))
    except ValueError as error:
        raise click.UsageError(f"--expires: {error}") from None
    text, made = asyncio.run(_new(load_settings(config, data), scopes, life, note))
    print(text)
    print(f"token {made.id} may {', '.join(made.scopes)}, until {made.expires:%Y-%m-%d}; it is not shown again", file=sys.stderr)


async def _new(config: Config, scopes: tuple[str, ...], life: timedelta, note: str) -> tuple[str, Token]:
    from wheelgate.wiring import open_services

    async with open_services(config) as gate:
        made = await gate.tokens.new(scopes, life, note)
        await gate.changes.announce()
        return made


@token.command(name="list")
@config_options
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_(config: Path | None, data: Path | None, as_json: bool) -> None:
    """List the tokens, without their secrets."""
    tokens = asyncio.run(_list(load_settings(config, data)))
    if as_json:
        print(json.dumps([_row(known, expired=expired) for known, expired in tokens], indent=2))
        return
    for known, expired in tokens:
        life = f"{'expired' if expired else 'until'} {known.expires:%Y-%m-%d}"
        print(f"{known.id}  {life}  {', '.join(known.scopes)}  {known.note}".rstrip())


def _row(known: Token, *, expired: bool) -> dict[str, object]:
    return {
        "id": known.id,
        "scopes": known.scopes,
        "expires": known.expires.isoformat(),
        "expired": expired,
        "note": known.note,
    }


async def _list(config: Config) -> list[tuple[Token, bool]]:
    """Every token, and whether it has expired."""
    from wheelgate.wiring import open_services

    async with open_services(config) as gate:
        return [(known, gate.tokens.has_expired(known)) for known in await gate.tokens.all()]


@token.command()
@config_options
@click.argument("identifier", metavar="ID")
def revoke(config: Path | None, data: Path | None, identifier: str) -> None:
    """Make a token useless, on every replica within seconds. ID is what `token list` shows."""
    if not asyncio.run(_revoke(load_settings(config, data), identifier)):
        print(f"wheelgate: there is no token {identifier}: `wheelgate token list` shows them", file=sys.stderr)
        sys.exit(1)
    print(f"revoked {identifier}")


async def _revoke(config: Config, identifier: str) -> bool:
    from wheelgate.wiring import open_services

    if not identifier.isalnum() or not identifier.isascii():
        return False
    async with open_services(config) as gate:
        revoked = await gate.tokens.revoke(identifier)
        if revoked:
            await gate.changes.announce()
        return revoked
