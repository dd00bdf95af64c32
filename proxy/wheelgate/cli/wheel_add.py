"""`wheelgate wheel add`: files of this machine or behind a URL, to a running server or straight into the store."""

from __future__ import annotations

import asyncio
import glob
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from wheelgate.cli.options import config_options, load_settings
from wheelgate.cli.progress import show_transfer
from wheelgate.config import NO_PROXY, Config, read_client_settings
from wheelgate.core.errors import FileExists, TooLarge, UploadRefused, WheelgateError
from wheelgate.distfiles.attestations import MAX_BYTES

if TYPE_CHECKING:
    from wheelgate.client.download import Download
    from wheelgate.storage.spool import Spool, SpoolFile

_ATTESTATION = ".attestation"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class _Incoming(msgspec.Struct, frozen=True):
    """A file that is to be added, wherever its bytes are now."""

    filename: str
    size: int | None
    """Bytes; ``None``: not known yet."""
    pieces: Callable[[], AsyncIterator[bytes]]
    verify: Callable[[str], None]
    """Told the sha256 of what came, it raises UploadRefused if another was promised."""
    path: Path | None = None
    """Where it lies, if that is on this machine."""
    attestations: str | None = None
    """Those that lie beside it, as a JSON list (PEP 740)."""


# Opens the file behind a URL.
_Opener = Callable[[str], AbstractAsyncContextManager["Download"]]
# Puts one file somewhere: whether it is new there, and its URL.
_Adder = Callable[[_Incoming], Awaitable[tuple[bool, str]]]


@click.command()
@config_options
@click.argument("files", nargs=-1, required=True, metavar="FILE|URL...")
@click.option("--url", help="A running server to upload to (or WHEELGATE_URL), with the token in WHEELGATE_TOKEN.")
@click.option("--exist-ok", is_flag=True, help="Succeed if these very bytes are there already; other bytes are refused.")
@click.option("--take-over", is_flag=True, help="Own the name although another source answers for it: its files vanish.")
def add(
    config: Path | None,
    data: Path | None,
    files: tuple[str, ...],
    url: str | None,
    exist_ok: bool,
    take_over: bool,
) -> None:
    """Add wheels or sdists: to a running server by --url, else straight to the configured store.

    Each is a path or an https URL, which is downloaded without any credential; a #sha256=... behind it is checked. Prints a
    permanent URL for each, which works in a requirements file. A running server shows the file within seconds. Attestations that
    lie beside a file (FILE.publish.attestation) go along with it.
    """
    default_url, token = read_client_settings()
    url = url or default_url
    if url is None:
        failed = asyncio.run(_add_to_store(load_settings(config, data), files, exist_ok=exist_ok, take_over=take_over))
    elif take_over:
        raise click.UsageError("--take-over needs the store itself: run it where the server's configuration is, without --url")
    else:
        failed = asyncio.run(_add_to_server(url, token, files, exist_ok=exist_ok))
    sys.exit(1 if failed else 0)


async def _add_to_store(config: Config, files: tuple[str, ...], *, exist_ok: bool, take_over: bool) -> bool:
    from wheelgate.wiring import open_services

    ca_file = None if config.server.ca_file is None else str(config.folder / config.server.ca_file)
    proxy = config.server.outbound_proxy
    opener = partial(_opener(), ca_file=ca_file, outbound_proxy=None if proxy == NO_PROXY else proxy)
    async with open_services(config) as services:

        async def adder(file: _Incoming) -> tuple[bool, str]:
            # A copy, since what is accepted may be linked into the store: a file here is its owner's to change.
            with services.spool.holding() as spooled:
                await _receive(file, services.spool, spooled)
                accepted = await services.uploads.accept(
                    spooled.path, file.filename, take_over=take_over, attestations=file.attestations
                )
            url = f"{config.base_url}/files/{accepted.project}/{file.filename}#sha256={accepted.sha256}"
            return accepted.new, url

        return await _add_all(adder, files, opener, exist_ok=exist_ok)


