"""Releases as an index, over real HTTP: what is listed, what listing costs, and what is no answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.sources.source_contract import SourceContract
from tests.support.clock import FakeClock
from tests.support.github import TOKEN, Github, github
from tests.support.packages import sdist_bytes, sha256, wheel_bytes, wheel_name
from tests.support.sources import filenames
from tests.support.turns import longest_turn
from wheelgate.config import Connection
from wheelgate.core.errors import CredentialRefused, ProjectNotFound, UpstreamBadAnswer, UpstreamUnavailable
from wheelgate.core.model import STALE_IF_ERROR_S, RemoteFile
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

    def explain_refusal(self, *_: object) -> None:
        return None


@asynccontextmanager
async def releases(
    hub: Github, *repos: str, clock: FakeClock, token: Credential | None = None, target: str = "", prereleases: bool = True
) -> AsyncIterator[GithubReleases]:
    connections = Connections(lambda _: token or Token())
    connections.replace([Connection(name="github", category="Git", target=f"{hub.url}{target}")])
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
    source = GithubReleases(
        name="tools",
        url=hub.url,
        repos=repos,
        client=client,
        clock=clock,
        metrics=metrics,
        fresh_s=FRESH_S,
        prereleases=prereleases,
    )
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
        assert asked == 4, "each page once, and once more to see that none has moved meanwhile"
        assert left == 5_000 - 2
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


async def test_a_repository_that_is_gone_stops_no_other_and_may_have_any_other_name(
    hub: Github, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """GitHub says 404 of what a token may not see: that says nothing of what is in it."""
    hub.release("acme/tools", "v1", {wheel_name("acme-lib", "1.0"): b"x"})
    async with releases(hub, "acme/hidden", "acme/tools", clock=clock) as source:
        assert filenames(await source.project_page("acme-lib")) == [wheel_name("acme-lib", "1.0")]
        asked = len(hub.asked)
        for project in ("other", "another"):
            with pytest.raises(UpstreamBadAnswer, match=r"acme/hidden, has no such repository, or the token may not see it"):
                await source.project_page(project)
        assert len(hub.asked) == asked, "one question, not one a name"
        assert caplog.text.count("acme/hidden") == 1


async def test_a_repository_that_went_has_what_it_had_for_a_day(hub: Github, clock: FakeClock) -> None:
    hub.release("acme/tools", "v1", {wheel_name("acme-lib", "1.0"): b"x"})
    hub.release("acme/more", "v2", {wheel_name("acme-lib", "2.0"): b"y"})
    both = [wheel_name("acme-lib", "1.0"), wheel_name("acme-lib", "2.0")]
    async with releases(hub, "acme/tools", "acme/more", clock=clock) as source:
        page = await source.project_page("acme-lib")
        assert filenames(page) == both
        del hub.repos["acme/more"]
        clock.move(FRESH_S)
        again = await source.project_page("acme-lib")
        assert filenames(again) == both, "an older version must not win because a newer one cannot be seen"
        assert again.as_of == page.as_of
        clock.move(STALE_IF_ERROR_S)
        assert filenames(await source.project_page("acme-lib")) == both[:1]


async def test_all_repositories_gone_are_a_failure_of_the_source(hub: Github, clock: FakeClock) -> None:
    hub.release("acme/tools", "v1", {wheel_name("acme-lib", "1.0"): b"x"})
    async with releases(hub, "acme/tools", clock=clock) as source:
        await source.project_page("acme-lib")
        hub.repos.clear()
        clock.move(FRESH_S)
        asked = len(hub.asked)
        for _ in range(2):
            with pytest.raises(UpstreamBadAnswer):
                await source.project_page("acme-lib")
        assert len(hub.asked) == asked + 1


async def test_a_renamed_repository_is_followed_where_the_credential_goes_and_named_where_it_does_not(
    hub: Github, clock: FakeClock
) -> None:
    hub.release("acme/new", "v1", {wheel_name("acme-lib", "1.0"): b"x"})
    hub.renamed["acme/tools"] = "acme/new"
    async with releases(hub, "acme/tools", clock=clock) as source:
        assert filenames(await source.project_page("acme-lib")) == [wheel_name("acme-lib", "1.0")]
    async with releases(hub, "acme/tools", clock=clock, target="repos/acme") as source:
        with pytest.raises(
            UpstreamBadAnswer, match="acme/tools, was sent on to where the credential is not shown: it was renamed"
        ):
            await source.project_page("acme-lib")


@pytest.mark.parametrize("gone", [0, 50, 120])
async def test_a_release_deleted_while_the_list_is_read_hides_no_other(hub: Github, clock: FakeClock, gone: int) -> None:
    for number in range(150):
        hub.release("acme/tools", f"v{number}", {wheel_name("acme-lib", f"1.{number}"): b"x"})
    deleted: list[dict[str, Any]] = []

    def delete(number: int) -> None:
        if number == 1 and not deleted:
            deleted.append(hub.repos["acme/tools"].pop(gone))

    hub.after_page = delete
    async with releases(hub, "acme/tools", clock=clock) as source:
        assert len((await source.project_page("acme-lib")).files) == 149


async def test_a_list_that_never_stands_still_is_no_answer(hub: Github, clock: FakeClock) -> None:
    for number in range(150):
        hub.release("acme/tools", f"v{number}", {wheel_name("acme-lib", f"1.{number}"): b"x"})
    hub.after_page = lambda _: hub.release("acme/tools", f"w{len(hub.bodies)}", {wheel_name("other", f"{len(hub.bodies)}"): b"x"})
    async with releases(hub, "acme/tools", clock=clock) as source:
        with pytest.raises(UpstreamUnavailable, match="the releases of acme/tools change while they are read"):
            await source.project_page("acme-lib")


async def test_a_list_whose_downloads_are_counted_while_it_is_read_stands_still(hub: Github, clock: FakeClock) -> None:
    for number in range(150):
        hub.release("acme/tools", f"v{number}", {wheel_name("acme-lib", f"1.{number}"): b"x"})

    def download(_: int) -> None:
        for release in hub.repos["acme/tools"]:
            release["assets"][0]["download_count"] = len(hub.asked)

    hub.after_page = download
    async with releases(hub, "acme/tools", clock=clock) as source:
        assert len((await source.project_page("acme-lib")).files) == 150
    assert len(hub.asked) == 4


async def test_what_older_releases_have_than_are_read_is_unknown(hub: Github, clock: FakeClock) -> None:
    hub.release("acme/tools", "v1", {wheel_name("acme-old", "1.0"): b"x"})
    hub.repos["acme/tools"][:0] = [{"id": number, "tag_name": f"w{number}", "assets": []} for number in range(4_999)]
    async with releases(hub, "acme/tools", clock=clock) as source:
        with pytest.raises(UpstreamBadAnswer, match="of the releases of acme/tools the newest 5000 are read"):
            await source.project_page("acme-lib")
        assert len((await source.project_page("acme-old")).files) == 1
        hub.release("acme/tools", "v2", {wheel_name("acme-lib", "2.0"): b"x"})
        clock.move(FRESH_S)
        assert len((await source.project_page("acme-lib")).files) == 1
        with pytest.raises(UpstreamBadAnswer):
            await source.project_page("acme-old")


async def test_very_many_files_are_listed_with_everyone_else_served_in_between(hub: Github, clock: FakeClock) -> None:
    names = [wheel_name("acme-lib", f"1.{number}") for number in range(8_000)]
    more = {"url": f"{hub.url}repos/acme/tools/releases/assets/1", "digest": f"sha256:{'a' * 64}"}
    assets = [{"name": name, **more} for name in names]
    hub.repos["acme/tools"] = [{"id": 1, "tag_name": "v1", "assets": assets}]
    async with releases(hub, "acme/tools", clock=clock) as source, longest_turn() as turns:
        assert len((await source.project_page("acme-lib")).files) == 8_000
    assert turns.longest_s < 0.03


async def test_prereleases_can_be_left_out(hub: Github, clock: FakeClock) -> None:
    hub.release("acme/tools", "v2", {wheel_name("acme-lib", "2.0"): b"x"}, prerelease=True)
    hub.release("acme/tools", "v1", {wheel_name("acme-lib", "1.0"): b"x"})
    async with releases(hub, "acme/tools", clock=clock) as source:
        assert len((await source.project_page("acme-lib")).files) == 2
    async with releases(hub, "acme/tools", clock=clock, prereleases=False) as source:
        assert filenames(await source.project_page("acme-lib")) == [wheel_name("acme-lib", "1.0")]


async def test_a_name_of_which_nothing_may_be_listed_is_the_sources_all_the_same(hub: Github, clock: FakeClock) -> None:
    hub.release("acme/tools", "v3", {wheel_name("acme-new", "3.0"): b"x", wheel_name("acme-lib", "3.0"): b"x"}, prerelease=True)
    hub.release("acme/tools", "v2", {wheel_name("acme-half", "2.0"): b"x", wheel_name("acme-led", "2.0"): b"x"})
    hub.repos["acme/tools"][0]["assets"][0]["state"] = "starter"
    hub.repos["acme/tools"][0]["assets"][1]["url"] = "https://evil.example/x"
    hub.release("acme/tools", "v1", {wheel_name("acme-lib", "1.0"): b"x"})
    async with releases(hub, "acme/tools", clock=clock, prereleases=False) as source:
        for name, said in (("acme-new", "prereleases = false"), ("acme-half", "not got"), ("acme-led", "leads away")):
            page = await source.project_page(name)
            assert filenames(page) == []
            assert said in page.withheld[0].reason
        page = await source.project_page("acme-lib")
        assert (filenames(page), page.withheld) == ([wheel_name("acme-lib", "1.0")], ())
        with pytest.raises(ProjectNotFound):
            await source.project_page("acme-other")


async def test_a_secondary_rate_limit_is_a_pause_and_no_refusal(hub: Github, clock: FakeClock) -> None:
    hub.refusal = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
    async with releases(hub, "acme/tools", clock=clock) as source:
        with pytest.raises(UpstreamUnavailable, match="wants fewer requests at a time") as raised:
            await source.project_page("acme-lib")
        assert raised.value.retry_after_s == 60
        for project in ("acme-lib", "other"):
            with pytest.raises(UpstreamUnavailable):
                await source.project_page(project)
        assert len(hub.asked) == 1
        hub.refusal, hub.repos["acme/tools"] = None, []
        clock.move(60)
        with pytest.raises(ProjectNotFound):
            await source.project_page("acme-lib")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "Resource protected by organization SAML enforcement. You must grant your Personal Access token access",
            "single sign-on",
        ),
        (
            "Although you appear to have the correct authorization credentials, the `acme` organization has an IP allow list "
            "enabled, and your IP address is not permitted to access this resource.",
            "lets only listed addresses in",
        ),
        ("Resource not accessible by personal access token", "lacks a permission"),
    ],
)
async def test_a_refusal_is_told_as_what_it_is(hub: Github, clock: FakeClock, said: str, told: str) -> None:
    hub.refusal = said
    async with releases(hub, "acme/tools", clock=clock) as source:
        with pytest.raises(CredentialRefused, match=f"connection github was refused by .*{told}"):
            await source.project_page("acme-lib")


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
