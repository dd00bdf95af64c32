"""Change notification between processes: one small record, rewritten before and after each change of the store, polled by all.

A change is announced *before* it is made. Announced only afterwards, one whose announcement is lost (the process dies in between,
the answer never arrives) would stay unknown for good to whoever remembers the state of before. So an announcement means: this
key changes about now. Whoever hears of it forgets what it knows of the key, and does so again at each look until it hears that
the change was made, or until that must have happened or failed.
"""

from __future__ import annotations

import asyncio
import logging
import math
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from wheelgate.core.errors import BlobChanged, BlobDamaged, BlobNotFound, StoreError
from wheelgate.core.protocols import BlobStore, Clock
from wheelgate.runtime.signal import Listener, Signal
from wheelgate.runtime.singleflight import SingleFlight
from wheelgate.storage import layout
from wheelgate.storage.change_log import EVERYTHING, Change, ChangeEntry, ChangeLog, Kind, begin_log, decode_log

WATCH_INTERVAL_S = 2.0
UNSETTLED_S = 30.0
"""How long after its announcement a change may still reach the store; nobody relies on what it knows of the key meanwhile."""
_HEARD_S = 5 * WATCH_INTERVAL_S
_MAX_UNSETTLED = 10_000
_MAX_UNTOLD = 500
"""Beyond, the oldest are dropped: whoever waits for them waits out their time."""
_TRIES = 20
_log = logging.getLogger(__name__)


class Announcement:
    """Changes that everybody has been told of, and that are to be made within 30 s from then on."""

    def __init__(self, changes: StoreChanges, announced: tuple[Change, ...]) -> None:
        self._changes = changes
        self._number = uuid.uuid4().hex[:8]
        self._announced = announced
        self._at_s = -math.inf

    async def renew(self) -> None:
        """Announce once more what was announced a while ago: to be called right before a write that comes late.

        Raises:
            StoreError: others could not be told, so nothing may be written.
        """
        if self._changes.clock.monotonic() - self._at_s > UNSETTLED_S / 2:
            began_s = self._changes.clock.monotonic()
            await self._changes.write(self._list_entries(is_made=False))
            self._at_s = began_s

    async def conclude(self) -> None:
        """Tell that the changes were made. What cannot be told now is told later."""
        await self._changes.write_or_keep(self._list_entries(is_made=True))

    def _list_entries(self, *, is_made: bool) -> list[ChangeEntry]:
        return [ChangeEntry(change.kind.value, change.key or "", self._number, is_made) for change in self._announced]


