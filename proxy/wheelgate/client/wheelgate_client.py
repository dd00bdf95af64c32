"""HTTP client of another Wheelgate for commands: upload form and pages, for people without rights on the store."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import IO, Protocol

import aiohttp
import msgspec
from yarl import URL

from wheelgate.client.project_names import read_names
from wheelgate.core.errors import (
    ConfigurationError,
    FileNotListed,
    Forbidden,
    Unauthenticated,
    UploadRefused,
    UpstreamBadAnswer,
    UpstreamUnavailable,
)
from wheelgate.core.model import File
from wheelgate.core.names import is_safe_filename
from wheelgate.core.page_links import PageLinks
from wheelgate.core.urls import HostRules, UnsafeUrl, display_host, is_loopback_host, parse, redact_url, suggest_url
from wheelgate.runtime.cooperative import in_slices
from wheelgate.runtime.regular_file import open_regular
from wheelgate.simple_api import JSON
from wheelgate.simple_api.collector import NotAnIndexPage
from wheelgate.simple_api.parse import parse_json, split_json
from wheelgate.upstream.answers import cause_of

_PIECE_BYTES = 256 * 1024
_SENTENCE_BYTES = 4_000
_MAX_PAGE_BYTES = 64 * 1024 * 1024
_MAX_LIST_BYTES = 1024 * 1024 * 1024
_PAGES_AT_ONCE = 8
_REFUSALS = {400: UploadRefused, 403: Forbidden, 404: FileNotListed, 413: UploadRefused}
_TIMES = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=120)


class Readable(Protocol):
    """A file that is open, as far as an upload needs it."""

    def read(self, size: int, /) -> bytes: ...


class _Problem(msgspec.Struct):
    """An error as the server tells it in JSON."""

    reason: str


class WheelgateClient:
    """A running server, by its base URL or that of its index or its uploads, and the token to show it."""

    def __init__(self, url: str, token: str | None) -> None:
        self._base = _parse_base(url)
        if token is not None and self._base.scheme == "http" and not is_loopback_host(self._base.host or ""):
            raise ConfigurationError([f"the token would be sent unencrypted to {display_host(self._base)}: use an https URL"])
        self._token = token

    def file_url(self, project: str, filename: str) -> str:
        """The permanent URL of a file there."""
        return f"{str(self._base).removesuffix('/')}/files/{project}/{URL.build(path=filename).raw_path}"

    async def add(
        self,
        path: Path,
        progress: Callable[[int], None],
        filename: str | None = None,
        attestations: str | None = None,
        opened: Readable | None = None,
    ) -> bool:
        """Upload a file (as ``filename``); whether it is new there. ``progress`` gets the bytes of each piece on its way.

        ``attestations``: of the file, a JSON list (PEP 740). ``opened``: the file, where the caller has opened it already.

        Raises:
            Unauthenticated, Forbidden, UploadRefused: the server refused it; its own sentence.
            UpstreamUnavailable, UpstreamBadAnswer: it cannot be reached, failed, or is no Wheelgate.
            OSError: the file cannot be opened.
        """
        filename = filename or path.name
        if not is_safe_filename(filename):
            raise UploadRefused(f"{filename[:200]!r} is not an acceptable file name: use only letters, digits and . _ + ! ~ -")
        async with AsyncExitStack() as stack:  # closed here, however early the server answers
            file = opened or stack.enter_context(await asyncio.to_thread(open_regular, path))
            fields = {":action": "file_upload", "protocol_version": "1"}
            form = _build_form(fields if attestations is None else {**fields, "attestations": attestations})
            part = form.append(_read_with_progress(file, progress), {"Content-Type": "application/octet-stream"})
            # Not encoded as in a URL, as aiohttp would have it: RFC 7578 does not decode it, and versions have "+" and "!".
            part.set_content_disposition("form-data", quote_fields=False, name="content", filename=filename)
            return "already" not in await self._post(form, filename)

    async def act(self, action: str, filename: str, reason: str = "") -> None:
        """Yank, unyank or delete a file. Raises as :meth:`add`, and FileNotListed if the server has no such file."""
        await self._post(_build_form({":action": action, "filename": filename, "reason": reason}), filename)

    async def files(self, project: str | None = None) -> AsyncIterator[File]:
        """The files on the server's pages, as they come: of every name that its project list has, or of one project.

        However long the list is, it is held on the disk. Raises as :meth:`add`.
        """
        with tempfile.TemporaryFile() as listed:
            async with self._session() as session:
                names: Iterator[str] = iter([project] if project is not None else await self._fetch_names(session, listed))
                while batch := self._take(names):
                    for page in await asyncio.gather(*(self._fetch_files(session, name) for name in batch)):
                        for file in page:
                            yield file

    def _take(self, names: Iterator[str]) -> list[str]:
        try:
            return list(islice(names, _PAGES_AT_ONCE))
        except ValueError:
            raise self._not_wheelgate_error() from None

    async def _fetch_names(self, session: aiohttp.ClientSession, into: IO[bytes]) -> Iterator[str]:
        """Fetch the list first: a server does not wait until the pages of half of it have been read."""
        url, size = self._base.joinpath("simple", ""), 0
        async with self._request(session, "GET", url, accept=f"{JSON}, text/plain;q=0.1") as response:
            if response.status != 200:
                self._check(response.status, await self._read_sentence(response))
            async for chunk in response.content.iter_chunked(_PIECE_BYTES):
                size += len(chunk)
                if size > _MAX_LIST_BYTES:
                    raise UpstreamBadAnswer(f"{redact_url(url)} is longer than any list of projects is")
                into.write(chunk)
        into.seek(0)
        return read_names(into)

    async def _fetch_files(self, session: aiohttp.ClientSession, project: str) -> list[File]:
        url = self._base.joinpath("simple", project, "")
        links = PageLinks(url, HostRules(self._base))
        try:
            body = await self._fetch_body(session, url)
            page = await in_slices(parse_json(split_json(body), project, redact_url(self._base), links))
        except FileNotListed:
            return []
        except NotAnIndexPage:
            raise self._not_wheelgate_error() from None
        return sorted(page.files, key=lambda file: file.filename)

    async def _fetch_body(self, session: aiohttp.ClientSession, url: URL) -> bytearray:
        async with self._request(session, "GET", url, accept=f"{JSON}, text/plain;q=0.1") as response:
            if response.status != 200:
                self._check(response.status, await self._read_sentence(response))
            body = bytearray()
            async for chunk in response.content.iter_chunked(_PIECE_BYTES):
                body += chunk
                if len(body) > _MAX_PAGE_BYTES:
                    raise UpstreamBadAnswer(f"{redact_url(url)} is larger than any index page is")
        return body

    def _not_wheelgate_error(self) -> UpstreamBadAnswer:
        return UpstreamBadAnswer(f"{redact_url(self._base)} did not answer as Wheelgate does: is it the right URL?")

    async def _post(self, form: aiohttp.MultipartWriter, filename: str) -> str:
        """Post a form, and return what the server says it did with the file. An answer of anything else there is no success."""
        url = self._base.joinpath("legacy", "")
        async with self._session() as session, self._request(session, "POST", url, accept="text/plain", form=form) as response:
            sentence = await self._read_sentence(response)
            self._check(response.status, sentence)
            if not sentence.startswith(f"{filename} "):
                raise self._not_wheelgate_error()
            return sentence.removeprefix(filename)

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=ssl.create_default_context()),
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # nothing compressed is asked for
        )

    @asynccontextmanager
    async def _request(
        self, session: aiohttp.ClientSession, method: str, url: URL, *, accept: str, form: aiohttp.MultipartWriter | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request; errors are translated while the answer is read, too. The token goes along no redirect."""
        headers = {"Accept": accept, "Accept-Encoding": "identity"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            async with session.request(
                method, url, data=form, headers=headers, timeout=_TIMES, allow_redirects=False
            ) as response:
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UpstreamUnavailable(f"{redact_url(self._base)} cannot be reached: {cause_of(error)}") from None

    async def _read_sentence(self, response: aiohttp.ClientResponse) -> str:
        """Read an answer as one line that can be shown: a proxy before the server may send anything, even our own headers."""
        body = b""
        while len(body) < _SENTENCE_BYTES and (chunk := await response.content.read(_SENTENCE_BYTES)):
            body += chunk
        with suppress(
            msgspec.MsgspecError, UnicodeError, RecursionError
        ):  # whoever asks for a page in JSON hears of errors in JSON
            body = msgspec.json.decode(body, type=_Problem).reason.encode()
        words = " ".join(body[:_SENTENCE_BYTES].decode("utf-8", "replace").split())
        if self._token:
            words = words.replace(self._token, "***")
        return "".join(character for character in words if character.isprintable())

    def _check(self, status: int, sentence: str) -> None:
        if status == 401 and self._token is None:  # how else a token can be sent is of no use here
            raise Unauthenticated(f"{sentence.partition(':')[0]}: set WHEELGATE_TOKEN")
        if status == 401:
            raise Unauthenticated(f"{sentence} (WHEELGATE_TOKEN)")
        if status in _REFUSALS:
            raise _REFUSALS[status](sentence)
        if status != 200:
            raise UpstreamUnavailable(f"{redact_url(self._base)} answered {status}: {sentence[:300]}")


def _parse_base(text: str) -> URL:
    """Parse the URL that people have of a server: its own, or that of its index or its uploads."""
    base = text.rstrip("/")
    for ending in ("/simple", "/legacy"):
        base = base.removesuffix(ending)
    try:
        return parse(base)
    except UnsafeUrl as error:
        problem = f"the server's URL cannot be used: {error}"
    if (meant := suggest_url(base)) is not None:
        problem = f"the server's URL has no scheme: write {meant}"
    if "@" in base:
        problem += "; a token belongs in WHEELGATE_TOKEN"
    raise ConfigurationError([problem])


def _build_form(fields: Mapping[str, str]) -> aiohttp.MultipartWriter:
    form = aiohttp.MultipartWriter("form-data")
    for name, value in fields.items():
        form.append(value).set_content_disposition("form-data", name=name)
    return form


async def _read_with_progress(file: Readable, progress: Callable[[int], None]) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, _PIECE_BYTES):
        yield piece
        progress(len(piece))
