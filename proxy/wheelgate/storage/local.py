"""The store in a folder of this machine: what a laptop or a single server needs, and as durable as its disk.

Processes that share the folder (``wheelgate wheel add`` beside a running server) are serialised by a file lock, which the
kernel frees when a process dies.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec

from wheelgate.core.errors import BlobDamaged, StoreError
from wheelgate.core.model import FormatVersion
from wheelgate.core.protocols import BlobInfo
from wheelgate.runtime.drafts import sweep_drafts
from wheelgate.runtime.durable import is_full, sync_open_folder
from wheelgate.runtime.regular_file import open_parent, read_below
from wheelgate.storage import layout
from wheelgate.storage.disk import DiskStore, T, identify_body, is_of_one_file
from wheelgate.storage.reserve import DiskReserve

_FACTS = ".facts"
_IDENTITY = ".identity"
_MAX_FACTS_BYTES = 256 * 1024
_FORM = 1
_LEFT_BEHIND_S = 7 * 24 * 3600.0
_log = logging.getLogger(__name__)


class _StoredFacts(msgspec.Struct):
    created: Annotated[datetime, msgspec.Meta(tz=True)]
    facts: dict[str, str]
    version: str = msgspec.field(default_factory=lambda: uuid.uuid4().hex)
    """New at every change: two changes within one tick of the file system's clock must not have one ETag."""
    form: FormatVersion = _FORM
    """The version of the format: of a later one nothing may be believed."""


