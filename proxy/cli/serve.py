"""`wheelgate serve`."""

from __future__ import annotations

import asyncio
import gc
import sys
from pathlib import Path

import click

from proxy import logs
from proxy.cli.options import configured, settings
from proxy.config import Config


@click.command()
@configured
@click.option("--host", help="Address to listen on; beyond this machine, server.anonymous must be said.")
@click.option("--port", type=int, help="Port to listen on (8080).")
@click.option("--tls-cert", type=click.Path(path_type=Path), help="Certificate chain, PEM. pip caches nothing over http.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Its private key, PEM.")
@click.option("--anonymous", type=click.Choice(["read", "none"]), help="Whether installing needs a token (none) or not (read).")
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option(
    "--log-level",
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False),
    default="INFO",
    show_default=True,
)
def serve(
    config: Path | None,
    data: Path | None,
    host: str | None,
    port: int | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    anonymous: str | None,
    log_format: logs.Format,
    log_level: str,
) -> None:
    """Run the server.

    Without any setting it serves your uploads and public PyPI on http://127.0.0.1:8080/simple/.
    """
    flags = {
        "server.host": host,
        "server.port": port,
        "server.anonymous": anonymous,
        "server.tls_cert": tls_cert.absolute() if tls_cert else None,
        "server.tls_key": tls_key.absolute() if tls_key else None,
    }
    loaded = settings(config, data, **flags)
    logs.configure(log_format, log_level.upper())
    asyncio.run(_serve(loaded))


async def _serve(config: Config) -> None:
    from proxy.web.server import listening_socket, serving, tls_context
    from proxy.wiring import watching, wheelgate

    server = config.server
    tls = None
    if server.tls_cert is not None and server.tls_key is not None:
        tls = tls_context(config.folder / server.tls_cert, config.folder / server.tls_key)
    with listening_socket(server.host, server.port) as listener:
        config = config.on_port(listener.getsockname()[1])
        async with (
            wheelgate(config) as gate,
            watching(gate.changes),
            gate.keyring.watching(),
            serving(
                listener=listener,
                tls=tls,
                index=gate.index,
                delivery=gate.delivery,
                metadata_files=gate.metadata_files,
                provenance_files=gate.provenance_files,
                store=gate.store,
                claims=gate.claims,
                uploads=gate.uploads,
                packages=gate.packages,
                tokens=gate.tokens,
                spool=gate.spool,
                metrics=gate.metrics,
                prefix=server.path_prefix,
                anonymous_read=config.anonymous_read,
            ) as running,
        ):
            _spare_the_collector()
            print(_welcome(config), file=sys.stderr, flush=True)
            # A laptop's server goes at once; one that others reach lets its load balancer notice first.
            await running.until_stopped(drain_s=0.0 if config.is_loopback else 5.0)


def _spare_the_collector() -> None:
    """Keep garbage collections short.

    Fifty thousand objects of loaded modules will never be garbage, and looking through them each time held every request up for
    30 to 60 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def _welcome(config: Config) -> str:
    url = f"{config.base_url}/simple/"
    lines = [
        f"Wheelgate serves {url}",
        f"  pip:     pip install --index-url {url} PACKAGE",
        f"  uv:      uv pip install --default-index {url} PACKAGE",
        "  sources: in this order",
    ]
    for source in config.source:
        place = {"store": "the store", "directory": str(config.source_folder(source)), "blob": source.url}
        where = place.get(source.type, source.index_url)
        lines.append(f"    {source.name}: {'private' if source.is_private else 'public'}, {where}")
    lines.append(f"  data:    {config.store_place}")
    return "\n".join(lines)
