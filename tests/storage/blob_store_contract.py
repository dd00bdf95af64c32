"""What every BlobStore must do, whatever it is made of. A test class inherits the suite and gives it a ``store`` fixture:
an empty, prepared store.
"""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from wheelgate.core.errors import BlobChanged, BlobExists, BlobNotFound, StoreError
from wheelgate.core.protocols import BlobInfo, BlobStore

MIB = 1024 * 1024
LARGE = hashlib.shake_128(b"large").digest(5 * MIB + 123)
SMALL = b"0123456789abcdef"
PATH = "packages/demo/demo-1.0-py3-none-any.whl"


async def paths(store: BlobStore, prefix: str) -> set[str]:
    return {info.path async for info in store.list(prefix)}


async def streamed(store: BlobStore, path: str, start: int, end: int) -> bytes:
    return b"".join([chunk async for chunk in store.stream(path, start, end)])


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


class BlobStoreContract:
    """Inherit, and define the fixture ``store``."""

    @pytest.mark.parametrize("body", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
    @pytest.mark.parametrize("spooled", [False, True], ids=["bytes", "spooled"])
    async def test_a_body_is_read_back_with_its_facts(self, store: BlobStore, tmp_path: Path, body: bytes, spooled: bool) -> None:
        facts = {"sha256": sha256(body), "upload_time": "2026-01-01T00:00:00.123456+00:00", "requires_python": ">=3.9,<4,!=3.10"}
        spool = tmp_path / "spool"
        spool.write_bytes(body)
        put = await store.put_if_absent(PATH, spool if spooled else body, facts)
        spool.unlink()  # the caller's own to remove, and no loss
        read, info = await store.read(PATH)
        assert read == body
        assert info == await store.info(PATH) == msgspec.structs.replace(put, created=info.created)
        assert info.facts == facts
        assert (info.path, info.size) == (PATH, len(body))
        assert await streamed(store, PATH, 0, len(body)) == body

    async def test_an_empty_fact_is_not_a_missing_one(self, store: BlobStore) -> None:
        await store.put_if_absent(PATH, SMALL, {"yanked": ""})
        assert (await store.info(PATH)).facts == {"yanked": ""}
        assert [info.facts async for info in store.list("packages/")] == [{"yanked": ""}]

    async def test_a_listing_is_sorted_by_path(self, store: BlobStore) -> None:
        names = ["b", "a/z", "a-b/c", "a/y", "a0/x", "A/x"]
        for name in names:
            await store.put_if_absent(f"packages/{name}", SMALL, {})
        assert [info.path async for info in store.list("packages/")] == sorted(f"packages/{name}" for name in names)

    async def test_what_is_directly_below_a_folder_is_named(self, store: BlobStore) -> None:
        async def named(folder: str) -> list[str]:
            return sorted([name async for names in store.list_folder(folder) for name in names])

        assert await named("packages/") == []
        for path in ("loose", "acme-a/1.whl", "acme-a/2.whl", "acme-b/1.whl", "acme-b/sub/1.whl"):
            await store.put_if_absent(f"packages/{path}", SMALL, {"sha256": sha256(SMALL)})
        await store.put_if_absent("packages-2/x/1.whl", SMALL, {})
        assert await named("packages/") == ["acme-a/", "acme-b/", "loose"]
        assert await named("packages/acme-b/") == ["1.whl", "sub/"]
        for path in ("acme-a/1.whl", "acme-a/2.whl"):
            await store.delete(f"packages/{path}")
        assert await named("packages/") == ["acme-b/", "loose"], "a folder without anything is none"

    async def test_a_blob_says_when_it_was_made(self, store: BlobStore) -> None:
        info = await store.put_if_absent(PATH, SMALL, {})
        assert info.created.tzinfo is not None
        assert abs(info.created - datetime.now(UTC)) < timedelta(minutes=5)
        assert abs((await store.info(PATH)).created - info.created) < timedelta(minutes=5)
        info = await store.info(PATH)
        await store.set_facts(PATH, {"yanked": "broken"}, info.etag)
        assert (await store.info(PATH)).created == info.created

    async def test_a_name_that_is_taken_stays_as_it_is(self, store: BlobStore) -> None:
        first = await store.put_if_absent(PATH, SMALL, {"sha256": "one"})
        for body in (SMALL, b"other"):
            with pytest.raises(BlobExists):
                await store.put_if_absent(PATH, body, {"sha256": "two"})
        assert await store.read(PATH) == (SMALL, first)

    async def test_what_is_not_there_is_said_to_be_not_there(self, store: BlobStore) -> None:
        await store.put_if_absent(PATH, SMALL, {})
        for path in ("packages/demo/other.whl", "packages/demo", "packages", "nothing/at/all", f"{PATH}/below"):
            with pytest.raises(BlobNotFound):
                await store.info(path)
            with pytest.raises(BlobNotFound):
                await store.read(path)
            with pytest.raises(BlobNotFound):
                await streamed(store, path, 0, 1)
            with pytest.raises(BlobNotFound):
                await store.set_facts(path, {}, "any")

    async def test_listing_goes_by_prefix_and_not_by_folder(self, store: BlobStore) -> None:
        made = {
            "packages/demo/a-1.whl",
            "packages/demo/b-1.whl",
            "packages/demo-more/c-1.whl",
            "packages/other/d-1.whl",
            "claims/demo",
        }
        for path in made:
            await store.put_if_absent(path, path.encode(), {"path": path})
        assert await paths(store, "packages/") == {path for path in made if path.startswith("packages/")}
        assert await paths(store, "packages/demo/") == {"packages/demo/a-1.whl", "packages/demo/b-1.whl"}
        assert await paths(store, "packages/demo") == {path for path in made if "demo" in path and "claims" not in path}
        assert await paths(store, "packages/demo/a") == {"packages/demo/a-1.whl"}
        assert await paths(store, "packages/demo/a-1.whl") == {"packages/demo/a-1.whl"}
        assert await paths(store, "claims/") == {"claims/demo"}
        assert await paths(store, "packages/nobody/") == set()
        assert await paths(store, "nowhere/") == set()

    async def test_a_listing_says_the_same_as_asking_for_each(self, store: BlobStore) -> None:
        for number in range(12):
            await store.put_if_absent(f"packages/demo/{number}", SMALL * number, {"number": str(number)})
        listed = [info async for info in store.list("packages/demo/")]
        assert len(listed) == 12
        for info in listed:
            assert info == await store.info(info.path)

    @pytest.mark.parametrize(
        ("start", "end"),
        [(0, 0), (7, 7), (0, 1), (5, 17), (0, len(LARGE)), (len(LARGE) - 1, len(LARGE)), (MIB - 1, 4 * MIB + 2)],
    )
    async def test_a_range_is_exactly_what_was_asked_for(self, store: BlobStore, start: int, end: int) -> None:
        await store.put_if_absent(PATH, LARGE, {})
        assert await streamed(store, PATH, start, end) == LARGE[start:end]

    async def test_a_large_body_comes_in_pieces(self, store: BlobStore) -> None:
        await store.put_if_absent(PATH, LARGE, {})
        assert max([len(chunk) async for chunk in store.stream(PATH, 0, len(LARGE))]) <= 4 * MIB

    async def test_a_stream_that_cannot_reach_its_end_fails_rather_than_ends(self, store: BlobStore) -> None:
        await store.put_if_absent(PATH, SMALL, {})
        with pytest.raises(StoreError):
            await streamed(store, PATH, 0, len(SMALL) + 1)

    async def test_a_record_is_made_only_once(self, store: BlobStore) -> None:
        etag = await store.replace_if("records/a", b"one", None)
        assert (await store.info("records/a")).etag == etag
        with pytest.raises(BlobChanged):
            await store.replace_if("records/a", b"two", None)
        assert (await store.read("records/a"))[0] == b"one"

    async def test_a_record_is_replaced_only_as_it_was_read(self, store: BlobStore) -> None:
        first = await store.replace_if("records/a", b"one", None)
        second = await store.replace_if("records/a", b"two", first)
        assert (await store.read("records/a"))[0] == b"two"
        assert (await store.read("records/a"))[1].etag == second
        with pytest.raises(BlobChanged):
            await store.replace_if("records/a", b"three", first)
        with pytest.raises(BlobChanged):
            await store.replace_if("records/a", b"three", None)
        assert (await store.read("records/a"))[0] == b"two"

    async def test_a_record_that_is_gone_was_changed(self, store: BlobStore) -> None:
        etag = await store.replace_if("records/a", b"one", None)
        await store.delete("records/a")
        with pytest.raises(BlobChanged):
            await store.replace_if("records/a", b"two", etag)
        with pytest.raises(BlobNotFound):
            await store.info("records/a")

    async def test_every_change_has_an_etag_of_its_own(self, store: BlobStore) -> None:
        seen = [await store.replace_if("records/a", b"same", None)]
        for _ in range(10):
            seen.append(await store.replace_if("records/a", b"same", seen[-1]))
        for _ in range(10):
            seen.append(await store.set_facts("records/a", {"same": "fact"}, seen[-1]))
        await store.delete("records/a")
        seen.append((await store.put_if_absent("records/a", b"same", {"same": "fact"})).etag)
        assert len(set(seen)) == len(seen) == 22

    async def test_facts_are_replaced_as_a_whole_and_the_body_stays(self, store: BlobStore) -> None:
        before = await store.put_if_absent(PATH, SMALL, {"sha256": "x", "upload_time": "t"})
        etag = await store.set_facts(PATH, {"sha256": "x", "yanked": "broken%20build"}, before.etag)
        after = await store.info(PATH)
        assert after.etag == etag != before.etag
        assert after.facts == {"sha256": "x", "yanked": "broken%20build"}
        assert await store.read(PATH) == (SMALL, after)
        with pytest.raises(BlobChanged):
            await store.set_facts(PATH, {}, before.etag)
        assert await store.info(PATH) == after

    async def test_what_is_deleted_is_gone_and_its_name_free(self, store: BlobStore) -> None:
        await store.put_if_absent(PATH, SMALL, {"sha256": "one"})
        await store.delete(PATH)
        await store.delete(PATH)
        await store.delete("packages/never/was.whl")
        assert await paths(store, "packages/") == set()
        with pytest.raises(BlobNotFound):
            await store.info(PATH)
        again = await store.put_if_absent(PATH, b"new", {"other": "fact"})
        body, info = await store.read(PATH)
        assert (body, info.facts, info.etag) == (b"new", {"other": "fact"}, again.etag)

    async def test_only_the_very_blob_that_was_seen_is_deleted_where_its_etag_is_given(self, store: BlobStore) -> None:
        seen = await store.put_if_absent(PATH, b"body", {"sha256": "0" * 64})
        etag = await store.set_facts(PATH, {"yanked": ""}, seen.etag)
        with pytest.raises(BlobChanged):
            await store.delete(PATH, seen.etag)
        assert (await store.read(PATH))[0] == b"body"
        await store.delete(PATH, etag)
        with pytest.raises(BlobNotFound):
            await store.info(PATH)
        await store.delete(PATH, etag)  # gone already: fine

    @pytest.mark.parametrize("size", [10, 5 * 1024 * 1024])
    async def test_what_is_to_happen_before_the_commit_happens_before_it(
        self, store: BlobStore, tmp_path: Path, size: int
    ) -> None:
        spooled = tmp_path / "spooled"
        spooled.write_bytes(bytes(size))

        async def look() -> None:
            with pytest.raises(BlobNotFound):
                await store.info(PATH)
            looked.append(PATH)

        async def refuse() -> None:
            raise StoreError("nobody could be told")

        looked: list[str] = []
        with pytest.raises(StoreError, match="nobody could be told"):
            await store.put_if_absent(PATH, spooled, {}, before_commit=refuse)
        made = await store.put_if_absent(PATH, spooled, {"sha256": "1" * 64}, before_commit=look)
        assert looked == [PATH]
        assert made.etag == (await store.info(PATH)).etag

    async def test_of_many_who_take_one_name_at_once_one_wins_with_its_own_facts(self, store: BlobStore, tmp_path: Path) -> None:
        bodies = [hashlib.shake_128(bytes([number])).digest(MIB + number) for number in range(8)]
        for number, body in enumerate(bodies):
            (tmp_path / f"spool{number}").write_bytes(body)
        puts = (
            store.put_if_absent(PATH, tmp_path / f"spool{number}" if number % 2 else body, {"sha256": sha256(body)})
            for number, body in enumerate(bodies)
        )
        outcomes = await asyncio.gather(*puts, return_exceptions=True)
        won = [outcome for outcome in outcomes if isinstance(outcome, BlobInfo)]
        assert len(won) == 1
        assert all(isinstance(outcome, BlobExists) for outcome in outcomes if outcome not in won)
        body, info = await store.read(PATH)
        assert info == won[0]
        assert info.facts == {"sha256": sha256(body)}
        assert body in bodies

    async def test_no_change_is_lost_among_many_writers(self, store: BlobStore) -> None:
        await store.replace_if("records/count", b"0", None)

        async def add(times: int) -> None:
            while times:
                body, info = await store.read("records/count")
                try:
                    await store.replace_if("records/count", b"%d" % (int(body) + 1), info.etag)
                except BlobChanged:
                    continue
                times -= 1

        await asyncio.gather(*(add(5) for _ in range(4)))
        assert (await store.read("records/count"))[0] == b"20"

    async def test_a_stream_under_way_keeps_to_one_body(self, store: BlobStore) -> None:
        """A name that is deleted and taken again in the middle of a download must not mix the two."""
        other = bytes(byte ^ 0xFF for byte in LARGE[:16]) * (len(LARGE) // 16 + 1)
        await store.put_if_absent(PATH, LARGE, {})
        chunks = store.stream(PATH, 0, len(LARGE))
        received = await anext(chunks)
        await store.delete(PATH)
        await store.put_if_absent(PATH, other[: len(LARGE)], {})
        try:
            async for chunk in chunks:
                received += chunk
        except StoreError:
            pass  # refusing to go on is as good as going on with the old body
        assert LARGE.startswith(received)

    async def test_a_link_to_the_bytes_is_offered_only_where_it_leads_to_them(self, store: BlobStore) -> None:
        await store.put_if_absent(PATH, SMALL, {})
        assert store.name
        url = await store.signed_url(PATH)
        assert url is None or url.startswith(("https://", "http://127.0.0.1"))
        opened = store.open_local(PATH)
        if opened is not None:
            with opened:
                assert opened.read() == SMALL
