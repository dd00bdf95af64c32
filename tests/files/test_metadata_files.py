"""Core metadata beside a file: what is advertised is served, from wherever it is, and no source speaks for another."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from tests.support.clock import FakeClock
from tests.support.index import FakeIndex
from tests.support.packages import make_wheel, metadata, sha256, wheel_bytes, wheel_name
from tests.support.sources import listed
from tests.support.stores import WatchedStore, home_of
from tests.support.turns import longest_turn
from wheelgate.core.errors import (
    BlobNotFound,
    CompanionNotFound,
    LoopDetected,
    StoreError,
    UpstreamBadAnswer,
    UpstreamError,
    UpstreamUnavailable,
)
from wheelgate.core.model import File, LocalFile, RemoteFile, StoredFile, file_etag
from wheelgate.core.protocols import BlobInfo, Credential
from wheelgate.distfiles.core_metadata import MAX_METADATA_BYTES
from wheelgate.enrich.records import ExtractedMetadata, Observation
from wheelgate.files.delivery import Delivery, DeliveryMode
from wheelgate.files.metadata_files import MetadataFiles
from wheelgate.files.wheel_reader import WheelReader
from wheelgate.runtime.chain import CHAIN_HEADER
from wheelgate.runtime.metrics import Metrics
from wheelgate.storage import layout
from wheelgate.storage.spool import Spool
from wheelgate.upstream.client import SourceClient

NAME = "acme-lib"
WHEEL = wheel_name(NAME, "1.0")
BODY = wheel_bytes(NAME, "1.0", requires=["idna"])
METADATA = metadata(NAME, "1.0", requires=["idna"])
PATH = f"/packages/{NAME}/{WHEEL}"


class NoCredentials:
    def for_url(self, url: str) -> Credential | None:
        return None


@pytest.fixture
def store() -> WatchedStore:
    return WatchedStore()


@pytest.fixture
def container() -> WatchedStore:
    return WatchedStore()


class Recorder:
    """Remembers what it is told to."""

    def __init__(self) -> None:
        self.learned: list[dict[str, Any]] = []

    def learn(
        self,
        file: File,
        *,
        sha256: str | None = None,
        size: int | None = None,
        made: ExtractedMetadata | None = None,
        observed: Observation | None = None,
    ) -> None:
        assert file.filename == WHEEL
        if made is not None or observed is not None:
            self.learned.append({"sha256": sha256, "size": size, "made": made, "observed": observed})


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def files(
    index: FakeIndex,
    second_index: FakeIndex,
    store: WatchedStore,
    container: WatchedStore,
    recorder: Recorder,
    clock: FakeClock,
    tmp_path: Path,
) -> AsyncIterator[MetadataFiles]:
    index.publish(NAME, WHEEL, BODY, metadata=METADATA)
    async with AsyncExitStack() as stack:
        clients = {}
        for name, upstream in (("team", index), ("other", second_index)):
            clients[name] = SourceClient(
                source=name,
                url=upstream.url,
                file_hosts=(),
                credentials=NoCredentials(),
                clock=clock,
                metrics=Metrics(),
                user_agent="wheelgate/test",
            )
            stack.push_async_callback(clients[name].close)
        spool = Spool(tmp_path / "spool")
        spool.prepare()
        stack.callback(spool.close)
        modes = dict.fromkeys(clients, DeliveryMode.CACHE)
        delivery = Delivery(
            store=store,
            store_mode=DeliveryMode.STREAM,
            modes=modes,
            clients=clients,
            spool=spool,
            metrics=Metrics(),
            recorders={},
        )
        stack.push_async_callback(delivery.close)
        wheels = WheelReader(stores={"container": container, "store": store}, clients=clients, delivery=delivery, spool=spool)
        made = MetadataFiles(store=store, clients=clients, wheels=wheels, recorders={"team": recorder}, clock=clock)
        stack.push_async_callback(made.close)
        yield made


@pytest.fixture
def remote(index: FakeIndex) -> Callable[..., File]:
    def made(
        *,
        advertised: dict[str, str] | None = None,
        source: str = "team",
        at: FakeIndex = index,
        digest: bool = True,
        query: str = "",
    ) -> File:
        return listed(
            NAME,
            "1.0",
            source=source,
            url=f"{at.origin}{PATH}{query}",
            hashes={"sha256": sha256(BODY)} if digest else {},
            core_metadata={"sha256": sha256(METADATA)} if advertised is None else advertised,
        )

    return made


def answering(body: bytes, status: int = 200, kind: str = "application/octet-stream") -> Callable[..., object]:
    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(status=status, body=body, content_type=kind)

    return answer


# --- of an upstream's file


@pytest.mark.parametrize("advertised", [None, {}], ids=["with a digest", "without"])
async def test_it_is_fetched_once_and_then_kept(
    files: MetadataFiles, remote: Callable[..., File], index: FakeIndex, advertised: dict[str, str] | None
) -> None:
    for _ in range(3):
        assert await files.body(remote(advertised=advertised)) == METADATA
    assert [asked.path for asked in index.asked] == [f"{PATH}.metadata"]


async def test_however_many_ask_at_once_the_upstream_is_asked_once(
    files: MetadataFiles, remote: Callable[..., File], index: FakeIndex
) -> None:
    bodies = await asyncio.gather(*(files.body(remote()) for _ in range(50)))
    assert set(bodies) == {METADATA}
    assert index.count(f"{PATH}.metadata") == 1


async def test_the_query_of_a_link_stays_behind_the_name(
    files: MetadataFiles, remote: Callable[..., File], index: FakeIndex
) -> None:
    asked = []

    async def answer(request: web.BaseRequest) -> web.Response:
        asked.append(request.rel_url.raw_path_qs)
        return web.Response(body=METADATA)

    index.handlers[f"{PATH}.metadata"] = answer
    assert await files.body(remote(query="?sig=abc")) == METADATA
    assert asked == [f"{PATH}.metadata?sig=abc"]


async def test_what_is_not_advertised_is_not_there(files: MetadataFiles, remote: Callable[..., File], index: FakeIndex) -> None:
    file = msgspec.structs.replace(remote(), core_metadata=None)
    with pytest.raises(CompanionNotFound):
        await files.body(file)
    assert index.asked == []


async def test_without_a_digest_of_the_wheel_nothing_is_kept(
    files: MetadataFiles, remote: Callable[..., File], index: FakeIndex, store: WatchedStore
) -> None:
    for _ in range(2):
        assert await files.body(remote(digest=False)) == METADATA
    assert index.count(f"{PATH}.metadata") == 2
    await files.close()  # what waits is written
    assert store.written == []


WRONG = {
    "sign-in": (b"<html>Sign in</html>", 200, "text/html"),
    "sign-in in disguise": (b"<html>Sign in</html>", 200, "application/octet-stream"),
    "empty": (b"", 200, "application/octet-stream"),
    "a wheel": (b"PK\x03\x04", 200, "application/octet-stream"),
    "endless": (b"Metadata-Version: 2.1\n" + b"x" * MAX_METADATA_BYTES, 200, "application/octet-stream"),
    "not found": (b"not found", 404, "text/plain"),
    "gone": (b"", 410, "text/plain"),
    "unauthorised": (b"", 401, "text/plain"),
    "forbidden, as object stores say of what is not there": (b"", 403, "application/xml"),
    "no content": (b"", 204, "text/plain"),
    "of another": (metadata("evil", "1.0"), 200, "application/octet-stream"),
}
"""What upstreams send for metadata that they advertise."""


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("advertised", [None, {}], ids=["with a digest", "without"])
async def test_what_is_not_as_advertised_is_read_out_of_the_wheel_from_then_on(
    files: MetadataFiles,
    remote: Callable[..., File],
    index: FakeIndex,
    recorder: Recorder,
    advertised: dict[str, str] | None,
    wrong: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if wrong == "of another" and advertised == {}:
        return  # nothing says that it is not the wheel's
    index.handlers[f"{PATH}.metadata"] = answering(*WRONG[wrong])  # type: ignore[assignment]
    for _ in range(2):
        assert await files.body(remote(advertised=advertised)) == METADATA
    made = recorder.learned[0]["made"]
    assert (made.metadata_sha256, made.instead_of) == (sha256(METADATA), "" if advertised == {} else sha256(METADATA))
    assert caplog.text.count("advertises core metadata that it does not send") == 1
    assert "credential" not in caplog.text


async def test_a_digest_that_is_not_the_wheels_is_a_bad_answer_once(
    files: MetadataFiles, remote: Callable[..., File], index: FakeIndex, store: WatchedStore, recorder: Recorder
) -> None:
    index.handlers[f"{PATH}.metadata"] = answering(metadata("evil", "1.0"))  # type: ignore[assignment]
    with pytest.raises(UpstreamBadAnswer, match="the page was mended: ask for it again"):
        await files.body(remote(advertised={"sha256": "ab" * 32}))
    made = recorder.learned[0]["made"]
    assert (made.metadata_sha256, made.instead_of) == (sha256(METADATA), "ab" * 32)
    await files.close()  # what waits is written
    assert store.written == [layout.upstream_metadata(home_of("team", index.url), sha256(BODY))], (
        "what the wheel says, and nothing else"
    )


@pytest.mark.parametrize("advertised", [None, {}], ids=["with a digest", "without"])
async def test_silence_is_not_remembered(
    files: MetadataFiles,
    remote: Callable[..., File],
    index: FakeIndex,
    store: WatchedStore,
    recorder: Recorder,
    advertised: dict[str, str] | None,
) -> None:
    index.handlers[f"{PATH}.metadata"] = answering(b"", 503, "text/plain")  # type: ignore[assignment]
    assert await files.body(remote(advertised=advertised)) == METADATA, "the wheel can be heard"
    assert recorder.learned == []
    with pytest.raises(UpstreamUnavailable):
        await files.body(remote(advertised={"sha256": "ab" * 32}))
    index.down = True
    with pytest.raises(UpstreamUnavailable):
        await files.body(remote(advertised=advertised))
    await files.close()  # what waits is written
    assert store.written == []
    assert recorder.learned == []


async def test_a_question_that_comes_back_is_not_remembered(
    files: MetadataFiles, remote: Callable[..., File], index: FakeIndex, recorder: Recorder
) -> None:
    async def refuse(_: web.BaseRequest) -> web.Response:
        return web.Response(status=508, headers={CHAIN_HEADER: "0" * 8})

    index.handlers[f"{PATH}.metadata"] = refuse
    assert await files.body(remote()) == METADATA, "the wheel can be heard"
    assert recorder.learned == []
    with pytest.raises(LoopDetected):
        await files.body(remote(advertised={"sha256": "ab" * 32}))


async def test_of_a_wheel_that_has_none_nothing_more_is_advertised(
    files: MetadataFiles, remote: Callable[..., File], index: FakeIndex, recorder: Recorder
) -> None:
    index.publish(NAME, WHEEL, wheel_bytes(NAME, "1.0", without=["METADATA"]))
    with pytest.raises(CompanionNotFound):
        await files.body(remote(advertised={}))
    assert recorder.learned[0]["made"].metadata_sha256 is None


@pytest.mark.parametrize("sent", [b"<html>We are working on it</html>", b"", BODY[:-100]], ids=["a page", "nothing", "cut short"])
async def test_what_is_no_wheel_says_nothing_of_the_wheel(
    files: MetadataFiles, remote: Callable[..., File], index: FakeIndex, recorder: Recorder, store: WatchedStore, sent: bytes
) -> None:
    file = msgspec.structs.replace(remote(advertised={}, digest=False), metadata_in_wheel=True)
    index.publish(NAME, WHEEL, sent)
    with pytest.raises(UpstreamBadAnswer):
        await files.body(file)
    assert recorder.learned == []
    index.publish(NAME, WHEEL, BODY)
    assert await files.body(file) == METADATA


# --- of a wheel that has just come in whole


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "other spool")
    spool.prepare()
    yield spool
    spool.close()


@pytest.mark.parametrize(
    ("advertised", "learned"),
    [
        ({"sha256": sha256(METADATA)}, None),
        ({"sha256": "ab" * 32}, "ab" * 32),
        ({}, ""),
        (None, "nothing"),
    ],
    ids=["as it is", "of another", "without a digest", "none"],
)
async def test_what_was_advertised_of_it_is_compared_once(
    files: MetadataFiles,
    remote: Callable[..., File],
    recorder: Recorder,
    store: WatchedStore,
    spool: Spool,
    advertised: dict[str, str] | None,
    learned: str | None,
    index: FakeIndex,
) -> None:
    file = msgspec.structs.replace(remote(), core_metadata=advertised)
    async with spool.holding(size=len(BODY)) as spooled:
        await spooled.append(BODY)
        await files.compare(file, spooled)
    assert [fact["made"].instead_of for fact in recorder.learned] == (
        [] if learned is None else [None if learned == "nothing" else learned]
    )
    await files.close()
    assert store.written == ([] if learned is None else [layout.metadata(sha256(BODY))])
    assert index.asked == []


@pytest.mark.parametrize(("made", "is_learned"), [(METADATA, False), (METADATA + b"Summary: as it was\n", True)])
async def test_what_parts_of_a_wheel_said_is_compared_with_all_of_it(
    files: MetadataFiles, remote: Callable[..., File], recorder: Recorder, spool: Spool, made: bytes, is_learned: bool
) -> None:
    """A file may be replaced where its source states no digest, and parts of one are what anybody sends."""
    file = msgspec.structs.replace(remote(), hashes={}, core_metadata={"sha256": sha256(made)}, metadata_in_wheel=True)
    async with spool.holding(size=len(BODY)) as spooled:
        await spooled.append(BODY)
        await files.compare(file, spooled)
    read = [(fact["made"].metadata_sha256, fact["made"].instead_of) for fact in recorder.learned]
    assert read == [(sha256(METADATA), None)] * is_learned


# --- what no source may do for another


async def test_no_source_can_put_words_into_anothers_wheel(
    files: MetadataFiles, remote: Callable[..., File], second_index: FakeIndex, store: WatchedStore
) -> None:
    """Anybody can list a file under the digest of somebody else's wheel, and describe it as they like."""
    evil = metadata(NAME, "1.0", requires=["evil"])
    second_index.publish(NAME, WHEEL, BODY, metadata=evil)
    assert await files.body(remote(source="other", at=second_index, advertised={})) == evil
    assert await files.body(remote(advertised={})) == METADATA
    await store.put_if_absent(layout.metadata(sha256(BODY)), METADATA, {})  # as the upload of that very wheel does
    stored = listed(NAME, "1.0", source="uploads", hashes={"sha256": sha256(BODY)}, core_metadata={"sha256": sha256(METADATA)})
    stored = msgspec.structs.replace(stored, location=StoredFile("store", "packages/x", "etag"))
    assert await files.body(stored) == METADATA


