"""Where `mirror` writes to and reads from: a plain folder or a container, by its name on the command line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from wheelgate.config import Config, SourceSettings, check_container_url
from wheelgate.core.errors import ConfigurationError, StoreError, UpstreamError
from wheelgate.core.secret import reference_parts
from wheelgate.credentials.keyring import Keyring
from wheelgate.mirror.mirror_store import MirrorStore
from wheelgate.storage.folder import INCOMING, FolderStore
from wheelgate.storage.spool import Spool
from wheelgate.wiring import SystemClock

_SAS_WINDOW_S, _SAS_LIFE_S = 900.0, 2700.0


class MirrorLocation(msgspec.Struct, frozen=True):
    """A folder or a container, said right."""

    name: str
    """As it was said, for people."""
    folder: Path | None = None
    account_key: str | None = None
    """A reference; containers only."""

    def as_source(self) -> SourceSettings:
        """A source that serves what is there, and nothing else."""
        if self.folder is not None:
            return SourceSettings(name="mirror", type="directory", url=f"file:{self.folder}")
        return SourceSettings(name="mirror", type="blob", url=self.name, layout="project", account_key=self.account_key)


def parse_location(text: str, option: str, account_key: str | None) -> MirrorLocation:
    """The place that an option names.

    Raises:
        ConfigurationError: it names none.
    """
    if text.startswith("file:"):
        folder = Path(text.removeprefix("file:").removeprefix("//")).absolute()
        return MirrorLocation(text, folder=folder)
    if problem := check_container_url(text):
        raise ConfigurationError([f"{option}: {problem}"])
    if account_key is not None and reference_parts(account_key) is None:
        raise ConfigurationError(["--account-key: must say where the key is: env:NAME or file:PATH, never the key itself"])
    return MirrorLocation(text.rstrip("/"), account_key=account_key)


@asynccontextmanager
async def open_mirror_store(where: MirrorLocation, config: Config, keyring: Keyring) -> AsyncIterator[MirrorStore]:
    """What is kept there, to be read or written.

    Raises:
        ConfigurationError: a secret cannot be had.
    """
    if where.folder is not None:
        yield FolderStore(where.folder)
        return
    from wheelgate.storage.azure import azure_store  # a tenth of a second and 20 MB that a folder does not need

    try:
        if where.account_key is not None:
            credential = (await keyring.secrets.read(where.account_key)).reveal()
        else:
            credential = await keyring.for_container(where.name)
    except UpstreamError as error:
        raise ConfigurationError([f"{where.name}: {error}"]) from None
    ca_file = None if config.server.ca_file is None else str(config.folder / config.server.ca_file)
    async with azure_store(
        where.name,
        name=where.name,
        credential=credential,
        clock=SystemClock(),
        sas_window_s=_SAS_WINDOW_S,
        sas_life_s=_SAS_LIFE_S,
        ca_file=ca_file,
    ) as container:
        yield container


@asynccontextmanager
async def open_spool(store: MirrorStore, config: Config) -> AsyncIterator[Spool]:
    """Where bodies wait on their way there: on the same disk as a folder, so that they move into it without being copied.

    Raises:
        StoreError: the folder, or the spool, cannot be written.
    """
    if isinstance(store, FolderStore):
        spool = Spool(store.root / INCOMING, f"--to: the folder {store.root}")
    else:
        spool = Spool(config.data_folder / "spool")
    await asyncio.to_thread(spool.prepare)
    if isinstance(store, FolderStore):
        store.write_through(spool.folder)
    try:
        yield spool
    finally:
        spool.close()
        if isinstance(store, FolderStore):
            store.tidy()


def require_folder(where: MirrorLocation, option: str) -> None:
    """Reading begins with something that is there.

    Raises:
        StoreError: there is no such folder.
    """
    if where.folder is not None and not where.folder.is_dir():
        raise StoreError(f"{option}: there is no folder {where.folder}")
