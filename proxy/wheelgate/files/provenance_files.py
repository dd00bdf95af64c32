"""Provenance files, ``.provenance`` beside a stored distribution file (PEP 740)."""

from __future__ import annotations

from collections.abc import Mapping

from wheelgate.core.errors import BlobNotFound, CompanionNotFound
from wheelgate.core.model import File, StoredFile
from wheelgate.core.protocols import BlobStore
from wheelgate.storage import layout


class ProvenanceFiles:
    """Provenance objects of listed files, as they lie beside them."""

    def __init__(self, stores: Mapping[str, BlobStore]) -> None:
        self._stores = stores

    async def body(self, file: File) -> bytes:
        """The provenance object of a listed file.

        Raises:
            CompanionNotFound: the listing offers none of ours.
            StoreError: it is not available now.
        """
        location = file.location
        if file.provenance is None:
            raise CompanionNotFound(f"{file.filename} has no provenance to offer")
        if not isinstance(location, StoredFile):
            raise CompanionNotFound(f"the provenance of {file.filename} is at {file.provenance}, not here")
        try:
            return (await self._stores[location.store].read(layout.provenance(location.path)))[0]
        except BlobNotFound:
            raise CompanionNotFound(f"the provenance of {file.filename} was deleted") from None
