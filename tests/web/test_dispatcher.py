"""What the application does around every answer."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from wheelgate.core.errors import StoreFull
from wheelgate.runtime.metrics import Metrics
from wheelgate.web.dispatcher import Dispatcher
from wheelgate.web.paths import Route
from wheelgate.web.request_log import RequestLog


async def test_nobody_waits_for_the_line_about_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "wheelgate.access")
    nobody = cast("Any", None)  # nothing is asked of what has nothing at this address
    application = Dispatcher({}, nobody, nobody, RequestLog(Metrics()), "")
    response = await application.handle(make_mocked_request("GET", "/nothing/here/at/all"))
    assert response.status == 404
    assert not caplog.records, "a log that is slow to take lines would hold the answer up"
    await asyncio.sleep(0)
    assert [record.getMessage() for record in caplog.records] == ["GET nothing /nothing/here/at/all 404"]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/livez", 503), ("POST", "/legacy/", 507)])
async def test_a_full_disk_is_named_to_the_operator_alone(
    caplog: pytest.LogCaptureFixture, method: str, path: str, status: int
) -> None:
    """Whoever reads may try again, as pip does after a 503; whoever uploads hears that there is no room."""

    async def fail(*_: object) -> web.StreamResponse:
        raise StoreFull("the disk", "/srv/wheelgate/store")

    nobody = cast("Any", None)
    dispatcher = Dispatcher({Route.LIVEZ: fail, Route.UPLOAD: fail}, nobody, nobody, RequestLog(Metrics()), "")
    for _ in range(3):
        response = await dispatcher.handle(make_mocked_request(method, path))
        assert response.status == status
        assert ("Retry-After" in response.headers) is (status == 503)
        assert isinstance(response, web.Response)
        assert response.text == "the disk is full: whoever runs this server has to make room\n"
    told = [record.getMessage() for record in caplog.records if "full" in record.getMessage()]
    assert told == ["requests are refused for want of room: the disk is full: make room at /srv/wheelgate/store"]
