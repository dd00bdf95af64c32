"""Access log and request metrics: one call for each answered request, whichever path answered it."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import uuid

from wheelgate.runtime import logs
from wheelgate.runtime.logs import AnsweredBatch, AnsweredRequest
from wheelgate.runtime.metrics import Metrics

_GIVEN = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_WAIT_S = 0.1
_MAX_WAITING = 500


class RequestLog:
    """Counts requests and logs a line about each, never before its answer has left.

    Lines about warm requests wait a moment for others, to be written together at a tenth of the cost. Those that wait are lost
    only with a process that is killed; whoever ends it in order calls :meth:`flush`.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics.requests
        self._waiting: list[AnsweredRequest] = []
        # One random half for the process and a running number: unique, at a tenth of the cost of a random one each time.
        self._process = uuid.uuid4().hex[:8]
        self._numbers = itertools.count(1)

    def new_id(self, given: str = "") -> str:
        """Return the request's own identifier (from a load balancer) if that can stand in a log line, else a new one."""
        return given if _GIVEN.fullmatch(given) else f"{self._process}{next(self._numbers) & 0xFFFFFFFF:08x}"

    def record(self, answer: AnsweredRequest, *, warm: bool = False) -> None:
        """Count a request and have its line written soon; ``warm``: the fast path answered it."""
        self._metrics.count(answer, warm=warm)
        if not logs.access.isEnabledFor(logging.INFO):
            return
        waiting = self._waiting
        waiting.append(answer)
        if not warm:
            asyncio.get_running_loop().call_soon(self.flush)
        elif len(waiting) == 1:
            asyncio.get_running_loop().call_later(_WAIT_S, self.flush)
        elif len(waiting) >= _MAX_WAITING:
            self.flush()

    def flush(self) -> None:
        """Write the lines that wait, now."""
        answers, self._waiting = self._waiting, []
        if answers:
            logs.access.info(AnsweredBatch(answers))