async def test_what_was_kept_before_the_source_gave_a_digest_does_not_stand_in_its_way(
    files: MetadataFiles, remote: Callable[..., File], index: FakeIndex
) -> None:
    index.handlers[f"{PATH}.metadata"] = answering(metadata(NAME, "1.0"))  # type: ignore[assignment]
    assert await files.body(remote(advertised={})) == metadata(NAME, "1.0")
    index.handlers.clear()
    for _ in range(2):
        assert await files.body(remote()) == METADATA


async def test_two_listings_of_one_file_do_not_share_an_answer(
    files: MetadataFiles, remote: Callable[..., File], index: FakeIndex
) -> None:
    """The page changes while the first is on its way: who saw the new one gets what that one promised, or an error."""
    outcomes = await asyncio.gather(
        files.body(remote()), files.body(remote(advertised={"sha256": "0" * 64})), return_exceptions=True
    )
    assert outcomes[0] == METADATA
    assert isinstance(outcomes[1], UpstreamBadAnswer)


async def test_a_store_that_is_down_costs_only_the_keeping(
    files: MetadataFiles, remote: Callable[..., File], index: FakeIndex, store: WatchedStore
) -> None:
    store.down()
    for _ in range(2):
        assert await files.body(remote()) == METADATA
    assert index.count(f"{PATH}.metadata") == 1, "it waits in memory"
    store.up()
    await files.close()
    assert store.written == [layout.upstream_metadata(home_of("team", index.url), sha256(BODY))]


