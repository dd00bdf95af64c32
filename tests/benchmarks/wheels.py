"""57 projects that really resolve, their releases and their wheels.

The shape is that of ``azure-identity azure-storage-blob pandas scikit-learn mlflow-skinny fastapi`` in autumn 2026: who needs
whom, about how many releases and wheels each has, and how large they are and of how many files.
"""

from __future__ import annotations

import functools
import hashlib
import io
import random
import struct
import zipfile
import zlib
from base64 import b64encode
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.pages import PLATFORMS, PYTHONS
from tests.support.packages import metadata

ROOTS = ("azure-identity", "azure-storage-blob", "pandas", "scikit-learn", "mlflow-skinny", "fastapi")
_LISTED_BYTES = 120
"""About what a file costs an archive, before its content and again in the table of contents."""
_END_BYTES = 22
"""The end of a zip archive."""
_REMARK_BYTES = 80

# project, releases, wheels of each, kB of a wheel, files in it, what it needs
_PROJECTS = """
annotated-doc 7 1 5 8
annotated-types 12 1 13 7
anyio 70 1 135 53 idna typing-extensions
azure-core 100 1 221 80 requests typing-extensions
azure-identity 90 1 203 95 azure-core cryptography msal msal-extensions typing-extensions
azure-storage-blob 90 1 456 97 azure-core cryptography typing-extensions isodate
cachetools 70 1 20 15
certifi 70 1 134 12
cffi 60 25 218 34 pycparser
charset-normalizer 45 40 270 25
click 65 1 126 22
cloudpickle 40 1 22 7
cryptography 130 20 4753 141 cffi
databricks-sdk 160 1 1112 104 requests google-auth protobuf
fastapi 280 1 159 69 starlette pydantic typing-extensions typing-inspection annotated-doc opentelemetry-api
gitdb 30 1 63 31 smmap
gitpython 80 1 232 44 gitdb
google-auth 170 1 270 85 pyasn1-modules cryptography
h11 18 1 38 17
idna 40 1 70 16
importlib-metadata 120 1 28 18 zipp
isodate 15 1 22 16
joblib 70 1 306 141
mlflow-skinny 170 1 4111 1332 anyio cachetools click cloudpickle databricks-sdk fastapi gitpython importlib-metadata \
  opentelemetry-api opentelemetry-proto opentelemetry-sdk packaging protobuf pydantic python-dotenv pyyaml \
  requests sqlparse typing-extensions uvicorn
msal 70 1 132 29 requests pyjwt cryptography
msal-extensions 30 1 21 13 msal
narwhals 220 1 502 193
numpy 125 35 16918 1166
opentelemetry-api 90 1 60 47 typing-extensions
opentelemetry-proto 80 1 72 44 protobuf
opentelemetry-sdk 90 1 142 70 opentelemetry-api opentelemetry-semantic-conventions typing-extensions
opentelemetry-semantic-conventions 80 1 206 132 opentelemetry-api typing-extensions
packaging 60 1 130 29
pandas 105 24 12357 1720 numpy python-dateutil
protobuf 220 8 343 63
pyasn1 50 1 85 38
pyasn1-modules 35 1 181 138 pyasn1
pycparser 20 1 63 13
pydantic 170 1 494 112 annotated-types pydantic-core typing-extensions typing-inspection
pydantic-core 150 99 2253 11 typing-extensions
pyjwt 50 1 34 19
python-dateutil 30 1 93 26 tzdata
python-dotenv 60 1 23 15
pyyaml 30 30 807 28
requests 120 1 73 26 certifi charset-normalizer idna urllib3
scikit-learn 65 22 9315 1130 numpy scipy joblib threadpoolctl narwhals
scipy 80 25 35349 1541 numpy
smmap 20 1 24 16
sqlparse 50 1 51 28
starlette 180 1 81 41 anyio typing-extensions
threadpoolctl 15 1 32 5
typing-extensions 50 1 46 5
typing-inspection 8 1 15 9 typing-extensions
tzdata 30 1 348 633
urllib3 110 1 136 42
uvicorn 140 1 87 51 click h11
zipp 60 1 11 12
"""

