"""How bytes travel, where the real server is hard to bring into the situation: full spools, busy fills, failing stores."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support import lies
from tests.support.clock import FakeClock
from tests.support.lies import Liar, running, wait_until
from tests.support.packages import wheel_name
from tests.support.stores import MemoryStore, WatchedStore
from wheelgate.core.errors import Busy, FileWithheld, StoreError, StoreFull, UpstreamBadAnswer, UpstreamError, UpstreamUnavailable
from wheelgate.core.model import File, RemoteFile
from wheelgate.core.protocols import Credential
from wheelgate.files import delivery as delivery_module
from wheelgate.files.bodies import Body, PassedBody, Redirect
from wheelgate.files.delivery import Delivery, DeliveryMode
from wheelgate.files.fill_turns import FillTurns
from wheelgate.runtime.asker import set_asker
from wheelgate.runtime.metrics import Metrics
from wheelgate.storage import layout
from wheelgate.storage.fills import FillLimits
from wheelgate.storage.room import MARGIN_BYTES
from wheelgate.storage.spool import Spool, SpoolFile
from wheelgate.upstream.client import SourceClient

SIZE = 300_000


class NarrowSpool(Spool):
    """A spool on a disk that has so many bytes left, or refuses altogether."""

    left: int = 10**12
    most: int = 10**12
    """Of one body, beyond which the disk refuses although room was promised."""
    broken = False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, free=lambda _: MARGIN_BYTES + self.left - self.room.used_bytes, wait_s=1.0)

    def refuse_longer(self, size: int) -> None:
        if size > self.most:
            raise StoreFull("the spool", "/spool")

    def new(self, *arguments: Any) -> SpoolFile:
        if self.broken:
            shutil.rmtree(self.folder)  # an operator with a broom; the real class finds out
        return super().new(*arguments)


class NoCredentials:
    def for_url(self, url: str) -> Credential | None:
        return None


class Keyed:
    """A credential for everything."""

    def for_url(self, url: str) -> Credential | None:
        return self

    async def headers(self) -> Mapping[str, str]:
        return {"Authorization": "Bearer x"}

    connection = "acme"

    async def sign_url(self, url: str) -> str:
        return url

    async def renew(self) -> bool:
        return False

    def explain_refusal(self, *_: object) -> None:
        return None


class House:
    """A delivery with everything around it."""

    def __init__(self, liar: Liar, spool: NarrowSpool, delivery: Delivery, store: WatchedStore) -> None:
        self.liar = liar
        self.spool = spool
        self.delivery = delivery
        self.store = store

    def file(self, name: str = "demo", **known: Any) -> File:
        body = self.liar.body(name)
        filename = wheel_name(name, "1.0")
        facts = {"hashes": {"sha256": sha256(body).hexdigest()}, "size": len(body), **known}
        location = RemoteFile(f"{self.liar.origin}/{name}/files/{filename}", "upstream")
        return File(filename=filename, project=name, source="upstream", location=location, **facts)

    async def body(self, file: File, start: int | None = None, end: int | None = None) -> bytes:
        opened = await self.delivery.open(file, plain=start is None)
        assert not isinstance(opened, Redirect)
        return await read(opened, start or 0, end)

    def whole_requests(self, name: str = "demo") -> int:
        return sum("range" not in asked.headers for asked in self.liar.asked_for(name))

    def is_kept(self, name: str = "demo") -> bool:
        inner = self.store.inner
        assert isinstance(inner, MemoryStore)
        return layout.cache_copy("upstream", name, wheel_name(name, "1.0")) in inner.blobs


async def read(body: Body, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in body.chunks(start, end)])


@pytest.fixture
def liar() -> Iterator[Liar]:
    with running(Liar(sizes={"demo": SIZE, "other": SIZE})) as made:
        yield made


@asynccontextmanager
async def house(liar: Liar, tmp_path: Path, **settings: Any) -> AsyncIterator[House]:
    spool = NarrowSpool(tmp_path / "spool")
    spool.prepare()
    store = WatchedStore(MemoryStore())
    client = SourceClient(
        source="upstream",
        url=liar.origin + "/",
        file_hosts=(),
        credentials=settings.pop("credentials", NoCredentials()),
        clock=FakeClock(),
        metrics=Metrics(),
        user_agent="test",
    )
    delivery = Delivery(
        store=store,
        store_mode=DeliveryMode.STREAM,
        modes={"upstream": settings.pop("mode", DeliveryMode.CACHE)},
        clients={"upstream": client, **settings.pop("clients", {})},
        spool=spool,
        metrics=Metrics(),
        **settings,
    )
    try:
        yield House(liar, spool, delivery, store)
    finally:
        await delivery.close()
        await client.close()
        assert list((tmp_path / "spool").glob("*/[0-9a-f]*")) == [], "something was left in the spool"
        spool.close()


async def kept_soon(here: House, name: str = "demo") -> None:
    await asyncio.to_thread(wait_until, lambda: here.is_kept(name))


async def test_what_has_no_room_in_the_spool_is_passed_through_and_not_kept(
    liar: Liar, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with house(liar, tmp_path) as here:
        here.spool.left = 1_000
        assert await here.body(here.file()) == liar.body("demo")
        assert not here.is_kept()
        assert "the spool is full: make room at" in caplog.text
        here.spool.left = 10**12
        assert await here.body(here.file()) == liar.body("demo")
        await kept_soon(here)


async def test_a_file_that_cannot_be_looked_at_is_kept_all_the_same(
    liar: Liar, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def stumble(file: File, spooled: SpoolFile) -> None:
        raise RuntimeError("odd")

    async with house(liar, tmp_path) as here:
        here.delivery.inspect = stumble
        assert await here.body(here.file()) == liar.body("demo")
        await kept_soon(here)
        assert "cannot be looked at" in caplog.text


@pytest.mark.parametrize("wanted", [(None, None), (10, 2_000)])
async def test_a_file_that_turns_out_too_large_for_the_spool_is_passed_through(
    liar: Liar, tmp_path: Path, wanted: tuple[int | None, int | None]
) -> None:
    """The listing did not say its size."""
    async with house(liar, tmp_path) as here:
        here.spool.left = 1_000
        start, end = wanted
        assert await here.body(here.file(size=None), start, end) == liar.body("demo")[start or 0 : end]
        assert not here.is_kept()


@pytest.mark.parametrize("listed", [True, False], ids=["size listed", "size unknown"])
@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no ranges"])
async def test_a_disk_that_fills_up_on_the_way_breaks_off_nobody(liar: Liar, tmp_path: Path, listed: bool, ranges: bool) -> None:
    """Whoever has a part of the file gets the rest from the upstream, and the whole of it is checked."""
    liar.sizes["demo"] = 3_000_000
    if not ranges:
        liar.files["demo"] = whole_file
    async with house(liar, tmp_path) as here:
        here.spool.most = 2_000_000
        file = here.file() if listed else here.file(size=None)
        readers = [here.body(file) for _ in range(3)] + [here.body(file, 1_000_000, 2_500_000)]
        *whole, part = await asyncio.gather(*readers)
        assert set(whole) == {liar.body("demo")}
        assert part == liar.body("demo")[1_000_000:2_500_000]
        assert not here.is_kept()
        assert here.spool.room.promised_bytes == here.spool.room.used_bytes == 0


async def test_the_rest_of_a_file_is_checked_with_what_left_before(liar: Liar, tmp_path: Path) -> None:
    """The upstream has other bytes by then: at most all but the last 64 KiB of that leave."""
    liar.sizes["demo"] = 3_000_000

    async def change(talk: lies.Talk) -> None:
        await (lies.file_other if len(liar.asked) > 1 else whole_file)(talk)

    liar.files["demo"] = change
    async with house(liar, tmp_path) as here:
        here.spool.most = 2_000_000
        opened = await here.delivery.open(here.file(), plain=True)
        seen = 0
        with pytest.raises(UpstreamBadAnswer, match="sha256"):
            async for chunk in opened.chunks(0, None):  # type: ignore[union-attr]
                seen += len(chunk)
        assert 1_000_000 < seen <= len(liar.body("demo")) - 64 * 1024


async def test_what_nobody_follows_gives_its_room_to_what_somebody_wants(liar: Liar, tmp_path: Path) -> None:
    liar.sizes["other"] = 20_000_000
    liar.files["other"] = slow_file
    limits = FillLimits(alone_bytes=100_000_000, grace_s=0.05)
    async with house(liar, tmp_path, fill_limits=limits) as here:
        here.spool.left = 20_200_000
        followed = asyncio.create_task(here.body(here.file("other")))
        await asyncio.to_thread(wait_until, lambda: bool(liar.asked))
        await asyncio.sleep(0.1)
        assert await here.body(here.file()) == liar.body("demo")
        assert not here.is_kept(), "there was no room for it: what is followed stays"
        followed.cancel()
        await asyncio.sleep(0.1)
        assert await here.body(here.file()) == liar.body("demo")
        await kept_soon(here)


async def whole_file(talk: lies.Talk) -> None:
    """Without ranges."""
    await talk.answer(talk.liar.body(talk.name), kind="application/octet-stream")


async def slow_file(talk: lies.Talk) -> None:
    body = talk.liar.body(talk.name)
    await talk.head(f"Content-Length: {len(body)}")
    for at in range(0, len(body), 100_000):
        await talk.send(body[at : at + 100_000])
        await asyncio.sleep(0.05)


async def test_what_is_passed_through_is_checked_all_the_same(liar: Liar, tmp_path: Path) -> None:
    async with house(liar, tmp_path) as here:
        here.spool.left = 0
        liar.files["demo"] = lies.file_other
        for size in (len(liar.body("demo")), None):
            opened = await here.delivery.open(here.file(size=size), plain=True)
            assert not isinstance(opened, Redirect)
            seen = 0
            with pytest.raises(Exception, match="sha256"):
                async for chunk in opened.chunks(0, None):  # type: ignore[union-attr]
                    seen += len(chunk)
            assert seen <= len(liar.body("demo")) - 64 * 1024


async def test_a_spool_that_cannot_be_written_stops_nobody(liar: Liar, tmp_path: Path) -> None:
    async with house(liar, tmp_path) as here:
        here.spool.broken = True
        assert await here.body(here.file()) == liar.body("demo")


async def test_who_cannot_have_a_turn_soon_is_told_to_come_back(liar: Liar, tmp_path: Path) -> None:
    """Others' downloads that hang must not leave everybody in silence."""
    liar.files["other"] = lies.hang
    async with house(liar, tmp_path, concurrent_fills=1, turn_s=0.2) as here:
        hanging = asyncio.create_task(here.body(here.file("other")))
        await asyncio.to_thread(wait_until, lambda: bool(liar.asked))
        with pytest.raises(UpstreamUnavailable, match="too many files"):
            await here.body(here.file())
        assert liar.asked_for("demo") == []
        hanging.cancel()


