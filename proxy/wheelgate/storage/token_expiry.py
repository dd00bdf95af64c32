"""Removal of expired tokens: once a day, by whichever process comes first, long after nobody could use them any more."""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from datetime import datetime, timedelta

from wheelgate.core.errors import BlobChanged, BlobDamaged, BlobExists, BlobNotFound, StoreError
from wheelgate.core.protocols import BlobInfo, BlobStore, Clock
from wheelgate.storage import layout
from wheelgate.storage.tokens import EXPIRES, DamagedToken, Tokens

KEPT = timedelta(days=7)
"""How long an expired token's record stays: its holder hears that it expired, and no clock is wrong by that much unnoticed."""
EVERY = timedelta(days=1)
_FIRST_WITHIN_S = 3600.0
_RETRY_S = 600.0
_MOST = 1_000
"""Tokens that are removed in a day."""
_log = logging.getLogger(__name__)


class ExpiredTokens:
    """The tokens of one store whose time is over."""

    def __init__(self, store: BlobStore, clock: Clock, tokens: Tokens) -> None:
        self._store = store
        self._clock = clock
        self._tokens = tokens

    async def keep_removing(self) -> None:
        """Remove them for ever, whatever fails. Processes that start together begin at different moments."""
        wait_s = random.uniform(0, _FIRST_WITHIN_S)  # noqa: S311 - spreads load, guards nothing
        while True:
            await asyncio.sleep(wait_s)
            wait_s = EVERY.total_seconds()
            try:
                if removed := await self.remove():
                    _log.info("removed %d tokens that had expired more than %d days ago", removed, KEPT.days)
            except StoreError as error:
                _log.debug("expired tokens cannot be removed: %s", error)
                wait_s = _RETRY_S
            except Exception:
                _log.exception("removing expired tokens failed")

    async def remove(self) -> int:
        """Remove those that expired a week ago or earlier, unless somebody did today; the number of them.

        A token goes only if it is over by the clock of this machine and by that of the store, whichever is behind. Nobody need be
        told: it let nobody in.

        Raises:
            StoreError: the store cannot be used now.
        """
        stores_now = await self._take_turn()
        if stores_now is None:
            return 0
        latest = min(self._clock.now(), stores_now) - KEPT
        count = 0
        async for info in self._store.list(layout.TOKENS):
            expires = await self._find_expiry(info)
            if expires is not None and expires < latest:
                await self._store.delete(info.path)
                count += 1
                if count == _MOST:
                    break
        return count

    async def _take_turn(self) -> datetime | None:
        """Take the turn of today, and return what the store's clock says; ``None``: somebody else has it."""
        try:
            last = await self._store.info(layout.EXPIRED)
        except BlobNotFound:
            pass
        except BlobDamaged:
            await self._store.delete(layout.EXPIRED)
        else:
            if abs(self._clock.now() - last.created) < EVERY:
                return None
            try:
                await self._store.delete(last.path, last.etag)
            except (BlobChanged, BlobNotFound):
                return None
        try:
            mine = await self._store.put_if_absent(layout.EXPIRED, b"", {"by": uuid.uuid4().hex})
        except BlobExists:
            return None
        return mine.created

    async def _find_expiry(self, info: BlobInfo) -> datetime | None:
        """When a listed token expires, aware; ``None``: that cannot be told, so it stays."""
        try:
            if stated := info.facts.get(EXPIRES):
                expires = datetime.fromisoformat(stated)
                return None if expires.tzinfo is None else expires
            return (await self._tokens.read(info.path.removeprefix(layout.TOKENS))).expires  # of an earlier release
        except (ValueError, BlobNotFound, DamagedToken):
            return None
