"""``python -m tests.supply_chain``: known flaws of what the locks pin. ``--sbom`` prints the bill of materials instead."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime

from tests.supply_chain.flaws import read_advisories
from tests.supply_chain.locks import LOCKS, read_lock


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.supply_chain", description=__doc__)
    parser.add_argument("--sbom", action="store_true", help="print the bill of materials (CycloneDX JSON)")
    given = parser.parse_args()
    if given.sbom:
        from tests.supply_chain.sbom import build_sbom

        print(build_sbom(), end="")
        return 0
    advisories = read_advisories()
    pinned = [(each.name, each.version) for name in LOCKS for each in read_lock(name)]
    found = advisories.find(pinned)
    found += [f"{name} was never looked up" for name, _ in pinned if name not in advisories.known]
    print("\n".join(found or [f"{len(pinned)} pinned versions, none with one of {len(advisories.flaws)} known flaws."]))
    print(advisories.describe_age(datetime.now(UTC).date()))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
