"""RECORD of an uploaded wheel: every file of it, each with its digest and size (the binary distribution format's rules)."""

from __future__ import annotations

import base64
import binascii
import csv
import io
import re
from collections.abc import Iterable

import msgspec

from wheelgate.distfiles.member_names import show_name

_ALGORITHMS = frozenset({"sha256", "sha384", "sha512"})
"""The specification's "sha256 or better", as far as it is always there."""
_SIGNATURES = ("RECORD", "RECORD.jws", "RECORD.p7s")
_SIZE = re.compile(r"[0-9]{1,15}", re.ASCII)


class RecordRow(msgspec.Struct, frozen=True):
    """The digest and the size that RECORD states for a file."""

    algorithm: str
    digest: bytes
    size_bytes: int | None


def read_record(body: bytes, folder: str, names: Iterable[str], bad: type[ValueError]) -> dict[str, RecordRow]:
    """Read RECORD, by the names of the files that it states a digest for.

    Args:
        body: its text.
        folder: the ``.dist-info`` that it lies in.
        names: all entries of the wheel.
        bad: raised, with a message that completes "it ...", if the rows are not those of just these files.
    """
    unsigned = {f"{folder}/{name}" for name in _SIGNATURES}
    files = {name for name in names if not name.endswith("/")}
    rows: dict[str, RecordRow] = {}
    seen = set()
    try:
        for row in csv.reader(io.StringIO(body.decode("utf-8"), newline=""), strict=True):
            if len(row) != 3:  # uv reads no other, pip stops at an empty one
                raise bad(f"has a RECORD with a line that has not three fields: {show_name(','.join(row))}")
            stated, digest, size = row
            name = (
                stated if stated in files else stated.replace("\\", "/").lstrip("/").removeprefix("./")
            )  # some builders' spellings
            if name not in files:
                raise bad(f"has a RECORD that names a file which is not there: {show_name(stated)}")
            if name in seen:
                raise bad(f"has a RECORD that names a file twice: {show_name(name)}")
            seen.add(name)
            if name not in unsigned:
                rows[name] = _parse_row(name, digest, size, bad)
    except (UnicodeDecodeError, csv.Error):
        raise bad("has a RECORD that is not a table in UTF-8") from None
    missing = files - seen - unsigned
    if missing:
        raise bad(f"has a file that its RECORD does not name: {show_name(min(missing))}")
    return rows


def _parse_row(name: str, stated: str, size: str, bad: type[ValueError]) -> RecordRow:
    algorithm, _, encoded = stated.partition("=")
    if algorithm not in _ALGORITHMS:
        raise bad(f"has a RECORD that states no sha256 or better for {show_name(name)}")
    try:
        encoded = encoded.rstrip("=")
        digest = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if size and not _SIZE.fullmatch(size):
        raise bad(f"has a RECORD with a size that is no number for {show_name(name)}")
    return RecordRow(algorithm, digest, int(size) if size else None)
