"""``/files/``: distribution files, their core metadata, and the provenance of those that came with attestations."""

from __future__ import annotations

import hashlib
from contextlib import aclosing
from typing import Literal

from aiohttp import web
from cachetools import LRUCache

from wheelgate.core.errors import BlobNotFound, FileNotListed, FileWithheld, ProjectWithheld, StoreError
from wheelgate.core.model import File, Location, RemoteFile
from wheelgate.core.names import is_index_document
from wheelgate.core.protocols import Clock
from wheelgate.files.bodies import Body, FillBody, LocalBody, Redirect
from wheelgate.files.index_documents import ListingOutdated
from wheelgate.files.stored_bodies import StoredBody
from wheelgate.services import Services
from wheelgate.web.bodies import Range, parse_range, send
from wheelgate.web.known_heads import Finder, Found
from wheelgate.web.page_cache import PageCache
from wheelgate.web.paths import ParsedPath, Route
from wheelgate.web.prepared_response import PreparedResponse, build_headers, is_held, parse_if_none_match, prepare_response

SMALL_BYTES = 256 * 1024
_MAX_BYTES = 32 * 1024 * 1024
_REDIRECT_S = 20.0
"""How long others get the redirect that somebody got: the signed URL itself lives for many minutes more."""
_TYPES = {
    ".whl": "application/zip",
    ".zip": "application/zip",
    ".egg": "application/zip",
    ".gz": "application/gzip",
    ".json": "application/json",
}
_PROVENANCE_TYPE = "application/vnd.pypi.integrity.v1+json"
_IMMUTABLE = "max-age=31536000, immutable"

What = Literal["file", "metadata", "redirect"]


class SmallFileCache:
    """LRU cache of small files, core metadata and redirects, each as its page lists it. Bounded by bytes."""

    def __init__(self, clock: Clock, max_bytes: int = _MAX_BYTES) -> None:
        self._clock = clock
        self._kept: LRUCache[tuple[Location, tuple[str, ...], What], PreparedResponse] = LRUCache(max_bytes, getsizeof=_weigh)

    def get(self, file: File, what: What = "file") -> PreparedResponse | None:
        """Return what is kept of a file as its page lists it now."""
        kept = self._kept.get((file.location, _get_etags(file, what), what))
        return kept if kept is not None and self._clock.monotonic() < kept.until_s else None

    def keep(self, file: File, response: PreparedResponse, what: What = "file") -> None:
        """Keep a response if it is small, and has the body that the page lists."""
        etags, body = _get_etags(file, what), response.body
        if not etags or len(body) > SMALL_BYTES:
            return
        if what == "redirect" or hashlib.sha256(body).hexdigest() == etags[0]:
            self._kept[file.location, etags, what] = response


