"""What is kept of small files: only what is right, for as long as it is listed so, within bounds."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from tests.support.clock import FakeClock
from tests.support.sources import listed
from wheelgate.core.model import File
from wheelgate.web.files import SMALL_BYTES, SmallFileCache
from wheelgate.web.prepared_response import PreparedResponse, prepare_response

BODY = b"the bytes of a wheel"
FILE = listed("acme-lib", "1.0", hashes={"sha256": hashlib.sha256(BODY).hexdigest()})
HEADERS = {"Content-Type": "application/zip", "ETag": '"x"'}


def whole(file: File, body: bytes) -> PreparedResponse:
    return prepare_response(body, HEADERS, tuple(file.hashes.values()))


def redirect(clock: FakeClock) -> PreparedResponse:
    location = {"Location": "https://acct.example/blob?sig=1", "Cache-Control": "no-store"}
    return prepare_response(b"", location, status=302, held=HEADERS, until_s=clock.monotonic() + 20.0)


@pytest.fixture
def small(clock: FakeClock) -> SmallFileCache:
    return SmallFileCache(clock)


def test_a_body_is_given_again_as_it_goes_over_the_wire(small: SmallFileCache) -> None:
    small.keep(FILE, whole(FILE, BODY))
    kept = small.get(FILE)
    assert kept is not None
    assert kept.body == BODY
    assert kept.heads[200].startswith(b"HTTP/1.1 200 OK\r\nContent-Type: application/zip\r\n")
    assert f"Content-Length: {len(BODY)}\r\n".encode() in kept.heads[200]
    assert b"Content-" not in kept.heads[304]
    assert small.get(FILE, "metadata") is None


def test_a_body_with_another_digest_than_its_page_lists_is_not_kept(small: SmallFileCache) -> None:
    small.keep(FILE, whole(FILE, b"other bytes"))
    assert small.get(FILE) is None


def test_a_body_without_a_listed_digest_is_not_kept(small: SmallFileCache, clock: FakeClock) -> None:
    bare = msgspec.structs.replace(FILE, hashes={})
    small.keep(bare, whole(bare, BODY))
    small.keep(bare, redirect(clock), "redirect")
    assert small.get(bare) is None
    assert small.get(bare, "redirect") is None


def test_a_file_listed_with_another_digest_since_is_another_file(small: SmallFileCache, clock: FakeClock) -> None:
    small.keep(FILE, whole(FILE, BODY))
    small.keep(FILE, redirect(clock), "redirect")
    changed = msgspec.structs.replace(FILE, hashes={"sha256": "0" * 64})
    assert small.get(changed) is None
    assert small.get(changed, "redirect") is None


def test_a_large_body_is_not_kept(small: SmallFileCache) -> None:
    body = bytes(SMALL_BYTES + 1)
    large = msgspec.structs.replace(FILE, hashes={"sha256": hashlib.sha256(body).hexdigest()})
    small.keep(large, whole(large, body))
    assert small.get(large) is None


def test_memory_is_bounded(clock: FakeClock) -> None:
    # Each weighs its body, what is said twice in front of it, and a kilobyte.
    heads = whole(FILE, bytes(1_000)).heads
    small = SmallFileCache(clock, max_bytes=5 * (2_000 + 4 * sum(map(len, heads.values()))))
    files = []
    for number in range(20):
        body = bytes([number]) * 1_000
        files.append(listed("acme-lib", f"{number}.0", hashes={"sha256": hashlib.sha256(body).hexdigest()}))
        small.keep(files[-1], whole(files[-1], body))
    assert [small.get(file) is not None for file in files] == [False] * 15 + [True] * 5


def test_a_redirect_is_repeated_for_a_moment_only(small: SmallFileCache, clock: FakeClock) -> None:
    small.keep(FILE, redirect(clock), "redirect")
    kept = small.get(FILE, "redirect")
    assert kept is not None
    assert kept.status == 302
    assert b"Location: https://acct.example/blob?sig=1\r\nCache-Control: no-store\r\n" in kept.heads[302]
    assert small.get(FILE) is None
    clock.move(19.9)
    assert small.get(FILE, "redirect") is kept
    clock.move(0.1)
    assert small.get(FILE, "redirect") is None
