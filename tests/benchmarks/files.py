"""Files: small ones, big ones, redirects."""

from __future__ import annotations

import statistics
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from azure.storage.blob import BlobServiceClient

from tests.benchmarks.measure import Cell, ratios, wrk
from tests.benchmarks.report import Row
from tests.benchmarks.servers import JSON, System, bare, fetched, wheelgate
from tests.support.azurite import KEY, azurite
from tests.support.packages import wheel_name


def small(folder: Path, ours: System, pairs: int, seconds: int) -> Iterator[Row]:
    """A small wheel and a wheel's metadata, once held."""
    page = fetched(f"{ours.url}/simple/small-0/", Accept=JSON, Accept_Encoding="gzip")[2]
    wheel = _path("small-file")
    fetched(ours.url + wheel)
    fetched(f"{ours.url}{wheel}.metadata")
    with bare(folder / "files", {"small-0": page}) as plain:
        wheels, described, yardstick = Cell(), Cell(), Cell()
        for _ in range(pairs):
            wheels.runs.append(wrk(ours, wheel, connections=16, seconds=seconds, headers={}))
            yardstick.runs.append(wrk(plain, "/simple/small-0/", connections=16, seconds=seconds, headers={}))
            described.runs.append(wrk(ours, f"{wheel}.metadata", connections=16, seconds=seconds, headers={}))
    yield Row("small wheel (80 kB) / bare aiohttp's small page", 0.6, ratios(wheels, yardstick), seen=f"{wheels}; {yardstick}")
    yield Row(".metadata / bare aiohttp's small page", 0.6, ratios(described, yardstick), seen=f"{described}")


def big(origin: str, ours: System, pairs: int, seconds: int) -> Iterator[Row]:
    """A big wheel on its way in, another in each repetition, and once it is on the disk."""
    disk, filling, alone = [], [], []
    for number in range(pairs):
        project = f"big-{number}"
        fetched(f"{ours.url}/simple/{project}/", Accept=JSON)
        alone.append(_mb_s(f"{origin}/packages/{project}/{wheel_name(project, '1.0')}"))
        filling.append(_mb_s(ours.url + _path(project)))
        disk.append(wrk(ours, _path(project), connections=1, seconds=seconds, headers={}).bytes_per_s / 1e6)
    yield Row("big wheel (85 MB) from disk", 1_000, disk, "MB/s")
    seen = f"the upstream itself {statistics.median(alone):,.0f} MB/s"
    yield Row("big wheel (85 MB) while filling", 400, filling, "MB/s", seen=seen)


def redirects(folder: Path, origin: str, pairs: int, seconds: int) -> Iterator[Row]:
    """302 to a signed URL of a blob, beside bare aiohttp's own 302. The store is the storage emulator."""
    home = folder / "wheelgate, redirects"
    home.mkdir()
    (home / "key").write_text(KEY)
    with azurite(folder / "azurite") as emulator:
        with BlobServiceClient(emulator.url, credential=KEY) as service:
            service.create_container("wheelgate")
        config = (
            f'[store]\nurl = "{emulator.url}/wheelgate"\naccount_key = "file:key"\n\n'
            '[[source]]\nname = "uploads"\ntype = "store"\n\n'
            f'[[source]]\nname = "pypi"\ntype = "index"\nurl = "{origin}/simple/"\nprivate = false\n'
        )
        path = _path("small-file")
        with wheelgate(folder, name=home.name, config=config) as ours, bare(folder / "redirects", {}) as plain:
            fetched(ours.url + path)  # from the upstream; it is in the store a moment later
            time.sleep(1)
            cell, yardstick = Cell(), Cell()
            for _ in range(pairs):
                cell.runs.append(wrk(ours, path, connections=16, seconds=seconds, headers={}))
                yardstick.runs.append(wrk(plain, path, connections=16, seconds=seconds, headers={}))
    yield Row("302 to a signed URL / bare aiohttp's 302", 0.75, ratios(cell, yardstick), seen=f"{cell}; {yardstick}")


def _path(project: str) -> str:
    return f"/files/{project}/{wheel_name(project, '1.0')}"


def _mb_s(url: str) -> float:
    """One download, from the request to the last byte."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    buffer, size = bytearray(1 << 20), 0
    began = time.perf_counter()
    with opener.open(url, timeout=60) as response:
        while read := response.readinto(buffer):
            size += read
    return size / (time.perf_counter() - began) / 1e6
