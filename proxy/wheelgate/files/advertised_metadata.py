"""Core metadata as an upstream advertises it, in a file beside the wheel (PEP 658)."""

from __future__ import annotations

import asyncio
import hashlib
from urllib.parse import urlsplit, urlunsplit

from wheelgate.core.errors import UpstreamBadAnswer, UpstreamUnavailable
from wheelgate.core.model import File, RemoteFile
from wheelgate.distfiles.core_metadata import MAX_METADATA_BYTES, BadWheel, CoreMetadata, read_fields
from wheelgate.upstream.client import PAGE_BUDGET_S, SourceClient

_SHORT_BYTES = 64 * 1024
"""Longer metadata may take tens of milliseconds to read: in a thread."""


async def fetch_beside(client: SourceClient, file: File, location: RemoteFile) -> bytes:
    """Fetch what an upstream has beside a wheel; nobody has compared it with the listing yet.

    Raises:
        UpstreamBadAnswer: definite: it sends nothing that could be metadata.
        UpstreamUnavailable: it cannot be heard now.
    """
    parts = urlsplit(location.url)
    url = urlunsplit(parts._replace(path=parts.path + ".metadata"))  # before a query, where the upstream looks for it
    body = bytearray()  # grows in place, in however many pieces it comes
    try:
        async with asyncio.timeout(PAGE_BUDGET_S), client.file(url, small=True) as answer:
            async for chunk in answer.chunks():
                body += chunk
                if len(body) > MAX_METADATA_BYTES:
                    raise UpstreamBadAnswer(
                        f"source {file.source} sent core metadata of more than 10 MiB for {file.filename}", source=file.source
                    )
    except TimeoutError:
        raise UpstreamUnavailable(
            f"source {file.source} sends the core metadata of {file.filename} too slowly", source=file.source
        ) from None
    if not body.lstrip()[:64].lower().startswith((b"metadata-version:", b"name:", b"version:")):
        raise UpstreamBadAnswer(
            f"source {file.source} sent something else than core metadata for {file.filename}", source=file.source
        )
    return bytes(body)


async def match_metadata(file: File, body: bytes | None) -> CoreMetadata | None:
    """Read what may be a wheel's metadata; ``None`` if it is not this wheel's, or has another digest than is advertised."""
    if body is None or not is_listed(file, body):
        return None
    try:
        if len(body) <= _SHORT_BYTES:
            return read_fields(body, file.filename)
        return await asyncio.to_thread(read_fields, body, file.filename)
    except BadWheel:
        return None


async def is_advertised(file: File, body: bytes) -> bool:
    """Tell whether it is what its source advertises: by its digest, or else by what it says of itself."""
    return is_listed(file, body) if file.core_metadata else await match_metadata(file, body) is not None


def is_listed(file: File, body: bytes) -> bool:
    """Tell whether it has the digest that the listing advertises, if it advertises one."""
    advertised = (file.core_metadata or {}).get("sha256")
    return advertised is None or hashlib.sha256(body).hexdigest() == advertised
