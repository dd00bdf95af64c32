"""Files to be copied, and the origins of their bytes: what our index lists, or what another mirror holds."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime

import msgspec

from wheelgate.core.errors import BadInput, StoreError
from wheelgate.core.model import File
from wheelgate.core.protocols import BodyStore
from wheelgate.files.bodies import Redirect
from wheelgate.files.delivery import Delivery
from wheelgate.mirror.manifest import NAME, Manifest, ManifestEntry, read_manifest


class MirrorFile(msgspec.Struct, frozen=True, kw_only=True):
    """One distribution file that a mirror should hold."""

    project: str
    filename: str
    source: str
    listed: Mapping[str, str] = {}
    """Digests by algorithm, all of which it must have: what the index says."""
    accepted: frozenset[str] = frozenset()
    """``sha256:...``; it must have one of these: what the input says. Empty: it says nothing."""
    size: int | None = None
    upload_time: datetime | None = None
    requires_python: str | None = None
    yanked: str | None = None
    needed_by: Mapping[str, tuple[str, ...]] = {}
    """Input label to targets."""

    @property
    def path(self) -> str:
        """Its path in a mirror."""
        return f"{self.project}/{self.filename}"

    @property
    def algorithms(self) -> frozenset[str]:
        """The algorithms that its digests are needed of."""
        accepted = {entry.partition(":")[0] for entry in self.accepted} & hashlib.algorithms_guaranteed
        return frozenset({"sha256", *self.listed, *accepted})

    def problem_with(self, digests: Mapping[str, str]) -> str | None:
        """Find what is wrong with bytes of these digests, or ``None``; completes "it ..."."""
        for algorithm, digest in self.listed.items():
            if algorithm in digests and digests[algorithm] != digest:
                return f"has the {algorithm} {digests[algorithm]}, where {digest} is listed"
        if self.accepted and not any(f"{name}:{digest}" in self.accepted for name, digest in digests.items()):
            return f"has the sha256 {digests['sha256']}, which is none of those that the input allows"
        return None


FileOrigin = Callable[[MirrorFile], AsyncIterator[bytes]]
"""Reads the bytes of a file, from the first.

Raises:
    UpstreamError, StoreError, FileWithheld: they are not available; what was handed out until then is not the whole.
"""


def read_from_index(delivery: Delivery, files: Mapping[str, File]) -> FileOrigin:
    """Build the origin of listed files, by path, as a client of ours would get them."""

    async def read(file: MirrorFile) -> AsyncIterator[bytes]:
        body = await delivery.open(files[file.path], plain=False)
        if isinstance(body, Redirect):
            raise AssertionError("only plain requests are redirected")
        async for chunk in body.chunks(0, None):
            yield chunk

    return read


def read_from_mirror(store: BodyStore) -> FileOrigin:
    """Build the origin of what another mirror holds."""

    async def read(file: MirrorFile) -> AsyncIterator[bytes]:
        if file.size is None:
            raise StoreError(f"the size of {file.path} is not known")
        async for chunk in store.stream(file.path, 0, file.size):
            yield chunk

    return read


async def list_mirror_files(store: BodyStore, place: str) -> tuple[list[MirrorFile], Manifest]:
    """List everything that a mirror says it holds, to copy it without any index: verified and resumable all the same.

    Raises:
        BadInput: it says nothing: there is no manifest, or a damaged one.
        StoreError: it cannot be read.
    """
    manifest, etag = await read_manifest(store, place)
    if etag is None:
        raise BadInput(f"{place} is not a mirror that can be copied: it has no {NAME}")
    return [_build_file(entry) for entry in manifest.files], manifest


def _build_file(entry: ManifestEntry) -> MirrorFile:
    return MirrorFile(
        project=entry.project,
        filename=entry.filename,
        source=entry.source,
        listed={"sha256": entry.sha256},
        size=entry.size,
        upload_time=entry.upload_time,
        requires_python=entry.requires_python,
        yanked=entry.yanked,
        needed_by={label: tuple(targets) for label, targets in entry.needed_by.items()},
    )
