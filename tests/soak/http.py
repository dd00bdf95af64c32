"""HTTP as pip does it: five more tries after a broken connection or a status that says "again"; and one try, for judging."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from tests.soak.ledger import Record

JSON_PAGE = {"Accept": "application/vnd.pypi.simple.v1+json"}
_AGAIN = (500, 502, 503, 520, 527)
_TRIES = 6
_SILENCE_S = 15.0
_TROUBLE = (aiohttp.ClientError, OSError, asyncio.IncompleteReadError)


@dataclass(frozen=True)
class Answer:
    """A whole answer; status 0: there was none."""

    status: int
    reason: str
    body: bytes = b""
    retry_after_s: float | None = None

    def __str__(self) -> str:
        return f"{self.status} {self.reason} {self.body[:200]!r}"


class Http:
    """Clients with a token."""

    def __init__(self, session: aiohttp.ClientSession, record: Record, token: str) -> None:
        self._session = session
        self._record = record
        self.token = token

    async def once(
        self, url: str, headers: Mapping[str, str] | None = None, *, token: str | None = None, timeout_s: float = _SILENCE_S
    ) -> Answer:
        """One GET, redirects not followed, and what came of it."""
        return await self._send("GET", url, headers, None, token or self.token, timeout_s, follow=False)

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """GET as pip does it."""
        answer = Answer(0, "nothing was sent")
        for tried in range(_TRIES):
            if answer.retry_after_s is not None:
                await asyncio.sleep(answer.retry_after_s)
            elif tried > 1:
                await asyncio.sleep(0.25 * 2 ** (tried - 1))
            began_s = time.monotonic()
            answer = await self._send("GET", url, headers, None, self.token, _SILENCE_S, follow=True)
            self._record.time("answer to an installer", time.monotonic() - began_s)
            if answer.status and answer.status not in _AGAIN:
                break
            self._record.counts["tries again"] += 1
        return answer

    async def post(self, url: str, fields: Mapping[str, str], file: tuple[str, bytes] | None, token: str) -> Answer:
        """One form, as twine sends it."""
        form = aiohttp.FormData(default_to_multipart=True)
        for name, value in fields.items():
            form.add_field(name, value)
        if file is not None:
            form.add_field("content", file[1], filename=file[0], content_type="application/octet-stream")
        return await self._send("POST", url, None, form, token, 60.0, follow=False)

    async def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        form: aiohttp.FormData | None,
        token: str,
        timeout_s: float,
        *,
        follow: bool,
    ) -> Answer:
        try:
            async with self._session.request(
                method,
                url,
                headers={"Authorization": aiohttp.BasicAuth("__token__", token).encode(), **(headers or {})},
                data=form,
                allow_redirects=follow,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=timeout_s, sock_read=timeout_s),
            ) as response:
                after = response.headers.get("Retry-After", "")
                retry_after_s = float(after) if after.isdecimal() else None
                return Answer(response.status, response.reason or "", await response.read(), retry_after_s)
        except TimeoutError:
            return Answer(0, f"silent for {timeout_s:g} s")
        except _TROUBLE as error:
            return Answer(0, f"{type(error).__name__}: {error}")


@asynccontextmanager
async def http_client(record: Record, token: str) -> AsyncIterator[Http]:
    """Clients of which each request may have a connection of its own."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=10)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=True, trust_env=False) as session:
        yield Http(session, record, token)
