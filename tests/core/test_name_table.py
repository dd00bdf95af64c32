"""A table of names is as many sets as it has columns, in the memory of one, and none of them is changed for long."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import nullcontext

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.support.turns import longest_turn
from wheelgate.core import name_table, packed_names
from wheelgate.core.name_table import NameTable, pack_names
from wheelgate.core.packed_names import PackedNames, merge_names

NAMES = st.sets(st.text("ab-01", min_size=1, max_size=3), max_size=20)
COLUMN = st.integers(0, 2)
MANY = [f"acme-team-{number % 70}-lib-{number * 7919 % 200_000:06d}" for number in range(200_000)]


async def paged(names: Iterable[str], size: int = 1_000) -> AsyncIterator[Sequence[str]]:
    listed = list(names)
    for start in range(0, len(listed), size):
        yield listed[start : start + size]


class Table(RuleBasedStateMachine):
    """Columns that are changed at will, with tiny blocks, so that all of them are parted and swept."""

    def __init__(self) -> None:
        super().__init__()
        self.known = packed_names._BLOCK, name_table._RUN, name_table._CHUNK, name_table._BATCH, name_table._FEW
        packed_names._BLOCK, name_table._RUN, name_table._CHUNK, name_table._BATCH, name_table._FEW = 3, 5, 2, 4, 2
        self.table = NameTable()
        self.columns = [self.table.column() for _ in range(3)]
        self.models: list[set[str]] = [set() for _ in range(3)]
        self.seen: list[tuple[PackedNames, list[str]]] = []

    def teardown(self) -> None:
        packed_names._BLOCK, name_table._RUN, name_table._CHUNK, name_table._BATCH, name_table._FEW = self.known

    def change(self, column: int, model: set[str], change: Callable[[], None]) -> None:
        before = self.columns[column].names
        self.seen.append((before, sorted(self.models[column])))
        change()
        assert (self.columns[column].names.revision == before.revision) == (model == self.models[column])
        self.models[column] = model

    @rule(column=COLUMN, add=NAMES, remove=NAMES)
    def update(self, column: int, add: set[str], remove: set[str]) -> None:
        self.change(column, (self.models[column] | add) - remove, lambda: self.columns[column].update(add, remove))

    @rule(column=COLUMN)
    def clear(self, column: int) -> None:
        self.change(column, set(), self.columns[column].clear)

    @rule(column=COLUMN, names=NAMES, other=COLUMN, add=NAMES, remove=NAMES, fails=st.booleans())
    def fill(self, column: int, names: set[str], other: int, add: set[str], remove: set[str], fails: bool) -> None:
        """Another column is changed meanwhile, or the same one: then it is the set of before that changes."""

        async def pages() -> AsyncIterator[Sequence[str]]:
            async for page in paged(names, 3):
                yield page
            self.columns[other].update(add, remove)
            if other != column or fails:
                self.models[other] = (self.models[other] | add) - remove
            if fails:
                raise OSError("broken off")

        with pytest.raises(OSError, match="broken off") if fails else nullcontext():
            asyncio.run(self.columns[column].fill(pages()))
        if not fails:
            self.models[column] = names

    @invariant()
    def each_column_is_its_set(self) -> None:
        for column, model in zip(self.columns, self.models, strict=True):
            assert list(column.names) == sorted(model)
            assert len(column) == len(column.names) == len(model)
            assert all((name in column) == (name in model) for name in {"a", "b-0", "zz", "", "\xe9", *set().union(*self.models)})

    @invariant()
    def what_was_seen_stays_as_it_was(self) -> None:
        for names, model in self.seen[-5:]:
            assert list(names) == model

    @rule()
    def what_nobody_has_is_swept_out(self) -> None:
        while self.table.sweep(1):
            pass
        held = [name for block in self.table.names._blocks for name in block.split()]
        assert held == sorted(name.encode() for name in set().union(*self.models))
        assert [*merge_names([column.names for column in self.columns])] == [] or held == [
            name for some in merge_names([column.names for column in self.columns]) for name in some
        ]


TestTable = Table.TestCase
TestTable.settings = settings(max_examples=40, stateful_step_count=15, deadline=None)


async def test_columns_that_nobody_has_any_more_are_used_again() -> None:
    table = NameTable()
    column = table.column()
    for _ in range(20):
        await column.fill(paged(MANY[:1_000]))
        column.clear()
    assert next(table._numbers) <= 4


async def test_no_step_takes_long() -> None:
    """Processor time, since the machine may be busy."""
    table = NameTable()
    columns = [table.column() for _ in range(3)]
    async with longest_turn() as turns:
        await asyncio.gather(*(column.fill(paged(MANY)) for column in columns[:2]))
        for number in range(200):
            columns[2].update(add=MANY[number::20_000], remove=MANY[:16])
            await asyncio.sleep(0)
        for column in columns:
            column.clear()
            await asyncio.sleep(0)
        for number in range(400):
            columns[2].update(add=[f"new-{number}"])
            await asyncio.sleep(0)
    assert turns.longest_s < 0.02
    assert table.names.blocks <= 2


async def test_a_change_of_one_name_is_quick() -> None:
    table = NameTable()
    column = table.column()
    await column.fill(paged(MANY))
    for _ in range(3):  # the best of some: others may have had the processor's caches
        began_s = time.process_time()
        column.update(add=["acme-team-5-new"], remove=["acme-team-9-lib-000009"])
        took_s = time.process_time() - began_s
        if took_s < 0.005:
            break
    assert took_s < 0.005
    halves = [await pack_names(MANY[::2]), await pack_names(MANY[1::2])]
    assert max(len(names) for names in merge_names(halves)) <= 4 * packed_names._BLOCK


async def test_names_take_little_more_than_their_length_however_many_columns_have_them() -> None:
    table = NameTable()
    for _ in range(3):
        await table.column().fill(paged(MANY[:50_000]))
    blocks, firsts = table.names._blocks, table.names.firsts
    parts = [*blocks, *firsts, blocks, firsts, *(part for block in blocks for part in (block.names, block.marks, *block.marks))]
    assert sum(map(sys.getsizeof, parts)) / 50_000 < sum(map(len, MANY)) / len(MANY) + 6
