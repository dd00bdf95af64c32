"""Another Wheelgate, as a command talks to it: the upload form over HTTP, for people without rights on the store."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import IO

import aiohttp
from yarl import URL

from proxy.errors import (
    ConfigurationError,
    FileNotListed,
    Forbidden,
    Unauthenticated,
    UploadRefused,
    UpstreamBadAnswer,
    UpstreamUnavailable,
)
from proxy.upstream.causes import cause_of
from proxy.urls import UnsafeUrl, parse, shown

_PIECE_BYTES = 256 * 1024
_SENTENCE_BYTES = 4_000
_TIMES = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=120)


class RemoteGate:
    """A running server, by its base URL (with or without ``/simple/``), and the token to show it."""

    def __init__(self, url: str, token: str | None) -> None:
        try:
            self._base = parse(url.removesuffix("/").removesuffix("/simple"))
        except UnsafeUrl as error:
            raise ConfigurationError([f"the server's URL cannot be used: {error}"]) from None
        if token is not None and self._base.scheme == "http" and self._base.host not in ("127.0.0.1", "localhost", "::1"):
            raise ConfigurationError([f"the token would travel readable to {self._base.host}: use an https URL"])
        self._token = token

    def file_url(self, project: str, filename: str) -> str:
        """The permanent URL of a file there."""
        return f"{str(self._base).removesuffix('/')}/files/{project}/{URL.build(path=filename).raw_path}"

    async def add(self, path: Path, progress: Callable[[int], None]) -> bool:
        """Upload a file; whether it is new there. ``progress`` is called with the bytes of each piece that is on its way.

        Raises:
            Unauthenticated, Forbidden, UploadRefused: the server refused it; its own sentence.
            UpstreamUnavailable, UpstreamBadAnswer: it cannot be reached, failed, or is no Wheelgate.
            OSError: the file cannot be opened.
        """
        with await asyncio.to_thread(path.open, "rb") as file:  # closed here, however early the server answers
            form = _form({":action": "file_upload", "protocol_version": "1"})
            part = form.append(_reported(file, progress), {"Content-Type": "application/octet-stream"})
            part.set_content_disposition("form-data", name="content", filename=path.name)
            return "already" not in await self._post(form, path.name)

    async def act(self, action: str, filename: str, reason: str = "") -> None:
        """Yank, unyank or delete a file.

        Raises:
            As :meth:`add`; FileNotListed if the server has no such file.
        """
        await self._post(_form({":action": action, "filename": filename, "reason": reason}), filename)

    async def _post(self, form: aiohttp.MultipartWriter, filename: str) -> str:
        """What the server says it did with the file. An answer of whoever else stands there is no success."""
        headers = {"Accept": "text/plain"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            async with (
                aiohttp.ClientSession(trust_env=False, cookie_jar=aiohttp.DummyCookieJar()) as session,
                session.post(
                    self._base.joinpath("legacy", ""),
                    data=form,
                    headers=headers,
                    timeout=_TIMES,
                    allow_redirects=False,
                    ssl=ssl.create_default_context(),
                ) as response,
            ):
                sentence = await self._sentence(response)
                self._check(response.status, sentence)
                if not sentence.startswith(f"{filename} "):
                    raise UpstreamBadAnswer(f"{shown(self._base)} did not answer as Wheelgate does: is it the right URL?")
                return sentence.removeprefix(filename)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UpstreamUnavailable(f"{shown(self._base)} cannot be reached: {cause_of(error)}") from None

    async def _sentence(self, response: aiohttp.ClientResponse) -> str:
        """What it answered, on one line that can be shown: a proxy before it may send anything, even our own headers."""
        body = b""
        while len(body) < _SENTENCE_BYTES and (chunk := await response.content.read(_SENTENCE_BYTES)):
            body += chunk
        words = " ".join(body[:_SENTENCE_BYTES].decode("utf-8", "replace").split())
        if self._token:
            words = words.replace(self._token, "***")
        return "".join(character for character in words if character.isprintable())

    def _check(self, status: int, sentence: str) -> None:
        if status == 200:
            return
        if status == 401:
            raise Unauthenticated(f"{sentence} (WHEELGATE_TOKEN)")
        if status == 403:
            raise Forbidden(sentence)
        if status == 404:
            raise FileNotListed(sentence)
        if status in (400, 413):
            raise UploadRefused(sentence)
        raise UpstreamUnavailable(f"{shown(self._base)} answered {status}: {sentence[:300]}")


def _form(fields: Mapping[str, str]) -> aiohttp.MultipartWriter:
    form = aiohttp.MultipartWriter("form-data")
    for name, value in fields.items():
        form.append(value).set_content_disposition("form-data", name=name)
    return form


async def _reported(file: IO[bytes], progress: Callable[[int], None]) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, _PIECE_BYTES):
        yield piece
        progress(len(piece))
