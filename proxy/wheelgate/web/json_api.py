"""``/pypi/{project}/json`` and ``/pypi/{project}/{version}/json``: what a project's page lists, as PyPI's JSON API has it.

Nothing is decided here: the files are those of the page that this client would see, and what the page is refused with is what
these are refused with. What a release says of itself comes from the core metadata that is served beside one of its files.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeVar

import msgspec
from aiohttp import web
from cachetools import LRUCache
from isal import isal_zlib

from wheelgate.core.errors import Busy, CompanionNotFound, FileNotListed, FileWithheld, TooLarge, WheelgateError
from wheelgate.core.model import File, ProjectPage
from wheelgate.core.names import same_version_key, version_of
from wheelgate.core.protocols import Clock
from wheelgate.distfiles.core_metadata import BadWheel
from wheelgate.distfiles.release_description import read_release_description
from wheelgate.files.metadata_files import MetadataFiles
from wheelgate.runtime.deadline import Deadline
from wheelgate.runtime.fair_slots import FairSlots, NoTurn
from wheelgate.runtime.singleflight import SingleFlight
from wheelgate.simple_api import json_api, negotiate
from wheelgate.simple_api.json_api import ReleaseFiles
from wheelgate.web.known_heads import Finder, Found
from wheelgate.web.page_cache import CachedPage, PageCache, build_etags
from wheelgate.web.paths import ParsedPath
from wheelgate.web.prepared_response import PreparedResponse, build_headers, prepare_response
from wheelgate.web.simple import tell_age

_MAX_BYTES = 8 * 1024 * 1024
_MAX_FILES = 20_000
"""Of a page: the largest projects have 15,000, and this is about 1 kB of memory for each."""
_AT_ONCE, _MAX_WAITING, _BUSY_S = 4, 256, 2.0
_PATIENCE_S = 5.0
"""Time for what a release says of itself: the rest is of use without it."""
_INCOMPLETE_S = 5.0
"""How long an answer is given that lacks it for a reason that may pass."""
_TRIED = 2
"""Files of a release that are looked into."""

T = TypeVar("T")
_Key = tuple[int, str, bool]
"""Revision of the page, version (in one spelling; empty: the project), whether gzipped."""


class JsonApiHandlers:
    """Handlers of both addresses. An answer is made once for each content of a page. Bounded by bytes."""

    def __init__(
        self, pages: PageCache, metadata_files: MetadataFiles, clock: Clock, *, base: str, max_bytes: int = _MAX_BYTES
    ) -> None:
        """``base``: what stands before ``/files/`` in the links."""
        self._pages = pages
        self._metadata_files = metadata_files
        self._clock = clock
        self._base = base
        self._kept: LRUCache[_Key, PreparedResponse] = LRUCache(max_bytes, getsizeof=_weigh)
        self._makings: SingleFlight[PreparedResponse] = SingleFlight()
        self._slots = FairSlots(_AT_ONCE, max_waiting=_MAX_WAITING)

    async def close(self) -> None:
        """Cancel what is under way."""
        await self._makings.close()

    async def answer(self, request: web.BaseRequest, target: ParsedPath) -> web.Response:
        """Answer about a project, or one version of it.

        Raises:
            ProjectNotFound, ProjectWithheld, UpstreamError, StoreError: as for the page.
            FileNotListed: the page lists no file of this version; :class:`FileWithheld`: since rules withhold all of them.
            TooLarge: it lists more files than are shown here.
        """
        gzip = negotiate.accepts_gzip(request.headers.get("Accept-Encoding"))
        entry = await self._pages.entry(target.project)
        key = _key_of(entry, target, gzip=gzip)
        prepared = self._find(key) or await self._makings.run(key, lambda: self._make(entry, target, gzip=gzip))
        return tell_age(prepared.respond(request), entry, self._clock)

    def build_finder(self, request: web.BaseRequest, target: ParsedPath) -> Finder:
        """Build what finds the same answer in memory."""
        gzip = negotiate.accepts_gzip(request.headers.get("Accept-Encoding"))

        def find() -> Found | None:
            entry = self._pages.find_servable(target.project)
            prepared = None if entry is None else self._find(_key_of(entry, target, gzip=gzip))
            return None if entry is None or prepared is None else (prepared, entry.confirmed_s)

        return find

    def _find(self, key: _Key) -> PreparedResponse | None:
        kept = self._kept.get(key)
        return kept if kept is not None and self._clock.monotonic() < kept.until_s else None

    async def _make(self, entry: CachedPage, target: ParsedPath, *, gzip: bool) -> PreparedResponse:
        """Make an answer, and keep it if it is not large. A plain one is made of the gzipped one: hardly anybody wants it."""
        key = _key_of(entry, target, gzip=gzip)
        if gzip:
            prepared = await self._make_gzipped(entry, target)
        else:
            zipped_key = _key_of(entry, target, gzip=True)
            zipped = self._find(zipped_key) or await self._makings.run(zipped_key, lambda: self._make(entry, target, gzip=True))
            plain = await asyncio.to_thread(isal_zlib.decompress, zipped.body, wbits=31)
            prepared = self._prepare(plain, zipped.etags[1], zipped.until_s, gzip=False)
        if _weigh(prepared) <= self._kept.maxsize // 4:
            self._kept[key] = prepared
        return prepared

    async def _make_gzipped(self, entry: CachedPage, target: ParsedPath) -> PreparedResponse:
        if len(entry.files) > _MAX_FILES:
            raise TooLarge(
                f"{target.project} has {len(entry.files)} files, and {_MAX_FILES} are shown here at most: ask for its page "
                "below /simple/"
            )
        shown = await self._in_turn(lambda: _choose(entry.page, target.version))
        description, is_final = await self._describe(shown)
        body, etag = await self._in_turn(lambda: _render(entry.page, target.version, shown, description, self._base))
        self._pages.pack_soon(entry)
        return self._prepare(body, etag, math.inf if is_final else self._clock.monotonic() + _INCOMPLETE_S, gzip=True)

    async def _in_turn(self, work: Callable[[], T]) -> T:
        """Do in a thread what takes 10 us and, meanwhile, 1 kB for each file of a page. Raises Busy."""
        try:
            slot = await self._slots.take(Deadline.within(_PATIENCE_S))
        except NoTurn:
            raise Busy("busy here: too many answers of the JSON API are being made", retry_after_s=_BUSY_S) from None
        try:
            return await asyncio.to_thread(work)
        finally:
            slot.release()

    async def _describe(self, release: ReleaseFiles | None) -> tuple[Mapping[str, object] | None, bool]:
        """Read what a release says of itself; and tell whether asking again would give the same."""
        if release is None or (version := release.parsed) is None:
            return None, True
        candidates = sorted((file for file in release.files if file.core_metadata is not None), key=_cost)
        try:
            async with Deadline.within(_PATIENCE_S).limit():
                for file in candidates[:_TRIED]:
                    with suppress(CompanionNotFound, BadWheel):
                        body = await self._metadata_files.body(file)
                        read = await asyncio.to_thread(read_release_description, body, file.project, version)
                        return msgspec.structs.asdict(read), True
        except (WheelgateError, TimeoutError):
            return None, False
        return None, True

    def _prepare(self, body: bytes, etag: str, until_s: float, *, gzip: bool) -> PreparedResponse:
        etags = build_etags(etag, gzip=gzip)
        headers = build_headers("application/json", self._pages.cache_control, etags)
        headers |= {"Vary": "Accept-Encoding", "X-PyPI-Last-Serial": str(json_api.SERIAL)}
        if gzip:
            headers["Content-Encoding"] = "gzip"
        return prepare_response(body, headers, etags, until_s=until_s)


def _key_of(entry: CachedPage, target: ParsedPath, *, gzip: bool) -> _Key:
    return entry.page.revision, same_version_key(target.version) if target.version else "", gzip


def _cost(file: File) -> tuple[bool, bool, int]:
    """Order the files of a release by what it takes to read their metadata: wheels before sdists, whose is seldom known."""
    return not file.filename.endswith(".whl"), not file.core_metadata, file.size or 0


def _choose(page: ProjectPage, version: str) -> ReleaseFiles | None:
    """Choose the release to be shown. ``version``: the one that is asked for; empty: whichever the project is shown with."""
    if not version:
        return json_api.choose_release(json_api.group_releases(page))
    key = same_version_key(version)
    if any(same_version_key(listed) == key for listed in page.versions):  # it covers every file, and is quickly gone through
        found = json_api.find_release(json_api.group_releases(page), version)
        if found is not None:
            return found
    for withheld in page.withheld:
        if same_version_key(version_of(withheld.filename, page.project) or "") == key:
            raise FileWithheld(f"{page.project} {version} is withheld: {withheld.reason}")
    raise FileNotListed(f"project {page.project} lists no file of a version {version}")


def _render(
    page: ProjectPage, version: str, shown: ReleaseFiles | None, description: Mapping[str, object] | None, base: str
) -> tuple[bytes, str]:
    """Render an answer, gzipped, and its tag: part by part, so that the plain one is never held."""
    releases = None if version else json_api.group_releases(page)
    compressor, digest = isal_zlib.compressobj(level=1, wbits=31), hashlib.sha256()
    zipped = []
    for part in json_api.render_releases(page, shown, description, releases, base):
        digest.update(part)
        zipped.append(compressor.compress(part))
    return b"".join((*zipped, compressor.flush())), digest.hexdigest()[:32]


def _weigh(prepared: PreparedResponse) -> int:
    return 1_000 + len(prepared.body)
