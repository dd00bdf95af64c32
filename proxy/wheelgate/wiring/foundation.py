"""Foundation of the object graph: settings, clock, metrics, keyring, and the order things are closed in."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from wheelgate.config import Config
from wheelgate.core.errors import ConfigurationError
from wheelgate.core.protocols import Clock
from wheelgate.credentials.keyring import Keyring
from wheelgate.runtime.metrics import Metrics


class SystemClock:
    """The machine's time."""

    def now(self) -> datetime:
        """See :class:`~wheelgate.core.protocols.Clock`."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """See :class:`~wheelgate.core.protocols.Clock`."""
        return time.monotonic()


class Foundation(msgspec.Struct, frozen=True, kw_only=True):
    """What every part of the graph is built upon."""

    config: Config
    clock: Clock
    metrics: Metrics
    keyring: Keyring
    ca_file: str | None
    """The private authority that upstreams are trusted by, unless a source has its own."""
    stack: AsyncExitStack
    """Whoever opens something leaves its end here; what was opened last ends first."""

    def check_certificates(self, file: Path | None, key: str) -> str | None:
        """Return the path of a file of certificates (in the setting ``key``), proven to hold some.

        Raises:
            ConfigurationError: it is missing or holds none.
        """
        return _check_certificates(self.config, file, key)


@asynccontextmanager
async def open_foundation(config: Config, clock: Clock | None = None) -> AsyncIterator[Foundation]:
    """Open the ground; everything that was built upon it is closed at the end.

    Raises:
        ConfigurationError: ``server.ca_file`` cannot be used.
    """
    clock = clock or SystemClock()
    ca_file = _check_certificates(config, config.server.ca_file, "server.ca_file")
    async with AsyncExitStack() as stack:
        keyring = Keyring(config, clock, ca_file)
        stack.push_async_callback(keyring.close)
        yield Foundation(config=config, clock=clock, metrics=Metrics(), keyring=keyring, ca_file=ca_file, stack=stack)


def _check_certificates(config: Config, file: Path | None, key: str) -> str | None:
    """Look into a file of certificates at once: every upstream would seem unreachable for want of it."""
    if file is None:
        return None
    path = str(config.folder / file)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except FileNotFoundError:
        raise ConfigurationError([f"{key}: {path}: there is no such file"]) from None
    except OSError:  # ssl.SSLError is one
        raise ConfigurationError([f"{key}: {path} holds no readable certificates (PEM)"]) from None
    return path
