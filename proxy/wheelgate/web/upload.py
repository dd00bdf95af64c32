"""``POST /legacy/``: uploads as twine, uv, flit, hatch, pdm and poetry send them (the form PyPI documents)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import msgspec
from aiohttp import BodyPartReader, hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from wheelgate.core.errors import Forbidden, TooLarge, UploadRefused
from wheelgate.storage.spool import Spool, SpoolFile
from wheelgate.uploads.accept import MAX_FILE_BYTES, Uploads, parse_filename_project
from wheelgate.uploads.manage import UploadManager
from wheelgate.web.auth import Authentication

_MAX_FIELDS_BYTES = 16 * 1024 * 1024  # a README travels in a field
_STALL_S = 60.0
_MAX_PARTS = 5_000
_log = logging.getLogger(__name__)
_DIGEST_FIELDS = {"sha256_digest": "sha256", "md5_digest": "md5", "blake2_256_digest": "blake2_256"}
_USED = frozenset({":action", "filename", "reason", "attestations", *_DIGEST_FIELDS})
"""The other fields only repeat what the file says: they are read, and not kept."""
T = TypeVar("T")


STORED = "stored"
KNOWN = "known already, with the same bytes"


class _Form(msgspec.Struct, frozen=True):
    fields: dict[str, str]
    filename: str


class UploadHandlers:
    """Handler of the upload form, which believes nothing in it that the file itself can tell."""

    def __init__(
        self,
        uploads: Uploads,
        packages: UploadManager,
        spool: Spool,
        authentication: Authentication,
        *,
        stall_s: float = _STALL_S,
    ) -> None:
        self._uploads = uploads
        self._packages = packages
        self._spool = spool
        self._authentication = authentication
        self._stall_s = stall_s

    async def act(self, request: web.BaseRequest) -> web.Response:
        """Perform the form's ``:action``: accept a file, or yank, unyank or delete one by its name.

        Raises:
            Unauthenticated, Forbidden: before a byte of the body is read, or when the file is known.
            UploadRefused, FileExists, NameTaken, TooLarge: see :class:`~wheelgate.uploads.accept.Uploads`.
            FileNotListed: see :class:`~wheelgate.uploads.manage.UploadManager`.
            StoreError: the store cannot be used now.
        """
        token = await self._authentication.authenticate_uploader(request)
        self._check_request(request)
        with self._spool.holding(("md5", "blake2_256")) as spooled:
            form = await _Receiver(spooled, self._stall_s).read_form(request)
            project = parse_filename_project(form.filename)
            if not token.may("upload", project):
                raise Forbidden(f"token {token.id} may not upload {project}")
            done = await self._perform(form, spooled)
        _log.info("token %s: %s %s", token.id, form.filename, done)
        return web.Response(text=f"{form.filename} {done}\n", headers={"Cache-Control": "no-store"})

    async def _perform(self, form: _Form, spooled: SpoolFile) -> str:
        match form.fields.get(":action", "file_upload"):
            case "file_upload":
                _check_digests(form.fields, spooled.digests())
                attestations = form.fields.get("attestations", "").strip() or None  # some tools send empty fields
                accepted = await self._uploads.accept(spooled.path, form.filename, attestations=attestations)
                return STORED if accepted.new else KNOWN
            case "yank":
                await self._packages.yank(form.filename, form.fields.get("reason", ""))
                return "yanked"
            case "unyank":
                await self._packages.unyank(form.filename)
                return "no longer yanked"
            case "delete":
                await self._packages.delete(form.filename)
                return "deleted"
            case action:
                raise UploadRefused(f"unknown action {action[:40]!r}")

    def _check_request(self, request: web.BaseRequest) -> None:
        if request.headers.get(hdrs.CONTENT_ENCODING, "identity") != "identity":
            raise UploadRefused("an upload's body must not be compressed")
        if request.content_type != "multipart/form-data":
            raise UploadRefused("an upload must be a multipart/form-data form, as twine and uv send it")
        announced = request.content_length
        if announced is not None and announced > MAX_FILE_BYTES:
            raise TooLarge(f"{announced} bytes are more than the {MAX_FILE_BYTES} that one upload may have")
        if not self._spool.has_room(announced):
            raise TooLarge("there is no room for the upload on the server's disk")


class _Receiver:
    """Reader of the multipart form: its file goes into the spool, and may stand anywhere among the fields."""

    def __init__(self, spooled: SpoolFile, stall_s: float) -> None:
        self._spooled = spooled
        self._stall_s = stall_s
        self._fields: dict[str, str] = {}
        self._left = _MAX_FIELDS_BYTES

    async def read_form(self, request: web.BaseRequest) -> _Form:
        """Read the whole form.

        Raises:
            UploadRefused, TooLarge: it is not what upload tools send.
        """
        try:
            filename = await self._read_parts(request)
        except (ValueError, RuntimeError, HttpProcessingError):  # aiohttp's words for a malformed multipart body
            raise UploadRefused("the form is malformed or was cut short") from None
        except TimeoutError:
            raise UploadRefused("the form came too slowly") from None
        if self._fields.get(":action", "file_upload") != "file_upload":
            filename = self._fields.get("filename") or filename
        if not filename:
            raise UploadRefused("the form names no file: an upload has it in a field named content")
        return _Form(self._fields, filename)

    async def _read_parts(self, request: web.BaseRequest) -> str | None:
        """Read all parts; the file's name, if there was a file."""
        filename = None
        reader = await request.multipart()
        for _ in range(_MAX_PARTS):
            part = await self._within_stall(reader.next)
            if part is None:
                return filename
            if not isinstance(part, BodyPartReader):
                break
            if part.name != "content":
                await self._read_field(part)
            elif filename is not None:
                raise UploadRefused("the form has two files; send one a request")
            else:
                filename = part.filename or ""
                await self._read_file(part)
        raise UploadRefused("the form is not one that upload tools send")

    async def _within_stall(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Wait for what comes next: aiohttp itself would wait for ever for a client that stalls."""
        async with asyncio.timeout(self._stall_s):
            return await ask()

    async def _read_chunk(self, part: BodyPartReader) -> bytes:
        return bytes(await self._within_stall(lambda: part.read_chunk(256 * 1024)))

    async def _read_file(self, part: BodyPartReader) -> None:
        while chunk := await self._read_chunk(part):
            if self._spooled.size + len(chunk) > MAX_FILE_BYTES:
                raise TooLarge(f"more than the {MAX_FILE_BYTES} bytes that one upload may have")
            await self._spooled.append(chunk)

    async def _read_field(self, part: BodyPartReader) -> None:
        is_used = part.name in _USED and part.name not in self._fields
        value = bytearray()
        while chunk := await self._read_chunk(part):
            self._left -= len(chunk)
            if self._left < 0:
                raise TooLarge("the fields of the form are larger than any package's description")
            if is_used:
                value += chunk
        if is_used:
            self._fields[part.name or ""] = value.decode("utf-8", "replace")


def _check_digests(fields: Mapping[str, str], computed: Mapping[str, str]) -> None:
    for field, algorithm in _DIGEST_FIELDS.items():
        stated = fields.get(field, "").strip()
        if stated and stated.lower() != computed[algorithm] and _decode_base64(stated) != computed[algorithm]:
            raise UploadRefused(
                f"the file arrived with {algorithm} {computed[algorithm]}, not the {stated[:80]} that was announced"
            )


def _decode_base64(stated: str) -> str | None:
    """Decode an unpadded URL-safe base64 md5, which PyPI's documentation also allows."""
    try:
        return base64.urlsafe_b64decode(stated + "=" * (-len(stated) % 4)).hex()
    except (binascii.Error, ValueError):
        return None
