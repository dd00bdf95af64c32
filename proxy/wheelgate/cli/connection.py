"""`wheelgate connection set`, `list`, `show`, `delete`, `test`."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from wheelgate.cli.diagnostics import Finding, connection_findings
from wheelgate.cli.options import config_options, load_settings
from wheelgate.config import (
    Config,
    Connection,
    ConnectionDocument,
    ConnectionsFolder,
    build_document_fields,
    derive_secret_name,
    find_conflicts,
    find_sources_made_private,
    make_sources_private,
    read_document,
)
from wheelgate.core.errors import ConfigurationError
from wheelgate.core.secret import Secret

_MAX_SECRET_BYTES = 16 * 1024
_ASKED = "secret:asked"
"""Stands for the secret until it is stored."""


@click.group()
def connection() -> None:
    """Stored credentials: which secret belongs to which URL, and everything below it."""


@connection.command(name="set")
@config_options
@click.option(
    "-f", "--file", type=click.Path(path_type=Path), help="A document: what `az ml connection create -f` takes, as it is."
)
@click.option("--name", help="Of the connection; the one that is there is replaced.")
@click.option("--category", help="PythonFeed (the default), Git, AzureBlob or HttpProxy.")
@click.option("--target", help="The URL that the credential is for, with everything below it.")
@click.option("--auth-type", help="None, PAT, UsernamePassword, Bearer, ManagedIdentity, ServicePrincipal or SAS.")
@click.option("--username", help="Of UsernamePassword; beside a PAT it does not matter.")
@click.option("--client-id", help="Of a ManagedIdentity (if there are several) or ServicePrincipal.")
@click.option("--tenant-id", help="Of a ServicePrincipal.")
@click.option("--scope", help="What an Entra token is for; known for Azure DevOps and storage.")
@click.option("--allow-http", is_flag=True, help="The target is plain http beyond this machine: the secret travels readable.")
@click.option("--value", help="Where the secret is: env:NAME, file:PATH or keyvault:NAME. Without it, it is asked for.")
def set_(config: Path | None, data: Path | None, file: Path | None, allow_http: bool, **given: str | None) -> None:
    """Store a connection, or replace it.

    The secret itself is asked for, or read from standard input; never give it as an argument, which other users of this machine
    can see. It is kept in the configured key vault or, readable to you alone, in secrets.toml beside the connections folder.
    """
    loaded = load_settings(config, data, new_folder=True)
    said: dict[str, str | bool] = {key: value for key, value in given.items() if value is not None}
    document = _said(file, said | {"allow_http": True} if allow_http else said)
    wanted = _complete(document, file)
    if any(c.name == wanted.name for c in loaded.connection):
        raise ConfigurationError([f"connection {wanted.name} stands in the configuration file: change it there"])
    others = [c for c in loaded.connections if c.name != wanted.name]
    if problems := find_conflicts([*others, wanted]):
        raise ConfigurationError([problem.partition(": ")[2] for problem in problems])
    make_sources_private(loaded, [wanted])  # else no server would start any more
    secret = document.secret
    if secret is None and wanted.value == _ASKED:
        secret = _secret_of(wanted)
    stored = asyncio.run(_store(loaded, wanted, secret))
    where = f" (its secret is {stored.value})" if secret is not None else ""
    print(f"connection {stored.name} is for {stored.target} and everything below it{where}")
    if document.secret is not None:
        print(f"wheelgate: {file} still holds the secret itself: remove it there", file=sys.stderr)
    former = next((c.value for c in loaded.found_connections if c.name == wanted.name), None)
    if former != stored.value:
        _say_what_a_vault_keeps(former)
    for source in find_sources_made_private(loaded, [stored]):
        print(
            f"wheelgate: source {source} is private by it: its names are never asked of a public source, by a "
            "running server either; `private = false` in the configuration, if that is not meant",
            file=sys.stderr,
        )


def _said(file: Path | None, given: dict[str, str | bool]) -> ConnectionDocument:
    """What document and options say together; an option beats the document."""
    if file is None:
        if "name" not in given or "target" not in given:
            raise click.UsageError("--name and --target say what is to be stored; or -f FILE, a document that does")
        return ConnectionDocument.from_fields({"auth_type": "PAT", **given})
    document = read_document(file)
    return ConnectionDocument.from_fields({**document.fields, **given}, None if "value" in given else document.secret)


def _complete(document: ConnectionDocument, file: Path | None) -> Connection:
    """The connection as it is wanted, perhaps without its secret yet."""
    needs_secret = document.fields.get("auth_type") not in ("None", "ManagedIdentity")
    try:
        if needs_secret and "value" not in document.fields:
            return document.build_connection(value=_ASKED)
        return document.build_connection()
    except ConfigurationError as error:
        if file is None:
            raise
        raise ConfigurationError([f"{file}: {problem}" for problem in error.problems]) from None


def _secret_of(wanted: Connection) -> Secret:
    """What is typed at the prompt, or the first line of standard input."""
    if sys.stdin is not None and sys.stdin.isatty():
        line = click.prompt(
            f"Secret of {wanted.name} ({wanted.auth_type})", hide_input=True, default="", show_default=False, err=True
        )
    else:
        line = "" if sys.stdin is None else sys.stdin.buffer.readline(_MAX_SECRET_BYTES + 1).decode("utf-8", "replace")
    text = line.strip()
    if not text:
        raise click.UsageError("no secret was given, neither at the prompt nor on standard input; or --value says where it is")
    if not text.isprintable() or "\N{REPLACEMENT CHARACTER}" in text or len(line.encode()) > _MAX_SECRET_BYTES:
        raise click.UsageError("what was given is no secret: it must be one line of text")
    return Secret(text)


async def _store(config: Config, wanted: Connection, secret: Secret | None) -> Connection:
    folder = ConnectionsFolder(config)
    if secret is not None and config.server.key_vault is not None:
        from wheelgate.wiring import open_keyring

        name = re.sub(r"[^A-Za-z0-9-]", "-", f"wheelgate-{derive_secret_name(wanted)}")
        async with open_keyring(config) as keyring:
            await (await keyring.vault(None)).write(name, secret)
        wanted, secret = wanted.model_copy(update={"value": f"keyvault:{name}"}), None
    return await asyncio.to_thread(folder.put, wanted, secret)


def _say_what_a_vault_keeps(reference: str | None) -> None:
    if (reference or "").startswith("keyvault:"):
        print(f"wheelgate: the secret is still in the key vault ({reference}): delete it there", file=sys.stderr)


@connection.command(name="list")
@config_options
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_(config: Path | None, data: Path | None, as_json: bool) -> None:
    """List the connections, without their secrets."""
    found = load_settings(config, data).connections
    if as_json:
        print(json.dumps([build_document_fields(entry) for entry in found], indent=2))
        return
    if not found:
        print("there is no connection: `wheelgate connection set` stores one", file=sys.stderr)
    for entry in found:
        print(f"{entry.name}  {entry.category}  {entry.auth_type}  {entry.target}")


@connection.command()
@config_options
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def show(config: Path | None, data: Path | None, name: str, as_json: bool) -> None:
    """Show one connection: where its secret is, never the secret."""
    fields = build_document_fields(_named(load_settings(config, data), name))
    print(json.dumps(fields, indent=2) if as_json else "\n".join(f"{key}: {value}" for key, value in fields.items()))


@connection.command()
@config_options
@click.argument("name")
def delete(config: Path | None, data: Path | None, name: str) -> None:
    """Forget a connection, and its secret if it is kept in secrets.toml."""
    loaded = load_settings(config, data)
    found = _named(loaded, name)
    if found in loaded.connection:
        raise ConfigurationError([f"connection {name} stands in the configuration file: remove it there"])
    ConnectionsFolder(loaded).remove(found)
    print(f"connection {name} is forgotten")
    _say_what_a_vault_keeps(found.value)
    private = {source.name for source in loaded.source if source.is_private}
    for source in load_settings(config, data).source:
        if source.name in private and not source.is_private:
            print(
                f"wheelgate: no connection serves source {source.name} any more, so that its names count as public from the next "
                "start of the server on: say private = true if that is not meant",
                file=sys.stderr,
            )


@connection.command()
@config_options
@click.argument("name")
@click.option("--url", help="A URL below the target to ask; without one, what a source of the configuration would ask.")
@click.option("--json", "as_json", is_flag=True, help="The findings as JSON.")
def test(config: Path | None, data: Path | None, name: str, url: str | None, as_json: bool) -> None:
    """Sign in with a connection, and say what came back. Exit status 1 if it does not work."""
    loaded = load_settings(config, data)
    found = asyncio.run(_tried(loaded, _named(loaded, name), url))
    if as_json:
        print(json.dumps([{"what": f.what, "ok": f.ok, "detail": f.detail} for f in found], indent=2))
    else:
        for finding in found:
            print(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.what}: {finding.detail}")
    sys.exit(0 if all(finding.ok for finding in found) else 1)


async def _tried(config: Config, found: Connection, url: str | None) -> list[Finding]:
    from wheelgate.wiring import open_services

    with TemporaryDirectory() as scratch:
        config = config.limit_to_connection(found, url, Path(scratch))
        async with open_services(config) as gate:
            credential = gate.keyring.of_page(found.target).for_url(found.target)
            return [finding async for finding in connection_findings(credential, gate.index)]


def _named(config: Config, name: str) -> Connection:
    found = next((entry for entry in config.connections if entry.name == name), None)
    if found is None:
        raise ConfigurationError([f"there is no connection {name}: `wheelgate connection list` shows them"])
    return found
