"""Defences taken out of the product one at a time: the simulator must notice each.

Each entry replaces one function by what somebody who did not know its reason might have written.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from tests.support.stores import MemoryStore
from wheelgate.core.errors import BlobExists, BlobNotFound, StoreError
from wheelgate.files.delivery import Delivery
from wheelgate.index import listing_wait, merged
from wheelgate.index.decision import Answer, Outcome
from wheelgate.index.merged import Merged
from wheelgate.runtime.generations import Generations
from wheelgate.sources.cached import Cached
from wheelgate.storage import change_log, changes, layout
from wheelgate.storage.change_log import Change, ChangeLog
from wheelgate.storage.changes import Announcement, StoreChanges
from wheelgate.storage.claims import Claims
from wheelgate.storage.fills import Fill
from wheelgate.storage.tokens import Tokens
from wheelgate.storage.tombstones import Tombstones
from wheelgate.uploads.accept import Uploads, compute_sha256
from wheelgate.uploads.manage import UploadManager
from wheelgate.web.page_cache import PageCache

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


async def _claim_to_have_done_it(self: object, *given: object, **options: object) -> bool:
    return True


async def _make_no_token(self: Tokens, scopes: tuple[str, ...], life: timedelta, note: str = "") -> tuple[str, object]:
    return self._mint(scopes, life, note)


def _heed_no_other_release(self: StoreChanges, seen: ChangeLog | None, *, is_first: bool) -> None:
    """Hear what the record says, and nothing where it begins anew."""
    entries = () if self._log is None or seen is None else self._log.find_after(seen) or ()
    for entry in entries:
        if entry.is_made:
            self._unsettled.pop((entry.change, entry.number), None)
            self.emit(entry.change)
        else:
            self._unsettle([entry.change], entry.number)


async def _listen_to_nobody(self: StoreChanges) -> None:
    self._heard_s = self.clock.monotonic()
    self.looked.emit()


def _forget_known_tokens(self: Tokens, identifier: str | None) -> None:
    """Forget the tokens that were found, and not that others were not there."""
    self._generations.advance(identifier)
    if identifier is None:
        self._known.clear()
    else:
        self._known.pop(identifier, None)


def _find_first_heard(answers: Iterable[Answer]) -> Answer | None:
    return next((answer for answer in answers if answer.outcome is Outcome.LISTED), None)


async def _serve_unrecorded(self: Merged, project: str, source: str) -> None:
    with contextlib.suppress(StoreError):
        await self._claims.claim(project, source, listed=True)


async def _say_nothing_is_claimed(self: Merged, project: str) -> bool:
    await asyncio.sleep(0)
    return False


async def _replace_blindly(self: MemoryStore, path: str, body: bytes, etag: str | None) -> str:
    current = self.blobs[path][1] if path in self.blobs else None
    return self._put(path, body, current.facts if current else {}, _now()).etag


MUTATIONS: Mapping[str, Patches] = {
    "a change is announced after it was made": {(StoreChanges, "changing"): _announce_afterwards},
    "what is heard of is forgotten once": {(StoreChanges, "_unsettle"): lambda self, made, number="": None},
    "an upload looks at no tombstone once it is stored": {(Uploads, "_check_tombstone"): _do_nothing},
    "bytes that are there already are good": {(Uploads, "_is_stored"): _trust_the_name},
    "a listing is believed without its tombstones": {(Tombstones, "find_displaced"): _find_none_displaced},
    "a tombstone comes after the deletion": {(UploadManager, "delete"): _delete_first},
    "a file is stored over another": {(MemoryStore, "put_if_absent"): _put_over},
    "the record of changes is replaced whoever wrote it meanwhile": {(MemoryStore, "replace_if"): _replace_blindly},
    "an upload claims nothing": {(Claims, "claim"): _do_nothing, (Claims, "record"): _do_nothing},
    "claims are not looked up": {(Merged, "_find_claim"): _say_nothing_is_claimed},
    "what was read before a change is kept after it": {(Generations, "of"): lambda self, key: (0, 0)},
    "an announced claim is not heard": {(Claims, "_forget"): lambda self, project: None},
    "an announced token is not heard": {(Tokens, "_forget"): lambda self, identifier: None},
    "an announced file is not heard": {(Cached, "drop"): lambda self, project=None: None},
    "missed changes are taken for none": {(ChangeLog, "find_after"): lambda self, seen: ()},
    # what does nothing, and says that it did
    "a deletion deletes nothing": {(UploadManager, "delete"): _do_nothing},
    "a deletion only writes its tombstone": {(MemoryStore, "delete"): _do_nothing},
    "a revocation revokes nothing": {(Tokens, "revoke"): _claim_to_have_done_it},
    "a yank yanks nothing": {(UploadManager, "_change"): _do_nothing},
    "an upload stores nothing": {(Uploads, "_put"): _claim_to_have_done_it},
    "a token is not stored": {(Tokens, "new"): _make_no_token},
    # who is let in
    "a token made elsewhere is refused for good": {(Tokens, "_look_up"): _do_nothing},
    "that there is no such token is remembered for good": {(Tokens, "_forget"): _forget_known_tokens},
    "a warm request asks nobody about its token": {(Tokens, "still_known"): lambda self, token, generation: True},
    # what is known of others
    "silence is taken for no news": {(StoreChanges, "is_heard"): property(lambda self: True)},
    "changes of others are never looked for": {(StoreChanges, "look"): _listen_to_nobody},
    "changes of others are looked for every 25 s": {(changes, "WATCH_INTERVAL_S"): 25.0},
    "nobody is told that a change was made": {(Announcement, "conclude"): _do_nothing},
    "the record of another release says nothing": {(StoreChanges, "_hear"): _heed_no_other_release},
    # what is served
    "what cannot be recorded as private is served": {(Merged, "_record_claim"): _serve_unrecorded},
    "a private source that fails is passed over": {(owner, "find_first"): _find_first_heard for owner in (merged, listing_wait)},
    "an outage puts nothing in doubt": {(merged, "find_outage_window"): lambda answers, owner: None},
    "a finished page is kept whatever happens": {(PageCache, "drop"): lambda self, project=None: None},
    "an evicted copy is never fetched again": {(Delivery, "forget"): lambda self: None},
    "a body is sent whatever its digest": {(Fill, "check_whole"): lambda self, size, digests: None},
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
