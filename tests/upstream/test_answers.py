"""Pages as they are sent: whatever pieces they come in, the same ones are known again, and no others."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from wheelgate.runtime.byte_budget import ByteBudget
from wheelgate.upstream.answers import page_body

PAGE = b'{"meta": {"api-version": "1.4"}, "name": "demo", "files": []}'
OTHER = PAGE.replace(b"demo", b"memo")


class Sent:
    """An answer whose body comes in these pieces."""

    def __init__(self, pieces: Sequence[bytes], encoding: str) -> None:
        self.headers = CIMultiDict({"Content-Encoding": encoding, "Content-Length": str(sum(map(len, pieces)))})
        self.content = self
        self._pieces = pieces

    async def iter_chunked(self, _size: int) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


def read(pieces: Sequence[bytes], encoding: str = "gzip") -> tuple[bytes, bytes]:
    async def read_it() -> tuple[bytes | bytearray, bytes]:
        return await page_body(cast("Any", Sent(pieces, encoding)), "upstream", ByteBudget().claim())

    body, digest = asyncio.run(read_it())
    return bytes(body), digest


def cut(body: bytes, places: set[int]) -> list[bytes]:
    ends = [*sorted(places), len(body)]
    return [body[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@settings(deadline=None, max_examples=50)
@given(st.sets(st.integers(1, 20)), st.integers(1, 2**32 - 1))
def test_a_page_compressed_at_another_time_and_sent_in_other_pieces_is_the_same(places: set[int], moment: int) -> None:
    assert read(cut(gzip.compress(PAGE, mtime=moment), places)) == read([gzip.compress(PAGE, mtime=1)])


def test_another_page_is_another_one() -> None:
    digests = {
        read([gzip.compress(PAGE, mtime=0)])[1],
        read([gzip.compress(OTHER, mtime=0)])[1],
        read([gzip.compress(PAGE, mtime=0)], "identity")[1],
    }
    assert len(digests) == 3


def test_a_page_is_the_same_compressed_or_not() -> None:
    assert read([PAGE], "identity") == read([gzip.compress(PAGE, compresslevel=1)])
