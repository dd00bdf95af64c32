"""Wheels that are odd where installers look for metadata, and who installs each from an index that offers no metadata.

Those that are odd elsewhere are in :mod:`tests.support.malformed`. ``tests/acceptance/test_odd_wheels.py`` holds both against
real installers, without Wheelgate and through it; ``tests/distfiles/test_odd_wheels.py`` holds the reader against them.
"""

from __future__ import annotations

import bz2
import lzma
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.support import archives
from tests.support.archives import INFO, MODULE, WHEEL, Part, build_wheel
from tests.support.malformed import UPLOADS
from tests.support.packages import metadata

OLDER_PIP = "23.2.1"
"""The first release that goes by ``core-metadata`` in JSON (PEP 714)."""


@dataclass(frozen=True)
class OddWheel:
    """A wheel, and who installs it."""

    id: str
    build: Callable[[], bytes]
    pip: bool = False
    older_pip: bool = False
    uv: bool = False
    filename: str = WHEEL
    older_pip_here: bool = True
    """``False``: the older pip goes by the name of the folder where it reads the wheel, and not where it reads METADATA alone."""
    only_here: bool = False
    """uv refuses it where it has to read it as it comes, and takes it where metadata is offered."""
    left: str = ""
    """Our reason to offer nothing of what an installer reads; then the page stops offering it once it was read."""

    @property
    def is_installed(self) -> bool:
        return self.pip or self.older_pip or self.uv


def _saying(body: bytes, **options: Any) -> Callable[[], bytes]:
    return lambda: build_wheel(files={"METADATA": body}, **options)


def _packed(method: int, data: Callable[[bytes], bytes], body: bytes = archives.METADATA) -> Callable[[], bytes]:
    """A wheel whose METADATA is compressed in another way."""

    def build() -> bytes:
        parts = archives.wheel_parts()
        at = next(number for number, part in enumerate(parts) if part.name == f"{INFO}/METADATA")
        parts[at] = Part(f"{INFO}/METADATA", body, method=method, data=data(body))
        return archives.build_zip(parts)

    return build


def _lzma(body: bytes) -> bytes:
    filters = [{"id": lzma.FILTER_LZMA1, "preset": 0}]
    properties = b"\x5d" + struct.pack("<L", 1 << 18)
    return struct.pack("<BBH", 9, 4, 5) + properties + lzma.compress(body, lzma.FORMAT_RAW, filters=filters)


def _zip(**options: Any) -> Callable[[], bytes]:
    return lambda: build_wheel(zipped=options)


_FIELDS = b"Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n"
PIPS = {"pip": True, "older_pip": True}
ALL = {**PIPS, "uv": True}
ANOTHERS = "it does not say whose it is, and no current installer takes it"
TOO_LARGE = "nothing is read into memory that has no bound"