# --- out of a wheel whose source sends none


@pytest.fixture
def in_wheel(remote: Callable[..., File]) -> Callable[..., File]:
    def made(**known: object) -> File:
        advertised = known.pop("advertised", {})
        file = msgspec.structs.replace(remote(**known), metadata_in_wheel=True)
        return msgspec.structs.replace(file, core_metadata=advertised)

    return made


def spans(index: FakeIndex) -> list[str | None]:
    """Of the requests for the wheel."""
    assert index.count(f"{PATH}.metadata") == 0
    return [asked.headers.get("Range") for asked in index.asked if asked.path == PATH]


async def test_it_is_read_once_and_kept_as_what_this_source_says(
    files: MetadataFiles, in_wheel: Callable[..., File], index: FakeIndex, store: WatchedStore, recorder: Recorder
) -> None:
    for _ in range(3):
        assert await files.body(in_wheel()) == METADATA
    assert len(spans(index)) == 1
    await files.close()  # what waits is written
    assert store.written == [layout.upstream_metadata(home_of("team", index.url), sha256(BODY))], (
        "nobody compared it with the whole wheel"
    )
    observed, made = recorder.learned[0]["observed"], recorder.learned[0]["made"]
    assert (observed.of, observed.size) == (sha256(BODY), len(BODY))
    assert (made.of, made.metadata_sha256) == (sha256(BODY), sha256(METADATA))


