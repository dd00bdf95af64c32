"""``/files/``: distribution files, their core metadata, and the provenance of those that came with attestations."""

from __future__ import annotations

import hashlib

from aiohttp import web

from proxy.bodies import Body, FillBody, Redirect
from proxy.delivery import Delivery
from proxy.errors import FileNotListed, FileWithheld, ProjectWithheld, StoreError
from proxy.metadata_files import MetadataFiles
from proxy.model import File
from proxy.provenance_files import ProvenanceFiles
from proxy.web.bodies import send
from proxy.web.conditions import Range, none_match, range_of
from proxy.web.pages_cache import PagesCache

_TYPES = {".whl": "application/zip", ".zip": "application/zip", ".egg": "application/zip", ".gz": "application/gzip"}
_PROVENANCE_TYPE = "application/vnd.pypi.integrity.v1+json"
_IMMUTABLE = "max-age=31536000, immutable"


class FileHandlers:
    """Answers for one file. Whatever is on the page a client would see can be had here, and nothing else."""

    def __init__(
        self,
        pages: PagesCache,
        delivery: Delivery,
        metadata_files: MetadataFiles,
        provenance_files: ProvenanceFiles,
        *,
        shared: bool,
    ) -> None:
        """``shared``: everybody may read, so that caches between us and the client may keep what they carry."""
        self._pages = pages
        self._delivery = delivery
        self._metadata_files = metadata_files
        self._provenance_files = provenance_files
        self._keep = _IMMUTABLE if shared else f"private, {_IMMUTABLE}"
        self._ask_again = "no-cache" if shared else "private, no-cache"

    async def file(self, request: web.BaseRequest, project: str, filename: str) -> web.StreamResponse:
        """The file: redirected, whole, or a range of it."""
        file = await self._listed(project, filename)
        etag = file.hashes.get("sha256")
        headers = _headers(file, etag, self._keep)
        if etag is not None and none_match(request, etag):
            return web.Response(status=304, headers=headers)
        asked = range_of(request, etag)
        head = request.method == "HEAD"
        answer = await self._delivery.open(file, plain=asked is None and not head, head=head)
        if isinstance(answer, Redirect):
            # 302, and never to be kept: pip stores a 301 or 308 for good, and fails once the signature has expired.
            return web.Response(status=302, headers={"Location": answer.url, "Cache-Control": "no-store"})
        if asked is None:
            return await send(request, answer, headers, start=0, end=None)
        return await self._range(request, answer, asked, headers)

    async def _range(self, request: web.BaseRequest, body: Body, asked: Range, headers: dict[str, str]) -> web.StreamResponse:
        size = await (body.known_size() if isinstance(body, FillBody) else body.size())
        if size is None:
            raise StoreError("the size of the file is not known, so that no range of it can be given")
        span = asked.within(size)
        if span is None:
            return web.Response(status=416, headers={"Content-Range": f"bytes */{size}"})
        headers["Content-Range"] = f"bytes {span[0]}-{span[1] - 1}/{size}"
        return await send(request, body, headers, start=span[0], end=span[1], status=206)

    async def metadata(self, request: web.BaseRequest, project: str, filename: str) -> web.Response:
        """The file's core metadata."""
        file = await self._listed(project, filename)
        body = await self._metadata_files.body(file)
        headers = {
            "Cache-Control": self._keep,
            "Content-Type": "text/plain; charset=utf-8",
            "X-Content-Type-Options": "nosniff",
        }
        etag = (file.core_metadata or {}).get("sha256")
        if etag is not None:
            headers["ETag"] = f'"{etag}"'
            if none_match(request, etag):
                return web.Response(status=304, headers=headers)
        return web.Response(body=body, headers=headers)

    async def provenance(self, request: web.BaseRequest, project: str, filename: str) -> web.Response:
        """The file's provenance object (PEP 740). It may come after the file, so nobody keeps it without asking again."""
        body = await self._provenance_files.body(await self._listed(project, filename))
        etag = hashlib.sha256(body).hexdigest()[:32]
        headers = {
            "Cache-Control": self._ask_again,
            "Content-Type": _PROVENANCE_TYPE,
            "ETag": f'"{etag}"',
            "X-Content-Type-Options": "nosniff",
        }
        if none_match(request, etag):
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, headers=headers)

    async def _listed(self, project: str, filename: str) -> File:
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


def _headers(file: File, etag: str | None, keep: str) -> dict[str, str]:
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
