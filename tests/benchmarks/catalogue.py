"""57 projects that really resolve, as two upstreams show them: an index with everything, and a feed with next to nothing.

The shape is that of ``azure-identity azure-storage-blob pandas scikit-learn mlflow-skinny fastapi`` in autumn 2026: who needs
whom, about how many releases and wheels each has, and how large they are.

- ``/simple/``: JSON, gzipped, with the wheels' metadata beside them (PEP 658), no delay.
- ``/feed/pypi/simple/``: as an Azure Artifacts feed. HTML alone, with link, digest and ``requires-python``; no metadata; HEAD of
  a file is 405, GET is a 303 to a signed URL, another one each time, and only there ranges are known. Every answer, the
  storage's too, takes 30 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import hashlib
import io
import itertools
import json
import random
import zipfile
import zlib
from dataclasses import dataclass
from html import escape
from typing import Any

from aiohttp import web

from tests.benchmarks.pages import PLATFORMS, PYTHONS
from tests.support.packages import metadata

ROOTS = ("azure-identity", "azure-storage-blob", "pandas", "scikit-learn", "mlflow-skinny", "fastapi")
FEED, DELAY_S = "/feed/pypi/simple/", 0.03
_JSON = "application/vnd.pypi.simple.v1+json"
_REQUIRES_PYTHON = ">=3.10"

# project, releases, wheels of each, kB of a wheel, what it needs
_PROJECTS = """
annotated-doc 7 1 60
annotated-types 12 1 60
anyio 70 1 110 idna typing-extensions
azure-core 100 1 210 requests typing-extensions
azure-identity 90 1 190 azure-core cryptography msal msal-extensions typing-extensions
azure-storage-blob 90 1 430 azure-core cryptography typing-extensions isodate
cachetools 70 1 60
certifi 70 1 160
cffi 60 25 220 pycparser
charset-normalizer 45 40 150
click 65 1 110
cloudpickle 40 1 60
cryptography 130 20 4500 cffi
databricks-sdk 160 1 800 requests google-auth protobuf
fastapi 280 1 110 starlette pydantic typing-extensions typing-inspection annotated-doc opentelemetry-api
gitdb 30 1 63 smmap
gitpython 80 1 210 gitdb
google-auth 170 1 220 pyasn1-modules cryptography
h11 18 1 60
idna 40 1 70
importlib-metadata 120 1 60 zipp
isodate 15 1 60
joblib 70 1 310
mlflow-skinny 170 1 2400 anyio cachetools click cloudpickle databricks-sdk fastapi gitpython importlib-metadata \
  opentelemetry-api opentelemetry-proto opentelemetry-sdk packaging protobuf pydantic python-dotenv pyyaml \
  requests sqlparse typing-extensions uvicorn
