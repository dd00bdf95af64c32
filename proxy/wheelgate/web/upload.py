"""``POST /legacy/``: uploads as twine, uv, flit, hatch, pdm and poetry send them (the form PyPI documents)."""

from __future__ import annotations

import asyncio
import base64
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from urllib.parse import unquote

from aiohttp import BodyPartReader, hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from wheelgate.core.errors import Forbidden, TooLarge, UploadRefused
from wheelgate.core.names import normalise_name, project_in, same_version_key, version_of
from wheelgate.core.wheel_names import python_tag_of
from wheelgate.runtime.deadline import pause_deadline, renew_deadline
from wheelgate.services import Services
from wheelgate.storage.room import MAX_FILE_BYTES
from wheelgate.storage.spool import SpoolFile
from wheelgate.uploads.accept import parse_filename_project
from wheelgate.uploads.checks import ReceivedFile
from wheelgate.web.auth import Authentication

_MAX_FIELDS_BYTES = 16 * 1024 * 1024  # a README travels in a field
_STALL_S = 60.0
_LEAST_BYTES_S = 1_000
"""Whoever sends less than that, once the first minute is over, would hold a connection and a place in the spool for ever."""
_PART_BYTES = 100
"""Of a part, at least, beside what is in it."""
_MAX_PARTS = 5_000
_NO_FILE = "the form names no file: an upload has it in a field named content"
_log = logging.getLogger(__name__)
_DIGEST_FIELDS = {"sha256_digest": "sha256", "md5_digest": "md5", "blake2_256_digest": "blake2_256"}
_USED = frozenset({
    *(":action", "filename", "reason", "attestations", "name", "version", "filetype", "pyversion"),
    *_DIGEST_FIELDS,
})  # fmt: skip
"""The other fields only repeat what the file says: they are read, and not kept."""
_TAG = re.compile(r"[a-z]+_?([0-9][0-9_]*)", re.ASCII)
_OF_THE_BUILDER = re.compile(r"[0-9]+(\.[0-9]+)?|any", re.ASCII)
"""A Python that is none of the file: that which ran ``setup.py upload``."""
_BLAKE2B_512 = re.compile(r"[0-9a-f]{128}", re.ASCII | re.IGNORECASE)


class UploadHandlers:
    """Handler of the upload form, which believes nothing in it that the file itself can tell."""

    def __init__(self, services: Services, authentication: Authentication, *, stall_s: float = _STALL_S) -> None:
        self._services = services
        self._authentication = authentication
        self._stall_s = stall_s

    async def act(self, request: web.BaseRequest) -> web.Response:
        """Perform the form's ``:action``: accept a file, or yank, unyank or delete one by its name.

        Raises:
            Unauthenticated, Forbidden: before a byte of the body is read, or when the file is known.
            StoreFull: there is no room for the file.
            UploadRefused, FileExists, NameTaken, TooLarge: see :class:`~wheelgate.uploads.accept.Uploads`.
            FileNotListed: see :class:`~wheelgate.uploads.manage.UploadManager`.
            StoreError: the store cannot be used now.
        """
        token = await self._authentication.authenticate_uploader(request)
        await self._check_request(request)
        self._services.store.check_answering()
        async with AsyncExitStack() as stack:
            form = _FormReader(partial(self._take_in, stack, request.content_length), self._stall_s)
            pause_deadline()
            filename = await form.read(request)
            renew_deadline()
            project = parse_filename_project(filename)
            if not token.may("upload", project):
                raise Forbidden(f"token {token.id} may not upload {project}")
            done = await self._perform(form.fields, project, filename, form.spooled)
        _log.info("token %s: %s %s", token.id, filename, done)
        return web.Response(text=f"{filename} {done}\n", headers={"Cache-Control": "no-store"})

    async def _take_in(self, stack: AsyncExitStack, announced: int | None) -> SpoolFile:
        """A place for the form's file, which goes with the stack; only a form with a file in it needs one."""
        return await stack.enter_async_context(self._services.spool.holding(("md5", "blake2_256"), size=announced))

    async def _perform(self, fields: Mapping[str, str], project: str, filename: str, spooled: SpoolFile | None) -> str:
        packages = self._services.packages
        match fields.get(":action", "file_upload"):
            case "file_upload":
                if spooled is None:
                    raise UploadRefused(_NO_FILE)
                _check_identity(fields, project, filename)
                _check_kind(fields, filename)
                _check_digests(fields, spooled.digests())
                attestations = fields.get("attestations", "").strip() or None  # some tools send empty fields
                received = ReceivedFile(spooled.path, filename, spooled.digests()["sha256"], attestations)
                accepted = await self._services.uploads.accept(received)
                return "stored" if accepted.new else "known already, with the same bytes"
            case "yank":
                await packages.yank(filename, fields.get("reason", ""))
                return "yanked"
            case "unyank":
                await packages.unyank(filename)
                return "no longer yanked"
            case "delete":
                await packages.delete(filename)
                return "deleted"
            case action:
                raise UploadRefused(f"unknown action {action[:40]!r}")

    async def _check_request(self, request: web.BaseRequest) -> None:
        if request.headers.get(hdrs.CONTENT_ENCODING, "identity") != "identity":
            raise UploadRefused("an upload's body must not be compressed")
        if request.content_type != "multipart/form-data":
            raise UploadRefused("an upload must be a multipart/form-data form, as twine and uv send it")
        announced = request.content_length
        if announced is not None and announced > MAX_FILE_BYTES:
            raise TooLarge(f"{announced} bytes are more than the {MAX_FILE_BYTES} that one upload may have")
        if announced is not None and announced > _MAX_FIELDS_BYTES:  # there is a file in it, so that nobody sends it in vain
            await self._services.spool.room.wait_for(announced)


