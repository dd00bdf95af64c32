"""Checks of uploads in threads of their own, so many at once: whatever is uploaded, it keeps nothing else waiting."""

from __future__ import annotations

import asyncio
import io
import os
import threading
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path

import msgspec

from wheelgate.core.errors import Busy, StoreError, UploadRefused
from wheelgate.distfiles.attestations import BadAttestation, build_provenance
from wheelgate.distfiles.core_metadata import BadWheel, CoreMetadata
from wheelgate.distfiles.sdists import BadSdist, check_sdist
from wheelgate.distfiles.wheels import check_wheel
from wheelgate.runtime.regular_file import open_regular

_AT_ONCE = 2
_MAX_WAITING = 16
_HELPERS = max(1, min(4, os.cpu_count() or 1) - _AT_ONCE)
"""Threads that all checks together have beside their own."""
_BUSY_S = 2.0
_LONGEST_ATTESTED = 200


class ReceivedFile(msgspec.Struct, frozen=True):
    """An upload that has arrived, in a file that nobody writes any more."""

    path: Path
    filename: str
    """The name it is to have."""
    sha256: str
    """Of its bytes, computed as they were written there."""
    attestations: str | None = None
    """Of this file, as the upload form carries them (PEP 740)."""


class CheckedFile(msgspec.Struct, frozen=True):
    """An upload that was checked, and its facts."""

    filename: str
    project: str
    sha256: str
    metadata: CoreMetadata | None
    provenance: bytes | None = None


class UploadChecks:
    """Checks of uploads, two at once; beyond those that may wait they are refused for now."""

    def __init__(self, max_waiting: int = _MAX_WAITING) -> None:
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="check")
        self._helpers = ThreadPoolExecutor(_HELPERS, thread_name_prefix="inflate")
        self._places = threading.BoundedSemaphore(_AT_ONCE + max_waiting)
        self._closed = threading.Event()

    async def run(self, received: ReceivedFile, project: str, now: datetime) -> CheckedFile:
        """Check a file. If the caller is cancelled, the check ends at its next piece.

        Raises:
            UploadRefused: it is not what its name or its attestations say.
            Busy: too many others are being checked.
            StoreError: it cannot be read, or the server stops.
        """
        if self._closed.is_set():
            raise StoreError(f"{received.filename} cannot be checked now: the server is stopping")
        if not self._places.acquire(blocking=False):
            busy = f"busy here: too many uploads are being checked to check {received.filename} now"
            raise Busy(busy, retry_after_s=_BUSY_S)
        ended = threading.Event()
        check = partial(_check_file, received, project, now, self._helpers, (ended, self._closed))
        running = asyncio.get_running_loop().run_in_executor(self._threads, self._keep_place, check)
        running.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may be there to hear it
        try:
            return await asyncio.shield(running)
        finally:
            ended.set()

    def _keep_place(self, check: partial[CheckedFile]) -> CheckedFile:
        try:
            return check()
        finally:
            self._places.release()

    def close(self) -> None:
        """Begin no more checks, and let those that run end at their next piece."""
        self._closed.set()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._helpers.shutdown(wait=False, cancel_futures=True)


class _StoppableFile(io.BufferedReader):
    """A file that cannot be read any more once one of ``stops`` is set."""

    def __init__(self, raw: io.FileIO, stops: tuple[threading.Event, ...]) -> None:
        super().__init__(raw)
        self._stops = stops

    def read(self, size: int | None = -1, /) -> bytes:
        if any(stop.is_set() for stop in self._stops):
            raise InterruptedError(None, "nobody waits for it any more")
        return super().read(size)


def _check_file(
    received: ReceivedFile, project: str, now: datetime, helpers: Executor, stops: tuple[threading.Event, ...]
) -> CheckedFile:
    filename, metadata = received.filename, None
    try:
        with _StoppableFile(open_regular(received.path), stops) as file:
            if filename.endswith(".whl"):
                metadata = check_wheel(file, filename, helpers)
            else:
                check_sdist(file, filename, helpers)
    except (BadWheel, BadSdist) as error:
        raise UploadRefused(f"{filename} cannot be accepted: it {error}") from None
    except OSError as error:
        raise StoreError(f"{filename} cannot be read: {(error.strerror or '').lower()}") from None
    provenance = None
    if received.attestations is not None:
        if len(filename) > _LONGEST_ATTESTED:
            raise UploadRefused(f"{filename} cannot be accepted with attestations: its name is too long to store them beside it")
        try:
            provenance = build_provenance(received.attestations, filename, received.sha256, now)
        except BadAttestation as error:
            raise UploadRefused(f"{filename} cannot be accepted: its attestations {error}") from None
    return CheckedFile(filename, project, received.sha256, metadata, provenance)
