"""Short-lived URLs that read one blob: shared access signatures, made without asking anybody.

Within a window every request for a blob gets the same URL, so that pip's cache, which goes by the URL, hits; what is left of its
life is always enough for a download. The delegation key behind them is fetched once for many days of URLs, and its times are
rounded, so that replicas sign alike.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

from azure.core.exceptions import AzureError
from azure.storage.blob import BlobSasPermissions, UserDelegationKey, generate_blob_sas
from azure.storage.blob.aio import BlobServiceClient
from cachetools import LRUCache

from wheelgate.core.errors import UpstreamError
from wheelgate.core.protocols import Clock
from wheelgate.runtime.background import BackgroundTasks
from wheelgate.runtime.silence_breaker import SilenceBreaker
from wheelgate.runtime.singleflight import SingleFlight

_SKEW = timedelta(minutes=15)
"""Clocks differ: a signature is valid from a while ago."""
_KEY_PERIOD = timedelta(days=1)
_KEY_LIFE = timedelta(days=3)
"""Azure refuses keys for more than seven days; a signature ends with its key, whatever it says itself."""
_MAX_LIFE = _KEY_LIFE - _KEY_PERIOD
"""A longer life would end with its key."""
_FETCH_S = 10.0
_RETRY = timedelta(minutes=1)
_log = logging.getLogger(__name__)


class Signatures:
    """The signer of one container's blobs."""

    def __init__(
        self,
        service: BlobServiceClient,
        account: str,
        container: str,
        *,
        account_key: str | None,
        clock: Clock,
        window_s: float,
        life_s: float,
        breaker: SilenceBreaker | None = None,
    ) -> None:
        self._breaker = breaker
        self._service = service
        self._account = account
        self._container = container
        self._account_key = account_key
        self._clock = clock
        if account_key is None:
            window_s = min(window_s, _MAX_LIFE.total_seconds() / 2)
            life_s = min(life_s, _MAX_LIFE.total_seconds())
        self._window_s = window_s
        self._life = timedelta(seconds=life_s)
        self._https_only = service.scheme == "https"
        self._signed: LRUCache[tuple[str, float], str] = LRUCache(10_000)
        self._key: UserDelegationKey | None = None
        self._key_from = self._key_until = self._renew_from = datetime.min.replace(tzinfo=UTC)
        self._flights: SingleFlight[UserDelegationKey] = SingleFlight()
        self._renewals = BackgroundTasks()

    async def close(self) -> None:
        """Stop renewing the key."""
        await self._renewals.close()
        await self._flights.close()

    async def query(self, blob: str) -> str:
        """The query string that lets anybody read this blob, and nothing else, for a while; or the error of the key it needs."""
        now = self._clock.now().timestamp()
        window = now - now % self._window_s
        known = self._signed.get((blob, window))
        if known is None:
            begin = datetime.fromtimestamp(window, UTC)
            known = self._signed[blob, window] = await self._sign(blob, begin - _SKEW, begin + self._life)
        return known

    async def _sign(self, blob: str, start: datetime, expiry: datetime) -> str:
        key = None
        if self._account_key is None:
            key = await self._delegation_key(expiry)
            start = max(start, self._key_from)
        query: str = generate_blob_sas(
            self._account,
            self._container,
            blob,
            account_key=self._account_key,
            user_delegation_key=key,
            permission=BlobSasPermissions(read=True),
            start=start,
            expiry=expiry,
            protocol="https" if self._https_only else None,
            # Whatever the blob itself says: its name never changes its content, so pip may keep it.
            cache_control="max-age=31536000, immutable",
            content_type="application/octet-stream",
        )
        return query

    async def _delegation_key(self, expiry: datetime) -> UserDelegationKey:
        """A key that outlives ``expiry``. It is renewed a day early, beside the requests; only the first ever waits."""
        if self._key is None or self._key_until < expiry:
            return await self._flights.run("key", self._fetch)  # its failure, too, is everybody's who waited
        if self._clock.now() >= self._renew_from:
            self._renew_from = self._clock.now() + _RETRY
            self._renewals.start("key", self._renew)
        return self._key

    async def _renew(self) -> None:
        try:
            await self._flights.run("key", self._fetch)
        except (AzureError, TimeoutError, UpstreamError) as error:
            _log.warning("the delegation key could not be renewed yet: %s", type(error).__name__)

    async def _fetch(self) -> UserDelegationKey:
        now = self._clock.now()
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        begin, end = midnight - _SKEW, midnight + _KEY_LIFE

        async def fetch() -> UserDelegationKey:
            async with asyncio.timeout(_FETCH_S):
                return await self._service.get_user_delegation_key(begin, end)

        key = self._key = await (fetch() if self._breaker is None else self._breaker.ask(fetch))
        self._key_from, self._key_until, self._renew_from = begin, end, midnight + _KEY_PERIOD
        return key
