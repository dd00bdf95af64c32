"""What is written down of every request, whoever answers it: its identifier, its line, its place in the metrics."""

from __future__ import annotations

import itertools
import re
import uuid

from wheelgate.runtime.logs import AccessLog
from wheelgate.runtime.metrics import Metrics

_GIVEN = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


class RequestLog:
    """Counts requests and writes a line about each."""

    def __init__(self, metrics: Metrics) -> None:
        self.log = AccessLog()
        self.requests = metrics.requests
        self._count = metrics.requests.count
        # One random half for the process and a running number: unique, at a tenth of the cost of a random one each time.
        self._process = uuid.uuid4().hex[:8]
        self._numbers = itertools.count(1)

    def identifier(self, given: str = "") -> str:
        """The request's own identifier (from a load balancer) if that can stand in a log line, else a new one."""
        return given if _GIVEN.fullmatch(given) else f"{self._process}{next(self._numbers) & 0xFFFFFFFF:08x}"

    def tell(
        self,
        method: str,
        route: str,
        project: str,
        file: str,
        status: int,
        took_s: float,
        client: str,
        agent: str,
        request_id: str,
    ) -> None:
        """Count a request, and have its line written."""
        self._count(route, status, took_s)
        self.log.add(method, route, project, file, status, took_s, client, agent, request_id)
