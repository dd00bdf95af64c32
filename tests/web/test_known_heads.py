"""Known heads: what a permission that has passed does to them."""

from __future__ import annotations

from aiohttp.test_utils import make_mocked_request

from tests.support.clock import FakeClock
from wheelgate.runtime.metrics import Metrics
from wheelgate.simple_api import JSON
from wheelgate.web.known_heads import HEAD, KnownHeads
from wheelgate.web.paths import ParsedPath, Route
from wheelgate.web.prepared_response import build_headers, prepare_response
from wheelgate.web.request_log import RequestLog


def test_a_head_whose_permission_has_passed_is_learned_again(clock: FakeClock) -> None:
    """A token that was announced again is asked about once; the build that uses it must be quick from then on."""
    page = prepare_response(b"{}", build_headers(JSON, "no-cache", ("e",)), ("e",))
    heads = KnownHeads({Route.PROJECT: lambda _, __: lambda: (page, None)}, RequestLog(Metrics()), clock)
    request = make_mocked_request("GET", "/simple/demo/")
    request[HEAD] = head = b"GET /simple/demo/ HTTP/1.1\r\nHost: x\r\n\r\n"
    target, permitted = ParsedPath(Route.PROJECT, "demo"), [True]
    heads.learn(request, target, lambda: permitted[0])
    assert heads.answer(head, "client") is not None
    permitted[0] = False
    assert heads.answer(head, "client") is None
    heads.learn(request, target, lambda: True)
    assert heads.answer(head, "client") is not None
