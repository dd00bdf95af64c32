"""Defences taken out of the product one at a time: the simulator must notice each.

Each entry replaces one function by what somebody who did not know its reason might have written.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from tests.support.stores import MemoryStore
from wheelgate.core.errors import BlobExists, BlobNotFound
from wheelgate.index.merged import Merged
from wheelgate.runtime.generations import Generations
from wheelgate.sources.cached import Cached
from wheelgate.storage import change_log, changes, layout
from wheelgate.storage.change_log import Change, ChangeLog
from wheelgate.storage.changes import Announcement, StoreChanges
from wheelgate.storage.claims import Claims
from wheelgate.storage.tokens import Tokens
from wheelgate.storage.tombstones import Tombstones
from wheelgate.uploads.accept import Uploads, compute_sha256
from wheelgate.uploads.manage import UploadManager

Patches = Mapping[tuple[object, str], object]


@asynccontextmanager
async def _announce_afterwards(self: StoreChanges, *made: Change, here: bool = True) -> AsyncIterator[Announcement]:
    yield Announcement(self, made)
    for change in made:
        self.emit(change)
    announcement = Announcement(self, made)
    await announcement.renew()
    await announcement.conclude()


async def _trust_the_name(self: Uploads, target: Any, checked: Any) -> bool:
    """Find the same bytes, and look at no tombstone."""
    try:
        info = await target.store.info(target.build_path(checked.project, checked.filename))
    except BlobNotFound:
        return False
    return (info.facts.get("sha256") or await compute_sha256(target.store, info)) == checked.sha256


async def _find_none_displaced(self: Tombstones, project: str, files: Mapping[str, str | None]) -> frozenset[str]:
    return frozenset()


async def _do_nothing(self: object, *given: object, **options: object) -> None:
    return None


async def _put_over(self: MemoryStore, path: str, body: Path | bytes, facts: Mapping[str, str], **options: Any) -> object:
    if (hook := options.get("before_commit")) is not None:
        await hook()
    content = body if isinstance(body, bytes) else body.read_bytes()
    if path in self.blobs and not path.startswith(layout.PACKAGES):
        raise BlobExists(path)
    return self._put(path, content, facts, self.blobs[path][1].created if path in self.blobs else _now())


def _now() -> Any:
    from tests.simulation.loop import EPOCH

    return EPOCH


async def _delete_first(self: UploadManager, filename: str) -> None:
    target, project, info = await self._find(filename)
    sha256 = info.facts.get("sha256") or await compute_sha256(target.store, info)
    async with self._changes.changing(Change(change_log.Kind.PACKAGE, project)):
        await target.store.delete(info.path)
        await self._tombstones.write(project, filename, sha256)


async def _say_nothing_is_claimed(self: Merged, project: str) -> bool:
    await asyncio.sleep(0)
    return False


async def _replace_blindly(self: MemoryStore, path: str, body: bytes, etag: str | None) -> str:
    current = self.blobs[path][1] if path in self.blobs else None
    return self._put(path, body, current.facts if current else {}, _now()).etag


async def _set_facts_blindly(self: MemoryStore, path: str, facts: Mapping[str, str], etag: str) -> object:
    body, info = self._get(path)
    return self._put(path, body, facts, info.created)


MUTATIONS: Mapping[str, Patches] = {
    "a change is announced after it was made": {(StoreChanges, "changing"): _announce_afterwards},
    "what is heard of is forgotten once": {(changes, "UNSETTLED_S"): -1.0},
    "an upload looks at no tombstone once it is stored": {(Uploads, "_check_tombstone"): _do_nothing},
    "bytes that are there already are good": {(Uploads, "_is_stored"): _trust_the_name},
    "a listing is believed without its tombstones": {(Tombstones, "find_displaced"): _find_none_displaced},
    "a tombstone comes after the deletion": {(UploadManager, "delete"): _delete_first},
    "a file is stored over another": {(MemoryStore, "put_if_absent"): _put_over},
    "facts are replaced whoever changed them meanwhile": {(MemoryStore, "set_facts"): _set_facts_blindly},
    "the record of changes is replaced whoever wrote it meanwhile": {(MemoryStore, "replace_if"): _replace_blindly},
    "an upload claims nothing": {(Claims, "claim"): _do_nothing},
    "claims are not looked up": {(Merged, "_find_claim"): _say_nothing_is_claimed},
    "what was read before a change is kept after it": {(Generations, "of"): lambda self, key: (0, 0)},
    "an announced claim is not heard": {(Claims, "_forget"): lambda self, project: None},
    "an announced token is not heard": {(Tokens, "_forget"): lambda self, identifier: None},
    "an announced file is not heard": {(Cached, "drop"): lambda self, project=None: None},
    "missed changes are taken for none": {
        (ChangeLog, "find_after"): lambda self, seen: (),
    },
}


@contextmanager
def mutated(name: str) -> Iterator[None]:
    """The product without one of its defences, within the block."""
    with contextlib.ExitStack() as stack:
        for (owner, attribute), replacement in MUTATIONS[name].items():
            stack.enter_context(mock.patch.object(owner, attribute, replacement))
        yield


def find_first(name: str, seeds: range, run: Callable[[int], str | None]) -> tuple[int, str] | None:
    """The first seed that notices that a defence is missing, and what it says; ``None``: none of them."""
    with mutated(name):
        for seed in seeds:
            if (what := run(seed)) is not None:
                return seed, what
    return None
