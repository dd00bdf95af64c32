"""Packed names are a sorted set, in little memory, and stay what they are while others change."""

from __future__ import annotations

import asyncio
import sys
import time

from hypothesis import given
from hypothesis import strategies as st

from wheelgate.core import packed_names
from wheelgate.core.packed_names import PackedNames, merge_names, pack_names

NAMES = st.sets(st.text("ab-01", min_size=1, max_size=4), max_size=60)
MANY = [f"acme-team-{number % 70}-lib-{number:06d}" for number in range(200_000)]


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
            assert packed.has_same_names(PackedNames.of(model))
    finally:
        packed_names._BLOCK = block


@given(names=st.lists(st.text("ab-01", min_size=1, max_size=3), max_size=60))
def test_names_are_packed_in_whatever_order_they_come(names: list[str]) -> None:
    packed_names._BLOCK, packed_names._BATCH, known = 3, 5, (packed_names._BLOCK, packed_names._BATCH)
    try:
        packed = asyncio.run(pack_names(names))
        assert list(packed) == sorted(set(names))
        assert packed.has_same_names(PackedNames.of(names))
        assert len(packed) == len(set(names))
    finally:
        packed_names._BLOCK, packed_names._BATCH = known


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


async def test_two_hundred_thousand_take_less_than_their_length_and_a_little() -> None:
    packed = await pack_names(MANY)
    held = sum(sys.getsizeof(part) for part in (*packed._blocks, *packed._firsts, packed._blocks, packed._firsts))
    assert held / len(MANY) < sum(map(len, MANY)) / len(MANY) + 4
    assert list(packed) == sorted(MANY)


async def test_no_step_takes_long() -> None:
    """Processor time, since the machine may be busy."""
    packing = asyncio.create_task(pack_names(MANY))
    turns = 0
    while not packing.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > len(MANY) / packed_names._BATCH
    packed = packing.result()
    for _ in range(3):  # the best of some: others may have had the processor's caches
        began = time.process_time()
        packed = packed.updated(add=["acme-team-5-new"], remove=["acme-team-9-lib-000009"])
        took = time.process_time() - began
        if took < 0.005:
            break
    assert took < 0.005
    halves = [PackedNames.of(MANY[::2]), PackedNames.of(MANY[1::2])]
    assert max(len(names) for names in merge_names(halves)) <= 4 * packed_names._BLOCK
