"""Where the bytes of items come from: the files that our index lists, or another mirror."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from wheelgate.core.errors import StoreError
from wheelgate.core.model import File
from wheelgate.files.bodies import Redirect
from wheelgate.files.delivery import Delivery
from wheelgate.mirror.items import Item
from wheelgate.mirror.mirror_store import MirrorStore


class IndexOrigin:
    """An :class:`~wheelgate.mirror.items.Origin`: listed files, by path, as a client of ours would get them."""

    def __init__(self, delivery: Delivery, files: Mapping[str, File]) -> None:
        self._delivery = delivery
        self._files = files

    async def body(self, item: Item) -> AsyncIterator[bytes]:
        """See :class:`~wheelgate.mirror.items.Origin`."""
        body = await self._delivery.open(self._files[item.path], plain=False)
        if isinstance(body, Redirect):
            raise AssertionError("only plain requests are redirected")
        async for chunk in body.chunks(0, None):
            yield chunk


class MirrorOrigin:
    """An :class:`~wheelgate.mirror.items.Origin`: what another mirror holds."""

    def __init__(self, shelf: MirrorStore) -> None:
        self._shelf = shelf

    async def body(self, item: Item) -> AsyncIterator[bytes]:
        """See :class:`~wheelgate.mirror.items.Origin`."""
        if item.size is None:
            raise StoreError(f"the size of {item.path} is not known")
        async for chunk in self._shelf.stream(item.path, 0, item.size):
            yield chunk
