"""Foreign claims: names that a private source claimed, although they come to it from a public index."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping, Sequence

from wheelgate.core.model import Judgement, Ownership
from wheelgate.core.protocols import OwnershipJudge
from wheelgate.index.merged import Merged
from wheelgate.index.mirrored import MirrorJudge
from wheelgate.index.ownership import StatedJudge
from wheelgate.storage.claims import Claim

_AT_ONCE = 16
NOBODY_TELLS = (
    "no source tells its own names from those it passes through, so no claim can be called foreign: say upstream = "
    '"public" of the one that does, and list its own names in `only`'
)


class ForeignClaims:
    """Finds the claims of which the judge of the source that claimed the name says that nothing is its own."""

    def __init__(self, index: Merged, report_doubt: Callable[[str, str], None]) -> None:
        """``report_doubt``: told each name of which nobody can tell, and why."""
        self._judges: Mapping[str, OwnershipJudge] = {
            member.source.name: member.judge for member in index.members if member.judge is not None
        }
        self._report_doubt = report_doubt

    @property
    def anybody_tells(self) -> bool:
        """True if there is a source that can tell."""
        return bool(self._judges)

    async def find(self, claims: AsyncIterable[Claim]) -> AsyncIterator[Claim]:
        """Find those of some claims that are foreign. Claims of sources that no judge speaks for are not."""
        waiting: list[Claim] = []
        async for claim in claims:
            if claim.source in self._judges:
                waiting.append(claim)
            if len(waiting) == _AT_ONCE:
                for foreign in await self._pick(waiting):
                    yield foreign
                waiting.clear()
        for foreign in await self._pick(waiting):
            yield foreign

    async def _pick(self, claims: Sequence[Claim]) -> list[Claim]:
        judged = list(zip(claims, await asyncio.gather(*map(self._judge, claims)), strict=True))
        for claim, judgement in judged:
            # One that was judged before an outage may be the source's own by now, and a claim that ends is hard to mend.
            if judgement.ownership is Ownership.UNKNOWN or judgement.last_heard is not None:
                self._report_doubt(claim.project, judgement.reason)
        return [c for c, found in judged if found.ownership is Ownership.PUBLIC and found.last_heard is None]

    async def _judge(self, claim: Claim) -> Judgement:
        judge = self._judges[claim.source]
        if isinstance(judge, StatedJudge):
            return judge.judge_anew(claim.project)
        if isinstance(judge, MirrorJudge):
            return await judge.judge_anew(claim.project)
        found = await judge.judge(claim.project)
        if found.ownership is not Ownership.PUBLIC or found.is_vouched_for:
            return found
        # A name whose own versions are all gone for good looks the same, and it is for these that there are claims.
        reason = f"nobody can tell whether {claim.project} was ever {claim.source}'s own: nothing of it is saved there now"
        return Judgement(ownership=Ownership.UNKNOWN, reason=f"{reason}; release it by its name if it is public")
