"""Work done at once, whose outcome does not depend on who is faster."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any


async def together(*parts: Awaitable[Any]) -> list[Any]:
    """Wait until all parts have ended; their results, or the error of the first of them, in their order, that has one."""
    outcomes = await asyncio.gather(*parts, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return outcomes