class LocalStore(DiskStore):
    """A :class:`~wheelgate.core.protocols.BlobStore` in a folder. Bodies under their own paths, facts in a parallel tree."""

    def __init__(self, root: Path, name: str = "store") -> None:
        super().__init__(root, name=name, title="the store", lock=root / ".lock", incoming=root / ".incoming")
        self._reserve = DiskReserve(root / ".reserve")
        self._identity: bytes | None = None
        """The content of its ``.identity``; ``None`` before it is prepared."""
        self._seen_at: tuple[int, int] | None = None
        """Device and inode of the folder that had it last."""

    def prepare(self, *, left_behind_s: float = _LEFT_BEHIND_S) -> None:
        """Make the folder, prove that it can be written, and sweep up after processes that died while they wrote.

        A full disk is no reason to refuse: what is there can be read, and deleted.

        ``left_behind_s``: where locks do not tell, what nobody touched for so long is half-written for good.
        """
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)  # hashes of tokens, and private packages
            incoming = self.root / ".incoming"
            incoming.mkdir(exist_ok=True)
            with self._lock():
                sweep_drafts(incoming, time.time() - left_behind_s)
                self._identify()
            if not (self._reserve.keep() and self._takes_more()):
                _log.warning("%s: what is there is served, yanked and deleted, nothing new is kept", self._full_error())
        except OSError as error:
            raise self._store_error("written", error) from None

    def _takes_more(self) -> bool:
        """Tell whether it has room; :class:`OSError` if it cannot be written at all."""
        try:
            with self._bring_in(b"wheelgate"):
                return True
        except OSError as error:
            if not is_full(error):
                raise
            return False

    def _write_even_if_full(self, work: Callable[[], T]) -> T:
        """Do what has to be written, from the reserve if the disk is full."""
        try:
            return work()
        except OSError as error:
            if not is_full(error):
                raise
        with self._reserve.spent():
            return work()

    def _put_if_absent(self, path: str, body: Path | bytes, facts: Mapping[str, str]) -> BlobInfo:
        put = partial(super()._put_if_absent, path, body, facts)
        return self._write_even_if_full(put) if path.startswith(layout.TOMBSTONES) else put()

    def _replace_if(self, path: str, body: bytes, etag: str | None) -> str:
        replace = partial(super()._replace_if, path, body, etag)
        return self._write_even_if_full(replace) if path == layout.CHANGED else replace()

    def _delete(self, path: str, etag: str | None) -> None:
        super()._delete(path, etag)
        self._reserve.keep()  # if it was spent: now there may be room again

    def _identify(self) -> None:
        """Learn what tells this folder from another one in its place; the lock is held."""
        if not (self.root / _IDENTITY).exists():
            with self._bring_in(uuid.uuid4().hex.encode()) as ready:
                os.link(ready, self.root / _IDENTITY)
        self._identity = read_below(self.root, _IDENTITY, _MAX_FACTS_BYTES)

    def _work(self, work: Callable[..., T], *arguments: object) -> T:
        self._check_place()
        return super()._work(work, *arguments)

    def _check_place(self) -> None:
        """Raise :class:`StoreError` if another folder is in the place of ours, such as the one below a mount that was lost.

        Nothing may be concluded from what such a folder lacks: neither that a file is gone nor that nobody has claimed a name.
        """
        if self._identity is None:
            return
        found = self.root.stat()
        here = (found.st_dev, found.st_ino)
        if here == self._seen_at:
            return
        try:
            is_ours = read_below(self.root, _IDENTITY, _MAX_FACTS_BYTES) == self._identity
        except OSError:
            is_ours = False
        if not is_ours:
            raise StoreError(f"{self.root} is not the folder that the store was in when this process began: is its mount lost?")
        self._seen_at = here

    def _info(self, path: str) -> BlobInfo:
        body = self._stat(path)
        while True:
            kept = self._read_facts(path, body)
            again = self._stat(path)
            if identify_body(again) == identify_body(body):
                break
            body = again  # replaced between the two looks: its facts may belong to the other one
        etag = f"{identify_body(body)}-{kept.version}"
        return BlobInfo(path, body.st_size, etag, kept.created, kept.facts)

    def _read_facts(self, path: str, body: os.stat_result) -> _StoredFacts:
        try:
            kept = msgspec.json.decode(read_below(self.root, _facts_path(path), _MAX_FACTS_BYTES), type=_StoredFacts)
        except FileNotFoundError:  # a body that somebody else put there
            return _StoredFacts(datetime.fromtimestamp(body.st_mtime, UTC), {}, version="0")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise self._damaged_facts_error(path, "are damaged") from None
        except OSError as error:
            if not is_of_one_file(error):
                raise
            raise self._damaged_facts_error(path, f"cannot be read: {(error.strerror or str(error)).lower()}") from None
        if kept.form > _FORM:
            raise self._damaged_facts_error(path, f"are of format {kept.form}, which a later release wrote")
        return kept

    def _damaged_facts_error(self, path: str, why: str) -> BlobDamaged:
        return BlobDamaged(f"the store's facts about {path} {why}: delete {self.root / _facts_path(path)}")

    async def set_facts(self, path: str, facts: Mapping[str, str], etag: str) -> str:
        return await self._run(self._write_even_if_full, partial(self._set_facts, path, facts, etag))

    def _set_facts(self, path: str, facts: Mapping[str, str], etag: str) -> str:
        with self._lock():
            info = self._info(path)
            if info.etag != etag:
                raise self._changed_error(path)
            self._replace_facts(path, _StoredFacts(info.created, dict(facts)))
            return self._info(path).etag

    def _remove(self, path: str) -> None:
        for each in (path, _facts_path(path)):
            super()._remove(each)
            self._prune(each)

    def _prune(self, path: str) -> None:
        """Remove the folders above a path that are empty; the lock is held, under which alone they are made."""
        with suppress(OSError):  # not empty, as most are
            while path := path.rpartition("/")[0]:
                with open_parent(self.root, path) as (folder, name):
                    os.rmdir(name, dir_fd=folder)

    async def signed_url(self, path: str) -> str | None:  # noqa: ARG002 - a folder signs nothing
        return None

    def _write_facts(self, path: str, ready: Path, facts: Mapping[str, str]) -> None:  # noqa: ARG002
        self._replace_facts(path, _StoredFacts(datetime.now(UTC), dict(facts)))

    def _replace_facts(self, path: str, facts: _StoredFacts) -> None:
        with (
            self._bring_in(msgspec.json.encode(facts)) as ready,
            open_parent(self.root, _facts_path(path), make=True) as (folder, name),
        ):
            os.replace(ready, name, dst_dir_fd=folder)
            sync_open_folder(folder)


def _facts_path(path: str) -> str:
    return f"{_FACTS}/{path}"