class _FormReader:
    """Reader of the multipart form: its file goes into the spool, and may stand anywhere among the fields."""

    def __init__(self, take_in: Callable[[], Awaitable[SpoolFile]], stall_s: float) -> None:
        self._take_in = take_in
        self.spooled: SpoolFile | None = None
        """The form's file; ``None``: it has none."""
        self._stall_s = stall_s
        self._deadline = asyncio.timeout(stall_s)
        self._began_s = asyncio.get_running_loop().time()
        self._received_bytes = 0
        self._left = _MAX_FIELDS_BYTES
        self.fields: dict[str, str] = {}

    async def read(self, request: web.BaseRequest) -> str:
        """Read the whole form; the name of its file.

        Raises:
            UploadRefused, TooLarge: it is not what upload tools send.
        """
        try:
            async with self._deadline:
                filename = await self._read_parts(request)
        except (ValueError, RuntimeError, HttpProcessingError):  # aiohttp's words for a malformed multipart body
            raise UploadRefused("the form is malformed or was cut short") from None
        except TimeoutError:
            raise UploadRefused("the form came too slowly") from None
        if self.fields.get(":action", "file_upload") != "file_upload":
            filename = self.fields.get("filename") or filename
        if not filename:
            raise UploadRefused(_NO_FILE)
        return filename

    async def _read_parts(self, request: web.BaseRequest) -> str | None:
        """Read all parts; the file's name, if there was a file."""
        filename = None
        reader = await request.multipart()
        for _ in range(_MAX_PARTS):
            part = await reader.next()
            self._received_bytes += _PART_BYTES
            self._put_off_deadline()
            if part is None:
                return filename
            if not isinstance(part, BodyPartReader):
                break
            if part.name != "content":
                await self._read_field(part)
            elif filename is not None:
                raise UploadRefused("the form has two files; send one a request")
            else:
                filename = _decode_filename(part.filename or "")
                await self._read_file(part)
        raise UploadRefused("the form is not one that upload tools send")

    def _put_off_deadline(self) -> None:
        """Wait anew for what comes next: aiohttp itself would wait for ever for a client that stalls."""
        slowest_s = self._began_s + self._received_bytes / _LEAST_BYTES_S
        self._deadline.reschedule(min(asyncio.get_running_loop().time(), slowest_s) + self._stall_s)

    async def _read_chunk(self, part: BodyPartReader) -> bytes:
        chunk = await part.read_chunk(256 * 1024)
        self._received_bytes += len(chunk)
        self._put_off_deadline()
        return bytes(chunk)

    async def _read_file(self, part: BodyPartReader) -> None:
        spooled = self.spooled = await self._take_in()
        while chunk := await self._read_chunk(part):
            if spooled.size + len(chunk) > MAX_FILE_BYTES:
                raise TooLarge(f"more than the {MAX_FILE_BYTES} bytes that one upload may have")
            await spooled.append(chunk)

    async def _read_field(self, part: BodyPartReader) -> None:
        is_used = part.name in _USED
        value = bytearray()
        while chunk := await self._read_chunk(part):
            self._left -= len(chunk)
            if self._left < 0:
                raise TooLarge("the fields of the form are larger than any package's description")
            if is_used:
                value += chunk
        text = value.decode("utf-8", "replace")
        if is_used and self.fields.setdefault(part.name or "", text) != text:
            raise UploadRefused(f"the form states {part.name} twice, and not alike")