class FileHandlers:
    """Handlers of one file: whatever is on the page a client would see is served here, and nothing else."""

    def __init__(self, services: Services, pages: PageCache, *, shared: bool) -> None:
        """``shared``: everybody may read, so that caches between us and the client may keep what they carry."""
        self._pages = pages
        self._services = services
        self._small = SmallFileCache(services.clock)
        self._keep = _IMMUTABLE if shared else f"private, {_IMMUTABLE}"
        self._ask_again = "no-cache" if shared else "private, no-cache"

    async def file(self, request: web.BaseRequest, target: ParsedPath) -> web.StreamResponse:
        """Answer with the file: redirected, whole, or a range of it."""
        file = await self._find_listed(target.project, target.filename)
        is_document = is_index_document(file.filename)
        if is_document and isinstance(file.location, RemoteFile):
            return await self._send_document(request, file, file.location)
        if (kept := self._small.get(file)) is not None and "Range" not in request.headers:
            return kept.respond(request)
        etags = _get_etags(file, "file")
        media_type = _TYPES.get(file.filename[file.filename.rfind(".") :].lower(), "application/octet-stream")
        may_change = is_document or not (file.stated_hashes or not isinstance(file.location, RemoteFile))
        keep = self._ask_again if may_change else self._keep  # any other name never changes its content
        headers = {**build_headers(media_type, keep, etags), "Accept-Ranges": "bytes"}
        if is_held(parse_if_none_match(request), etags):
            return web.Response(status=304, headers=headers)
        try:
            return await self._deliver(request, file, headers)
        except BlobNotFound:  # our copy was cleaned away; perhaps we only remember that we have one
            self._services.delivery.forget()
            return await self._deliver(request, file, headers)

    def build_finder(self, request: web.BaseRequest, target: ParsedPath) -> Finder:
        """Build what finds the same file, core metadata or redirect in memory."""
        kinds: list[What] = ["metadata"] if target.route is Route.METADATA else ["file"]
        if target.route is Route.FILE and request.method == "GET":
            kinds.append("redirect")

        def find() -> Found | None:
            entry = self._pages.find_servable(target.project)
            file = None if entry is None else self._pages.find_file(entry, target.filename)
            if file is not None:
                for kind in kinds:
                    if (kept := self._small.get(file, kind)) is not None:
                        return kept, None
            return None

        return find

    async def _deliver(self, request: web.BaseRequest, file: File, headers: dict[str, str]) -> web.StreamResponse:
        asked = parse_range(request, file.hashes.get("sha256"))
        head = request.method == "HEAD"
        plain = asked is None and not head and not is_index_document(file.filename)
        answer = await self._services.delivery.open(file, plain=plain, head=head)
        if isinstance(answer, Redirect):
            # 302, and never to be kept: pip stores a 301 or 308 for good, and fails once the signature has expired.
            location = {"Location": answer.url, "Cache-Control": "no-store"}
            until_s = self._services.clock.monotonic() + _REDIRECT_S
            redirect = prepare_response(b"", location, _get_etags(file, "file"), status=302, held=headers, until_s=until_s)
            if answer.ours:
                self._small.keep(file, redirect, "redirect")
            return redirect.respond(request)
        if asked is not None:
            return await self._send_part(request, answer, asked, headers)
        if isinstance(answer, StoredBody | LocalBody) and request.method == "GET" and await answer.size() <= SMALL_BYTES:
            async with aclosing(answer.chunks(0, None)) as chunks:  # type: ignore[type-var]
                content = b"".join([chunk async for chunk in chunks])
            whole = prepare_response(content, headers, _get_etags(file, "file"))
            self._small.keep(file, whole)
            return whole.respond(request)
        return await send(request, answer, headers, start=0, end=None)

    async def _send_document(self, request: web.BaseRequest, file: File, location: RemoteFile) -> web.Response:
        """Answer with an index document of a remote source, whole: once more by a newer page, if ours is out of date."""
        documents = self._services.index_documents
        try:
            body = await documents.body(file, location)
        except ListingOutdated:
            file = await self._find_listed(file.project, file.filename)
            body = await documents.body(file, location if not isinstance(file.location, RemoteFile) else file.location)
        etags = (hashlib.sha256(body).hexdigest(),)
        return prepare_response(body, build_headers("application/json", self._ask_again, etags), etags).respond(request)

    async def _send_part(self, request: web.BaseRequest, body: Body, asked: Range, headers: dict[str, str]) -> web.StreamResponse:
        size = await (body.known_size() if isinstance(body, FillBody) else body.size())
        if size is None:
            raise StoreError("the size of the file is not known, so no range of it can be served")
        span = asked.within(size)
        if span is None:
            return web.Response(status=416, headers={"Content-Range": f"bytes */{size}"})
        headers["Content-Range"] = f"bytes {span[0]}-{span[1] - 1}/{size}"
        return await send(request, body, headers, start=span[0], end=span[1], status=206)

    async def metadata(self, request: web.BaseRequest, target: ParsedPath) -> web.Response:
        """Answer with the file's core metadata."""
        file = await self._find_listed(target.project, target.filename)
        response = self._small.get(file, "metadata")
        if response is None:
            body = await self._services.metadata_files.body(file)
            etags = _get_etags(file, "metadata")
            response = prepare_response(body, build_headers("text/plain; charset=utf-8", self._keep, etags), etags)
            self._small.keep(file, response, "metadata")
        return response.respond(request)

    async def provenance(self, request: web.BaseRequest, target: ParsedPath) -> web.Response:
        """Answer with the file's provenance (PEP 740). It may come after the file, so nobody keeps it without asking again."""
        body = await self._services.delivery.read_provenance(await self._find_listed(target.project, target.filename))
        etags = (hashlib.sha256(body).hexdigest()[:32],)
        return prepare_response(body, build_headers(_PROVENANCE_TYPE, self._ask_again, etags), etags).respond(request)

    async def _find_listed(self, project: str, filename: str) -> File:
        try:
            entry = await self._pages.entry(project)
        except ProjectWithheld as error:
            if filename in error.withheld:
                raise FileWithheld(error.withheld[filename]) from None
            raise FileNotListed(f"project {project} has no file {filename}") from None
        file = self._pages.find_file(entry, filename)
        if file is not None:
            return file
        for withheld in entry.page.withheld:
            if withheld.filename == filename:
                raise FileWithheld(f"{filename} is withheld: {withheld.reason}")
        raise FileNotListed(f"project {project} has no file {filename}")


def _get_etags(file: File, what: What) -> tuple[str, ...]:
    """Return the digest that the page lists, if it does."""
    digest = (file.core_metadata or {}).get("sha256") if what == "metadata" else file.hashes.get("sha256")
    return () if digest is None else (digest,)


def _weigh(response: PreparedResponse) -> int:
    return 1_000 + len(response.body) + 4 * sum(map(len, response.heads.values()))
