"""One piece of work per key, shared."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator

import pytest

from wheelgate.runtime.chain import RefusedForChain, enter_chain
from wheelgate.runtime.singleflight import SingleFlight


class Work:
    """Work that counts how often it was begun, and waits until it is let go."""

    def __init__(self, result: object = "result") -> None:
        self.begun = 0
        self.cancelled = 0
        self.release = asyncio.Event()
        self._result = result

    async def __call__(self) -> object:
        self.begun += 1
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(self._result, BaseException):
            raise self._result
        return self._result


@pytest.fixture
async def flights() -> AsyncIterator[SingleFlight[object]]:
    made: SingleFlight[object] = SingleFlight()
    yield made
    await made.close()


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_result_comes_back(flights: SingleFlight[object]) -> None:
    work = Work()
    work.release.set()
    assert await flights.run("key", work) == "result"


async def test_a_hundred_callers_share_one_flight(flights: SingleFlight[object]) -> None:
    work = Work()
    callers = [asyncio.create_task(flights.run("key", work)) for _ in range(100)]
    await turns()
    work.release.set()
    assert await asyncio.gather(*callers) == ["result"] * 100
    assert work.begun == 1


async def test_each_key_has_its_own(flights: SingleFlight[object]) -> None:
    one, other = Work("one"), Work("other")
    callers = [asyncio.create_task(flights.run(("k", number), work)) for number, work in enumerate((one, other))]
    await turns()
    one.release.set()
    other.release.set()
    assert await asyncio.gather(*callers) == ["one", "other"]


async def test_a_result_is_not_kept_for_those_who_come_later(flights: SingleFlight[object]) -> None:
    work = Work()
    work.release.set()
    await flights.run("key", work)
    await flights.run("key", work)
    assert work.begun == 2


async def test_the_first_caller_may_leave_without_harming_the_others(flights: SingleFlight[object]) -> None:
    work = Work()
    first = asyncio.create_task(flights.run("key", work))
    await turns()
    others = [asyncio.create_task(flights.run("key", work)) for _ in range(3)]
    await turns()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    work.release.set()
    assert await asyncio.gather(*others) == ["result"] * 3
    assert (work.begun, work.cancelled) == (1, 0)


async def test_work_goes_on_when_everybody_has_left_and_the_next_joins_it(flights: SingleFlight[object]) -> None:
    work = Work()
    first = asyncio.create_task(flights.run("key", work))
    await turns()
    first.cancel()
    await turns()
    late = asyncio.create_task(flights.run("key", work))
    await turns()
    work.release.set()
    assert await late == "result"
    assert (work.begun, work.cancelled) == (1, 0)


async def test_an_error_goes_to_everyone_who_waited_and_is_then_forgotten(flights: SingleFlight[object]) -> None:
    broken, sound = Work(ValueError("no luck")), Work()
    callers = [asyncio.create_task(flights.run("key", broken)) for _ in range(5)]
    await turns()
    broken.release.set()
    sound.release.set()
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["no luck"] * 5
    assert broken.begun == 1
    assert await flights.run("key", sound) == "result"


async def test_an_error_that_nobody_waited_for_is_dropped_in_silence(flights: SingleFlight[object]) -> None:
    heard: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
    broken = Work(ValueError("no luck"))
    only = asyncio.create_task(flights.run("key", broken))
    await turns()
    only.cancel()
    broken.release.set()
    await turns()
    gc.collect()
    assert heard == []


async def test_the_trace_of_a_shared_error_does_not_grow_with_those_who_raise_it(flights: SingleFlight[object]) -> None:
    def length(error: BaseException) -> int:
        trace, count = error.__traceback__, 0
        while trace is not None:
            trace, count = trace.tb_next, count + 1
        return count

    broken = Work(ValueError("no luck"))
    callers = [asyncio.create_task(flights.run("key", broken)) for _ in range(50)]
    await turns()
    broken.release.set()
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert length(outcomes[-1]) < 10  # type: ignore[arg-type]


async def test_work_that_fails_before_it_awaits_anything_fails_the_same(flights: SingleFlight[object]) -> None:
    def refuse() -> AsyncWork:
        raise ValueError("at once")

    with pytest.raises(ValueError, match="at once"):
        await flights.run("key", refuse)
    work = Work()
    work.release.set()
    assert await flights.run("key", work) == "result"


AsyncWork = asyncio.Future[object]


async def test_work_may_ask_for_other_keys(flights: SingleFlight[object]) -> None:
    inner = Work("inner")
    inner.release.set()

    async def outer() -> object:
        return ["outer", await flights.run("inner", inner)]

    assert await flights.run("outer", outer) == ["outer", "inner"]


async def test_closing_cancels_the_work_and_tells_everyone_who_waits() -> None:
    flights: SingleFlight[object] = SingleFlight()
    work = Work()
    callers = [asyncio.create_task(flights.run("key", work)) for _ in range(3)]
    await turns()
    await flights.close()
    assert work.cancelled == 1
    async with asyncio.timeout(5):
        outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)


async def test_closing_before_the_work_began_leaves_nobody_waiting() -> None:
    flights: SingleFlight[object] = SingleFlight()
    work = Work()
    caller = asyncio.create_task(flights.run("key", work))
    closing = asyncio.create_task(flights.close())  # in the same turn: the work's task exists and has not had its first step
    async with asyncio.timeout(5):
        await closing
        outcomes = await asyncio.gather(caller, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert work.begun == 0
    work.release.set()
    assert await flights.run("key", work) == "result"  # and the key is free again


async def test_closing_waits_until_the_work_has_cleaned_up() -> None:
    flights: SingleFlight[object] = SingleFlight()
    cleaned = False

    async def careful() -> object:
        nonlocal cleaned
        try:
            await asyncio.Event().wait()
        finally:
            await turns(10)
            cleaned = True
        return None

    caller = asyncio.create_task(flights.run("key", careful))
    await turns()
    await flights.close()
    assert cleaned
    with pytest.raises(asyncio.CancelledError):
        await caller


async def test_closing_with_nothing_under_way_is_nothing() -> None:
    await SingleFlight[object]().close()


async def test_thousands_who_leave_at_once_do_not_stall_the_loop(flights: SingleFlight[object]) -> None:
    work = Work()
    callers = [asyncio.create_task(flights.run("key", work)) for _ in range(5_000)]
    await turns()
    began = time.process_time()
    for caller in callers[:-1]:
        caller.cancel()
    await turns()
    work.release.set()
    assert await callers[-1] == "result"
    assert time.process_time() - began < 2
    await asyncio.gather(*callers, return_exceptions=True)


# --- chains


@pytest.mark.parametrize(("failure", "begun"), [(RefusedForChain("refused"), 2), (ValueError("broken"), 1)])
async def test_what_was_refused_to_one_chain_is_asked_anew_for_another(
    flights: SingleFlight[object], failure: Exception, begun: int
) -> None:
    works = [Work(failure), Work("result")]
    for work in works:
        work.release.set()

    async def begin_next() -> object:
        return await works[sum(work.begun for work in works)]()

    async def ask(chain: str) -> object:
        enter_chain(chain)
        return await flights.run("key", begin_next)

    answers = await asyncio.gather(*map(ask, ["0" * 8, "0" * 8, "", ""]), return_exceptions=True)
    assert answers[:2] == [failure] * 2
    assert answers[2:] == (["result"] * 2 if begun == 2 else [failure] * 2)
    assert sum(work.begun for work in works) == begun
