"""Container URLs of Azure Blob Storage, taken apart. Needs nothing of Azure's own library."""

from __future__ import annotations

import msgspec

from wheelgate.core.urls import is_emulator_host, parse


class ContainerPlace(msgspec.Struct, frozen=True):
    """A container, or a folder in it."""

    account: str
    account_url: str
    container: str
    prefix: str
    """Empty, or ends with ``/``."""


def container_place(url: str) -> ContainerPlace:
    """``https://ACCOUNT.blob.core.windows.net/CONTAINER[/FOLDER]``, or ``http://HOST:PORT/ACCOUNT/CONTAINER`` (emulator)."""
    parsed = parse(url)
    segments = [segment for segment in parsed.raw_path.split("/") if segment]
    host = parsed.host or ""
    base = str(parsed.origin())
    if is_emulator_host(host):
        if not segments:
            raise ValueError("names no account: the emulator's form is http://127.0.0.1:10000/ACCOUNT/CONTAINER")
        account, *segments = segments
        base = f"{base}/{account}"
    else:
        account = host.partition(".")[0]
    if not segments:
        raise ValueError(f"names no container: it looks like {base}/CONTAINER")
    return ContainerPlace(account, base, segments[0], "".join(f"{segment}/" for segment in segments[1:]))
