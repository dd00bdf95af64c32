"""Options and steps that several commands share."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from wheelgate.config import Config, load
from wheelgate.core.names import normalise_name

if TYPE_CHECKING:
    from ssl import SSLContext

    from wheelgate.services import Services

_Result = TypeVar("_Result")
url_option = click.option("--url", help="A running server (or WHEELGATE_URL); its token is read from WHEELGATE_TOKEN.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def config_option(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Build the option that names the file with the settings."""
    return click.option("--config", "-c", type=click.Path(path_type=Path), envvar="WHEELGATE_CONFIG", help=text)


def config_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--config`` and ``--data`` to a command."""
    folder = click.Path(file_okay=False, path_type=Path)
    command = click.option("--data", type=folder, help="Folder for the store and the spool.")(command)
    return config_option("TOML file with the settings. Without one: uploads and public PyPI, on this machine only.")(command)


def load_settings(
    config: Path | None, data: Path | None, flags: Mapping[str, object] | None = None, *, new_folder: bool = False
) -> Config:
    """Load a command's settings, or raise :class:`ConfigurationError`; ``new_folder``: that of connections may be missing."""
    folder = Path(os.path.abspath(data)) if data is not None else None  # noqa: PTH100 - may not exist yet
    return load(config, flags={"data": folder, **(flags or {})}, new_folder=new_folder)


def run_with_services(config: Config, action: Callable[[Services], Awaitable[_Result]], *, to_read: bool = False) -> _Result:
    """Run ``action`` on the services that the settings describe. ``to_read``: nothing is written to the store."""

    async def run() -> _Result:
        from wheelgate.wiring import open_services  # slow to import, so only once it is needed

        async with open_services(config, to_read=to_read, proven=False) as services:
            return await action(services)

    return asyncio.run(run())


def load_tls(config: Config) -> SSLContext | None:
    """Load the certificate of the server; ``None``: none is configured; :class:`ConfigurationError` if it cannot be used."""
    server = config.server
    if server.tls_cert is None or server.tls_key is None:
        return None
    from wheelgate.web.server import build_tls_context

    return build_tls_context(config.folder / server.tls_cert, config.folder / server.tls_key)


def parse_project(text: str) -> str:
    """Normalise the project name of an argument; :class:`UsageError` if it is not a project name."""
    name = normalise_name(text)
    if name is None:
        raise click.UsageError(f"{text!r} is not a project name")
    return name
