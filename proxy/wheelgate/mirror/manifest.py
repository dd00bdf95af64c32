"""The manifest of a mirror, ``wheelgate-mirror.json``: what it holds, from where, with which digest, for whom, since when.

It is for people, for proofs (that the files are still what it says) and for the way onward. A folder is served with what it says
of each file (:mod:`wheelgate.sources.mirror_facts`); which files there are, sources see for themselves.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping
from contextlib import aclosing
from datetime import datetime
from typing import Annotated

import msgspec

from wheelgate.core.digests import Sha256, new_hash
from wheelgate.core.errors import BadInput, BlobChanged, BlobDamaged, BlobNotFound
from wheelgate.core.model import FormatVersion
from wheelgate.core.protocols import BodyStore
from wheelgate.sources.mirror_facts import MANIFEST_NAME, MANIFEST_VERSION

NAME = MANIFEST_NAME
METADATA = ".metadata"
"""The ending of the core metadata beside a wheel (PEP 658)."""
_VERSION = MANIFEST_VERSION
_ATTEMPTS = 8
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]
_Path = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?/[A-Za-z0-9_][^/\\\x00-\x1f]*$", max_length=500)]


class ManifestEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One file, as it was when it had been verified."""

    path: _Path
    """``<project>/<file>``."""
    sha256: Sha256
    size: int
    """Bytes."""
    source: str
    """The configured source it came from; never its URL."""
    metadata_sha256: Sha256 | None = None
    upload_time: _Moment | None = None
    requires_python: str | None = None
    yanked: str | None = None
    needed_by: dict[str, list[str]] = {}
    """Input label to the targets it is for."""
    stored: _Moment
    etag: str | None = None
    """Of a container: as long as it stays, nobody wrote the file again."""


class ManifestInput(msgspec.Struct, frozen=True):
    """One input, and for which targets it was mirrored last."""

    targets: list[str]
    mirrored: _Moment
    place: str | None = None
    """Of a file, a digest of where it lay: another file of that name is another input."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The inputs and files of one mirror."""

    wheelgate_mirror: FormatVersion = _VERSION
    inputs: dict[str, ManifestInput] = {}
    files: list[ManifestEntry] = []

    def places(self) -> dict[str, str | None]:
        return {label: one.place for label, one in self.inputs.items()}

    def by_path(self) -> dict[str, ManifestEntry]:
        return {entry.path: entry for entry in self.files}

    def merge(self, entries: Iterable[ManifestEntry], inputs: Mapping[str, ManifestInput]) -> Manifest:
        """Merge more into it: who needs a file is joined; the inputs named now need what is said now, and nothing else."""
        files = {}
        for entry in self.files:
            others = {label: targets for label, targets in entry.needed_by.items() if label not in inputs}
            files[entry.path] = msgspec.structs.replace(entry, needed_by=others)
        for entry in entries:
            known = files.get(entry.path)
            needed_by = {**(known.needed_by if known else {}), **entry.needed_by}
            files[entry.path] = msgspec.structs.replace(entry, needed_by=dict(sorted(needed_by.items())))
        return Manifest(inputs=dict(sorted({**self.inputs, **inputs}.items())), files=[files[path] for path in sorted(files)])


async def read_manifest(store: BodyStore, place: str) -> tuple[Manifest, str | None]:
    """Read the manifest of a mirror and its ETag; an empty one and ``None`` where there is none yet.

    Raises:
        BadInput: it is damaged, or of a newer version.
        StoreError: it cannot be read.
    """
    try:
        body, info = await store.read(NAME)
    except BlobNotFound:
        return Manifest(), None
    except BlobDamaged as error:
        raise BadInput(str(error)) from None
    try:
        version = msgspec.json.decode(body, type=_Version).wheelgate_mirror
        if version == _VERSION:
            return msgspec.json.decode(body, type=Manifest), info.etag
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise BadInput(
            f"{place}/{NAME} is damaged: delete it and run `wheelgate mirror` again; files that are there are not fetched again"
        ) from None
    raise BadInput(f"{place}/{NAME} has version {version}, which this Wheelgate does not support: use a newer release")


class _Version(msgspec.Struct):
    wheelgate_mirror: FormatVersion


async def add_to_manifest(
    store: BodyStore, place: str, entries: Collection[ManifestEntry], inputs: Mapping[str, ManifestInput]
) -> None:
    """Add what is there now, beside what another mirroring there may have written; raises as :func:`read_manifest`."""
    for attempt in range(1, _ATTEMPTS + 1):
        manifest, etag = await read_manifest(store, place)
        body = msgspec.json.format(msgspec.json.encode(manifest.merge(entries, inputs)), indent=1) + b"\n"
        try:
            await store.replace_if(NAME, body, etag)
        except BlobChanged:
            if attempt == _ATTEMPTS:
                raise
        else:
            return


async def read_stored(store: BodyStore, path: str, size: int) -> AsyncGenerator[bytes, None]:
    """Read a whole file in a store; :class:`BlobNotFound` or :class:`StoreError` if it is gone, or cannot be read."""
    async for chunk in store.stream(path, 0, size):
        yield chunk


async def compute_digests(store: BodyStore, path: str, size: int, algorithms: Iterable[str] = ("sha256",)) -> dict[str, str]:
    """Compute the digests of a file in a store; :class:`BlobNotFound` or :class:`StoreError` as for :func:`read_stored`."""
    hashes = {name: new_hash(name) for name in algorithms}
    async with aclosing(read_stored(store, path, size)) as chunks:
        async for chunk in chunks:
            for digest in hashes.values():
                await asyncio.to_thread(digest.update, chunk)
    return {name: digest.hexdigest() for name, digest in hashes.items()}


async def find_damage(
    store: BodyStore,
    entries: Iterable[ManifestEntry],
    *,
    jobs: int = 8,
    on_bytes: Callable[[int], None] = lambda _: None,
    on_done: Callable[[ManifestEntry], None] = lambda _: None,
) -> list[str]:
    """Find damage: read every file again and compare it; a sentence for each that is missing or damaged, by path.

    Raises:
        StoreError: the mirror cannot be read.
    """
    waiting = deque(entries)
    found: list[tuple[str, str]] = []

    async def work() -> None:
        while waiting:
            entry = waiting.popleft()
            problems = [await _find_damage(store, entry.path, entry.sha256, entry.size)]
            if entry.metadata_sha256 is not None:
                problems.append(await _find_damage(store, entry.path + METADATA, entry.metadata_sha256))
            found.extend((entry.path, problem) for problem in problems if problem is not None)
            on_bytes(entry.size)
            on_done(entry)

    await asyncio.gather(*(work() for _ in range(jobs)))
    return [problem for _, problem in sorted(found)]


async def _find_damage(store: BodyStore, path: str, sha256: str, size: int | None = None) -> str | None:
    try:
        found = (await store.info(path)).size
        if size not in (None, found):
            return f"{path} is damaged: it has {found} bytes, not {size}"
        digest = (await compute_digests(store, path, found))["sha256"]
    except BlobNotFound:
        return f"{path} is missing"
    except BlobDamaged as error:
        return str(error)
    return None if digest == sha256 else f"{path} is damaged: its sha256 is {digest}, not {sha256}"