_TAGS = [
    f"{python}-{python}-{platform}"
    for platform in (*PLATFORMS, "win32", "win_arm64", "macosx_10_12_x86_64", "manylinux_2_17_armv7l", "musllinux_1_2_aarch64")
    for python in ("cp311", *(name for name in PYTHONS if name != "cp311"), "cp39", "cp38", "cp315", "cp314t", "pp311")
]
_LATER_PYTHON = {"numpy": 6, "scipy": 2}
"""Whose newest releases, so many, are for a later Python than the client asks for."""
_TOO_NEW = {"databricks-sdk": ("certifi", 6)}
"""Whose newest releases, so many, need a later one of another project than there is: clients try them, and go back."""
_README = "Every release has a description as long as this one, which clients read and never show.\n" * 40


@dataclass(frozen=True)
class Project:
    name: str
    releases: int
    tags: tuple[str, ...]
    wheel_bytes: int
    files: int
    needs: tuple[str, ...]

    @property
    def stem(self) -> str:
        return self.name.replace("-", "_")

    @functools.cached_property
    def versions(self) -> list[str]:
        return [_version(number) for number in range(self.releases)]


def _version(number: int) -> str:
    return f"{number // 50 + 1}.{number // 10 % 5}.{number % 10}"


def _project(line: str) -> Project:
    name, releases, wheels, kilobytes, files, *needs = line.split()
    tags = tuple(_TAGS[: int(wheels)]) if int(wheels) > 1 else ("py3-none-any",)
    return Project(name, int(releases), tags, int(kilobytes) * 1_000, int(files), tuple(needs))


PROJECTS = {project.name: project for project in map(_project, _PROJECTS.strip().splitlines())}


def requires_python(project: Project, version: str) -> str:
    newest = _LATER_PYTHON.get(project.name, 0)
    return ">=3.12" if newest and version in project.versions[-newest:] else ">=3.10"


def metadata_of(project: Project, version: str) -> bytes:
    needs = [f"{name}>={PROJECTS[name].versions[PROJECTS[name].releases // 2]}" for name in project.needs]
    if project.name in _TOO_NEW:
        name, newest = _TOO_NEW[project.name]
        if version in project.versions[-newest:]:
            needs.append(f"{name}>={_version(PROJECTS[name].releases)}")
    return metadata(project.name, version, requires=needs, requires_python=requires_python(project, version)) + _README.encode()


@functools.cache
def _words() -> list[bytes]:
    """Text of them compresses about as well as what is in wheels: three to four times."""
    chance = random.Random(57)
    return [bytes(chance.choices(b"etaoinsrhldcumfpgwybvkxjqz_(). \n", k=chance.randint(6, 24))) for _ in range(800)]


@functools.cache
def _part(wanted_bytes: int) -> tuple[bytes, int, int]:
    """A file in a wheel, compressed to about so many bytes; its CRC and size."""
    words = wanted_bytes / 4
    for _ in range(4):
        body = b" ".join(random.Random(57).choices(_words(), k=max(int(words), 1)))
        compressor = zlib.compressobj(6, wbits=-15)
        part = compressor.compress(body) + compressor.flush()
        words *= wanted_bytes / len(part)
    return part, zlib.crc32(body), len(body)


class _After(io.BytesIO):
    """A file of which the beginning is somewhere else."""

    def __init__(self, before: int) -> None:
        super().__init__()
        self._before = before

    def tell(self) -> int:
        return self._before + super().tell()

    def seek(self, place: int, whence: int = 0) -> int:
        return super().seek(place - self._before, whence)