async def test_however_many_ask_at_once_it_is_read_once(
    files: MetadataFiles, in_wheel: Callable[..., File], index: FakeIndex
) -> None:
    assert set(await asyncio.gather(*(files.body(in_wheel()) for _ in range(50)))) == {METADATA}
    assert len(spans(index)) == 1


async def test_without_a_digest_of_the_wheel_it_is_kept_by_its_place(
    files: MetadataFiles, in_wheel: Callable[..., File], index: FakeIndex, store: WatchedStore, recorder: Recorder
) -> None:
    for _ in range(2):
        assert await files.body(in_wheel(digest=False)) == METADATA
    assert len(spans(index)) == 1
    await files.close()  # what waits is written
    assert store.written == [layout.located_metadata("team", NAME, WHEEL, f"{index.origin}{PATH}")]
    assert recorder.learned[0]["made"].of == f"{index.origin}{PATH}"
    assert await files.body(in_wheel(digest=False, query="?other")) == METADATA
    assert len(spans(index)) == 2


async def test_a_size_that_is_listed_spares_asking_for_it(
    files: MetadataFiles, in_wheel: Callable[..., File], index: FakeIndex
) -> None:
    big = wheel_bytes(NAME, "1.0", padding=400_000)
    index.publish(NAME, WHEEL, big)
    file = msgspec.structs.replace(in_wheel(digest=False), size=len(big))
    assert await files.body(file) == metadata(NAME, "1.0")
    assert spans(index)[0] == f"bytes={len(big) - 65_536}-{len(big) - 1}"
    assert index.sent_bytes < 140_000


