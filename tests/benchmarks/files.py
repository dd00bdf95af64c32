"""Files: small ones, big ones, redirects."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from azure.storage.blob import BlobServiceClient

from tests.benchmarks.measure import Cell, ratios, wrk
from tests.benchmarks.servers import JSON, System, bare, fetched, wheelgate
from tests.support.azurite import KEY, azurite
from tests.support.gate import environment
from tests.support.packages import wheel_name


@contextmanager
def with_token(folder: Path, origin: str) -> Iterator[tuple[System, Mapping[str, str]]]:
    """Ours where reading needs a token, and the header that carries one."""
    name = "wheelgate, token"
    with wheelgate(folder, origin, name=name, flags=["--anonymous", "none"]) as system:
        home = folder / name
        command = [str(Path(sys.executable).with_name("wheelgate")), "token", "new", "-c", str(home / "wheelgate.toml")]
        made = subprocess.run(
            [*command, "--data", str(home / "data"), "--scope", "read", "--expires", "1d"],
            capture_output=True,
            text=True,
            check=True,
            env=environment(folder),
        )
        token = re.search(r"wgt_\w+", made.stdout)
        assert token is not None, made.stdout
        yield system, {"Authorization": f"Bearer {token[0]}"}


def measure(folder: Path, origin: str, pairs: int, seconds: float) -> None:
    """A small wheel and a big one, once held, and what a process that has just started needs."""
    began = time.perf_counter()
    with wheelgate(folder, origin, name="wheelgate, files") as ours:
        started_s = time.perf_counter() - began
        print(f"\nstart-up {started_s:.2f} s, idle {ours.memory_bytes() / 2**20:.0f} MiB\n\nfiles")
        page = fetched(f"{ours.url}/simple/small-0/", Accept=JSON, Accept_Encoding="gzip")[2]
        with bare(folder / "files", {"small-0": page}) as plain:
            paths = {project: f"/files/{project}/{wheel_name(project, '1.0')}" for project in ("small-file", "big-file")}
            for path in paths.values():
                fetched(ours.url + path)
            small, big, yardstick = Cell(), Cell(), Cell()
            for _ in range(pairs):
                small.runs.append(wrk(ours, paths["small-file"], connections=16, seconds=seconds, headers={}))
                yardstick.runs.append(wrk(plain, "/simple/small-0/", connections=16, seconds=seconds, headers={}))
                big.runs.append(wrk(ours, paths["big-file"], connections=1, seconds=seconds, headers={}))
    low, middle, high = ratios(small, yardstick)
    cpu = ratios(yardstick, small, "cpu_us")[1]
    print(f"  small wheel (80 kB)  {small.median('rate'):10,.0f} requests/s {small.median('cpu_us'):9.1f} us cpu each")
    print(f"    beside bare aiohttp's small page: {low:.2f} / {middle:.2f} / {high:.2f} (by cpu time {cpu:.2f})")
    print(f"  big wheel (85 MB)    {big.median('bytes_per_s') / 1e6:10,.0f} MB/s")


def measure_redirects(folder: Path, origin: str, pairs: int, seconds: float) -> None:
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
            f'[[source]]\nname = "pypi"\ntype = "index"\nurl = "{origin}/simple/"\n'
        )
        path = f"/files/small-file/{wheel_name('small-file', '1.0')}"
        with wheelgate(folder, origin, name=home.name, config=config) as ours, bare(folder / "redirects", {}) as plain:
            fetched(ours.url + path)  # from the upstream; it is in the store a moment later
            time.sleep(1)
            redirects, yardstick = Cell(), Cell()
            for _ in range(pairs):
                redirects.runs.append(wrk(ours, path, connections=16, seconds=seconds, headers={}))
                yardstick.runs.append(wrk(plain, path, connections=16, seconds=seconds, headers={}))
    low, middle, high = ratios(redirects, yardstick)
    cpu = ratios(yardstick, redirects, "cpu_us")[1]
    print(f"  302 to a signed URL  {redirects.median('rate'):10,.0f} requests/s {redirects.median('cpu_us'):9.1f} us cpu each")
    print(f"    beside bare aiohttp's: {low:.2f} / {middle:.2f} / {high:.2f} (by cpu time {cpu:.2f})")
