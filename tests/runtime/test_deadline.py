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


class Hasty:
    """Something that answers after a while, and is asked no longer than whoever asks has time."""

    def __init__(self, takes_s: float) -> None:
        self.takes_s = takes_s
        self.asked = 0

    async def ask(self) -> str:
        self.asked += 1
        async with Deadline.within(6.0, "the source").limit():
            await asyncio.sleep(self.takes_s)
        return "an answer"


async def test_whoever_joined_and_has_more_time_asks_anew() -> None:
    """What the starter's haste made fail is a failure of nobody else; all who stay share the second question."""
    flights, source = SingleFlight[str](), Hasty(0.3)

    async def ask(seconds: float) -> str:
        async with limiting_request(unanswered, seconds):
            return await flights.run("key", source.ask)

    answers = await asyncio.gather(ask(0.1), *(ask(5.0) for _ in range(20)), ask(0.2), return_exceptions=True)
    assert answers[1:21] == ["an answer"] * 20
    assert isinstance(answers[0], TimeoutError)
    assert isinstance(answers[21], TimeoutError), "it had no more time either"
    assert source.asked == 2


async def test_work_without_a_request_asks_anew_too() -> None:
    flights, source = SingleFlight[str](), Hasty(0.3)

    async def ask_in_a_hurry() -> str:
        async with limiting_request(unanswered, 0.1):
            return await flights.run("key", source.ask)

    hurried = asyncio.create_task(ask_in_a_hurry())
    await asyncio.sleep(0)
    assert await flights.run("key", source.ask) == "an answer"
    with pytest.raises(TimeoutError):
        await hurried


async def test_a_failure_for_another_reason_is_everybodys() -> None:
    flights, asked = SingleFlight[str](), 0

    async def fail() -> str:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.05)
        raise LookupError

    async def ask(seconds: float) -> str:
        async with limiting_request(unanswered, seconds):
            return await flights.run("key", fail)

    failures = await asyncio.gather(ask(4.0), ask(10.0), ask(10.0), return_exceptions=True)
    assert [type(failure) for failure in failures] == [LookupError] * 3
    assert asked == 1


async def test_whoever_joined_says_who_was_asked_for_its_sake_too() -> None:
    flights, source = SingleFlight[str](), Hasty(30.0)
    async with limiting_request(unanswered, 3.0):
        starting = asyncio.create_task(flights.run("key", source.ask))
        await asyncio.sleep(0)
    with pytest.raises(TooLate) as caught:
        async with limiting_request(unanswered, 0.1):
            await flights.run("key", source.ask)
    assert caught.value.asked == "the source"
    starting.cancel()
    await flights.close()