def signed(index: FakeIndex) -> list[str | None]:
    """The ranges asked for in signed places."""
    return [asked.headers.get("Range") for asked in index.asked if asked.path.startswith("/signed/")]


async def test_where_its_beginning_was_found_the_rest_is_asked_for(
    files: MetadataFiles, in_wheel: Callable[..., File], index: FakeIndex
) -> None:
    big = wheel_bytes(NAME, "1.0", padding=400_000)
    index.publish(NAME, WHEEL, big)
    index.redirects = True
    assert await files.body(in_wheel(digest=False)) == metadata(NAME, "1.0")
    assert len(spans(index)) == 1
    assert signed(index) == ["bytes=0-65535", f"bytes={len(big) - 65_536}-{len(big) - 1}"]


@pytest.mark.parametrize("status", [403, 404])
async def test_a_signature_that_holds_no_longer_is_asked_for_again(
    files: MetadataFiles, in_wheel: Callable[..., File], index: FakeIndex, status: int
) -> None:
    big = wheel_bytes(NAME, "1.0", padding=400_000)
    index.publish(NAME, WHEEL, big)
    index.redirects = True
    places: list[str] = []

    async def once(request: web.BaseRequest) -> web.StreamResponse:
        places.append(request.query_string)
        if places.count(request.query_string) > 1:
            return web.Response(status=status)
        start, stop, _ = request.http_range.indices(len(big))
        return web.Response(status=206, body=big[start:stop], headers={"Content-Range": f"bytes {start}-{stop - 1}/{len(big)}"})

    index.handlers[f"/signed/{NAME}/{WHEEL}"] = once
    assert await files.body(in_wheel(digest=False)) == metadata(NAME, "1.0")
    assert len(spans(index)) == 2
    assert len(signed(index)) == 3


async def test_a_wheel_no_larger_than_what_is_read_of_it_is_fetched_and_kept(
    files: MetadataFiles, in_wheel: Callable[..., File], index: FakeIndex, store: WatchedStore
) -> None:
    assert await files.body(msgspec.structs.replace(in_wheel(), size=len(BODY))) == METADATA
    assert spans(index) == [None]
    assert (await read_copy(store))[0] == BODY


async def read_copy(store: WatchedStore) -> tuple[bytes, BlobInfo]:
    """The copy of the wheel, which is kept behind the answer with its metadata."""
    async with asyncio.timeout(5):
        while True:
            with suppress(BlobNotFound):
                return await store.read(layout.cache_copy("team", NAME, WHEEL))
            await asyncio.sleep(0.01)


