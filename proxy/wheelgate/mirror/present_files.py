"""Files that are in a mirror already: found by what its manifest vouches for, and read only where nothing else proves them."""

from __future__ import annotations

from collections.abc import Mapping

from wheelgate.core.errors import BlobDamaged, BlobNotFound
from wheelgate.core.protocols import BlobInfo, BodyStore
from wheelgate.mirror.file_origins import MirrorFile
from wheelgate.mirror.manifest_file import ManifestFile
from wheelgate.mirror.verifying import compute_digests


async def find_body(store: BodyStore, manifest: ManifestFile, item: MirrorFile) -> tuple[BlobInfo, Mapping[str, str]] | None:
    """Find what lies in the place of a file, if that is what its name stands for, and its digests.

    Raises:
        StoreError: the store cannot be read.
    """
    held, vouched = manifest.find_held(item.path), manifest.find_digest(item.path)
    try:
        info = await store.info(item.path)
    except (BlobNotFound, BlobDamaged):  # what lies there instead is taken away when it is brought
        return None
    if (held.size if held is not None else item.file.stated_size) not in (None, info.size):
        return None
    # We wrote the body of a blob with its digest in one step, and whoever writes it again changes the ETag. A folder has no
    # ETags that would tell: there nothing but the bytes does.
    digests = {"sha256": info.facts["sha256"]} if "sha256" in info.facts else None
    if held is not None and held.etag is not None:
        digests = {"sha256": held.sha256} if held.etag == info.etag else None
    if digests is None or not item.algorithms <= digests.keys():
        try:
            digests = await compute_digests(store, item.path, info.size, item.algorithms)
        except (BlobNotFound, BlobDamaged):
            return None
    return None if vouched not in (None, digests["sha256"]) else (info, digests)
