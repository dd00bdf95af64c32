"""A gigabyte through the server, up and down, in bounded memory."""

from __future__ import annotations

import base64
import concurrent.futures
import hashlib
import subprocess
import threading
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.configs import UPLOADS, index_source
from tests.support.archives import record_line
from tests.support.azurite import KEY, azurite
from tests.support.gate import WHEELGATE, Gate, environment, gate
from tests.support.index import FakeIndex
from tests.support.packages import metadata, wheel_name

MIB = 1024 * 1024
pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def huge_wheel(folder: Path, size: int) -> Path:
    """A valid wheel of that many bytes, stored, written in pieces."""
    path = folder / wheel_name("acme-huge", "1.0")
    info = "acme_huge-1.0.dist-info"
    small = {
        f"{info}/METADATA": metadata("acme-huge", "1.0"),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    digest = hashlib.sha256()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        with archive.open("acme_huge.bin", "w", force_zip64=True) as entry:
            piece = bytes(range(256)) * (4 * 1024)
            for _ in range(size // len(piece)):
                entry.write(piece)
                digest.update(piece)
        for name, body in small.items():
            archive.writestr(name, body)
        encoded = base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
        record = f"acme_huge.bin,sha256={encoded},\n" + "".join(record_line(*each) for each in small.items())
        archive.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")
    return path


@contextmanager
def growth(server: Gate) -> Iterator[list[int]]:
    """The most memory that the server held above where it began, in bytes; known after the block."""
    first, most, done = server.rss_bytes(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            most[0] = max(most[0], server.rss_bytes() - first)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        done.set()
        thread.join()
        print(f"grew by {most[0] / MIB:.1f} MiB")


def drained(url: str) -> int:
    count = 0
    with urllib.request.urlopen(url, timeout=600) as answer:
        while piece := answer.read(MIB):
            count += len(piece)
    return count


@pytest.mark.parametrize("kind", ["folder", "azure"])
def test_a_gigabyte_up_and_down(tmp_path: Path, index: FakeIndex, kind: str) -> None:
    wheel = huge_wheel(tmp_path, 1024 * MIB)
    size = wheel.stat().st_size
    with azurite(tmp_path / "azurite", "--location", str(tmp_path / "disk"), memory=False) as emulator:
        store = ""
        if kind == "azure":
            make_container(f"{emulator.url}/huge")
            (tmp_path / "gate").mkdir()
            (tmp_path / "gate" / "key").write_text(KEY)
            store = f'[store]\nurl = "{emulator.url}/huge"\naccount_key = "file:key"\ndelivery = "stream"\n'
        with gate(tmp_path / "gate", store + UPLOADS + index_source(index)) as server:
            secret = server.run("token", "new", "--scope", "upload").stdout.strip()
            server.get("/simple/warm-up/")
            time.sleep(2.5)
            env = environment(tmp_path, WHEELGATE_URL=server.url, WHEELGATE_TOKEN=secret)
            with growth(server) as uploaded:
                done = subprocess.run([WHEELGATE, "wheel", "add", wheel], capture_output=True, text=True, env=env, timeout=600)
                assert done.returncode == 0, done.stderr
            with growth(server) as streamed:
                assert drained(f"{server.url}/files/acme-huge/{wheel.name}") == size
    assert uploaded[0] < 32 * MIB
    assert streamed[0] < 32 * MIB


@pytest.mark.parametrize("delivery", ["cache", "stream"])
def test_twenty_clients_stream_a_gigabyte_each(tmp_path: Path, index: FakeIndex, delivery: str) -> None:
    """From an upstream that sends it piece by piece: all follow one fill, or each has a stream of their own."""
    from aiohttp import web

    count = 1024 if delivery == "cache" else 128  # twenty streams of the whole would only take longer
    piece, digest = bytes(MIB), hashlib.sha256()
    for _ in range(count):
        digest.update(piece)
    name = wheel_name("acme-huge", "1.0")
    index.publish("acme-huge", name, b"", hashes={"sha256": digest.hexdigest()}, size=count * MIB)

    async def endless(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = count * MIB
        await response.prepare(request)
        for _ in range(count):
            await response.write(piece)
        return response

    index.handlers[f"/packages/acme-huge/{name}"] = endless
    with gate(tmp_path / "gate", UPLOADS + index_source(index, delivery=delivery)) as server:
        server.get("/simple/acme-huge/")
        with growth(server) as grown, concurrent.futures.ThreadPoolExecutor(20) as pool:
            sizes = list(pool.map(drained, [f"{server.url}/files/acme-huge/{name}"] * 20))
        assert sizes == [count * MIB] * 20
    assert grown[0] < 64 * MIB
    assert index.count(f"/packages/acme-huge/{name}") == (1 if delivery == "cache" else 20)


def make_container(url: str) -> None:
    import asyncio

    from azure.storage.blob.aio import BlobServiceClient

    async def make() -> None:
        account, _, name = url.rpartition("/")
        async with BlobServiceClient(account, credential=KEY) as service:
            await service.create_container(name)

    asyncio.run(make())
