"""Dispatcher: a parsed path goes to its handler, and whatever happens becomes one clear answer and one log line."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import HttpVersion11, web

from wheelgate.core.errors import ErrorKind, LoopDetected, WheelgateError
from wheelgate.runtime.chain import CHAIN_HEADER, enter_chain, read_chain
from wheelgate.runtime.deadline import TooLate, limiting_request
from wheelgate.runtime.logs import AnsweredRequest, RepeatedWarning
from wheelgate.web.auth import Authentication
from wheelgate.web.client_connection import OVER_LIMIT, announces_body
from wheelgate.web.errors import build_error_response, build_problem
from wheelgate.web.known_heads import KnownHeads
from wheelgate.web.paths import ParsedPath, Route, parse_path
from wheelgate.web.prepared_response import SERVER
from wheelgate.web.request_log import RequestLog

_log = logging.getLogger(__name__)
_READ = ("GET", "HEAD")
_METHODS = {Route.UPLOAD: ("POST",)}
_PROBES = frozenset({Route.LIVEZ, Route.READYZ, Route.METRICS})
"""Answered on whatever connection."""
_OPEN = frozenset({*_PROBES, Route.HOME, Route.UPLOAD})
"""Routes that reveal nothing of anybody's packages, or ask for a token by themselves."""

Handler = Callable[[web.BaseRequest, ParsedPath], Awaitable[web.StreamResponse]]


class Dispatcher:
    """The one handler of every request that the fast path does not answer from memory."""

    def __init__(
        self,
        routes: Mapping[Route, Handler],
        authentication: Authentication,
        known_heads: KnownHeads,
        log: RequestLog,
        prefix: str,
    ) -> None:
        self._routes = routes
        self._authentication = authentication
        self._known_heads = known_heads
        self._request_log = log
        self._prefix = prefix
        self._full = RepeatedWarning(_log, "requests are refused for want of room")

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request, count it, and write one line about it."""
        began = time.perf_counter()
        request_id = self._request_log.new_id(request.headers.get("X-Request-ID", ""))
        target = parse_path(request.rel_url.raw_path, self._prefix)
        status = 500
        try:
            async with limiting_request(lambda: request.writer.output_size > 0):
                response = await self._answer(request, target, request_id)
            status = response.status
        except TooLate as error:
            status, asked = 503, error.asked or "this server"
            response = build_problem(503, f"{asked} did not answer in time: try again in a moment", request, request_id)
        except (ConnectionError, TimeoutError, asyncio.CancelledError):
            status = 499  # the client left, or was left; there is nobody to answer
            raise
        finally:
            answered = AnsweredRequest(
                request.method,
                target.route.name.lower(),
                target.project,
                target.filename,
                status,
                time.perf_counter() - began,
                request.remote or "",
                request.headers.get("User-Agent", "")[:200],
                request_id,
                request.rel_url.raw_path[:200],
            )
            self._request_log.record(answered)
        if not response.prepared:
            response.headers.update(SERVER)
        return response

    async def _answer(self, request: web.BaseRequest, target: ParsedPath, request_id: str) -> web.StreamResponse:
        if (refused := _refuse(request, target, request_id)) is not None:
            return refused
        chain = enter_chain(read_chain(request.headers.get(CHAIN_HEADER, "")))
        if chain is not None and target.route not in _PROBES:
            sentence = f"this server is asked by itself: {' > '.join(chain.split(','))}"
            return build_error_response(LoopDetected(sentence, chain=chain), request, request_id)
        if target.canonical is not None:
            query = request.rel_url.raw_query_string
            location = target.canonical + (f"?{query}" if query else "")
            return web.Response(status=301, headers={"Location": location, "Cache-Control": "no-cache"})
        if target.route is Route.NOTHING:
            return build_problem(404, "not found", request, request_id)
        try:
            if target.route in _OPEN:
                response = await self._routes[target.route](request, target)
            else:
                permission = await self._authentication.check_read(request, target.project or "*")
                response = await self._routes[target.route](request, target)
                self._known_heads.learn(request, target, permission)
        except WheelgateError as error:
            self._log_own_fault(error, request_id)
            return build_error_response(error, request, request_id)
        except (ConnectionError, TimeoutError):
            raise
        except Exception:
            _log.exception("request %s failed", request_id)
            return build_problem(500, "internal error, see the server log for this request ID", request, request_id)
        if not response.prepared:
            response.headers["X-Request-ID"] = request_id
        return response

    def _log_own_fault(self, error: WheelgateError, request_id: str) -> None:
        """Log what only the operator can mend."""
        if error.kind in (ErrorKind.INTERNAL, ErrorKind.CONFIGURATION):
            _log.error("request %s: %s", request_id, error)
        elif error.kind is ErrorKind.FULL:
            self._full.give(str(error))


def _refuse(request: web.BaseRequest, target: ParsedPath, request_id: str) -> web.Response | None:
    """Refuse what can be refused by its head alone; ``None``: it may be answered."""
    methods = _METHODS.get(target.route, _READ)
    if OVER_LIMIT in request and target.route not in _PROBES:
        refused = build_problem(503, "the server has as many connections as it can take: try again", request, request_id)
    elif request.method in _READ and announces_body(request):
        refused = build_problem(400, f"a {request.method} request has no body here: leave it out", request, request_id)
    elif request.version < HttpVersion11 and "Transfer-Encoding" in request.headers:
        # RFC 9112, 6.1: whoever stands between us may have read its length otherwise.
        refused = build_problem(400, "HTTP/1.0 has no Transfer-Encoding: use HTTP/1.1", request, request_id)
    elif request.method not in methods:
        refused = build_problem(405, f"method not allowed (use {' or '.join(methods)})", request, request_id)
        refused.headers["Allow"] = ", ".join(methods)
        return refused
    else:
        return None
    refused.force_close()  # nothing more is read of it
    return refused
