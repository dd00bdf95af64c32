"""Each row of the table of faults, against real processes; ``-k`` picks a group or a row by its name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.docs.pages import ROOT
from tests.docs.test_links import _functions
from tests.faults.engine import Sites, Wrong, judge, play_together
from tests.faults.model import Row
from tests.faults.table import GROUPS, REFERENCES, ROWS, markdown


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    made = Sites(tmp_path_factory.mktemp("faults"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def played() -> dict[str, Wrong]:
    """What was seen of rows that were played together with another one."""
    return {}


def _cases() -> Iterator[object]:
    for row in ROWS:
        marks = [pytest.mark.timeout(300)] if row.quick else [pytest.mark.long, pytest.mark.timeout(300)]
        yield pytest.param(row, id=row.name, marks=marks)


@pytest.mark.parametrize("row", list(_cases()))
def test_each_row_of_the_table_holds(row: Row, sites: Sites, played: dict[str, Wrong], request: pytest.FixtureRequest) -> None:
    if missing := row.fault.needs():
        pytest.skip(missing)
    if row.name not in played:
        together = _selected_with(row, request.session.items) if row.at_once else [row]
        played.update(zip((each.name for each in together), play_together(together, sites.get(row.open_site)), strict=True))
    wrong = played[row.name]
    failure = judge(row, wrong)
    assert not failure, failure
    if wrong and row.known is not None:
        pytest.xfail(f"{row.known.name}: {wrong}")


def _selected_with(row: Row, items: list[pytest.Item]) -> list[Row]:
    rows = [item.callspec.params.get("row") for item in items if hasattr(item, "callspec")]
    return [other for other in rows if isinstance(other, Row) and other.at_once and other.open_site is row.open_site]


def test_the_table_is_well_formed() -> None:
    """Names are told apart, every group has rows in CI, and tests that are referred to exist."""
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert {row.group for row in ROWS} == set(GROUPS) == {row.group for row in ROWS if row.quick}
    for site in {row.open_site for row in ROWS}:
        projects = [row.project for row in ROWS if row.open_site is site]
        assert len(set(projects)) == len(projects)
    for reference in REFERENCES:
        path, _, test = reference.test.partition("::")
        assert test in _functions(ROOT / path), reference.test


def test_it_prints_itself() -> None:
    lines = list(markdown())
    assert f"| all | {len(ROWS)} |" in "\n".join(lines)
    rows = [line for line in lines if line.startswith(tuple(f"| `{group}/" for group in GROUPS))]
    assert len(rows) == len(ROWS)
    assert {line.count("|") - line.count(r"\|") for line in rows} == {9}