msal 70 1 120 requests pyjwt cryptography
msal-extensions 30 1 60 msal
narwhals 220 1 430
numpy 125 35 16600
opentelemetry-api 90 1 66 typing-extensions
opentelemetry-proto 80 1 73 protobuf
opentelemetry-sdk 90 1 120 opentelemetry-api opentelemetry-semantic-conventions typing-extensions
opentelemetry-semantic-conventions 80 1 190 opentelemetry-api typing-extensions
packaging 60 1 67
pandas 105 24 12400 numpy python-dateutil
protobuf 220 8 320
pyasn1 50 1 84
pyasn1-modules 35 1 180 pyasn1
pycparser 20 1 118
pydantic 170 1 460 annotated-types pydantic-core typing-extensions typing-inspection
pydantic-core 150 99 2100 typing-extensions
pyjwt 50 1 60
python-dateutil 30 1 230 tzdata
python-dotenv 60 1 60
pyyaml 30 30 750
requests 120 1 65 certifi charset-normalizer idna urllib3
scikit-learn 65 22 8900 numpy scipy joblib threadpoolctl narwhals
scipy 80 25 35300 numpy
smmap 20 1 60
sqlparse 50 1 60
starlette 180 1 73 anyio typing-extensions
threadpoolctl 15 1 60
typing-extensions 50 1 60
typing-inspection 8 1 60 typing-extensions
tzdata 30 1 340
urllib3 110 1 130
uvicorn 140 1 65 click h11
zipp 60 1 60
"""

_TAGS = [
    f"{python}-{python}-{platform}"
    for platform in (*PLATFORMS, "win32", "win_arm64", "macosx_10_12_x86_64", "manylinux_2_17_armv7l", "musllinux_1_2_aarch64")
    for python in ("cp311", *(name for name in PYTHONS if name != "cp311"), "cp39", "cp38", "cp315", "cp314t", "pp311")
]
_PAYLOAD = random.Random(57).randbytes(36_000_000)
_README = "Every release has a description as long as this one, which clients read and never show.\n" * 40


@dataclass(frozen=True)
class _Project:
    name: str
    releases: int
    tags: tuple[str, ...]
    wheel_bytes: int
    needs: tuple[str, ...]

    @property
    def versions(self) -> list[str]:
        return [f"{number // 50 + 1}.{number // 10 % 5}.{number % 10}" for number in range(self.releases)]


def _project(line: str) -> _Project:
    name, releases, wheels, kilobytes, *needs = line.split()
    tags = tuple(_TAGS[: int(wheels)]) if int(wheels) > 1 else ("py3-none-any",)
    return _Project(name, int(releases), tags, int(kilobytes) * 1_000, tuple(needs))


PROJECTS = {project.name: project for project in map(_project, _PROJECTS.strip().splitlines())}


def _metadata(project: _Project, version: str) -> bytes:
    needs = [f"{name}>={PROJECTS[name].versions[PROJECTS[name].releases // 2]}" for name in project.needs]
    return metadata(project.name, version, requires=needs, requires_python=_REQUIRES_PYTHON) + _README.encode()


class _After(io.BytesIO):
    """A file of which the beginning is somewhere else."""

    def __init__(self, before: int) -> None:
        super().__init__()
        self._before = before

    def tell(self) -> int:
        return self._before + super().tell()

    def seek(self, place: int, whence: int = 0) -> int:
        return super().seek(place - self._before, whence)


@functools.cache
def _code(project: _Project) -> tuple[bytes, zipfile.ZipInfo, Any]:
    """What all wheels of a project begin with, its place in the archive, and the state of their digest after it."""
    buffer, entry = io.BytesIO(), zipfile.ZipInfo(f"{project.name.replace('-', '_')}/code.bin")
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(entry, _PAYLOAD[: project.wheel_bytes])
    begun = buffer.getvalue()[: archive.start_dir]
    return begun, entry, hashlib.sha256(begun)


@functools.cache
def _end(project: _Project, version: str) -> tuple[bytes, Any]:
    """What follows in all wheels of a release, the metadata at the end as wheels have it, and the state of their digest there."""
    begun, entry, digest = _code(project)
    info = f"{project.name.replace('-', '_')}-{version}.dist-info"
    buffer = _After(len(begun))
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.filelist.append(entry)
        archive.writestr(zipfile.ZipInfo(f"{info}/METADATA"), _metadata(project, version))
        archive.writestr(zipfile.ZipInfo(f"{info}/WHEEL"), "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(zipfile.ZipInfo(f"{info}/RECORD"), "")
    end = buffer.getvalue()[:-2]
    digest = digest.copy()
    digest.update(end)
    return end, digest


def _remark(tag: str) -> bytes:
    """The archive's comment, which makes every wheel of a release another file."""
    return len(tag).to_bytes(2, "little") + tag.encode()


@dataclass(frozen=True)
class _Wheel:
    project: _Project
    version: str
    tag: str

    @property
    def body(self) -> bytes:
        return b"".join((_code(self.project)[0], _end(self.project, self.version)[0], _remark(self.tag)))

    @property
    def sha256(self) -> str:
        digest = _end(self.project, self.version)[1].copy()
        digest.update(_remark(self.tag))
        return str(digest.hexdigest())

    @property
    def metadata(self) -> bytes:
        return _metadata(self.project, self.version)


