"""``python -m tests.mutations``: every defence of the table taken out, one at a time, in a copy: its test must fail.

``--markdown`` prints the table as docs/reliability.md shows it, and runs nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from fnmatch import fnmatch
from pathlib import Path

from tests.mutations.runner import Copy, why
from tests.mutations.table import MUTATIONS, Mutation


def to_markdown() -> list[str]:
    """The table, as lines of a page."""
    rows = [f"| {m.promise} | `{m.test}` | {m.without} | `{m.path}` |" for m in MUTATIONS]
    return ["| promise | test | fails if | taken out of |", "|---|---|---|---|", *rows]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__.splitlines()[0])
    parser.add_argument("--promise", type=int, help="only those of one promise")
    parser.add_argument("--test", default="*", help="only those whose test matches (`*test_attacks*`)")
    parser.add_argument("--markdown", action="store_true", help="print the table")
    given = parser.parse_args()
    if given.markdown:
        print("\n".join(to_markdown()))
        return 0
    chosen = [m for m in MUTATIONS if given.promise in (None, m.promise) and fnmatch(m.test, given.test)]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        copy = Copy(Path(folder))
        missed = [mutation for mutation in chosen if not _is_noticed(copy, mutation)]
    print(f"{len(chosen)} defences in {time.monotonic() - began:.0f} s: {len(missed)} missed")
    return int(bool(missed) or not chosen)


def _is_noticed(copy: Copy, mutation: Mutation) -> bool:
    """Tell whether its test passes with the defence, and fails without."""
    began = time.monotonic()
    passes, said = copy.run([mutation.node])
    noticed = False
    if passes:
        stays_green, said = copy.run_without(mutation)
        noticed = not stays_green
    outcome = "red" if noticed else "GREEN" if passes else "BROKEN"
    took = f"{time.monotonic() - began:.0f} s"
    print(f"{outcome:7}{mutation.promise}: {mutation.without} ({took})\n       {mutation.node}\n       {why(said)}", flush=True)
    return noticed


if __name__ == "__main__":
    sys.exit(main())
