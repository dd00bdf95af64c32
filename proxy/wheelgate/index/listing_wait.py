"""Waiting for sources that are still being listed: only for one that may be the owner, and for less than a client waits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable

import msgspec

from wheelgate.core.errors import StillListing
from wheelgate.index.decision import Answer, Decision, Member, Outcome

LISTING_WAIT_S = 8.0
"""So that a client has an answer within ten seconds."""


def find_first(answers: Iterable[Answer]) -> Answer | None:
    """Find the first source, in the order of asking, that has the project, or that failed and so may be the owner."""
    return next((answer for answer in answers if answer.outcome in (Outcome.LISTED, Outcome.FAILED)), None)


async def hear_listings(
    known: Decision, members: Iterable[Member], ask: Callable[[Member, str], Awaitable[Answer]], within_s: float
) -> Decision:
    """Ask members again that were still being listed, once they are, as long as the decision hangs on them.

    Args:
        known: what all of them answered.
        members: in the order of asking.
        ask: asks one of them about a project.
        within_s: time to wait, for all of them together.
    """
    deadline_s = asyncio.get_running_loop().time() + within_s
    for member in members:
        first = find_first(known.answers)
        if first is None or first.source != member.source.name or not isinstance(first.error, StillListing):
            continue
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline_s):
                await first.error.wait()
        heard = await ask(member, known.project)
        answers = tuple(heard if answer is first else answer for answer in known.answers)
        known = msgspec.structs.replace(known, answers=answers)
    return known
