"""``python -m tests.faults``: the table of faults, played against real processes. ``--markdown`` prints it and plays nothing."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

from tests.faults.engine import Sites, judge, play_all
from tests.faults.table import GROUPS, ROWS, markdown


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--group", choices=list(GROUPS), help="only the rows of one group")
    parser.add_argument("--row", help="only the rows whose name is this, or matches it (`*`)")
    parser.add_argument("--quick", action="store_true", help="only those that CI plays")
    parser.add_argument("--markdown", action="store_true", help="print the table")
    given = parser.parse_args()
    rows = [
        row
        for row in ROWS
        if given.group in (None, row.group) and fnmatch(row.name, given.row or "*") and (row.quick or not given.quick)
    ]
    if given.markdown:
        print("\n".join(markdown(rows)))
        return 0
    began, outcomes = time.monotonic(), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        sites = Sites(Path(folder))
        try:
            for row, wrong, missing, took_s in play_all(rows, sites):
                failure = "" if missing else judge(row, wrong)
                outcome = "skipped" if missing else "FAILED" if failure else "known" if wrong else "holds"
                outcomes[outcome] += 1
                why = missing or failure or "; ".join(f"{aspect}: {what}" for aspect, what in wrong.items())
                print(f"{outcome:8}{row.name} ({took_s:.1f} s){': ' if why else ''}{why}", flush=True)
        finally:
            sites.close()
    figures = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    print(f"{outcomes.total()} rows in {time.monotonic() - began:.0f} s: {figures}")
    return int(outcomes["FAILED"] > 0 or not outcomes)


if __name__ == "__main__":
    sys.exit(main())
