"""The store in a folder of this machine: what a laptop or a single server needs, and as durable as its disk.

Processes that share the folder (``wheelgate wheel add`` beside a running server) are serialised by a file lock, which the
kernel frees when a process dies.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from wheelgate.core.errors import StoreError
from wheelgate.core.protocols import BlobInfo
from wheelgate.runtime.durable import make_folder, sync_folder
from wheelgate.storage.disk import DiskStore, identify_body

_FACTS = ".facts"
_LEFT_BEHIND_S = 7 * 24 * 3600.0


class _StoredFacts(msgspec.Struct):
    created: datetime
    facts: dict[str, str]
    version: str = msgspec.field(default_factory=lambda: uuid.uuid4().hex)
    """New at every change: two changes within one tick of the file system's clock must not have one ETag."""


class LocalStore(DiskStore):
    """A :class:`~wheelgate.core.protocols.BlobStore` in a folder. Bodies under their own paths, facts in a parallel tree."""

    def __init__(self, root: Path, name: str = "store") -> None:
        super().__init__(root, name=name, title="the store", lock=root / ".lock", incoming=root / ".incoming")

    def prepare(self, *, left_behind_s: float = _LEFT_BEHIND_S) -> None:
        """Make the folder, prove that it can be written, and sweep up after processes that died while they wrote.

        ``left_behind_s``: what nobody touched for so long is half-written for good.
        """
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)  # hashes of tokens, and private packages
            incoming = self.root / ".incoming"
            incoming.mkdir(exist_ok=True)
            with self._bring_in(b"wheelgate"), self._lock():
                latest = time.time() - left_behind_s
                for left in incoming.iterdir():
                    with suppress(FileNotFoundError):  # another process's, just done with
                        if left.stat().st_ctime < latest:
                            left.unlink()
        except OSError as error:
            raise self._store_error("written", error) from None

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
        facts_file = self._facts_file(path)
        try:
            return msgspec.json.decode(facts_file.read_bytes(), type=_StoredFacts)
        except FileNotFoundError:  # a body that somebody else put there
            return _StoredFacts(datetime.fromtimestamp(body.st_mtime, UTC), {}, version="0")
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise StoreError(f"the store's facts about {path} are damaged: delete {facts_file}") from None

    async def set_facts(self, path: str, facts: Mapping[str, str], etag: str) -> BlobInfo:
        return await self._run(self._set_facts, path, facts, etag)

    def _set_facts(self, path: str, facts: Mapping[str, str], etag: str) -> BlobInfo:
        with self._lock():
            info = self._info(path)
            if info.etag != etag:
                raise self._changed_error(path)
            self._replace_facts(path, _StoredFacts(info.created, dict(facts)))
            return self._info(path)

    def _delete(self, path: str) -> None:
        with self._lock():
            super()._delete(path)
            self._facts_file(path).unlink(missing_ok=True)

    async def signed_url(self, path: str) -> str | None:  # noqa: ARG002 - a folder signs nothing
        return None

    def _facts_file(self, path: str) -> Path:
        return self.root / _FACTS / path

    def _write_facts(self, path: str, ready: Path, facts: Mapping[str, str]) -> None:  # noqa: ARG002
        self._replace_facts(path, _StoredFacts(datetime.now(UTC), dict(facts)))

    def _replace_facts(self, path: str, facts: _StoredFacts) -> None:
        target = self._facts_file(path)
        with self._bring_in(msgspec.json.encode(facts)) as ready:
            make_folder(target.parent)
            ready.replace(target)
        sync_folder(target.parent)
