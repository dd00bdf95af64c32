"""``docs/architecture.md`` shows the store as it is, and a test for each promise."""

from __future__ import annotations

import re

from tests.docs.pages import ROOT, blocks, rows
from tests.test_layers import RANK
from wheelgate.storage import layout

PAGE = (ROOT / "docs" / "architecture.md").read_text()


def test_the_stores_tree_is_the_one_that_is_written() -> None:
    shown = {re.split(r" {2,}", line)[0] for line in list(blocks(PAGE, "text"))[1].splitlines()}
    written = {re.split(r" {2,}", line.strip())[0] for line in (layout.__doc__ or "").splitlines() if re.match(r" {4}\S", line)}
    assert shown == written


def test_each_promise_has_a_test() -> None:
    promises = re.findall(r"^### (\d+)\. [^\n]+\n(.*?)(?=^##)", PAGE, re.MULTILINE | re.DOTALL)
    assert [int(number) for number, _ in promises] == list(range(1, len(promises) + 1))
    assert len(promises) >= 11
    for number, body in promises:
        assert re.search(r"^- `tests/\S+\.py::test_\w+`", body, re.MULTILINE), number


def test_changes_are_made_in_rooms_that_there_are() -> None:
    changes = rows(PAGE, "Where to change what")
    assert len(changes) >= 10
    for row in changes:
        assert set(re.findall(r"`(\w+)`", row["room"])) <= RANK.keys(), row["change"]
        assert re.search(r"`\w+/\w+\.py`", row["first file"]), row["change"]
