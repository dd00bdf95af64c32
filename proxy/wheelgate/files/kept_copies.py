"""Kept copies of upstream files: found in the store, and compared with what is listed now before anybody gets them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress

import msgspec
from cachetools import TTLCache

from wheelgate.core.digests import new_hash
from wheelgate.core.errors import BlobChanged, BlobDamaged, BlobNotFound, FileWithheld, StoreError
from wheelgate.core.model import File
from wheelgate.core.protocols import BlobInfo, BlobStore
from wheelgate.distfiles.wholeness import NotWhole
from wheelgate.enrich.records import FactRecorder
from wheelgate.files.held_copies import HeldCopies, key_of
from wheelgate.files.vouching import Voucher
from wheelgate.runtime.background import BackgroundTasks
from wheelgate.runtime.logs import TroubleLog
from wheelgate.storage import layout
from wheelgate.storage.layout import PLACE
from wheelgate.storage.spool import Spool

_MOST, _FOUND_S = 5_000, 3_600.0
"""Of how many versions of copies it is remembered what reading them back told, and for how long."""
_AT_ONCE, _WAITING = 2, 100
"""Of such readings; and how many more may wait for their turn."""
_Reading = tuple[str, str, tuple[str, ...]]
"""A path, an ETag, and the algorithms by which it is read; ``whole`` for being looked through."""
_WHOLE = "whole"
STANDING, OBSERVED = "standing", "observed"
"""Fact of a copy, and its value: no digest was stated when it came, so it gives way to what is stated later. ``whole``: an
earlier release kept it, perhaps by a stated digest, and it was found to be whole since."""
_log = logging.getLogger(__name__)


class KeptCopies:
    """The copies in our store, and what is remembered of having looked for them."""

    def __init__(
        self,
        store: BlobStore,
        recorders: Mapping[str, FactRecorder],
        *,
        places: Mapping[str, str],
        spool: Spool,
        voucher: Voucher,
    ) -> None:
        """Copies in a store.

        Args:
            store: ours.
            places: of the sources that are asked over HTTP (:func:`~wheelgate.core.urls.place_key`).
            recorders: of the sources whose listings leave something out.
            spool: for copies that are looked through, unless they are files of this machine.
            voucher: looks through those of which no digest is stated.
        """
        self._store = store
        self._places = places
        self._recorders = recorders
        self._spool = spool
        self._voucher = voucher
        self._held = HeldCopies()
        self._found: TTLCache[_Reading, Mapping[str, str]] = TTLCache(_MOST, _FOUND_S)
        self._readings = BackgroundTasks()
        """Of whole copies: they may take longer than any request, and serve whoever comes again."""
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._troubles = TroubleLog(_log)

    async def close(self) -> None:
        """End what is being read back."""
        await self._readings.close()

    def forget(self) -> None:
        """Look again what the store holds."""
        self._held.clear()

    def note(self, file: File, copy: BlobInfo) -> None:
        """Remember a copy that was just made of a listed file."""
        self._held.note(key_of(copy.path, file.hashes), copy)

    async def find(self, file: File) -> BlobInfo | None:
        """Find the copy of a remote file, if there is one of the bytes now listed. One that was observed gives way to others.

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
        if not is_from(info, self._places.get(file.source)) and kept != file.stated_hashes.get("sha256"):
            await self._drop(file, info, f"{file.filename} was kept when source {file.source} was at another address: it goes")
            return None
        if listed is not None and listed != kept:
            if _gives_way(file, info):
                await self._give_way(file, info, f"sha256 {listed}")
                return None
            now = f"source {file.source} now lists {file.filename} with sha256 {listed}"
            self._troubles.report(path, f"ALARM: {now}; it was {kept} when first fetched")
            raise FileWithheld(
                f"{file.filename}: source {file.source} now lists other bytes than it first served under this name; "
                "a file name never changes its content"
            )
        proven = await self._prove(file, info) if file.stated_hashes else await self._look_through(file, info)
        if proven is not None:
            self.record_facts(file, kept, info.size)
        return proven

    async def _give_way(self, file: File, info: BlobInfo, stated: str) -> None:
        """Remove a copy of which no digest was stated when it came, since its source states another one now."""
        sentence = (
            f"ALARM: source {file.source} states the {stated} for {file.filename}, of which it stated none before: our copy had "
            f"the sha256 {info.facts['sha256']}, was no more than observed, and gives way"
        )
        await self._drop(file, info, sentence)

    async def _drop(self, file: File, info: BlobInfo, sentence: str) -> None:
        self._troubles.report(info.path, sentence, logging.ERROR if sentence.startswith("ALARM") else logging.WARNING)
        try:
            await self._store.delete(info.path, info.etag)
        except BlobChanged:
            raise StoreError(f"our copy of {file.filename} is being replaced: try again") from None

    async def _look_through(self, file: File, info: BlobInfo) -> BlobInfo:
        """Look through a copy of an earlier release, if no digest is stated of it: it may have kept whatever was sent.

        Raises:
            FileWithheld: it is not whole, or another file.
            StoreError: it cannot be read now.
        """
        if STANDING in info.facts:
            return info
        found = await self._find_out(file, info, (info.path, info.etag, (_WHOLE,)))
        if problem := found[_WHOLE]:
            self._troubles.report(info.path, f"{info.path} in the store is not the file that it is named for: it {problem}")
            raise FileWithheld(
                f"{file.filename}: our copy of it was kept by an earlier release, without any digest that source {file.source} "
                f"stated, and {problem}: wheelgate cache forget {file.project} {file.filename}, and it is fetched anew"
            )
        with suppress(BlobChanged, BlobNotFound):  # else it is looked through again
            etag = await self._store.set_facts(info.path, {**info.facts, STANDING: _WHOLE}, info.etag)
            return msgspec.structs.replace(info, etag=etag)
        return info

    async def _prove(self, file: File, info: BlobInfo) -> BlobInfo | None:
        """Read a copy back that was kept when less was stated of it than now, and compare it with that.

        Raises:
            FileWithheld: it is something else.
            StoreError: it cannot be read now.
        """
        unproven = find_unproven(file.hashes, info.facts)
        if not unproven:
            return info
        found = await self._find_out(file, info, (info.path, info.etag, tuple(unproven)))
        for name, digest in found.items():
            if digest != unproven[name]:
                if _gives_way(file, info):
                    await self._give_way(file, info, f"{name} {unproven[name]}")
                    return None
                self._troubles.report(info.path, f"{info.path} in the store is not the file that source {file.source} lists")
                raise FileWithheld(
                    f"{file.filename}: our copy of it has the {name} {digest}, and source {file.source} states "
                    f"{unproven[name]}: delete {info.path} in the store if the source is right, and it is fetched anew"
                )
        return info

    async def _find_out(self, file: File, info: BlobInfo, reading: _Reading) -> Mapping[str, str]:
        """What reading a copy back tells, remembered; :class:`StoreError` if it cannot be read now."""

        async def read() -> None:
            try:
                async with self._turns:
                    is_whole = reading[2] == (_WHOLE,)
                    self._found[reading] = await (self._read_whole(file, info) if is_whole else self._read_back(info, reading[2]))
            except StoreError as error:
                self._troubles.report(f"{info.path} read back", f"{info.path} cannot be read back: {error}")

        if reading not in self._found and (reading in self._readings or len(self._readings) < _WAITING):
            await asyncio.wait([self._readings.start(reading, read)])
        found = self._found.get(reading)
        if found is None:
            raise StoreError(f"our copy of {file.filename} cannot be compared with what is listed now: try again")
        return found

    async def _read_back(self, info: BlobInfo, algorithms: Iterable[str]) -> Mapping[str, str]:
        digests = {name: new_hash(name) for name in algorithms}
        async for chunk in self._store.stream(info.path, 0, info.size):
            for digest in digests.values():
                await asyncio.to_thread(digest.update, chunk)
        return {name: digest.hexdigest() for name, digest in digests.items()}

    async def _read_whole(self, file: File, info: BlobInfo) -> Mapping[str, str]:
        """Say why it is not whole; empty: it is."""
        try:
            opened = await asyncio.to_thread(self._store.open_local, info.path)
            if opened is not None:
                with opened:
                    await self._voucher.check(file, lambda: opened)
                return {_WHOLE: ""}
            async with self._spool.holding(size=info.size) as spooled:
                async for chunk in self._store.stream(info.path, 0, info.size):
                    await spooled.append(chunk)
                await self._voucher.check(file, spooled.path)
        except NotWhole as error:
            return {_WHOLE: str(error)}
        return {_WHOLE: ""}

    def record_facts(self, file: File, sha256: str | None, size: int) -> None:
        """Have the listing say what it left out."""
        if ("sha256" not in file.hashes or file.size is None) and file.source in self._recorders:
            self._recorders[file.source].learn(file, sha256=sha256, size=size)


