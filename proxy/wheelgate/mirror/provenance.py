"""Provenance objects of files to be mirrored (PEP 740): fetched from where an index says they are, or out of another mirror."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from wheelgate.core.errors import BlobDamaged, BlobNotFound, CompanionNotFound, UpstreamBadAnswer, UpstreamUnavailable
from wheelgate.core.model import File, StoredFile
from wheelgate.core.protocols import BodyStore
from wheelgate.files.delivery import Delivery
from wheelgate.mirror.companions import FindProvenance
from wheelgate.mirror.file_origins import MirrorFile
from wheelgate.storage import layout
from wheelgate.upstream.client import PAGE_BUDGET_S, SourceClient

_MAX_BYTES = 1024 * 1024
_ACCEPT = "application/vnd.pypi.integrity.v1+json, application/json;q=0.5"


def find_by_index(delivery: Delivery, clients: Mapping[str, SourceClient]) -> FindProvenance:
    """Build what fetches the provenance that an index offers. ``clients``: of the sources that are asked over HTTP, by name."""

    async def find(item: MirrorFile) -> bytes | None:
        file = item.file
        if file.provenance is None:
            return None
        if isinstance(file.location, StoredFile):
            try:
                return await delivery.read_provenance(file)
            except CompanionNotFound:
                return None
        client = clients.get(file.source)
        return None if client is None else await _fetch(client, file, file.provenance)

    return find


def find_in_mirror(store: BodyStore) -> FindProvenance:
    """Build what reads the provenance that another mirror has beside a file."""

    async def find(item: MirrorFile) -> bytes | None:
        path = layout.provenance(item.path)
        try:
            if (await store.info(path)).size > _MAX_BYTES:
                raise BlobDamaged(f"{path} there has more than 1 MiB")
            return (await store.read(path))[0]
        except BlobNotFound:
            return None

    return find


async def _fetch(client: SourceClient, file: File, url: str) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(PAGE_BUDGET_S), client.file(url, accept=_ACCEPT, small=True) as answer:
            async for chunk in answer.chunks():
                body += chunk
                if len(body) > _MAX_BYTES:
                    raise UpstreamBadAnswer(f"source {file.source} sent more than 1 MiB of provenance", source=file.source)
    except TimeoutError:
        raise UpstreamUnavailable(f"source {file.source} sends the provenance too slowly", source=file.source) from None
    return bytes(body)
