"""What the application does around every answer."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

import pytest
from aiohttp.test_utils import make_mocked_request

from wheelgate.runtime.metrics import Metrics
from wheelgate.web.dispatcher import Dispatcher
from wheelgate.web.request_log import RequestLog


async def test_nobody_waits_for_the_line_about_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "wheelgate.access")
    nobody = cast("Any", None)  # nothing is asked of what has nothing at this address
    application = Dispatcher({}, nobody, nobody, RequestLog(Metrics()), "")
    response = await application.handle(make_mocked_request("GET", "/nothing/here/at/all"))
    assert response.status == 404
    assert not caplog.records, "a log that is slow to take lines would hold the answer up"
    await asyncio.sleep(0)
    assert [record.getMessage() for record in caplog.records] == ["GET nothing - 404"]
