"""Growth: the same requests before a server that holds little and one that holds much, in turn, while both change every 1.5 s.

A second server on the same store makes the changes, as a replica does: it takes an upload. What is asked stays the same: one warm
page, pages that were not asked for before, uploads. ``TMPDIR=/dev/shm`` saves minutes: the large store has over a million files.
"""

from __future__ import annotations

import functools
import http.client
import itertools
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tests.benchmarks.held import held_name, hold_files, hold_names, hold_tokens
from tests.benchmarks.report import Row
from tests.benchmarks.servers import JSON, System, new_token, wheelgate
from tests.support.azurite import KEY
from tests.support.fake_container import fake_container, project_of
from tests.support.packages import wheel_bytes, wheel_name

_MOST_TIMES, _MOST_START_S, _MOST_BYTES_A_NAME = 1.5, 1.0, 60
_CHANGE_EVERY_S = 1.5
_LAST_S = 15.0
"""One repetition: ten changes."""
_COLD_EVERY = 20
"""Warm requests for each cold one."""
_LISTING_S = 0.05
"""A page of a container's listing: 5,000 blobs."""
_PAUSE_S = 0.002
_WARM = "small-warm"
_BOUNDARY = "5d41402abc4b2a76b9719d911017c592"


@dataclass(frozen=True)
class World:
    """What one server holds."""

    name: str
    fill: Callable[[Path], None]
    cold: Callable[[int], str] = "small-{}".format
    """Projects that were not asked for before, by number."""
    changing: str = "acme-changing"
    """The project that uploads go to."""
    feeds: int = 0
    """Private indexes that are asked before the public one."""
    anonymous: str = "read"
    blobs: int = 0
    """In a container that is listed whole, ten to a project."""


@dataclass(frozen=True)
class Growth:
    """A small world and a large one."""

    name: str
    small: World
    large: World
    names: int = 0
    """So many names, or blobs, more are held by the large one."""


@dataclass
class Times:
    """Seconds that each kind of request took, in one repetition."""

    warm: list[float] = field(default_factory=list)
    cold: list[float] = field(default_factory=list)
    upload: list[float] = field(default_factory=list)


class Subject:
    """A server that is measured, and the one beside it that changes things."""

    def __init__(self, stack: ExitStack, folder: Path, origin: str, world: World) -> None:
        home = folder / world.name
        home.mkdir()
        world.fill(home / "data" / "store")
        self._world = world
        container = stack.enter_context(fake_container(world.blobs, latency_s=_LISTING_S)) if world.blobs else ""
        (folder / "key").write_text(KEY)
        config = _configuration(world, origin, container)
        self.other = stack.enter_context(wheelgate(folder, name=f"{world.name}, other", config=config, data=home / "data"))
        _wait_until_ready(self.other)
        began = time.perf_counter()
        self.ours = stack.enter_context(wheelgate(folder, name=world.name, config=config))
        _wait_until_ready(self.ours)
        self.start_s = time.perf_counter() - began
        self._token = new_token(home, "read", "upload")
        self._cold, self._versions = itertools.count(), itertools.count()
        self.times = Times()

    def warm_up(self) -> None:
        """See the pages that are warm from now on, and take a first upload."""
        self._connection = _connect(self.ours.url)
        for _ in range(20):
            self._ask(_WARM)
        self.change()
        self.times = Times()

    def ask_warm(self) -> None:
        self.times.warm.append(self._ask(_WARM))

    def ask_cold(self) -> None:
        self.times.cold.append(self._ask(self._world.cold(next(self._cold))))

    def list_names(self) -> None:
        """Ask for the list of projects, until it has been made."""
        while True:
            self._connection.request("GET", "/simple/", headers={"Accept": JSON, **self._token})
            answer = self._connection.getresponse()
            answer.read()
            if answer.status == 200:
                return
            time.sleep(1)  # it says that the names are still being listed

    def change(self) -> None:
        """One upload, taken by the other server."""
        version = f"2.{next(self._versions)}"
        name, body = wheel_name(self._world.changing, version), wheel_bytes(self._world.changing, version)
        connection = _connect(self.other.url)
        headers = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}", **self._token}
        began = time.perf_counter()
        connection.request("POST", "/legacy/", body=_form(name, body), headers=headers)
        self._require(connection.getresponse(), name)
        self.times.upload.append(time.perf_counter() - began)
        connection.close()

    def _ask(self, project: str) -> float:
        headers = {"Accept": JSON, "Accept-Encoding": "gzip", **self._token}
        began = time.perf_counter()
        self._connection.request("GET", f"/simple/{project}/", headers=headers)
        self._require(self._connection.getresponse(), project)
        return time.perf_counter() - began

    def _require(self, answer: http.client.HTTPResponse, what: str) -> None:
        said = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{self.ours.name}: {what}: {answer.status} {said[:200]!r}")


def growth(folder: Path, origin: str, pairs: int) -> Iterator[Row]:
    """All that may grow, one after the other."""
    for grown in _growths():
        with ExitStack() as stack:
            small = Subject(stack, folder, origin, grown.small)
            large = Subject(stack, folder, origin, grown.large)
            yield from _compare(grown, small, large, pairs)


