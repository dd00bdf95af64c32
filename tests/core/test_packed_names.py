"""Packed names are a sorted set, in little memory, and stay what they are while others change."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from wheelgate.core import name_table, packed_names
from wheelgate.core.name_table import pack_names
from wheelgate.core.packed_names import PackedNames, merge_names

NAMES = st.sets(st.text("ab-01", min_size=1, max_size=4), max_size=60)


@given(start=NAMES, steps=st.lists(st.tuples(NAMES, NAMES), max_size=5))
def test_it_is_the_set_of_its_names(start: set[str], steps: list[tuple[set[str], set[str]]]) -> None:
    packed_names._BLOCK, block = 3, packed_names._BLOCK
    try:
        packed, model = PackedNames.of(start), set(start)
        for add, remove in steps:
            before, known = packed, sorted(model)
            packed = packed.updated(add=add, remove=remove)
            changed = (model | add) - remove
            assert (packed is before) == (changed == model)
            assert list(before) == known
            model = changed
            assert list(packed) == sorted(model)
            assert len(packed) == len(model)
            assert all((name in packed) == (name in model) for name in {*add, *remove, "a", "zz"})
    finally:
        packed_names._BLOCK = block


@given(names=st.lists(st.text("ab-01", min_size=1, max_size=3), max_size=60))
def test_names_are_packed_in_whatever_order_they_come(names: list[str]) -> None:
    known = packed_names._BLOCK, name_table._RUN, name_table._CHUNK, name_table._BATCH
    packed_names._BLOCK, name_table._RUN, name_table._CHUNK, name_table._BATCH = 3, 5, 2, 4
    try:
        packed = asyncio.run(pack_names(names))
        assert list(packed) == sorted(set(names))
        assert len(packed) == len(set(names))
    finally:
        packed_names._BLOCK, name_table._RUN, name_table._CHUNK, name_table._BATCH = known


@given(sets=st.lists(NAMES, max_size=4), first=st.text("ab-01", max_size=3), end=st.text("ab-01", max_size=3))
def test_sets_are_merged_and_cut(sets: list[set[str]], first: str, end: str) -> None:
    packed_names._BLOCK, block = 3, packed_names._BLOCK
    try:
        packed = [PackedNames.of(names) for names in sets]
        merged = [name.decode() for names in merge_names(packed) for name in names]
        assert merged == sorted(set().union(*sets))
        for names, each in zip(sets, packed, strict=True):
            assert each.between(first.encode(), end.encode()) == sorted(n.encode() for n in names if first <= n < end)
            assert each.between(first.encode(), None) == sorted(n.encode() for n in names if first <= n)
    finally:
        packed_names._BLOCK = block
