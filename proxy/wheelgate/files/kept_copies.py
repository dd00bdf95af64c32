"""Kept copies of upstream files: found in the store, and compared with what is listed now before anybody gets them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from wheelgate.core.digests import new_hash
from wheelgate.core.errors import BlobDamaged, BlobNotFound, FileWithheld
from wheelgate.core.model import File
from wheelgate.core.protocols import BlobInfo, BlobStore
from wheelgate.enrich.records import FactRecorder
from wheelgate.files.held_copies import HeldCopies, key_of
from wheelgate.runtime.logs import TroubleLog
from wheelgate.storage import layout

_log = logging.getLogger(__name__)


class KeptCopies:
    """The copies in our store, and what is remembered of having looked for them."""

    def __init__(self, store: BlobStore, recorders: Mapping[str, FactRecorder]) -> None:
        """``recorders``: of the sources whose listings leave something out."""
        self._store = store
        self._recorders = recorders
        self._held = HeldCopies()
        self._troubles = TroubleLog(_log)

    def forget(self) -> None:
        """Look again what the store holds."""
        self._held.clear()

    def note(self, file: File, copy: BlobInfo) -> None:
        """Remember a copy that was just made of a listed file."""
        self._held.note(key_of(copy.path, file.hashes), copy)

    async def find(self, file: File) -> BlobInfo | None:
        """Find the copy of a remote file, if there is one of the bytes now listed.

        Raises:
            FileWithheld: there is one of other bytes.
            StoreError: nobody can tell.
        """
        path = layout.cache_copy(file.source, file.project, file.filename)
        return await self._held.find(key_of(path, file.hashes), lambda: self._check(file, path))

    async def _check(self, file: File, path: str) -> BlobInfo | None:
        try:
            info = await self._store.info(path)
        except BlobNotFound:
            return None
        except BlobDamaged as error:
            self._troubles.report(path, f"{file.filename} is withheld: {error}")
            raise FileWithheld(f"{file.filename}: nobody can tell what our copy of it was: {error}") from None
        listed, kept = file.hashes.get("sha256"), info.facts.get("sha256")
        if kept is None:
            sentence = f"{path} in the store has lost its digest: {file.filename} is withheld until it is deleted there"
            self._troubles.report(path, sentence)
            raise FileWithheld(
                f"{file.filename}: our copy of it has lost its digest, and nobody can tell whether it is whole: delete {path} in "
                "the store, and it is fetched anew"
            )
        if listed is not None and listed != kept:
            now = f"source {file.source} now lists {file.filename} with sha256 {listed}"
            self._troubles.report(path, f"ALARM: {now}; it was {kept} when first fetched")
            raise FileWithheld(
                f"{file.filename}: source {file.source} now lists other bytes than it first served under this name; "
                "a file name never changes its content"
            )
        await self._prove(file, info)
        self.record_facts(file, kept, info.size)
        return info

    async def _prove(self, file: File, info: BlobInfo) -> None:
        """Read a copy back that was kept when less was stated of it than now, and compare it with that.

        Raises:
            FileWithheld: it is something else.
        """
        unproven = find_unproven(file.hashes, info.facts)
        if not unproven:
            return
        found = {name: new_hash(name) for name in unproven}
        async for chunk in self._store.stream(info.path, 0, info.size):
            for digest in found.values():
                await asyncio.to_thread(digest.update, chunk)
        for name, digest in found.items():
            if digest.hexdigest() != unproven[name]:
                self._troubles.report(info.path, f"{info.path} in the store is not the file that source {file.source} lists")
                raise FileWithheld(
                    f"{file.filename}: our copy of it has the {name} {digest.hexdigest()}, and source {file.source} states "
                    f"{unproven[name]}: delete {info.path} in the store if the source is right, and it is fetched anew"
                )

    def record_facts(self, file: File, sha256: str | None, size: int) -> None:
        """Have the listing say what it left out."""
        if ("sha256" not in file.hashes or file.size is None) and file.source in self._recorders:
            self._recorders[file.source].learn(file, sha256=sha256, size=size)


def list_copy_facts(file: File, sha256: str) -> dict[str, str]:
    """List the facts of a copy, and of its listing: should the source never be asked again, it is listed from there."""
    uploaded = file.upload_time.isoformat() if file.upload_time else None
    known = {"sha256": sha256, "upload_time": uploaded, "requires_python": file.requires_python, "yanked": file.yanked}
    known["digests"] = " ".join(f"{name}={digest}" for name, digest in find_others(file.hashes).items()) or None
    return {name: value for name, value in known.items() if value is not None}


def find_others(hashes: Mapping[str, str]) -> Mapping[str, str]:
    """Find the digests beside the sha256, in one order."""
    return {name: hashes[name] for name in sorted(hashes) if name != "sha256"} if len(hashes) > ("sha256" in hashes) else {}


def find_unproven(hashes: Mapping[str, str], facts: Mapping[str, str]) -> Mapping[str, str]:
    """Find the listed digests that a copy was not compared with when it was kept; nor with its sha256, which its facts have."""
    proven = facts.get("digests", "").split()
    return {name: digest for name, digest in find_others(hashes).items() if f"{name}={digest}" not in proven}
