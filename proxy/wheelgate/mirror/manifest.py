"""The manifest of a mirror, ``wheelgate-mirror.json``: what it holds, from where, with which digest, for whom, since when.

It is for people, for proofs and for the way onward. Nothing is served by it: sources read the files themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated

import msgspec

from wheelgate.core.errors import BadInput, BlobChanged, BlobNotFound
from wheelgate.core.protocols import BodyStore

NAME = "wheelgate-mirror.json"
METADATA = ".metadata"
"""The ending of the core metadata beside a wheel (PEP 658)."""
_VERSION = 1
_ATTEMPTS = 8
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]
_Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
_Path = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?/[A-Za-z0-9_][^/\\\x00-\x1f]*$", max_length=500)]


class ManifestEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One file, as it was when it had been verified."""

    path: _Path
    """``<project>/<file>``."""
    sha256: _Digest
    size: int
    """Bytes."""
    source: str
    """The configured source it came from; never its URL."""
    metadata_sha256: _Digest | None = None
    upload_time: _Moment | None = None
    requires_python: str | None = None
    yanked: str | None = None
    needed_by: dict[str, list[str]] = {}
    """Input label to the targets it is for."""
    stored: _Moment
    etag: str | None = None
    """Of a container: as long as it stays, nobody wrote the file again."""

    @property
    def project(self) -> str:
        """Its normalised project."""
        return self.path.partition("/")[0]

    @property
    def filename(self) -> str:
        """Its own name."""
        return self.path.partition("/")[2]


class ManifestInput(msgspec.Struct, frozen=True):
    """One input, and for which targets it was mirrored last."""

    targets: list[str]
    mirrored: _Moment


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The inputs and files of one mirror."""

    wheelgate_mirror: int = _VERSION
    inputs: dict[str, ManifestInput] = {}
    files: list[ManifestEntry] = []

    def by_path(self) -> dict[str, ManifestEntry]:
        """Its files by path."""
        return {entry.path: entry for entry in self.files}

    def merge(self, entries: Iterable[ManifestEntry], inputs: Mapping[str, ManifestInput]) -> Manifest:
        """Merge more into it: who needs a file is joined; the inputs named now need what is said now, and nothing else."""
        files = {entry.path: _drop_inputs(entry, inputs.keys()) for entry in self.files}
        for entry in entries:
            known = files.get(entry.path)
            needed_by = {**(known.needed_by if known else {}), **entry.needed_by}
            files[entry.path] = msgspec.structs.replace(entry, needed_by=dict(sorted(needed_by.items())))
        return Manifest(inputs=dict(sorted({**self.inputs, **inputs}.items())), files=[files[path] for path in sorted(files)])


def _drop_inputs(entry: ManifestEntry, labels: Iterable[str]) -> ManifestEntry:
    gone = set(labels)
    return msgspec.structs.replace(entry, needed_by={label: t for label, t in entry.needed_by.items() if label not in gone})


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
    wheelgate_mirror: int


async def add_to_manifest(
    store: BodyStore, place: str, entries: Iterable[ManifestEntry], inputs: Mapping[str, ManifestInput]
) -> None:
    """Add what is there now, beside what another mirroring into the same place may have written meanwhile.

    Raises:
        BadInput, StoreError: the manifest cannot be read or written.
    """
    entries = list(entries)
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
