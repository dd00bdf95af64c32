"""`wheelgate connection set`, `list`, `show`, `delete`, `test`: stored credentials."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click
import msgspec

from wheelgate.cli.checks.findings import Finding, report
from wheelgate.cli.options import config_options, json_option, load_settings, run_to_end, run_with_services
from wheelgate.config import Config, Connection
from wheelgate.config.connection_documents import ConnectionDocument, read_document
from wheelgate.config.connections import find_conflicts
from wheelgate.config.connections_folder import ConnectionsFolder, build_document_fields, derive_secret_name
from wheelgate.config.signature_limits import find_signature_problem
from wheelgate.core.errors import ConfigurationError
from wheelgate.core.secret import Secret

if TYPE_CHECKING:
    from wheelgate.services import Services

_MAX_SECRET_BYTES = 16 * 1024
_PLACEHOLDER = "secret:asked"
"""Reference to the secret until it is stored."""


@click.group()
def connection() -> None:
    """Stored credentials, each for a URL and everything below it."""


@connection.command(name="set")
@config_options
@click.option("-f", "--file", type=click.Path(path_type=Path), help="A document for `az ml connection create -f`, unchanged.")
@click.option("--name", help="Name of the connection; an existing one is replaced.")
@click.option("--category", help="PythonFeed (the default), Git, AzureBlob or HttpProxy.")
@click.option("--target", help="The URL that the credential is for, with everything below it.")
@click.option("--auth-type", help="None, PAT, UsernamePassword, Bearer, ManagedIdentity, ServicePrincipal or SAS.")
@click.option("--username", help="User name, for UsernamePassword; with a PAT it does not matter.")
@click.option("--client-id", help="Client ID, for ServicePrincipal, or ManagedIdentity if there are several.")
@click.option("--tenant-id", help="Tenant ID, for ServicePrincipal.")
@click.option("--scope", help="Scope of the Entra token; known for Azure DevOps and storage.")
@click.option(
    "--allow-http", is_flag=True, help="Accept a plain http target beyond this machine: the secret is sent unencrypted."
)
@click.option(
    "--value", help="Where the secret is: env:NAME, file:PATH or keyvault:NAME. Without it, you are asked for the secret."
)
def set_(config: Path | None, data: Path | None, file: Path | None, allow_http: bool, **given: str | None) -> None:
    """Store a connection, or replace it.

    You are asked for the secret, or it is read from standard input; never pass it as an argument, which other users of this
    machine can see. It is stored in the configured key vault or, readable only by you, in secrets.toml beside the connections
    folder.
    """
    settings = load_settings(config, data, new_folder=True)
    options: dict[str, str | bool] = {key: value for key, value in given.items() if value is not None}
    document = _merge_document(file, options | {"allow_http": True} if allow_http else options)
    wanted = _build_connection(document, file)
    if file is not None:
        _tell_of_document(file, document, wanted, is_said="auth_type" in options)
    if any(c.name == wanted.name for c in settings.connection):
        raise ConfigurationError([f"connection {wanted.name} is defined in the configuration file: change it there"])
    others = [c for c in settings.connections if c.name != wanted.name]
    if problems := find_conflicts([*others, wanted]):
        raise ConfigurationError([problem.partition(": ")[2] for problem in problems])
    secret = document.secret
    if secret is None and wanted.value == _PLACEHOLDER:
        secret = _read_secret(wanted)
    if secret is not None and wanted.auth_type == "SAS" and wanted.category == "AzureBlob":
        _check_signature(wanted, secret)
    stored = run_to_end(_store(settings, wanted, secret))
    where = f" (secret: {stored.value})" if secret is not None else ""
    print(f"connection {stored.name} applies to {stored.target} and everything below it{where}")
    if document.secret is not None:
        print(f"wheelgate: {file} still contains the secret itself: remove it there", file=sys.stderr)
    former = next((c.value for c in settings.found_connections if c.name == wanted.name), None)
    if former != stored.value:
        _warn_of_vault_secret(former)


def _merge_document(file: Path | None, options: dict[str, str | bool]) -> ConnectionDocument:
    """Merge document and options; an option overrides the document."""
    if file is None:
        if "name" not in options or "target" not in options:
            raise click.UsageError("--name and --target are required, or -f FILE with a document that has them")
        return ConnectionDocument.from_fields({"auth_type": "PAT", **options})
    document = read_document(file, str(options["name"]) if "name" in options else None)
    secret = None if "value" in options else document.secret
    merged = ConnectionDocument.from_fields({**document.fields, **options}, secret)
    return msgspec.structs.replace(merged, notes=document.notes)


def _tell_of_document(file: Path, document: ConnectionDocument, wanted: Connection, *, is_said: bool) -> None:
    """Tell what of a document is not used, and that it has no credentials. ``is_said``: an option says how to sign in."""
    for field in document.notes:
        print(f"wheelgate: {file}: its field {field!r} is not used here", file=sys.stderr)
    if wanted.auth_type != "None" or is_said:
        return
    if wanted.place.is_devops:
        raise ConfigurationError(
            [f"{file}: it has no credentials, and Azure DevOps lets nobody in without: add --auth-type PAT, and be asked for it"]
        )
    print(f"wheelgate: {file} has no credentials: the connection signs in with nothing", file=sys.stderr)


def _build_connection(document: ConnectionDocument, file: Path | None) -> Connection:
    """Build the connection, with a placeholder for a secret that is still to be stored."""
    needs_secret = document.fields.get("auth_type") not in ("None", "ManagedIdentity") and "value" not in document.fields
    try:
        return document.build_connection(**({"value": _PLACEHOLDER} if needs_secret else {}))
    except ConfigurationError as error:
        if file is None:
            raise
        raise ConfigurationError([f"{file}: {problem}" for problem in error.problems]) from None


def _read_secret(wanted: Connection) -> Secret:
    """Read the secret from the prompt, or from the first line of standard input."""
    if sys.stdin is not None and sys.stdin.isatty():
        line = click.prompt(
            f"Secret of {wanted.name} ({wanted.auth_type})", hide_input=True, default="", show_default=False, err=True
        )
    else:
        line = "" if sys.stdin is None else sys.stdin.buffer.readline(_MAX_SECRET_BYTES + 1).decode("utf-8", "replace")
    text = line.strip()
    if not text:
        raise click.UsageError(
            "no secret was given at the prompt or on standard input; to use one that is stored elsewhere, pass --value"
        )
    if not text.isprintable() or "\N{REPLACEMENT CHARACTER}" in text or len(line.encode()) > _MAX_SECRET_BYTES:
        raise click.UsageError("the secret must be one line of text")
    return Secret(text)


def _check_signature(wanted: Connection, secret: Secret) -> None:
    from wheelgate.wiring import SystemClock

    if (problem := find_signature_problem(secret.reveal(), SystemClock().now())) is not None:
        raise ConfigurationError([f"the SAS of {wanted.name} {problem}"])


async def _store(config: Config, wanted: Connection, secret: Secret | None) -> Connection:
    folder = ConnectionsFolder(config)
    if secret is not None and config.server.key_vault is not None:
        from wheelgate.wiring import open_keyring

        name = re.sub(r"[^A-Za-z0-9-]", "-", f"wheelgate-{derive_secret_name(wanted)}")
        async with open_keyring(config) as keyring:
            await (await keyring.vault(None)).write(name, secret)
        wanted, secret = wanted.model_copy(update={"value": f"keyvault:{name}"}), None
    return await asyncio.to_thread(folder.put, wanted, secret)


def _warn_of_vault_secret(reference: str | None) -> None:
    if (reference or "").startswith("keyvault:"):
        print(f"wheelgate: the secret is still in the key vault ({reference}): delete it there", file=sys.stderr)


@connection.command(name="list")
@config_options
@json_option
def list_(config: Path | None, data: Path | None, as_json: bool) -> None:
    """List the connections, without their secrets."""
    connections = load_settings(config, data).connections
    if as_json:
        print(json.dumps([build_document_fields(entry) for entry in connections], indent=2))
        return
    if not connections:
        print("there are no connections: store one with `wheelgate connection set`", file=sys.stderr)
    for entry in connections:
        print(f"{entry.name}  {entry.category}  {entry.auth_type}  {entry.target}")


@connection.command()
@config_options
@click.argument("name")
@json_option
def show(config: Path | None, data: Path | None, name: str, as_json: bool) -> None:
    """Show one connection, with the place of its secret, never the secret."""
    fields = build_document_fields(_get(load_settings(config, data), name))
    print(json.dumps(fields, indent=2) if as_json else "\n".join(f"{key}: {value}" for key, value in fields.items()))


@connection.command()
@config_options
@click.argument("name")
def delete(config: Path | None, data: Path | None, name: str) -> None:
    """Delete a connection, and its secret if it is stored in secrets.toml."""
    settings = load_settings(config, data)
    found = _get(settings, name)
    if found in settings.connection:
        raise ConfigurationError([f"connection {name} is defined in the configuration file: remove it there"])
    ConnectionsFolder(settings).remove(found)
    print(f"deleted connection {name}")
    _warn_of_vault_secret(found.value)


@connection.command()
@config_options
@click.argument("name")
@click.option("--url", help="URL below the target to test; without it, the configured sources below the target are tested.")
@json_option
def test(config: Path | None, data: Path | None, name: str, url: str | None, as_json: bool) -> None:
    """Test a connection by signing in with it. Exit status 1 if it does not work."""
    settings = load_settings(config, data)
    tested = _get(settings, name)

    from wheelgate.cli.checks.sources import check_connection
    from wheelgate.cli.checks.subjects import list_subjects

    async def check(services: Services) -> list[Finding]:
        credential = services.keyring.of_page(tested.target).for_url(tested.target)
        subjects = [*list_subjects(services, limited, settings, remembers=False)]
        return [finding async for finding in check_connection(credential, subjects)]

    with TemporaryDirectory() as scratch:
        limited = settings.limit_to_connection(tested, url, Path(scratch))
        findings = run_with_services(limited, check)
    report(findings, as_json=as_json)


def _get(config: Config, name: str) -> Connection:
    found = next((entry for entry in config.connections if entry.name == name), None)
    if found is None:
        raise ConfigurationError([f"there is no connection {name}: `wheelgate connection list` shows all connections"])
    return found
