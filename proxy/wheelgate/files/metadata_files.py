"""Core metadata files, ``.metadata`` beside a wheel (PEP 658, PEP 714): from the store, the upstream, or the wheel itself.

What is advertised is served: pip and uv abort an installation when an advertised file is missing or differs from its digest.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from urllib.parse import urlsplit, urlunsplit

from wheelgate.core.errors import (
    BlobDamaged,
    BlobExists,
    BlobNotFound,
    CompanionNotFound,
    StoreError,
    UpstreamBadAnswer,
    UpstreamError,
    UpstreamUnavailable,
)
from wheelgate.core.model import File, LocalFile, RemoteFile
from wheelgate.core.protocols import BlobStore, Clock
from wheelgate.distfiles.core_metadata import MAX_METADATA_BYTES, BadWheel, CoreMetadata, read_core_metadata, read_fields
from wheelgate.enrich.records import ExtractedMetadata, FactRecorder
from wheelgate.enrich.write_behind import WriteBehind
from wheelgate.files.wheel_reader import WheelReader, WheelReading
from wheelgate.runtime.logs import TroubleLog
from wheelgate.runtime.singleflight import SingleFlight
from wheelgate.runtime.together import together
from wheelgate.sources.directory import check_unchanged, open_listed
from wheelgate.storage import layout
from wheelgate.upstream.client import PAGE_BUDGET_S, SourceClient

_DELAY_S = 0.5
_MUCH_BYTES = 4 * 1024 * 1024
_MAX_BYTES = 16 * 1024 * 1024
_log = logging.getLogger(__name__)


class MetadataFiles:
    """Core metadata of listed files. In the store it is kept by the digest of its wheel, so two wheels never mix theirs."""

    def __init__(
        self,
        *,
        store: BlobStore,
        clients: Mapping[str, SourceClient],
        wheels: WheelReader,
        recorders: Mapping[str, FactRecorder],
        clock: Clock,
    ) -> None:
        self._store = store
        self._clients = clients
        self._wheels = wheels
        self._recorders = recorders
        self._clock = clock
        self._flights: SingleFlight[bytes] = SingleFlight()
        self._unwritten = WriteBehind[bytes](
            self._put, size_of=len, subject="core metadata", delay_s=_DELAY_S, much_bytes=_MUCH_BYTES, max_bytes=_MAX_BYTES
        )
        """By path in the store."""
        self._troubles = TroubleLog(_log)

    async def close(self) -> None:
        """Cancel what is under way; what is to be kept is, as far as the store takes it within seconds."""
        await self._flights.close()
        await self._unwritten.close()

    async def body(self, file: File) -> bytes:
        """The metadata of a listed file, with the digest that the listing advertises, if it advertises one.

        Raises:
            CompanionNotFound: the listing offers none, or the wheel turned out to have none.
            FileWithheld: as :meth:`wheelgate.files.delivery.Delivery.open`.
            UpstreamError, StoreError: it is not available now.
        """
        if file.core_metadata is None:
            raise CompanionNotFound(f"{file.filename} has no core metadata to offer")
        listed = (file.source, file.project, file.filename, file.hashes.get("sha256"), file.core_metadata.get("sha256"))
        return await self._flights.run(listed, lambda: self._body(file))

    async def _body(self, file: File) -> bytes:
        location = file.location
        if isinstance(location, LocalFile):
            return await asyncio.to_thread(_read_local_wheel, file, location, self._troubles)
        if file.metadata_in_wheel:
            return await self._read_wheel(file)
        if isinstance(location, RemoteFile):
            return await self._fetch_beside(file, location)
        return await self._read_stored(file)

    async def _read_stored(self, file: File) -> bytes:
        """Read the metadata of a file in a store as it was kept; if that cannot be used, out of the wheel itself."""
        path = layout.metadata(file.hashes.get("sha256", "unknown"))
        try:
            body, _ = await self._store.read(path)
        except BlobNotFound:
            trouble = f"the core metadata of {file.filename} is missing from the store"
        except BlobDamaged as error:
            trouble = str(error)
        else:
            if _is_listed(file, body):
                return body
            trouble = f"{path} in the store is damaged: the core metadata of {file.filename} has another digest: delete it"
        self._troubles.report(path, trouble)
        with suppress(BadWheel, UpstreamError, StoreError):
            read = (await self._wheels.read(file)).metadata.body
            if _is_listed(file, read):
                return read
        raise StoreError(trouble)

    async def _read_wheel(self, file: File) -> bytes:
        place = _unverified_path(file)
        sha256 = file.hashes.get("sha256")
        paths = [place] if sha256 is None else [place, layout.metadata(sha256)]
        if (kept := await self._match_kept(file, paths)) is not None:
            if not file.core_metadata:  # another process made it
                self._learn(file, kept)
            return kept.body
        if (beside := _match(file, await self._wheels.beside(file))) is not None:
            await self._unwritten.put_slowly(place, beside.body)
            self._learn(file, beside)
            return beside.body
        try:
            reading = await self._wheels.read(file)
        except BadWheel as error:
            _log.warning("source %s: %s offers no core metadata: it %s", file.source, file.filename, error)
            self._learn(file, None)
            raise CompanionNotFound(f"{file.filename} of source {file.source} {error}") from None
        body = _verify(file, reading.metadata.body, self._troubles)
        await self._unwritten.put_slowly(layout.metadata(reading.sha256) if reading.sha256 else place, body)
        self._learn(file, reading.metadata, reading)
        return body

    async def _match_kept(self, file: File, paths: Sequence[str]) -> CoreMetadata | None:
        """Find the first of these that is this wheel's metadata."""
        if file.core_metadata:  # it was made before, and is nearly always at the first place
            for path in paths:
                if (kept := _match(file, await self._find_kept(path))) is not None:
                    return kept
            return None
        bodies = await together(*map(self._find_kept, paths), self._wheels.find_held(file))
        return next((kept for body in bodies[:-1] if (kept := _match(file, body)) is not None), None)

    def _learn(self, file: File, metadata: CoreMetadata | None, reading: WheelReading | None = None) -> None:
        made = ExtractedMetadata(
            at=self._clock.now(),
            of=file.hashes.get("sha256") or _place(file),
            metadata_sha256=None if metadata is None else hashlib.sha256(metadata.body).hexdigest(),
            requires_python=None if metadata is None else metadata.requires_python,
        )
        size, sha256 = (reading.size, reading.sha256) if reading else (None, None)
        if file.source in self._recorders:
            self._recorders[file.source].learn(file, sha256=sha256, size=size, made=made)

    async def _fetch_beside(self, file: File, location: RemoteFile) -> bytes:
        wheel_sha256 = file.hashes.get("sha256")
        if wheel_sha256 is None:  # nothing to keep it by
            return _verify(file, await self._fetch(file, location), self._troubles)
        path = layout.upstream_metadata(file.source, wheel_sha256)
        kept = await self._find_kept(path)
        if kept is not None and _is_listed(file, kept):
            return kept
        body = _verify(file, await self._fetch(file, location), self._troubles)
        if kept is None:
            await self._unwritten.put_slowly(path, body)
        return body

    async def _find_kept(self, path: str) -> bytes | None:
        if (unwritten := self._unwritten.find(path)) is not None:
            return unwritten
        try:
            return (await self._store.read(path))[0]
        except BlobNotFound:
            return None
        except BlobDamaged as error:
            self._troubles.report(path, str(error))
            return None
        except StoreError as error:  # the upstream may well be there
            _log.warning("core metadata cannot be read from the store: %s", error)
            return None

    async def _fetch(self, file: File, location: RemoteFile) -> bytes:
        parts = urlsplit(location.url)
        url = urlunsplit(parts._replace(path=parts.path + ".metadata"))  # before a query, where the upstream looks for it
        body = b""
        try:
            async with asyncio.timeout(PAGE_BUDGET_S), self._clients[location.source].file(url, small=True) as answer:
                async for chunk in answer.chunks():
                    body += chunk
                    if len(body) > MAX_METADATA_BYTES:
                        raise UpstreamBadAnswer(
                            f"source {file.source} sent core metadata of more than 10 MiB for {file.filename}", source=file.source
                        )
        except TimeoutError:
            raise UpstreamUnavailable(
                f"source {file.source} sends the core metadata of {file.filename} too slowly", source=file.source
            ) from None
        if not body.lstrip()[:64].lower().startswith((b"metadata-version:", b"name:", b"version:")):
            raise UpstreamBadAnswer(
                f"source {file.source} sent something else than core metadata for {file.filename}", source=file.source
            )
        return body

    async def _put(self, path: str, body: bytes) -> None:
        with suppress(BlobExists):
            await self._store.put_if_absent(path, body, {})


