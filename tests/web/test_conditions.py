"""Ranges and conditions of requests (RFC 9110, sections 13 and 14)."""

from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from wheelgate.web.bodies import Range, parse_range
from wheelgate.web.prepared_response import is_held, parse_if_none_match

ETAG = "a" * 64


def request_with(method: str = "GET", **headers: str) -> web.Request:
    return make_mocked_request(method, "/", CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()}))


def asked(value: str | None, method: str = "GET", etag: str | None = ETAG, **more: str) -> Range | None:
    request = request_with(method, **({} if value is None else {"Range": value}), **more)
    return parse_range(request, etag)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", Range(0, 0)),
        ("bytes=5-9", Range(5, 9)),
        ("bytes=5-", Range(5)),
        ("bytes=0-", Range(0)),
        ("bytes=-5", Range(suffix=5)),
        ("bytes=-0", Range(suffix=0)),
        ("Bytes=1-2", Range(1, 2)),
        ("bytes= 1-2 ", Range(1, 2)),
        ("bytes=0-999999999999999999", Range(0, 999_999_999_999_999_999)),
    ],
)
def test_a_range_is_read(header: str, expected: Range) -> None:
    assert asked(header) == expected


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=5-4",
        "bytes=1-2,4-5",
        "bytes=0-,-1",
        "bytes=--1",
        "bytes=-1-2",
        "bytes=+1-2",
        "bytes=1.5-2",
        "bytes=0x1-2",
        "bytes=1 - 2",
        "bytes=\u0661-2",
        "items=0-5",
        "0-5",
        "bytes=0-" + "9" * 19,
        "bytes=" + "9" * 5_000 + "-",
    ],
)
def test_what_is_no_single_range_is_ignored(header: str | None) -> None:
    assert asked(header) is None


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT"])
def test_only_a_get_has_a_range(method: str) -> None:
    assert asked("bytes=0-5", method) is None


@pytest.mark.parametrize(
    ("condition", "etag", "honoured"),
    [
        (f'"{ETAG}"', ETAG, True),
        (f' "{ETAG}" ', ETAG, True),
        (f'"{"b" * 64}"', ETAG, False),
        (f'W/"{ETAG}"', ETAG, False),  # a range needs the strong comparison
        (ETAG, ETAG, False),
        ("Thu, 01 Jan 2026 00:00:00 GMT", ETAG, False),
        ("*", ETAG, False),
        ("", ETAG, False),
        (f'"{ETAG}"', None, False),
    ],
)
def test_a_range_under_a_condition_is_honoured_only_if_the_file_is_the_same(
    condition: str, etag: str | None, honoured: bool
) -> None:
    assert (asked("bytes=0-5", etag=etag, If_Range=condition) == Range(0, 5)) is honoured


def test_a_file_without_an_etag_still_has_ranges() -> None:
    assert asked("bytes=0-5", etag=None) == Range(0, 5)


@pytest.mark.parametrize(
    ("wanted", "size", "span"),
    [
        (Range(0, 0), 10, (0, 1)),
        (Range(0, 9), 10, (0, 10)),
        (Range(0, 10), 10, (0, 10)),
        (Range(0, 10**18), 10, (0, 10)),
        (Range(9, 9), 10, (9, 10)),
        (Range(9), 10, (9, 10)),
        (Range(10), 10, None),
        (Range(10, 20), 10, None),
        (Range(0), 0, None),
        (Range(0, 0), 0, None),
        (Range(suffix=1), 10, (9, 10)),
        (Range(suffix=10), 10, (0, 10)),
        (Range(suffix=11), 10, (0, 10)),
        (Range(suffix=0), 10, None),
        (Range(suffix=1), 0, None),
    ],
)
def test_a_range_lies_within_the_body_or_cannot_be_satisfied(wanted: Range, size: int, span: tuple[int, int] | None) -> None:
    assert wanted.within(size) == span


numbers = st.integers(0, 12).map(str) | st.just("")


@settings(deadline=None, max_examples=300)
@given(st.builds("bytes={}-{}".format, numbers, numbers), st.integers(0, 10))
def test_a_satisfied_range_is_what_a_plain_slice_gives(header: str, size: int) -> None:
    body = bytes(range(size))
    wanted = asked(header)
    if wanted is None:
        return
    span = wanted.within(size)
    first, _, last = header.removeprefix("bytes=").partition("-")
    expected = body[int(first) : int(last) + 1 if last else None] if first else body[max(0, size - int(last)) :]
    assert (body[span[0] : span[1]] if span else b"") == expected
    assert span is None or 0 <= span[0] < span[1] <= size


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=30), st.text(max_size=30))
def test_no_header_ever_fails(one: str, other: str) -> None:
    request = request_with(Range=one, If_Range=other, If_None_Match=one)
    parse_range(request, ETAG)
    parse_if_none_match(request)


@pytest.mark.parametrize(
    ("header", "etags", "held"),
    [
        (None, ("a",), False),
        ('"a"', ("a",), True),
        ('W/"a"', ("a",), True),  # the weak comparison
        ('"b"', ("a",), False),
        ('"b", "a"', ("a",), True),
        ('"b","a"', ("a",), True),
        ('"b", W/"a-gzip"', ("a", "a-gzip"), True),
        ("*", ("a",), True),
        ('"*"', ("a",), False),  # a tag that happens to be a star
        ('"ab"', ("a",), False),
        ('"a', ("b",), False),
        ("", ("a",), False),
        ('""', ("a",), False),
    ],
)
def test_a_client_holds_a_page_if_it_says_so(header: str | None, etags: tuple[str, ...], held: bool) -> None:
    request = request_with(**({} if header is None else {"If_None_Match": header}))
    assert is_held(parse_if_none_match(request), etags) is held
