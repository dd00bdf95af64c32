"""Uploads that break one rule each, and sound ones that look odd: what we say, and what pip 26.3 and uv 0.13.9 do with each.

``tests/distfiles/test_malformed.py`` holds the gate against it, ``tests/acceptance/test_installable.py`` (long) real installers;
faults and fuzzing may draw from it.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tests.support import archives
from tests.support.archives import (
    GNU,
    INFO,
    MODULE,
    SDIST,
    TOP,
    WHEEL,
    Part,
    build_sdist,
    build_wheel,
    pax,
    record_line,
    tar_file,
    tar_header,
)
from tests.support.packages import metadata

ZIP_SDIST = "acme-1.0.zip"
SAFETY = "installed as something else than the archive says, or only on some systems"
TRUTH = "installed, though it is not what it says of itself"
MIB = 1024 * 1024


@dataclass(frozen=True)
class Upload:
    """A file, and what becomes of it."""

    id: str
    build: Callable[[], bytes]
    said: str = ""
    """A part of our sentence; empty: it is accepted."""
    pip: bool = False
    """pip installs it."""
    uv: bool = False
    """uv installs it."""
    why: str = ""
    """Our reason to refuse what both install."""
    filename: str = WHEEL


def zipped(**options: Any) -> Callable[[], bytes]:
    """A sound wheel in an odd zip file."""
    return lambda: build_wheel(zipped=options)


def wheel(*parts: Part, **options: Any) -> Callable[[], bytes]:
    return lambda: build_wheel(*parts, **options)


def module(method: int = 8, content: bytes = MODULE[1], **odd: Any) -> Callable[[], bytes]:
    """A wheel whose module stands in an odd entry."""
    return lambda: build_wheel(module=Part(MODULE[0], content, method=method, **odd))


def lies(**fields: Any) -> Callable[[], bytes]:
    """A wheel whose module's local header lies."""
    return module(local=fields)


def both(**fields: Any) -> Callable[[], bytes]:
    """A wheel whose module has odd fields in both headers."""
    return module(local=fields, central=fields)


def info(**files: bytes | None) -> Callable[[], bytes]:
    """A wheel with another file in its ``.dist-info``."""
    return lambda: build_wheel(files=files)


def tags(*lines: str, more: str = "") -> Callable[[], bytes]:
    text = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n" + "".join(f"Tag: {line}\n" for line in lines) + more
    return info(WHEEL=text.encode())


def sdist(*members: bytes, **options: Any) -> Callable[[], bytes]:
    return lambda: build_sdist(*members, **options)


def gnu(*members: bytes, first: bytes = b"") -> Callable[[], bytes]:
    """An sdist in GNU's format."""
    return lambda: build_sdist(*members, first=first, members=archives.sdist_members(magic=GNU))


def zip_sdist(*more: Part, files: Mapping[str, bytes | None] | None = None, **options: Any) -> Callable[[], bytes]:
    content = {
        "pyproject.toml": archives.PYPROJECT,
        "backend.py": archives.build_backend(),
        "PKG-INFO": archives.METADATA,
        **(files or {}),
    }
    parts = [Part(f"{TOP}/{name}", body) for name, body in content.items() if body is not None]
    return lambda: archives.build_zip([*parts, *more], **options)


def second(name: str) -> Part:
    return Part(name, b"SECOND = 1\n")


def _scripts(line: str) -> Callable[[], bytes]:
    return info(**{"entry_points.txt": f"[console_scripts]\n{line}\n".encode()})


def _whole_inside() -> bytes:
    return build_wheel(module=Part("other.py", b""))


EXTRA = struct.pack("<2H", 0x5455, 5) + b"\x01\0\0\0\0"
SECOND_NAME = struct.pack("<2HBL", 0x7075, 5 + 7, 1, zlib.crc32(b"acme.py")) + b"evil.py"
LINK = stat.S_IFLNK | 0o777
DATA = "acme-1.0.data"

