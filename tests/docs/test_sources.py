"""``docs/sources.md`` has the index servers that the tests run, with the versions that they run."""

from __future__ import annotations

import re
from pathlib import Path

from tests.acceptance.test_index_servers import MAKES

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs" / "sources.md").read_text().partition("## Seen")[2].partition("## Not run")[0]
PINS = {"pypiserver", "devpi-server", "pypiron", "proxpi", "simple-repository-server", "simpleindex", "dumb-pypi"} | {
    "python-pypi-mirror",
    "pip2pi",
    "simple503",
    "bandersnatch",
}


def test_every_server_that_is_run_has_a_row() -> None:
    assert [row.split("|")[1].strip() for row in TABLE.splitlines() if row.startswith("| ")][1:] == list(MAKES)


def test_versions_are_those_that_are_installed() -> None:
    installed = "".join((ROOT / "tests" / "support" / name).read_text() for name in ("servers.py", "index_servers.py"))
    pinned = dict(re.findall(r'"([\w-]+)==([\d.]+)"', installed))
    for name in PINS:
        row = next(row for row in TABLE.splitlines() if row.startswith(f"| {name.removesuffix('-server')}"))
        assert row.split("|")[2].strip() == pinned[name]