async def test_of_wheels_that_cost_much_memory_few_are_read_at_a_time(
    files: MetadataFiles, in_wheel: Callable[..., File], index: FakeIndex
) -> None:
    under_way = most = 0
    table = 3_000_000  # what their table of contents is said to have
    size = 10_000_000
    end = b"PK\5\6" + struct.pack("<4H2LH", 0, 0, 1, 1, table, size - 22 - table, 0)

    async def answer(request: web.BaseRequest) -> web.Response:
        nonlocal under_way, most
        start, stop, _ = request.http_range.indices(size)
        body = bytes(stop - start)
        if stop - start > 1_000_000:
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.05)
            under_way -= 1
        elif stop == size:
            body = body[: -len(end)] + end
        headers = {"Content-Range": f"bytes {start}-{stop - 1}/{size}"}
        return web.Response(status=206, body=body, headers=headers)

    paths = [f"/{number}" for number in range(8)]
    index.handlers |= dict.fromkeys(paths, answer)
    listed = [
        msgspec.structs.replace(
            in_wheel(), location=RemoteFile(index.origin + path, "team"), hashes={"sha256": f"{number:064}"}, size=size
        )
        for number, path in enumerate(paths)
    ]
    outcomes = await asyncio.gather(*(files.body(file) for file in listed), return_exceptions=True)
    assert all(isinstance(outcome, UpstreamBadAnswer) for outcome in outcomes), outcomes
    assert 1 <= most <= 2


async def test_our_own_copy_is_read_instead(
    files: MetadataFiles, in_wheel: Callable[..., File], index: FakeIndex, store: WatchedStore
) -> None:
    await store.put_if_absent(layout.cache_copy("team", NAME, WHEEL), BODY, {"sha256": sha256(BODY)})
    assert await files.body(in_wheel()) == METADATA
    assert index.asked == []
    await files.close()  # what waits is written
    assert (await store.read(layout.metadata(sha256(BODY))))[0] == METADATA, "out of all of its bytes"


async def test_what_a_mirror_put_beside_a_wheel_spares_reading_the_wheel(
    files: MetadataFiles, in_wheel: Callable[..., File], container: WatchedStore
) -> None:
    beside = metadata(NAME, "1.0", requires=["more"])
    await container.put_if_absent(f"{NAME}/{WHEEL}", b"never read", {})
    await container.put_if_absent(f"{NAME}/{WHEEL}.metadata", beside, {})
    wheel = msgspec.structs.replace(in_wheel(), location=StoredFile("container", f"{NAME}/{WHEEL}", "etag"))
    assert await files.body(wheel) == beside


@pytest.mark.parametrize("odd", [b"", b"not metadata", metadata("evil", "1.0")])
async def test_what_lies_beside_a_wheel_and_is_not_its_metadata_is_not_taken(
    files: MetadataFiles, in_wheel: Callable[..., File], container: WatchedStore, odd: bytes
) -> None:
    info = await container.put_if_absent(f"{NAME}/{WHEEL}", BODY, {})
    await container.put_if_absent(f"{NAME}/{WHEEL}.metadata", odd, {})
    wheel = msgspec.structs.replace(in_wheel(), location=StoredFile("container", f"{NAME}/{WHEEL}", info.etag))
    assert await files.body(wheel) == METADATA


async def test_what_is_known_of_the_very_wheel_is_taken(
    files: MetadataFiles, in_wheel: Callable[..., File], index: FakeIndex, store: WatchedStore, recorder: Recorder
) -> None:
    await store.put_if_absent(layout.metadata(sha256(BODY)), METADATA, {})
    assert await files.body(in_wheel()) == METADATA
    assert index.asked == []
    assert recorder.learned[0]["made"].metadata_sha256 == sha256(METADATA)


@pytest.mark.parametrize("known", [False, True], ids=["not known yet", "advertised"])
async def test_long_fields_that_are_kept_hold_nothing_else_up(
    files: MetadataFiles, in_wheel: Callable[..., File], store: WatchedStore, known: bool
) -> None:
    fields, blank, text = METADATA.partition(b"\n\n")
    long = fields + b"".join(b"\nX-%d: %30d" % (number, number) for number in range(18_000)) + blank + text
    await store.put_if_absent(layout.metadata(sha256(BODY)), long, {})
    async with longest_turn() as turns:
        assert await files.body(in_wheel(advertised={"sha256": sha256(long)} if known else {})) == long
    assert turns.longest_s < 0.02


