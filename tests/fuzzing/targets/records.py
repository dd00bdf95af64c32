"""Records of what is remembered: any bytes are read, refused as damaged, or left to a later release; merging has no order.

What is read can be written again, alone and merged with what others know, and is read as the same.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from isal import isal_zlib

from tests.fuzzing.target import Target
from wheelgate.core.model import File, ProjectPage, RemoteFile
from wheelgate.enrich import kept_pages, record_store
from wheelgate.enrich.records import BlobVersion, ExtractedMetadata, FileRecord, ProjectRecord, merge_files

_HEAD = b"wheelgate record 3\n"


def check(data: bytes) -> None:
    """A stored record; after ``r`` the rows of one, which stand compressed in it, and after ``p`` files of its page."""
    found = [_decode(data)]
    if data[:1] == b"r":
        found.append(_decode(_HEAD + msgspec.msgpack.encode([3, isal_zlib.compress(data[1:], level=1), None])))
    elif data[:1] == b"p":
        body = msgspec.msgpack.encode([1, (), None, 0, [isal_zlib.compress(data[1:], level=1)]])
        found.append(_decode(_HEAD + msgspec.msgpack.encode([3, _NO_ROWS, [_MOMENT, None, body]])))
    for record in found:
        if record is None:
            continue
        assert _decode(record_store.encode(record)) == record
        merged = merge_files(record.files, _OTHER.files)
        assert merged == merge_files(_OTHER.files, record.files)
        assert _decode(record_store.encode(ProjectRecord(merged))) == ProjectRecord(merged)
        assert merge_files(record.files, record.files) == record.files
        if record.page is not None:
            page = kept_pages.unpack(record.page, "demo", "pypi")
            assert page is None or page.project == "demo"
            if page is not None:
                assert kept_pages.unpack(kept_pages.pack(_copy(page)), "demo", "pypi") is not None
                assert all(isinstance(file.location, RemoteFile) for file in page.files)


def _copy(page: ProjectPage) -> ProjectPage:
    """The page with its files as values: what is packed already is not packed again."""
    return page.with_files([msgspec.structs.replace(file) for file in page.files], ())


def _decode(data: bytes) -> ProjectRecord | None:
    try:
        return record_store.decode(data)
    except record_store.NewerRecord:
        return None
    except ValueError as error:
        assert str(error).startswith("damaged"), "it does not say that it is damaged"
        return None


_MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
_FILES = {
    "demo-1.0-py3-none-any.whl": FileRecord(
        at=_MOMENT,
        hashes={"sha256": "a" * 64},
        uploaded=_MOMENT,
        size=1,
        made=ExtractedMetadata(_MOMENT, "a" * 64, "b" * 64, ">=3"),
        blob=BlobVersion("demo/x.whl", "etag"),
    ),
    "demo-1.0.tar.gz": FileRecord(at=_MOMENT, hashes={"md5": "c" * 32}, uploaded=_MOMENT),
}
_FILE = File(filename="demo-1.0.tar.gz", project="demo", source="pypi", location=RemoteFile("https://h/x", "pypi"))
_PAGE = kept_pages.pack(ProjectPage(project="demo", files=[_FILE], versions=("1.0",), as_of=_MOMENT))
_OTHER = ProjectRecord({"demo-1.0.tar.gz": FileRecord(at=_MOMENT, hashes={"sha256": "d" * 64}, uploaded=_MOMENT, size=2)})
_STORED = record_store.encode(ProjectRecord(_FILES, _PAGE))
_ROWS = isal_zlib.decompress(msgspec.msgpack.decode(_STORED.partition(b"\n")[2])[1])
_COLUMNS = msgspec.msgpack.decode(_ROWS)
_NO_ROWS = msgspec.msgpack.decode(record_store.encode(ProjectRecord({})).partition(b"\n")[2])[1]
_LISTED = isal_zlib.decompress(msgspec.msgpack.decode(_PAGE.body)[4][0])
_RESTS = ([{"sha256": "zz"}], [{"sha256": "0" * 64}], [None, ["2026-01-01T00:00:00", "x", None]], [None, [_MOMENT, "x", "../x"]])
TARGET = Target(
    check=check,
    modules=("wheelgate.enrich.record_store", "wheelgate.enrich.kept_pages", "wheelgate.enrich.records"),
    seeds=(
        _STORED,
        _STORED.partition(b"\n")[2],
        b"r" + _ROWS,
        *(b"r" + msgspec.msgpack.encode([*_COLUMNS[:5], {0: rest}]) for rest in _RESTS),
        b"p" + _LISTED,
        *(b"r" + msgspec.msgpack.encode([*_COLUMNS[:at], _COLUMNS[at][:1], *_COLUMNS[at + 1 :]]) for at in range(5)),
        b'{"demo-1.0-py3-none-any.whl":{"etag":"e","sha256":"' + b"a" * 64 + b'","seen":"2026-01-01T00:00:00Z"}}',
        b"wheelgate record 4\nwhatever",
    ),
    words=(
        _HEAD, b"wheelgate record 2\n", b"wheelgate record 999999999\n", b"\x90", b"\x93", b"\x96", b"\xc0", b"\x80",
        b"\xdf\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xd6\xff", b"\xc7\x0c\xff", b"\x78\x01",
        b"a" * 64, b"2026-01-01T00:00:00Z", b"0001-01-01T00:00:00+14:00", b'"seen":', b"sha256", b"\xff" * 8, b"9" * 400,
    ),
    max_bytes=2_048,
)  # fmt: skip
