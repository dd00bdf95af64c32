"""Facts that a listing lacks: digest, core metadata and a lasting upload time of files that somebody dropped into a container.

A file is read once, when its project is first asked for, newest first and a few at a time: all of it for its digest, or, where
whoever stored it said that, only the parts that hold its metadata. Until then it is listed with what is known. What was found
out is remembered in our store, by the version of the blob it was read from.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime

import msgspec
from cachetools import LRUCache
from packaging.utils import InvalidWheelFilename

from wheelgate.core.errors import BlobChanged, BlobExists, BlobNotFound, StoreError
from wheelgate.core.file_list import FileList
from wheelgate.core.memory_cost import RECENT_BYTES, files_bytes
from wheelgate.core.model import NEVER_FRESH, File, ProjectPage, StoredFile
from wheelgate.core.protocols import BlobStore, Source
from wheelgate.distfiles.core_metadata import BadWheel, CoreMetadata, read_core_metadata
from wheelgate.distfiles.ranged_wheel import read_by_ranges
from wheelgate.enrich.blob_facts import BlobFact, BlobFacts
from wheelgate.enrich.records import ExtractedMetadata
from wheelgate.storage import layout
from wheelgate.storage.spool import Spool, SpoolFile

_AT_ONCE = 2
_WAIT_S = 1.0
"""How long a page waits for the facts of a few small files, so that the first client has them already."""
_RETRY_S = 5.0
"""How long files that could not be read are left alone, so that an outage costs no reading at every request."""
_log = logging.getLogger(__name__)


class _Unreadable(StoreError):
    """This file cannot be read now; the next one perhaps can."""


class DescribedBlobs:
    """A :class:`~wheelgate.core.protocols.Source` that adds to the files of another what their bytes tell."""

    def __init__(self, source: Source, *, blobs: BlobStore, store: BlobStore, spool: Spool, retry_s: float = _RETRY_S) -> None:
        self._source = source
        self._blobs = blobs
        self._store = store
        self._spool = spool
        self._records = BlobFacts(store, source.name)
        self._known: LRUCache[str, Mapping[str, BlobFact]] = LRUCache(4_096)
        self._asked: LRUCache[tuple[str, str], ExtractedMetadata] = LRUCache(4_096)
        """Metadata that somebody asked for before the file was read here, by path and ETag."""
        self._learned: LRUCache[str, int] = LRUCache(4_096)
        """By project, when somebody asked for such metadata last: by a count that only grows."""
        self._count = 0
        self._made: LRUCache[str, _Shown] = LRUCache(RECENT_BYTES, getsizeof=_shown_bytes)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._retry_s = retry_s
        self._resting: set[str] = set()
        self._listeners: list[Callable[[], None]] = []

    @property
    def name(self) -> str:
        """The source's name."""
        return self._source.name

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` whenever more is known of a file than pages said so far."""
        self._listeners.append(listener)

    async def close(self) -> None:
        """Stop reading."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def project_names(self) -> frozenset[str]:
        """The source's own."""
        return await self._source.project_names()

    def learn(
        self,
        file: File,
        *,
        sha256: str | None = None,  # noqa: ARG002
        size: int | None = None,  # noqa: ARG002
        made: ExtractedMetadata | None = None,
    ) -> None:
        """See :class:`~wheelgate.files.delivery.FactRecorder`. Digest and size are found out here."""
        if made is not None and isinstance(file.location, StoredFile):
            self._asked[file.location.path, file.location.etag] = made
            self._count += 1
            self._learned[file.project] = self._count

    async def project_page(self, project: str) -> ProjectPage:
        """See :class:`~wheelgate.core.protocols.Source`. The same files object again while nothing was found out."""
        page = await self._source.project_page(project)
        known = self._known.get(project)
        if known is None:
            found = await self._records.of(project)
            known = self._known.setdefault(project, found)  # what was learned meanwhile is newer
        made = self._made.get(project)
        if made is not None and made.of == page.revision and made.known is known and not made.is_unread:
            return self._described(page, known)
        unread = [file for file in page.files if not _is_complete(file) and _fitting(known, file) is None]
        if unread and project not in self._resting:
            await self._learning(project, unread)
            known = self._known.get(project, known)
            unread = [file for file in unread if _fitting(known, file) is None]
        described = self._described(page, known, is_unread=bool(unread))
        # What could not be read yet is to be tried again at the next request.
        return msgspec.structs.replace(described, freshness=NEVER_FRESH) if unread else described

    async def _learning(self, project: str, unread: Sequence[File]) -> None:
        """Read the files, and wait a moment for it. Many who ask at once wait together; the work goes on when they leave."""
        task = self._tasks.get(project)
        if task is None:
            task = self._tasks[project] = asyncio.create_task(self._learn(project, _newest_first(unread)))
            task.add_done_callback(lambda _: self._tasks.pop(project, None))
        await asyncio.wait([task], timeout=_WAIT_S)

    async def _learn(self, project: str, files: Sequence[File]) -> None:
        for file in files:
            try:
                async with self._turns:
                    found = await self._found(file)
                self._known[project] = await self._records.add(project, {file.filename: found})
                for listener in self._listeners:
                    listener()
            except (BlobNotFound, BlobChanged, _Unreadable) as error:
                self._put_off(project, file, error)
            except StoreError as error:
                self._put_off(project, file, error)
                return  # the store is down: the others would fare the same
            except Exception:  # one odd file must not keep the others from being described
                _log.exception("source %s: %s cannot be described", self.name, file.filename)
                self._rest(project)

    def _put_off(self, project: str, file: File, error: StoreError) -> None:
        _log.warning("source %s: %s cannot be described yet: %s", self.name, file.filename, error)
        self._rest(project)

    def _rest(self, project: str) -> None:
        self._resting.add(project)
        asyncio.get_running_loop().call_later(self._retry_s, self._resting.discard, project)

    async def _found(self, file: File) -> BlobFact:
        """What is to be known of a file: as it says itself, if its metadata is in our store already, else from its bytes."""
        sha256 = file.hashes.get("sha256")
        if sha256 is not None and file.core_metadata is not None and file.upload_time is not None:
            with suppress(BlobNotFound):
                body, _ = await self._store.read(layout.metadata(sha256))
                digest = hashlib.sha256(body).hexdigest()
                return _known(file, sha256, file.upload_time, digest, file.requires_python)
        return await (self._read_parts(file, sha256) if sha256 is not None else self._read(file))

    async def _read_parts(self, file: File, sha256: str) -> BlobFact:
        """The metadata alone. Nobody compared the digest with the bytes, so it lies with what this source says."""
        location = file.location
        if not isinstance(location, StoredFile) or file.size is None or file.upload_time is None:
            raise _Unreadable("it is not a blob")

        async def fetch(start: int, end: int) -> bytes:
            return b"".join([chunk async for chunk in self._blobs.stream(location.path, start, end)])

        try:
            metadata = await read_by_ranges(fetch, file.size, file.filename)
        except BadWheel as error:
            _log.warning("%s offers no core metadata: it %s", file.filename, error)
            metadata = None
        except InvalidWheelFilename:
            metadata = None
        if (await self._blobs.info(location.path)).etag != location.etag:
            raise BlobChanged("it was changed since it was listed")
        if metadata is None:
            return _known(file, sha256, file.upload_time, None, file.requires_python)
        with suppress(BlobExists):
            await self._store.put_if_absent(layout.upstream_metadata(self.name, sha256), metadata.body, {})
        digest = hashlib.sha256(metadata.body).hexdigest()
        return _known(file, sha256, file.upload_time, digest, metadata.requires_python)

    async def _read(self, file: File) -> BlobFact:
        location = file.location
        if not isinstance(location, StoredFile) or file.size is None or file.upload_time is None:
            raise _Unreadable("it is not a blob")
        if not self._spool.has_room(file.size):
            raise _Unreadable("the spool has no room for it")
        with self._spool.reserve(file.size), self._spool.holding() as spooled:
            async for chunk in self._blobs.stream(location.path, 0, file.size):
                await spooled.append(chunk)
            if (await self._blobs.info(location.path)).etag != location.etag:
                raise BlobChanged("it was changed since it was listed")
            sha256 = spooled.digests()["sha256"]
            metadata = await asyncio.to_thread(_metadata, spooled, file.filename)
        if metadata is None:
            return _known(file, sha256, file.upload_time)
        with suppress(BlobExists):
            await self._store.put_if_absent(layout.metadata(sha256), metadata.body, {})
        digest = hashlib.sha256(metadata.body).hexdigest()
        return _known(file, sha256, file.upload_time, digest, metadata.requires_python)

    def _described(self, page: ProjectPage, known: Mapping[str, BlobFact], *, is_unread: bool = False) -> ProjectPage:
        made = self._made.get(page.project)
        learned = self._learned.get(page.project, 0)
        if made is None or made.of != page.revision or made.known is not known or made.learned != learned:
            files = FileList((self._with_facts(known, file) for file in page.files), [page.files])
            made = self._made[page.project] = _Shown(
                page.revision, known, learned, page.with_files(files, page.withheld), is_unread
            )
        return made.page.with_state_of(page)

    def _with_facts(self, known: Mapping[str, BlobFact], file: File) -> File:
        found, location = _fitting(known, file), file.location
        if found is not None or not isinstance(location, StoredFile):
            return _with_facts(known, file)
        asked = self._asked.get((location.path, location.etag))
        file = _with_facts(known, file)
        if asked is None or file.core_metadata is None:
            return file
        metadata = None if asked.metadata_sha256 is None else {"sha256": asked.metadata_sha256}
        return msgspec.structs.replace(
            file, core_metadata=metadata, requires_python=file.requires_python or asked.requires_python
        )


class _Shown(msgspec.Struct, frozen=True):
    """A page as it was shown last, and what it was made of."""

    of: int
    """The revision of the listing."""
    known: Mapping[str, BlobFact]
    learned: int
    page: ProjectPage
    is_unread: bool
    """Some of them could not be read yet."""


def _shown_bytes(shown: _Shown) -> int:
    return min(2 * files_bytes(shown.page.files), RECENT_BYTES)


def _known(
    file: File, sha256: str, seen: datetime, metadata_sha256: str | None = None, requires_python: str | None = None
) -> BlobFact:
    location = file.location
    if not isinstance(location, StoredFile):
        raise _Unreadable("it is not a blob")
    return BlobFact(location.etag, sha256, seen, metadata_sha256, requires_python, location.path)


def _fitting(known: Mapping[str, BlobFact], file: File) -> BlobFact | None:
    """What is known of this version of the file."""
    found, location = known.get(file.filename), file.location
    if found is None or not isinstance(location, StoredFile) or (found.path, found.etag) != (location.path, location.etag):
        return None
    return found


def _with_facts(known: Mapping[str, BlobFact], file: File) -> File:
    found = _fitting(known, file)
    if found is None:
        times = [] if file.upload_time is None else [file.upload_time]
        if (earlier := known.get(file.filename)) is not None:  # another version of it: its time stays
            times.append(earlier.seen)
        # Whoever wrote the facts may have had another store than ours: what metadata it has is read out of the wheel.
        is_wheel = file.filename.endswith(".whl")
        return msgspec.structs.replace(
            file, upload_time=min(times, default=None), core_metadata={} if is_wheel else None, metadata_in_wheel=is_wheel
        )
    return msgspec.structs.replace(
        file,
        hashes={"sha256": found.sha256},
        upload_time=found.seen,
        requires_python=found.requires_python,
        core_metadata={"sha256": found.metadata_sha256} if found.metadata_sha256 else None,
        metadata_in_wheel=found.metadata_sha256 is not None,
    )


def _is_complete(file: File) -> bool:
    """Whether whoever stored the file said everything that there is to say; of a wheel its metadata must be in our store."""
    return "sha256" in file.hashes and not file.filename.endswith(".whl")


def _newest_first(files: Sequence[File]) -> list[File]:
    return sorted(files, key=lambda file: file.upload_time.timestamp() if file.upload_time else 0.0, reverse=True)


def _metadata(spooled: SpoolFile, filename: str) -> CoreMetadata | None:
    if not filename.endswith(".whl"):
        return None
    try:
        with spooled.path.open("rb") as wheel:
            return read_core_metadata(wheel, filename)
    except BadWheel as error:
        _log.warning("%s offers no core metadata: it %s", filename, error)
        return None
    except InvalidWheelFilename:
        return None
    except OSError as error:
        raise StoreError(f"it cannot be read: {error.strerror}") from None
