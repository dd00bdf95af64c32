"""The process itself on a bad day: killed at every write, stopped, without descriptors, memory or disk."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.faults.engine import NotInjected, ask, ask_url, timed
from tests.faults.model import BROKEN_OFF, Expect, Fault, Impossible, Known, Reference, Row, Seen, find_known
from tests.faults.site import JSON, Company, company
from tests.faults.steps import BY_NAME, Page, Revoke, SeenPage, file_path
from tests.support.gate import WHEELGATE, environment
from tests.support.packages import wheel_name

GONE = (BROKEN_OFF,)
ACKNOWLEDGED = (200, BROKEN_OFF)


# ---- kill -9 at every write -----------------------------------------------------------------------------------------------


def killed_at(number: int, after: bool) -> Fault:
    """The front sees the write and ends the process that sent it."""

    @contextmanager
    def inject(site: Company, name: str) -> Iterator[None]:
        site.front.arm(number, site.server.pid, after=after)
        try:
            yield
            if not site.front.killed.wait(4):
                raise NotInjected(f"there was no write number {number}")
        finally:
            site.front.disarm()
            time.sleep(0.1)
            if site.server.has_ended():
                site.server.start()

    when = "after" if after else "before"
    words = f"`kill -9` {when} write {number} of the store"
    return Fault(f"kill-{when}-{number}", words, "the front sees the write and ends the process", inject)


class RevokeKilled(Revoke):
    """The command is the process that ends."""

    def run(self, site: Company, name: str) -> subprocess.CompletedProcess[str]:
        site.state["by_command_s"] = time.monotonic()
        server = site.server
        command = [WHEELGATE, "token", "revoke", "-c", server.config, "--data", server.data, self._identifier(site, name)]
        with subprocess.Popen(
            command, env=environment(server.folder, **server.env), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            site.front.victim = process.pid
            out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(command, process.returncode, out, err)


WRITES = {"upload": 6, "delete": 4, "yank": 2, "revoke": 5, "cold-file": 2}
"""How many writes of the store each makes."""


def _kills() -> Iterator[Row]:
    for name, writes in WRITES.items():
        step = RevokeKilled() if name == "revoke" else BY_NAME[name]
        for number in range(1, writes + 1):
            for after in (False, True):
                statuses = GONE if name in ("upload", "delete", "yank", "revoke") else ACKNOWLEDGED
                fault = killed_at(number, after)
                key = f"{fault.name}/{name}"
                expect = Expect(statuses, 15.0, recovers_s=8.0)
                yield Row(
                    group="process",
                    fault=fault,
                    step=step,
                    expect=expect,
                    open_site=company,
                    quick=key in QUICK,
                    known=find_known(key, KNOWN),
                )


# ---- one of two replicas stands still ---------------------------------------------------------------------------------------


@contextmanager
def replica_stopped(site: Company, _name: str) -> Iterator[None]:
    site.replica.send(signal.SIGSTOP)
    try:
        yield
    finally:
        site.replica.send(signal.SIGCONT)


STOPPED = Fault("stopped", "the other replica stands still, and wakes", "SIGSTOP, SIGCONT", replica_stopped)


# ---- drain ------------------------------------------------------------------------------------------------------------------


@contextmanager
def ended_politely(site: Company, _name: str) -> Iterator[None]:
    """Of a server that listens beyond this machine: on a loopback address nobody balances, and it ends at once."""
    try:
        yield
    finally:
        site.server.env.pop("WHEELGATE_SERVER__HOST", None)
        site.server.start()


class UnderLoad(SeenPage):
    """Clients behind a balancer that goes by ``/readyz``, every 0.2 s."""

    name, words = "load", "a page, over and over, by 8 clients behind a balancer that honours `/readyz`, two replicas"

    def prepare(self, site: Company, name: str) -> None:
        site.server.env["WHEELGATE_SERVER__HOST"] = "0.0.0.0"
        site.server.restart()
        site.server.url = f"http://127.0.0.1:{site.server.url.rpartition(':')[2]}"
        super().prepare(site, name)
        assert ask(site.replica, f"/simple/{name}/", JSON | site.authorised()).status == 200

    def ask(self, site: Company, name: str) -> Seen:
        first = site.server.url
        ready, over = threading.Event(), threading.Event()
        ready.set()
        failures: list[Seen] = []
        counts: Counter[str] = Counter()

        def probe() -> None:
            while not over.is_set():
                (ready.set if ask_url(f"{first}/readyz").status == 200 else ready.clear)()
                time.sleep(0.2)

        def load() -> None:
            while not over.is_set():
                base = first if ready.is_set() else site.replica.url
                seen = ask_url(f"{base}/simple/{name}/", JSON | site.authorised())
                counts[base] += 1
                if seen.status != 200:
                    failures.append(seen)

        threads = [threading.Thread(target=probe), *(threading.Thread(target=load) for _ in range(8))]
        for thread in threads:
            thread.start()
        time.sleep(1)
        began = time.monotonic()
        ended = site.server.stop(signal.SIGTERM)
        took_s = time.monotonic() - began
        time.sleep(1)
        over.set()
        for thread in threads:
            thread.join()
        if failures or ended or len(counts) < 2:
            first_failure = failures[0].reason if failures else ""
            return Seen(BROKEN_OFF, f"{len(failures)} of {counts.total()} failed, exit {ended}: {first_failure}", took_s=took_s)
        return Seen(200, took_s=took_s)

    def look_healed(self, site: Company, name: str) -> str:
        seen = ask(site.server, f"/simple/{name}/", JSON)
        return "" if seen.status == 200 else f"{seen.status} {seen.reason}"


DRAIN = Fault("drain", "SIGTERM to one of two replicas", "SIGTERM", ended_politely)


# ---- descriptors ------------------------------------------------------------------------------------------------------------

DESCRIPTORS = 128


@contextmanager
def few_descriptors(site: Company, _name: str) -> Iterator[None]:
    site.server.stop()
    site.server.prefix = ("prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}")
    site.server.start()
    place = urlsplit(site.server.url)
    with ExitStack() as stack:
        for _ in range(DESCRIPTORS + 50):
            idle = stack.enter_context(socket.socket())
            idle.settimeout(2)
            idle.connect((str(place.hostname), place.port))
        time.sleep(1)
        try:
            yield
        finally:
            site.server.prefix = ()
    site.server.restart()


class Alive(Page):
    name, words = "livez", "`/livez`"

    def prepare(self, site: Company, name: str) -> None:
        pass

    def ask(self, site: Company, name: str) -> Seen:
        return ask(site.server, "/livez")

    def look_healed(self, site: Company, name: str) -> str:
        seen = self.ask(site, name)
        return "" if seen.status == 200 else f"{seen.status} {seen.reason}"


class PageFromElsewhere(Page):
    """A client at another address than the one that takes all there is."""

    name, words = "page-elsewhere", "a page, by a client at another address"

    def ask(self, site: Company, name: str) -> Seen:
        return self._judge(timed(lambda: site.get_from("127.0.0.9", f"/simple/{name}/")), name)


IDLE = Fault(
    "idle-connections",
    f"{DESCRIPTORS + 50} silent connections of one client to a process with {DESCRIPTORS} descriptors",
    "prlimit, sockets",
    few_descriptors,
    lambda: "" if shutil.which("prlimit") else "prlimit (util-linux) is not here",
)


# ---- memory -----------------------------------------------------------------------------------------------------------------

_MEMORY = Path("/sys/fs/cgroup/memory")
MIB = 1024 * 1024


def _no_cgroups() -> str:
    if os.geteuid() != 0 or not (_MEMORY / "memory.limit_in_bytes").exists():
        return "a memory cgroup needs root and cgroup v1"
    return ""


def memory_capped(more_bytes: int) -> Callable[[Company, str], AbstractContextManager[None]]:
    """The process may hold so much more than it does; the kernel ends it if it wants to."""

    @contextmanager
    def inject(site: Company, _name: str) -> Iterator[None]:
        group = _MEMORY / f"wheelgate-faults-{os.getpid()}"
        group.mkdir()
        try:
            # Pages that the process has already stay charged where they were, so a new process: all of its own.
            site.server.stop()
            (group / "memory.limit_in_bytes").write_text(str(site.at_rest_bytes + more_bytes))
            site.server.prefix = ("sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$0" "$@"')
            site.server.start()
            ask(site.server, "/simple/", JSON)
            yield
        finally:
            site.server.prefix = ()
            site.server.stop()
            site.server.start()
            group.rmdir()

    return inject


class TwentyStreams(Page):
    """Many clients that read slowly what is larger than the room, all at once."""

    name, words = "streams", "a file of 40 MB, by 20 clients at once"
    SIZE = 40_000_000

    def prepare(self, site: Company, name: str) -> None:
        site.public.publish(name, wheel_name(name, "1.0"), self._body(name))

    def _body(self, name: str) -> bytes:
        from tests.support.packages import wheel_bytes

        return wheel_bytes(name, "1.0", padding=self.SIZE)

    def ask(self, site: Company, name: str) -> Seen:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(20) as pool:
            all_seen = list(pool.map(lambda _: ask(site.server, file_path(name), patience_s=60), range(20)))
        right = self._body(name)
        worst = next((seen for seen in all_seen if seen.status != 200 or seen.body != right), all_seen[0])
        return Seen(worst.status, worst.reason, worst.headers, b"", max(seen.took_s for seen in all_seen))

    def look_healed(self, site: Company, name: str) -> str:
        seen = ask(site.server, f"/simple/{name}/", JSON)
        return "" if seen.status == 200 else f"{seen.status} {seen.reason}"


KNOWN: dict[str, Known] = {}
QUICK = {"kill-after-5/upload", "kill-before-2/yank", "stopped/yank"}


def _row(fault: Fault, step: Page, expect: Expect, open_site: Callable[[Path], AbstractContextManager[Company]] = company) -> Row:
    key = f"{fault.name}/{step.name}"
    return Row(
        group="process",
        fault=fault,
        step=step,
        expect=expect,
        open_site=open_site,
        quick=key in QUICK,
        known=find_known(key, KNOWN),
    )


CAPPED = Fault(
    "memory",
    "64 MiB more memory than at rest",
    "a memory cgroup (v1)",
    memory_capped(64 * MIB),
    _no_cgroups,
)
ROWS: list[Row] = [
    *_kills(),
    *(_row(STOPPED, BY_NAME[step], Expect((200,), retry_after=False)) for step in ("upload", "yank", "delete", "revoke")),
    _row(DRAIN, UnderLoad(), Expect((200,), 25.0)),
    _row(IDLE, Alive(), Expect((200,), 1.0, recovers_s=8.0)),
    _row(IDLE, PageFromElsewhere(), Expect((200,), 2.0, recovers_s=8.0)),
    _row(CAPPED, TwentyStreams(), Expect((200,), 60.0, recovers_s=8.0)),
    _row(CAPPED, BY_NAME["upload"], Expect((200,), 12.0, recovers_s=8.0)),
]

REFERENCES = [
    Reference(
        "process",
        "`kill -9` at any moment of a write into a store in a folder",
        "the name is absent or whole",
        "tests/storage/test_local.py::test_a_writer_killed_at_any_moment_leaves_a_name_absent_or_whole",
    ),
    Reference(
        "process",
        "`kill -9` at any moment of a large upload to a container",
        "absent or whole, and accepted at the next try",
        "tests/acceptance/test_azure_store.py::test_an_upload_cut_by_kill_9_is_absent_or_whole_and_succeeds_again",
    ),
    Reference(
        "process",
        "`kill -9` of `wheelgate mirror`",
        "goes on where it was",
        "tests/acceptance/test_mirror.py::test_killed_at_any_point_it_goes_on_where_it_was",
    ),
    Reference(
        "process",
        "SIGTERM while a client downloads",
        "the download ends whole, exit status 0",
        "tests/cli/test_stopping.py::test_sigterm_lets_a_download_end",
    ),
    Reference(
        "process",
        "two replicas receive one name at once",
        "one wins, both serve the same",
        "tests/acceptance/test_azure_store.py::test_two_replicas_that_receive_one_name_at_once",
    ),
]
IMPOSSIBLE = [
    Impossible(
        "network",
        "packets lost, doubled, out of order",
        "needs `tc netem`, which the kernel here does not have",
        "rows `network/narrow`, `network/half-open`, `store/reset`: what a socket sees of them",
    ),
    Impossible(
        "store",
        "the limits of a real account: throttling by rate, regions failing over",
        "the emulator has none",
        "rows `store/busy` and `store/timed-out`: a front answers as the service words it",
    ),
    Impossible(
        "store",
        "requests refused for their date",
        "the emulator takes any date",
        "row `store/skewed`: a front refuses them; `clock/*/signed`: signatures are judged by the emulator's own clock",
    ),
    Impossible(
        "store",
        "a restart of the storage service in mid-write",
        "the emulator writes its own state late and loses what it acknowledged last",
        "row `store/refused`: the port closes, connections end, and it comes back",
    ),
    Impossible(
        "process",
        "power lost: what the disk had promised is gone",
        "needs a block device that forgets, and a kernel to mount it",
        "writes that must last are followed by fsync of file and folder (`runtime/durable.py`); `kill -9` rows",
    ),
    Impossible("disk", "the audit's disk is full", "there is no audit yet", "a row of this table once there is"),
    Impossible(
        "clock",
        "monotonic clocks that jump",
        "no kernel lets them; suspended machines stop them",
        "row `process/stopped`: a replica that slept",
    ),
]