async def _add_to_server(url: str, token: str | None, files: tuple[str, ...], *, exist_ok: bool) -> bool:
    from wheelgate.client.wheelgate_client import WheelgateClient
    from wheelgate.distfiles.digests import sha256_of
    from wheelgate.storage.spool import Spool
    from wheelgate.uploads.accept import project_of

    remote = WheelgateClient(url, token)

    async def send(file: _Incoming, path: Path) -> bool:
        with show_transfer(file.filename, file.size) as progress:
            return await remote.add(path, progress, file.filename, file.attestations)

    async def adder(file: _Incoming) -> tuple[bool, str]:
        place = remote.file_url(project_of(file.filename), file.filename)
        if file.path is not None:
            new = await send(file, file.path)
            return new, f"{place}#sha256={await asyncio.to_thread(sha256_of, file.path)}"
        spool = Spool(folder)
        spool.prepare()
        with spool.holding() as spooled:
            await _receive(file, spool, spooled)
            whole = msgspec.structs.replace(file, size=spooled.size)
            return await send(whole, spooled.path), f"{place}#sha256={spooled.digests()['sha256']}"

    with tempfile.TemporaryDirectory(prefix="wheelgate-") as temporary:
        folder = Path(temporary)
        return await _add_all(adder, files, _opener(), exist_ok=exist_ok)


def _opener() -> Callable[..., AbstractAsyncContextManager[Download]]:
    from wheelgate.client.download import download
    from wheelgate.uploads.accept import MAX_FILE_BYTES

    return partial(download, max_bytes=MAX_FILE_BYTES, user_agent=f"wheelgate/{version('wheelgate')}")


async def _add_all(adder: _Adder, files: tuple[str, ...], opener: _Opener, *, exist_ok: bool) -> bool:
    """Add one after the other; whether any failed. One that cannot be added does not stop the rest."""
    failed = False
    for what in files:
        if what.endswith(_ATTESTATION) and any(what.startswith(f"{file}.") for file in files):
            continue  # as in `dist/*`: it goes along with its file
        try:
            async with _incoming(what, opener) as file:
                new, url = await adder(file)
            if not new and not exist_ok:
                raise FileExists(f"{file.filename} is there already, with the same bytes; --exist-ok accepts that")
        except (WheelgateError, OSError) as error:
            print(f"wheelgate: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
            failed = True
        else:
            print(url)
    return failed


@asynccontextmanager
async def _incoming(what: str, opener: _Opener) -> AsyncIterator[_Incoming]:
    """What a word of the command line stands for."""
    if _URL.match(what):
        async with opener(what) as coming:
            yield _Incoming(coming.filename, coming.size, coming.chunks, coming.verify)
        return
    from wheelgate.distfiles.digests import read_pieces

    path = Path(what)
    size = await asyncio.to_thread(_size, what, path)
    attestations = await asyncio.to_thread(_attestations_beside, path)
    yield _Incoming(path.name, size, lambda: read_pieces(path), lambda _: None, path, attestations)


def _attestations_beside(path: Path) -> str | None:
    """What signing tools put there: ``FILE.publish.attestation`` and the like, each of which holds one.

    Raises:
        UploadRefused: they are too large to be any.
    """
    found = sorted(path.parent.glob(f"{glob.escape(path.name)}.*{_ATTESTATION}"))
    if sum(beside.stat().st_size for beside in found) > MAX_BYTES:
        raise UploadRefused(f"{path.name}: its attestations have more than {MAX_BYTES} bytes")
    return f"[{','.join(beside.read_text('utf-8', 'replace') for beside in found)}]" if found else None


def _size(what: str, path: Path) -> int:
    """The bytes of a file of this machine.

    Raises:
        UploadRefused: it is none.
    """
    if not what.strip():
        raise UploadRefused("an empty name is no file: name a wheel or sdist, or its https URL")
    if path.is_dir():
        raise UploadRefused(f"{path} is a folder: name the files in it")
    if not path.is_file():
        raise UploadRefused(f"{path}: there is no such file")
    return path.stat().st_size


async def _receive(file: _Incoming, spool: Spool, spooled: SpoolFile) -> None:
    """All of it into a file of ours.

    Raises:
        TooLarge: the disk has no room for it.
        UploadRefused: it is not what was promised.
    """
    if not spool.has_room(file.size):
        raise TooLarge(f"there is no room on this machine's disk for {file.filename}")
    with show_transfer(file.filename, file.size) as progress:
        async for piece in file.pieces():
            await spooled.append(piece)
            progress(len(piece))
    file.verify(spooled.digests()["sha256"])
