"""`wheelgate token new`, `list`, `revoke`: inbound tokens."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wheelgate.cli.json_rows import printing_rows
from wheelgate.cli.options import config_options, json_option, load_settings, run_with_services
from wheelgate.config import parse_duration_s
from wheelgate.storage.tokens import Token

if TYPE_CHECKING:
    from wheelgate.services import Services


@click.group()
def token() -> None:
    """Tokens for people and builds; every upload needs one."""


@token.command()
@config_options
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    help="read or upload, also for some names only (upload:acme-*). Upload includes yanking and deleting. Repeatable.",
)
@click.option("--expires", default="90d", show_default=True, help="Lifetime, at most 366d.")
@click.option("--note", default="", help="Purpose, shown by `token list`.")
def new(config: Path | None, data: Path | None, scopes: tuple[str, ...], expires: str, note: str) -> None:
    """Create a token. It is printed once and cannot be shown again; only a hash of it is stored."""
    try:
        life = timedelta(seconds=parse_duration_s(expires, needs_unit=True))
    except ValueError as error:
        raise click.UsageError(f"--expires: {error}") from None

    async def create(services: Services) -> tuple[str, Token]:
        return await services.tokens.new(scopes, life, note)

    text, created = run_with_services(load_settings(config, data), create)
    print(text)
    print(
        f"token {created.id} may {', '.join(created.scopes)} until {created.expires:%Y-%m-%d %H:%M}Z; it is not shown again",
        file=sys.stderr,
    )


@token.command(name="list")
@config_options
@json_option
def list_(config: Path | None, data: Path | None, as_json: bool) -> None:
    """List the tokens by their identifiers, without their secrets."""

    async def print_all(services: Services) -> None:
        if as_json:
            with printing_rows() as rows:
                async for token in _leave_out_damaged(services.tokens.all()):
                    rows.print(_build_row(token, expired=services.tokens.has_expired(token)))
            return
        async for token in _leave_out_damaged(services.tokens.all()):
            life = f"{'expired' if services.tokens.has_expired(token) else 'until'} {token.expires:%Y-%m-%d %H:%M}Z"
            print(f"{token.id}  {life}  {', '.join(token.scopes)}  {token.note}".rstrip())

    run_with_services(load_settings(config, data), print_all)


async def _leave_out_damaged(rows: AsyncIterator[tuple[str, Token | None]]) -> AsyncIterator[Token]:
    """Leave out what cannot be believed, and say so."""
    async for identifier, token in rows:
        if token is not None:
            yield token
        else:
            advice = f"it lets nobody in; remove it with wheelgate token revoke {identifier}"
            print(f"wheelgate: the record of token {identifier} is damaged: {advice}", file=sys.stderr)


def _build_row(token: Token, *, expired: bool) -> dict[str, object]:
    return {
        "id": token.id,
        "scopes": token.scopes,
        "expires": token.expires.isoformat(),
        "expired": expired,
        "note": token.note,
    }


@token.command()
@config_options
@click.argument("identifier", metavar="ID")
def revoke(config: Path | None, data: Path | None, identifier: str) -> None:
    """Revoke a token, on every replica within seconds. ID is the one that `token list` shows."""

    async def revoke_token(services: Services) -> bool:
        return await services.tokens.revoke(identifier)

    settings = load_settings(config, data)
    if not identifier.isalnum() or not identifier.isascii() or not run_with_services(settings, revoke_token):
        print(f"wheelgate: there is no token {identifier}: `wheelgate token list` shows them", file=sys.stderr)
        sys.exit(1)
    print(f"revoked {identifier}")
