"""Simulated replicas keep the promises where nothing fails; and the simulator itself can be trusted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.simulation.loop import Stuck, run_virtually
from tests.simulation.simulator import describe, run_steps, shrink
from tests.simulation.store import Line, Weather
from tests.simulation.world import steps_for

FAIR = Weather()
WITHOUT = frozenset({"die", "cut", "delete"})
"""Kinds of steps that are known to find faults: those are looked for by hand, see tests/README.md."""


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_replicas_keep_the_promises_in_fair_weather(tmp_path: Path, first: int) -> None:
    for seed in range(first, first + 50):
        assert run_steps(seed, steps_for(seed, WITHOUT), tmp_path, FAIR)[0] is None, f"seed {seed}"


def test_a_seed_happens_the_same_way_again(tmp_path: Path) -> None:
    for seed in range(10):
        assert run_steps(seed, steps_for(seed), tmp_path) == run_steps(seed, steps_for(seed), tmp_path)


def test_an_upload_that_is_lost_is_found_and_shrunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that forgets files an instant after it took them stands in for a defence that is missing."""
    put = Line.put_if_absent

    async def forgetful(self: Line, path: str, body: Path | bytes, facts: dict[str, str]) -> object:
        info = await put(self, path, body, facts)
        if path.startswith("packages/"):
            self._shared.blobs.pop(path)
        return info

    monkeypatch.setattr(Line, "put_if_absent", forgetful)
    broken = next(seed for seed in range(50) if run_steps(seed, steps_for(seed, WITHOUT), tmp_path, FAIR)[0])
    assert len(shrink(broken, tmp_path)) <= 2
    assert "promise 5" in describe(broken, tmp_path)


def test_time_passes_only_where_somebody_waits() -> None:
    async def wait() -> float:
        await asyncio.gather(asyncio.sleep(3_600), asyncio.sleep(60))
        return asyncio.get_running_loop().time()

    assert run_virtually(wait()) == pytest.approx(3_600, abs=0.1)


def test_a_deadlock_ends() -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stuck, match="every task waits"):
        run_virtually(wait())
