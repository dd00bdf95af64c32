"""Upload acceptance: checks a file against itself, its name and all other sources, and stores it.

The order matters. The claim comes before the file, so that there is no moment in which a public source could answer for a name
that is ours; the core metadata comes before the file, so that what a page advertises is there; then the file, which from then
on survives anything. Its provenance comes after it, since it must be that of the file that won a race for the name. Claims,
tombstones and core metadata are the store's, wherever the file goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing
from datetime import datetime
from itertools import takewhile
from pathlib import Path

import msgspec

from wheelgate.core.belonging import Membership
from wheelgate.core.errors import (
    BlobChanged,
    BlobExists,
    BlobNotFound,
    FileExists,
    NameTaken,
    ProjectNotFound,
    StoreError,
    UploadRefused,
    UpstreamUnavailable,
)
from wheelgate.core.names import is_distribution, is_safe_filename, normalise_name, parse_head
from wheelgate.core.patterns import NamePatterns
from wheelgate.core.protocols import BlobInfo, BlobStore, Clock
from wheelgate.index.decision import Answer, Decision
from wheelgate.index.merged import Merged
from wheelgate.runtime.background import cancel_all
from wheelgate.runtime.deadline import pause_deadline, renew_deadline
from wheelgate.runtime.metrics import Metrics
from wheelgate.runtime.together import together
from wheelgate.storage import layout
from wheelgate.storage.change_log import Change, Kind
from wheelgate.storage.changes import Announcement, StoreChanges
from wheelgate.storage.claims import Claims
from wheelgate.storage.tombstones import Tombstones
from wheelgate.uploads.checks import CheckedFile, ReceivedFile, UploadChecks

_log = logging.getLogger(__name__)


class Destination(msgspec.Struct, frozen=True):
    """Source that can be written, with files at ``<prefix><project>/<filename>``: the store's own packages, or a container."""

    source: str
    store: BlobStore
    prefix: str = ""
    """Ends with a slash, or is empty."""
    only: NamePatterns | None = None
    """Names it may hold; ``None``: every name."""

    def build_path(self, project: str, filename: str) -> str:
        """Build the path of a file in :attr:`store`."""
        return f"{self.prefix}{project}/{filename}"


class AcceptedUpload(msgspec.Struct, frozen=True):
    """Result of an accepted upload."""

    project: str
    filename: str
    sha256: str
    new: bool
    """``False``: the store had these very bytes already."""


