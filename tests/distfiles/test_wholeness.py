"""Wholeness of files that nobody vouches for: nothing but the whole of what the name says passes, and whatever installs does."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable

import pytest

from tests.support.packages import metadata, sdist_bytes, wheel_bytes
from wheelgate.distfiles.wholeness import NotWhole, prove_whole

NAME, VERSION = "acme-tool", "1.0"
WHEEL, SDIST = "acme_tool-1.0-py3-none-any.whl", "acme_tool-1.0.tar.gz"


def problem(body: bytes, filename: str, project: str = NAME) -> str | None:
    """Why it is not whole, or ``None``."""
    try:
        for _ in prove_whole(io.BytesIO(body), filename, project):
            pass
    except NotWhole as error:
        return str(error)
    return None


def tar_of(*names: str, form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            if name.endswith("/"):
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            else:
                info.size = 3
                archive.addfile(info, io.BytesIO(b"abc"))
    return buffer.getvalue()


def zip_of(*names: str, method: int = zipfile.ZIP_DEFLATED, content: bytes = b"abc" * 10_000) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name in names:
            archive.writestr(name, content)
    return buffer.getvalue()


def egg() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("EGG-INFO/PKG-INFO", metadata("Acme_Tool", VERSION))
    return buffer.getvalue()


TAR = tar_of("acme_tool-1.0/", "acme_tool-1.0/setup.py", "acme_tool-1.0/acme.py")
WHOLE: dict[str, tuple[str, bytes]] = {
    "wheel": (WHEEL, wheel_bytes(NAME, VERSION, padding=3_000)),
    "wheel, deflated": (WHEEL, b""),
    "sdist": (SDIST, sdist_bytes(NAME, VERSION)),
    "sdist, tgz": ("acme-tool-1.0.tgz", gzip.compress(TAR)),
    "sdist, bz2": ("Acme.Tool-1.0.tar.bz2", bz2.compress(TAR)),
    "sdist, xz": ("acme_tool-1.0.tar.xz", lzma.compress(TAR)),
    "sdist, tar": ("acme_tool-1.0.tar", TAR),
    "sdist, zip": ("acme-tool-1.0.zip", zip_of("acme-tool-1.0/setup.py", "acme-tool-1.0/a.py")),
    "egg": ("acme_tool-1.0-py3.11.egg", egg()),
}


def deflated_wheel() -> bytes:
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(wheel_bytes(NAME, VERSION))) as plain,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry))
    return buffer.getvalue()


WHOLE["wheel, deflated"] = (WHEEL, deflated_wheel())


@pytest.mark.parametrize("kind", WHOLE)
def test_what_is_whole_passes_and_cut_anywhere_it_does_not(kind: str) -> None:
    filename, body = WHOLE[kind]
    assert problem(body, filename) is None
    # Of an archive that pads its end with zeros, some of them may be missing: no reader lacks anything.
    last = len(body.rstrip(b"\0")) if filename.endswith(".tar") else len(body)
    for end in sorted({0, 1, last // 2, *range(0, last, max(1, last // 80)), last - 1}):
        assert problem(body[:end], filename) is not None, end


@pytest.mark.parametrize("kind", [kind for kind in WHOLE if kind != "sdist, tar"])
def test_a_changed_byte_of_content_is_noticed(kind: str) -> None:
    """Anywhere in the compressed data of a tar file; of a zip file in what has a checksum, each of which is compared."""
    filename, body = WHOLE[kind]
    if filename.endswith((".whl", ".zip", ".egg")):
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            entries = [(e.header_offset + 30 + len(e.filename), e.compress_size) for e in archive.infolist() if e.compress_size]
        places = [start + size // 2 for start, size in entries]
    else:
        places = list(range(20, len(body), max(1, len(body) // 40)))
    for at in places:
        changed = body[:at] + bytes([body[at] ^ 0x55]) + body[at + 1 :]
        assert problem(changed, filename) is not None, at


OTHER: dict[str, tuple[str, bytes]] = {
    "maintenance text": (WHEEL, b"We are down for maintenance. " * 5_000),
    "empty": (WHEEL, b""),
    "empty sdist": (SDIST, b""),
    "empty tar file": (SDIST, gzip.compress(tar_of())),
    "no tar file": (SDIST, gzip.compress(b"We are down for maintenance.")),
    "another wheel": (WHEEL, wheel_bytes("other", VERSION)),
    "another version": (WHEEL, wheel_bytes(NAME, "1.1")),
    "a wheel without METADATA": (WHEEL, wheel_bytes(NAME, VERSION, without=["METADATA"])),
    "an sdist": (WHEEL, sdist_bytes(NAME, VERSION)),
    "a wheel": (SDIST, wheel_bytes(NAME, VERSION)),
    "another sdist": (SDIST, sdist_bytes("other", VERSION)),
    "another version's sdist": (SDIST, sdist_bytes(NAME, "1.0.1")),
    "another sdist of a like name": (SDIST, sdist_bytes("acme-tool-more", VERSION)),
    "two in one": (SDIST, sdist_bytes(NAME, VERSION) * 2),
    "an empty zip": ("acme_tool-1.0.zip", zip_of()),
    "another zip": ("acme_tool-1.0.zip", zip_of("other-1.0/setup.py")),
    "of a kind without checksums": ("acme_tool-1.0.win32.exe", b"MZ" + bytes(1_000)),
    "nameless": ("acme_tool.zip", zip_of("acme_tool/setup.py")),
}


@pytest.mark.parametrize("kind", OTHER)
def test_what_is_something_else_does_not_pass(kind: str) -> None:
    filename, body = OTHER[kind]
    assert problem(body, filename) is not None


@pytest.mark.parametrize(
    "body",
    [
        gzip.compress(tar_of("./", "./Acme.Tool-1.0/setup.py")),
        gzip.compress(tar_of("acme_tool-1.0.0/setup.py")),
        gzip.compress(tar_of(f"acme_tool-1.0/{'long/' * 40}setup.py")),
        gzip.compress(tar_of(f"acme_tool-1.0/{'long/' * 40}setup.py", form=tarfile.GNU_FORMAT)),
        gzip.compress(tar_of("acme_tool-1.0/setup.py", form=tarfile.USTAR_FORMAT)),
        gzip.compress(tar_of("acme_tool-1.0/x").replace(b"ustar\x0000", bytes(8))),
    ],
    ids=["dotted", "another spelling", "pax", "gnu", "ustar", "magic"],
)
def test_old_and_odd_sdists_pass_as_far_as_they_can_be_read(body: bytes) -> None:
    is_damaged = b"ustar" not in gzip.decompress(body)  # its checksum is that of the header before
    assert (problem(body, SDIST) is not None) == is_damaged


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=["bzip2", "lzma"])
def test_rare_compressions_are_read(method: int) -> None:
    assert problem(zip_of("acme-tool-1.0/setup.py", method=method), "acme-tool-1.0.zip") is None


BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "gzip": (SDIST, lambda: gzip.compress(tar_of("acme_tool-1.0/a") + bytes(90 * 1024**2), 9)),
    "bz2": ("acme_tool-1.0.tar.bz2", lambda: bz2.compress(bytes(90 * 1024**2))),
    "zip": ("acme_tool-1.0.zip", lambda: zip_of("acme_tool-1.0/a", content=bytes(90 * 1024**2))),
    "bzip2 in zip": (
        "acme_tool-1.0.zip",
        lambda: zip_of("acme_tool-1.0/a", content=bytes(65 * 1024**2), method=zipfile.ZIP_BZIP2),
    ),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_end_soon_and_in_little_memory(kind: str) -> None:
    filename, make = BOMBS[kind]
    body = make()
    steps = 0
    with pytest.raises(NotWhole, match="inflates to far more|hardly any"):
        for _ in prove_whole(io.BytesIO(body), filename, NAME):
            steps += 1
    assert steps <= 70, "each step is a megabyte at most"


def test_whoever_leaves_is_seen_between_entries_that_are_empty() -> None:
    body = zip_of(*(f"acme_tool-1.0/{number}" for number in range(1_000)), content=b"")
    assert sum(1 for _ in prove_whole(io.BytesIO(body), "acme_tool-1.0.zip", NAME)) >= 1_000


def test_a_zip_file_that_lies_about_its_sizes_is_read_no_further_than_they_say() -> None:
    body = bytearray(zip_of("acme_tool-1.0/a", content=bytes(20 * 1024**2)))
    at = body.rindex(b"PK\x01\x02")
    body[at + 24 : at + 28] = (1_000).to_bytes(4, "little")
    body[at + 16 : at + 20] = zlib.crc32(bytes(1_000)).to_bytes(4, "little")
    steps = 0
    for _ in prove_whole(io.BytesIO(bytes(body)), "acme_tool-1.0.zip", NAME):
        steps += 1
    assert steps <= 2
