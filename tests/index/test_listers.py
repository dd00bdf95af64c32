"""Who lists a claimed name: told by what sources have, by their pages, or not at all; and public sources are never asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

from tests.support.clock import FakeClock
from tests.support.sources import FakeSource
from tests.support.stores import MemoryStore
from wheelgate.core.packed_names import PackedNames
from wheelgate.core.patterns import NamePatterns
from wheelgate.index.decision import Member
from wheelgate.index.listers import Listers
from wheelgate.index.merged import Merged
from wheelgate.runtime.metrics import Metrics
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.claims import Claim, Claims


class Remote(FakeSource):
    """A source that does not tell its names."""

    async def project_names(self) -> PackedNames:
        return PackedNames()


async def test_each_claim_is_told_of(clock: FakeClock) -> None:
    store = MemoryStore()
    claims = Claims(store, clock, StoreChanges(store, clock))
    ours, remote, public = FakeSource("ours", clock), Remote("remote", clock), FakeSource("public", clock)
    members = [Member(ours, True, NamePatterns(["acme-*"])), Member(remote, True), Member(public, False)]
    index = Merged(members, claims=claims, clock=clock, metrics=Metrics(), reserved=NamePatterns([]))
    for source, name in ((ours, "acme-held"), (ours, "idna"), (remote, "acme-remote"), (public, "acme-empty"), (public, "idna")):
        source.publish(name, "1.0")
    names = [f"acme-{number:02}" for number in range(40)]
    for name in ("acme-held", "acme-remote", "acme-empty", "idna", *names):
        await claims.claim(name, "ours")

    async def found() -> AsyncIterator[Claim]:
        for name in ("acme-held", "acme-remote", "acme-empty", "idna", *names):
            yield Claim(name, "ours", datetime(2026, 1, 1, tzinfo=UTC))

    told = {claim.project: lister async for claim, lister in Listers(index).tell(found())}
    assert {name: lister.source for name, lister in told.items() if lister.source} == {
        "acme-held": "ours",
        "acme-remote": "remote",
    }
    assert not any(lister.silence for lister in told.values())
    assert len(told) == 44
    assert public.asked == []
    assert "acme-held" not in remote.asked + ours.asked, "who tells its names is not asked for them"

    remote.fail()
    told = {claim.project: lister async for claim, lister in Listers(index).tell(found())}
    assert told["acme-held"].source == "ours"
    assert (told["acme-empty"].source, told["acme-empty"].silence) == (None, "source remote is down")