def _growths() -> Iterator[Growth]:
    def holding(names: int) -> World:
        return World(f"{names} names", functools.partial(hold_names, names=names), cold=lambda n: held_name(n % names))

    def guarded(tokens: int) -> World:
        return World(f"{tokens} tokens", functools.partial(hold_tokens, tokens=tokens), anonymous="none")

    def crowded(files: int) -> World:
        fill = functools.partial(hold_files, project="acme-much", files=files)
        return World(f"{files} files", fill, changing="acme-much")

    def fed(feeds: int) -> World:
        return World(f"{feeds} feeds", lambda _: None, feeds=feeds)

    def listed(blobs: int) -> World:
        return World(f"{blobs} blobs", lambda _: None, cold=lambda n: project_of(n * 10 % blobs), blobs=blobs)

    yield Growth("200,000 names / 1,000", holding(1_000), holding(200_000), names=199_000)
    yield Growth("10,000 tokens / 10", guarded(10), guarded(10_000))
    yield Growth("15,000 files that change / 100", crowded(100), crowded(15_000))
    yield Growth("300,000 blobs of any layout / 10,000", listed(10_000), listed(300_000), names=290_000)
    yield Growth("30 sources / 2", fed(1), fed(29))


def _compare(grown: Growth, small: Subject, large: Subject, pairs: int) -> Iterator[Row]:
    times: list[tuple[Times, Times]] = []
    for subject in (small, large):
        subject.warm_up()
    for _ in range(pairs):
        _ask_in_turn(small, large)
        times.append((small.times, large.times))
        small.times, large.times = Times(), Times()
    for kind in ("warm", "cold", "upload"):
        seconds = [(getattr(few, kind), getattr(many, kind)) for few, many in times]
        for what, find in (("p50", statistics.median), ("p99", _p99)):
            found = [(find(few), find(many)) for few, many in seconds]
            few_ms, many_ms = (statistics.median(side) * 1e3 for side in zip(*found, strict=True))
            ratios = [many / few for few, many in found]
            seen = f"{many_ms:.1f} ms; {few_ms:.1f} ms"
            yield Row(f"{grown.name}: {kind}, {what}", _MOST_TIMES, ratios, at_most=True, unit="x", seen=seen)
    yield Row(f"{grown.name}: start-up", _MOST_START_S, [large.start_s], "s", at_most=True, seen=f"{small.start_s:.2f} s")
    if grown.names:
        for subject in (small, large):
            subject.list_names()
        held = [(large.ours.memory_bytes() - small.ours.memory_bytes()) / grown.names]
        yield Row(f"{grown.name}: memory a name", _MOST_BYTES_A_NAME, held, "B", at_most=True)


def _ask_in_turn(small: Subject, large: Subject) -> None:
    """One repetition: requests to both in turn, changes of both meanwhile."""
    ended = threading.Event()
    failed: list[BaseException] = []

    def change() -> None:
        try:
            while not ended.wait(_CHANGE_EVERY_S):
                small.change()
                large.change()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        until = time.monotonic() + _LAST_S
        while time.monotonic() < until and not failed:
            for _ in range(_COLD_EVERY):
                small.ask_warm()
                large.ask_warm()
                time.sleep(_PAUSE_S)
            small.ask_cold()
            large.ask_cold()
    finally:
        ended.set()
        thread.join()
    if failed:
        raise failed[0]


def _p99(times: list[float]) -> float:
    """The time that one of a hundred takes longer than; the longest, of few."""
    return sorted(times)[int(len(times) * 0.99)]


def _wait_until_ready(system: System) -> None:
    """Wait until it can answer: where a container was never listed before, every name may be its."""
    connection = _connect(system.url)
    while True:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        answer.read()
        if answer.status == 200:
            connection.close()
            return
        time.sleep(0.05)


def _connect(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    connection.connect()
    return connection


def _configuration(world: World, origin: str, container: str) -> str:
    sources = ['[[source]]\nname = "uploads"\ntype = "store"\n']
    if container:
        sources.append(f'[[source]]\nname = "curated"\ntype = "blob"\nurl = "{container}"\naccount_key = "file:../key"\n')
    sources += [
        f'[[source]]\nname = "feed-{number}"\ntype = "index"\nurl = "{origin}/feeds/{number}/simple/"\nprivate = true\n'
        for number in range(world.feeds)
    ]
    sources.append(f'[[source]]\nname = "pypi"\ntype = "index"\nurl = "{origin}/simple/"\nprivate = false\n')
    return f'[server]\nanonymous = "{world.anonymous}"\n\n' + "\n".join(sources)


def _form(name: str, body: bytes) -> bytes:
    """An upload as twine sends it, with the fields that are needed."""
    fields = {":action": "file_upload", "protocol_version": "1"}
    parts = [f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n' for key, value in fields.items()]
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="content"; filename="{name}"\r\n\r\n'
    return "".join([*parts, head]).encode() + body + f"\r\n--{_BOUNDARY}--\r\n".encode()