CONTENTS: list[OddWheel] = [
    OddWheel("plain", build_wheel, **ALL),
    OddWheel("metadata-version-unknown", _saying(_FIELDS.replace(b"2.1", b"9.9")), **ALL),
    OddWheel("metadata-version-none", _saying(_FIELDS.partition(b"\n")[2]), **ALL),
    OddWheel("metadata-version-garbage", _saying(_FIELDS.replace(b"2.1", b"two")), **ALL),
    OddWheel("latin-1", _saying(_FIELDS + "Author: José\n".encode("latin-1")), uv=True),
    OddWheel("latin-1-description", _saying(_FIELDS + "\nJosé\n".encode("latin-1")), uv=True),
    OddWheel("utf-16", _saying(_FIELDS.decode().encode("utf-16"))),
    OddWheel("byte-order-mark", _saying(b"\xef\xbb\xbf" + _FIELDS)),
    OddWheel("crlf", _saying(_FIELDS.replace(b"\n", b"\r\n") + b"\r\ntext\r\n"), **ALL),
    OddWheel("cr", _saying(_FIELDS.replace(b"\n", b"\r")), **ALL),
    OddWheel("no-end-of-line", _saying(_FIELDS[:-1]), **ALL),
    OddWheel("empty", _saying(b"")),
    OddWheel("blank-line-first", _saying(b"\n" + _FIELDS)),
    OddWheel("null-bytes", _saying(_FIELDS + b"Summary: a\0b\n"), **ALL),
    OddWheel("name-normalised", _saying(_FIELDS.replace(b"acme", b"ACME")), **ALL),
    OddWheel("name-twice", _saying(_FIELDS + b"Name: other\n"), **ALL),
    OddWheel("name-of-another-first", _saying(b"Name: other\n" + _FIELDS), older_pip=True, left=ANOTHERS),
    OddWheel(
        "name-encoded", _saying(_FIELDS.replace(b"acme", b"=?utf-8?q?acme?=")), older_pip=True, uv=True, older_pip_here=False
    ),
    OddWheel("name-in-lower-case", _saying(_FIELDS.lower()), **ALL),
    OddWheel(
        "name-folded", _saying(_FIELDS.replace(b"Name: acme", b"Name:\n acme")), older_pip=True, uv=True, older_pip_here=False
    ),
    OddWheel("name-none", _saying(_FIELDS.replace(b"Name: acme\n", b"")), older_pip=True, left=ANOTHERS),
    OddWheel("version-none", _saying(_FIELDS.replace(b"Version: 1.0\n", b""))),
    OddWheel("version-longer", _saying(_FIELDS.replace(b": 1.0", b": 1.0.0")), **ALL),
    OddWheel("version-twice", _saying(_FIELDS + b"Version: 2.0\n"), **ALL),
    OddWheel("version-local", _saying(_FIELDS.replace(b": 1.0", b": 1.0+cpu"))),
    OddWheel("version-not-local", _saying(_FIELDS), filename="acme-1.0+cpu-py3-none-any.whl", uv=True),
    OddWheel("requires-python-garbage", _saying(_FIELDS + b"Requires-Python: garbage\n"), **PIPS),
    OddWheel("requires-python-long", _saying(_FIELDS + b"Requires-Python: >=3.8" + b",!=3.8.1" * 300 + b"\n"), **ALL),
    OddWheel("requires-garbage", _saying(_FIELDS + b"Requires-Dist: ???\n")),
    OddWheel("extra-garbage", _saying(_FIELDS + b"Provides-Extra: a b c !\n"), **ALL),
    OddWheel("trailing-data", _saying(_FIELDS + b"\ntext\0\xff\xfe" + bytes(100)), uv=True),
    OddWheel("a-readme-as-a-field", _saying(_FIELDS + b"Description: a\n" + b"        line\n" * 25_000), **ALL),
    OddWheel("fields-of-2-mib", _saying(_FIELDS + b"Classifier: some words of a classifier\n" * 54_000), **ALL),
    OddWheel("description-of-11-mib", _saying(_FIELDS + b"\n" + b"some words\n" * 1_050_000), **ALL, left=TOO_LARGE),
    OddWheel("metadata-twice", lambda: build_wheel(Part(f"{INFO}/METADATA", _FIELDS + b"Summary: second\n")), **PIPS),
    OddWheel("metadata-in-upper-case-folder", lambda: build_wheel(info="acme-1.0.DIST-INFO")),
    OddWheel("info-in-upper-case", lambda: build_wheel(info="ACME-1.0.dist-info"), **ALL),
    OddWheel("info-without-version", lambda: build_wheel(info="acme.dist-info"), **ALL),
    OddWheel(
        "metadata-deeper-too",
        lambda: build_wheel(Part("acme/vendored-1.0.dist-info/METADATA", metadata("vendored", "1.0"))),
        **ALL,
    ),
    OddWheel("metadata-of-two", lambda: build_wheel(Part("other-1.0.dist-info/METADATA", metadata("other", "1.0")))),
    OddWheel("egg-info-too", lambda: build_wheel(Part("acme.egg-info/PKG-INFO", metadata("acme", "3.0"))), **ALL),
    OddWheel("metadata-stored", _packed(0, bytes), **ALL),
    OddWheel("metadata-bzip2", _packed(12, bz2.compress), **PIPS),
    OddWheel("metadata-lzma", _packed(14, _lzma), **PIPS),
    OddWheel("comment", _zip(comment=b"a comment"), **ALL),
    OddWheel("zip64", _zip(zip64="right"), **ALL),
    OddWheel("descriptors", lambda: build_wheel(module=Part(*MODULE, descriptor="signed")), **ALL),
    OddWheel(
        "descriptors-everywhere",
        lambda: archives.build_zip([Part(p.name, p.content, descriptor="plain") for p in archives.wheel_parts()]),
        **ALL,
    ),
    OddWheel("bytes-before", _zip(before=b"#!/bin/sh\nexit\n"), **PIPS),
    OddWheel("bytes-after", _zip(after=b"trailing"), **PIPS),
    OddWheel("many-entries", lambda: build_wheel(*(Part(f"acme_data/{number:05}", b"") for number in range(3_000))), **ALL),
    OddWheel("variant", build_wheel, filename="acme-1.0-py3-none-any-x86v3.whl"),
    OddWheel("build-tag", build_wheel, filename="acme-1.0-1-py3-none-any.whl", **ALL),
    OddWheel("build-tag-odd", build_wheel, filename="acme-1.0-one-py3-none-any.whl"),
    OddWheel("name-not-normalised", build_wheel, filename="ACME-1.0-py3-none-any.whl", **ALL),
    OddWheel("version-not-normalised", build_wheel, filename="acme-1.00-py3-none-any.whl", **ALL),
]

OLDER_PIP_DIFFERS = {"info-of-a-longer-name", "entry-point-blank", "info-of-egg"}
"""Uploads with which the older pip does otherwise than today's."""
ELSEWHERE = [
    OddWheel(
        upload.id,
        upload.build,
        pip=upload.pip,
        older_pip=upload.pip is not (upload.id in OLDER_PIP_DIFFERS),
        uv=upload.uv,
        filename=upload.filename,
        only_here=upload.id == "descriptor-stored",
    )
    for upload in UPLOADS
    if upload.filename.endswith(".whl") and (upload.pip or upload.uv or upload.id in OLDER_PIP_DIFFERS)
]
"""Uploads that an installer takes, accepted or not."""
