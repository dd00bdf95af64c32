"""Simulated replicas keep the promises in any weather; and the simulator itself can be trusted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.simulation.loop import Stuck, run_virtually
from tests.simulation.mutations import MUTATIONS, find_first, mutated
from tests.simulation.simulator import describe, list_steps, run_seed, run_steps, shrink
from tests.simulation.steps import steps_for
from tests.simulation.store import Line

_QUICKLY_FOUND = {
    "a change is announced after it was made": 50,
    "an upload looks at no tombstone once it is stored": 100,
    "a file is stored over another": 50,
    "a deletion deletes nothing": 20,
    "a revocation revokes nothing": 50,
    "a yank yanks nothing": 50,
    "an upload stores nothing": 20,
    "a token made elsewhere is refused for good": 20,
    "changes of others are looked for every 25 s": 20,
    "what cannot be recorded as private is served": 100,
    "a private source that fails is passed over": 100,
    "a finished page is kept whatever happens": 20,
    "the record of another release says nothing": 100,
    "silence is taken for no news": 150,
    "what is heard of is forgotten once": 150,
    "nobody is told that a change was made": 300,
    "an evicted copy is never fetched again": 50,
}
"""Within so many seeds; the others take minutes: ``python -m tests.simulation --mutations``."""
_FOUND_IN_A_MOMENT = (
    "a listing is believed without its tombstones",
    "bytes that are there already are good",
)
"""What shows only in the tenth of a second in which other bytes have the name of a file that was deleted."""
_WITHIN = 4_000


@pytest.mark.parametrize("first", range(0, 1_000, 100))
def test_replicas_keep_the_promises(tmp_path: Path, first: int) -> None:
    for seed in range(first, first + 100):
        assert run_seed(seed, tmp_path) is None, f"python -m tests.simulation --seed {seed}"


@pytest.mark.parametrize("name", _QUICKLY_FOUND)
def test_a_missing_defence_is_found(tmp_path: Path, name: str) -> None:
    assert find_first(name, range(_QUICKLY_FOUND[name]), lambda seed: run_seed(seed, tmp_path)), "no seed noticed"


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", _FOUND_IN_A_MOMENT)
def test_a_missing_defence_is_found_in_its_moment(tmp_path: Path, name: str) -> None:
    assert find_first(name, range(_WITHIN), lambda seed: run_seed(seed, tmp_path)), "no seed noticed"


@pytest.mark.parametrize("name", MUTATIONS)
def test_every_mutation_fits_the_code(name: str) -> None:
    with mutated(name):
        pass


def test_a_seed_happens_the_same_way_again(tmp_path: Path) -> None:
    for seed in range(10):
        assert run_steps(seed, steps_for(seed), tmp_path) == run_steps(seed, steps_for(seed), tmp_path)


def test_an_upload_that_is_lost_is_found_and_shrunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that forgets files an instant after it took them stands in for a defence that is missing."""
    put = Line.put_if_absent

    async def forgetful(self: Line, path: str, *given: object, **options: object) -> object:
        info = await put(self, path, *given, **options)  # type: ignore[arg-type]
        if path.startswith("packages/"):
            self._shared.blobs.pop(path)
        return info

    monkeypatch.setattr(Line, "put_if_absent", forgetful)
    broken = next(seed for seed in range(50) if run_seed(seed, tmp_path))
    steps, _ = shrink(broken, tmp_path)
    assert len(steps) <= 2
    what, text = describe(broken, tmp_path, list_steps(broken, [number for number, _ in steps]))
    assert what is not None
    assert "promise 5" in text


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
