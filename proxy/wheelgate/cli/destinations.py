"""Locations of mirrors: a plain folder or a container, by its name on the command line."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from wheelgate.config import Config, SourceSettings
from wheelgate.config.value_types import check_container_url
from wheelgate.core.errors import ConfigurationError, StoreError
from wheelgate.core.protocols import BodyStore
from wheelgate.core.secret import reference_parts
from wheelgate.credentials.keyring import Keyring
from wheelgate.storage.folder import INCOMING, FolderStore
from wheelgate.storage.open_container import open_container
from wheelgate.storage.spool import Spool
from wheelgate.wiring import SystemClock

_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


class MirrorLocation(msgspec.Struct, frozen=True):
    """A folder or a container that is named correctly."""

    name: str
    """As it was given, for messages."""
    folder: Path | None = None
    account_key: str | None = None
    """A reference; containers only."""

    def as_source(self) -> SourceSettings:
        """Return the settings of a source that serves what is there, and nothing else."""
        if self.folder is not None:
            return SourceSettings(name="mirror", type="directory", url=f"file:{self.folder}", private=True)
        return SourceSettings(
            name="mirror", type="blob", url=self.name, layout="project", private=True, account_key=self.account_key
        )


def parse_location(text: str, option: str, account_key: str | None) -> MirrorLocation:
    """Parse the location that an option names; :class:`ConfigurationError` if it names none."""
    if text.startswith("file:"):
        return MirrorLocation(text, folder=Path(text.removeprefix("file:").removeprefix("//")).absolute())
    if _is_path(text):
        return MirrorLocation(text, folder=Path(text).expanduser().absolute())
    if "://" not in text and "." not in text and text:  # a host would have a dot
        raise ConfigurationError([f"{option}: {text[:200]!r} is neither a folder nor a URL: write ./{text[:200]} for the folder"])
    if problem := check_container_url(text):
        raise ConfigurationError([f"{option}: {problem}"])
    if account_key is not None and reference_parts(account_key) is None:
        raise ConfigurationError(["--account-key: must name where the key is (env:NAME or file:PATH), never the key itself"])
    return MirrorLocation(text.rstrip("/"), account_key=account_key)


def _is_path(text: str) -> bool:
    """True if it can be nothing but a path, on any system: a bare word may be a URL without its scheme."""
    return text in (".", "..") or text.startswith(("./", "../", "/", "~/", ".\\", "..\\")) or bool(_DRIVE.match(text))


@asynccontextmanager
async def open_mirror_store(location: MirrorLocation, config: Config, keyring: Keyring) -> AsyncIterator[BodyStore]:
    """Open what is kept there, to be read or written; :class:`ConfigurationError` if a secret is not available."""
    if location.folder is not None:
        yield FolderStore(location.folder)
        return
    url, clock = location.name, SystemClock()
    async with open_container(
        url, config=config, keyring=keyring, clock=clock, key=url, account_key=location.account_key
    ) as container:
        yield container


@asynccontextmanager
async def open_spool(store: BodyStore, config: Config, *, dry_run: bool) -> AsyncIterator[Spool]:
    """Open the place where bodies wait: on the same disk as a folder, so that they move into it without being copied.

    A dry run writes nothing where the mirror is.

    Raises:
        StoreError: the folder, or the spool, cannot be written.
    """
    with ExitStack() as stack:
        folder = store if isinstance(store, FolderStore) and not dry_run else None
        if dry_run:
            spool = Spool(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wheelgate-"))))
        elif folder is not None:
            if (folder.root / INCOMING).is_symlink():
                raise StoreError(f"--to: {folder.root / INCOMING} is a symbolic link: remove it")
            spool = Spool(folder.root / INCOMING, f"--to: the folder {folder.root}")
        else:
            spool = Spool(config.data_folder / "spool")
        await asyncio.to_thread(spool.prepare)
        if folder is not None:
            folder.write_through(spool.folder)
            stack.callback(folder.tidy)
        stack.callback(spool.close)
        yield spool


def require_folder(location: MirrorLocation, option: str) -> None:
    """Require that a folder to be read is there; :class:`StoreError` if there is no such folder."""
    if location.folder is not None and not location.folder.is_dir():
        raise StoreError(f"{option}: there is no folder {location.folder}")
