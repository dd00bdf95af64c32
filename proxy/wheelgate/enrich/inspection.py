"""Inspection of the records in a store, for `check`: each is read, and the damaged ones are named. Nothing is changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from wheelgate.core.errors import BlobDamaged, BlobNotFound
from wheelgate.core.protocols import BlobInfo, BlobStore
from wheelgate.enrich.kept_pages import unpack
from wheelgate.enrich.record_store import NewerRecord, decode
from wheelgate.storage import layout

_AT_ONCE = 8


async def find_damaged_records(store: BlobStore) -> AsyncIterator[str]:
    """Find blobs that cannot be believed, a sentence for each: of every kind as the store lists them, records as they are read.

    Raises:
        StoreError: the store cannot be read.
    """
    batch: list[BlobInfo] = []
    async for info in store.list(""):
        if info.damage is not None:
            yield info.damage
        elif info.path.startswith(layout.CACHE) and "sha256" not in info.facts:
            yield f"{info.path} has lost its digest, so it is withheld: delete it, and it is fetched anew"
        elif info.path.startswith((layout.CACHE, layout.PACKAGES, layout.METADATA)) and not info.size:
            yield f"{info.path} is empty: delete it"
        elif info.path.startswith(layout.RECORDS):
            batch.append(info)
        if len(batch) == _AT_ONCE:
            for sentence in await _inspect(store, batch):
                yield sentence
            batch.clear()
    for sentence in await _inspect(store, batch):
        yield sentence


async def _inspect(store: BlobStore, batch: list[BlobInfo]) -> list[str]:
    found = await asyncio.gather(*(_inspect_record(store, info.path) for info in batch))
    return [sentence for sentence in found if sentence is not None]


async def _inspect_record(store: BlobStore, path: str) -> str | None:
    try:
        body, _ = await store.read(path)
        record = await asyncio.to_thread(decode, body)
    except BlobNotFound:  # since it was listed
        return None
    except BlobDamaged as error:
        return str(error)
    except NewerRecord as error:
        return f"{path} is left alone: it is of {error}"
    except ValueError as error:
        return f"{path} cannot be read, so it begins anew when its project is next asked for: it is {error}"
    _, home, project = path.split("/", 2)
    source = home.partition("@")[0]
    if record.page is not None and await asyncio.to_thread(unpack, record.page, project, source) is None:
        return f"the last good page in {path} cannot be used: it is damaged, or of another release"
    return None
