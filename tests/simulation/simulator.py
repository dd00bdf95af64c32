"""Runs seeds, and shrinks one that fails to the few steps that matter."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from unittest import mock

from tests.simulation.loop import Stuck, run_virtually
from tests.simulation.store import Weather
from tests.simulation.world import Step, World, steps_for
from wheelgate.runtime import cooperative


def run_steps(seed: int, steps: list[Step], folder: Path, weather: Weather | None = None) -> tuple[str | None, list[str]]:
    """What broke, if anything did, and what happened."""
    trace: list[str] = []

    async def live() -> str | None:
        world = World(seed, folder, weather)
        trace_of = world.trace
        try:
            await world.run(steps)
        except AssertionError as error:
            return str(error) or type(error).__name__
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        finally:
            trace.extend(trace_of)
            await world.close()
        return None

    logging.disable(logging.CRITICAL)
    try:
        with mock.patch.object(cooperative, "SLICE_S", math.inf):  # how quick this machine is must not show
            return run_virtually(live()), trace
    except Stuck as error:
        return str(error), trace
    finally:
        logging.disable(logging.NOTSET)


def run_seed(seed: int, folder: Path) -> str | None:
    """What broke in the world of this seed; ``None``: nothing."""
    return run_steps(seed, steps_for(seed), folder)[0]


def shrink(seed: int, folder: Path) -> list[Step]:
    """A shortest list of this seed's steps that still breaks something, found by leaving out one after the other."""
    steps = steps_for(seed)
    size = max(1, len(steps) // 2)
    while size:
        at = 0
        while at < len(steps):
            fewer = steps[:at] + steps[at + size :]
            if run_steps(seed, fewer, folder)[0] is not None:
                steps = fewer
            else:
                at += size
        size //= 2
    return steps


def describe(seed: int, folder: Path) -> str:
    """A failing seed, for people: what broke, the fewest steps that do it, and what happened in them."""
    steps = shrink(seed, folder)
    what, trace = run_steps(seed, steps, folder)
    lines = [f"seed {seed}: {what}", "", "steps:", *(f"  {step}" for step in steps), "", "what happened:", *trace]
    return "\n".join(lines)
