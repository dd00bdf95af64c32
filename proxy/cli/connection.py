"""`wheelgate connection set`, `list`, `show`, `delete`, `test`."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path

import click

from proxy.checks import Finding, connection_findings
from proxy.cli.options import configured, settings
from proxy.config import Config, Connection, ConnectionsFolder, Document, document_fields, read_document, ties
from proxy.errors import ConfigurationError
from proxy.secret import Secret


@click.group()
def connection() -> None:
    """Stored credentials: which secret belongs to which URL, and everything below it."""


@connection.command(name="set")
@configured
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
@click.option("--value", help="Where the secret is: env:NAME, file:PATH or keyvault:NAME. Without it, it is asked for.")
def set_(config: Path | None, data: Path | None, file: Path | None, **given: str | None) -> None:
    """Store a connection, or replace it.

    The secret itself is asked for, or read from standard input; never give it as an argument, which other users of this machine
    can see. It is kept in the configured key vault or, readable to you alone, in secrets.toml beside the connections folder.
    """
    loaded = settings(config, data)
    document = _said(file, {key: value for key, value in given.items() if value is not None})
    wanted = _complete(document)
    problems = ties([*(c for c in loaded.connections if c.name != wanted.name), wanted])
    if any(c.name == wanted.name for c in loaded.connection):
        problems = [f"name: {wanted.name} stands in the configuration file: change it there"]
    if problems:
        raise ConfigurationError([problem.partition(": ")[2] for problem in problems])
    if document.secret is None and wanted.value == _ASKED:
        document = Document(document.fields, _secret_of(wanted))
    stored = asyncio.run(_store(loaded, wanted, document.secret))
    where = f" (its secret is {stored.value})" if document.secret is not None and stored.value else ""
    print(f"connection {stored.name} is for {stored.target} and everything below it{where}")
    if file is not None and document.secret is not None:
        print(f"wheelgate: {file} still holds the secret itself: remove it there", file=sys.stderr)


_ASKED = "secret:asked"
"""Stands for the secret until it is stored."""


def _said(file: Path | None, given: dict[str, str]) -> Document:
    """What document and options say together; an option beats the document."""
    if file is None:
        if "name" not in given or "target" not in given:
            raise click.UsageError("--name and --target say what is to be stored; or -f FILE, a document that does")
        return Document.of_fields({"auth_type": "PAT", **given})
    document = read_document(file)
    return Document.of_fields({**document.fields, **given}, document.secret)


def _complete(document: Document) -> Connection:
    needs_secret = document.fields.get("auth_type") in ("PAT", "UsernamePassword", "Bearer", "ServicePrincipal", "SAS")
    value = {"value": _ASKED} if needs_secret and (document.secret is not None or "value" not in document.fields) else {}
    return document.connection(**value)


def _secret_of(wanted: Connection) -> Secret:
    if sys.stdin.isatty():
        text = click.prompt(f"{wanted.auth_type} of {wanted.name}", hide_input=True, err=True)
    else:
        text = sys.stdin.readline().rstrip("\r\n")
    text = text.strip()
    if not text or not text.isprintable():
        raise click.UsageError("no secret was given, neither at the prompt nor on standard input; or --value says where it is")
    return Secret(text)


async def _store(config: Config, wanted: Connection, secret: Secret | None) -> Connection:
    folder = ConnectionsFolder(config)
    if secret is None:
        await asyncio.to_thread(folder.put, wanted)
        return wanted
    if config.server.key_vault is None:
        stored = wanted.model_copy(update={"value": f"secret:{wanted.name}"})
        await asyncio.to_thread(folder.put, stored, secret)
        return stored
    from proxy.wiring import keyring_alone

    name = re.sub(r"[^A-Za-z0-9-]", "-", f"wheelgate-{wanted.name}")
    async with keyring_alone(config) as keyring:
        await (await keyring.vault(None)).write(name, secret)
    stored = wanted.model_copy(update={"value": f"keyvault:{name}"})
    await asyncio.to_thread(folder.put, stored)
    return stored


@connection.command(name="list")
@configured
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_(config: Path | None, data: Path | None, as_json: bool) -> None:
    """List the connections, without their secrets."""
    found = settings(config, data).connections
    if as_json:
        print(json.dumps([document_fields(entry) for entry in found], indent=2))
        return
    if not found:
        print("there is no connection: `wheelgate connection set` stores one", file=sys.stderr)
    for entry in found:
        print(f"{entry.name}  {entry.category}  {entry.auth_type}  {entry.target}")


@connection.command()
@configured
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def show(config: Path | None, data: Path | None, name: str, as_json: bool) -> None:
    """Show one connection: where its secret is, never the secret."""
    fields = document_fields(_named(settings(config, data), name))
    print(json.dumps(fields, indent=2) if as_json else "\n".join(f"{key}: {value}" for key, value in fields.items()))


@connection.command()
@configured
@click.argument("name")
def delete(config: Path | None, data: Path | None, name: str) -> None:
    """Forget a connection, and its secret if it is kept in secrets.toml."""
    loaded = settings(config, data)
    found = _named(loaded, name)
    if found in loaded.connection:
        raise ConfigurationError([f"connection {name} stands in the configuration file: remove it there"])
    ConnectionsFolder(loaded).remove(found)
    print(f"connection {name} is forgotten")
    if (found.value or "").startswith("keyvault:"):
        print(f"wheelgate: its secret is still in the key vault ({found.value})", file=sys.stderr)


@connection.command(name="test")
@configured
@click.argument("name")
@click.option("--url", help="A URL below the target to ask; without one, what a source of the configuration would ask.")
def test(config: Path | None, data: Path | None, name: str, url: str | None) -> None:
    """Sign in with a connection, and say what came back. Exit status 1 if it does not work."""
    loaded = settings(config, data)
    found = asyncio.run(_tried(loaded, _named(loaded, name), url))
    for finding in found:
        print(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.what}: {finding.detail}")
    sys.exit(0 if all(finding.ok for finding in found) else 1)


async def _tried(config: Config, found: Connection, url: str | None) -> list[Finding]:
    from proxy.wiring import wheelgate

    async with wheelgate(config.only_with(found, url)) as gate:
        return [
            finding async for finding in connection_findings(gate.keyring.of_page(found.target).for_url(found.target), gate.index)
        ]


def _named(config: Config, name: str) -> Connection:
    found = next((entry for entry in config.connections if entry.name == name), None)
    if found is None:
        raise ConfigurationError([f"there is no connection {name}: `wheelgate connection list` shows them"])
    return found
