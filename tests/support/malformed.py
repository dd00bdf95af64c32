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
    METADATA,
    MODULE,
    PYPROJECT,
    SDIST,
    TOP,
    WHEEL,
    WHEEL_FILE,
    Part,
    build_backend,
    build_sdist,
    build_wheel,
    gnu_name,
    pax,
    record_line,
    sdist_members,
    tar_file,
    tar_header,
    tar_link,
    wheel_parts,
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
    Upload("newer-version-local", lies(version=70), "features of zip that not every installer knows", pip=True),
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
    Upload("info-of-another", wheel(info="other-1.0.dist-info"), "its METADATA lies in 'other-1.0.dist-info'"),
    Upload("info-of-a-longer-name", wheel(info="acme_tools-1.0.dist-info"), "its METADATA lies in", pip=True, uv=True, why=TRUTH),
    Upload("info-of-another-version", wheel(info="acme-2.0.dist-info"), "its METADATA lies in", pip=True, uv=True, why=TRUTH),
    Upload("metadata-of-another", info(METADATA=metadata("other", "1.0")), "its METADATA says 'other'"),
    Upload("metadata-of-another-version", info(METADATA=metadata("acme", "2.0")), "its METADATA says '2.0'"),
    Upload("metadata-without-name", info(METADATA=b"Metadata-Version: 2.1\nVersion: 1.0\n"), "its METADATA says ''"),
    Upload(
        "requirement-invalid",
        info(METADATA=metadata("acme", "1.0", requires=["b (>=dev)"])),
        "Requires-Dist that pip refuses: 'b (>=dev)'",
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
    Upload("version-of-a-system", both(version=0x0314), pip=True, uv=True),
    Upload("version-none", both(version=0), pip=True, uv=True),
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


def _fields(*lines: bytes) -> bytes:
    """METADATA with more fields."""
    return b"\n".join([b"Metadata-Version: 2.1", b"Name: acme", b"Version: 1.0", *lines]) + b"\n\nA description.\n"


def _record(build: Callable[[str], str]) -> Callable[[], bytes]:
    """A wheel whose RECORD is made of the right one without its own row."""

    def make() -> bytes:
        rows = (record_line(part.name, part.content) for part in wheel_parts()[:-1] if isinstance(part.name, str))
        return build_wheel(record=build("".join(rows)))

    return make


def _without(*members: bytes) -> Callable[[], bytes]:
    """An sdist of these members alone."""
    return lambda: build_sdist(members=b"".join(members))


def _informed(*members: bytes) -> Callable[[], bytes]:
    """An sdist with these members in place of its PKG-INFO."""
    return lambda: build_sdist(*members, members=sdist_members(pkg_info=None))


def _built_by(pyproject: bytes) -> Callable[[], bytes]:
    """An sdist with this pyproject.toml."""
    return _without(PKG_INFO, tar_file(f"{TOP}/backend.py", build_backend()), tar_file(f"{TOP}/pyproject.toml", pyproject))


def _zip_bomb() -> bytes:
    return zip_sdist(Part(f"{TOP}/b", bytes(160 * MIB)))()


PACKED, SIZE, FULL = len(Part("", MODULE[1]).pack()), len(MODULE[1]), 2**32 - 1
ZIP64 = struct.pack("<2H2Q", 1, 16, SIZE, PACKED)
PKG_INFO = tar_file(f"{TOP}/PKG-INFO", METADATA)
FOLDER = tar_file(f"{TOP}/d/x", b"x")
EGG = b"Metadata-Version: 2.1\nName: other\nVersion: 2.0\n"
WHEELS = [
    Upload("nul-in-name", wheel(second("b\0.py")), "entry whose name has characters that cannot be printed: 'b", pip=True),
    Upload(
        "name-utf8-unmarked",
        wheel(Part("é.py".encode(), b"1")),
        "entry whose name is not UTF-8 and marked as that: '\\\\xc3\\\\",
        pip=True,
    ),
    Upload(
        "utf8-flag-in-one",
        module(central={"flags": 0x800}),
        "entry whose two headers differ in name, flags or method: '",
        pip=True,
        uv=True,
        why=SAFETY,
    ),
    Upload("utf8-flag-on-ascii", both(flags=0x800), pip=True, uv=True),
    Upload("zip64-entry", both(packed=FULL, size=FULL, extra=ZIP64), pip=True, uv=True),
    Upload(
        "zip64-entry-differs",
        lies(packed=FULL, size=FULL, extra=struct.pack("<2H2Q", 1, 16, SIZE + 1, PACKED)),
        "entry whose two headers differ in checksum or size: 'acme.",
        pip=True,
    ),
    Upload("zip64-entry-local", lies(packed=FULL, size=FULL, extra=ZIP64), pip=True, uv=True),
    Upload("zip64-entry-redundant", both(extra=ZIP64), "entry whose zip64 sizes are not where they belong: 'acme.p", pip=True),
    Upload(
        "zip64-entry-lacks", both(packed=FULL, size=FULL), "entry whose zip64 sizes are not where they belong: 'acme.p", pip=True
    ),
    Upload(
        "method-deflate64",
        module(9, data=Part("", MODULE[1]).pack()),
        "entry compressed in a way that not every installer reads (",
    ),
    Upload("strong-encryption", both(flags=0x2000), "entry that is encrypted: 'acme.py'", pip=True, uv=True, why=SAFETY),
    Upload("split", zipped(end={"disk": 1}), "is one part of a zip file that was split", pip=True, uv=True, why=SAFETY),
    Upload("zip-within", wheel(Part("inner.zip", build_wheel(), method=0)), pip=True, uv=True),
    Upload(
        "bomb-within", lambda: build_wheel(Part("inner.zip", build_wheel(Part("bomb.bin", bytes(160 * MIB))))), pip=True, uv=True
    ),
    Upload("many-members", wheel(*(second(f"many/m{n}.py") for n in range(3000))), pip=True, uv=True),
    Upload("double-slash", wheel(second("//server/x.py")), "entry that leaves its folder: '//server/x.py'", uv=True),
    Upload("trailing-blank", wheel(second("b.py ")), pip=True, uv=True),
    Upload("windows-device", wheel(second("con.py")), pip=True, uv=True),
    Upload("colon-inside", wheel(second("ab:c.py")), pip=True, uv=True),
    Upload(
        "record-leaves",
        wheel(record_more=record_line("../x.py", b"x")),
        "RECORD that names a file which is not there: '../x.py'",
        pip=True,
        uv=True,
        why=SAFETY,
    ),
    Upload(
        "record-absolute",
        wheel(record_more=record_line("/etc/x.py", b"x")),
        "RECORD that names a file which is not there: '/etc/x.py'",
        pip=True,
        uv=True,
        why=SAFETY,
    ),
    Upload(
        "record-leading-slash",
        wheel(second("b.py"), record_more=record_line("/b.py", b"SECOND = 1\n"), unrecorded=["b.py"]),
        pip=True,
        uv=True,
    ),
    Upload(
        "record-case",
        wheel(second("b.py"), record_more=record_line("B.py", b"SECOND = 1\n"), unrecorded=["b.py"]),
        "RECORD that names a file which is not there: 'B.py'",
        pip=True,
        uv=True,
        why=SAFETY,
    ),
    Upload(
        "record-sha1",
        wheel(second("b.py"), record_more=record_line("b.py", b"SECOND = 1\n", "sha1"), unrecorded=["b.py"]),
        "RECORD that states no sha256 or better for 'b.py'",
        pip=True,
        uv=True,
        why=TRUTH,
    ),
    Upload(
        "record-sha3",
        wheel(second("b.py"), record_more=record_line("b.py", b"SECOND = 1\n", "sha3_256"), unrecorded=["b.py"]),
        "RECORD that states no sha256 or better for 'b.py'",
        pip=True,
        uv=True,
        why=TRUTH,
    ),
    Upload("record-crlf", _record(lambda t: (t + f"{INFO}/RECORD,,\n").replace("\n", "\r\n")), pip=True, uv=True),
    Upload("record-without-itself", _record(lambda t: t), pip=True, uv=True),
    Upload("record-own-hash", _record(lambda t: t + f"{INFO}/RECORD,sha256={'A' * 43},7\n"), pip=True, uv=True),
    Upload(
        "record-bom",
        _record(lambda t: "\ufeff" + t + f"{INFO}/RECORD,,\n"),
        "RECORD that names a file which is not there: ",
        pip=True,
        uv=True,
        why=SAFETY,
    ),
    Upload("info-other-case", wheel(info="Acme-1.0.dist-info"), pip=True, uv=True),
    Upload("info-other-spelling", wheel(info="acme-1.0.0.dist-info"), pip=True, uv=True),
    Upload("metadata-version-unknown", info(METADATA=METADATA.replace(b"2.1", b"9.9")), pip=True, uv=True),
    Upload("metadata-version-none", info(METADATA=METADATA.replace(b"Metadata-Version: 2.1\n", b"")), pip=True, uv=True),
    Upload(
        "metadata-two-names",
        info(METADATA=METADATA.replace(b"Name: acme", b"Name: acme\nName: other")),
        "METADATA that states Name more than once",
        pip=True,
        uv=True,
        why=TRUTH,
    ),
    Upload(
        "metadata-two-versions",
        info(METADATA=METADATA.replace(b"Version: 1.0", b"Version: 1.0\nVersion: 2.0")),
        "METADATA that states Version more than once",
        pip=True,
        uv=True,
        why=TRUTH,
    ),
    Upload(
        "metadata-latin1", info(METADATA=_fields(b"Summary: caf\xe9")), "METADATA that is not UTF-8, at which pip stops", uv=True
    ),
    Upload("metadata-bom", info(METADATA=b"\xef\xbb\xbf" + METADATA), "is named for acme, but its METADATA says ''"),
    Upload("metadata-crlf", info(METADATA=METADATA.replace(b"\n", b"\r\n")), pip=True, uv=True),
    Upload("metadata-nul", info(METADATA=_fields(b"Summary: a\0b")), pip=True, uv=True),
    Upload("extra-invalid", info(METADATA=_fields(b"Provides-Extra: a b!")), pip=True, uv=True),
    Upload("no-purelib", info(WHEEL=WHEEL_FILE.replace(b"Root-Is-Purelib: true\n", b"")), pip=True, uv=True),
    Upload("purelib-odd", info(WHEEL=WHEEL_FILE.replace(b": true", b": maybe")), pip=True, uv=True),
    Upload("wheel-latin1", info(WHEEL=WHEEL_FILE.replace(b"test", b"caf\xe9")), "WHEEL that is not UTF-8, at which pip stops"),
    Upload(
        "wheel-two-versions",
        info(WHEEL=b"Wheel-Version: 1.0\n" + WHEEL_FILE.replace(b": 1.0", b": 2.0")),
        "WHEEL that states Wheel-Version more than once",
        pip=True,
        uv=True,
        why=TRUTH,
    ),
    Upload(
        "entry-points-latin1",
        info(**{"entry_points.txt": b"[console_scripts]\ntool = acme:main\n# caf\xe9\n"}),
        "entry_points.txt that cannot be read",
    ),
    Upload(
        "entry-points-twice",
        _scripts("tool = acme:main\ntool = acme:other"),
        "entry_points.txt that states 'tool' twice, which uv refuse",
        pip=True,
    ),
    Upload("entry-point-blank", _scripts(" = acme:main"), "entry_points.txt that cannot be read", pip=True),
    Upload("entry-point-space", _scripts("my tool = acme:main"), pip=True, uv=True),
    Upload("entry-point-semicolon", _scripts("to;ol = acme:main"), pip=True, uv=True),
    Upload(
        "entry-point-absolute", _scripts("/tmp/evil = acme:main"), "script in entry_points.txt whose name leaves its folder: '"
    ),
    Upload(
        "entry-point-code",
        _scripts("tool = acme:main;import os"),
        "script 'tool' in entry_points.txt that names no function (",
        pip=True,
    ),
    Upload(
        "entry-point-code-2",
        _scripts("tool = acme:main\\nimport os"),
        "script 'tool' in entry_points.txt that names no function (",
        pip=True,
    ),
    Upload("entry-point-extra-bad", _scripts("tool = acme:main ["), "script 'tool' in entry_points.txt that names no function ("),
    Upload("entry-point-nul", _scripts("to\0ol = acme:main"), "script in entry_points.txt whose name cannot be printed: '"),
    Upload(
        "entry-point-drive",
        _scripts("C:evil = acme:main"),
        "script in entry_points.txt whose name leaves its folder: '",
        pip=True,
        uv=True,
        why=SAFETY,
    ),
    Upload(
        "data-shadows",
        wheel(second(f"{DATA}/purelib/acme.py")),
        "two entries for one place: 'acme.py' and 'acme-1.0.data/pu",
        pip=True,
        uv=True,
        why=TRUTH,
    ),
    Upload(
        "data-twice",
        wheel(second(f"{DATA}/purelib/b.py"), second(f"{DATA}/platlib/b.py")),
        "two entries for one place: 'b.py' and 'acme-1.0.data/platl",
        pip=True,
        uv=True,
        why=TRUTH,
    ),
    Upload(
        "data-shadows-metadata",
        wheel(Part(f"{DATA}/purelib/{INFO}/METADATA", METADATA)),
        "two entries for one place: 'acme-1.0.dist-info/METADATA' a",
        pip=True,
        uv=True,
        why=TRUTH,
    ),
    Upload(
        "data-other-dist-info",
        wheel(Part(f"{DATA}/purelib/other-2.0.dist-info/METADATA", metadata("other", "2.0"))),
        "more than one .dist-info folder: 'acme-1.0.data/purelib/ot",
        pip=True,
        uv=True,
        why=TRUTH,
    ),
    Upload("data-scheme-case", wheel(second(f"{DATA}/Scripts/x")), ".data entry in none of the folders data, headers, platlib,"),
    Upload(
        "data-script-nested",
        wheel(second(f"{DATA}/scripts/a/b")),
        "script in a folder, which uv refuses: 'acme-1.0.data/scrip",
        pip=True,
    ),
    Upload(
        "data-other-case",
        wheel(second("ACME-1.0.data/data/x")),
        ".data entry that is not in 'acme-1.0.data', where uv looks",
        pip=True,
        uv=True,
        why=SAFETY,
    ),
    Upload(
        "data-other-spelling",
        wheel(second("acme-1.0.0.data/data/x")),
        ".data entry that is not in 'acme-1.0.data', where uv looks",
        pip=True,
        uv=True,
        why=SAFETY,
    ),
    Upload("data-dist-info", wheel(second(f"{DATA}/data/lib/x.dist-info/RECORD")), pip=True, uv=True),
    Upload(
        "info-direct-url", info(**{"direct_url.json": b'{"url":"file:///x","dir_info":{"editable":true}}'}), pip=True, uv=True
    ),
    Upload("info-installer", info(INSTALLER=b"conda\n"), pip=True, uv=True),
    Upload("info-requested", info(REQUESTED=b""), pip=True, uv=True),
    Upload("info-nested", wheel(second("x/other-1.0.dist-info/METADATA")), pip=True, uv=True),
    Upload(
        "info-is-a-file",
        wheel(second("other-1.0.dist-info")),
        "more than one .dist-info folder: 'acme-1.0.dist-info', 'ot",
        uv=True,
    ),
    Upload(
        "info-of-egg",
        wheel(second("other-1.0.egg-info/PKG-INFO")),
        "'other-1.0.egg-info/PKG-INFO' without a version, at which ",
        uv=True,
    ),
    Upload("upper-case-name", wheel(info="Acme-1.0.dist-info"), pip=True, uv=True, filename="Acme-1.0-py3-none-any.whl"),
    Upload("with-build", wheel(), pip=True, uv=True, filename="acme-1.0-1-py3-none-any.whl"),
    Upload("version-spelling", wheel(), pip=True, uv=True, filename="acme-1-py3-none-any.whl"),
    Upload(
        "entry-points-twice-elsewhere",
        info(**{"entry_points.txt": b"[console_scripts]\ntool = acme:main\n[plug]\na = x\na = y\n"}),
        "entry_points.txt that states 'a' twice, which uv refuses",
        pip=True,
    ),
    Upload(
        "entry-points-section-twice",
        info(**{"entry_points.txt": b"[console_scripts]\ntool = acme:main\n[console_scripts]\nother = acme:main\n"}),
        "entry_points.txt that states 'console_scripts' twice, whic",
        pip=True,
    ),
    Upload(
        "entry-points-both-kinds",
        info(**{"entry_points.txt": b"[console_scripts]\ntool = acme:main\n[gui_scripts]\ntool = acme:main\n"}),
        pip=True,
        uv=True,
    ),
    Upload("egg-info-proper", wheel(Part("other-2.0.egg-info/PKG-INFO", EGG)), pip=True, uv=True),
    Upload("egg-info-own", wheel(Part("acme.egg-info/PKG-INFO", EGG.replace(b"other", b"acme"))), pip=True, uv=True),
    Upload("egg-info-file", wheel(Part("other.egg-info", EGG)), pip=True, uv=True),
    Upload(
        "data-script-folder-entry",
        wheel(Part(f"{DATA}/scripts/", b"", method=0), second(f"{DATA}/scripts/tool")),
        pip=True,
        uv=True,
    ),
    Upload(
        "metadata-description-latin1",
        info(METADATA=METADATA + b"caf\xe9\n"),
        "METADATA that is not UTF-8, at which pip stops",
        uv=True,
    ),
    Upload("wheel-bom", info(WHEEL=b"\xef\xbb\xbf" + WHEEL_FILE), "WHEEL of version '', which not every installer reads (1.0 "),
    Upload(
        "rp-nonsense",
        info(METADATA=_fields(b"Requires-Python: nonsense")),
        "METADATA whose Requires-Python uv does not understand: 'no",
        pip=True,
    ),
    Upload("rp-star", info(METADATA=_fields(b"Requires-Python: >=3.6.*")), pip=True, uv=True),
    Upload("rp-comma", info(METADATA=_fields(b"Requires-Python: >=3.6,")), pip=True, uv=True),
    Upload("rp-space", info(METADATA=_fields(b"Requires-Python: >= 3.6")), pip=True, uv=True),
    Upload("rp-quoted", info(METADATA=_fields(b'Requires-Python: ">=3.6"')), pip=True, uv=True),
    Upload(
        "rp-twice",
        info(METADATA=_fields(b"Requires-Python: >=3.6", b"Requires-Python: >=3.7")),
        "METADATA that states Requires-Python more than once",
        pip=True,
        uv=True,
        why=TRUTH,
    ),
    Upload(
        "rp-caret",
        info(METADATA=_fields(b"Requires-Python: ^3.6")),
        "METADATA whose Requires-Python uv does not understand: '^3",
        pip=True,
    ),
    Upload(
        "rp-bare",
        info(METADATA=_fields(b"Requires-Python: 3.11")),
        "METADATA whose Requires-Python uv does not understand: '3.",
        pip=True,
    ),
]
MORE_SDISTS = [
    Upload(
        "tar-backslash", sdist(tar_file(f"{TOP}/a\\..\\b")), "entry that leaves its folder: 'acme-1.0/a\\\\..\\\\b'", pip=True
    ),
    Upload(
        "tar-nul",
        sdist(pax(path=f"{TOP}/a\0b") + tar_file(f"{TOP}/x")),
        "entry whose name has characters that cannot be printed: 'a",
    ),
    Upload(
        "symlink-out-behind-pax",
        sdist(pax(linkpath="../../etc") + tar_link(f"{TOP}/a", "b")),
        "link that leads out of its top folder, or up again on its ",
    ),
    Upload(
        "symlink-out-behind-long-name",
        gnu(gnu_name("../../etc", b"K") + tar_link(f"{TOP}/a", "b", magic=GNU)),
        "link that leads out of its top folder, or up again on its ",
    ),
    Upload(
        "symlink-chain",
        sdist(tar_link(f"{TOP}/l2", "."), tar_link(f"{TOP}/l1", "l2/l2/../..")),
        "link that leads out of its top folder, or up again on its ",
    ),
    Upload(
        "symlink-chain-before",
        sdist(tar_link(f"{TOP}/l1", "l2/l2/../.."), tar_link(f"{TOP}/l2", ".")),
        "link that leads out of its top folder, or up again on its ",
        pip=True,
    ),
    Upload("symlink-to-link", sdist(tar_link(f"{TOP}/l2", "backend.py"), tar_link(f"{TOP}/l1", "l2")), pip=True, uv=True),
    Upload(
        "symlink-through-link",
        sdist(tar_header(f"{TOP}/d/".encode(), kind=b"5"), FOLDER, tar_link(f"{TOP}/l2", "d"), tar_link(f"{TOP}/l1", "l2/x")),
        pip=True,
        uv=True,
    ),
    Upload("symlink-folder", sdist(FOLDER, tar_link(f"{TOP}/l", "d")), pip=True, uv=True),
    Upload(
        "symlink-loop",
        sdist(tar_link(f"{TOP}/l1", "l2"), tar_link(f"{TOP}/l2", "l1")),
        "link that leads round in a circle, or along more than 40 l",
        pip=True,
    ),
    Upload(
        "symlink-itself",
        sdist(tar_link(f"{TOP}/l1", "l1")),
        "link that leads round in a circle, or along more than 40 l",
        pip=True,
    ),
    Upload(
        "pkg-info-link",
        _informed(tar_file(f"{TOP}/other", METADATA) + tar_link(f"{TOP}/PKG-INFO", "other")),
        "no PKG-INFO in its top folder 'acme-1.0'",
        pip=True,
        uv=True,
        why=TRUTH,
    ),
    Upload(
        "pkg-info-hardlink",
        _informed(tar_file(f"{TOP}/other", METADATA) + tar_link(f"{TOP}/PKG-INFO", f"{TOP}/other", b"1")),
        "no PKG-INFO in its top folder 'acme-1.0'",
        pip=True,
        uv=True,
        why=TRUTH,
    ),
    Upload("pkg-info-latin1", _informed(tar_file(f"{TOP}/PKG-INFO", _fields(b"Summary: caf\xe9"))), pip=True, uv=True),
    Upload(
        "pkg-info-two-names",
        _informed(tar_file(f"{TOP}/PKG-INFO", METADATA.replace(b"Name: acme", b"Name: acme\nName: other"))),
        "PKG-INFO that states Name more than once",
        pip=True,
        uv=True,
        why=TRUTH,
    ),
    Upload(
        "setup-py-is-a-folder",
        _without(PKG_INFO, tar_header(f"{TOP}/setup.py/".encode(), kind=b"5")),
        "neither a pyproject.toml nor a setup.py in its top folder,",
    ),
    Upload(
        "pyproject-link-dangling",
        _without(PKG_INFO, tar_link(f"{TOP}/pyproject.toml", "gone")),
        "neither a pyproject.toml nor a setup.py in its top folder,",
    ),
    Upload(
        "pyproject-broken",
        _without(PKG_INFO, tar_file(f"{TOP}/backend.py", build_backend()), tar_file(f"{TOP}/pyproject.toml", b"[build-system\n")),
        "pyproject.toml that is not TOML",
    ),
    Upload(
        "pyproject-no-requires",
        _without(
            PKG_INFO,
            tar_file(f"{TOP}/backend.py", build_backend()),
            tar_file(f"{TOP}/pyproject.toml", PYPROJECT.replace(b"requires = []\n", b"")),
        ),
        "pyproject.toml whose build-system has no list named requir",
    ),
    Upload(
        "pyproject-latin1",
        _without(
            PKG_INFO,
            tar_file(f"{TOP}/backend.py", build_backend()),
            tar_file(f"{TOP}/pyproject.toml", PYPROJECT + b"# caf\xe9\n"),
        ),
        "pyproject.toml that is not TOML",
    ),
    Upload("top-of-another-version", sdist(members=sdist_members("acme-2.0")), pip=True, uv=True),
    Upload("top-other-spelling", sdist(members=sdist_members("ACME-1.0.0")), pip=True, uv=True),
    Upload(
        "sparse-gnu",
        gnu(tar_header(f"{TOP}/a".encode(), kind=b"S", magic=GNU)),
        "member that is a device, or of another kind that no instal",
        pip=True,
    ),
    Upload(
        "contiguous",
        sdist(tar_header(f"{TOP}/a".encode(), kind=b"7")),
        "member that is a device, or of another kind that no instal",
        pip=True,
        uv=True,
        why=SAFETY,
    ),
    Upload("tar-case", sdist(tar_file(f"{TOP}/a", b"1"), tar_file(f"{TOP}/A", b"2")), pip=True, uv=True),
    Upload(
        "hardlink-to-symlink",
        sdist(tar_link(f"{TOP}/a", "backend.py"), tar_link(f"{TOP}/b", f"{TOP}/a", b"1")),
        "hard link to no file before it: 'acme-1.0/b'",
        pip=True,
    ),
    Upload(
        "symlink-up-and-down",
        sdist(FOLDER, tar_link(f"{TOP}/l", "d/../backend.py")),
        "link that leads out of its top folder, or up again on its ",
        pip=True,
    ),
    Upload("symlink-up", sdist(FOLDER, tar_link(f"{TOP}/d/l", "../backend.py")), pip=True, uv=True),
    Upload("symlink-dot", sdist(tar_link(f"{TOP}/l", "./backend.py")), pip=True, uv=True),
    Upload("symlink-slashes", sdist(FOLDER, tar_link(f"{TOP}/l", "d//x")), pip=True, uv=True),
    Upload("symlink-slash-end", sdist(FOLDER, tar_link(f"{TOP}/l", "d/")), pip=True, uv=True),
    Upload("symlink-to-top", sdist(tar_link(f"{TOP}/l", ".")), pip=True, uv=True),
    Upload(
        "symlink-long-chain",
        sdist(tar_link(f"{TOP}/l0", "backend.py"), *(tar_link(f"{TOP}/l{n}", f"l{n - 1}") for n in range(1, 60))),
        "link that leads round in a circle, or along more than 40 l",
        pip=True,
    ),
    Upload(
        "pyproject-bad-requirement",
        _built_by(PYPROJECT.replace(b"requires = []", b'requires = ["a b c !"]')),
        "pyproject.toml that requires what is no requirement: 'a b ",
    ),
    Upload(
        "pyproject-requires-text",
        _built_by(PYPROJECT.replace(b"requires = []", b'requires = "x"')),
        "pyproject.toml whose build-system has no list named requir",
    ),
    Upload(
        "pyproject-backend-number",
        _built_by(PYPROJECT.replace(b'build-backend = "backend"', b"build-backend = 1")),
        "pyproject.toml whose build-backend is no text",
    ),
    Upload(
        "pyproject-path-out",
        _built_by(PYPROJECT.replace(b'backend-path = ["."]', b'backend-path = [".."]')),
        "pyproject.toml whose backend-path leads out of the sdist",
    ),
    Upload(
        "pyproject-build-system-text",
        _built_by(b'build-system = "x"\n'),
        "pyproject.toml whose build-system has no list named requir",
    ),
    Upload("pyproject-bom", _built_by(b"\xef\xbb\xbf" + PYPROJECT), "pyproject.toml that is not TOML", uv=True),
    Upload(
        "pyproject-link-broken",
        _without(
            PKG_INFO,
            tar_file(f"{TOP}/other.toml", b"[build-system\n"),
            tar_link(f"{TOP}/again.toml", f"{TOP}/other.toml", b"1"),
            tar_link(f"{TOP}/pyproject.toml", "again.toml"),
        ),
        "pyproject.toml that is not TOML",
    ),
    Upload(
        "pyproject-link",
        _without(
            PKG_INFO,
            tar_file(f"{TOP}/backend.py", build_backend()),
            tar_file(f"{TOP}/other.toml", PYPROJECT),
            tar_link(f"{TOP}/pyproject.toml", "other.toml"),
        ),
        pip=True,
        uv=True,
    ),
    Upload(
        "pyproject-toml-1-1",
        _built_by(PYPROJECT.replace(b"requires = []", b"requires = [\n]") + b"[tool.x]\na = {b = 1,\n c = 2,}\n"),
        "pyproject.toml that is not TOML",
        uv=True,
    ),
    Upload(
        "setup-cfg-alone",
        _without(PKG_INFO, tar_file(f"{TOP}/setup.cfg", b"[metadata]\nname=acme\nversion=1.0\n")),
        "neither a pyproject.toml nor a setup.py in its top folder,",
    ),
]
MORE_ZIP_SDISTS = [
    Upload(
        "zip-backslash",
        zip_sdist(Part(f"{TOP}/a\\..\\b", b"x")),
        "entry that leaves its folder: 'acme-1.0/a\\\\..\\\\b'",
        pip=True,
        uv=True,
        why=SAFETY,
    ),
    Upload("zip-case", zip_sdist(Part(f"{TOP}/a", b"x"), Part(f"{TOP}/A", b"x")), pip=True, uv=True),
    Upload(
        "zip-bomb",
        _zip_bomb,
        "inflates to far more than a distribution needs (167773716 ",
        pip=True,
        uv=True,
        why="a bomb",
    ),
    Upload(
        "zip-bzip2",
        zip_sdist(Part(f"{TOP}/b", b"x", method=12, data=bz2.compress(b"x"))),
        "entry compressed in a way that not every installer reads (",
        pip=True,
    ),
]


def _named(uploads: list[Upload], filename: str) -> list[Upload]:
    return [replace(upload, filename=filename) for upload in uploads]


SOUND = [upload if not upload.id.startswith("sdist") else _named([upload], SDIST)[0] for upload in SOUND]
UPLOADS = [
    *(*ZIPS, *NAMES, *RECORDS, *INFOS, *WHEELS),
    *_named([*SDISTS, *MORE_SDISTS], SDIST),
    *_named([*ZIP_SDISTS, *MORE_ZIP_SDISTS], ZIP_SDIST),
    *SOUND,
]
