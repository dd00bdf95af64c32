"""The soak: three replicas on one container, under everything at once. ``python -m tests.soak --minutes 30``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.soak.balancer import is_ready
from tests.soak.clients import PlainInstallers, RealInstaller, Site
from tests.soak.crowd import gather_crowd
from tests.soak.held import hold
from tests.soak.http import http_client
from tests.soak.judge import Judge
from tests.soak.ledger import Ledger, Record
from tests.soak.replicas import Fleet, Replica, free_ports, write_config
from tests.soak.report import format_figures, format_verdict, judge_crowd, judge_slope, judge_store
from tests.soak.store_watch import watching
from tests.soak.weather import PublicIndex, public_index
from tests.soak.writers import Writers, new_token
from tests.support.azurite import KEY, azurite
from wheelgate.core.errors import StoreError
from wheelgate.storage import layout

REPLICAS = 3
_NODE_OPTIONS = ("--max-old-space-size=4096", "--require", str(Path(__file__).with_name("emulator.cjs")))
_FIRST = -10
_SPARED = 0.8
"""The part of the time during which one replica is spared."""


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long replicas are killed and drained (default: 30)")
    parser.add_argument("--crowd-seconds", type=float, default=20.0, help="how long the crowd stays afterwards; 0: no crowd")
    parser.add_argument("--names", type=int, default=0, help="names that the container holds before")
    parser.add_argument("--tokens", type=int, default=0, help="tokens that it holds before")
    parser.add_argument("--seed", type=int, default=None, help="of everything that is drawn by lot")
    parser.add_argument(
        "--keep", type=Path, default=None, help="a folder for logs and events; kept (default: kept if anything broke)"
    )
    return parser.parse_args()


async def soak(folder: Path, store_url: str, index: PublicIndex, arguments: argparse.Namespace) -> bool:
    """Run it all, print the table, and say whether everything held."""
    seed = random.randrange(10**6) if arguments.seed is None else arguments.seed
    dice, record = random.Random(seed), Record(folder)
    print(f"seed {seed}, events and logs in {folder}", flush=True)
    await _make_container(store_url)
    if arguments.names or arguments.tokens:
        began_s = time.monotonic()
        await hold(store_url, names=arguments.names, tokens=arguments.tokens)
        print(f"{arguments.names} names and {arguments.tokens} tokens held after {time.monotonic() - began_s:.0f} s", flush=True)
    config = write_config(folder, store_url, index.url_of_all)
    balancer_port, *ports = free_ports(1 + REPLICAS, dice)
    replicas = [Replica(number, folder, config, port, record) for number, port in enumerate(ports)]
    fleet = Fleet(replicas, record, dice)
    crowd: dict[str, Any] = {}
    with watching(store_url, layout.CHANGED, record.note) as watch:
        async with http_client(record, "") as http, _balancer(balancer_port, ports, folder):
            try:
                await fleet.start()
                site = Site(folder, config, f"http://127.0.0.1:{balancer_port}", http, index, Ledger(), record, dice)
                http.token = await new_token(site, "read")
                async with asyncio.TaskGroup() as group:
                    judge = Judge(site, fleet, group)
                    await _storm(site, fleet, judge, store_url, arguments.minutes * 60)
                slope = judge_slope(replicas[-1], record)
                await judge.look_at_everything()
                if arguments.crowd_seconds:
                    crowd = await gather_crowd(site, replicas[0], arguments.crowd_seconds)
                    judge_crowd(crowd, record)
            finally:
                await fleet.stop()
    judge_store(watch, record)
    print(format_figures(record, replicas, crowd), format_verdict(record, watch, slope, crowd), sep="\n\n")
    return not record.broken


async def _storm(site: Site, fleet: Fleet, judge: Judge, store_url: str, seconds: float) -> None:
    """Everything at once, for so long; afterwards everything is up and well again."""
    plain = PlainInstallers(site)
    writers = Writers(site, judge, await new_token(site, "upload"), store_url)
    await plain.see_warm()
    await writers.upload_first()
    await asyncio.sleep(3)  # what was seen is written behind the answer
    site.record.note("the storm begins")
    busy = [plain.install_own, plain.install_own, plain.install_warm, plain.install_warm, plain.install_cold]
    busy += [RealInstaller(site, "pip").work, RealInstaller(site, "uv").work]
    busy += [writers.upload, writers.change, writers.command_tokens, writers.turn_tokens_over]
    ends = [asyncio.create_task(end()) for end in (fleet.kill_by_turns, fleet.drain_by_turns)]
    tasks = [asyncio.create_task(work()) for work in busy]
    around: list[Coroutine[Any, Any, None]] = [judge.watch(), fleet.measure(), site.index.change(site.record, site.dice)]
    beside = [asyncio.create_task(work) for work in around]
    everything = [*tasks, *ends, *beside]
    try:
        await _until_first_fails(everything, seconds * _SPARED)
        fleet.spares = False
        await _until_first_fails(everything, seconds * (1 - _SPARED))
    except (AssertionError, OSError, StoreError) as error:
        site.record.break_(f"the soak's own: {error}")
    site.record.note("the storm ends")
    await _cancel(*tasks, beside[2])
    site.index.clear()
    await _cancel(*ends)
    await _all_up(fleet)
    await _cancel(*beside)


async def _until_first_fails(tasks: list[asyncio.Task[None]], seconds: float) -> None:
    """Wait; what fails meanwhile is a fault of the soak's own, and ends the storm."""
    done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


async def _cancel(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _all_up(fleet: Fleet) -> None:
    """Start what was interrupted on its way down or up."""
    for replica in fleet.replicas:
        if not replica.is_ready or not await is_ready(replica.port):
            await replica.kill()
            await replica.start()


async def _make_container(store_url: str) -> None:
    from azure.storage.blob.aio import BlobServiceClient

    account, _, name = store_url.rpartition("/")
    async with BlobServiceClient(account, credential=KEY) as service:
        await service.create_container(name)


@asynccontextmanager
async def _balancer(port: int, replicas: list[int], folder: Path) -> AsyncIterator[None]:
    with (folder / "balancer.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.soak.balancer", *map(str, [port, *replicas]), stdout=log, stderr=log,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
    try:
        yield
    finally:
        if process.returncode is None:
            process.kill()
        else:
            print(f"the balancer ended by itself: {folder / 'balancer.log'}")
        await process.wait()


def main() -> None:
    arguments = read_arguments()
    folder = Path(tempfile.mkdtemp(prefix="wheelgate-soak-")) if arguments.keep is None else arguments.keep.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with azurite(folder / "azurite", node_options=_NODE_OPTIONS) as emulator, public_index() as index:
        with contextlib.suppress(PermissionError):  # it stands in for a service that has machines of its own
            os.setpriority(os.PRIO_PROCESS, emulator.process.pid, _FIRST)
        held = asyncio.run(soak(folder, f"{emulator.url}/soak", index, arguments))
        status = Path(f"/proc/{emulator.process.pid}/status").read_text()
        [most_kib] = re.findall(r"VmHWM:\s+(\d+)", status)
        print(f"the emulator held {int(most_kib) / 1024:.0f} MiB at most")
    if held and arguments.keep is None:
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)
    elif not held:
        print(f"something broke; logs of the replicas and events.log: {folder}")
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
