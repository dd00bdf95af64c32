"""Releases as an index, over real HTTP: what is listed, what listing costs, and what is no answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from tests.sources.source_contract import SourceContract
from tests.support.clock import FakeClock
from tests.support.github import TOKEN, Github, github
from tests.support.packages import sdist_bytes, sha256, wheel_bytes, wheel_name
from tests.support.sources import filenames
from wheelgate.config import Connection
from wheelgate.core.errors import ProjectNotFound, UpstreamBadAnswer, UpstreamUnavailable
from wheelgate.core.model import RemoteFile
from wheelgate.core.protocols import Credential
from wheelgate.credentials.connections import Connections
from wheelgate.runtime.metrics import Metrics
from wheelgate.sources.github_releases import GithubReleases
from wheelgate.upstream.client import SourceClient

FRESH_S = 60.0


class Token:
    connection = "github"

    async def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {TOKEN}"}

    async def sign_url(self, url: str) -> str:
        return url

    async def renew(self) -> bool:
        return False


@asynccontextmanager
async def releases(hub: Github, *repos: str, clock: FakeClock, token: Credential | None = None) -> AsyncIterator[GithubReleases]:
    connections = Connections(lambda _: token or Token())
    connections.replace([Connection(name="github", category="Git", target=hub.url)])
    metrics = Metrics()
    client = SourceClient(
        source="tools",
        url=hub.url,
        file_hosts=(hub.storage_host,),
        credentials=connections.of_page(hub.url),
        clock=clock,
        metrics=metrics,
        user_agent="wheelgate/test",
    )
    source = GithubReleases(name="tools", url=hub.url, repos=repos, client=client, clock=clock, metrics=metrics, fresh_s=FRESH_S)
    try:
        yield source
    finally:
        await source.close()
        await client.close()


@pytest.fixture
def hub() -> Iterator[Github]:
    with github() as made:
        yield made


class World:
    """The source, and the releases behind it: one a file, as a pipeline makes them."""

    gives_digests = True
    lists_names = True

    def __init__(self, hub: Github, source: GithubReleases, clock: FakeClock) -> None:
        self.hub = hub
        self.source = source
        self.clock = clock
        hub.repos["acme/tools"] = []

    async def publish(self, project: str, filename: str, body: bytes) -> None:
        self.hub.release("acme/tools", f"{project}-{len(self.hub.bodies)}", {filename: body})
        self.clock.move(FRESH_S)

    async def remove(self, project: str) -> None:
        self.hub.repos["acme/tools"].clear()
        self.clock.move(FRESH_S)

    async def fail(self) -> None:
        self.hub.down = True
        self.clock.move(FRESH_S)

    async def mend(self) -> None:
        self.hub.down = False
        self.clock.move(FRESH_S)


class TestGithubReleases(SourceContract):
    @pytest.fixture
    async def world(self, hub: Github, clock: FakeClock) -> AsyncIterator[World]:
        async with releases(hub, "acme/tools", clock=clock) as source:
            yield World(hub, source, clock)


async def test_a_file_says_what_its_asset_says(hub: Github, clock: FakeClock) -> None:
    body = wheel_bytes("acme-lib", "1.0")
    hub.release("acme/tools", "v1", {wheel_name("acme-lib", "1.0"): body, "notes.txt": b"x", "acme_lib-1.0.tar.gz": b"sdist"})
    async with releases(hub, "acme/tools", clock=clock) as source:
        wheel, sdist = (await source.project_page("acme-lib")).files
        assert sdist.filename == "acme_lib-1.0.tar.gz"
        assert wheel.location == RemoteFile(
            f"{hub.url}repos/acme/tools/releases/assets/1", "tools", accept="application/octet-stream"
        )
        assert (wheel.hashes, wheel.size) == ({"sha256": sha256(body)}, len(body))
        assert wheel.upload_time == datetime(2025, 1, 1, 0, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("digest", "hashes"),
    [
        *((None, {}), ("", {}), ("SHA256:" + "AB" * 32, {"sha256": "ab" * 32}), ("sha512:" + "ab" * 64, {"sha512": "ab" * 64})),
        *(("md5:0", None), ("sha256:00", None), ("sha256:" + "g" * 64, None), ("sm3:" + "ab" * 32, None), ("ab" * 32, None)),
    ],
)
async def test_a_digest_that_cannot_be_checked_costs_the_file(
    hub: Github, clock: FakeClock, digest: str | None, hashes: dict[str, str] | None
) -> None:
    hub.release("acme/tools", "v1", {wheel_name("acme-lib", "1.0"): b"x"})
    hub.repos["acme/tools"][0]["assets"][0]["digest"] = digest
    async with releases(hub, "acme/tools", clock=clock) as source:
        page = await source.project_page("acme-lib")
        assert [file.hashes for file in page.files] == ([] if hashes is None else [hashes])
        assert [entry.rule for entry in page.withheld] == (["digest"] if hashes is None else [])


async def test_listing_what_has_not_changed_costs_nothing_of_the_budget(hub: Github, clock: FakeClock) -> None:
    for number in range(150):
        hub.release("acme/tools", f"v{number}", {wheel_name("acme-lib", f"1.{number}"): b"x"})
    async with releases(hub, "acme/tools", clock=clock) as source:
        page = await source.project_page("acme-lib")
        assert len(page.files) == 150
        left, asked = hub.budget, len(hub.asked)
        assert asked == 2
        await source.project_page("acme-lib")
        assert len(hub.asked) == asked, "within its time the list is not asked for"
        clock.move(FRESH_S)
        again = await source.project_page("acme-lib")
        assert again.revision == page.revision
        assert again.as_of > page.as_of
        assert (hub.budget, len(hub.asked)) == (left, asked + 2)


async def test_the_first_repository_and_the_oldest_release_have_a_file_name(hub: Github, clock: FakeClock) -> None:
    name = wheel_name("acme-lib", "1.0")
    hub.release("acme/tools", "v1", {name: b"first"})
    hub.release("acme/tools", "v1-again", {name: b"second"})
    hub.release("acme/more", "v1", {name: b"third", wheel_name("acme-lib", "2.0"): b"more"})
    async with releases(hub, "acme/tools", "acme/more", clock=clock) as source:
        first, second = (await source.project_page("acme-lib")).files
        assert first.hashes["sha256"] == sha256(b"first")
        assert second.hashes["sha256"] == sha256(b"more")


async def test_drafts_and_half_uploaded_files_are_not_listed(hub: Github, clock: FakeClock) -> None:
    hub.release("acme/tools", "v2", {wheel_name("acme-lib", "2.0"): b"x"}, draft=True)
    hub.release("acme/tools", "v1", {wheel_name("acme-lib", "1.0"): b"x", "acme_lib-1.0.tar.gz": sdist_bytes("acme-lib", "1.0")})
    hub.repos["acme/tools"][0]["assets"][0]["state"] = "starter"
    async with releases(hub, "acme/tools", clock=clock) as source:
        assert filenames(await source.project_page("acme-lib")) == ["acme_lib-1.0.tar.gz"]


@pytest.mark.parametrize("where", ["https://evil.example/x", "http://user@127.0.0.1/x", "file:///etc/passwd", "not a url"])
async def test_an_asset_is_the_apis_own_or_none(hub: Github, clock: FakeClock, where: str) -> None:
    hub.release("acme/tools", "v1", {wheel_name("acme-lib", "1.0"): b"x", wheel_name("acme-lib", "2.0"): b"x"})
    hub.repos["acme/tools"][0]["assets"][0]["url"] = where
    async with releases(hub, "acme/tools", clock=clock) as source:
        assert filenames(await source.project_page("acme-lib")) == [wheel_name("acme-lib", "2.0")]


async def test_a_repository_that_is_not_there_is_a_failure_of_all(hub: Github, clock: FakeClock) -> None:
    """GitHub says 404 of what a token may not see: that says nothing of what is in it."""
    hub.release("acme/tools", "v1", {wheel_name("acme-lib", "1.0"): b"x"})
    async with releases(hub, "acme/tools", "acme/hidden", clock=clock) as source:
        for project in ("acme-lib", "other"):
            with pytest.raises(UpstreamBadAnswer, match=r"acme/hidden, has no such repository, or the token may not see it"):
                await source.project_page(project)


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b'[{"assets": [{}]}]', b"\xff", b"[" * 10_000])
async def test_something_else_than_releases_is_no_answer(hub: Github, clock: FakeClock, body: bytes) -> None:
    hub.odd = body
    async with releases(hub, "acme/tools", clock=clock) as source:
        with pytest.raises(UpstreamBadAnswer, match="not a list of releases"):
            await source.project_page("acme-lib")


async def test_a_repository_with_more_files_than_any_is_no_answer(hub: Github, clock: FakeClock) -> None:
    """Fifty pages of a hundred releases may have so many; all are kept in memory, and they are asked for one after the other."""
    asset = {"name": "a.txt", "url": f"{hub.url}x", "size": 1}
    hub.odd = json.dumps([{"assets": [asset] * 50}] * 100).encode()
    async with releases(hub, "acme/tools", clock=clock) as source:
        with pytest.raises(UpstreamBadAnswer, match="the releases of acme/tools have more than 200000 files"):
            await source.project_page("acme-lib")
    assert len(hub.asked) == 41


async def test_a_used_up_budget_is_waited_for_and_no_refusal(hub: Github, clock: FakeClock) -> None:
    hub.release("acme/tools", "v1", {wheel_name("acme-lib", "1.0"): b"x"})
    hub.budget = 0
    async with releases(hub, "acme/tools", clock=clock) as source:
        with pytest.raises(UpstreamUnavailable) as raised:
            await source.project_page("acme-lib")
        assert raised.value.retry_after_s is not None
        asked = len(hub.asked)
        with pytest.raises(UpstreamUnavailable, match="asked us to wait"):
            await source.project_page("acme-lib")
        assert len(hub.asked) == asked


async def test_nothing_of_it_is_a_definite_absence(hub: Github, clock: FakeClock) -> None:
    hub.repos["acme/tools"] = []
    async with releases(hub, "acme/tools", clock=clock) as source:
        with pytest.raises(ProjectNotFound):
            await source.project_page("acme-lib")
