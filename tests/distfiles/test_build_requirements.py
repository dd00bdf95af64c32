"""What an sdist says it needs to be built, whoever packed it."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile

import pytest

from wheelgate.distfiles.build_requirements import LEGACY, UnknownBuildRequirements, build_requirements

PYPROJECT = b'[build-system]\nrequires = ["hatchling>=1.2", "tomli; python_version < \'3.11\'"]\n'


def tar(files: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=form) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def read(body: bytes, name: str = "demo-1.0.tar.gz") -> tuple[str, ...]:
    return build_requirements(io.BytesIO(body), name)


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_a_tar_of_any_make(form: int) -> None:
    long = f"demo-1.0/{'a' * 90}/{'b' * 90}/x.py" if form != tarfile.USTAR_FORMAT else "demo-1.0/x.py"
    body = tar({long: b"x" * 300_000, "demo-1.0/pyproject.toml": PYPROJECT, "demo-1.0/sub/pyproject.toml": b"="}, form)
    assert read(body) == ("hatchling>=1.2", 'tomli; python_version < "3.11"')


def test_a_zip() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("demo-1.0/sub/pyproject.toml", b"=")
        archive.writestr("demo-1.0/pyproject.toml", PYPROJECT)
    assert read(buffer.getvalue(), "demo-1.0.zip")[0] == "hatchling>=1.2"


@pytest.mark.parametrize("files", [{"demo-1.0/setup.py": b""}, {"demo-1.0/pyproject.toml": b"[tool.black]\n"}])
def test_one_that_does_not_say_needs_what_installers_take(files: dict[str, bytes]) -> None:
    assert read(tar(files)) == LEGACY


@pytest.mark.parametrize(
    ("body", "name", "why"),
    [
        (tar({"demo-1.0/pyproject.toml": b"="}), "demo-1.0.tar.gz", "cannot be read"),
        (tar({"demo-1.0/pyproject.toml": b"[build-system]\nrequires = 3\n"}), "demo-1.0.tar.gz", "cannot be read"),
        (tar({"demo-1.0/pyproject.toml": b'[build-system]\nrequires = ["a b c"]\n'}), "demo-1.0.tar.gz", "cannot be read"),
        (tar({"demo-1.0/pyproject.toml": b"#" * 2_000_000}), "demo-1.0.tar.gz", "more than 1 MiB"),
        (b"not gzip", "demo-1.0.tar.gz", "not a whole gzip"),
        (gzip.compress(b"x" * 700, mtime=0), "demo-1.0.tar.gz", "not a whole tar"),
        (gzip.compress((b"demo/x" + b"\0" * 118 + b"77777777777\0").ljust(512, b"\0"), mtime=0), "demo-1.0.tar.gz", "cut short"),
        (b"", "demo-1.0.zip", "not a whole zip"),
        (b"", "demo-1.0.tar.xz", "is not a .tar.gz or .zip file"),
    ],
)
def test_what_cannot_be_known_is_said(body: bytes, name: str, why: str) -> None:
    with pytest.raises(UnknownBuildRequirements, match=why):
        read(body, name)


def test_a_header_that_counts_backwards_does_not_loop() -> None:
    """CVE-2025-8194: ``tarfile`` reads a negative size and goes round for ever."""
    header = bytearray(tar_header("demo-1.0/x", b"-0000000400\0"))
    with pytest.raises(UnknownBuildRequirements, match="not a whole tar"):
        read(gzip.compress(bytes(header) * 3))


def tar_header(name: str, size: bytes) -> bytes:
    return (name.encode().ljust(124, b"\0") + size).ljust(156, b"\0").ljust(512, b"\0")
