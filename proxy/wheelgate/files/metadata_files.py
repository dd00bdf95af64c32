"""Core metadata files, ``.metadata`` beside a wheel (PEP 658, PEP 714): from the store, the upstream, or the wheel itself.

What is advertised is served: pip and uv abort an installation when an advertised file is missing or differs from its digest.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress

from wheelgate.core.errors import (
    BlobDamaged,
    BlobExists,
    BlobNotFound,
    Busy,
    CompanionNotFound,
    LoopDetected,
    StoreError,
    UpstreamBadAnswer,
    UpstreamError,
)
from wheelgate.core.model import File, LocalFile, RemoteFile
from wheelgate.core.protocols import BlobStore, Clock
from wheelgate.distfiles.core_metadata import BadWheel, CoreMetadata, read_core_metadata
from wheelgate.enrich.blob_reader import read_spooled_wheel
from wheelgate.enrich.records import ExtractedMetadata, FactRecorder, Observation
from wheelgate.enrich.write_behind import WriteBehind
from wheelgate.files.advertised_metadata import fetch_beside, is_advertised, is_listed, match_metadata
from wheelgate.files.wheel_reader import WheelReader, WheelReading
from wheelgate.runtime.logs import TroubleLog
from wheelgate.runtime.singleflight import SingleFlight
from wheelgate.runtime.together import together
from wheelgate.sources.listed_file import check_unchanged, open_listed
from wheelgate.storage import layout
from wheelgate.storage.spool import SpoolFile
from wheelgate.upstream.client import SourceClient

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

    async def describe(self, file: File) -> None:
        """Learn what one read of a remote file tells beyond its listing, so that the listing says it. Raises as :meth:`body`."""
        if file.metadata_in_wheel and not file.core_metadata:
            await self.body(file)
        else:
            glance = await self._wheels.glance(file)
            self._learn(file, observed=Observation(self._clock.now(), _identify(file), glance.size, glance.modified))

    async def compare(self, file: File, spooled: SpoolFile) -> None:
        """Compare what is offered as a wheel's metadata with the wheel, which has just come in whole.

        Where they differ, or nothing was known yet, the wheel's own is offered from now on: pip compares them too, and stops.
        """
        if not file.filename.endswith(".whl"):
            return
        try:
            metadata = await asyncio.to_thread(read_spooled_wheel, spooled, file.filename)
        except (BadWheel, StoreError):  # no installer reads it either
            return
        if file.core_metadata and is_listed(file, metadata.body):
            return
        if file.core_metadata:
            does = "sent parts of another wheel" if file.metadata_in_wheel else "advertises core metadata that is not its wheel's"
            self._report(file, does)
        await self._unwritten.put_slowly(layout.metadata(spooled.digests()["sha256"]), metadata.body)
        self._learn(
            file, made=self._describe_made(file, metadata, instead=file.core_metadata is not None and not file.metadata_in_wheel)
        )

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
            if is_listed(file, body):
                return body
            trouble = f"{path} in the store is damaged: the core metadata of {file.filename} has another digest: delete it"
        self._troubles.report(path, trouble)
        with suppress(BadWheel, UpstreamError, StoreError):
            read = (await self._wheels.read(file)).metadata.body
            if is_listed(file, read):
                return read
        raise StoreError(trouble)

    async def _read_wheel(self, file: File) -> bytes:
        place = self._unverified_path(file)
        sha256 = file.hashes.get("sha256")
        paths = [place] if sha256 is None else [place, layout.metadata(sha256)]
        if (kept := await self._match_kept(file, paths)) is not None:
            if not file.core_metadata:  # another process made it
                self._learn(file, made=self._describe_made(file, kept))
            return kept.body
        if (beside := await match_metadata(file, await self._wheels.beside(file))) is not None:
            await self._unwritten.put_slowly(place, beside.body)
            self._learn(file, made=self._describe_made(file, beside))
            return beside.body
        try:
            reading = await self._wheels.read(file)
        except BadWheel as error:
            _log.warning("source %s: %s offers no core metadata: it %s", file.source, file.filename, error)
            self._learn(file, made=self._describe_made(file, None))
            raise CompanionNotFound(f"{file.filename} of source {file.source} {error}") from None
        return _verify(file, await self._take(file, reading), self._troubles)

    async def _take(self, file: File, reading: WheelReading, *, instead: bool = False) -> bytes:
        """Keep and learn what was read out of a wheel. ``instead``: of what its source advertised."""
        metadata = reading.metadata
        if is_listed(file, metadata.body) or instead:
            path = layout.metadata(reading.sha256) if reading.sha256 else self._unverified_path(file)
            await self._unwritten.put_slowly(path, metadata.body)
            made, observed = self._describe_made(file, metadata, instead=instead), None
            if reading.sha256 is None:
                observed = Observation(self._clock.now(), _identify(file), reading.size, reading.modified)
            self._learn(file, made=made, observed=observed, reading=reading)
        return metadata.body

    def _unverified_path(self, file: File) -> str:
        """Path of metadata that was read out of parts of a wheel: nobody compared its digest with all of it."""
        sha256 = file.hashes.get("sha256")
        if sha256 is None:
            return layout.located_metadata(file.source, file.project, file.filename, _place(file))
        return layout.upstream_metadata(self._home_of(file), sha256)

    def _home_of(self, file: File) -> str:
        """The place that keeps what is read of a file: of a remote source, one for each of its addresses."""
        client = self._clients.get(file.source)
        return file.source if client is None else layout.home_of(file.source, client.place)

    async def _match_kept(self, file: File, paths: Sequence[str]) -> CoreMetadata | None:
        """Find the first of these that is this wheel's metadata."""
        if file.core_metadata:  # it was made before, and is nearly always at the first place
            for path in paths:
                if (kept := await match_metadata(file, await self._find_kept(path))) is not None:
                    return kept
            return None
        bodies = await together(*map(self._find_kept, paths), self._wheels.find_held(file))
        for body in bodies[:-1]:
            if (kept := await match_metadata(file, body)) is not None:
                return kept
        return None

    def _describe_made(self, file: File, metadata: CoreMetadata | None, *, instead: bool = False) -> ExtractedMetadata:
        return ExtractedMetadata(
            at=self._clock.now(),
            of=_identify(file),
            metadata_sha256=None if metadata is None else hashlib.sha256(metadata.body).hexdigest(),
            requires_python=None if metadata is None else metadata.requires_python,
            instead_of=(file.core_metadata or {}).get("sha256", "") if instead else None,
        )

    def _learn(
        self,
        file: File,
        *,
        made: ExtractedMetadata | None = None,
        observed: Observation | None = None,
        reading: WheelReading | None = None,
    ) -> None:
        whole = reading if reading is not None and reading.sha256 is not None else None
        size, sha256 = (whole.size, whole.sha256) if whole else (None, None)
        if file.source in self._recorders:
            self._recorders[file.source].learn(file, sha256=sha256, size=size, made=made, observed=observed)

    def _report(self, file: File, trouble: str) -> None:
        """Say once of a project what its source does; the wheel's own metadata stands in."""
        sentence = f"source {file.source} {trouble} ({file.filename}): what the wheel itself says is offered instead"
        self._troubles.report(f"{file.source}/{file.project}", sentence, logging.WARNING)

    async def _fetch_beside(self, file: File, location: RemoteFile) -> bytes:
        wheel_sha256 = file.hashes.get("sha256")
        path = (
            None if wheel_sha256 is None else layout.upstream_metadata(self._home_of(file), wheel_sha256)
        )  # else nothing to keep it by
        kept = None if path is None else await self._find_kept(path)
        if kept is not None and await is_advertised(file, kept):
            return kept
        try:
            body = await fetch_beside(self._clients[location.source], file, location)
            if not await is_advertised(file, body):
                raise UpstreamBadAnswer(
                    f"source {file.source} sent core metadata of something else for {file.filename}", source=file.source
                )
        except Busy:
            raise
        except UpstreamError as error:
            return await self._read_instead(file, error)
        if path is not None and kept is None:
            await self._unwritten.put_slowly(path, body)
        return body

    async def _read_instead(self, file: File, error: UpstreamError) -> bytes:
        """Read the wheel itself, whose source does not send the metadata that it advertises.

        A wrong answer to that is remembered, and what the wheel says offered from then on; silence is not.
        """
        is_definite = isinstance(error, UpstreamBadAnswer) and not isinstance(error, LoopDetected)
        try:
            reading = await self._wheels.read(file)
        except BadWheel as nothing:
            if not is_definite:
                raise error from None
            self._report(file, "advertises core metadata that it does not send, and its wheel has none")
            self._learn(file, made=self._describe_made(file, None, instead=True))
            raise CompanionNotFound(f"{file.filename} of source {file.source} {nothing}") from None
        except (UpstreamError, StoreError):
            if is_definite:  # then the wheel tells more
                raise
            raise error from None
        if is_definite:
            self._report(file, "advertises core metadata that it does not send")
            await self._take(file, reading, instead=True)
        if is_listed(file, reading.metadata.body):
            return reading.metadata.body
        if not is_definite:
            raise error
        raise UpstreamBadAnswer(
            f"source {file.source} advertised core metadata for {file.filename} with another digest than its wheel's has; the "
            "page was mended: ask for it again",
            source=file.source,
        )

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

    async def _put(self, path: str, body: bytes) -> None:
        with suppress(BlobExists):
            await self._store.put_if_absent(path, body, {})


def _identify(file: File) -> str:
    """The wheel that is described: its digest, where its source lists one, else its place."""
    return file.hashes.get("sha256") or _place(file)


def _place(file: File) -> str:
    """Place of a wheel, and its version, as far as its location says."""
    location = file.location
    return location.url if isinstance(location, RemoteFile) else f"{location.path}\n{location.etag}"


def _check_listed(file: File, body: bytes) -> None:
    if not is_listed(file, body):
        message = f"source {file.source} sent core metadata for {file.filename} with another digest than it lists"
        raise UpstreamBadAnswer(message, source=file.source)


def _verify(file: File, body: bytes, troubles: TroubleLog) -> bytes:
    try:
        _check_listed(file, body)
    except UpstreamBadAnswer as error:
        troubles.report(_place(file), str(error))
        raise
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
