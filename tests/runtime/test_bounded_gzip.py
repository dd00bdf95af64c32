"""A gzip stream of a stranger: read in bounded pieces, to its end, and not beyond what was allowed."""

from __future__ import annotations

import gzip
import io

import pytest

from tests.support.bounds import bounded
from wheelgate.runtime.bounded_gzip import PIECE_BYTES, BadGzip, BoundedGunzip

BODY = bytes(range(256)) * 20_000
both = pytest.mark.parametrize("strict", [True, False])


@both
@pytest.mark.parametrize("size", [1, 1_000, len(BODY)])
def test_pieces_are_bounded_and_together_the_whole(strict: bool, size: int) -> None:
    packed = gzip.compress(BODY)
    gunzip = BoundedGunzip("a test", free_bytes=len(BODY), strict=strict)
    pieces = [piece for at in range(0, len(packed), size) for piece in gunzip.feed(packed[at : at + size])]
    assert b"".join(pieces) == BODY
    assert max(map(len, pieces)) <= PIECE_BYTES
    assert (gunzip.is_whole, gunzip.has_more) == (True, False)


@both
def test_a_bomb_is_refused_before_it_fills_the_memory(strict: bool) -> None:
    bomb = gzip.compress(bytes(100 * 1024 * 1024))
    with bounded(mib=8, seconds=5), pytest.raises(BadGzip, match="^inflates to far more than a test needs$"):
        for piece in BoundedGunzip("a test", free_bytes=1024 * 1024, strict=strict).feed(bomb):
            assert len(piece) <= PIECE_BYTES


@both
def test_no_ratio_excuses_more_than_the_most(strict: bool) -> None:
    gunzip = BoundedGunzip("a test", free_bytes=100, max_bytes=1_000, strict=strict)
    with pytest.raises(BadGzip, match="far more"):
        list(gunzip.feed(gzip.compress(BODY, 0)))


@both
def test_what_is_broken_cut_short_or_followed_by_more(strict: bool) -> None:
    packed = gzip.compress(BODY)
    with pytest.raises(BadGzip, match="^is not a whole gzip file$"):
        list(BoundedGunzip("a test", free_bytes=len(BODY), strict=strict).feed(b"not gzip at all, and long enough"))
    for sent, whole, more in ((packed[:-1], False, False), (packed + b"x", True, True)):
        gunzip = BoundedGunzip("a test", free_bytes=len(BODY), strict=strict)
        list(gunzip.feed(sent))
        assert (gunzip.is_whole, gunzip.has_more) == (whole, more)


def test_a_file_is_read_to_the_end_of_its_stream() -> None:
    assert b"".join(BoundedGunzip("a test", free_bytes=len(BODY)).read(io.BytesIO(gzip.compress(BODY) + b"more"))) == BODY
