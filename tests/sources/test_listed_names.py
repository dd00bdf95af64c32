"""Names of a listing: packed once for however many ask."""

from __future__ import annotations

import asyncio

from wheelgate.sources.listed_names import ListedNames

NAMES = [f"acme-{number}" for number in range(10_000)]


async def test_however_many_ask_at_once_the_names_are_packed_once() -> None:
    names, found = ListedNames(), 0

    def find() -> list[list[str]]:
        nonlocal found
        found += 1
        return [NAMES]

    packed = await asyncio.gather(*(names.pack(find) for _ in range(20)))
    assert found == 1
    assert all(len(each) == len(NAMES) for each in packed)
    names.forget()
    first = asyncio.create_task(names.pack(find))
    second = asyncio.create_task(names.pack(find))
    await asyncio.sleep(0)
    first.cancel()
    assert len(await second) == len(NAMES), "who asks first may leave"
    assert found == 3


async def test_whoever_waits_with_a_listing_that_was_replaced_meanwhile_leaves_none_of_it_behind() -> None:
    names = ListedNames()
    packing = [asyncio.create_task(names.pack(lambda: [NAMES])) for _ in range(2)]
    await asyncio.sleep(0)
    names.forget()
    packing.append(asyncio.create_task(names.pack(lambda: [["acme-new"]])))
    await asyncio.gather(*packing)
    assert await names.pack(lambda: [["acme-newest"]]) == {"acme-new"}
    names.forget()
    waiting = [asyncio.create_task(names.pack(lambda: [NAMES])) for _ in range(2)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    names.forget()
    await waiting[1]
    assert await names.pack(lambda: [["acme-newest"]]) == {"acme-newest"}
