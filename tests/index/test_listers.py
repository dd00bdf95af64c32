"""Who lists a claimed name: told by what sources have, by their pages, or not at all; and public sources are never asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

from tests.support.clock import FakeClock
from tests.support.packages import wheel_name
from tests.support.sources import FakeSource
from tests.support.stores import MemoryStore, WatchedStore
from wheelgate.core.packed_names import PackedNames
from wheelgate.core.patterns import NamePatterns
from wheelgate.index.decision import Member
from wheelgate.index.listers import Listers
from wheelgate.index.merged import Merged
from wheelgate.runtime.metrics import Metrics
from wheelgate.sources.blob_packages import BlobPackages
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


async def test_sources_that_tell_all_their_names_are_asked_for_none(clock: FakeClock) -> None:
    """A decision for each of two hundred thousand names takes a quarter of an hour, and what it remembers 100 MB."""
    store = WatchedStore()
    await store.put_if_absent(f"packages/acme-held/{wheel_name('acme-held', '1.0')}", b"x", {})
    packages = BlobPackages(name="ours", store=store, prefix="packages/", clock=clock)
    box = BlobPackages(name="box", store=MemoryStore(), prefix="", clock=clock)
    remote = Remote("remote", clock)
    members = [Member(packages, True), Member(box, True), Member(remote, True, NamePatterns(["other-*"]))]
    claims = Claims(store, clock, StoreChanges(store, clock))
    index = Merged(members, claims=claims, clock=clock, metrics=Metrics(), reserved=NamePatterns([]))
    names = ["acme-held", *(f"acme-{number:03}" for number in range(200)), "other-one"]

    async def found() -> AsyncIterator[Claim]:
        for name in names:
            yield Claim(name, "ours", datetime(2026, 1, 1, tzinfo=UTC))

    told = {claim.project: lister async for claim, lister in Listers(index).tell(found())}
    assert [name for name, lister in told.items() if lister.source] == ["acme-held"]
    assert list(told) == names
    assert remote.asked == ["other-one"]
    assert [path for method, path in store.calls if method == "list" and "acme-0" in path] == []
    for source in (packages, box):
        await source.close()


async def test_one_whose_names_cannot_be_listed_is_asked_for_each(clock: FakeClock) -> None:
    store = WatchedStore()
    packages = BlobPackages(name="ours", store=store, prefix="packages/", clock=clock)
    claims = Claims(MemoryStore(), clock, StoreChanges(MemoryStore(), clock))
    index = Merged([Member(packages, True)], claims=claims, clock=clock, metrics=Metrics(), reserved=NamePatterns([]))
    store.down()

    async def found() -> AsyncIterator[Claim]:
        yield Claim("acme-a", "ours", datetime(2026, 1, 1, tzinfo=UTC))

    ((_, lister),) = [told async for told in Listers(index).tell(found())]
    assert (lister.source, lister.silence is not None) == (None, True)
    await packages.close()
