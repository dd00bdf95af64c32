"""A feed service on loopback, and a judge that asks it as a server does: through the real client, over real TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
from yarl import URL

from tests.support.clock import FakeClock
from tests.support.company import PAT, TEAM_URL, Company, company
from tests.support.devops import Feed
from tests.support.lies import hang_up
from tests.support.stores import MemoryStore
from wheelgate.config import Connection
from wheelgate.core.devops import find_feed
from wheelgate.core.secret import Secret
from wheelgate.credentials.connections import Connections
from wheelgate.feeds.judge import FeedJudge
from wheelgate.feeds.service import FeedService
from wheelgate.runtime.metrics import Metrics
from wheelgate.upstream.client import SourceClient


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    with company(tmp_path_factory.mktemp("company")) as made:
        yield made


class _Pat:
    connection = "acme"

    def __init__(self, pat: str) -> None:
        self._pat = Secret(pat)

    async def headers(self) -> dict[str, str]:
        import aiohttp

        return {"Authorization": aiohttp.encode_basic_auth("wheelgate", self._pat.reveal())}

    async def sign_url(self, url: str) -> str:
        return url

    async def renew(self) -> bool:
        return False

    def explain_refusal(self, *_: object) -> None:
        return None


@dataclass
class World:
    """The organisation ``acme`` with one feed of its own for each test, and processes that ask about it."""

    company: Company
    clock: FakeClock
    feed: Feed
    store: MemoryStore = field(default_factory=MemoryStore)
    start: Callable[..., Awaitable[FeedJudge]] = field(init=False)
    """Starts a process: ``judge = await start()``; with ``url`` one for another feed."""

    @property
    def url(self) -> str:
        return TEAM_URL.replace("/team/", f"/{self.feed.name}/")

    @property
    def asked(self) -> list[str]:
        """What the service was asked, without the query."""
        return [asked.path for asked in self.company.devops.service_asked]


@pytest.fixture
async def world(acme: Company, clock: FakeClock, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    devops = acme.devops
    feed = Feed(f"feed-{abs(hash(request.node.name))}")
    devops.organisation("acme").feeds.append(feed)
    devops.organisation("acme").pats = {PAT: "good"}
    devops.service_mood, devops.ignores_names = None, False
    devops.service_asked.clear()
    made = World(acme, clock, feed)
    async with AsyncExitStack() as stack:

        async def start(
            url: str = "", *, fresh_s: float = 60.0, targets: tuple[str, ...] = ("https://pkgs.dev.azure.com/acme",), **more: int
        ) -> FeedJudge:
            place = find_feed(URL(url or made.url, encoded=True))
            assert place is not None
            connections = Connections(lambda connection: _Pat(PAT))
            connections.replace(
                [
                    Connection(name=f"c{number}", target=target, auth_type="PAT", value="env:X")
                    for number, target in enumerate(targets)
                ]
            )
            client = SourceClient(
                source="team-feed (feed service)",
                url=place.url,
                file_hosts=(),
                credentials=connections.of_page(url or made.url),
                clock=clock,
                metrics=Metrics(),
                user_agent="wheelgate/test",
                ca_file=str(acme.ca_file),
                outbound_proxy=acme.proxy.url,
                headers={"X-TFS-FedAuthRedirect": "Suppress"},
            )
            stack.push_async_callback(client.close)
            judge = FeedJudge(
                "team-feed",
                place=place,
                service=FeedService("team-feed", client),
                clock=clock,
                fresh_s=fresh_s,
                absent_s=fresh_s,
                store=made.store,
                **more,
            )
            stack.push_async_callback(judge.close)
            return judge

        made.start = start
        yield made
    await hang_up()
