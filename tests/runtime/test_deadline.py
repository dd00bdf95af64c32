"""The deadline of a request: handed down, ended by the first byte, not inherited by work that outlives the request."""

from __future__ import annotations

import asyncio

import pytest

from wheelgate.runtime.background import BackgroundTasks
from wheelgate.runtime.deadline import Deadline, TooLate, extend_deadline, limiting_request, pause_deadline, renew_deadline
from wheelgate.runtime.singleflight import SingleFlight


def unanswered() -> bool:
    return False


async def test_whoever_is_asked_has_what_the_request_has_left() -> None:
    assert Deadline.within(6.0).left_s() == pytest.approx(6.0, abs=0.1)
    async with limiting_request(unanswered, 2.0):
        assert Deadline.within(6.0).left_s() == pytest.approx(2.0, abs=0.1)
        assert Deadline.within(1.0).left_s() == pytest.approx(1.0, abs=0.1)

        async def ask() -> float:
            return Deadline.within(6.0).left_s()

        assert await SingleFlight[float]().run("key", ask) == pytest.approx(2.0, abs=0.1)
    assert Deadline.within(6.0).left_s() == pytest.approx(6.0, abs=0.1)


async def test_the_first_byte_ends_it() -> None:
    begun = False
    async with limiting_request(lambda: begun, 0.01):
        begun = True
        assert Deadline.within(6.0).left_s() == pytest.approx(6.0, abs=0.1)
        await asyncio.sleep(1.2)


async def test_work_that_outlives_the_request_has_none() -> None:
    tasks, left = BackgroundTasks(), []

    async def work() -> None:
        left.append(Deadline.within(6.0).left_s())

    async with limiting_request(unanswered, 0.1):
        await tasks.start("key", work)
    assert left == [pytest.approx(6.0, abs=0.1)]


async def test_a_request_that_waits_for_whatever_it_is_is_cut_off_and_says_for_whom() -> None:
    began_s = asyncio.get_running_loop().time()
    with pytest.raises(TooLate) as caught:
        async with limiting_request(unanswered, 0.1):
            Deadline.within(6.0, "the store")
            await asyncio.Event().wait()
    assert caught.value.asked == "the store"
    assert asyncio.get_running_loop().time() - began_s < 1.5


async def test_it_stands_still_while_a_client_sends_and_begins_anew_then() -> None:
    with pytest.raises(TooLate):
        async with limiting_request(unanswered, 0.1):
            pause_deadline()
            await asyncio.sleep(1.3)
            assert Deadline.within(6.0).left_s() == pytest.approx(6.0, abs=0.1)
            renew_deadline()
            assert Deadline.within(6.0).left_s() == pytest.approx(0.1, abs=0.05)
            await asyncio.sleep(0.9)
            renew_deadline()
            await asyncio.sleep(0.9)
            await asyncio.Event().wait()


async def test_a_large_body_puts_it_off_by_a_bounded_time() -> None:
    extend_deadline(1.0)  # without a request, of nobody
    with pytest.raises(TooLate):
        async with limiting_request(unanswered, 0.1):
            extend_deadline(1.0)
            assert Deadline.within(6.0).left_s() == pytest.approx(1.1, abs=0.05)
            renew_deadline()
            assert Deadline.within(6.0).left_s() == pytest.approx(0.1, abs=0.05)
            await asyncio.Event().wait()


async def test_another_timeout_is_nobody_elses() -> None:
    with pytest.raises(TimeoutError):
        async with limiting_request(unanswered):
            raise TimeoutError
