"""Signed URLs of blobs, made without a server, for places where no Wheelgate may run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import unquote

from wheelgate.config import Config
from wheelgate.core.errors import StoreError
from wheelgate.core.protocols import BlobStore, Clock
from wheelgate.storage.containers import container_place
from wheelgate.storage.open_container import open_container

if TYPE_CHECKING:
    from wheelgate.credentials.keyring import Keyring

_WINDOW_S = 60.0


@asynccontextmanager
async def open_signer(
    config: Config, keyring: Keyring, clock: Clock, life_s: float
) -> AsyncIterator[Callable[[str], Awaitable[str]]]:
    """Open a signer of blob URLs, with what the settings have for a container, else our identity. Each container is opened once.

    What it signs is there, and anybody can read it for a while.

    Raises:
        BlobNotFound: it is not there.
        StoreError: storage cannot be reached, refused us, or gave us no right to sign.
        ConfigurationError: the container's credential is not available.
    """
    containers: dict[str, BlobStore] = {}

    async def open_blobs(url: str) -> BlobStore:
        known = [("store.account_key", config.store.url, config.store.account_key)]
        known += [(f"source[{at}].account_key", source.url, source.account_key) for at, source in enumerate(config.source)]
        keyed = ((key, reference) for key, at, reference in known if reference and f"{at}/".startswith(f"{url}/"))
        key, account_key = next(keyed, (f"connection for {url}", None))
        return await stack.enter_async_context(
            open_container(
                url,
                config=config,
                keyring=keyring,
                clock=clock,
                key=key,
                account_key=account_key,
                sas_window_s=_WINDOW_S,
                sas_life_s=life_s,
            )
        )

    async def sign(url: str) -> str:
        place = container_place(url)
        container_url = f"{place.account_url}/{place.container}"
        if container_url not in containers:
            containers[container_url] = await open_blobs(container_url)
        container, path = containers[container_url], unquote(place.prefix.removesuffix("/"))
        await container.info(path)
        signed = await container.signed_url(path)
        if signed is None:
            raise StoreError(f"{container_url} is read with a shared access signature, which cannot sign: use an identity")
        return signed

    async with AsyncExitStack() as stack:
        yield sign
