"""``/files/``: distribution files, their core metadata, and the provenance of those that came with attestations."""

from __future__ import annotations

import hashlib
from contextlib import aclosing

from aiohttp import web

from wheelgate.core.errors import BlobNotFound, FileNotListed, FileWithheld, ProjectWithheld, StoreError
from wheelgate.core.model import File
from wheelgate.files.bodies import Body, FillBody, LocalBody, Redirect, StoredBody
from wheelgate.services import Services
from wheelgate.web.bodies import send
from wheelgate.web.conditions import Range, is_not_modified, parse_range
from wheelgate.web.page_cache import PageCache
from wheelgate.web.prepared_response import PreparedResponse
from wheelgate.web.small_file_cache import SMALL_BYTES, SmallFileCache

_TYPES = {".whl": "application/zip", ".zip": "application/zip", ".egg": "application/zip", ".gz": "application/gzip"}
_PROVENANCE_TYPE = "application/vnd.pypi.integrity.v1+json"
_IMMUTABLE = "max-age=31536000, immutable"


class FileHandlers:
    """Handlers of one file: whatever is on the page a client would see is served here, and nothing else."""

    def __init__(self, services: Services, pages: PageCache, *, shared: bool) -> None:
        """``shared``: everybody may read, so that caches between us and the client may keep what they carry."""
        self._pages = pages
        self._delivery = services.delivery
        self._metadata_files = services.metadata_files
        self._provenance_files = services.provenance_files
        self._small = SmallFileCache(services.clock)
        self._keep = _IMMUTABLE if shared else f"private, {_IMMUTABLE}"
        self._ask_again = "no-cache" if shared else "private, no-cache"

    async def file(self, request: web.BaseRequest, project: str, filename: str) -> web.StreamResponse:
        """Answer with the file: redirected, whole, or a range of it."""
        file = await self._find_listed(project, filename)
        etag = file.hashes.get("sha256")
        headers = _build_headers(file, etag, self._keep)
        if etag is not None and is_not_modified(request, etag):
            return web.Response(status=304, headers=headers)
        if (kept := self._small.get(file)) is not None and "Range" not in request.headers:
            return web.Response(body=kept.body, headers=headers)
        try:
            return await self._deliver(request, file, headers, etag)
        except BlobNotFound:  # our copy was cleaned away; perhaps we only remember that we have one
            self._delivery.forget()
            return await self._deliver(request, file, headers, etag)

    async def _deliver(
        self, request: web.BaseRequest, file: File, headers: dict[str, str], etag: str | None
    ) -> web.StreamResponse:
        asked = parse_range(request, etag)
        head = request.method == "HEAD"
        answer = await self._delivery.open(file, plain=asked is None and not head, head=head)
        if isinstance(answer, Redirect):
            # 302, and never to be kept: pip stores a 301 or 308 for good, and fails once the signature has expired.
            if answer.ours:
                self._small.keep_redirect(file, answer.url, headers)
            return web.Response(status=302, headers={"Location": answer.url, "Cache-Control": "no-store"})
        if asked is None:
            return await self._send_whole(request, file, answer, headers)
        return await self._send_part(request, answer, asked, headers)

    async def _send_whole(self, request: web.BaseRequest, file: File, body: Body, headers: dict[str, str]) -> web.StreamResponse:
        """Send the whole file; a small one that is at hand is remembered for whoever asks next."""
        if isinstance(body, StoredBody | LocalBody) and request.method == "GET" and await body.size() <= SMALL_BYTES:
            async with aclosing(body.chunks(0, None)) as chunks:  # type: ignore[type-var]
                content = b"".join([chunk async for chunk in chunks])
            self._small.keep(file, content, headers)
            return web.Response(body=content, headers=headers)
        return await send(request, body, headers, start=0, end=None)

    def find_prepared(self, project: str, filename: str, *, metadata: bool, head: bool) -> PreparedResponse | None:
        """Find the prepared response of a small file, its core metadata or its redirect, if that and its page are in memory."""
        file = self._pages.find_file(project, filename)
        if file is None:
            return None
        kept = self._small.get(file, metadata=metadata)
        return kept if kept is not None or metadata or head else self._small.get_redirect(file)

    async def _send_part(self, request: web.BaseRequest, body: Body, asked: Range, headers: dict[str, str]) -> web.StreamResponse:
        size = await (body.known_size() if isinstance(body, FillBody) else body.size())
        if size is None:
            raise StoreError("the size of the file is not known, so no range of it can be served")
        span = asked.within(size)
        if span is None:
            return web.Response(status=416, headers={"Content-Range": f"bytes */{size}"})
        headers["Content-Range"] = f"bytes {span[0]}-{span[1] - 1}/{size}"
        return await send(request, body, headers, start=span[0], end=span[1], status=206)

    async def metadata(self, request: web.BaseRequest, project: str, filename: str) -> web.Response:
        """Answer with the file's core metadata."""
        file = await self._find_listed(project, filename)
        kept = self._small.get(file, metadata=True)
        body = await self._metadata_files.body(file) if kept is None else kept.body
        headers = {
            "Cache-Control": self._keep,
            "Content-Type": "text/plain; charset=utf-8",
            "X-Content-Type-Options": "nosniff",
        }
        etag = (file.core_metadata or {}).get("sha256")
        if etag is not None:
            headers["ETag"] = f'"{etag}"'
            if is_not_modified(request, etag):
                return web.Response(status=304, headers=headers)
        if kept is None:
            self._small.keep(file, body, headers, metadata=True)
        return web.Response(body=body, headers=headers)

    async def provenance(self, request: web.BaseRequest, project: str, filename: str) -> web.Response:
        """Answer with the file's provenance (PEP 740). It may come after the file, so nobody keeps it without asking again."""
        body = await self._provenance_files.body(await self._find_listed(project, filename))
        etag = hashlib.sha256(body).hexdigest()[:32]
        headers = {
            "Cache-Control": self._ask_again,
            "Content-Type": _PROVENANCE_TYPE,
            "ETag": f'"{etag}"',
            "X-Content-Type-Options": "nosniff",
        }
        if is_not_modified(request, etag):
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, headers=headers)

    async def _find_listed(self, project: str, filename: str) -> File:
        try:
            file, page = await self._pages.file(project, filename)
        except ProjectWithheld as error:
            if filename in error.withheld:
                raise FileWithheld(error.withheld[filename]) from None
            raise FileNotListed(f"project {project} has no file {filename}") from None
        if file is not None:
            return file
        for withheld in page.withheld:
            if withheld.filename == filename:
                raise FileWithheld(f"{filename} is withheld: {withheld.reason}")
        raise FileNotListed(f"project {project} has no file {filename}")


def _build_headers(file: File, etag: str | None, keep: str) -> dict[str, str]:
    ending = file.filename[file.filename.rfind(".") :].lower()
    headers = {
        "Content-Type": _TYPES.get(ending, "application/octet-stream"),
        "Cache-Control": keep,  # a file name never changes its content
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
    }
    if etag is not None:
        headers["ETag"] = f'"{etag}"'
    return headers