async def test_what_is_kept_and_is_not_of_this_wheel_is_not_taken(
    files: MetadataFiles, in_wheel: Callable[..., File], index: FakeIndex, store: WatchedStore
) -> None:
    await store.put_if_absent(layout.upstream_metadata(home_of("team", index.url), sha256(BODY)), metadata("evil", "1.0"), {})
    assert await files.body(in_wheel()) == METADATA


async def test_where_there_are_no_ranges_the_wheel_is_fetched_once_and_kept(
    files: MetadataFiles, in_wheel: Callable[..., File], index: FakeIndex, store: WatchedStore
) -> None:
    index.ranges = False
    assert await files.body(in_wheel(digest=False)) == METADATA
    kept, info = await read_copy(store)
    assert (kept, info.facts["sha256"]) == (BODY, sha256(BODY))
    assert len(spans(index)) == 2
    await files.close()  # what waits is written
    assert (await store.read(layout.metadata(sha256(BODY))))[0] == METADATA


@pytest.mark.parametrize("body", [wheel_bytes(NAME, "1.0", without=["METADATA"]), wheel_bytes("other", "1.0")])
async def test_a_wheel_that_has_none_is_remembered(
    files: MetadataFiles, in_wheel: Callable[..., File], index: FakeIndex, store: WatchedStore, recorder: Recorder, body: bytes
) -> None:
    index.publish(NAME, WHEEL, body)
    with pytest.raises(CompanionNotFound):
        await files.body(in_wheel())
    assert recorder.learned[0]["made"].metadata_sha256 is None
    await files.close()  # what waits is written
    assert store.written == []


@pytest.mark.parametrize(("status", "error"), [(500, UpstreamUnavailable), (429, UpstreamUnavailable), (404, UpstreamBadAnswer)])
async def test_trouble_says_nothing_of_the_wheel(
    files: MetadataFiles, in_wheel: Callable[..., File], index: FakeIndex, recorder: Recorder, status: int, error: type[Exception]
) -> None:
    index.handlers[PATH] = answering(b"trouble", status)  # type: ignore[assignment]
    with pytest.raises(error):
        await files.body(in_wheel())
    assert recorder.learned == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Range": "bytes 0-9/10"},
        {"Content-Range": f"bytes 0-65535/{10**12}"},
        {"Content-Range": f"bytes 0-{len(BODY) - 1}/{len(BODY)}", "Content-Length": "5"},
        {},
    ],
)
async def test_a_range_that_was_not_asked_for_says_nothing_of_the_wheel(
    files: MetadataFiles, in_wheel: Callable[..., File], index: FakeIndex, recorder: Recorder, headers: dict[str, str]
) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(status=206, body=BODY[:5], headers=headers)

    index.handlers[PATH] = answer
    with pytest.raises(UpstreamError):
        await files.body(in_wheel())
    assert recorder.learned == []


async def test_a_range_that_is_cut_short_says_nothing_of_the_wheel(
    files: MetadataFiles, in_wheel: Callable[..., File], index: FakeIndex, recorder: Recorder
) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        start, stop, _ = request.http_range.indices(len(BODY))
        headers = {"Content-Range": f"bytes {start}-{stop - 1}/{len(BODY)}"}
        return web.Response(status=206, body=BODY[start : start + 5], headers=headers)

    index.handlers[PATH] = answer
    with pytest.raises(UpstreamBadAnswer, match="another range"):
        await files.body(in_wheel())
    assert recorder.learned == []


async def test_another_digest_than_listed_before_is_a_bad_answer(files: MetadataFiles, in_wheel: Callable[..., File]) -> None:
    with pytest.raises(UpstreamBadAnswer, match="another digest"):
        await files.body(in_wheel(advertised={"sha256": "0" * 64}))


async def test_a_store_that_is_down_costs_only_the_keeping_of_what_was_read(
    files: MetadataFiles, in_wheel: Callable[..., File], store: WatchedStore
) -> None:
    store.down()
    assert await files.body(in_wheel()) == METADATA


async def test_a_blob_is_read_in_parts(
    files: MetadataFiles, in_wheel: Callable[..., File], container: WatchedStore, store: WatchedStore
) -> None:
    big = wheel_bytes(NAME, "1.0", padding=1_000_000)
    info = await container.put_if_absent(f"a/{WHEEL}", big, {})
    file = msgspec.structs.replace(in_wheel(digest=False), location=StoredFile("container", info.path, info.etag))
    assert await files.body(file) == metadata(NAME, "1.0")
    await files.close()  # what waits is written
    assert store.written == [layout.located_metadata("team", NAME, WHEEL, f"{info.path}\n{info.etag}")]
    other = msgspec.structs.replace(file, location=StoredFile("container", info.path, "other"))
    with pytest.raises(StoreError, match="being replaced"):
        await files.body(other)


