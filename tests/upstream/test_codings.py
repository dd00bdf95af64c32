"""Codings of pages: undone however the bytes arrive, and never further than a page may be."""

from __future__ import annotations

import gzip
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.odd_answers import deflated
from wheelgate.runtime.bounded_gzip import BadGzip
from wheelgate.upstream.codings import PageInflater, UnreadableCoding

PAGE = b'{"files": []}' * 50
WAYS = {
    ("gzip",): gzip.compress(PAGE),
    ("deflate",): deflated(PAGE),
    ("deflate", "utf-8"): deflated(PAGE, -15),
    ("gzip", "x-gzip"): gzip.compress(gzip.compress(PAGE)),
    ("deflate", "gzip"): gzip.compress(deflated(PAGE)),
    ("gzip", "deflate"): deflated(gzip.compress(PAGE)),
    ("identity", "gzip", "gzip"): gzip.compress(PAGE),
    ("none", "aws-chunked"): PAGE,
    (): PAGE,
}


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(sorted(WAYS)), st.lists(st.integers(1, 100), min_size=1, max_size=200))
def test_a_page_is_the_same_in_whatever_pieces_it_comes(codings: tuple[str, ...], sizes: list[int]) -> None:
    inflater, body, found = PageInflater(codings), WAYS[codings], b""
    while body:
        size = sizes.pop() if sizes else len(body)
        found += b"".join(inflater.feed(body[:size]))
        body = body[size:]
    assert found == PAGE
    assert not inflater.has_more
    assert inflater.is_whole is inflater.is_coded


@pytest.mark.parametrize("codings", [way for way in sorted(WAYS) if any(word in way for word in ("gzip", "deflate"))])
def test_what_was_cut_is_never_whole(codings: tuple[str, ...]) -> None:
    for kept in (0, 1, 5, len(WAYS[codings]) - 1):
        inflater = PageInflater(codings)
        b"".join(inflater.feed(WAYS[codings][:kept]))
        assert not inflater.is_whole


@pytest.mark.parametrize("codings", [["br"], ["gzip", "br"], ["zstd"], ["gzip"] * 3])
def test_what_is_not_undone_is_named(codings: list[str]) -> None:
    with pytest.raises(UnreadableCoding, match=", ".join(codings)):
        PageInflater(codings)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_bomb_ends_in_little_memory(coding: str, layers: int) -> None:
    body = bytes(100 * 1024 * 1024)
    for _ in range(layers):
        body = gzip.compress(body, 9) if coding == "gzip" else deflated(body)
    inflater = PageInflater([coding] * layers)
    tracemalloc.start()
    with pytest.raises(BadGzip):
        for piece in inflater.feed(body):
            del piece
    assert tracemalloc.get_traced_memory()[1] < 16 * 1024 * 1024
    tracemalloc.stop()
