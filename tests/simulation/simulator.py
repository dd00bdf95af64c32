"""Runs seeds, and shrinks one that fails to the few steps that matter."""

from __future__ import annotations

import io
import logging
import math
import random
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from unittest import mock

from tests.simulation.loop import Stuck, run_virtually
from tests.simulation.steps import Step, steps_for
from tests.simulation.store import Crashed, Weather
from tests.simulation.world import World
from wheelgate.distfiles.core_metadata import CoreMetadata
from wheelgate.distfiles.wheels import check_wheel
from wheelgate.runtime import cooperative
from wheelgate.uploads import checks

NumberedStep = tuple[int, Step]
_secrets: ContextVar[random.Random] = ContextVar("secrets")
"""What the secrets of the world that runs now are drawn from."""


@lru_cache(maxsize=64)
def _check_once(body: bytes, filename: str) -> tuple[str, CoreMetadata]:
    """The product's own verdict on a wheel, of which there are eight."""
    return check_wheel(io.BytesIO(body), filename)


@contextmanager
def steadied() -> Iterator[None]:
    """The product without what differs from run to run, and without work that says nothing about replicas.

    Around many seeds it costs nothing: each is steadied once more only if nobody has done so.
    """
    if math.isinf(cooperative.SLICE_S):
        yield
        return
    with ExitStack() as stack:
        for owner, name, instead in (
            (cooperative, "SLICE_S", math.inf),  # how quick this machine is must not show
            (secrets, "choice", lambda letters: _secrets.get().choice(letters)),
            (checks, "check_wheel", lambda file, filename, helpers: _check_once(file.read(), filename)),
        ):
            stack.enter_context(mock.patch.object(owner, name, instead))
        logging.disable(logging.CRITICAL)
        stack.callback(logging.disable, logging.NOTSET)
        yield


def run_steps(seed: int, steps: list[Step], folder: Path, weather: Weather | None = None) -> tuple[str | None, list[str]]:
    """What broke, if anything did, and what happened."""
    trace: Callable[[], list[str]] = list

    async def live() -> str | None:
        nonlocal trace
        world = World(seed, folder, weather)
        trace = world.list_trace
        _secrets.set(world.secrets)
        try:
            await world.run(steps)
        except AssertionError as error:
            return str(error) or type(error).__name__
        except (Exception, Crashed) as error:
            return f"{type(error).__name__}: {error}"
        finally:
            await world.close()
        return None

    with steadied():
        try:
            return run_virtually(live()), trace()
        except Stuck as error:
            return str(error), trace()


def run_seed(seed: int, folder: Path) -> str | None:
    """What broke in the world of this seed; ``None``: nothing."""
    return run_steps(seed, steps_for(seed), folder)[0]


def list_steps(seed: int, numbers: Sequence[int] | None = None) -> list[NumberedStep] | None:
    """The steps of a seed that have these numbers; ``None``: nobody says which matter."""
    return None if numbers is None else [(number, steps_for(seed)[number]) for number in numbers]


def shrink(seed: int, folder: Path) -> tuple[list[NumberedStep], str | None]:
    """A shortest list of this seed's steps that still breaks something, found by leaving out some after others; and what."""
    steps = list(enumerate(steps_for(seed)))
    what, size = run_steps(seed, [step for _, step in steps], folder)[0], len(steps)
    while size and what is not None:
        at = 0
        while at < len(steps):
            fewer = steps[:at] + steps[at + size :]
            broken, _ = run_steps(seed, [step for _, step in fewer], folder)
            if broken is None:
                at += size
            else:
                steps, what = fewer, broken
        size //= 2
    return steps, what


def describe(seed: int, folder: Path, steps: list[NumberedStep] | None = None) -> tuple[str | None, str]:
    """What broke in a seed, and a text about it for people: the fewest steps that do it, and what happened in them.

    ``steps``: those to play; ``None``: all of them, or the fewest if they break something.
    """
    steps = shrink(seed, folder)[0] if steps is None else steps
    what, trace = run_steps(seed, [step for _, step in steps], folder)
    lines = [f"seed {seed}: {what or 'nothing broke'}", "", "steps:", *(f"  {number}: {step}" for number, step in steps)]
    return what, "\n".join([*lines, "", "what happened:", *trace])