# --- of an uploaded file


def stored(advertised: bytes = METADATA) -> File:
    file = listed(NAME, "1.0", source="uploads", hashes={"sha256": sha256(BODY)}, core_metadata={"sha256": sha256(advertised)})
    return msgspec.structs.replace(file, location=StoredFile("store", f"packages/{NAME}/{WHEEL}", "etag"))


async def test_of_an_upload_it_comes_from_the_store(files: MetadataFiles, store: WatchedStore, index: FakeIndex) -> None:
    await store.put_if_absent(layout.metadata(sha256(BODY)), METADATA, {})
    assert await files.body(stored()) == METADATA
    assert index.asked == []


@pytest.mark.parametrize("kept", [None, b"", METADATA[:20], METADATA + b"damaged"], ids=["missing", "empty", "half", "other"])
async def test_of_an_upload_whose_metadata_cannot_be_used_it_comes_out_of_the_wheel(
    files: MetadataFiles, store: WatchedStore, caplog: pytest.LogCaptureFixture, kept: bytes | None
) -> None:
    path = layout.metadata(sha256(BODY))
    if kept is not None:
        await store.put_if_absent(path, kept, {})
    upload = stored()
    etag = (await store.put_if_absent(upload.location.path, BODY, {})).etag
    upload = msgspec.structs.replace(upload, location=msgspec.structs.replace(upload.location, etag=etag))
    for _ in range(3):
        assert await files.body(upload) == METADATA
    (line,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert path in line.getMessage() or "is missing from the store" in line.getMessage()
    with pytest.raises(StoreError, match="core metadata of acme_lib-1.0-py3-none-any.whl"):
        await files.body(msgspec.structs.replace(upload, core_metadata={"sha256": "0" * 64}))


async def test_what_is_missing_from_the_store_or_wrong_in_it_is_a_failure(files: MetadataFiles, store: WatchedStore) -> None:
    with pytest.raises(StoreError, match="the core metadata of acme_lib-1.0-py3-none-any.whl is missing from the store"):
        await files.body(stored())
    with pytest.raises(StoreError, match="is missing"):
        await files.body(msgspec.structs.replace(stored(), hashes={}))
    await store.put_if_absent(layout.metadata(sha256(BODY)), METADATA + b"damaged", {})
    with pytest.raises((StoreError, UpstreamBadAnswer)):
        await files.body(stored())
    store.down()
    with pytest.raises(StoreError, match="cannot be reached"):
        await files.body(stored())


# --- of a file in a folder


def local(path: Path, advertised: bytes = METADATA) -> File:
    file = listed(NAME, "1.0", source="wheels", core_metadata={"sha256": sha256(advertised)})
    etag = file_etag(path.stat()) if path.exists() else "gone"
    return msgspec.structs.replace(file, location=LocalFile(str(path), etag, str(path.parent)))


async def test_of_a_file_in_a_folder_it_comes_out_of_the_wheel(files: MetadataFiles, tmp_path: Path, store: WatchedStore) -> None:
    path = make_wheel(tmp_path, NAME, "1.0", requires=["idna"])
    assert await files.body(local(path)) == METADATA
    assert store.calls == []


async def test_a_wheel_replaced_since_it_was_listed_is_not_described_by_its_successor(
    files: MetadataFiles, tmp_path: Path
) -> None:
    path = make_wheel(tmp_path, NAME, "1.0")
    with pytest.raises(UpstreamBadAnswer, match="another digest"):
        await files.body(local(path))
    listed_before = local(path)
    make_wheel(tmp_path, NAME, "1.0", requires=["other"])
    with pytest.raises(StoreError, match="is being replaced in source wheels: try again"):
        await files.body(listed_before)


@pytest.mark.parametrize("state", ["gone", "broken"])
async def test_a_wheel_that_can_no_longer_be_read_is_a_failure_that_tells_no_path(
    files: MetadataFiles, tmp_path: Path, state: str
) -> None:
    path = tmp_path / WHEEL
    if state == "broken":
        path.write_bytes(b"not a zip")
    with pytest.raises(StoreError, match="of source wheels can no longer be read|was removed from source wheels") as raised:
        await files.body(local(path))
    assert str(tmp_path) not in str(raised.value)