class _Upstream:
    """Both faces of the catalogue, their pages finished beforehand."""

    def __init__(self) -> None:
        self._wheels: dict[str, _Wheel] = {}
        self._signatures = itertools.count()
        self._pages = {name: self._both(project) for name, project in PROJECTS.items()}

    def _both(self, project: _Project) -> tuple[bytes, bytes]:
        """The page in JSON, gzipped, and in HTML."""
        entries: list[dict[str, Any]] = []
        anchors: list[str] = []
        stem = project.name.replace("-", "_")
        for version in project.versions:
            wheels = {f"{stem}-{version}-{tag}.whl": _Wheel(project, version, tag) for tag in project.tags}
            self._wheels |= wheels
            described = {"sha256": hashlib.sha256(_metadata(project, version)).hexdigest()}
            sdist = f"{stem}-{version}.tar.gz"
            size = len(_code(project)[0]) + len(_end(project, version)[0])
            digests = {sdist: hashlib.sha256(sdist.encode()).hexdigest()} | {name: wheel.sha256 for name, wheel in wheels.items()}
            for name, sha256 in digests.items():
                entry: dict[str, Any] = {
                    "filename": name,
                    "url": f"/packages/{sha256[:2]}/{sha256[2:4]}/{sha256[4:]}/{name}",
                    "hashes": {"sha256": sha256},
                    "requires-python": _REQUIRES_PYTHON,
                    "size": size + len(_remark(wheels[name].tag)) if name in wheels else size // 2,
                    "upload-time": "2026-01-02T03:04:05.678901Z",
                    "yanked": False,
                }
                if name in wheels:
                    entry["core-metadata"] = entry["dist-info-metadata"] = described
                entries.append(entry)
                anchors.append(
                    f'<a href="/feed/pypi/download/{project.name}/{version}/{name}#sha256={sha256}" '
                    f'data-requires-python="{escape(_REQUIRES_PYTHON)}">{name}</a><br/>\n'
                )
        made = {"meta": {"api-version": "1.1"}, "name": project.name, "versions": project.versions, "files": entries}
        compressor = zlib.compressobj(6, wbits=31)
        page = compressor.compress(json.dumps(made, separators=(",", ":")).encode()) + compressor.flush()
        title = f"Links for {project.name}"
        html = f"<!DOCTYPE html><html><head><title>{title}</title></head><body><h1>{title}</h1>{''.join(anchors)}</body></html>"
        return page, html.encode()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        match request.rel_url.raw_path.strip("/").split("/"):
            case ["simple", project] if project in self._pages:
                return web.Response(body=self._pages[project][0], headers={"Content-Type": _JSON, "Content-Encoding": "gzip"})
            case ["packages", *_, name] if name.removesuffix(".metadata") in self._wheels:
                wheel = self._wheels[name.removesuffix(".metadata")]
                return web.Response(body=wheel.metadata if name.endswith(".metadata") else wheel.body)
            case ["feed", *rest]:
                await asyncio.sleep(DELAY_S)
                return self._fed(request, rest)
        return web.Response(status=404)

    def _fed(self, request: web.BaseRequest, path: list[str]) -> web.Response:
        match path:
            case ["pypi", "simple", project] if project in self._pages:
                headers = {"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store"}
                return web.Response(body=self._pages[project][1], headers=headers)
            case ["pypi", "download", _, _, name] if name in self._wheels:
                if request.method == "HEAD":
                    return web.Response(status=405)
                location = f"/feed/storage/{name}?sig={next(self._signatures)}"
                return web.Response(status=303, headers={"Location": location, "Cache-Control": "no-store"})
            case ["storage", name] if name in self._wheels:
                return _stored(request, self._wheels[name].body)
        return web.Response(status=404)


def _stored(request: web.BaseRequest, body: bytes) -> web.Response:
    """A blob. Ranges are of the forms that Blob Storage knows: with a beginning."""
    start, end, _ = request.http_range.indices(len(body))
    headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
    if "Range" not in request.headers or request.headers["Range"].startswith("bytes=-"):
        return web.Response(body=body, headers=headers)
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(body)}"
    return web.Response(status=206, body=body[start:end], headers=headers)


async def _serve(port: int) -> None:
    runner = web.ServerRunner(web.Server(_Upstream().answer, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("port", type=int)
    asyncio.run(_serve(arguments.parse_args().port))
