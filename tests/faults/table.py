"""The table of faults: every row, those that other tests play, and those that cannot be played here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from tests.faults import clock, disks, network, process, storage, upstream
from tests.faults.model import Impossible, Reference, Row

ROWS: list[Row] = [*upstream.ROWS, *storage.ROWS, *process.ROWS, *network.ROWS, *disks.ROWS, *clock.ROWS]
REFERENCES: list[Reference] = [*upstream.REFERENCES, *process.REFERENCES]
IMPOSSIBLE: list[Impossible] = [*process.IMPOSSIBLE]
GROUPS = {
    "upstream": "Upstreams",
    "store": "Storage",
    "process": "Processes",
    "network": "Networks",
    "disk": "Disks",
    "clock": "Clocks",
}


def markdown(rows: Iterable[Row] = ROWS) -> Iterator[str]:
    """The table as lines of Markdown, with its figures."""
    rows = list(rows)
    played, known = Counter(row.group for row in rows), Counter(row.group for row in rows if row.known)
    quick, elsewhere = Counter(row.group for row in rows if row.quick), Counter(row.group for row in REFERENCES)
    yield "| group | rows | of them in CI | not held yet | played by other tests |"
    yield "|---|---|---|---|---|"
    for group, title in GROUPS.items():
        yield f"| {title} | {played[group]} | {quick[group]} | {known[group]} | {elsewhere[group]} |"
    yield f"| all | {len(rows)} | {quick.total()} | {known.total()} | {elsewhere.total()} |"
    for group, title in GROUPS.items():
        of_group = [row for row in rows if row.group == group]
        if of_group:
            yield from _table(title, of_group)
        if others := [reference for reference in REFERENCES if reference.group == group]:
            yield from ["", f"{title}, played by other tests:", "", "| fault | what is seen | test |", "|---|---|---|"]
            yield from (f"| {_cell(row.fault)} | {_cell(row.expect)} | `{row.test}` |" for row in others)
    if IMPOSSIBLE:
        yield from ["", "### Not played here", "", "| group | fault | why | instead |", "|---|---|---|---|"]
        yield from (f"| {row.group} | {_cell(row.fault)} | {_cell(row.why)} | {_cell(row.instead)} |" for row in IMPOSSIBLE)


def _table(title: str, rows: list[Row]) -> Iterator[str]:
    yield from ["", f"### {title}", ""]
    yield "| row | fault, and how it is made | asked for | the client sees | log and metrics | the store holds | right again | |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in rows:
        known = f"not yet ({row.known.name}): {row.known.measured}" if row.known else ""
        expect = row.expect
        cells = [
            f"`{row.name}`",
            f"{row.fault.words}; {row.fault.injected}",
            row.step.words,
            expect.describe_client(),
            expect.describe_trace(),
            row.step.kept,
            row.step.recovery or f"within {expect.recovers_s:g} s",
            known,
        ]
        yield "| " + " | ".join(map(_cell, cells)) + " |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
