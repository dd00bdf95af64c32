"""Record of the latest changes of the store: which kinds and keys, and how many there were before them.

One small JSON document. ``recent`` ends with entry number ``sequence``; whoever has seen all up to a number finds what came
after it, or that some of it is not there any more. A number means something within one ``epoch`` alone: who finds no log, or
one that cannot be read, begins another.
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec

_FORMAT = 1
_MAX_ENTRIES = 500
_MAX_KEY_BYTES = 32 * 1024
"""Of all keys together. Every replica reads the record whenever it changes."""
_FIRST_RELEASES = re.compile(rb"[0-9a-f]{32}")
"""Their record says only that something changed."""
_log = logging.getLogger(__name__)


class Kind(StrEnum):
    """The kinds of change that replicas tell each other. One that a release does not know concerns nothing that it holds."""

    PACKAGE = "package"
    """The key is a project: files came, went, or were yanked."""
    CLAIM = "claim"
    """The key is a project: it was claimed or released."""
    TOKEN = "token"  # noqa: S105 - a word, not a secret
    """The key is a token's identifier: it was made or revoked."""
    RECORD = "record"
    """The key is a project: what is remembered of one of its files was forgotten."""
    OTHER = "other"
    """Of a newer release."""

    @classmethod
    def _missing_(cls, value: object) -> Kind:  # noqa: ARG003
        return cls.OTHER


class Change(NamedTuple):
    """One kind and key that changes."""

    kind: Kind
    key: str | None
    """``None``: anything of this kind."""


class ChangeEntry(NamedTuple):
    """One line of the log, as it is stored: a change that is about to be made, or was made."""

    kind: str
    key: str
    number: str
    """Of the announcement, the same before and after the change."""
    is_made: bool

    @property
    def change(self) -> Change:
        return Change(Kind(self.kind), self.key or None)


EVERYTHING = tuple(Change(kind, None) for kind in Kind)


class ChangeLog(msgspec.Struct, frozen=True):
    """The record, as it is stored."""

    format: int
    epoch: str
    sequence: int
    recent: tuple[ChangeEntry, ...]
    """Oldest first."""

    def encode(self) -> bytes:
        """The body of the record."""
        return msgspec.json.encode(self)

    def extend(self, entries: Sequence[ChangeEntry]) -> ChangeLog:
        """The log with these at its end, and without the oldest ones that are too many then."""
        recent = [*self.recent, *entries][-_MAX_ENTRIES:]
        size_bytes = sum(len(entry.key) for entry in recent)
        while size_bytes > _MAX_KEY_BYTES:
            size_bytes -= len(recent.pop(0).key)
        return msgspec.structs.replace(self, sequence=self.sequence + len(entries), recent=tuple(recent))

    def find_after(self, seen: ChangeLog | None) -> Sequence[ChangeEntry] | None:
        """The entries that came after another state of the log; ``None``: that was of another epoch, or too long ago.

        ``seen``: ``None``: there was no log.
        """
        missed = self.sequence - (0 if seen is None else seen.sequence)
        if (seen is not None and seen.epoch != self.epoch) or not 0 <= missed <= len(self.recent):
            return None
        return self.recent[len(self.recent) - missed :]


def begin_log(*, after_another: bool) -> ChangeLog:
    """A log of an epoch of its own, without changes.

    ``after_another``: there was one that is gone or cannot be read, so whoever knew none has missed what stood there: an entry
    that nobody has is counted for it.
    """
    return ChangeLog(_FORMAT, uuid.uuid4().hex, 1 if after_another else 0, ())


def decode_log(body: bytes) -> ChangeLog:
    """Read a stored log.

    What is damaged, or of another release's format, counts as a log that nobody has seen before: whoever reads it takes
    everything for changed, and whoever writes next replaces it.
    """
    try:
        log = msgspec.json.decode(body, type=ChangeLog)
        if log.format == _FORMAT:
            return log
    except (msgspec.MsgspecError, UnicodeDecodeError):
        if not _FIRST_RELEASES.fullmatch(body):
            _log.warning("the store's record of changes is damaged: everything counts as changed, and the next change mends it")
    return begin_log(after_another=True)
