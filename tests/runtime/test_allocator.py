import asyncio

from wheelgate.runtime.allocator import FreeMemory


async def test_memory_is_given_back_once_large_work_is_over_for_a_while() -> None:
    given: list[None] = []
    free = FreeMemory(large_bytes=100, quiet_s=0.03, give_back=lambda: given.append(None))
    free.note(99)
    free.note(0)
    await asyncio.sleep(0.06)
    assert not given, "nothing large was under way"
    free.note(60)
    free.note(120)
    free.note(0)
    free.note(10)  # the next one has begun
    await asyncio.sleep(0.06)
    assert not given
    free.note(0)
    assert not given
    await asyncio.sleep(0.06)
    assert len(given) == 1
    free.note(0)
    await asyncio.sleep(0.06)
    assert len(given) == 1, "once for each time"
