"""Index documents: asked for by their validator, bounded, standing in during an outage, never other bytes than are listed."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from aiohttp import web

from tests.files.test_metadata_files import NoCredentials
from tests.support.clock import FakeClock
from tests.support.index import FakeIndex
from tests.support.stores import WatchedStore
from tests.support.turns import longest_turn
from wheelgate.core.digests import new_hash
from wheelgate.core.errors import BlobNotFound, UpstreamBadAnswer, UpstreamUnavailable
from wheelgate.core.model import File, RemoteFile
from wheelgate.files.index_documents import IndexDocuments, ListingOutdated
from wheelgate.runtime.metrics import Metrics
from wheelgate.storage import layout
from wheelgate.upstream.client import SourceClient

NAME, DOCUMENT = "demo", "demo-1.0-variants.json"
PATH = f"/packages/{NAME}/{DOCUMENT}"
COPY = layout.cache_copy("team", NAME, DOCUMENT)


def content(*labels: str) -> bytes:
    return json.dumps({"variants": {label: {} for label in labels}}).encode()


class Upstream:
    """One document, with an ETag, at an index."""

    def __init__(self, index: FakeIndex) -> None:
        self.index = index
        self.body = content("null")
        self.status = 200
        self.kind = "application/json"
        self.answers: list[int] = []
        index.handlers[PATH] = self.answer

    async def answer(self, request: web.BaseRequest) -> web.Response:
        etag = f'"{hashlib.md5(self.body, usedforsecurity=False).hexdigest()}"'
        held = request.headers.get("If-None-Match") == etag and self.status == 200
        self.answers.append(304 if held else self.status)
        if held:
            return web.Response(status=304, headers={"ETag": etag})
        return web.Response(status=self.status, body=self.body, headers={"ETag": etag, "Content-Type": self.kind})

    def listed(self, *, body: bytes | None = None, hashed: bool = True) -> tuple[File, RemoteFile]:
        place = RemoteFile(self.index.origin + PATH, "team")
        hashes = {"sha256": hashlib.sha256(self.body if body is None else body).hexdigest()} if hashed else {}
        return File(filename=DOCUMENT, project=NAME, source="team", location=place, hashes=hashes), place


@pytest.fixture
def upstream(index: FakeIndex) -> Upstream:
    return Upstream(index)


class Opened:
    """The documents of one process."""

    def __init__(self, documents: IndexDocuments, asked_again: list[tuple[str, str]]) -> None:
        self.documents = documents
        self.asked_again = asked_again

    async def get(self, listed: tuple[File, RemoteFile]) -> bytes:
        return await self.documents.body(*listed)


@asynccontextmanager
async def opened(
    upstream: Upstream, store: WatchedStore, clock: FakeClock, *, keeps: bool = True, max_bytes: int = 1_000_000
) -> AsyncIterator[Opened]:
    client = SourceClient(
        source="team",
        url=upstream.index.url,
        file_hosts=(),
        credentials=NoCredentials(),
        clock=clock,
        metrics=Metrics(),
        user_agent="wheelgate/test",
    )
    asked_again: list[tuple[str, str]] = []
    documents = IndexDocuments(
        store=store,
        clients={"team": client},
        keeps=lambda _: keeps,
        ask_again=lambda source, project: asked_again.append((source, project)),
        clock=clock,
        max_bytes=max_bytes,
    )
    try:
        yield Opened(documents, asked_again)
    finally:
        await documents.close()
        await client.close()


async def test_what_is_held_and_listed_is_not_asked_for(upstream: Upstream, clock: FakeClock) -> None:
    async with opened(upstream, WatchedStore(), clock) as process:
        bodies = await asyncio.gather(*(process.get(upstream.listed()) for _ in range(20)))
        clock.move(3_600)
        bodies.append(await process.get(upstream.listed()))
        assert set(bodies) == {upstream.body}
        assert upstream.answers == [200]


async def test_one_that_is_listed_without_a_digest_is_asked_for_by_its_etag(upstream: Upstream, clock: FakeClock) -> None:
    async with opened(upstream, WatchedStore(), clock) as process:
        for _ in range(3):
            assert await process.get(upstream.listed(hashed=False)) == upstream.body
        clock.move(6)
        assert await process.get(upstream.listed(hashed=False)) == upstream.body
        upstream.body = content("null", "cu128")
        clock.move(6)
        assert await process.get(upstream.listed(hashed=False)) == content("null", "cu128")
        assert upstream.answers == [200, 304, 200]


async def test_a_page_that_is_older_than_its_document_is_asked_for_anew_and_not_at_once_again(
    upstream: Upstream, clock: FakeClock
) -> None:
    async with opened(upstream, WatchedStore(), clock) as process:
        old = upstream.listed()
        upstream.body = content("null", "cu128")
        for _ in range(5):
            with pytest.raises(ListingOutdated, match="team sends demo-1.0-variants.json with another digest than it lists"):
                await process.get(old)
        assert process.asked_again == [("team", NAME)]
        assert upstream.answers == [200]
        assert await process.get(upstream.listed()) == upstream.body, "by the newer page"
        clock.move(6)
        with pytest.raises(ListingOutdated):
            await process.get(old)
        assert len(process.asked_again) == 2


async def test_the_bytes_of_the_page_are_given_where_we_have_them(upstream: Upstream, clock: FakeClock) -> None:
    """A client that has the older page gets what belongs to it."""
    async with opened(upstream, WatchedStore(), clock) as process:
        old, body = upstream.listed(), upstream.body
        await process.get(old)
        upstream.body = content("null", "cu128")
        assert await process.get(old) == body
        assert not process.asked_again


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"status": 404}, "answered 404 for demo-1.0-variants.json, which it lists"),
        ({"body": b"<html>sign in</html>"}, "sent something for demo-1.0-variants.json that is no list of variants"),
        ({"body": b'["variants"]'}, "no list of variants"),
        ({"body": b'{"variants":' + b"[" * 100_000}, "no list of variants"),
        ({"body": b'{"variants":{"x":"' + b"x" * 1_100_000 + b'"}}'}, "sent more than 1 MiB for demo-1.0-variants.json"),
    ],
)
async def test_what_is_no_document_is_never_handed_on(
    upstream: Upstream, clock: FakeClock, wrong: dict[str, object], sentence: str
) -> None:
    async with opened(upstream, WatchedStore(), clock) as process:
        good = upstream.body
        for name, value in wrong.items():
            setattr(upstream, name, value)
        with pytest.raises(UpstreamBadAnswer, match=sentence):
            await process.get(upstream.listed(hashed=False))
        upstream.status, upstream.body = 200, good
        assert await process.get(upstream.listed(hashed=False)) == good


async def test_the_last_good_one_stands_in_also_for_the_next_process(upstream: Upstream, clock: FakeClock) -> None:
    store, listed = WatchedStore(), upstream.listed(hashed=False)
    async with opened(upstream, store, clock) as process:
        await process.get(listed)
        await process.documents._writes.wait(("team", NAME, DOCUMENT))
        upstream.index.down = True
        clock.move(60)
        assert await process.get(listed) == upstream.body
    async with opened(upstream, store, clock) as process:
        assert await process.get(listed) == upstream.body
        with pytest.raises(UpstreamUnavailable):
            await process.get(upstream.listed(body=b"what a newer page lists"))
    async with opened(upstream, WatchedStore(), clock) as process:
        with pytest.raises(UpstreamUnavailable):
            await process.get(listed)


async def test_the_copy_follows_the_document(upstream: Upstream, clock: FakeClock) -> None:
    store = WatchedStore()
    async with opened(upstream, store, clock) as process:
        for labels in (("a",), ("a", "b"), ("a", "b", "c")):
            upstream.body = content(*labels)
            await process.get(upstream.listed())
            clock.move(6)
            await process.documents._writes.wait(("team", NAME, DOCUMENT))
            body, info = await store.read(COPY)
            assert (body, info.facts["sha256"]) == (upstream.body, hashlib.sha256(upstream.body).hexdigest())
    unkept = WatchedStore()
    async with opened(upstream, unkept, clock, keeps=False) as process:
        await process.get(upstream.listed())
        await process.documents._writes.wait(("team", NAME, DOCUMENT))
        with pytest.raises(BlobNotFound):
            await unkept.info(COPY)


async def test_the_copy_follows_a_document_that_changes_while_it_is_written(upstream: Upstream, clock: FakeClock) -> None:
    store = WatchedStore()
    store.holds["put_if_absent"] = asyncio.Event()
    async with opened(upstream, store, clock) as process:
        for labels in (("a",), ("a", "b")):
            upstream.body = content(*labels)
            await process.get(upstream.listed())
            clock.move(6)
        store.holds["put_if_absent"].set()
        await process.documents._writes.wait(("team", NAME, DOCUMENT))
    assert (await store.read(COPY))[0] == upstream.body


async def test_what_is_remembered_of_documents_is_bounded(upstream: Upstream, clock: FakeClock) -> None:
    async with opened(upstream, WatchedStore(), clock, max_bytes=20_000) as process:
        for n in range(60):
            path = f"/packages/{NAME}/demo-{n}.0-variants.json"
            upstream.index.handlers[path] = upstream.answer
            place = RemoteFile(upstream.index.origin + path, "team")
            file = File(filename=path.rpartition("/")[2], project=NAME, source="team", location=place)
            assert await process.get((file, place)) == upstream.body
        assert process.documents._known.currsize <= 20_000
        assert 0 < len(process.documents._known) < 20


async def test_a_large_document_with_many_digests_holds_nothing_else_up(upstream: Upstream, clock: FakeClock) -> None:
    upstream.body = content("x" * 1_000_000)
    file, place = upstream.listed()
    stated = {}
    for algorithm in ("sha3_512", *(f"blake2b_{8 * n}" for n in range(16, 64)), *(f"blake2s_{8 * n}" for n in range(16, 32))):
        computed = new_hash(algorithm)
        computed.update(upstream.body)
        stated[algorithm] = computed.hexdigest()
    file = msgspec.structs.replace(file, hashes={**file.hashes, **stated})
    async with opened(upstream, WatchedStore(), clock, max_bytes=2_000_000) as process:
        assert await process.get((file, place)) == upstream.body
        async with longest_turn() as turns:
            assert await process.get((file, place)) == upstream.body
            await asyncio.sleep(0)  # the watch has its turn
        assert turns.longest_s < 0.02
