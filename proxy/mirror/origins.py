"""Where the bytes of items come from: the files that our index lists, or another mirror."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from proxy.bodies import Redirect
from proxy.delivery import Delivery
from proxy.errors import StoreError
from proxy.mirror.items import Item
from proxy.mirror.shelf import Shelf
from proxy.model import File


class IndexOrigin:
    """An :class:`~proxy.mirror.items.Origin`: listed files, by path, as a client of ours would get them."""

    def __init__(self, delivery: Delivery, files: Mapping[str, File]) -> None:
        self._delivery = delivery
        self._files = files

    async def body(self, item: Item) -> AsyncIterator[bytes]:
        """See :class:`~proxy.mirror.items.Origin`."""
        body = await self._delivery.open(self._files[item.path], plain=False)
        if isinstance(body, Redirect):
            raise AssertionError("only plain requests are redirected")
        async for chunk in body.chunks(0, None):
            yield chunk


class MirrorOrigin:
    """An :class:`~proxy.mirror.items.Origin`: what another mirror holds."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    async def body(self, item: Item) -> AsyncIterator[bytes]:
        """See :class:`~proxy.mirror.items.Origin`."""
        if item.size is None:
            raise StoreError(f"the size of {item.path} is not known")
        async for chunk in self._shelf.stream(item.path, 0, item.size):
            yield chunk
