"""``docs/reliability.md`` shows the mutations that there are, and commands that run."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter

from tests.docs.pages import ROOT, blocks, code_spans
from tests.faults.table import ROWS
from tests.mutations.__main__ import to_markdown

PAGE = (ROOT / "docs" / "reliability.md").read_text()


def test_the_table_of_mutations_is_the_one_that_is_run() -> None:
    shown = re.search(r"^\| promise \| test \|.*\n(?:\|.*\n)+", PAGE, re.MULTILINE)
    assert shown
    assert shown[0].splitlines() == to_markdown(), "python -m tests.mutations --markdown prints the table"


def test_modules_of_tests_that_are_to_be_run_are_there() -> None:
    named = set(re.findall(r"python -m (tests(?:\.\w+)+)", "\n".join([*code_spans(PAGE), *blocks(PAGE)])))
    assert {"tests.mutations", "tests.simulation", "tests.faults", "tests.fuzzing"} <= named
    for module in named:
        assert importlib.util.find_spec(f"{module}.__main__"), module


def test_the_groups_of_faults_are_those_of_the_table() -> None:
    section = PAGE.partition("\n## Faults\n")[2].partition("\n## ")[0]
    told = {group: int(rows) for group, rows in re.findall(r"^- \*\*(\w+)\*\*: (\d+) rows", section, re.MULTILINE)}
    assert told == Counter(row.group for row in ROWS)
