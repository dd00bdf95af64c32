"""Listing of a container: one page of the service's XML, parsed while it comes in, a slice at a time.

Azure's own library parses a page of 5,000 blobs in one go, on the event loop, into trees and models: 0.17 ms a blob, and nobody
else is served for most of a second. What is needed of a blob is six fields.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, unquote, urlencode
from xml.parsers import expat

from azure.core.exceptions import AzureError, HttpResponseError
from azure.core.rest import HttpRequest
from azure.storage.blob.aio import ContainerClient

from wheelgate.core.protocols import BlobInfo
from wheelgate.runtime.cooperative import SLICE_S

# A fact may be any text; a header may not. Everything printable but '%' travels as it is.
_PLAIN = "!#$&'()*+,-./:;<=>?@[]^_`{|}~ \""
_EMPTY = "\0"  # an empty header is dropped on the way, and an empty fact is not a missing one
_FIELDS = frozenset({"Creation-Time", "Etag", "Content-Length"})
_SECTION, _BLOB, _PART, _FIELD = 2, 3, 4, 5
"""Depths: EnumerationResults / Blobs, NextMarker / Blob / Name, Properties, Metadata / each of them."""
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NO_TIME = datetime.min.replace(tzinfo=UTC)
_BATCH = 250
_MOST_DIGITS = 18
_TRIES = 2


class UnreadableListing(AzureError):
    """Listing that is none, or was cut."""


async def list_in_batches(container: ContainerClient, prefix: str, *, by_folder: bool = False) -> AsyncGenerator[list[BlobInfo]]:
    """List the blobs whose names begin with ``prefix``, some hundred at a time, while they come in.

    ``by_folder``: those with a further slash in their names are only one entry together, which ends with that slash and is
    nothing but a name. Nothing has facts then.

    Raises:
        AzureError: the service refused, or cannot be reached, or what it sent cannot be read.
    """
    marker: str | None = ""
    while marker is not None:
        given: set[int] = set()
        for attempt in range(1, _TRIES + 1):
            page = _Page(container, prefix, marker, by_folder=by_folder)
            try:
                async for batch in page.batches():
                    new = [info for info in batch if hash(info.path) not in given]
                    given |= {hash(info.path) for info in new}
                    yield new
                break
            except AzureError as error:
                # A body that broke off has no status: the library repeats only what never began.
                if attempt == _TRIES or getattr(error, "status_code", None) is not None:
                    raise
        marker = page.following


class _Page:
    """One page of a listing: five thousand blobs at most."""

    def __init__(self, container: ContainerClient, prefix: str, marker: str, *, by_folder: bool) -> None:
        self._container = container
        self._query = {"restype": "container", "comp": "list", **({"delimiter": "/"} if by_folder else {"include": "metadata"})}
        self._query |= {name: value for name, value in (("prefix", prefix), ("marker", marker)) if value}
        self.following: str | None = None
        """The marker of the next page, once this one is read; ``None``: there is none."""

    async def batches(self) -> AsyncGenerator[list[BlobInfo]]:
        """Ask for it, and yield its blobs as they come."""
        url = self._container.url
        url = f"{url}{'&' if '?' in url else '?'}{urlencode(self._query)}"
        request = HttpRequest("GET", url, headers={"x-ms-version": self._container.api_version, "Accept": "application/xml"})
        # The library lists only through its own parser. Its credentials, retries and hooks are in here.
        pipeline: Any = self._container._pipeline  # noqa: SLF001
        answer = (await pipeline.run(request, stream=True)).http_response
        try:
            if answer.status_code != 200:
                raise _Refused(answer)
            parser = ListingParser()
            resumed = time.perf_counter()
            async for piece in answer.iter_bytes():
                parser.feed(piece)
                if len(parser.blobs) >= _BATCH:
                    yield parser.take()
                if time.perf_counter() - resumed > SLICE_S / 2:
                    await asyncio.sleep(0)
                    resumed = time.perf_counter()
            self.following = parser.finish() or None
            yield parser.take()
        except (ValueError, expat.ExpatError) as error:
            raise UnreadableListing(f"a listing that cannot be read: {error}") from None
        finally:
            await answer.close()


class _Refused(HttpResponseError):
    """Answer that is no listing, with the service's own code."""

    def __init__(self, answer: Any) -> None:
        super().__init__(message=f"{answer.status_code}", response=answer)
        self.error_code = answer.headers.get("x-ms-error-code")


