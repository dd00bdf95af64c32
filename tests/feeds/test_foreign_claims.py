"""Claims of a feed that may end because their names are public: only where the feed itself shows that they are."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

from tests.feeds.conftest import World
from tests.feeds.test_judge import pypi
from wheelgate.index.foreign_claims import ForeignClaims
from wheelgate.storage.claims import Claim


async def test_a_name_of_which_nothing_is_left_is_not_called_foreign(world: World) -> None:
    world.feed.upstreams = [pypi("demo")]
    world.feed.save("demo", "1.0")
    world.feed.publish("acme-lib", "1.0")
    member = SimpleNamespace(source=SimpleNamespace(name="team-feed"), judge=await world.start())
    doubts: dict[str, str] = {}
    foreign = ForeignClaims(SimpleNamespace(members=[member]), lambda name, why: doubts.update({name: why}))  # type: ignore[arg-type]

    async def claims():
        for name in ("acme-gone", "acme-lib", "demo"):
            yield Claim(name, "team-feed", datetime.now(UTC))

    assert [claim.project async for claim in foreign.find(claims())] == ["demo"]
    assert list(doubts) == ["acme-gone"]
    assert "release it by its name if it is public" in doubts["acme-gone"]