async def test_the_fills_of_one_client_leave_turns_for_others(liar: Liar, tmp_path: Path) -> None:
    liar.files["other"] = lies.hang
    async with house(liar, tmp_path, concurrent_fills=4, turn_s=0.2) as here:
        set_asker("many")
        names = [f"other-1.{number}-py3-none-any.whl" for number in range(4)]
        many = [asyncio.create_task(here.body(msgspec.structs.replace(here.file("other"), filename=name))) for name in names]
        await asyncio.to_thread(wait_until, lambda: len(liar.asked) == 3)
        with pytest.raises(Busy, match="too many files"):
            await here.body(here.file())
        set_asker("one")
        assert await here.body(here.file()) == liar.body("demo")
        for task in many:
            task.cancel()
        await asyncio.gather(*many, return_exceptions=True)


async def test_the_fills_of_one_source_leave_turns_for_others(liar: Liar, tmp_path: Path) -> None:
    async with house(liar, tmp_path) as here, AsyncExitStack() as stack:
        turns = FillTurns(at_once=1, wait_s=0.05)
        await turns.enter(stack, here.file())
        with pytest.raises(Busy):
            await turns.enter(stack, here.file())
        await turns.enter(stack, msgspec.structs.replace(here.file(), source="another"))


async def test_stopping_ends_fills_and_tells_whoever_follows_them(liar: Liar, tmp_path: Path) -> None:
    liar.files["demo"] = lies.hang
    async with house(liar, tmp_path) as here:
        following = asyncio.create_task(here.body(here.file()))
        await asyncio.to_thread(wait_until, lambda: bool(liar.asked))
        await here.delivery.close()
        with pytest.raises(UpstreamUnavailable, match="stopping"):
            await following
        assert not here.is_kept()


