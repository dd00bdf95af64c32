"""`wheelgate wheel add`: local files or URLs, to a running server or directly into the store."""

from __future__ import annotations

import asyncio
import glob
import hashlib
import os
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import version
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from wheelgate.cli.options import config_options, load_settings, run_to_end, url_option
from wheelgate.cli.own_wheel import pack_own_wheel
from wheelgate.cli.progress import Activity, show_transfer
from wheelgate.config import NO_PROXY, Config, read_client_settings
from wheelgate.core.errors import FileExists, UploadRefused, WheelgateError
from wheelgate.distfiles.attestations import MAX_BYTES
from wheelgate.runtime.regular_file import FileTooLarge, open_regular, read_regular

if TYPE_CHECKING:
    from wheelgate.client.download import Download
    from wheelgate.storage.spool import SpoolFile

_ATTESTATION = ".attestation"
_PIECE_BYTES = 256 * 1024
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class _Incoming(msgspec.Struct, frozen=True):
    """File to add, local or behind a URL."""

    filename: str
    size: int | None
    """Bytes; ``None``: not known yet."""
    pieces: Callable[[], AsyncIterator[bytes]]
    verify: Callable[[str], None]
    """Takes the sha256 of the received bytes; raises UploadRefused if another was promised."""
    opened: FileIO | None = None
    """The file itself, if it is on this machine."""
    attestations: str | None = None
    """Attestations beside it, as a JSON list (PEP 740)."""


class _Digested:
    """A file with the digest of what was read of it, whatever becomes of it meanwhile."""

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        piece = self._file.read(size) or b""
        self.digest.update(piece)
        return piece


# Opens the file behind a URL.
_Opener = Callable[[str], AbstractAsyncContextManager["Download"]]
# Puts one file somewhere: whether it is new there, and its URL.
_Adder = Callable[[_Incoming], Awaitable[tuple[bool, str]]]


