"""A watch over the emulator itself: what replicas cannot be blamed for is told apart from what they can.

A thread asks it for the properties of one blob every half second, past all replicas, and on no event loop that others keep busy.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from azure.storage.blob import BlobSasPermissions, generate_blob_sas

from tests.support.azurite import ACCOUNT, KEY

EVERY_S = 0.5
SILENCE_S = 2.0
"""An answer that takes longer is a silence of the store."""
RECOVERY_S = 5.0
"""How long after a silence replicas may still take the store for silent."""
MOST_SILENT = 0.05
"""The part of the time during which the store may be silent; beyond, nothing was measured."""
_GIVE_UP_S = 30.0


@dataclass(frozen=True)
class Silence:
    """A time without an answer, in seconds of the monotonic clock."""

    from_s: float
    until_s: float


@dataclass
class StoreWatch:
    """What was seen of the emulator."""

    silences: list[Silence] = field(default_factory=list)
    answers_s: list[float] = field(default_factory=list)
    """How long each answer took."""
    began_s: float = field(default_factory=time.monotonic)
    ended_s: float | None = None

    def add(self, from_s: float, until_s: float) -> bool:
        """Add one request; tell whether it was a silence. It may have begun right after the answer before."""
        self.answers_s.append(until_s - from_s)
        if until_s - from_s <= SILENCE_S:
            return False
        self.silences.append(Silence(from_s - EVERY_S, until_s))
        return True

    def excuses(self, since_s: float, until_s: float) -> bool:
        """True if what went wrong between two moments overlaps a silence, or the recovery from one."""
        return any(since_s <= silence.until_s + RECOVERY_S and silence.from_s <= until_s for silence in self.silences)

    @property
    def silent_s(self) -> float:
        """Seconds of all silences."""
        return sum(silence.until_s - silence.from_s for silence in self.silences)

    @property
    def silent_part(self) -> float:
        """The part of the time that they took."""
        return self.silent_s / max(1e-9, (self.ended_s or time.monotonic()) - self.began_s)


@contextmanager
def watching(store_url: str, blob: str, note: Callable[[str], object]) -> Iterator[StoreWatch]:
    """Watch the store as long as the block runs. ``note``: writes a silence down, called on another thread."""
    container = store_url.rpartition("/")[2]
    query = generate_blob_sas(
        ACCOUNT,
        container,
        blob,
        account_key=KEY,
        permission=BlobSasPermissions(read=True),
        expiry=datetime.now(UTC) + timedelta(days=1),
    )
    watch, stop = StoreWatch(), threading.Event()
    thread = threading.Thread(target=_watch, args=(f"{store_url}/{blob}?{query}", watch, stop, note), daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        stop.set()
        thread.join(_GIVE_UP_S + 1)
        watch.ended_s = time.monotonic()


def _watch(url: str, watch: StoreWatch, stop: threading.Event, note: Callable[[str], object]) -> None:
    asker = _Asker(url)
    while not stop.wait(EVERY_S):
        asked_s = time.monotonic()
        while not asker.is_answered() and not stop.wait(0.05):
            pass
        if watch.add(asked_s, time.monotonic()):
            note(f"the store was silent for {time.monotonic() - asked_s:.1f} s")
    asker.close()


class _Asker:
    """One connection to the emulator, made anew when it breaks."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = f"{parts.path}?{parts.query}"
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_GIVE_UP_S)

    def is_answered(self) -> bool:
        """Ask once; true if anything was answered."""
        try:
            self._connection.request("HEAD", self._target)
            self._connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return False
        return True

    def close(self) -> None:
        self._connection.close()
