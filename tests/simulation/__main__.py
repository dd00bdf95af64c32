"""``python -m tests.simulation --seeds 1000000``: many seeds by hand.

``--seed N`` shows one, shrunk if it fails; ``--mutations`` takes one defence out after the other and says which seed notices.
"""

from __future__ import annotations

import argparse
import sys
import time
from multiprocessing import Pool

from tests.simulation.mutations import MUTATIONS, find_first
from tests.simulation.simulator import describe, run_seed
from tests.simulation.world import new_folder


def _run(span: tuple[int, int]) -> list[tuple[int, str]]:
    folder = new_folder()
    return [(seed, what) for seed in range(*span) if (what := run_seed(seed, folder)) is not None]


def _find(name: str) -> tuple[str, tuple[int, str] | None]:
    folder = new_folder()
    return name, find_first(name, range(10_000), lambda seed: run_seed(seed, folder))


def _try_mutations(jobs: int) -> int:
    missed = 0
    with Pool(jobs) as pool:
        for name, found in pool.imap_unordered(_find, MUTATIONS):
            print(f"{name}: " + ("NOT FOUND" if found is None else f"seed {found[0]}: {found[1]}"), flush=True)
            missed += found is None
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, help="how many (1000)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (0)")
    parser.add_argument("--seed", type=int, help="only this one, step by step")
    parser.add_argument("--jobs", type=int, default=2, help="processes (2)")
    parser.add_argument("--mutations", action="store_true", help="find each defence that is missing, within 10,000 seeds")
    given = parser.parse_args()
    if given.mutations:
        return _try_mutations(given.jobs)
    if given.seed is not None:
        folder = new_folder()
        broken = run_seed(given.seed, folder)
        print(describe(given.seed, folder) if broken else f"seed {given.seed}: nothing broke")
        return int(broken is not None)
    began, failures = time.monotonic(), []
    last = given.first + given.seeds
    spans = [(start, min(start + 250, last)) for start in range(given.first, last, 250)]
    with Pool(given.jobs) as pool:
        for done, found in enumerate(pool.imap(_run, spans), 1):
            failures += found
            for seed, what in found:
                print(f"seed {seed}: {what}", flush=True)
            if done % 40 == 0:
                rate = done * 250 / (time.monotonic() - began)
                print(f"{done * 250:,} seeds, {rate:,.0f} a second, {len(failures)} broke", file=sys.stderr, flush=True)
    took = time.monotonic() - began
    print(f"{given.seeds:,} seeds in {took:.0f} s ({given.seeds / took:,.0f} a second): {len(failures)} broke")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