@dataclass(frozen=True)
class _Code:
    """What all wheels of a project begin with."""

    begun: bytes
    listed: bytes
    """Its files in the table of contents."""
    files: int
    record: bytes
    """What RECORD says of them."""
    digest: Any
    """The state of the wheel's digest after what it begins with."""


@functools.cache
def _code(project: Project) -> _Code:
    """Compressed files, as many and about as large as the real ones; all of one content, which no client can know."""
    files = max(project.files - 3, 1)
    part, crc, size = _part(max(project.wheel_bytes // files - 2 * _LISTED_BYTES, 500))
    buffer, entries = bytearray(), []
    for number in range(files):
        entry = zipfile.ZipInfo(f"{project.stem}/a_package_of_it/and_one_below/tests_of_that_one/module_{number:04}.py")
        entry.compress_type, entry.CRC, entry.compress_size, entry.file_size = zipfile.ZIP_DEFLATED, crc, len(part), size
        entry.header_offset = len(buffer)
        buffer += entry.FileHeader() + part
        entries.append(entry)
    table = _After(len(buffer))
    with zipfile.ZipFile(table, "w") as archive:
        archive.filelist.extend(entries)
        archive._didModify = True  # type: ignore[attr-defined]
    begun = bytes(buffer)
    chance = random.Random(57)
    record = "".join(f"{entry.filename},sha256={b64encode(chance.randbytes(32)).decode()},{size}\n" for entry in entries)
    return _Code(begun, table.getvalue()[:-_END_BYTES], files, record.encode(), hashlib.sha256(begun))


@dataclass(frozen=True)
class _End:
    """What follows in all wheels of a release, the metadata at the end as wheels have it."""

    before: tuple[bytes, ...]
    """Up to the remark."""
    after: bytes
    digest: Any
    """The state of the wheel's digest before the remark."""


@functools.cache
def _end(project: Project, version: str) -> _End:
    code = _code(project)
    info = f"{project.stem}-{version}.dist-info"
    buffer = _After(len(code.begun))
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(f"{info}/METADATA"), metadata_of(project, version), zipfile.ZIP_DEFLATED)
        archive.writestr(zipfile.ZipInfo(f"{info}/WHEEL"), "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        record = zipfile.ZipInfo(f"{info}/RECORD")
        record.comment = b" " * _REMARK_BYTES
        archive.writestr(record, code.record, zipfile.ZIP_DEFLATED, compresslevel=1)
    own = buffer.getvalue()
    table = archive.start_dir - len(code.begun)
    files, listed = code.files + 3, len(code.listed) + len(own) - table - _END_BYTES
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, files, files, listed, archive.start_dir, 0)
    parts = (own[:table], code.listed, own[table : -_END_BYTES - _REMARK_BYTES])
    digest = code.digest.copy()
    for part in parts:
        digest.update(part)
    return _End(parts, end, digest)


def _remark(tag: str) -> bytes:
    """The comment on the last file, which makes every wheel of a release another one. Nobody reads it."""
    return tag.encode().ljust(_REMARK_BYTES)


@dataclass(frozen=True)
class Wheel:
    project: Project
    version: str
    tag: str

    @property
    def parts(self) -> tuple[bytes, ...]:
        end = _end(self.project, self.version)
        return (_code(self.project).begun, *end.before, _remark(self.tag), end.after)

    @property
    def size(self) -> int:
        return sum(map(len, self.parts))

    def between(self, start: int, end: int) -> bytes:
        """Bytes from a start (included) to an end (excluded)."""
        found, at = [], 0
        for part in self.parts:
            found.append(part[max(start - at, 0) : max(end - at, 0)])
            at += len(part)
        return b"".join(found)

    @property
    def sha256(self) -> str:
        end = _end(self.project, self.version)
        digest = end.digest.copy()
        digest.update(_remark(self.tag) + end.after)
        return str(digest.hexdigest())

    @property
    def metadata(self) -> bytes:
        return metadata_of(self.project, self.version)
