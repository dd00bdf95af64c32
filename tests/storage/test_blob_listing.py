"""Listing of a container: read as it comes in, whatever stands in it, whole or not at all, and nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from xml.parsers.expat import ExpatError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.azurite import KEY
from tests.support.clock import FakeClock
from tests.support.fake_container import fake_container, path_of, render_page
from tests.support.turns import longest_turn
from wheelgate.core.errors import StoreError
from wheelgate.core.protocols import BlobInfo
from wheelgate.storage.azure import azure_store
from wheelgate.storage.blob_listing import ListingParser, parse_time

BLOB = (
    '<Blob><Name{how}>{name}</Name><Properties><Creation-Time>Sun, 29 Nov 2026 10:00:07 GMT</Creation-Time><Etag>"0x8D"</Etag>'
    "<Content-Length>12</Content-Length><BlobType>BlockBlob</BlobType></Properties><Metadata>{facts}</Metadata></Blob>"
)


def page(*blobs: str, marker: str = "") -> bytes:
    listed = f"<Blobs>{''.join(blobs)}</Blobs><NextMarker>{marker}</NextMarker>"
    return f"\ufeff<EnumerationResults>{listed}</EnumerationResults>".encode()


def blob(name: str, how: str = "", facts: str = "") -> str:
    return BLOB.format(name=name, how=how, facts=facts)


def parse(body: bytes, step: int = 7) -> tuple[list[BlobInfo], str]:
    parser = ListingParser()
    for start in range(0, len(body), step):
        parser.feed(body[start : start + step])
    marker = parser.finish()
    return parser.take(), marker


def test_what_is_needed_of_a_blob() -> None:
    facts = "<Sha256>ab</Sha256><yanked>%00</yanked><Name>not its name</Name><Etag /><note>100%25 &lt;x&gt;</note>"
    (info,), marker = parse(page(blob("a/b &amp; c.whl", facts=facts), marker="next"))
    assert info == BlobInfo(
        path="a/b & c.whl",
        size=12,
        etag="0x8D",
        created=datetime(2026, 11, 29, 10, 0, 7, tzinfo=UTC),
        facts={"sha256": "ab", "yanked": "", "name": "not its name", "etag": "", "note": "100% <x>"},
    )
    assert marker == "next"


def test_a_name_that_xml_cannot_hold_comes_quoted_and_no_other_is_unquoted() -> None:
    quoted, plain = parse(page(blob("a%0Bb", ' Encoded="true"'), blob("a%0Bb")))[0]
    assert (quoted.path, plain.path) == ("a\vb", "a%0Bb")


def test_facts_of_one_blob_are_not_the_next_ones() -> None:
    first, second = parse(page(blob("a", facts="<sha256>ab</sha256>"), blob("b")))[0]
    assert (first.facts, second.facts) == ({"sha256": "ab"}, {})


@given(st.integers(1, 400), st.integers(1, 4_000))
def test_wherever_it_is_cut_into_pieces_it_is_the_same_and_cut_off_it_is_none(step: int, end: int) -> None:
    body = page(blob("a", facts="<k>é</k>"), blob("b"), marker="m")
    assert parse(body, step) == parse(body, len(body))
    if end < len(body):
        with pytest.raises((ExpatError, ValueError)):
            parse(body[:end], step)


BROKEN = {
    "nothing": b"",
    "text": b"sign in, please",
    "another document": b"<html><body/></html>",
    "an error": b"<Error><Code>ServerBusy</Code></Error>",
    "a document type": b'<!DOCTYPE x [<!ENTITY a "aaaa">]><EnumerationResults><Blobs/></EnumerationResults>',
    "nothing of a listing": b"<EnumerationResults/>",
    "a list of containers": b"<EnumerationResults><Containers><Container><Name>c</Name></Container></Containers><NextMarker/>"
    b"</EnumerationResults>",
    "no marker": page(blob("a")).replace(b"<NextMarker></NextMarker>", b""),
    "a marker elsewhere": b"<EnumerationResults><Blobs><NextMarker/></Blobs></EnumerationResults>",
    "no blobs": b"<EnumerationResults><NextMarker/></EnumerationResults>",
    "a blob without a name": page(blob("")),
    "a blob without a size": page(blob("a").replace("<Content-Length>12</Content-Length>", "")),
    "a size that is none": page(blob("a").replace(">12<", ">x<")),
    "a time that is none": page(blob("a").replace("Sun, 29 Nov 2026 10:00:07 GMT", "soon")),
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
def test_what_is_no_listing_is_never_an_empty_one(body: bytes) -> None:
    with pytest.raises((ExpatError, ValueError)):
        parse(body)


def test_an_empty_listing_is_one() -> None:
    assert parse(b"<EnumerationResults><Blobs /><NextMarker /></EnumerationResults>") == ([], "")


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 29 Nov 2026 10:00:07 GMT",
        "Sun, 29 Nov 2026 10:00:07 +0000",
        "29 Nov 2026 12:00:07 +0200",
        "Sun, 29 Nov 2026 12:00:07 +0200",
        "29 Nov 2026 10:00:07 -0000",
    ],
)
def test_a_time_in_any_spelling_of_the_standard(text: str) -> None:
    assert parse_time(text) == datetime(2026, 11, 29, 10, 0, 7, tzinfo=UTC)


@pytest.fixture(scope="module")
def big() -> Iterator[str]:
    with fake_container(20_000) as url:
        yield url


async def test_twenty_thousand_blobs_are_listed_in_pages_and_nobody_waits(big: str, clock: FakeClock) -> None:
    async with azure_store(big, name="big", credential=KEY, clock=clock, sas_window_s=900, sas_life_s=1800) as store:
        found = []
        async with longest_turn() as turn:
            async for info in store.list(""):
                found.append(info.path)
                if len(found) % 250 == 0:
                    await asyncio.sleep(0)
        assert found == sorted(path_of(number) for number in range(20_000))
        assert turn.longest_s < 0.02, "the library's own parser takes 0.8 s a page"


async def test_a_page_that_breaks_off_is_asked_for_once_more_and_then_a_failure(clock: FakeClock, tmp_path: Path) -> None:
    body = render_page(list(range(1_000)), 0, with_facts=False)
    asked = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(b"\r\n\r\n")
        asked += 1
        sent = body if asked == 2 else body[:600_000]
        writer.write(
            b"HTTP/1.1 200 OK\r\nx-ms-request-id: x\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + sent
        )
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/devstoreaccount1/c"
        async with azure_store(url, name="c", credential=KEY, clock=clock, sas_window_s=900, sas_life_s=1800) as store:
            assert [info.path async for info in store.list("")] == [path_of(number) for number in range(1_000)], (
                "each of them once"
            )
            assert asked == 2
            with pytest.raises(StoreError):
                [info async for info in store.list("")]
            assert asked == 4
