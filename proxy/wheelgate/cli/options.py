"""Options and steps that several commands share."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from wheelgate.cli.progress import LINE_EVERY_S, tell_now_and_then
from wheelgate.config import Config, load
from wheelgate.core.names import normalise_name
from wheelgate.runtime.allocator import limit_free_memory

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


def run_to_end(
    action: Coroutine[Any, Any, _Result], describe: Callable[[], str] | None = None, *, every_s: float = LINE_EVERY_S
) -> _Result:
    """Run a command's work, and say now and then that it goes on. ``describe``: what it is at; ``None``: nothing is known."""
    began, command = time.monotonic(), click.get_current_context().command_path

    def tell() -> str:
        at = f": {describe()}" if describe is not None else ""
        return f"{command} is still at work after {time.monotonic() - began:.0f} s{at}"

    with tell_now_and_then(tell, every_s=every_s):
        return asyncio.run(action)


def run_with_services(
    config: Config,
    action: Callable[[Services], Awaitable[_Result]],
    *,
    to_read: bool = False,
    describe: Callable[[], str] | None = None,
) -> _Result:
    """Run ``action`` on the services that the settings describe. ``to_read``: nothing is written to the store.

    ``describe``: as for :func:`run_to_end`.
    """

    async def run() -> _Result:
        from wheelgate.wiring import open_services  # slow to import, so only once it is needed

        limit_free_memory()  # each of the threads that read records would keep some for good
        async with open_services(config, to_read=to_read, proven=False) as services:
            return await action(services)

    return run_to_end(run(), describe)


def load_tls(config: Config) -> SSLContext | None:
    """Load the certificate of the server; ``None``: none is configured; :class:`ConfigurationError` if it cannot be used."""
    server = config.server
    if server.tls_cert is None or server.tls_key is None:
        return None
    from wheelgate.web.server import build_tls_context

    return build_tls_context(config.folder / server.tls_cert, config.folder / server.tls_key)


def ask_to_go_on(question: str) -> bool:
    """Ask for a yes or no on standard input; :class:`UsageError` if it ends without, and nobody is there to give it."""
    try:
        return click.confirm(question, err=True)
    except click.Abort:
        if sys.stdin is not None and sys.stdin.isatty():
            raise
        raise click.UsageError("standard input is not a terminal, so nobody can be asked: confirm with --yes") from None


def parse_project(text: str) -> str:
    """Normalise the project name of an argument; :class:`UsageError` if it is not a project name."""
    name = normalise_name(text)
    if name is None:
        raise click.UsageError(f"{text!r} is not a project name")
    return name