class Uploads:
    """Acceptor of uploads, into the first of the ``targets`` that may hold their project."""

    def __init__(
        self,
        *,
        store: BlobStore,
        targets: Sequence[Destination],
        index: Merged,
        claims: Claims,
        changes: StoreChanges,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._targets = targets
        self._index = index
        self._claims = claims
        self._changes = changes
        self._tombstones = Tombstones(store)
        self._clock = clock
        self._metrics = metrics
        self._checks = UploadChecks()

    async def close(self) -> None:
        """Take no more uploads, and let the checks that run end soon."""
        self._checks.close()

    async def accept(self, received: ReceivedFile, *, take_over: bool = False) -> AcceptedUpload:
        """Check a file and keep it, durable and visible when this returns.

        The first attestations that come with its bytes are kept, also if the file was there before them. ``take_over``: let the
        target own the name although another source answers for it.

        Raises:
            UploadRefused: it is not a wheel or sdist, is damaged, is not what its name or its attestations say, or nothing that
                can be written may hold it.
            FileExists: the name is taken by other bytes.
            NameTaken: another source answers for the project.
            Busy: too many uploads are being checked.
            UpstreamUnavailable: whether another source answers for it cannot be known now.
            StoreError: the store cannot be used now.
        """
        try:
            accepted = await self._accept(received, take_over=take_over)
        except UploadRefused:
            self._metrics.uploads.labels("refused").inc()
            raise
        self._metrics.uploads.labels("stored" if accepted.new else "known").inc()
        return accepted

    async def _accept(self, received: ReceivedFile, *, take_over: bool) -> AcceptedUpload:
        if not self._targets:
            raise UploadRefused(
                'no source of type "store" is configured, and none with writable = true, so nothing can be uploaded'
            )
        project = parse_filename_project(received.filename)
        pause_deadline()  # whoever sent much waits for it to be read
        checked = await self._checks.run(received, project, self._clock.now())
        renew_deadline()
        target = next((target for target in self._targets if target.only is None or project in target.only), None)
        if target is None:
            names = ", ".join(target.source for target in self._targets)
            raise UploadRefused(f"{project} cannot be uploaded: `only` of {names} does not include the name")

        async def look_elsewhere() -> None:
            others = (self._is_stored(other, checked) for other in self._targets if other is not target)
            owner = self._check_owner(project, target, take_over=take_over)
            await together(*others, self._check_tombstone(checked), owner)

        refusals = asyncio.create_task(look_elsewhere())
        try:
            is_stored = await self._is_stored(target, checked)
            if not is_stored:
                await refusals
        finally:
            await cancel_all([refusals])
        new = False if is_stored else await self._store_file(target, checked, received.path)
        if is_stored:  # by whomever: this process may not know yet that the name is claimed, and a dropped blob claims nothing
            await self._claims.claim(project, target.source, listed=True)
        if is_stored and checked.provenance is not None:  # the file may have come without it
            async with self._changes.changing(Change(Kind.PACKAGE, project)) as announcement:
                await self._put_provenance(target, checked, announcement)
        self._changes.emit(Change(Kind.PACKAGE, project))  # whoever retries on this server must see the file
        return AcceptedUpload(project, checked.filename, checked.sha256, new)

    async def _store_file(self, target: Destination, checked: CheckedFile, spooled: Path) -> bool:
        """Write the claim, the metadata, the file and its provenance, in this order; tell whether the file was not there yet."""
        changes = [Change(Kind.PACKAGE, checked.project)]
        is_claimed = await self._claims.is_recorded(checked.project)
        if not is_claimed:
            changes.append(Change(Kind.CLAIM, checked.project))
        async with AsyncExitStack() as stack:
            announcing = stack.enter_async_context(self._changes.changing(*changes, here=False))
            if is_claimed:  # nobody looks for metadata whose wheel is not there: it need not wait until others are told
                announcement, _ = await together(announcing, self._put_metadata(checked))
            else:
                announcement = await announcing
                await self._claims.record(checked.project, target.source)
                await self._put_metadata(checked)
            new = await self._put(target, checked, spooled, announcement)
            await self._put_provenance(target, checked, announcement)
        if new:
            stored = "stored %s of project %s in %s, sha256 %s"
            _log.info(stored, checked.filename, checked.project, target.source, checked.sha256)
        return new

    async def _put_metadata(self, checked: CheckedFile) -> None:
        if checked.metadata is not None:
            with contextlib.suppress(BlobExists):  # of the same wheel, by its digest
                await self._store.put_if_absent(layout.metadata(checked.sha256), checked.metadata.body, {})

    async def _put(self, target: Destination, checked: CheckedFile, spooled: Path, announcement: Announcement) -> bool:
        """Put the file in its place; tell whether it was not there yet."""
        path, facts = target.build_path(checked.project, checked.filename), _build_facts(checked, self._clock.now())
        try:
            info = await target.store.put_if_absent(path, spooled, facts, before_commit=announcement.renew)
        except BlobExists:
            # Somebody else was faster; or the answer to our own first try was lost.
            if not await self._is_stored(target, checked):
                raise StoreError(f"{checked.filename} was deleted during the upload: try again") from None
            return False
        try:
            await self._check_tombstone(checked)
        except FileExists:  # taken and freed again by a deletion, all since we looked; its tombstone was written first
            with contextlib.suppress(BlobChanged):
                await target.store.delete(path, info.etag)
            raise
        return True

    async def _put_provenance(self, target: Destination, checked: CheckedFile, announcement: Announcement) -> None:
        if checked.provenance is not None:
            place = layout.provenance(target.build_path(checked.project, checked.filename))
            with contextlib.suppress(BlobExists):  # what first came with these bytes stays
                await target.store.put_if_absent(place, checked.provenance, {}, before_commit=announcement.renew)

    async def _is_stored(self, target: Destination, checked: CheckedFile) -> bool:
        """Tell whether a target has these very bytes. Other bytes whose name is kept for these give way.

        Raises:
            FileExists: it has other bytes under the name, or may not have these.
        """
        try:
            info = await target.store.info(target.build_path(checked.project, checked.filename))
            kept = info.facts.get("sha256") or await compute_sha256(target.store, info)
        except BlobNotFound:
            return False
        if kept == checked.sha256:
            await self._check_tombstone(checked)  # after having seen them: see wheelgate.storage.tombstones
            return True
        if await self._tombstones.find(checked.project, checked.filename) == checked.sha256:
            with contextlib.suppress(BlobChanged):  # of an upload that was overtaken by a deletion, and then cut off
                await target.store.delete(info.path, info.etag)
            return False
        raise FileExists(
            f"File already exists ({checked.filename!r}, with sha256 hash {kept!r}); this one has {checked.sha256!r}: "
            "choose a new version"
        )

    async def _check_tombstone(self, checked: CheckedFile) -> None:
        if await self._tombstones.find(checked.project, checked.filename) not in (None, checked.sha256):
            raise FileExists(
                f"File already exists ({checked.filename!r} was deleted, and only the same bytes may return under its name); "
                "choose a new version"
            )

    async def _has_file(self, target: Destination, project: str) -> bool:
        """Tell whether a target has a file of a project that can be offered, and was not deleted.

        Looks at few names, however many there are. What only belongs to the project keeps its name private, and is no upload.
        """
        async with aclosing(target.store.list_folder(target.build_path(project, ""))) as listed:
            async for names in listed:
                files = [n for n in names if is_distribution(n) and is_safe_filename(n) and n in Membership(project)]
                if files:
                    return await self._tombstones.find(project, files[0]) is None
        return False

    async def _check_owner(self, project: str, target: Destination, *, take_over: bool) -> None:
        """Refuse a name that another source owns, so that it does not change hands by accident."""
        own = target.source
        first = next((member for member in self._index.members if member.private and member.may_hold(project)), None)
        comes_first = first is not None and first.source.name == own
        if comes_first and await self._claims.is_recorded(project) and await self._has_file(target, project):
            return  # neither the others nor all the files of a large project need be looked at
        decision = await self._index.decide(project)
        owner = decision.owner
        if decision.error is None and owner is None:
            return  # claimed and empty
        if owner == own:
            if _offers(decision, own) or await self._has_file(target, project) or (rival := _find_rival(decision, own)) is None:
                return
            owner = rival.source if rival.failure is None else None
            decision = msgspec.structs.replace(decision, error=rival.failure)
        if owner is None:
            if isinstance(decision.error, ProjectNotFound) or take_over:
                return
            advice = "try again" if isinstance(decision.error, UpstreamUnavailable | StoreError) else "mend that"
            raise UpstreamUnavailable(
                f"cannot determine if another source answers for {project} ({decision.error}): {advice}, or pass --take-over"
            )
        if decision.merge is not None and {own, owner} <= set(decision.merge.sources):
            return
        earlier = {member.source.name for member in takewhile(lambda member: member.source.name != own, self._index.members)}
        if any(answer.source == owner and answer.private and answer.page and owner in earlier for answer in decision.answers):
            raise NameTaken(
                f"source {owner} owns {project} and comes before {own}, so the file would never be served: "
                "upload it there, change the order of the sources, or add a policy.merge rule"
            )
        if not take_over:
            raise NameTaken(
                f"source {owner} answers for {project}: its files would all be hidden by yours. Choose another name, pass "
                "--take-over if intended, or add a policy.merge rule"
            )


def _offers(decision: Decision, source: str) -> bool:
    """Tell whether a source has a file of the project on its page."""
    return any(answer.source == source and answer.page is not None and answer.page.files for answer in decision.answers)


def _find_rival(decision: Decision, own: str) -> Answer | None:
    """Find the first other private source that has a project, or may, of which ours has nothing that can be installed."""
    others = (answer for answer in decision.answers if answer.private and answer.source != own)
    return next((answer for answer in others if answer.has_files or answer.failure is not None), None)


def _build_facts(checked: CheckedFile, now: datetime) -> dict[str, str]:
    facts = {"sha256": checked.sha256, "upload_time": now.isoformat()}
    if checked.metadata is not None:
        facts["metadata_sha256"] = hashlib.sha256(checked.metadata.body).hexdigest()
        if checked.metadata.requires_python is not None:
            facts["requires_python"] = checked.metadata.requires_python
    return facts


async def compute_sha256(store: BlobStore, info: BlobInfo) -> str:
    """Compute the sha256 of a blob that was stored without it."""
    digest = hashlib.sha256()
    async for chunk in store.stream(info.path, 0, info.size):
        await asyncio.to_thread(digest.update, chunk)
        renew_deadline()
    return digest.hexdigest()


def parse_filename_project(filename: str) -> str:
    """Parse the project from the file name of a wheel or sdist.

    Raises:
        UploadRefused: it is not such a file name.
    """
    if not is_safe_filename(filename):
        raise UploadRefused(f"{filename[:200]!r} is not an acceptable file name: use only letters, digits and . _ + ! ~ -")
    head = parse_head(filename)
    if head is None:
        wheel, sdist = "NAME-VERSION-py3-none-any.whl (PEP 427)", "NAME-VERSION.tar.gz or .zip (PEP 625)"
        raise UploadRefused(
            f"{filename} is not the name of a wheel or sdist: expected {wheel if filename.endswith('.whl') else sdist}; build it "
            "again rather than rename it"
        )
    project = normalise_name(head)
    if project is None:
        raise UploadRefused(f"{filename} begins with {head!r}, which is not a project name (PEP 508)")
    return project
