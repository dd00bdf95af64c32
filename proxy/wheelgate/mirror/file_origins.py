"""Files to be copied, and the origins of their bytes: what our index lists, or what another mirror holds."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from datetime import UTC, datetime

import msgspec

from wheelgate.core.digests import is_known
from wheelgate.core.errors import BadInput, BlobDamaged
from wheelgate.core.model import File, StoredFile
from wheelgate.core.protocols import BodyStore
from wheelgate.files.bodies import Redirect
from wheelgate.files.delivery import Delivery
from wheelgate.mirror.manifest import NAME, OBSERVABLE, Manifest, Observable
from wheelgate.mirror.manifest_file import read_manifest
from wheelgate.mirror.verifying import read_stored
from wheelgate.sources.mirror_facts import Origin

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class MirrorFile(msgspec.Struct):
    """One distribution file that a mirror should hold, as it is listed, and for whom."""

    file: File
    """Its digests are what the index says: it must have all of them."""
    accepted: frozenset[str] = frozenset()
    """``sha256:...``; it must have one of these: what the input says. Empty: it says nothing."""
    needed_by: dict[str, set[str]] = {}
    """Input label to targets."""
    origin: Origin | None = None
    """The side of the index that it comes from; ``None``: nobody says."""
    as_of: datetime | None = None
    """Moment at which this was said of it; ``None``: it is said now."""

    @property
    def path(self) -> str:
        return f"{self.file.project}/{self.file.filename}"

    @property
    def observed(self) -> list[Observable]:
        """The facts of it that its source does not state, as the manifest names them."""
        file = self.file
        missing = {
            "sha256": "sha256" not in file.stated_hashes,
            "size": file.stated_size is None,
            "upload_time": "upload_time" in file.observed,
        }
        return [name for name in OBSERVABLE if missing[name]]

    @property
    def algorithms(self) -> frozenset[str]:
        """The algorithms that its digests are needed of."""
        accepted = {entry.partition(":")[0] for entry in self.accepted}
        return frozenset({"sha256", *self.file.hashes, *filter(is_known, accepted)})

    def problem_with(self, digests: Mapping[str, str]) -> str | None:
        """Find what is wrong with bytes of these digests, or ``None``; completes "it ..."."""
        for algorithm, digest in self.file.hashes.items():
            if algorithm in digests and digests[algorithm] != digest:
                return f"has the {algorithm} {digests[algorithm]}, where {digest} is listed"
        if self.accepted and not any(f"{name}:{digest}" in self.accepted for name, digest in digests.items()):
            return f"has the sha256 {digests['sha256']}, which is none of those that the input allows"
        return None


FileOrigin = Callable[[MirrorFile], AsyncGenerator[bytes, None]]
"""Reads the bytes of a file, from the first.

Raises:
    UpstreamError, StoreError, FileWithheld: they are not available; what was handed out until then is not the whole.
"""


def read_from_index(delivery: Delivery) -> FileOrigin:
    """Build the origin of listed files, as a client of ours would get them."""

    async def read(item: MirrorFile) -> AsyncGenerator[bytes, None]:
        body = await delivery.open(item.file, plain=False)
        if isinstance(body, Redirect):
            raise AssertionError("only plain requests are redirected")
        async for chunk in body.chunks(0, None):
            yield chunk

    return read


def read_from_mirror(store: BodyStore) -> FileOrigin:
    """Build the origin of what another mirror holds."""

    async def read(item: MirrorFile) -> AsyncGenerator[bytes, None]:
        size = (await store.info(item.path)).size
        if size != item.file.size:  # as a copy of it that was broken off leaves it: the others are as good as ever
            raise BlobDamaged(f"it is damaged there: it has {size} bytes, not {item.file.size}")
        async for chunk in read_stored(store, item.path, size):
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
    items = []
    for entry in manifest.by_path().values():
        project, _, filename = entry.path.partition("/")
        file = File(
            filename=filename,
            project=project,
            source=entry.source,
            location=StoredFile(place, entry.path, entry.etag or ""),
            hashes={"sha256": entry.sha256},
            size=entry.size,
            upload_time=entry.upload_time,
            requires_python=entry.requires_python,
            yanked=entry.yanked,
            observed=tuple("hashes" if name == "sha256" else name for name in entry.observed),
        )
        needed_by = {label: set(targets) for label, targets in entry.needed_by.items()}
        items.append(MirrorFile(file, needed_by=needed_by, origin=entry.origin, as_of=entry.as_of or _LONG_AGO))
    return items, manifest
