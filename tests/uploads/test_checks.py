"""Checks of uploads: so many at once, in threads of their own, and none that nobody waits for."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.packages import wheel_bytes, wheel_name
from wheelgate.core.errors import Busy, ErrorKind, StoreError
from wheelgate.uploads.checks import CheckedFile, ReceivedFile, UploadChecks

NAME, NOW = wheel_name("acme", "1.0"), datetime(2026, 1, 1, tzinfo=UTC)
LARGE = wheel_bytes("acme", "1.0", extra={f"acme/{number}.bin": bytes(48 * 1024 * 1024) for number in range(8)})
"""Takes a check seconds of processor time."""
HALF_S = 0.5


@pytest.fixture
async def checks() -> AsyncIterator[UploadChecks]:
    made = UploadChecks(max_waiting=1)
    yield made
    made.close()


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small"
    path.write_bytes(wheel_bytes("acme", "1.0"))
    return path


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_bytes(LARGE)
    return path


def check(checks: UploadChecks, path: Path) -> asyncio.Task[CheckedFile]:
    return asyncio.create_task(checks.run(ReceivedFile(path, NAME, "0" * 64), "acme", NOW))


async def test_more_checks_than_may_wait_are_refused_for_now(checks: UploadChecks, large: Path, small: Path) -> None:
    running = [check(checks, large) for _ in range(3)]
    await asyncio.sleep(0.05)
    with pytest.raises(Busy, match="^busy here: too many uploads are being checked") as caught:
        await check(checks, small)
    assert (caught.value.kind, caught.value.retry_after_s) == (ErrorKind.UNAVAILABLE, 2.0)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    async with asyncio.timeout(5):
        while True:
            try:
                assert (await check(checks, small)).metadata
                return
            except Busy:
                await asyncio.sleep(0.02)


async def test_a_check_that_nobody_waits_for_ends_at_its_next_piece(checks: UploadChecks, large: Path, small: Path) -> None:
    running = [check(checks, large) for _ in range(2)]
    await asyncio.sleep(0.05)
    for task in running:
        task.cancel()
    began_s = time.process_time()
    await check(checks, small)
    assert time.process_time() - began_s < HALF_S


async def test_checks_leave_the_threads_of_others_alone(checks: UploadChecks, large: Path) -> None:
    running = [check(checks, large) for _ in range(3)]
    await asyncio.sleep(0.05)
    names = {thread.name.rpartition("_")[0] for thread in threading.enumerate()}
    assert "check" in names
    assert not any(name.startswith("asyncio") for name in names)
    helpers = [thread for thread in threading.enumerate() if thread.name.startswith("inflate")]
    assert len(helpers) <= max(1, (os.cpu_count() or 1) - 1)
    for task in running:
        task.cancel()


async def test_once_closed_it_checks_nothing_and_what_runs_ends(checks: UploadChecks, large: Path, small: Path) -> None:
    running = check(checks, large)
    await asyncio.sleep(0.05)
    checks.close()
    began_s = time.process_time()
    with pytest.raises(StoreError):
        await running
    assert time.process_time() - began_s < HALF_S
    with pytest.raises(StoreError, match="the server is stopping"):
        await check(checks, small)
