"""Nobody starts again because something changed meanwhile: every request ends within so many store requests, whatever others do.

A simulated replica answers one request, and at each question of it to the store somebody meddles: announces, writes over the
record of changes, yanks, uploads or deletes the very file, revokes the very token. Counted are the request's own questions,
also those of the flights that it started, not those of the replica's watching.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context, ContextVar
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pytest

from tests.simulation.loop import run_virtually
from tests.simulation.replica import Replica
from tests.simulation.store import FAIR
from tests.simulation.world import World
from tests.support.packages import make_wheel, sha256, wheel_bytes, wheel_name
from wheelgate.core.errors import BlobNotFound, WheelgateError
from wheelgate.core.model import ProjectPage
from wheelgate.sources.cached import Cached
from wheelgate.storage import layout
from wheelgate.storage.change_log import EVERYTHING, Change, ChangeEntry, Kind, begin_log, decode_log
from wheelgate.storage.claims import Claims
from wheelgate.storage.kept_names import KeptNames
from wheelgate.storage.tokens import Token, Tokens
from wheelgate.uploads.checks import ReceivedFile
from wheelgate.web.page_cache import CachedPage, PageCache

NAME, PUBLIC_NAME, NEW = "acme-a", "acme-c", "acme-b"
WHEEL = wheel_name(NAME, "1.0")
_LONG = 500
"""More than any of them may take: whoever comes so far is taken for one that never ends."""
_is_measured: ContextVar[bool] = ContextVar("is_measured", default=False)


class Meddler:
    """Everybody else: does something at each store request of the one that is measured."""

    def __init__(self, replica: Replica, acts: list[str], chance: random.Random, token: str) -> None:
        self._replica = replica
        self._acts = acts
        self._chance = chance
        self._shared = replica.line._shared
        self._call = replica.line._call
        self._token = token
        self._token_record = self._shared.blobs[layout.token(token)][0]
        self.asking: asyncio.Task[None] | None = None
        self.asked: list[str] = []
        replica.line._call = self._intercept  # type: ignore[method-assign]

    async def _intercept(self, method: str, path: str, work: Callable[[], Any]) -> Any:
        if _is_measured.get():
            self.asked.append(f"{method} {path}")
            if len(self.asked) > _LONG and self.asking is not None:
                self.asking.cancel()
                raise WheelgateError("enough")
            await self._meddle()
        answer = await self._call(method, path, work)
        if _is_measured.get():
            await self._meddle()
        return answer

    async def _meddle(self) -> None:
        few = self._chance.random() < 0.5
        for act in self._chance.sample(self._acts, min(1, len(self._acts)) if few else len(self._acts)):
            await getattr(self, f"_{act}")()

    def _tell(self, change: Change) -> None:
        """Let the replica hear of a change. What it does about that by itself is no part of the request."""
        Context().run(self._replica._changes.emit, change)

    async def _tell_keys(self) -> None:
        for name in (NAME, PUBLIC_NAME, NEW):
            for kind in (Kind.PACKAGE, Kind.CLAIM):
                self._tell(Change(kind, name))
        self._tell(Change(Kind.TOKEN, self._token))

    async def _tell_everything(self) -> None:
        for change in EVERYTHING:
            self._tell(change)

    async def _announce(self) -> None:
        """Another replica writes over the record of changes first."""
        entry = ChangeEntry(Kind.PACKAGE.value, NAME, f"{len(self.asked)}", is_made=False)
        try:
            body, info = await self._shared.read(layout.CHANGED)
        except BlobNotFound:
            await self._shared.replace_if(layout.CHANGED, begin_log(after_another=False).extend([entry]).encode(), None)
        else:
            await self._shared.replace_if(layout.CHANGED, decode_log(body).extend([entry]).encode(), info.etag)

    async def _yank(self) -> None:
        with suppress(BlobNotFound):
            info = await self._shared.info(layout.package(NAME, WHEEL))
            await self._shared.set_facts(info.path, {**info.facts, "yanked": f"{len(self.asked)}"}, info.etag)

    async def _come_and_go(self) -> None:
        """Files and claims of the names, and the token, are there and gone by turns."""
        bodies = {layout.token(self._token): self._token_record}
        for name in (NAME, NEW):
            bodies |= {layout.package(name, wheel_name(name, "1.0")): wheel_bytes(name, "1.0"), layout.claim(name): b""}
        for path, body in bodies.items():
            if self._chance.random() < 0.5:
                await self._shared.delete(path)
            elif path not in self._shared.blobs:
                await self._shared.put_if_absent(path, body, {"sha256": sha256(body)})


ACTS = ["tell_keys", "tell_everything", "announce", "yank", "come_and_go"]
Request = Callable[[Replica, Path], Awaitable[object]]


async def _download(replica: Replica, _: Path) -> None:
    for file in (await replica.read_page(NAME)).files:
        await replica.download(file)


async def _upload(replica: Replica, folder: Path) -> None:
    wheel = make_wheel(folder, NEW, "1.0")
    await replica.uploads.accept(ReceivedFile(wheel, wheel.name, sha256(wheel.read_bytes())))


class Bound(NamedTuple):
    """What a request may take at most."""

    requests: int
    """To the store, beside those that announce."""
    announcements: int
    """Before and after each change; each is overtaken twenty times at most, and takes forty requests then."""


REQUESTS: dict[str, tuple[Request, Bound]] = {
    "a page": (lambda replica, _: replica.read_page(NAME), Bound(7, 2)),
    "a page of a public index": (lambda replica, _: replica.read_page(PUBLIC_NAME), Bound(7, 0)),
    "a file": (_download, Bound(9, 2)),
    "an upload": (_upload, Bound(18, 7)),
    "a yank": (lambda replica, _: replica.manager.yank(WHEEL, "broken"), Bound(10, 10)),
    "a deletion": (lambda replica, _: replica.manager.delete(WHEEL), Bound(5, 2)),
    "a use of a token": (lambda replica, _: replica.let_in(replica.text), Bound(1, 0)),  # type: ignore[attr-defined]
    "a claim": (lambda replica, _: replica.claims.claim(NEW, "team", listed=True), Bound(2, 2)),
    # Two listings, and each name that changed is looked up twice.
    "the list of projects": (lambda replica, _: replica.index.list_projects(), Bound(14, 0)),
}
_OVERTAKEN = 40


def measure(kind: str, acts: list[str], seed: int, folder: Path, *, is_warm: bool = False) -> list[str]:
    """The store requests that a request took while everybody else did ``acts``."""
    request, _ = REQUESTS[kind]

    async def live() -> list[str]:
        world = World(0, folder, FAIR)
        replica = next(each for each in world.replicas if not each.is_former)
        world.outside.register(PUBLIC_NAME, 1)
        body = wheel_bytes(NAME, "1.0")
        await world.shared.put_if_absent(layout.package(NAME, WHEEL), body, {"sha256": sha256(body)})
        await world.shared.put_if_absent(layout.claim(NAME), b"", {})
        replica.text, token = await replica.tokens.new(("read",), timedelta(days=1))  # type: ignore[attr-defined]
        await asyncio.sleep(40)  # it watches, and nothing is unsettled any more
        if is_warm:
            await request(replica, folder)
        meddler = Meddler(replica, acts, random.Random(seed), token.id)

        async def ask() -> None:
            _is_measured.set(True)
            with suppress(WheelgateError):
                await request(replica, folder)

        asking = meddler.asking = asyncio.create_task(ask())
        try:
            await asyncio.wait([asking], timeout=3_600)
            assert asking.done(), f"it never ended: {meddler.asked[-5:]}"
            assert len(meddler.asked) <= _LONG, f"it asks on and on: {meddler.asked[-5:]}"
            asking.result()
            return meddler.asked
        finally:
            await world.close()

    logging.disable(logging.CRITICAL)
    try:
        return run_virtually(live())
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize("kind", REQUESTS)
def test_every_request_ends_within_so_many_store_requests_whatever_others_do(tmp_path: Path, kind: str) -> None:
    _, bound = REQUESTS[kind]
    for acts in ([], *([act] for act in ACTS), ACTS):
        for seed in range(3 if len(acts) < 2 else 40):
            asked = measure(kind, acts, seed, tmp_path)
            announcing = sum(request.endswith(layout.CHANGED) for request in asked)
            assert len(asked) - announcing <= bound.requests, f"{acts}, seed {seed}: {asked}"
            assert announcing <= bound.announcements * _OVERTAKEN, f"{acts}, seed {seed}: {asked}"


@pytest.mark.parametrize("kind", ["a page", "a page of a public index", "a use of a token"])
def test_what_is_warm_asks_the_store_nothing(tmp_path: Path, kind: str) -> None:
    assert measure(kind, ACTS, 0, tmp_path, is_warm=True) == []


# --- somebody who does not know the reason might have written:

_decide, _page, _find, _holds, _get = PageCache._decide, Cached.project_page, Tokens._find, Claims.holds, KeptNames.get


async def _decide_until_it_stands(self: PageCache, project: str) -> CachedPage:
    while True:
        entry = await _decide(self, project)
        if entry.generation == self._generations.of(project):
            return entry


async def _list_until_it_stands(self: Cached, project: str) -> ProjectPage:
    while True:
        generation = self._generations.of(project)
        page = await _page(self, project)
        if generation == self._generations.of(project):
            return page


async def _look_up_until_it_stands(self: Tokens, identifier: str, client: str) -> Token | None:
    while True:
        generation = self._generations.of(identifier)
        token = await _find(self, identifier, client)
        if generation == self._generations.of(identifier):
            return token


async def _claim_until_it_stands(self: Claims, project: str) -> bool:
    while True:
        generation = self._generations.of(project)
        found = await _holds(self, project)
        if generation == self._generations.of(project):
            return found


async def _name_until_it_stands(self: KeptNames) -> Any:
    while True:
        names = await _get(self)
        if not self._doubtful and self._listed_after == self._upheavals:
            return names


RESTARTS: dict[str, tuple[object, str, object]] = {
    "a page": (PageCache, "_decide", _decide_until_it_stands),
    "a file": (Cached, "project_page", _list_until_it_stands),
    "a use of a token": (Tokens, "_find", _look_up_until_it_stands),
    "a page of a public index": (Claims, "holds", _claim_until_it_stands),
    "the list of projects": (KeptNames, "get", _name_until_it_stands),
}


@contextmanager
def restarting(kind: str) -> Iterator[None]:
    """The product with something in it that starts again when something changed meanwhile."""
    owner, name, instead = RESTARTS[kind]
    with mock.patch.object(owner, name, instead):
        yield


@pytest.mark.parametrize("kind", RESTARTS)
def test_who_starts_again_is_found(tmp_path: Path, kind: str) -> None:
    with restarting(kind), pytest.raises(AssertionError, match="it asks on and on"):
        for seed in range(20):
            measure(kind, ["tell_keys", "tell_everything"], seed, tmp_path)
