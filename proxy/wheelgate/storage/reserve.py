"""Reserve: room on a disk that is given up for what has to be written although the disk is full, and taken again afterwards.

Deleting, revoking and yanking write a little before they free anything. In several files, since a disk may lack inodes too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from wheelgate.runtime.durable import file_lock

_PIECES = 8
_PIECE_BYTES = 32 * 1024


class DiskReserve:
    """The reserve of one store, in a folder of its own. Processes share it: whoever spent it takes it again."""

    def __init__(self, folder: Path, *, pieces: int = _PIECES, piece_bytes: int = _PIECE_BYTES) -> None:
        self._pieces = [folder / str(number) for number in range(pieces)]
        self._folder = folder
        self._piece_bytes = piece_bytes
        self._is_whole = False

    def keep(self) -> bool:
        """Take the room, or as much of it as there is; ``False``: there is not enough for all of it.

        Not to be called with a lock held that somebody who spends it may wait for.
        """
        if not self._is_whole:
            try:
                self._folder.mkdir(exist_ok=True)
                with file_lock(self._folder):
                    self._take_all()
            except OSError:  # the next one who frees something tries again
                return False
        return True

    def _take_all(self) -> None:
        for piece in self._pieces:
            self._take(piece)
        self._is_whole = True

    def _take(self, piece: Path) -> None:
        try:
            descriptor = os.open(piece, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
        except FileExistsError:
            return
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, 0, self._piece_bytes)
            else:
                os.write(descriptor, os.urandom(self._piece_bytes))
        except OSError:
            piece.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)

    @contextmanager
    def spent(self) -> Iterator[None]:
        """Give the room up inside the block; one at a time, or one would take again what another one still needs."""
        with file_lock(self._folder) if self._folder.is_dir() else nullcontext():
            self._is_whole = False
            for piece in self._pieces:
                piece.unlink(missing_ok=True)
            try:
                yield
            finally:
                with suppress(OSError):
                    self._take_all()
