"""``python -m tests.simulation --seeds 0..1000000``: many seeds by hand, in as many pieces as it takes.

``--seed N`` shows one; of one that failed, ``--only`` plays the few steps that matter. ``--mutations`` takes one defence out
after the other and says which seed notices. Exit status: 0 if nothing broke (with ``--mutations``: if each was found), else 1;
130 if it was interrupted, and then the last line says how to go on.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from contextlib import ExitStack
from multiprocessing import Pool

from tests.simulation.mutations import MUTATIONS, find_first
from tests.simulation.simulator import describe, list_steps, run_seed, shrink, steadied
from tests.simulation.world import new_folder

_PIECE = 200
_REPORT_EVERY_S = 60.0
_MUTATION_SEEDS = 10_000
_PREPARED = ExitStack()
"""Never left: it ends with its process."""


def _prepare() -> None:
    """Let a process do nothing but seeds."""
    gc.freeze()
    gc.set_threshold(5_000, 10, 1_000)
    _PREPARED.enter_context(steadied())


def _run_piece(span: tuple[int, int]) -> list[str]:
    """Run some seeds; one line for each that fails, which plays its shortest form again."""
    folder = new_folder()
    return [_shrink_to_line(seed) for seed in range(*span) if run_seed(seed, folder) is not None]


def _shrink_to_line(seed: int) -> str:
    folder = new_folder()
    steps, what = shrink(seed, folder)
    only = ",".join(str(number) for number, _ in steps)
    return f"seed {seed}: {what}: python -m tests.simulation --seed {seed} --only {only}"


def _find(name: str) -> tuple[str, tuple[int, str] | None]:
    folder = new_folder()
    return name, find_first(name, range(_MUTATION_SEEDS), lambda seed: run_seed(seed, folder))


def _try_mutations(jobs: int, word: str) -> int:
    missed = 0
    with Pool(jobs, _prepare) as pool:
        for name, found in pool.imap(_find, [name for name in MUTATIONS if word in name]):
            print(f"| {name} | " + ("NOT FOUND |" if found is None else f"{found[0]:,} | {found[1]} |"), flush=True)
            missed += found is None
    return missed


def _parse_seeds(text: str) -> range:
    first, dots, last = text.partition("..")
    return range(int(first), int(last)) if dots else range(int(first))


def _run_seeds(seeds: range, jobs: int) -> int:
    began_s = told_s = time.monotonic()
    done, broken = seeds.start, 0
    spans = [(start, min(start + _PIECE, seeds.stop)) for start in range(seeds.start, seeds.stop, _PIECE)]

    def report() -> str:
        rate = (done - seeds.start) / (time.monotonic() - began_s)
        return f"{done - seeds.start:,} of {len(seeds):,} seeds, {rate:,.0f} a second: {broken} broke"

    with Pool(jobs, _prepare) as pool:
        try:
            for (_, last), lines in zip(spans, pool.imap(_run_piece, spans), strict=True):
                done, broken = last, broken + len(lines)
                if lines:
                    print(*lines, sep="\n", flush=True)
                if time.monotonic() - told_s >= _REPORT_EVERY_S:
                    told_s = time.monotonic()
                    print(f"{report()}; go on with --seeds {done}..{seeds.stop}", file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            pool.terminate()
            print(f"{report()}; interrupted: go on with --seeds {done}..{seeds.stop}", flush=True)
            return 130
    print(report())
    return int(broken > 0)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=_parse_seeds, default=range(1_000), help="N: the first so many; A..B: from A up to B - 1")
    parser.add_argument("--seed", type=int, help="only this one, step by step")
    parser.add_argument("--only", help="with --seed: numbers of steps, with commas; without it a failing seed is shrunk")
    parser.add_argument("--jobs", type=int, default=2, help="processes (2)")
    parser.add_argument("--mutations", nargs="?", const="", metavar="WORD", help="those whose name has the word; none: all")
    given = parser.parse_args()
    if given.mutations is not None:
        return int(_try_mutations(given.jobs, given.mutations) > 0)
    if given.seed is None:
        return _run_seeds(given.seeds, given.jobs)
    numbers = None if given.only is None else [int(number) for number in given.only.split(",") if number]
    what, text = describe(given.seed, new_folder(), list_steps(given.seed, numbers))
    print(text)
    return int(what is not None)


if __name__ == "__main__":
    sys.exit(main())
