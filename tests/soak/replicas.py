"""The replicas: real `wheelgate serve` processes on one container, killed, drained, started again, and measured."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak.balancer import is_ready
from tests.soak.ledger import Record
from tests.support.azurite import KEY
from tests.support.gate import WHEELGATE, environment

HOST = "127.1"  # loopback, in a spelling that the server does not take for it: so it drains before it stops
KILL_EVERY_S, DRAIN_EVERY_S = 15.0, 20.0
_START_S = 60.0
_STOP_S = 45.0
_METRICS_S = 2.0
_MIB = 1024 * 1024


@dataclass
class Sample:
    """What one process held at one moment."""

    age_s: float
    rss_mib: float
    descriptors: int
    threads: int
    tasks: int
    """Of its event loop."""


@dataclass
class Replica:
    """One place of the three, and the process that has it now."""

    number: int
    folder: Path
    config: Path
    port: int
    record: Record
    life: int = 0
    """How often a process was started here."""
    ready_since_s: float | None = None
    """``None``: it is down, starting, or on its way out."""
    samples: dict[int, list[Sample]] = field(default_factory=dict)
    """By life."""
    process: asyncio.subprocess.Process | None = None

    @property
    def name(self) -> str:
        return f"replica {self.number} (life {self.life}, {self.log})"

    @property
    def log(self) -> Path:
        return self.folder / f"replica-{self.number}-life-{self.life}.log"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_ready(self) -> bool:
        return self.ready_since_s is not None

    async def start(self) -> None:
        """Start a process and wait until it is ready."""
        self.life += 1
        began_s = time.monotonic()
        data = self.folder / f"data-{self.number}"
        command = [WHEELGATE, "serve", "-c", str(self.config), "--data", str(data), "--host", HOST, "--port", str(self.port)]
        with self.log.open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                *command, stdout=log, stderr=log, env=environment(self.folder), start_new_session=True
            )
        while not await is_ready(self.port):
            if self.process.returncode is not None or time.monotonic() - began_s > _START_S:
                await self._end(signal.SIGKILL)
                raise AssertionError(f"{self.name} did not start, status {self.process.returncode}")
            await asyncio.sleep(0.1)
        self.ready_since_s = time.monotonic()
        self.record.time("start to ready", self.ready_since_s - began_s)
        self.record.note(f"{self.name} is ready")

    async def kill(self) -> None:
        """End it as a power cut would."""
        await self._end(signal.SIGKILL)

    async def drain(self) -> None:
        """End it as an orchestrator does, and demand that it ends well."""
        began_s = time.monotonic()
        status = await self._end(signal.SIGTERM)
        self.record.time("drain", time.monotonic() - began_s)
        if status != 0:
            self.record.break_(f"ended with {status} when it was drained", self.name)

    async def _end(self, how: signal.Signals) -> int | None:
        assert self.process is not None
        self.ready_since_s = None
        self.record.note(f"{self.name}: {how.name}")
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, how)  # Popen would look for its end first, and take its status from asyncio
        try:
            async with asyncio.timeout(_STOP_S):
                return await self.process.wait()
        except TimeoutError:
            self.record.break_(f"is there {_STOP_S:g} s after {how.name}", self.name)
            self.process.kill()
            return None

    async def measure(self) -> None:
        """Write down what the process holds now."""
        life = self.life
        tasks = await read_gauge(self.port, "wheelgate_tasks")
        if self.process is None or self.ready_since_s is None:
            return
        if self.process.returncode is not None:
            self.record.break_(f"ended by itself with {self.process.returncode}", self.name)
            self.ready_since_s = None
            return
        if tasks is None or life != self.life:
            return
        place = Path(f"/proc/{self.process.pid}")
        status = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
        sample = Sample(
            self.record.age_s,
            int(status["VmRSS"].split()[0]) / 1024,
            len(os.listdir(place / "fd")),  # noqa: PTH208 - names alone
            int(status["Threads"]),
            int(tasks),
        )
        self.samples.setdefault(self.life, []).append(sample)

    def tracebacks(self) -> int:
        """How many its logs hold, of all lives."""
        logs = self.folder.glob(f"replica-{self.number}-life-*.log")
        return sum(log.read_text(errors="replace").count("Traceback (most recent call last)") for log in logs)


@dataclass
class Fleet:
    """The replicas together. The last one is spared until :attr:`spares` is taken back, so that its memory tells a slope."""

    replicas: list[Replica]
    record: Record
    dice: random.Random
    spares: bool = True

    async def start(self) -> None:
        async with asyncio.TaskGroup() as group:
            for replica in self.replicas:
                group.create_task(replica.start())

    @property
    def ready(self) -> list[Replica]:
        return [replica for replica in self.replicas if replica.is_ready]

    async def kill_by_turns(self) -> None:
        """A `kill -9` every 15 s, for ever."""
        await self._end_by_turns(KILL_EVERY_S, "kill -9", Replica.kill)

    async def drain_by_turns(self) -> None:
        """A drain every 20 s, for ever."""
        await self._end_by_turns(DRAIN_EVERY_S, "drains", Replica.drain)

    async def _end_by_turns(self, every_s: float, what: str, end: object) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                await asyncio.sleep(every_s)
                while (victim := self._victim()) is None:  # one has to stay
                    await asyncio.sleep(0.2)
                self.record.counts[what] += 1
                victim.ready_since_s = None
                group.create_task(self._renew(victim, end))

    def _victim(self) -> Replica | None:
        ready = self.ready
        mortal = [replica for replica in ready if not (self.spares and replica is self.replicas[-1])]
        return self.dice.choice(mortal) if mortal and len(ready) > 1 else None

    @staticmethod
    async def _renew(victim: Replica, end: object) -> None:
        assert callable(end)
        await end(victim)
        while True:
            began_s = time.monotonic()
            try:
                await victim.start()
            except AssertionError as error:
                victim.record.break_(str(error), victim.name, since_s=began_s)
                await asyncio.sleep(1)
            else:
                return

    async def measure(self) -> None:
        """Memory, descriptors, threads and tasks of each, every 2 s, for ever."""
        while True:
            for replica in self.replicas:
                await replica.measure()
            await asyncio.sleep(2)

    async def stop(self) -> None:
        for replica in self.replicas:
            if replica.process is not None and replica.process.returncode is None:
                replica.process.kill()
                await replica.process.wait()


async def read_gauge(port: int, name: str) -> float | None:
    """The value of a metric; ``None``: it could not be had."""
    try:
        async with asyncio.timeout(_METRICS_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"GET /metrics HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n\r\n")
                text = (await reader.read()).decode(errors="replace")
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return None
    return next((float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} ")), None)


def write_config(folder: Path, store_url: str, index_url: str) -> Path:
    """The settings of every replica: tokens for reading, uploads, and a public index that is asked often."""
    (folder / "key").write_text(KEY)
    config = folder / "wheelgate.toml"
    config.write_text(
        f'[server]\nanonymous = "none"\n[store]\nurl = "{store_url}"\naccount_key = "file:key"\n'
        '[[source]]\nname = "uploads"\ntype = "store"\n'
        f'[[source]]\nname = "public"\ntype = "index"\nurl = "{index_url}"\nprivate = false\nfresh = "5s"\n'
    )
    return config


def free_ports(count: int, dice: random.Random) -> list[int]:
    """Ports that no outgoing connection will ever take while a replica is down."""
    found: list[int] = []
    while len(found) < count:
        port = dice.randrange(20_000, 30_000)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        if port not in found:
            found.append(port)
    return found
