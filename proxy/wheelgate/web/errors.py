"""HTTP errors: the status of each kind of error, in one place, chosen by what installers do with it.

pip retries 500, 502 and 503 but neither 504 nor a bare 429, and takes every other failure of a page as "no versions"; uv stops
at any page error but 404. So what is definite is 404, what may pass is 503 with a small ``Retry-After``, and a wrong answer of an
upstream is 502. The sentence goes into the body and the reason phrase: each client shows only one of them.
"""

from __future__ import annotations

import re

import msgspec
from aiohttp import web

from wheelgate.core.errors import ErrorKind, LoopDetected, StoreFull, UpstreamError, WheelgateError
from wheelgate.runtime.chain import CHAIN_HEADER
from wheelgate.upstream.told_failures import ERROR_HEADER, name_kind

_STATUS = {
    ErrorKind.NOT_FOUND: 404,
    ErrorKind.WITHHELD: 403,
    ErrorKind.INVALID: 400,
    ErrorKind.CONFLICT: 400,  # not 409: twine and PyPI's own clients look for 400 and "File already exists"
    ErrorKind.TOO_LARGE: 413,
    ErrorKind.UNAUTHENTICATED: 401,
    ErrorKind.FORBIDDEN: 403,
    ErrorKind.FULL: 507,
    ErrorKind.UNAVAILABLE: 503,
    ErrorKind.BAD_ANSWER: 502,
    ErrorKind.LOOP: 508,  # RFC 5842, 7.2; nobody asks again
    ErrorKind.CONFIGURATION: 500,
    ErrorKind.INTERNAL: 500,
}
_RETRY_AFTER_S = 2
_MAX_RETRY_AFTER_S = 5  # pip sleeps exactly that long, up to five times
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # a sentence may repeat what a client or an upstream sent
_MAX_REASON = 400


def build_error_response(error: WheelgateError, request: web.BaseRequest, request_id: str) -> web.Response:
    """Build the answer for an error."""
    retry_after_s = error.retry_after_s if isinstance(error, UpstreamError) else None
    sentence, status = str(error), _STATUS[error.kind]
    if isinstance(error, StoreFull):  # the operator's sentence names a folder; nobody who reads can mend it, and pip retries 503
        sentence, status = error.public, status if request.method == "POST" else 503
    response = build_problem(status, sentence, request, request_id, retry_after_s)
    if (told := name_kind(error)) is not None:
        response.headers[ERROR_HEADER] = told
    if isinstance(error, LoopDetected):
        response.headers[CHAIN_HEADER] = error.chain
    return response


def build_problem(
    status: int, reason: str, request: web.BaseRequest, request_id: str, retry_after_s: float | None = None
) -> web.Response:
    """Build an answer that says what is wrong, in every place where some client looks.

    JSON where JSON is accepted, else text; never HTML, never an echo of the request's path.
    """
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Request-ID": request_id}
    if status == 503:
        headers["Retry-After"] = str(min(max(int(retry_after_s or _RETRY_AFTER_S), 1), _MAX_RETRY_AFTER_S))
    if status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="wheelgate"'
    reason = _CONTROL.sub(" ", reason)
    as_json = "json" in request.headers.get("Accept", "")
    fields = {"error": status, "reason": reason, "request_id": request_id}
    return web.Response(
        status=status,
        reason=_UNPRINTABLE.sub(" ", reason)[:_MAX_REASON],
        body=msgspec.json.encode(fields) if as_json else f"{reason}\n".encode(),
        content_type="application/json" if as_json else "text/plain",
        charset="utf-8",
        headers=headers,
    )
