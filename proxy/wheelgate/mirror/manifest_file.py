"""Manifest file at the top of a mirror: read, and changed beside whoever else changes it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from wheelgate.core.errors import BadInput, BlobChanged, BlobDamaged, BlobNotFound, FileWithheld
from wheelgate.core.model import FormatVersion
from wheelgate.core.names import is_index_document
from wheelgate.core.protocols import BodyStore
from wheelgate.mirror.manifest import NAME, OBSERVABLE, Manifest, ManifestEntry, ManifestInput, Refusals, Sighting
from wheelgate.sources.mirror_facts import MANIFEST_VERSION

_ATTEMPTS = 8


class _Version(msgspec.Struct):
    wheelgate_mirror: FormatVersion


class ManifestFile:
    """The manifest of one mirror while files are brought there. What it refuses is told by path, in sentences."""

    def __init__(self, store: BodyStore, place: str) -> None:
        """``place``: the mirror, as people know it."""
        self.place = place
        self._store = store
        self._etag: str | None = None
        self._manifest = Manifest()
        self._held: Mapping[str, ManifestEntry] = {}
        self._seen: Mapping[str, Sighting] = {}
        self._waiting: list[Sighting] = []
        self._refused = Refusals()
        self._turn = asyncio.Lock()

    async def read(self) -> Manifest:
        """Read it anew; raises as :func:`read_manifest`."""
        manifest, self._etag = await read_manifest(self._store, self.place)
        self._take_up(manifest)
        return manifest

    def find_held(self, path: str) -> ManifestEntry | None:
        """Find what it vouches for under a path; ``None``: for nothing."""
        return self._held.get(path)

    def find_digest(self, path: str) -> str | None:
        """Find the sha256 that a path stands for, held or seen; ``None``: for none yet."""
        known = self._held.get(path) or self._seen.get(path)
        return None if known is None else known.sha256

    async def require(self, announced: Sighting) -> None:
        """Require that a name stands for these bytes now, read anew.

        Raises:
            FileWithheld: for others, as another run said meanwhile.
            StoreError, BadInput: it cannot be read.
        """
        async with self._turn:
            await self.read()
        known = self._held.get(announced.path) or self._seen.get(announced.path)
        if known is None or (known.sha256 != announced.sha256 and not is_index_document(announced.path.partition("/")[2])):
            raise FileWithheld(f"{announced.path} is not put in {self.place}: another run put other bytes there meanwhile")

    async def announce(self, sightings: Sequence[Sighting]) -> Refusals:
        """Write down what is about to be put in place, and tell which of it may not be. Those who wait are written together.

        Raises:
            StoreError, BadInput: nothing may be put in place.
        """
        self._waiting += sightings
        async with self._turn:
            batch, self._waiting = self._waiting, []
            try:
                self._refused |= await self._change(lambda manifest: manifest.announce(batch, self.place))
            except BaseException:
                self._waiting += batch
                raise
        return {one.path: self._refused[one.path] for one in sightings if one.path in self._refused}

    async def add(
        self, entries: Iterable[ManifestEntry], inputs: Mapping[str, ManifestInput], *, complete: bool = True, whole: bool = True
    ) -> Refusals:
        """Add what is in place now (:meth:`Manifest.add`); raises as :meth:`announce`."""
        added = list(entries)
        async with self._turn:
            return await self._change(lambda manifest: manifest.add(added, inputs, self.place, complete=complete, whole=whole))

    async def _change(self, make: Callable[[Manifest], tuple[Manifest, Refusals]]) -> Refusals:
        for attempt in range(1, _ATTEMPTS + 1):
            changed, refused = make(self._manifest)
            if changed is self._manifest:
                return refused
            body = msgspec.json.format(msgspec.json.encode(changed), indent=1) + b"\n"
            try:
                self._etag = await self._store.replace_if(NAME, body, self._etag)
            except BlobChanged:
                if attempt == _ATTEMPTS:
                    raise
                await self.read()
            else:
                self._take_up(changed)
                return refused
        raise AssertionError("the last attempt returns or raises")

    def _take_up(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._held, self._seen = manifest.by_path(), {one.path: one for one in manifest.seen}


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
        if 1 <= version <= MANIFEST_VERSION:
            manifest = msgspec.json.decode(body, type=Manifest)
            return (manifest if version == MANIFEST_VERSION else _upgrade(manifest)), info.etag
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise BadInput(
            f"{place}/{NAME} is damaged: put a copy of it back (a bundle that was carried has one); without any, delete it and "
            "run `wheelgate mirror` again: files are then compared with what their sources list now, and not fetched again"
        ) from None
    raise BadInput(f"{place}/{NAME} has version {version}, which this Wheelgate does not support: use a newer release")


def _upgrade(manifest: Manifest) -> Manifest:
    """Read version 1, which did not say what had been stated, nor whose anything is: nothing counts as stated."""
    files = [msgspec.structs.replace(entry, observed=list(OBSERVABLE), origin=None) for entry in manifest.files]
    return Manifest(inputs=manifest.inputs, files=files)
