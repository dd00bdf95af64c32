"""Opening of a container of Azure Blob Storage with the credential that the settings have for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from wheelgate.config import Config
from wheelgate.core.errors import ConfigurationError, UpstreamError
from wheelgate.core.protocols import Clock
from wheelgate.runtime.metrics import Metrics

if TYPE_CHECKING:
    from wheelgate.credentials.keyring import Keyring
    from wheelgate.storage.azure import AzureStore


@asynccontextmanager
async def open_container(
    url: str,
    *,
    config: Config,
    keyring: Keyring,
    clock: Clock,
    key: str,
    name: str | None = None,
    account_key: str | None = None,
    sas_window_s: float | None = None,
    sas_life_s: float | None = None,
    whom: str | None = None,
    metrics: Metrics | None = None,
) -> AsyncIterator[AzureStore]:
    """Open a container by its connection or this machine's identity. Nothing is asked of it yet.

    Args:
        url: of the container, or of a folder in it.
        config: settings: the CA file, and how long signed URLs live where ``sas_window_s`` and ``sas_life_s`` are not given.
        keyring: signs in.
        clock: the time for signed URLs.
        key: the setting or option that the ConfigurationError for a missing credential begins with.
        name: of the store, in locations and messages; ``None``: its URL.
        account_key: a reference to an account key, which is then used instead of an identity.
        sas_window_s: other than ``store.sas_window``.
        sas_life_s: other than ``store.sas_life``.
        whom: the store as clients know it; ``None``: by its name.
        metrics: count how long it takes to answer; ``None``: nobody does.
    """
    from wheelgate.storage.azure import azure_store  # a tenth of a second and 20 MB that a folder does not need

    try:
        credential = (await keyring.secrets.read(account_key)).reveal() if account_key else await keyring.for_container(url)
    except UpstreamError as error:
        raise ConfigurationError([f"{key}: {error}"]) from None
    ca_file = config.server.ca_file
    async with azure_store(
        url,
        name=name or url,
        credential=credential,
        clock=clock,
        sas_window_s=config.store.sas_window if sas_window_s is None else sas_window_s,
        sas_life_s=config.store.sas_life if sas_life_s is None else sas_life_s,
        ca_file=None if ca_file is None else str(config.folder / ca_file),
        whom=whom,
        metrics=metrics,
    ) as container:
        yield container