class ListingParser:
    """A parser of one page, fed as it comes. Nothing is kept but the blobs that nobody has taken."""

    def __init__(self) -> None:
        self.blobs: list[BlobInfo] = []
        """Those that are complete."""
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.StartDoctypeDeclHandler = _refuse
        self._depth = 0
        self._part = ""
        self._text: list[str] | None = None
        """Of the element that is open, if it is wanted."""
        self._is_quoted = False
        self._name = ""
        self._fields: dict[str, str] = {}
        self._facts: dict[str, str] = {}
        self._marker: str | None = None
        """``None``: there was none so far. The last page has an empty one."""
        self._has_blobs = False
        """True if the list of them, be it empty, has begun."""

    def feed(self, piece: bytes) -> None:
        """Parse some more: about 15 us a kilobyte. Raises ExpatError, ValueError."""
        self._parser.Parse(piece, False)

    def take(self) -> list[BlobInfo]:
        """Take out the blobs that are complete."""
        taken, self.blobs = self.blobs, []
        return taken

    def finish(self) -> str:
        """Return the marker of the next page, empty on the last. Raises ExpatError, ValueError if the page was cut or is none."""
        self._parser.Parse(b"", True)
        if self._marker is None or not self._has_blobs:  # whatever it is, it does not say that there are no more
            raise ValueError("it has no Blobs or no NextMarker")
        return self._marker

    def _start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self._depth = depth = self._depth + 1
        if depth == _FIELD:
            if self._part != "Metadata" and (self._part != "Properties" or tag not in _FIELDS):
                return
        elif depth == _PART:
            self._part = tag
            if tag != "Name":
                return
            self._is_quoted = attributes.get("Encoded") == "true"  # characters that XML cannot hold
        elif depth == 1:
            if tag != "EnumerationResults":
                raise ValueError(f"it is a {tag[:40]}")
            return
        elif depth != _SECTION or tag != "NextMarker":
            if depth == _SECTION and tag == "Blobs":
                self._has_blobs = True
            return
        self._text = []
        self._parser.CharacterDataHandler = self._text.append

    def _end(self, tag: str) -> None:
        depth = self._depth
        self._depth = depth - 1
        if self._text is not None:
            text = "".join(self._text)
            self._text = self._parser.CharacterDataHandler = None
            if depth == _FIELD:
                if self._part == "Metadata":
                    self._facts[tag.lower()] = decode_fact(text)
                else:
                    self._fields[tag] = text
            elif depth == _PART:
                self._name = unquote(text) if self._is_quoted else text
            else:
                self._marker = text
        elif depth == _BLOB and tag == "Blob":
            self._add()
        elif depth == _BLOB and tag == "BlobPrefix":
            if not self._name:
                raise ValueError("a folder without a name")
            self.blobs.append(BlobInfo(self._name, 0, "", _NO_TIME, {}))
            self._name = ""

    def _add(self) -> None:
        fields = self._fields
        if not self._name or len(fields) != len(_FIELDS):
            raise ValueError("a blob without a name, a size, a time or an ETag")
        self.blobs.append(
            BlobInfo(
                path=self._name,
                size=_parse_size(fields["Content-Length"]),
                etag=fields["Etag"].strip('"'),
                created=parse_time(fields["Creation-Time"]),
                facts=self._facts,
            )
        )
        self._name, self._fields, self._facts = "", {}, {}


def encode_facts(facts: Mapping[str, str]) -> dict[str, str]:
    """Write facts as the service takes them, in headers."""
    return {key: quote(value or _EMPTY, safe=_PLAIN) for key, value in facts.items()}


def decode_fact(text: str) -> str:
    """Read the text of a fact as the service gives it."""
    return unquote(text).strip(_EMPTY)


def _refuse(*_: object) -> None:
    raise ValueError("it has a document type")  # no listing has; entities that grow would come with it


def _parse_size(text: str) -> int:
    """Parse a number of bytes: digits, and no more than any blob has. Raises ValueError."""
    if not text.isascii() or not text.isdigit() or len(text) > _MOST_DIGITS:
        raise ValueError(f"a size of {text[:40]!r}")
    return int(text)


def parse_time(text: str) -> datetime:
    """A moment as HTTP writes it (RFC 1123), aware UTC. Raises ValueError."""
    if text[25:] == " GMT":  # as the service writes it; read in a fifth of the time
        with suppress(ValueError):
            return datetime(
                int(text[12:16]),
                _MONTHS.index(text[8:11]) + 1,
                int(text[5:7]),
                int(text[17:19]),
                int(text[20:22]),
                int(text[23:25]),
                tzinfo=UTC,
            )
    try:
        moment = parsedate_to_datetime(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (TypeError, IndexError, OverflowError) as error:
        raise ValueError(f"a time of {text[:40]!r}") from error
