"""Listings: a page as a container sends it, and blocks as our store keeps them, are read or refused, whatever they are.

What is read of a page can be packed, and is found again as it was.
"""

from __future__ import annotations

from xml.parsers.expat import ExpatError

import msgspec
from isal import isal_zlib

from tests.fuzzing.target import Target
from tests.support.steps import straight
from wheelgate.core.names import project_in
from wheelgate.core.protocols import BlobInfo
from wheelgate.sources.packed_listing import Block, ListingBuilder, PackedListing
from wheelgate.storage.blob_listing import ListingParser


def check(data: bytes) -> None:
    """A page of a listing; after ``b`` the columns of a block, which stand compressed in one, with a digest beside them."""
    if data[:1] == b"b":
        try:
            list(Block(isal_zlib.compress(data[1:], level=1), b"\x01" * 32, b"", 1).unpack())
        except ValueError:
            pass
        return
    found = _parse(data, len(data) or 1)
    assert found == _parse(data, 7)
    if found is not None and len({info.path for info in found}) == len(found):
        listing = _pack(found)
        for info in found:
            filename = info.path.rpartition("/")[2]
            if (project := project_in(filename)) is not None:
                assert info in listing.find(project)


def _parse(data: bytes, step: int) -> list[BlobInfo] | None:
    parser = ListingParser()
    try:
        for start in range(0, len(data), step):
            parser.feed(data[start : start + step])
        parser.finish()
    except (ExpatError, ValueError):
        return None
    return parser.take()


def _pack(found: list[BlobInfo]) -> PackedListing:
    builder = ListingBuilder()
    for info in found:
        builder.add(info)
    return straight(builder.finish())


_BLOB = (
    "<Blob><Name>a/acme_lib-1.0.tar.gz</Name><Properties><Creation-Time>Sun, 29 Nov 2026 10:00:07 GMT</Creation-Time>"
    '<Etag>"0x8DF1"</Etag><Content-Length>12</Content-Length></Properties><Metadata><sha256>%00</sha256></Metadata></Blob>'
)
_PAGE = "<EnumerationResults><Blobs>{}</Blobs><NextMarker>m</NextMarker></EnumerationResults>"
_COLUMNS = [["a/acme-1.0.tar.gz"], [1], [2], [3], {0: 4}, b"\x01", {0: {"yanked": ""}}, {0: "damaged"}]
TARGET = Target(
    check=check,
    modules=("wheelgate.storage.blob_listing", "wheelgate.sources.packed_listing"),
    seeds=(
        _PAGE.format(_BLOB).encode(),
        b"\xef\xbb\xbf" + _PAGE.format(_BLOB + _BLOB.replace("1.0", "2.0")).encode(),
        _PAGE.format(_BLOB.replace("12<", f"{2**64}<")).encode(),
        _PAGE.format(_BLOB.replace("12<", "-1<")).encode(),
        _PAGE.format(_BLOB.replace("12<", "9" * 5_000 + "<")).encode(),
        _PAGE.format(_BLOB.replace("Sun, 29 Nov 2026 10:00:07 GMT", "Mon, 01 Jan 0001 00:00:00 +2359")).encode(),
        _PAGE.format(_BLOB.replace("Sun, 29 Nov 2026 10:00:07 GMT", "31 Dec 9999 23:59:59 -2359")).encode(),
        _PAGE.format(_BLOB.replace("<Name>", '<Name Encoded="true">').replace("a/", "%ff%2f/")).encode(),
        b"b" + msgspec.msgpack.encode(_COLUMNS),
        *(b"b" + msgspec.msgpack.encode([*_COLUMNS[:at], [], *_COLUMNS[at + 1 :]]) for at in range(4)),
        b"b" + msgspec.msgpack.encode([*_COLUMNS[:3], [2**62], *_COLUMNS[4:]]),
        b"b" + msgspec.msgpack.encode([*_COLUMNS[:2], [-5], *_COLUMNS[3:]]),
    ),
    words=(
        b"<Blob>", b"</Blob>", b"<Name>", b"<Metadata>", b"<Properties>", b"<!DOCTYPE x>", b"<![CDATA[", b"&#0;", b"&amp;",
        b"%00",        b"0x0", b"GMT", b"+2400", b"\xff", b"\xdf\xff\xff\xff\xff", b"\xcf" + b"\xff" * 8, b"\xc0", b"\x90",
    ),
    max_bytes=2_048,
)  # fmt: skip
