"""Listers: which private source lists a name now, for whoever goes through many names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence

import msgspec

from wheelgate.core.errors import StillListing, StoreError, UpstreamError
from wheelgate.core.packed_names import PackedNames
from wheelgate.core.protocols import find_bare
from wheelgate.index.decision import Member
from wheelgate.index.merged import Merged
from wheelgate.sources.blob_packages import BlobPackages
from wheelgate.sources.blob_scan import BlobScan
from wheelgate.sources.directory import Directory
from wheelgate.storage.claims import Claim

_AT_ONCE = 16
"""Names that sources are asked for side by side."""


class Lister(msgspec.Struct, frozen=True):
    """Answer to the question who lists a name."""

    source: str | None
    """The first private source that does; ``None``: none of those that were heard."""
    silence: str | None = None
    """The reason why it cannot be told, in a sentence; ``None``: it can."""


class Listers:
    """The private sources of an index, each asked for all its names once, if it can tell them, and else name by name."""

    def __init__(self, index: Merged, *, spares_claimants: bool = False) -> None:
        """``spares_claimants``: of each name, the source that claimed it is left out: what it lists is not its own."""
        self._index = index
        self._spares_claimants = spares_claimants
        self._known: Sequence[tuple[Member, PackedNames]] = ()
        self._unknown: Sequence[Member] = ()
        """Those that may have further names, or failed."""
        self._is_prepared = False

    async def _prepare(self) -> None:
        if not self._is_prepared:
            private = [member for member in self._index.members if member.private]
            found = [*zip(private, await asyncio.gather(*map(_find_names, private)), strict=True)]
            self._known = [(member, names) for member, names in found if names]
            self._unknown = [member for member, names in found if names is None or not _lists_all(member)]
            self._is_prepared = True

    async def _find(self, claim: Claim) -> Lister:
        """Find out who lists a name. Nothing is claimed by that, and no public source is asked for a claimed name."""
        project, spared = claim.project, claim.source if self._spares_claimants else None
        for member, names in self._known:
            if member.source.name != spared and member.may_hold(project) and project in names:
                return Lister(member.source.name)
        if not any(member.may_hold(project) for member in self._unknown):  # a decision for each of very many takes long
            return Lister(None)
        decision = await self._index.decide(project, learn=False)
        answers = [answer for answer in decision.answers if answer.private and answer.source != spared]
        lister = next((answer.source for answer in answers if answer.page is not None), None)
        failed = next((str(answer.failure) for answer in answers if answer.failure is not None), None)
        return Lister(lister, None if lister is not None else failed)

    async def tell(self, claims: AsyncIterable[Claim]) -> AsyncIterator[tuple[Claim, Lister]]:
        """Tell of each claim, in its turn, who lists the name."""
        waiting: list[Claim] = []
        async for claim in claims:
            waiting.append(claim)
            if len(waiting) == _AT_ONCE:
                for told in await self._tell(waiting):
                    yield told
                waiting.clear()
        for told in await self._tell(waiting):
            yield told

    async def _tell(self, claims: Sequence[Claim]) -> Iterable[tuple[Claim, Lister]]:
        await self._prepare()
        return zip(claims, await asyncio.gather(*(self._find(claim) for claim in claims)), strict=True)


def _lists_all(member: Member) -> bool:
    """True if a source tells all its names: an index may hold a million, and tells none."""
    return isinstance(find_bare(member.source), BlobPackages | BlobScan | Directory)


async def _find_names(member: Member) -> PackedNames | None:
    """Find the names that a source has; ``None``: it fails, and says so of each name that it is asked for."""
    while True:
        try:
            return await member.source.project_names()
        except StillListing as error:
            await error.wait()
        except (StoreError, UpstreamError):
            return None
