"""Whatever the soak is there to find, it finds; the balancer sends nobody to a replica that is not ready."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.soak.balancer import CHECK_EVERY_S, serve
from tests.soak.ledger import BAIT, SEEN_WITHIN_S, Breakage, Kind, Ledger, OwnFile, Record, State, find_differences
from tests.soak.replicas import Sample, free_ports
from tests.soak.report import format_verdict, judge_store, measure_slope
from tests.soak.store_watch import StoreWatch, watching
from tests.support.azurite import azurite
from tests.support.packages import wheel_name

Page = dict[str, Any]


@pytest.fixture
def files() -> dict[str, OwnFile]:
    """One listed, one yanked, one deleted, all of them long ago."""
    ledger = Ledger()
    for number, state in enumerate(State):
        ledger.acknowledge(ledger.add("acme-a", f"{number}.0", ""), state)
    for file in ledger.files():
        file.since_s -= 2 * SEEN_WITHIN_S
    return ledger.projects["acme-a"]


@pytest.fixture
def page(files: dict[str, OwnFile]) -> Page:
    """The right page."""
    return {
        "files": [
            {"filename": file.filename, "hashes": {"sha256": file.sha256}, "yanked": "" if file.state is State.YANKED else False}
            for file in files.values()
            if file.state is not State.DELETED
        ]
    }


def test_the_right_page_is_right(files: dict[str, OwnFile], page: Page) -> None:
    assert find_differences(files, page, time.monotonic()) == []


def _name(number: int) -> str:
    return wheel_name("acme-a", f"{number}.0")


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda page: page["files"].pop(0), "acknowledged, and is not listed"),
        (lambda page: page["files"][0]["hashes"].update(sha256="0" * 64), "another digest"),
        (lambda page: page["files"][0]["hashes"].clear(), "another digest"),
        (lambda page: page["files"][0].update(yanked=""), "is listed, and the page says yanked"),
        (lambda page: page["files"][1].update(yanked=False), "is yanked, and the page says yanked: False"),
        (lambda page: page["files"].append({"filename": _name(2)}), "was deleted, and is listed"),
        (lambda page: page["files"].append({"filename": wheel_name("acme-a", BAIT)}), "never ours"),
    ],
)
def test_a_wrong_page_is_wrong(files: dict[str, OwnFile], page: Page, spoil: Callable[[Page], None], found: str) -> None:
    spoil(page)
    [wrong] = find_differences(files, page, time.monotonic())
    assert found in wrong


def test_no_page_is_the_loss_of_what_was_on_it(files: dict[str, OwnFile]) -> None:
    assert len(find_differences(files, None, time.monotonic())) == 2


def test_what_is_in_doubt_is_not_judged(files: dict[str, OwnFile], page: Page) -> None:
    files[_name(0)].changing = True
    files[_name(1)].since_s = time.monotonic()
    page["files"].clear()
    assert find_differences(files, page, time.monotonic()) == []


def test_a_slope_is_that_of_the_second_half() -> None:
    samples = [Sample(float(at), 500.0 - at if at < 50 else 50.0 + at, 30 + at // 10, 4, 20 + at) for at in range(100)]
    slope = measure_slope(samples)
    assert slope.rss_mib == pytest.approx(49)
    assert slope.descriptors == pytest.approx(5, abs=1)
    assert slope.threads == 0
    assert slope.tasks == pytest.approx(49)
    assert slope.grows


@pytest.fixture
def watch() -> StoreWatch:
    """Silent from second 100 to 104.5, and slow once, all by the clock of the test."""
    watch = StoreWatch(began_s=0.0, ended_s=1_000.0)
    for from_s, until_s in [(50.0, 50.1), (60.0, 61.9), (100.0, 104.5), (105.0, 105.1)]:
        watch.add(from_s, until_s)
    return watch


@pytest.mark.parametrize(
    ("since_s", "at_s", "is_forgiven"),
    [
        (90.0, 99.0, False),  # before it
        (90.0, 101.0, True),  # into it
        (101.0, 103.0, True),
        (109.0, 120.0, True),  # in the recovery
        (110.0, 120.0, False),
        (60.0, 62.0, False),  # slow is not silent
        (None, 103.0, False),  # without excuse
    ],
)
def test_only_what_overlaps_a_silence_of_the_store_is_forgiven(
    watch: StoreWatch, tmp_path: Path, since_s: float | None, at_s: float, is_forgiven: bool
) -> None:
    record = Record(tmp_path, broken=[Breakage(Kind.INSTALL, "a page", at_s, since_s)])
    judge_store(watch, record)
    assert (len(record.forgiven), len(record.broken)) == ((1, 0) if is_forgiven else (0, 1))
    assert f"| {Kind.INSTALL} " in format_verdict(record, watch, None, {})


def test_a_store_that_is_silent_too_often_is_no_measurement(watch: StoreWatch, tmp_path: Path) -> None:
    record = Record(tmp_path)
    judge_store(watch, record)
    assert not record.broken
    watch.add(200.0, 250.0)
    judge_store(watch, record)
    assert "not a measurement" in record.broken[0].line


def test_the_silence_of_a_store_is_seen(tmp_path: Path) -> None:
    record = Record(tmp_path)
    with azurite(tmp_path / "azurite") as emulator, watching(f"{emulator.url}/soak", "a", record.note) as watch:
        time.sleep(1.2)
        os.kill(emulator.process.pid, signal.SIGSTOP)
        time.sleep(2.8)
        os.kill(emulator.process.pid, signal.SIGCONT)
        time.sleep(0.8)
    [silence] = watch.silences
    assert silence.until_s - silence.from_s == pytest.approx(3.0, abs=0.6)
    assert "the store was silent" in (tmp_path / "events.log").read_text()


async def test_new_connections_go_to_ready_replicas_alone() -> None:

    port, ready, draining, dead = free_ports(4, random.Random())
    asked: list[str] = []

    def replica(status: str) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            if "/readyz" not in head:
                asked.append(status)
            writer.write(f"HTTP/1.1 {status if '/readyz' in head else '200'} x\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
            writer.close()

        return answer

    async def ask() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        answer = await reader.read()
        writer.close()
        return answer

    good = await asyncio.start_server(replica("200"), "127.0.0.1", ready)
    bad = await asyncio.start_server(replica("503"), "127.0.0.1", draining)
    balancing = asyncio.create_task(serve(port, [draining, dead, ready]))
    try:
        await asyncio.sleep(0.2)
        answers = await asyncio.gather(*(ask() for _ in range(12)))
        assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)
        assert asked == ["200"] * 12
        good.close()  # between two looks: refused, and nobody else is ready until another look finds somebody
        bad.close()
        bad = await asyncio.start_server(replica("200"), "127.0.0.1", draining)
        async with asyncio.timeout(5 * CHECK_EVERY_S):
            assert (await ask()).startswith(b"HTTP/1.1 200")
    finally:
        balancing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await balancing
        good.close()
        bad.close()
