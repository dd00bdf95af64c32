"""Listed files of a folder: opened as they were listed, or not at all, and read for what their pages say of them."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from io import FileIO
from pathlib import Path

import msgspec

from wheelgate.core.errors import StoreError
from wheelgate.core.model import File, LocalFile, file_etag
from wheelgate.distfiles.core_metadata import BadWheel, read_core_metadata
from wheelgate.runtime.regular_file import open_below

_TICK_S = 0.05
"""File systems count time in ticks: a file that was written in this one may be written again in it, and look the same."""
_log = logging.getLogger(__name__)


def open_listed(file: File, location: LocalFile) -> FileIO:
    """Open a listed file, unbuffered, and judge it.

    Raises:
        StoreError: it is no longer the one that was listed.
    """
    try:
        body = open_below(Path(location.root), os.path.relpath(location.path, location.root))
    except FileNotFoundError:
        raise StoreError(f"{file.filename} was removed from source {file.source}") from None
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise StoreError(f"{file.filename} of source {file.source} can no longer be read: {why}") from None
    try:
        check_unchanged(file, location, body)
    except StoreError:
        body.close()
        raise
    return body


def check_unchanged(file: File, location: LocalFile, body: FileIO) -> None:
    """Check that an open file is as it was listed: so is everything that was read of it before; :class:`StoreError` if not."""
    if file_etag(os.fstat(body.fileno())) != location.etag:
        raise StoreError(f"{file.filename} is being replaced in source {file.source}: try again")


def describe_listed(file: File, location: LocalFile, now_s: float) -> File | None:
    """Add what is in a file; ``None`` if it is no longer the one that was found (still being written, or replaced)."""
    with open_below(Path(location.root), os.path.relpath(location.path, location.root)) as body:
        time.sleep(min(_TICK_S, max(0.0, os.fstat(body.fileno()).st_ctime + _TICK_S - now_s)))
        sha256 = hashlib.file_digest(body, "sha256").hexdigest()
        described = msgspec.structs.replace(file, hashes={"sha256": sha256}, core_metadata=None)
        metadata = None
        if file.filename.endswith(".whl"):
            try:
                metadata = read_core_metadata(body, file.filename)
            except BadWheel as error:
                _log.warning("%s offers no core metadata: it %s", location.path, error)
        if file_etag(os.fstat(body.fileno())) != location.etag:
            return None
        if metadata is None:
            return described
        offered = {"sha256": hashlib.sha256(metadata.body).hexdigest()}
        return msgspec.structs.replace(described, core_metadata=offered, requires_python=metadata.requires_python)
