"""`wheelgate serve`: the server process, its signals and its welcome text."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wheelgate.cli.options import config_options, load_settings, load_tls
from wheelgate.config import Config
from wheelgate.config.load import read_toml
from wheelgate.core.errors import ConfigurationError
from wheelgate.runtime import logs
from wheelgate.runtime.allocator import limit_free_memory
from wheelgate.runtime.background import run_beside
from wheelgate.runtime.descriptors import raise_descriptor_limit

if TYPE_CHECKING:
    from wheelgate.index.policy_reload import PolicyReload

_log = logging.getLogger(__name__)


@click.command()
@config_options
@click.option("--host", help="Address to listen on; beyond this machine, server.anonymous must be set.")
@click.option("--port", type=int, help="Port to listen on (default: 8080).")
@click.option("--tls-cert", type=click.Path(path_type=Path), help="Certificate chain, PEM. (pip caches nothing over http.)")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Private key of the certificate, PEM.")
@click.option(
    "--anonymous", type=click.Choice(["read", "none"]), help="read: anyone may install; none: installing needs a token."
)
@click.option("--offline", is_flag=True, help="Never ask a remote index: serve only what mirrors, folders and the store hold.")
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option(
    "--log-level",
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False),
    default="INFO",
    show_default=True,
)
@click.option("--fast-path/--no-fast-path", default=True, hidden=True)  # to measure what it is worth
def serve(
    config: Path | None,
    data: Path | None,
    host: str | None,
    port: int | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    anonymous: str | None,
    offline: bool,
    log_format: logs.Format,
    log_level: str,
    fast_path: bool,
) -> None:
    """Run the server.

    Without configuration it serves your uploads and public PyPI on http://127.0.0.1:8080/simple/. SIGHUP reloads the rules
    ([policy], and cooldown of the sources).
    """
    flags = {
        "server.host": host,
        "server.port": port,
        "server.anonymous": anonymous,
        "server.offline": True if offline else None,
        "server.tls_cert": tls_cert.absolute() if tls_cert else None,
        "server.tls_key": tls_key.absolute() if tls_key else None,
    }
    loaded = load_settings(config, data, flags)
    logs.configure(log_format, log_level.upper())
    limit_free_memory()
    sys.setswitchinterval(0.001)  # seconds that a thread which packs or encodes a large page may hold up the event loop
    with asyncio.Runner(loop_factory=_find_loop_factory()) as runner:
        runner.run(_serve(loaded, lambda: _load_again(config, data, flags), as_json=log_format == "json", fast_path=fast_path))
    _log.info("stopped")


def _load_again(config: Path | None, data: Path | None, flags: Mapping[str, object]) -> Config:
    """Load the settings anew. A file without any setting is one that is being written, and would let every rule go."""
    loaded = load_settings(config, data, flags)
    if config is not None and not read_toml(config):
        raise ConfigurationError([f"{config}: is empty: restart the server if it is to have no rules"])
    return loaded


def _find_loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Find uvloop, where it is installed (``pip install .[fast]``): 1.0 to 1.25 times asyncio's requests a second."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _serve(config: Config, reload: Callable[[], Config], *, as_json: bool, fast_path: bool) -> None:
    """Run the server until it is stopped. ``reload`` reads the settings as they are now, for SIGHUP."""
    from wheelgate.runtime.loop_lag import watch_loop_lag
    from wheelgate.web.open_connections import choose_limit
    from wheelgate.web.server import open_listener, open_server
    from wheelgate.wiring import open_services

    hangup = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hangup.set)
    server = config.server
    tls = load_tls(config)
    max_connections = choose_limit(raise_descriptor_limit(), server.max_connections)
    with open_listener(server.host, server.port) as listener:
        config = config.with_port(listener.getsockname()[1])

        def reload_on_port() -> Config:
            settings = reload()
            return settings.with_port(config.server.port) if settings.server.port == server.port else settings

        async with (
            open_services(config) as services,
            run_beside(services.changes.watch()),
            run_beside(services.expired_tokens.keep_removing()),
            run_beside(watch_loop_lag(services.metrics.loop_lag.set)),
            services.keyring.watching(services.callers.look_again),
            run_beside(_reload_rules(hangup, reload_on_port, services.enforcement)),
            open_server(
                services,
                listener,
                tls=tls,
                prefix=server.path_prefix,
                anonymous_read=config.anonymous_read,
                public_url=None if server.public_url is None else config.base_url,
                fast_path=fast_path,
                max_connections=max_connections,
            ) as running,
        ):
            running.heed_signals()  # before anybody is told that it runs
            _tune_garbage_collector()
            _welcome(config, as_json=as_json)
            if config.store.url is None and (server.public_url or not server.is_loopback):
                _log.warning(
                    "uploads and records are kept in %s, on this machine: set store.url to a container, or to file:FOLDER if "
                    "this folder outlives the server",
                    config.store_folder,
                )
            # A local server stops at once; one that others reach first lets its load balancer notice.
            await running.until_stopped(drain_s=0.0 if server.is_loopback else 5.0)


async def _reload_rules(hangup: asyncio.Event, reload: Callable[[], Config], enforcement: PolicyReload) -> None:
    while True:
        await hangup.wait()
        hangup.clear()
        try:
            replaced = enforcement.replace(await asyncio.to_thread(reload))
        except ConfigurationError as error:
            for problem in error.problems:
                _log.error("keeping the previous rules: %s", problem)
        except Exception:  # whatever it was, the rules in force stay in force, and the next signal is heard
            _log.exception("keeping the previous rules: the settings cannot be read")
        else:
            _log.info("rules reloaded; changed: %s", ", ".join(replaced.in_force) or "nothing")
            if replaced.after_restart:
                _log.warning("changed settings that take effect after a restart: %s", ", ".join(replaced.after_restart))


def _tune_garbage_collector() -> None:
    """Keep garbage collections short.

    Fifty thousand objects of loaded modules never become garbage, and scanning them in each full collection held up every
    request for 30 to 60 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def _welcome(config: Config, *, as_json: bool) -> None:
    lines = _format_welcome(config)
    if as_json:
        for line in lines:
            _log.info("%s", line.strip())
        return
    with suppress(OSError):  # of a log on a full disk, which is no reason to serve nobody
        print("\n".join(lines), file=sys.stderr, flush=True)


def _format_welcome(config: Config) -> list[str]:
    url = f"{config.base_url}/simple/"
    lines = [
        f"Wheelgate serves {url}",
        f"  pip:     pip install --index-url {url} PACKAGE",
        f"  uv:      uv pip install --default-index {url} PACKAGE",
        "  sources: in this order",
    ]
    for source in config.source:
        place = {"store": "the store", "directory": str(config.get_source_folder(source)), "blob": source.url}
        where = place.get(source.type, source.index_url)
        offline = ", offline: only what the store holds" if config.is_offline(source) else ""
        lines.append(f"    {source.name}: {'private' if source.is_private else 'public'}, {where}{offline}")
    lines.append(f"  data:    {config.store_location}")
    return lines
