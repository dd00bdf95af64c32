"""Sdists: the check that one is whole, and its build requirements; as they come, and as the tar or pyproject.toml in one."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile

from packaging.requirements import Requirement

from tests.fuzzing.target import Target, assert_sentence
from tests.support.packages import sdist_bytes
from wheelgate.distfiles.build_requirements import UnknownBuildRequirements, build_requirements
from wheelgate.distfiles.sdists import BadSdist, check_sdist

_TAR, _ZIP = "demo-1.0.tar.gz", "demo-1.0.zip"


def check(data: bytes) -> None:
    """The first byte says what the others are: a file as it comes, a tar archive, or a pyproject.toml."""
    kind, rest = data[:1], data[1:]
    match kind:
        case b"t":
            _check_archive(gzip.compress(rest, 1, mtime=0), _TAR)
        case b"p":
            _check_archive(gzip.compress(_tar_of(rest), 1, mtime=0), _TAR)
        case b"z":
            _check_archive(_zip_of(rest), _ZIP)
        case _:
            for name in (_TAR, _ZIP):
                _check_archive(rest, name)


def _check_archive(archive: bytes, filename: str) -> None:
    try:
        check_sdist(io.BytesIO(archive), filename)
    except BadSdist as error:
        assert_sentence(str(error))
    try:
        needed = build_requirements(io.BytesIO(archive), filename)
    except UnknownBuildRequirements as error:
        assert_sentence(str(error))
        return
    assert isinstance(needed, tuple)
    for requirement in needed:
        assert str(Requirement(requirement)) == requirement


def _tar_of(pyproject: bytes) -> bytes:
    entry = tarfile.TarInfo("demo-1.0/pyproject.toml")
    entry.size = len(pyproject)
    return entry.tobuf(tarfile.USTAR_FORMAT) + pyproject + bytes(-len(pyproject) % 512 + 1_024)


def _zip_of(pyproject: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo("demo-1.0/pyproject.toml"), pyproject)
    return file.getvalue()


_SDIST = sdist_bytes("demo", "1.0")
_PYPROJECT = b'[build-system]\nrequires = ["setuptools>=61", "other; python_version < \'3.12\'"]\nbuild-backend = "x"\n'
TARGET = Target(
    check=check,
    modules=(
        "wheelgate.distfiles.sdists",
        "wheelgate.distfiles.build_requirements",
        "wheelgate.distfiles.tar_members",
        "wheelgate.distfiles.member_names",
        "wheelgate.runtime.bounded_gzip",
        "wheelgate.distfiles.zips",
    ),
    seeds=(
        b"r" + _SDIST,
        b"t" + gzip.decompress(_SDIST)[:4_608],
        b"p" + _PYPROJECT,
        b"z" + _PYPROJECT,
        b"r" + _zip_of(_PYPROJECT),
    ),
    words=(
        b"\x1f\x8b\x08", b"ustar\x0000", b"ustar  \x00", b"pyproject.toml", b"demo-1.0/", b"./", b"PaxHeader", b"x", b"g",
        b"L", b"\x80", b"\xff" * 12, b"-0000000001\x00", b"77777777777\x00", b"requires = ", b"[build-system]",
        b"[[build-system]]", b'["a"]', b"1", b"'''", b"{", b"9" * 4400, b"[",
    ),
    max_bytes=8_192,
    examples=60,
)  # fmt: skip