async def test_stopping_keeps_what_has_come_in_whole(liar: Liar, tmp_path: Path) -> None:
    async with house(liar, tmp_path) as here:
        is_taken = here.store.holds["put_if_absent"] = asyncio.Event()
        assert await here.body(here.file()) == liar.body("demo")
        closing = asyncio.create_task(here.delivery.close())
        await asyncio.sleep(0.05)
        assert not closing.done()
        assert here.delivery.fills_under_way
        is_taken.set()
        await closing
        assert here.is_kept()


@pytest.mark.parametrize("room", ["files", "index"])
def test_what_whoever_asks_can_repeat_is_logged_once(room: str) -> None:
    """An error about one file or project goes through what remembers that it was said: anybody can ask any number of times."""
    package = Path(delivery_module.__file__).parents[1] / room
    found = {module.name: module.read_text().count("_log.error(") for module in package.glob("*.py")}
    # Of a damaged body BodyProofs remembers that it is.
    assert {name: count for name, count in found.items() if count} == ({"stored_bodies.py": 2} if room == "files" else {})


async def test_wrong_bytes_that_are_asked_for_again_are_one_line(
    liar: Liar, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with house(liar, tmp_path) as here:
        file = here.file(hashes={"sha256": sha256(b"other").hexdigest()})
        for _ in range(3):
            with pytest.raises(UpstreamError):
                await here.body(file)
            await asyncio.to_thread(wait_until, lambda: not here.delivery.fills_under_way)
    assert caplog.text.count("fill of demo-1.0-py3-none-any.whl failed") == 1


class Broken:
    """A client with a bug."""

    place = "here"

    def file(self, *arguments: Any, **options: Any) -> Any:
        raise RuntimeError("a bug")


async def test_a_bug_in_a_fill_reaches_whoever_waits_for_it(liar: Liar, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with house(liar, tmp_path, clients={"upstream": Broken()}) as here:
        async with asyncio.timeout(5):
            with pytest.raises(RuntimeError, match="a bug"):
                await here.body(here.file())
    assert "fill of demo-1.0-py3-none-any.whl failed" in caplog.text


async def test_a_store_that_takes_nothing_costs_the_copy_and_not_the_file(
    liar: Liar, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with house(liar, tmp_path) as here:
        here.store.fails = lambda method, _: method == "put_if_absent"
        for _ in range(3):
            assert await here.body(here.file()) == liar.body("demo")
            await asyncio.to_thread(wait_until, lambda: not here.delivery.fills_under_way)
        assert caplog.text.count("could not be kept") == 1, "once a file, not once a request"
        here.store.up()
        assert await here.body(here.file()) == liar.body("demo")
        await kept_soon(here)


async def test_another_process_that_kept_other_bytes_first_raises_an_alarm(
    liar: Liar, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The listing has no digest, so both were believed; what is kept stays."""
    path = layout.cache_copy("upstream", "demo", wheel_name("demo", "1.0"))
    async with house(liar, tmp_path) as here:
        file = here.file(hashes={})
        reading = await here.delivery.open(file, plain=True)
        await here.store.put_if_absent(path, b"other", {"sha256": sha256(b"other").hexdigest()})
        assert not isinstance(reading, Redirect)
        assert await read(reading) == liar.body("demo")
        await asyncio.to_thread(wait_until, lambda: "ALARM" in caplog.text)
        assert (await here.store.read(path))[0] == b"other"


async def test_bytes_that_are_no_longer_those_listed_are_withheld(liar: Liar, tmp_path: Path) -> None:
    async with house(liar, tmp_path) as here:
        await here.body(here.file())
        await kept_soon(here)
        changed = here.file(hashes={"sha256": "0" * 64})
        for plain, head in ((True, False), (False, False), (False, True)):
            with pytest.raises(FileWithheld, match="never changes its content"):
                await here.delivery.open(changed, plain=plain, head=head)


@pytest.mark.parametrize("listed", [True, False])
async def test_a_copy_that_lost_its_facts_is_withheld_until_it_is_deleted(
    liar: Liar, tmp_path: Path, caplog: pytest.LogCaptureFixture, listed: bool
) -> None:
    """As when a store was restored without them. What cannot be told apart from rubbish is not served, and it says so."""
    path = layout.cache_copy("upstream", "demo", wheel_name("demo", "1.0"))
    async with house(liar, tmp_path) as here:
        file = here.file() if listed else here.file(hashes={})
        await here.store.put_if_absent(path, b"half of it", {})
        with pytest.raises(FileWithheld) as raised:
            await here.body(file)
        assert str(raised.value) == (
            f"{file.filename}: our copy of it has lost its digest, and nobody can tell whether it is whole: delete {path} in the "
            "store, and it is fetched anew"
        )
        assert "None" not in caplog.text
        assert "ALARM" not in caplog.text
        await here.store.delete(path)
        assert await here.body(file) == liar.body("demo")


@pytest.mark.parametrize("cut", [True, False], ids=["cut short", "other bytes"])
async def test_a_damaged_copy_is_passed_by_until_it_is_deleted(
    liar: Liar, tmp_path: Path, caplog: pytest.LogCaptureFixture, cut: bool
) -> None:
    path, body = layout.cache_copy("upstream", "demo", wheel_name("demo", "1.0")), liar.body("demo")
    async with house(liar, tmp_path) as here:
        file = here.file()
        await here.store.put_if_absent(path, body[:-1] if cut else bytes(len(body)), {"sha256": file.hashes["sha256"]})
        if not cut:  # only reading it tells
            with pytest.raises(StoreError, match=f"{path} in memory is damaged: its sha256 is"):
                await here.body(file)
        for asked in range(1, 4):
            assert await here.body(file) == body
            assert here.whole_requests() == asked
        assert await here.body(here.file("other")) == liar.body("other"), "others are kept and served as ever"
        assert [record.levelname for record in caplog.records if path in record.getMessage()] == ["ERROR"]
        await here.store.delete(path)
        here.delivery.forget()
        assert await here.body(file) == body
        await kept_soon(here)
        assert await here.body(file) == body
        assert here.whole_requests() == 4


async def test_two_listings_of_one_name_under_way_do_not_share_a_fill(liar: Liar, tmp_path: Path) -> None:
    """The page changed while the file was on its way: each gets what its own page promised, or nothing."""
    liar.sizes["demo"] = SIZE + 1
    changed_body, changed = liar.body("demo"), None
    liar.sizes["demo"] = SIZE
    async with house(liar, tmp_path) as here:
        first = await here.delivery.open(here.file(), plain=True)
        changed = here.file(hashes={"sha256": sha256(changed_body).hexdigest()}, size=len(changed_body))
        second = await here.delivery.open(changed, plain=True)
        assert isinstance(second, PassedBody)
        assert not isinstance(first, Redirect)
        assert await read(first) == liar.body("demo")
        with pytest.raises(Exception, match="announced"):
            await read(second)


async def test_readers_of_a_range_wait_for_the_fill_under_way(liar: Liar, tmp_path: Path) -> None:
    async with house(liar, tmp_path) as here:
        whole = asyncio.create_task(here.body(here.file()))
        await asyncio.sleep(0)
        ranges = [asyncio.create_task(here.body(here.file(), at, at + 10)) for at in range(0, SIZE, SIZE // 20)]
        body = await whole
        assert [await task for task in ranges] == [body[at : at + 10] for at in range(0, SIZE, SIZE // 20)]
        assert here.whole_requests() == 1
        assert len(liar.asked) == 1


@pytest.mark.parametrize(
    ("credentials", "plain", "redirected"),
    [(NoCredentials, True, True), (NoCredentials, False, False), (Keyed, True, False)],
)
async def test_a_client_is_sent_upstream_only_where_it_can_go_alone(
    liar: Liar, tmp_path: Path, credentials: Callable[[], Any], plain: bool, redirected: bool
) -> None:
    async with house(liar, tmp_path, mode=DeliveryMode.REDIRECT, credentials=credentials()) as here:
        opened = await here.delivery.open(here.file(), plain=plain)
        assert isinstance(opened, Redirect) is redirected
        if not isinstance(opened, Redirect):
            assert await read(opened) == liar.body("demo")
            assert not here.is_kept()


async def test_a_store_that_cannot_be_asked_is_no_reason_to_fetch_again(liar: Liar, tmp_path: Path) -> None:
    """What it holds may differ from what is listed now."""
    async with house(liar, tmp_path) as here:
        here.store.down()
        with pytest.raises(StoreError):
            await here.delivery.open(here.file(), plain=True)
        assert liar.asked == []