def _decode_filename(filename: str) -> str:
    """Decode the name of the form's file where a client has encoded it as in a URL, as aiohttp's does with ``+`` and ``!``.

    RFC 7578 does not, and no distribution has a ``%`` in its name: so only what becomes one is decoded, once. The rest stays
    as it is, and is refused for its ``%``.
    """
    if "%" not in filename:
        return filename
    decoded = unquote(filename, errors="replace")
    return filename if project_in(decoded) is None else decoded


def _check_identity(fields: Mapping[str, str], project: str, filename: str) -> None:
    """Compare the project and version that the form states, if it does, with those in the file's name, as pip compares them."""
    name, version = fields.get("name", "").strip(), fields.get("version", "").strip()
    if name and normalise_name(name) != project:
        raise UploadRefused(f"{filename} belongs to the project {project}, not to {name[:80]!r} as the form says")
    named = version_of(filename, project) or ""
    if version and same_version_key(version) != same_version_key(named):
        raise UploadRefused(f"{filename} is of version {named}, not of {version[:80]!r} as the form says")


def _check_kind(fields: Mapping[str, str], filename: str) -> None:
    """Compare the kind of file and the Python that the form states, if it does, with those in the file's name.

    Of the Python its version is compared: what tools state beside it (``py3``, ``cp39`` for PyPy too) is not the same with all.
    """
    filetype, python = fields.get("filetype", "").strip(), fields.get("pyversion", "").strip()
    kind = "bdist_wheel" if filename.endswith(".whl") else "sdist"
    if filetype not in ("", kind):
        raise UploadRefused(f"{filename} is a {kind}, not a {filetype[:40]!r} as the form says")
    own = python_tag_of(filename) or "source"
    if python in ("", own) or _OF_THE_BUILDER.fullmatch(python):
        return
    named, stated = ({found[1] for tag in tags.lower().split(".") if (found := _TAG.fullmatch(tag))} for tags in (own, python))
    if not named & stated:
        raise UploadRefused(f"{filename} is for {own}, not for {python[:80]!r} as the form says")


def _check_digests(fields: Mapping[str, str], computed: Mapping[str, str]) -> None:
    """Compare the digests of the form: hexadecimal, or in base64 with either alphabet, as PyPI's documentation also allows."""
    for field, algorithm in _DIGEST_FIELDS.items():
        stated, digest = fields.get(field, "").strip(), computed[algorithm]
        if algorithm == "blake2_256" and _BLAKE2B_512.fullmatch(stated) and fields.get("sha256_digest", "").strip():
            continue  # Python 3.10's `setup.py upload` states the longer one there, and all that it states beside is compared
        encoded = base64.urlsafe_b64encode(bytes.fromhex(digest)).decode().rstrip("=")
        if stated and stated.lower() != digest and stated.rstrip("=").replace("+", "-").replace("/", "_") != encoded:
            raise UploadRefused(f"the file arrived with {algorithm} {digest}, not the {stated[:80]} that was announced")
