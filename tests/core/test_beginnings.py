"""A body is told by how it begins, whatever it is called."""

from __future__ import annotations

import gzip

import pytest

from tests.support.packages import sdist_bytes, wheel_bytes, wheel_name
from wheelgate.core.beginnings import can_begin, is_web_page

WHEEL, SDIST = wheel_bytes("demo", "1.0"), sdist_bytes("demo", "1.0")
PAGE = b"\xef\xbb\xbf\r\n <!DOCTYPE html><title>Sign in</title>"


@pytest.mark.parametrize(
    ("filename", "body", "coding", "expected"),
    [
        (wheel_name("demo", "1.0"), WHEEL, "", True),
        (wheel_name("demo", "1.0"), WHEEL, "gzip", True),
        (wheel_name("demo", "1.0"), WHEEL[:1], "br", True),
        (wheel_name("demo", "1.0"), gzip.compress(WHEEL), "gzip", False),
        (wheel_name("demo", "1.0"), PAGE, "", False),
        (wheel_name("demo", "1.0"), b"", "", False),
        ("demo-1.0.tar.gz", SDIST, "", True),
        ("demo-1.0.tar.gz", SDIST, "gzip", True),
        ("demo-1.0.tar.gz", SDIST[:1], "gzip", True),
        ("demo-1.0.tar.gz", gzip.compress(SDIST), "gzip", False),
        ("demo-1.0.tar.gz", gzip.compress(PAGE), "", True),  # only its end would tell
        ("demo-1.0.ZIP", WHEEL, "", True),
        ("demo-1.0.tar.bz2", b"BZh9", "", True),
        ("demo-1.0.exe", b"MZ", "", False),
    ],
)
def test_it_can_begin_the_file_of_that_name(filename: str, body: bytes, coding: str, expected: bool) -> None:
    assert can_begin(filename, body[:1024], coding=coding) is expected


def test_a_web_page_is_one_compressed_or_not() -> None:
    assert is_web_page(PAGE)
    assert is_web_page(gzip.compress(PAGE))
    assert not any(map(is_web_page, (WHEEL, SDIST, b"", b"\x1f\x8b", b"Metadata-Version: 2.1")))