def is_from(info: BlobInfo, place: str | None) -> bool:
    """Tell whether a copy is of a source as it is now, or of a release that did not note where its source was."""
    return place is None or info.facts.get(PLACE, place) == place


def list_copy_facts(file: File, sha256: str, place: str) -> dict[str, str]:
    """List the facts of a copy, and of its listing: should the source never be asked again, it is listed from there.

    ``place``: of its source.
    """
    uploaded = file.upload_time.isoformat() if file.upload_time else None
    known = {
        "sha256": sha256,
        PLACE: place,
        "upload_time": uploaded,
        "requires_python": file.requires_python,
        "yanked": file.yanked,
    }
    known[STANDING] = None if file.stated_hashes else OBSERVED
    known["digests"] = " ".join(f"{name}={digest}" for name, digest in find_others(file.hashes).items()) or None
    return {name: value for name, value in known.items() if value is not None}


def _gives_way(file: File, info: BlobInfo) -> bool:
    """Tell whether a copy is no more than observed, and its source states a digest now."""
    return bool(file.stated_hashes) and info.facts.get(STANDING) == OBSERVED


def find_others(hashes: Mapping[str, str]) -> Mapping[str, str]:
    """Find the digests beside the sha256, in one order."""
    return {name: hashes[name] for name in sorted(hashes) if name != "sha256"} if len(hashes) > ("sha256" in hashes) else {}


def find_unproven(hashes: Mapping[str, str], facts: Mapping[str, str]) -> Mapping[str, str]:
    """Find the listed digests that a copy was not compared with when it was kept; nor with its sha256, which its facts have."""
    proven = facts.get("digests", "").split()
    return {name: digest for name, digest in find_others(hashes).items() if f"{name}={digest}" not in proven}