class StoreChanges:
    """Announces changes of packages, claims and tokens by their keys, and passes on to this process's caches what was announced.

    Watching costs one look at one ETag every two seconds, however many projects there are: hence "within 5 s on every
    replica" without a listing per page. A replica that missed more than the record holds takes everything for changed.
    """

    def __init__(self, store: BlobStore, clock: Clock) -> None:
        self.clock = clock
        self.looked = Signal()
        """Emitted after each look that the store answered: whoever waits to reach it may try again."""
        self._untold: list[ChangeEntry] = []
        """Changes that were made, and nobody could be told."""
        self._store = store
        self._signals = {kind: Signal() for kind in Kind}
        self._log: ChangeLog | None = None
        """As it was seen last, under its ETag; ``None``: there is none."""
        self._etag: str | None = None
        self._heard_s = -math.inf
        self._unsettled: dict[tuple[Change, str], float] = {}
        """Changes that may not have been made yet, by announcement, each until a moment (monotonic)."""
        self._pending: list[ChangeEntry] = []
        self._turn = asyncio.Lock()
        self._flights: SingleFlight[None] = SingleFlight()
        self._number = 0
        """Of the rewriting of the record that has not begun yet."""

    def subscribe(self, kind: Kind, listener: Listener) -> None:
        """Call ``listener`` with the key of whatever changes; ``None``: of anything of this kind."""
        self._signals[kind].subscribe(listener)

    def emit(self, change: Change) -> None:
        """Tell this process alone."""
        self._signals[change.kind].emit(change.key)

    @property
    def _has_looked(self) -> bool:
        return self._heard_s != -math.inf

    @property
    def is_heard(self) -> bool:
        """True while announcements reach this process, so that what it remembers "until told" may be relied on."""
        return self.silent_s < _HEARD_S

    @property
    def silent_s(self) -> float:
        """Seconds since the store was last asked successfully; infinite in a process that does not watch it."""
        return self.clock.monotonic() - self._heard_s

    @asynccontextmanager
    async def changing(self, *changes: Change, here: bool = True) -> AsyncIterator[Announcement]:
        """Make changes inside the block: everybody else is told before and after it, and this process after it, however it ends.

        ``here=False``: a block that succeeds tells this process itself.

        Raises:
            StoreError: others could not be told, and the block was not entered.
        """
        announcement = Announcement(self, changes)
        await announcement.renew()
        try:
            yield announcement
        except BaseException:  # it may have been made, or be on its way
            self._unsettle(changes)
            self._emit_all(changes)
            raise
        if here:
            self._emit_all(changes)
        await announcement.conclude()

    async def write(self, entries: Sequence[ChangeEntry]) -> None:
        """Add to the record, or raise :class:`StoreError`."""
        self._pending += entries
        # One at a time, or they would be in each other's way; who comes while one is being written shares the next.
        await self._flights.run(self._number, self._write_in_turn)

    async def write_or_keep(self, entries: list[ChangeEntry]) -> None:
        """Add to the record now, or else after a later look."""
        try:
            await self.write(entries)
        except StoreError:
            self._untold = (self._untold + entries)[-_MAX_UNTOLD:]

    async def _write_in_turn(self) -> None:
        async with self._turn:
            self._number += 1  # what comes from here on is not in this one
            entries, self._pending = self._pending, []
            log, etag = self._log, self._etag  # mostly nobody else has announced anything since we looked last
            if not self._has_looked and log is None:  # a command: others have announced something before it
                log, etag = await self._read()
                if not self._has_looked:  # else what stands there was not heard, and has to be
                    self._log, self._etag = log, etag
            is_first = log is None
            for tries in range(_TRIES):
                longer = (log or begin_log(after_another=not is_first)).extend(entries)
                try:
                    written = await self._store.replace_if(layout.CHANGED, longer.encode(), etag)
                except BlobChanged:
                    log, etag = await self._read()
                    is_first = False
                    continue
                except BlobDamaged:
                    await self._store.delete(layout.CHANGED)  # every replica takes everything for changed
                    log, etag, is_first = None, None, False
                    continue
                if etag == self._etag and not tries:
                    self._log, self._etag = longer, written
                return  # else others announced something as well, of which the next look must tell
        raise StoreError("the store's changes could not be announced: too many writers at once, try again")

    async def look(self) -> None:
        """Ask once whether somebody announced a change, and if so pass it on; or :class:`StoreError`."""
        began_s = self.clock.monotonic()
        is_first, etag = not self._has_looked, await self._find_etag()
        if etag != self._etag or (is_first and etag is not None):
            seen = self._log
            self._log, self._etag = await self._read()
            self._hear(seen, is_first=is_first)
        self._heard_s = began_s
        now_s = self.clock.monotonic()
        self._emit_all(dict.fromkeys(change for change, _ in self._unsettled))
        self._unsettled = {known: until_s for known, until_s in self._unsettled.items() if until_s >= now_s}
        if self._untold:
            untold, self._untold = self._untold, []
            await self.write_or_keep(untold)
        self.looked.emit()

    def _hear(self, seen: ChangeLog | None, *, is_first: bool) -> None:
        """Pass on what the record says since another state of it."""
        entries = None if self._log is None or is_first else self._log.find_after(seen)
        if entries is None:
            self._emit_all(EVERYTHING)
            if not is_first:  # another release's record, or more than it holds: of what is unsettled nothing is known
                self._unsettle(EVERYTHING)
            entries = () if self._log is None else self._log.recent
        for entry in entries:
            if entry.is_made:
                self._unsettled.pop((entry.change, entry.number), None)
                self.emit(entry.change)
            else:
                self._unsettle([entry.change], entry.number)

    def _emit_all(self, changes: Iterable[Change]) -> None:
        for change in changes:
            self.emit(change)

    async def watch(self) -> None:
        """Poll for ever, whatever fails: a process that stopped looking would serve revoked tokens and deleted files."""
        while True:
            try:
                await self.look()
            except StoreError as error:
                _log.debug("the store cannot be asked for changes: %s", error)
            except Exception:
                _log.exception("looking for changes in the store failed")
            await asyncio.sleep(WATCH_INTERVAL_S)

    def _unsettle(self, changes: Iterable[Change], number: str = "") -> None:
        """Pass changes on again at each look until they must have been made."""
        if len(self._unsettled) > _MAX_UNSETTLED:
            self._unsettled.clear()
            changes = EVERYTHING
        until_s = self.clock.monotonic() + UNSETTLED_S
        self._unsettled.update(((change, number), until_s) for change in changes)

    async def _read(self) -> tuple[ChangeLog | None, str | None]:
        try:
            body, info = await self._store.read(layout.CHANGED)
        except (BlobNotFound, BlobDamaged):
            return None, None
        return decode_log(body), info.etag

    async def _find_etag(self) -> str | None:
        try:
            return (await self._store.info(layout.CHANGED)).etag
        except (BlobNotFound, BlobDamaged):
            return None