@click.command()
@config_options
@click.argument("files", nargs=-1, metavar="FILE|URL...")
@click.option("--self", "own", is_flag=True, help="Add the wheel of this very Wheelgate, for networks that get it nowhere else.")
@url_option
@click.option("--exist-ok", is_flag=True, help="Succeed if the same bytes are there already; other bytes are refused.")
@click.option("--take-over", is_flag=True, help="Take the name from the source that answers for it: its files are hidden.")
def add(
    config: Path | None, data: Path | None, files: tuple[str, ...], own: bool, url: str | None, exist_ok: bool, take_over: bool
) -> None:
    """Add wheels or sdists: to a running server with --url, otherwise directly to the configured store.

    Each is a path or an https URL, which is downloaded without credentials; a #sha256=... fragment is checked. Prints a permanent
    URL for each, which works in a requirements file. A running server shows the file within seconds. Attestations beside a file
    (FILE.publish.attestation) are uploaded with it.
    """
    default_url, token = read_client_settings()
    url, activity = url or default_url, Activity("beginning")
    if url is not None and take_over:
        raise click.UsageError(
            "--take-over needs direct access to the store: run it with the server's configuration, without --url"
        )
    if not files and not own:
        raise click.UsageError("name the files to add, or pass --self")
    with ExitStack() as stack:
        if own:
            files = (*files, str(pack_own_wheel(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wheelgate-"))))))
        if url is None:
            adding = _add_to_store(load_settings(config, data), files, activity, exist_ok=exist_ok, take_over=take_over)
        else:
            adding = _add_to_server(url, token, files, activity, exist_ok=exist_ok)
        failed = run_to_end(adding, activity.describe)
    sys.exit(1 if failed else 0)


async def _add_to_store(config: Config, files: tuple[str, ...], activity: Activity, *, exist_ok: bool, take_over: bool) -> bool:
    from wheelgate.uploads.checks import ReceivedFile
    from wheelgate.wiring import open_services

    ca_file = None if config.server.ca_file is None else str(config.folder / config.server.ca_file)
    proxy = config.server.outbound_proxy
    opener = partial(_build_opener(), ca_file=ca_file, outbound_proxy=None if proxy == NO_PROXY else proxy)
    async with open_services(config) as services:

        async def adder(file: _Incoming) -> tuple[bool, str]:
            # A copy, since what is accepted may be linked into the store: a file here is its owner's to change.
            async with services.spool.holding(size=file.size) as spooled:
                await _receive(file, spooled)
                received = ReceivedFile(spooled.path, file.filename, spooled.digests()["sha256"], file.attestations)
                accepted = await services.uploads.accept(received, take_over=take_over)
            url = f"{config.base_url}/files/{accepted.project}/{file.filename}#sha256={accepted.sha256}"
            return accepted.new, url

        return await _add_all(adder, files, opener, activity, exist_ok=exist_ok)


async def _add_to_server(url: str, token: str | None, files: tuple[str, ...], activity: Activity, *, exist_ok: bool) -> bool:
    from wheelgate.client.wheelgate_client import WheelgateClient
    from wheelgate.storage.spool import Spool
    from wheelgate.uploads.accept import parse_filename_project

    remote = WheelgateClient(url, token)

    async def send(file: _Incoming, opened: FileIO) -> tuple[bool, str]:
        sent = _Digested(opened)
        with show_transfer(file.filename, file.size) as progress:
            new = await remote.add(Path(file.filename), progress, attestations=file.attestations, opened=sent)
        place = remote.file_url(parse_filename_project(file.filename), file.filename)
        return new, f"{place}#sha256={sent.digest.hexdigest()}"

    async def adder(file: _Incoming) -> tuple[bool, str]:
        if file.opened is not None:
            return await send(file, file.opened)
        spool = Spool(folder)
        spool.prepare()
        async with spool.holding(size=file.size) as spooled:
            await _receive(file, spooled)
            with open_regular(spooled.path) as opened:
                return await send(msgspec.structs.replace(file, size=spooled.size), opened)

    with tempfile.TemporaryDirectory(prefix="wheelgate-") as temporary:
        folder = Path(temporary)
        return await _add_all(adder, files, _build_opener(), activity, exist_ok=exist_ok)


def _build_opener() -> Callable[..., AbstractAsyncContextManager[Download]]:
    from wheelgate.client.download import download
    from wheelgate.storage.room import MAX_FILE_BYTES

    return partial(download, max_bytes=MAX_FILE_BYTES, user_agent=f"wheelgate/{version('wheelgate')}")


async def _add_all(adder: _Adder, files: tuple[str, ...], opener: _Opener, activity: Activity, *, exist_ok: bool) -> bool:
    """Add one file after the other; a failure does not stop the rest. Returns ``True`` if any failed."""
    failed = False
    activity.begin(len(files))
    for what in files:
        activity.step(_name_of(what))
        if what.endswith(_ATTESTATION) and any(what.startswith(f"{file}.") for file in files):
            continue  # as in `dist/*`: it is uploaded with its file
        try:
            async with _open_incoming(what, opener) as file:
                new, url = await adder(file)
            if not new and not exist_ok:
                raise FileExists(f"{file.filename} already exists with the same bytes; pass --exist-ok to accept that")
        except (WheelgateError, OSError) as error:
            print(f"wheelgate: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
            failed = True
        else:
            print(url)
        activity.finish_file()
    return failed


def _name_of(what: str) -> str:
    """Name a file for progress: of a URL the last of its path, since a query may hold a secret."""
    return what.partition("?")[0].partition("#")[0].rstrip("/").rpartition("/")[2] if _URL.match(what) else what


@asynccontextmanager
async def _open_incoming(what: str, opener: _Opener) -> AsyncIterator[_Incoming]:
    if _URL.match(what):
        async with opener(what) as coming:
            yield _Incoming(coming.filename, coming.size, coming.chunks, coming.verify)
        return
    path = Path(what)
    with await asyncio.to_thread(_open_file, what, path) as opened:
        attestations = await asyncio.to_thread(_read_attestations, path)
        size = os.fstat(opened.fileno()).st_size
        yield _Incoming(path.name, size, lambda: _read_pieces(opened), lambda _: None, opened, attestations)


async def _read_pieces(file: FileIO) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, _PIECE_BYTES):
        yield piece


def _open_file(what: str, path: Path) -> FileIO:
    if not what.strip():
        raise UploadRefused("a file name is empty: pass the path of a wheel or sdist, or its https URL")
    try:
        return open_regular(path)
    except FileNotFoundError:
        raise UploadRefused(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise UploadRefused(f"{path} is a folder: pass the files in it") from None
    except OSError as error:
        raise UploadRefused(f"{path} cannot be read: {(error.strerror or 'unknown reason').lower()}") from None


def _read_attestations(path: Path) -> str | None:
    """Read the attestations that signing tools put beside a file, one in each, as a JSON list; ``None``: there are none."""
    room, found = MAX_BYTES, []
    for beside in sorted(path.parent.glob(f"{glob.escape(path.name)}.*{_ATTESTATION}")):
        try:
            found.append(read_regular(beside, room).decode("utf-8", "replace"))
        except FileTooLarge:
            raise UploadRefused(f"{path.name}: its attestations are larger than {MAX_BYTES} bytes") from None
        room -= len(found[-1])
    return f"[{','.join(found)}]" if found else None


async def _receive(file: _Incoming, spooled: SpoolFile) -> None:
    """Copy the file into the spool; :class:`UploadRefused` if its digest is not the promised one."""
    with show_transfer(file.filename, file.size) as progress:
        async for piece in file.pieces():
            await spooled.append(piece)
            progress(len(piece))
    file.verify(spooled.digests()["sha256"])
