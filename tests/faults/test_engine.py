"""The engine finds what is not as promised: a table that cannot fail proves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import pytest

from tests.faults import model
from tests.faults.engine import Sites, judge, play_together
from tests.faults.model import Expect, Known, Row
from tests.faults.upstream import ROWS, PageOfLies, Theatre

REFUSED = next(row for row in ROWS if row.name == "upstream/status-403")


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    made = Sites(tmp_path_factory.mktemp("engine"))
    yield made
    made.close()


@pytest.mark.parametrize(
    ("expect", "aspects"),
    [
        (Expect((502,), says="source"), ()),
        (Expect((503,)), (model.CLIENT,)),
        (Expect((502,), within_s=0.0), (model.CLIENT,)),
        (Expect((502,), says="another sentence"), (model.CLIENT,)),
        (Expect((502,), log="another line"), (model.LOG,)),
        (Expect((502,), metric="wheelgate_fills"), (model.METRICS,)),
        (Expect((502,), metric='wheelgate_requests_total{route="project",status="502"}'), ()),
    ],
)
def test_what_is_not_as_promised_is_named_by_its_aspect(sites: Sites, expect: Expect, aspects: tuple[str, ...]) -> None:
    row = replace(REFUSED, expect=expect, step=_AnotherPage())
    (wrong,) = play_together([row], sites.get(row.open_site))
    assert tuple(wrong) == aspects, wrong
    assert bool(judge(row, wrong)) is bool(aspects)


class _AnotherPage(PageOfLies):
    """Another name each time, since what was healed is remembered."""

    _numbers = count()

    def __init__(self) -> None:
        self._number = next(self._numbers)

    def path(self, name: str) -> str:
        return f"/simple/{name}-again-{self._number}/"

    def look_healed(self, site: Theatre, name: str) -> str:
        return ""


@pytest.mark.parametrize(
    ("known", "wrong", "fails"),
    [
        (None, {}, False),
        (None, {model.CLIENT: "late"}, True),
        (Known("deadlines", (model.CLIENT,), "60 s"), {model.CLIENT: "late"}, False),
        (Known("deadlines", (model.CLIENT,), "60 s"), {model.CLIENT: "late", model.STORE: "wrong bytes"}, True),
        (Known("deadlines", (model.CLIENT,), "60 s"), {}, True),
        (Known("deadlines", (model.CLIENT,), "12 s", always=False), {}, False),
        (Known("deadlines", (model.CLIENT,), "12 s", always=False), {model.STORE: "wrong bytes"}, True),
    ],
)
def test_a_known_fault_fails_in_its_aspects_alone_and_not_once_it_holds(
    known: Known | None, wrong: dict[str, str], fails: bool
) -> None:
    row: Row = replace(REFUSED, known=known)
    assert bool(judge(row, wrong)) is fails
