"""METADATA: its fields, checked against the name of the wheel, and as an installer reads them."""

from __future__ import annotations

import email
from email.header import decode_header, make_header

from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.fuzzing.target import Target, assert_sentence
from wheelgate.distfiles.core_metadata import BadWheel, read_fields

_NAME = "demo-1.0-py3-none-any.whl"


def check(data: bytes) -> None:
    try:
        fields = read_fields(data, _NAME)
    except BadWheel as error:
        assert_sentence(str(error))
        return
    assert canonicalize_name(fields.name) == "demo"
    assert Version(fields.version) == Version("1.0")
    assert fields.requires_python is None or (fields.requires_python.isascii() and fields.requires_python.isprintable())
    assert fields.body == data
    client = email.message_from_string(data.decode("utf-8", "replace"))  # the whole of it, as pip does
    stated = client["Name"]
    if "=?" in stated:
        stated = str(make_header(decode_header(stated)))  # as uv
    assert canonicalize_name(stated.strip(" \t\r\n")) == "demo", "installers read another name"
    assert Version(client["Version"]) == Version("1.0"), "pip reads another version"


TARGET = Target(
    check=check,
    modules=("wheelgate.distfiles.core_metadata",),
    seeds=(
        b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nRequires-Python: >=3.8\nRequires-Dist: other; extra == 'x'\n\nText.\n",
        b"Metadata-Version: 2.4\r\nName: Demo\r\nVersion: 1\r\nSummary: a\r\n folded\r\n\r\nName: other\r\n",
        b"Name: demo\nVersion: 1.0.0\nDescription: a\n        |b\n\n\nbody",
    ),
    words=(
        b"Name: ", b"Version: ", b"Requires-Python: ", b"demo", b"1.0", b"\n", b"\r\n", b"\r", b"\n\n", b"\r\n\r\n", b" ",
        b"\t", b":", b"From ", b"=?utf-8?q?demo?=", b"\xc3\xa9", b"\xff", b"\x0b", b"\x0c", b"\x1c", b"\x85", b"\xe2\x80\xa8",
        b"9" * 4400, b"Name:\n demo", b"\x00",
    ),
    max_bytes=8_192,
)  # fmt: skip