def _match(file: File, body: bytes | None) -> CoreMetadata | None:
    """Read what may be a wheel's metadata; ``None`` if it is not this wheel's, or has another digest than is advertised."""
    if body is None or not _is_listed(file, body):
        return None
    try:
        return read_fields(body, file.filename)
    except BadWheel:
        return None


def _unverified_path(file: File) -> str:
    """Path of metadata that was read out of parts of a wheel: nobody compared its digest with all of it."""
    sha256 = file.hashes.get("sha256")
    return layout.located_metadata(file.source, _place(file)) if sha256 is None else layout.upstream_metadata(file.source, sha256)


def _place(file: File) -> str:
    """Place of a wheel, and its version, as far as its location says."""
    location = file.location
    return location.url if isinstance(location, RemoteFile) else f"{location.path}\n{location.etag}"


def _is_listed(file: File, body: bytes) -> bool:
    """Tell whether it has the digest that the listing advertises, if it advertises one."""
    advertised = (file.core_metadata or {}).get("sha256")
    return advertised is None or hashlib.sha256(body).hexdigest() == advertised


def _verify(file: File, body: bytes, troubles: TroubleLog) -> bytes:
    if not _is_listed(file, body):
        message = f"source {file.source} sent core metadata for {file.filename} with another digest than it lists"
        troubles.report(_place(file), message)
        raise UpstreamBadAnswer(message, source=file.source)
    return body


def _read_local_wheel(file: File, location: LocalFile, troubles: TroubleLog) -> bytes:
    try:
        with open_listed(file, location) as wheel:
            body = _verify(file, read_core_metadata(wheel, file.filename).body, troubles)
            check_unchanged(file, location, wheel)
            return body
    except BadWheel as error:
        if not file.core_metadata:  # nobody had read it yet
            raise CompanionNotFound(f"{file.filename} of source {file.source} {error}") from None
        raise StoreError(f"{file.filename} of source {file.source} can no longer be read: it {error}") from None