ZIPS = [
    Upload("bytes-before", zipped(before=b"#!/bin/sh\nexit\n"), "before 'acme.py'", pip=True),
    Upload("bytes-before-unshifted", zipped(before=b"#!/bin/sh\n", shifted=False), "belong to no entry before its end", pip=True),
    Upload("zip-before", lambda: _whole_inside() + build_wheel(), "belong to no entry before its end", pip=True),
    Upload("zip-before-shifted", lambda: build_wheel(zipped={"before": _whole_inside()}), "before 'acme.py'", pip=True),
    Upload("bytes-between", zipped(between=b"hidden"), "belong to no entry before its table of contents", pip=True),
    Upload("bytes-between-entries", module(before=b"hidden"), "belong to no entry before 'acme.py'", pip=True),
    Upload(
        "entry-not-listed", wheel(Part("hidden.py", b"1", listed=False), unrecorded=["hidden.py"]), "belong to no entry", pip=True
    ),
    Upload("bytes-after", zipped(after=b"trailing"), "has bytes after its end record", pip=True),
    Upload("zeros-after", zipped(after=bytes(8)), "has bytes after its end record", pip=True, uv=True, why=SAFETY),
    Upload(
        "comment-holds-zip",
        lambda: build_wheel(zipped={"comment": _whole_inside()}),
        "belong to no entry before its end record",
        pip=True,
    ),
    Upload("comment-binary", zipped(comment=b"\x01\x02"), "may hide a second zip file", pip=True),
    Upload("count-too-small", zipped(end={"count": 3}), "states 3 entries in its end record, but has 4", pip=True),
    Upload("offset-wrong", zipped(end={"offset": 1}), "belong to no entry before its end record"),
    Upload("zip64-count-differs", zipped(zip64="count"), "two end records that contradict each other", pip=True),
    Upload("zip64-locator-wrong", zipped(zip64="locator"), "zip64 locator that does not lead", pip=True),
    Upload("zip64-extensible", zipped(zip64="extensible"), "zip64"),
    Upload("shares-bytes", wheel(Part("b.py", MODULE[1], written=False)), "entries that share bytes, before 'b.py'"),
    Upload("method-bzip2", module(12, data=bz2.compress(MODULE[1])), "only stored and deflate are): 'acme.py'", pip=True),
    Upload(
        "method-lzma",
        module(
            14, data=struct.pack("<BBH", 9, 4, 5) + lzma.compress(MODULE[1], lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA1}])
        ),
        "only stored and deflate are",
    ),
    Upload(
        "method-zstd", module(93, data=b"\x28\xb5\x2f\xfd\x04\x00\x01\x00\x00\x00"), "only stored and deflate are): 'acme.py'"
    ),
    Upload("encrypted", both(flags=1), "that is encrypted: 'acme.py'"),
    Upload("patched", both(flags=0x20), "features of zip that not every installer knows: 'acme.py'"),
    Upload("newer-version", module(central={"version": 70}), "features of zip that not every installer knows"),
    Upload("crc-wrong", both(crc=1), "a wrong checksum: 'acme.py'"),
    Upload("crc-wrong-stored", module(0, local={"crc": 1}, central={"crc": 1}), "a wrong checksum: 'acme.py'"),
    Upload("size-wrong", both(size=3), "states another size than that of 'acme.py'"),
    Upload("size-wrong-stored", module(0, local={"size": 3}, central={"size": 3}), "in another size than its own: 'acme.py'"),
    Upload("deflate-damaged", module(data=b"\xff\xff\xff\xff"), "cannot be inflated: 'acme.py'"),
    Upload("deflate-cut", module(data=Part("", MODULE[1]).pack()[:-4]), "of another size than its headers say: 'acme.py'"),
    Upload("deflate-more", module(data=Part("", MODULE[1]).pack() + b"more"), "of another size than its headers say", pip=True),
    Upload("local-name", lies(name=b"evil.py"), "whose two headers differ in name, flags or method: 'acme.py'"),
    Upload("local-method", lies(method=0), "whose two headers differ in name, flags or method: 'acme.py'", pip=True),
    Upload("local-crc", lies(crc=7), "whose two headers differ in checksum or size: 'acme.py'", pip=True),
    Upload("local-size", lies(size=7), "whose two headers differ in checksum or size: 'acme.py'", pip=True),
    Upload("local-packed", lies(packed=7), "whose two headers differ in checksum or size: 'acme.py'", pip=True),
    Upload("local-flags", lies(flags=8), "whose two headers differ in name, flags or method: 'acme.py'", pip=True),
    Upload("descriptor-wrong", module(descriptor="wrong"), "whose data descriptor differs from its headers: 'acme.py'", pip=True),
    Upload("name-not-utf8", wheel(Part(b"caf\x82.py", b"")), "not UTF-8 and marked as that: 'caf", pip=True),
    Upload("name-second", both(extra=SECOND_NAME), "second name in an extra field: 'acme.py'", pip=True, uv=True, why=SAFETY),
    Upload("extra-twice", both(extra=EXTRA * 2), "damaged extra field: 'acme.py'", pip=True),
    Upload("extra-damaged", both(extra=b"\x55\x54\xff\x00\0"), "damaged extra field: 'acme.py'"),
    Upload(
        "bomb", lambda: build_wheel(Part("bomb.bin", bytes(160 * MIB))), "most of all 'bomb.bin'", pip=True, uv=True, why="a bomb"
    ),
    Upload("folder-with-content", wheel(Part("acme/", b"x", method=0)), "is a folder with content: 'acme/'", pip=True),
]
NAMES = [
    Upload("leaves-its-folder", wheel(second("../evil.py")), "leaves its folder: '../evil.py'", uv=True),
    Upload("leaves-deeper", wheel(second("a/../../evil.py")), "leaves its folder: 'a/../../evil.py'", uv=True),
    Upload("dots-inside", wheel(second("a/../evil.py")), "leaves its folder", pip=True, uv=True, why=SAFETY),
    Upload("absolute", wheel(second("/tmp/evil.py")), "leaves its folder: '/tmp/evil.py'", uv=True),
    Upload("drive", wheel(second("C:/evil.py")), "leaves its folder: 'C:/evil.py'", pip=True, uv=True, why=SAFETY),
    Upload("backslash", wheel(second("a\\..\\evil.py")), "leaves its folder", pip=True, uv=True, why=SAFETY),
    Upload("empty-part", wheel(second("a//b.py")), "has an empty part", pip=True, uv=True, why=SAFETY),
    Upload("dot-part", wheel(second("./b.py")), "has an empty part", pip=True, uv=True, why=SAFETY),
    Upload("control-character", wheel(second("b\x07.py")), "characters that cannot be printed", pip=True),
    Upload("right-to-left", wheel(second("b\u202egnp.py")), "characters that cannot be printed", pip=True),
    Upload("twice", wheel(second("b.py"), second("b.py")), "has two entries named 'b.py'", pip=True, uv=True, why=SAFETY),
    Upload("module-twice", wheel(second("acme.py"), unrecorded=["acme.py"]), "two entries named 'acme.py'", pip=True),
    Upload("case", wheel(second("ACME.py")), "differ only by case", pip=True, uv=True, why=SAFETY),
    Upload("letter-form", wheel(second("\u00e9.py"), second("e\u0301.py")), "form of a letter", pip=True, uv=True, why=SAFETY),
    Upload("file-and-folder", wheel(second("acme.py/x.py")), "is a file, and the folder of others: 'acme.py'"),
    Upload(
        "symlink", wheel(Part("b.py", b"acme.py", central={"mode": LINK})), "a link or a device", pip=True, uv=True, why=SAFETY
    ),
    Upload(
        "device",
        wheel(Part("b.py", b"", central={"mode": stat.S_IFCHR | 0o600})),
        "a link or a device",
        pip=True,
        uv=True,
        why=SAFETY,
    ),
]
RECORDS = [
    Upload(
        "record-hash",
        wheel(record_more=record_line("b.py", b"other"), unrecorded=["b.py"]),
        "a file which is not there: 'b.py'",
        pip=True,
        uv=True,
        why=TRUTH,
    ),
    Upload(
        "record-hash-wrong",
        wheel(second("b.py"), record_more=f"b.py,sha256={'A' * 43},11\n", unrecorded=["b.py"]),
        "another sha256 than that of 'b.py'",
        pip=True,
        uv=True,
        why=TRUTH,
    ),
    Upload(
        "record-size-wrong",
        wheel(second("b.py"), record_more=record_line("b.py", b"SECOND = 1\n").replace(",11", ",12"), unrecorded=["b.py"]),
        "another size than that of 'b.py'",
        pip=True,
        uv=True,
        why=TRUTH,
    ),
    Upload(
        "record-misses",
        wheel(second("b.py"), unrecorded=["b.py"]),
        "that its RECORD does not name: 'b.py'",
        pip=True,
        uv=True,
        why=TRUTH,
    ),
    Upload(
        "record-empty",
        wheel(record=""),
        "that its RECORD does not name: 'acme-1.0.dist-info/METADATA'",
        pip=True,
        uv=True,
        why=TRUTH,
    ),
    Upload(
        "record-md5",
        wheel(second("b.py"), record_more=record_line("b.py", b"SECOND = 1\n", "md5"), unrecorded=["b.py"]),
        "no sha256 or better for 'b.py'",
        pip=True,
        uv=True,
        why=TRUTH,
    ),
    Upload(
        "record-no-hash",
        wheel(second("b.py"), record_more="b.py,,\n", unrecorded=["b.py"]),
        "no sha256 or better for 'b.py'",
        pip=True,
        uv=True,
        why=TRUTH,
    ),
    Upload(
        "record-twice",
        wheel(second("b.py"), record_more=record_line("b.py", b"SECOND = 1\n")),
        "names a file twice: 'b.py'",
        pip=True,
        uv=True,
        why=TRUTH,
    ),
    Upload(
        "record-two-fields", wheel(second("b.py"), record_more="b.py,\n", unrecorded=["b.py"]), "has not three fields", pip=True
    ),
    Upload("record-blank-line", wheel(record_more="\n"), "has not three fields", uv=True),
    Upload("record-binary", wheel(record="\x00\x00"), "has not three fields", pip=True),
    Upload("no-record", info(RECORD=None), "has no RECORD"),
]
INFOS = [
    Upload("no-metadata", info(METADATA=None), "has no METADATA"),
    Upload("no-wheel", info(WHEEL=None), "has no WHEEL"),
    Upload("no-dist-info", lambda: archives.build_zip([Part(*MODULE)]), "has no .dist-info folder"),
    Upload("two-dist-infos", wheel(second("other-2.0.dist-info/x")), "more than one .dist-info folder"),
    Upload("info-of-another", wheel(info="other-1.0.dist-info"), "its METADATA lies in 'other-1.0.dist-info'", uv=True),
    Upload("info-of-a-longer-name", wheel(info="acme_tools-1.0.dist-info"), "its METADATA lies in", pip=True, uv=True, why=TRUTH),
    Upload("info-of-another-version", wheel(info="acme-2.0.dist-info"), "its METADATA lies in", pip=True, uv=True, why=TRUTH),
    Upload("metadata-of-another", info(METADATA=metadata("other", "1.0")), "its METADATA says 'other'"),
    Upload("metadata-of-another-version", info(METADATA=metadata("acme", "2.0")), "its METADATA says '2.0'"),
    Upload("metadata-without-name", info(METADATA=b"Metadata-Version: 2.1\nVersion: 1.0\n"), "its METADATA says ''"),
    Upload(
        "requirement-invalid",
        info(METADATA=metadata("acme", "1.0", requires=["b (>=dev)"])),
        "Requires-Dist that pip refuses: 'b (>=dev)'",
        uv=True,
    ),
    Upload("wheel-version-2", info(WHEEL=archives.WHEEL_FILE.replace(b": 1.0", b": 2.0")), "WHEEL of version '2.0'"),
    Upload("wheel-version-1", info(WHEEL=archives.WHEEL_FILE.replace(b": 1.0", b": 1")), "WHEEL of version '1'", pip=True),
    Upload("wheel-version-none", info(WHEEL=b"Tag: py3-none-any\n"), "WHEEL of version ''"),
    Upload("browser-copy", wheel(), "has tags in its name that no installer knows", filename="acme-1.0-py3-none-any (1).whl"),
    Upload(
        "other-platform",
        tags("py3-none-win_amd64"),
        "named for the platform any, which its WHEEL does not state",
        pip=True,
        uv=True,
        why=SAFETY,
    ),
    Upload(
        "other-build",
        tags("py3-none-any", more="Build: 2\n"),
        "named for build none, but its WHEEL says '2'",
        pip=True,
        uv=True,
        why=TRUTH,
    ),
    Upload("data-scheme", wheel(second(f"{DATA}/nowhere/x")), "in none of the folders data, headers"),
    Upload("data-bare", wheel(second(f"{DATA}/x")), "in none of the folders data, headers"),
    Upload("data-of-another", wheel(second("other-1.0.data/data/x")), "where uv looks", pip=True, uv=True, why=SAFETY),
    Upload("script-python", wheel(second(f"{DATA}/scripts/python3")), "named like an interpreter", pip=True),
    Upload("entry-point-python", _scripts("python = acme:main"), "named like an interpreter", pip=True),
    Upload("entry-point-leaves", _scripts("../evil = acme:main"), "whose name leaves its folder: '../evil'"),
    Upload("entry-point-no-function", _scripts("tool = acme"), "that names no function"),
]
SDISTS = [
    Upload(
        "other-project",
        sdist(members=archives.sdist_members(pkg_info=metadata("requests", "1.0"))),
        "its PKG-INFO says 'requests'",
        pip=True,
        uv=True,
        why=TRUTH,
    ),
    Upload(
        "other-version",
        sdist(members=archives.sdist_members(pkg_info=metadata("acme", "9.9"))),
        "its PKG-INFO says '9.9'",
        pip=True,
        uv=True,
        why=TRUTH,
    ),
    Upload(
        "no-pkg-info",
        sdist(members=archives.sdist_members(pkg_info=None)),
        "has no PKG-INFO in its top folder 'acme-1.0'",
        pip=True,
        uv=True,
        why=TRUTH,
    ),
    Upload(
        "nothing-to-build",
        sdist(members=tar_file(f"{TOP}/PKG-INFO", archives.METADATA)),
        "neither a pyproject.toml nor a setup.py",
    ),
    Upload(
        "top-of-another",
        sdist(members=archives.sdist_members("requests-2.0")),
        "holds the folder 'requests-2.0'",
        pip=True,
        uv=True,
        why=TRUTH,
    ),
    Upload("top-behind-pax", sdist(first=pax(path="requests-2.0/x") + tar_file(f"{TOP}/x")), "holds the folder 'requests-2.0'"),
    Upload(
        "top-behind-long-name",
        gnu(first=archives.gnu_name("requests-2.0/x") + tar_file(f"{TOP}/x", magic=GNU)),
        "holds the folder 'requests-2.0'",
    ),
    Upload("two-tops", sdist(tar_file("other/x")), "outside of its top folder 'acme-1.0': 'other/x'"),
    Upload("file-on-top", sdist(tar_file("x")), "outside of its top folder 'acme-1.0': 'x'"),
    Upload("dot-top", sdist(members=archives.sdist_members(f"./{TOP}")), "has an empty part", uv=True),
    Upload("tar-leaves", sdist(tar_file(f"{TOP}/../../evil")), "leaves its folder"),
    Upload("tar-absolute", sdist(tar_file("/tmp/evil")), "leaves its folder"),
    Upload("tar-control", sdist(tar_file(f"{TOP}/a\x07b")), "characters that cannot be printed", pip=True),
    Upload(
        "tar-twice",
        sdist(tar_file(f"{TOP}/a", b"1"), tar_file(f"{TOP}/a", b"2")),
        "two entries named",
        pip=True,
        uv=True,
        why=SAFETY,
    ),
    Upload("tar-file-and-folder", sdist(tar_file(f"{TOP}/a"), tar_file(f"{TOP}/a/b")), "the folder of others"),
    Upload("symlink-out", sdist(tar_header(f"{TOP}/a".encode(), kind=b"2", target=b"../../etc")), "leads out of its top folder"),
    Upload(
        "symlink-absolute",
        sdist(tar_header(f"{TOP}/a".encode(), kind=b"2", target=b"/etc/passwd")),
        "leads out of its top folder",
    ),
    Upload(
        "symlink-through-top",
        sdist(tar_header(f"{TOP}/a".encode(), kind=b"2", target=b"../acme-1.0/backend.py")),
        "leads out of its top folder",
        uv=True,
    ),
    Upload(
        "hardlink-out",
        sdist(tar_header(f"{TOP}/a".encode(), kind=b"1", target=b"/etc/passwd")),
        "a hard link to no file before it",
    ),
    Upload(
        "hardlink-to-nothing",
        sdist(tar_header(f"{TOP}/a".encode(), kind=b"1", target=f"{TOP}/b".encode())),
        "a hard link to no file before it",
    ),
    Upload(
        "behind-a-link",
        sdist(tar_header(f"{TOP}/a".encode(), kind=b"2", target=b"b"), tar_file(f"{TOP}/b/y"), tar_file(f"{TOP}/a/x")),
        "lies behind a link",
        pip=True,
    ),
    Upload("mixed-formats", sdist(tar_file(f"{TOP}/a", magic=GNU)), "mixes two formats", pip=True),
    Upload(
        "gnu-name-in-posix",
        sdist(tar_header(b"x", 11, b"L") + archives.pad(b"acme-1.0/l\0") + tar_file(f"{TOP}/s")),
        "no installer unpacks",
        pip=True,
    ),
    Upload("colon", sdist(tar_file(f"{TOP}/a:b")), "has a colon", pip=True),
    Upload("blank-end", sdist(tar_file(f"{TOP}/a ")), "a blank at an end", pip=True),
    Upload("no-end", sdist(end=b""), "is cut short", pip=True),
    Upload("one-end-block", sdist(end=bytes(512)), "is cut short", pip=True),
    Upload("device-member", sdist(tar_header(f"{TOP}/a".encode(), kind=b"3")), "a device"),
    Upload("fifo-member", sdist(tar_header(f"{TOP}/a".encode(), kind=b"6")), "a device"),
    Upload("unknown-member", sdist(tar_header(f"{TOP}/a".encode(), kind=b"Q")), "of another kind"),
    Upload(
        "sparse",
        sdist(pax(GNU__sparse__major="1") + tar_file(f"{TOP}/a")),
        "extended header in its tar archive that not every",
        pip=True,
    ),
    Upload(
        "folder-with-size",
        sdist(tar_header(f"{TOP}/a/".encode(), 512, b"5") + tar_file(f"{TOP}/b").ljust(512)),
        "no file, with content",
        pip=True,
    ),
    Upload(
        "pax-size",
        sdist(pax(size="512") + tar_header(f"{TOP}/a".encode(), 0) + tar_header(f"{TOP}/b".encode())),
        "of two sizes",
        pip=True,
        uv=True,
        why=SAFETY,
    ),
    Upload(
        "pax-damaged",
        sdist(tar_header(b"pax", 9, b"x") + archives.pad(b"99 path=a") + tar_file(f"{TOP}/a")),
        "damaged extended header",
    ),
    Upload("pax-global-path", sdist(first=pax(b"g", path=f"{TOP}/x")), "names many members at once"),
    Upload(
        "two-names",
        gnu(archives.gnu_name(f"{TOP}/l") + archives.gnu_name(f"{TOP}/p") + tar_file(f"{TOP}/s", magic=GNU)),
        "of two names",
        pip=True,
    ),
    Upload("checksum-wrong", sdist(tar_header(f"{TOP}/a".encode(), checksum=1)), "damaged header", pip=True),
    Upload(
        "bytes-after-tar",
        sdist(end=bytes(1024) + tar_file(f"{TOP}/hidden", b"x") + bytes(1024)),
        "bytes after the end of its tar",
        pip=True,
        uv=True,
        why=SAFETY,
    ),
    Upload(
        "hidden-behind-one-block",
        sdist(end=bytes(512) + tar_file(f"{TOP}/hidden", b"x") + bytes(1024)),
        "bytes after the end of its tar",
        pip=True,
    ),
    Upload("tar-cut", sdist(end=tar_header(f"{TOP}/a".encode(), 4096)), "is cut short"),
    Upload(
        "gzip-behind", lambda: build_sdist() + gzip.compress(b"more", mtime=0), "trailing data", pip=True, uv=True, why=SAFETY
    ),
    Upload(
        "gzip-crc",
        lambda: build_sdist()[:-8] + b"\0" * 4 + build_sdist()[-4:],
        "is not a whole gzip file",
        pip=True,
        uv=True,
        why=TRUTH,
    ),
    Upload("gzip-size", lambda: build_sdist()[:-4] + b"\0" * 4, "is not a whole gzip file", pip=True, uv=True, why=TRUTH),
    Upload("tar-bomb", sdist(tar_file(f"{TOP}/bomb", bytes(160 * MIB))), "inflates to far more", pip=True, uv=True, why="a bomb"),
]
ZIP_SDISTS = [
    Upload("zip-no-pkg-info", zip_sdist(files={"PKG-INFO": None}), "has no PKG-INFO", pip=True, uv=True, why=TRUTH),
    Upload(
        "zip-other-project",
        zip_sdist(files={"PKG-INFO": metadata("other", "1.0")}),
        "its PKG-INFO says 'other'",
        pip=True,
        uv=True,
        why=TRUTH,
    ),
    Upload("zip-bytes-before", zip_sdist(before=b"#!/bin/sh\n"), "belong to no entry before", pip=True),
    Upload("zip-crc", zip_sdist(Part(f"{TOP}/x", b"x", local={"crc": 1}, central={"crc": 1})), "a wrong checksum: 'acme-1.0/x'"),
    Upload("zip-leaves", zip_sdist(Part("../evil", b"x")), "leaves its folder", uv=True),
    Upload("zip-two-tops", zip_sdist(Part("other/x", b"x")), "outside of its top folder"),
    Upload(
        "zip-symlink",
        zip_sdist(Part(f"{TOP}/x", b"backend.py", central={"mode": LINK})),
        "a link or a device",
        pip=True,
        uv=True,
        why=SAFETY,
    ),
]
SOUND = [
    Upload("plain", wheel(), pip=True, uv=True),
    Upload("stored", module(0), pip=True, uv=True),
    Upload("descriptor", module(descriptor="plain"), pip=True, uv=True),
    Upload("descriptor-signed", module(descriptor="signed"), pip=True, uv=True),
    Upload("descriptor-zip64", module(descriptor="zip64"), pip=True, uv=True),
    Upload("descriptor-stored", module(0, descriptor="signed"), pip=True, uv=True),
    Upload("zip64", zipped(zip64="right"), pip=True, uv=True),
    Upload("comment", zipped(comment=b"zip-rs"), pip=True, uv=True),
    Upload("extra-field", both(extra=EXTRA), pip=True, uv=True),
    Upload("extra-field-in-one", lies(extra=EXTRA), pip=True, uv=True),
    Upload("large-and-flat", lambda: build_wheel(Part("zeros.bin", bytes(40 * MIB))), pip=True, uv=True),
    Upload("empty-file", wheel(Part("b.py", b"")), pip=True, uv=True),
    Upload("empty-file-stored", wheel(Part("b.py", b"", method=0)), pip=True, uv=True),
    Upload("folder-entry", wheel(Part("acme/", method=0), second("acme/b.py")), pip=True, uv=True),
    Upload("folder-entry-deflated", wheel(Part("acme/"), second("acme/b.py")), pip=True, uv=True),
    Upload("unicode", wheel(second("é😀.py")), pip=True, uv=True),
    Upload("record-signatures", info(**{"RECORD.jws": b"{}", "RECORD.p7s": b"x"}), pip=True, uv=True),
    Upload("record-unsigned", wheel(Part(f"{INFO}/RECORD.jws", b"{}"), unrecorded=[f"{INFO}/RECORD.jws"]), pip=True, uv=True),
    Upload(
        "record-sha512",
        wheel(second("b.py"), record_more=record_line("b.py", b"SECOND = 1\n", "sha512"), unrecorded=["b.py"]),
        pip=True,
        uv=True,
    ),
    Upload("record-windows", wheel(record_row=f"{INFO}\\RECORD"), pip=True, uv=True),
    Upload("data", wheel(second(f"{DATA}/scripts/tool"), second(f"{DATA}/data/share/x")), pip=True, uv=True),
    Upload("entry-point", _scripts("tool = acme:main [extra]"), pip=True, uv=True),
    Upload("no-tags", tags(), pip=True, uv=True),
    Upload("narrower-name", tags("py2-none-any", "py3-none-any", "py3-none-win_amd64"), pip=True, uv=True),
    Upload("wheel-version-newer", info(WHEEL=archives.WHEEL_FILE.replace(b": 1.0", b": 1.9")), pip=True, uv=True),
    Upload("sdist", sdist(), pip=True, uv=True),
    Upload("sdist-gnu", gnu(archives.gnu_name(f"{TOP}/{'n' * 150}") + tar_file(f"{TOP}/n", magic=GNU)), pip=True, uv=True),
    Upload("sdist-pax-global", sdist(first=pax(b"g", comment="0123abc")), pip=True, uv=True),
    Upload("sdist-long-name", sdist(pax(path=f"{TOP}/{'n' * 150}") + tar_file(f"{TOP}/n")), pip=True, uv=True),
    Upload("sdist-symlink", sdist(tar_header(f"{TOP}/a".encode(), kind=b"2", target=b"backend.py")), pip=True, uv=True),
    Upload(
        "sdist-hardlink",
        sdist(tar_header(f"{TOP}/a".encode(), kind=b"1", target=f"{TOP}/backend.py".encode())),
        pip=True,
        uv=True,
    ),
    Upload("sdist-padded", sdist(end=bytes(10240)), pip=True, uv=True),
    Upload("sdist-folders-twice", sdist(tar_header(f"{TOP}/a/".encode(), kind=b"5") * 2), pip=True, uv=True),
    Upload("sdist-dangling-link", sdist(tar_header(f"{TOP}/a".encode(), kind=b"2", target=b"b")), pip=True, uv=True),
    Upload("zip-sdist", zip_sdist(), pip=True, uv=True, filename=ZIP_SDIST),
]


def _named(uploads: list[Upload], filename: str) -> list[Upload]:
    return [replace(upload, filename=filename) for upload in uploads]


SOUND = [upload if not upload.id.startswith("sdist") else _named([upload], SDIST)[0] for upload in SOUND]
UPLOADS = [*ZIPS, *NAMES, *RECORDS, *INFOS, *_named(SDISTS, SDIST), *_named(ZIP_SDISTS, ZIP_SDIST), *SOUND]
