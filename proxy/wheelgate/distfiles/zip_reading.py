"""The bytes of an uploaded zip file, all of them: headers, data, checksums."""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, wait
from typing import IO

from isal import isal_zlib

from wheelgate.distfiles import zip_directory
from wheelgate.distfiles.member_names import MemberNames, show_name
from wheelgate.distfiles.zip_directory import DEFLATED, DESCRIPTOR, Entry
from wheelgate.runtime.bounded_gzip import MAX_RATIO

_PIECE_BYTES = 256 * 1024
_FREE_BYTES = 64 * 1024 * 1024
MAX_INFLATED_BYTES = 16 * 1024**3
"""Twice what the largest wheels that are known inflate to."""
_MAX_HELPERS = 3
"""That many, if they are free, inflate one upload beside its own thread: zlib and the digests leave the interpreter to others."""
_INLINE_BYTES = 1024 * 1024
"""Inflated: less is checked before threads have started."""
_DESCRIPTOR_SIGNATURE = b"PK\x07\x08"


class _File:
    """A file of which several threads read parts."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._lock = threading.Lock()

    def read_at(self, start: int, size: int) -> bytes:
        """Read bytes from ``start`` on; fewer only at the end."""
        with self._lock:
            self._file.seek(start)
            return self._file.read(size)


class _FilePart:
    """A file read onwards from one place."""

    def __init__(self, file: _File, at: int) -> None:
        self._file = file
        self.at = at

    def take(self, size: int) -> bytes:
        """The next bytes; fewer only at the end."""
        taken = self._file.read_at(self.at, size)
        self.at += len(taken)
        return taken


class ZipReader:
    """Strict reader of one zip file, for its readers of wheels and sdists.

    Every method raises ``bad``, whose message completes "it ...", where the file breaks a rule.
    """

    def __init__(self, file: IO[bytes], bad: type[ValueError]) -> None:
        """Read the table of contents, and check what can be told from it alone."""
        self._file = _File(file)
        self._bad = bad
        directory = zip_directory.read_directory(file, bad)
        self._start = directory.start
        size_bytes = file.seek(0, 2)
        self.entries = directory.entries
        self.by_name = {entry.name: entry for entry in self.entries}
        total = sum(entry.size_bytes for entry in self.entries)
        if total > min(max(size_bytes * MAX_RATIO, _FREE_BYTES), MAX_INFLATED_BYTES):
            largest = max(self.entries, key=lambda entry: entry.size_bytes)
            raise bad(f"inflates to far more than a distribution needs ({total} bytes), most of all {show_name(largest.name)}")

    def check_names(self, *, folds_case: bool) -> None:
        """Check that each entry has a place of its own (:class:`~wheelgate.distfiles.member_names.MemberNames`)."""
        names = MemberNames(self._bad, folds_case=folds_case)
        for entry in self.entries:
            names.add(entry.name)
        names.check()

    def read(self, name: str, max_bytes: int) -> bytes | None:
        """Read an entry by itself; ``None``: there is none of that name."""
        entry = self.by_name.get(name)
        if entry is None:
            return None
        if entry.size_bytes > max_bytes:
            limit = f"{max_bytes // 1024**2} MiB" if max_bytes >= 1024**2 else f"{max_bytes // 1024} KiB"
            raise self._bad(f"has {show_name(name)} larger than {limit}")
        return b"".join(self._read_entry(_FilePart(self._file, entry.offset), entry))

    def check_contents(self, check: Callable[[Entry, Iterator[bytes]], None], helpers: Executor | None = None) -> None:
        """Check every byte of the file.

        The content of each entry goes through ``check``, which reads it; of a large file in ``helpers`` too, as far as
        these are free. Of several faults, the first in the order of the file is raised.
        """
        if self.entries and self.entries[0].offset:
            raise self._bad(f"has bytes that belong to no entry before {show_name(self.entries[0].name)}")
        waiting = iter(range(len(self.entries)))
        lock = threading.Lock()
        faults: dict[int, ValueError] = {}

        def work() -> None:
            while not faults:
                with lock:
                    number = next(waiting, None)
                if number is None:
                    return
                try:
                    self._check_entry(number, check)
                except self._bad as fault:
                    faults[number] = fault

        is_large = sum(entry.size_bytes for entry in self.entries) > _INLINE_BYTES
        helping = [helpers.submit(work) for _ in range(_MAX_HELPERS)] if helpers is not None and is_large else []
        try:
            work()
        finally:
            started = [helper for helper in helping if not helper.cancel()]
            wait(started)
        for helper in started:
            helper.result()
        if faults:
            raise faults[min(faults)]

    def _check_entry(self, number: int, check: Callable[[Entry, Iterator[bytes]], None]) -> None:
        """Check one entry, and that the next one begins at its end."""
        entry = self.entries[number]
        part = _FilePart(self._file, entry.offset)
        pieces = self._read_entry(part, entry)
        check(entry, pieces)
        for _ in pieces:
            pass
        following = self.entries[number + 1] if number + 1 < len(self.entries) else None
        end = self._start if following is None else following.offset
        if part.at != end:
            what = "bytes that belong to no entry" if part.at < end else "entries that share bytes,"
            before = "its table of contents" if following is None else show_name(following.name)
            raise self._bad(f"has {what} before {before}")

    def _read_entry(self, source: _FilePart, entry: Entry) -> Iterator[bytes]:
        """Read an entry that begins here, in pieces; and compare what its two headers say with what comes."""
        head = source.take(zip_directory.LOCAL_BYTES)
        rest = source.take(zip_directory.measure_local(head, entry, self._bad))
        local = zip_directory.parse_local(head, rest, self._bad)
        shown = show_name(entry.name)
        if local.raw_name != entry.raw_name or (local.flags, local.method) != (entry.flags, entry.method):
            raise self._bad(f"has an entry whose two headers differ in name, flags or method: {shown}")
        stated = (local.crc, local.packed_bytes, local.size_bytes)
        in_directory = (entry.crc, entry.packed_bytes, entry.size_bytes)
        if stated != in_directory and not (entry.flags & DESCRIPTOR and stated == (0, 0, 0)):
            raise self._bad(f"has an entry whose two headers differ in checksum or size: {shown}")
        crc = 0
        for piece in self._inflate(source, entry):
            crc = isal_zlib.crc32(piece, crc)
            yield piece
        if crc != entry.crc:
            raise self._bad(f"has an entry with a wrong checksum: {shown}")
        if entry.flags & DESCRIPTOR:
            form = struct.Struct("<L2Q" if local.is_zip64 else "<3L")
            behind = source.take(form.size)
            if behind.startswith(_DESCRIPTOR_SIGNATURE):
                behind = behind[4:] + source.take(4)
            if len(behind) != form.size or form.unpack(behind) != in_directory:
                raise self._bad(f"has an entry whose data descriptor differs from its headers: {shown}")

    def _inflate(self, source: _FilePart, entry: Entry) -> Iterator[bytes]:
        left = entry.packed_bytes
        if entry.method != DEFLATED:
            while left:
                piece = source.take(min(left, _PIECE_BYTES))
                if not piece:
                    raise self._bad(f"is cut short in {show_name(entry.name)}")
                left -= len(piece)
                yield piece
            return
        inflater = zlib.decompressobj(wbits=-15)  # pip's own: isal takes streams that it refuses
        size = 0
        chunk = piece = b""
        while not inflater.eof and size <= entry.size_bytes:
            if not chunk and len(piece) < _PIECE_BYTES:  # else more of the last one may wait inside
                chunk = source.take(min(left, _PIECE_BYTES))
                if not chunk:
                    break
                left -= len(chunk)
            try:
                piece = inflater.decompress(chunk, _PIECE_BYTES)
            except zlib.error:
                raise self._bad(f"has an entry that cannot be inflated: {show_name(entry.name)}") from None
            chunk = inflater.unconsumed_tail
            size += len(piece)
            yield piece
        if size != entry.size_bytes or left or inflater.unused_data or not inflater.eof:
            raise self._bad(f"has an entry of another size than its headers say: {show_name(entry.name)}")
