"""The breaker for silence: seconds once, then nothing, until the service is back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from wheelgate.runtime.deadline import limiting_request
from wheelgate.runtime.silence_breaker import SilenceBreaker, Unanswered

SILENCE_S = 0.2


class Service:
    """A service that is well, silent, or not there."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.answers.set()
        self.gone = False
        self.asked = 0

    async def ask(self) -> str:
        self.asked += 1
        if self.gone:
            raise ConnectionRefusedError
        await self.answers.wait()
        return "an answer"


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
async def breaker(service: Service) -> AsyncIterator[SilenceBreaker]:
    made = SilenceBreaker(
        "the service", probe=service.ask, unreachable=(ConnectionError,), silence_s=SILENCE_S, pause_s=0.02, probe_s=0.1
    )
    yield made
    await made.close()


async def took_s(breaker: SilenceBreaker, service: Service) -> float:
    began_s = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError):
        await breaker.ask(service.ask)
    return asyncio.get_running_loop().time() - began_s


async def test_silence_costs_once_and_is_over_by_itself(
    breaker: SilenceBreaker, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    service.answers.clear()
    assert await took_s(breaker, service) >= SILENCE_S
    for _ in range(100):
        with pytest.raises(Unanswered):
            await breaker.ask(service.ask)
    assert service.asked < 5, "nobody but one probe at a time asks"
    service.answers.set()
    await asyncio.sleep(0.15)
    assert await breaker.ask(service.ask) == "an answer"
    assert [record.getMessage() for record in caplog.records] == [
        "the service does not answer: nobody waits for it until it does",
        "the service answers again",
    ]


async def test_whoever_waits_when_it_opens_waits_no_longer(breaker: SilenceBreaker, service: Service) -> None:
    service.answers.clear()
    first = asyncio.create_task(took_s(breaker, service))
    await asyncio.sleep(SILENCE_S / 2)
    assert await took_s(breaker, service) < SILENCE_S * 0.9
    await first


async def test_a_large_body_on_its_way_goes_on(breaker: SilenceBreaker, service: Service) -> None:
    service.answers.clear()
    body = asyncio.create_task(breaker.ask(service.ask, within_s=5.0))
    assert await took_s(breaker, service) >= SILENCE_S
    service.answers.set()
    assert await body == "an answer"
    assert not breaker.is_open


async def test_no_connection_opens_it_at_once(breaker: SilenceBreaker, service: Service) -> None:
    service.gone = True
    with pytest.raises(ConnectionError):
        await breaker.ask(service.ask)
    with pytest.raises(Unanswered):
        await breaker.ask(service.ask)
    service.gone = False
    await asyncio.sleep(0.1)
    assert await breaker.ask(service.ask) == "an answer"


async def test_who_is_silent_about_one_thing_is_asked_for_others(breaker: SilenceBreaker, service: Service) -> None:
    """Also where only the head of an answer came."""
    silent = asyncio.create_task(took_s(breaker, service))
    service.answers.clear()
    await asyncio.sleep(SILENCE_S / 2)
    breaker.note_answer()
    assert await silent >= SILENCE_S
    assert not breaker.is_open


async def test_a_failure_that_is_an_answer_leaves_it_closed(breaker: SilenceBreaker) -> None:
    async def fail() -> None:
        raise LookupError

    for _ in range(20):
        with pytest.raises(LookupError):
            await breaker.ask(fail)
    assert not breaker.is_open


async def test_a_request_with_less_time_asks_no_longer_and_blames_nobody(breaker: SilenceBreaker, service: Service) -> None:
    service.answers.clear()
    async with limiting_request(lambda: False, SILENCE_S / 4):
        assert await took_s(breaker, service) < SILENCE_S
    assert not breaker.is_open


async def test_who_leaves_blames_nobody(breaker: SilenceBreaker, service: Service) -> None:
    service.answers.clear()
    waiting = asyncio.create_task(breaker.ask(service.ask))
    await asyncio.sleep(SILENCE_S / 2)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert not breaker.is_open


async def test_it_is_probed_anew_when_it_falls_silent_again_while_a_probe_of_before_still_waits(
    breaker: SilenceBreaker, service: Service
) -> None:
    service.answers.clear()
    await took_s(breaker, service)
    await asyncio.sleep(0.01)  # a probe waits for its answer now
    breaker.note_answer()  # to somebody else, and the service dies
    await asyncio.sleep(0.03)
    service.gone = True
    with pytest.raises(ConnectionError):
        await breaker.ask(service.ask)
    assert breaker.is_open
    await asyncio.sleep(0.15)  # until nobody waits any more
    service.gone = False
    service.answers.set()
    await asyncio.sleep(0.1)
    assert not breaker.is_open


async def test_nobody_probes_once_it_is_closed(breaker: SilenceBreaker, service: Service) -> None:
    await breaker.close()
    service.gone = True
    with pytest.raises(ConnectionError):
        await breaker.ask(service.ask)
    asked = service.asked
    await asyncio.sleep(0.1)
    assert service.asked == asked


async def test_a_large_body_that_a_request_cuts_off_says_nothing_of_silence(breaker: SilenceBreaker, service: Service) -> None:
    service.answers.clear()
    async with limiting_request(lambda: False, SILENCE_S * 1.5):
        with pytest.raises(TimeoutError):
            await breaker.ask(service.ask, within_s=5.0)
    assert not breaker.is_open


async def test_a_probe_that_is_cancelled_from_within_is_followed_by_others(service: Service) -> None:
    """As where what it waits for is closed."""

    async def probe() -> None:
        if service.asked < 3:
            service.asked += 1
            raise asyncio.CancelledError

    breaker = SilenceBreaker("the service", probe=probe, unreachable=(ConnectionError,), pause_s=0.01)
    service.gone = True
    with pytest.raises(ConnectionError):
        await breaker.ask(service.ask)
    await asyncio.sleep(0.2)
    assert not breaker.is_open
    await breaker.close()
