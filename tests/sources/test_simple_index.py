"""Any index that speaks the Simple API, over real HTTP: what is listed, what is asked again, and what is no answer."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import re
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from aiohttp import web

from tests.sources.source_contract import SourceContract
from tests.support.clock import FakeClock
from tests.support.index import SIMPLE_JSON, FakeIndex, running
from tests.support.packages import metadata, wheel_bytes, wheel_name
from tests.support.sources import counted, filenames
from wheelgate.core.errors import CredentialRefused, PageTooLarge, ProjectNotFound, UpstreamBadAnswer, UpstreamUnavailable
from wheelgate.core.model import ProjectStatus, RemoteFile
from wheelgate.core.protocols import Credential
from wheelgate.runtime.metrics import Metrics
from wheelgate.sources.simple_index import SimpleIndex
from wheelgate.upstream.answers import PageAnswer
from wheelgate.upstream.client import SourceClient

WHEEL = wheel_name("acme-lib", "1.0")


class NoCredentials:
    def for_url(self, url: str) -> Credential | None:
        return None


@asynccontextmanager
async def simple_index(
    url: str, clock: FakeClock, metrics: Metrics, file_hosts: tuple[str, ...] = ()
) -> AsyncIterator[SimpleIndex]:
    client = SourceClient(
        source="team",
        url=url,
        file_hosts=file_hosts,
        credentials=NoCredentials(),
        clock=clock,
        metrics=metrics,
        user_agent="wheelgate/test",
    )
    try:
        yield SimpleIndex(name="team", url=url, client=client, clock=clock, metrics=metrics)
    finally:
        await client.close()


class Upstream:
    """The source, and the index behind it."""

    gives_digests = True
    lists_names = False

    def __init__(self, index: FakeIndex, source: SimpleIndex) -> None:
        self.index = index
        self.source = source

    async def publish(self, project: str, filename: str, body: bytes) -> None:
        self.index.publish(project, filename, body)

    async def remove(self, project: str) -> None:
        del self.index.projects[project]

    async def fail(self) -> None:
        async def broken(request: web.BaseRequest) -> web.StreamResponse:
            return web.Response(status=502)

        self.index.handlers = {f"/simple/{project}/": broken for project in ("acme-lib", "nobody")}

    async def mend(self) -> None:
        self.index.handlers.clear()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def source(index: FakeIndex, clock: FakeClock, metrics: Metrics) -> AsyncIterator[SimpleIndex]:
    async with simple_index(index.url, clock, metrics) as made:
        yield made


class TestSimpleIndex(SourceContract):
    @pytest.fixture(params=["json", "html", "json with etags", "html with etags"])
    async def world(self, request: pytest.FixtureRequest, clock: FakeClock, metrics: Metrics) -> AsyncIterator[Upstream]:
        index = FakeIndex(html="html" in request.param, etags="etags" in request.param)
        with running(index):
            async with simple_index(index.url, clock, metrics) as source:
                yield Upstream(index, source)


async def test_json_says_all_that_a_page_can_say(index: FakeIndex, source: SimpleIndex) -> None:
    index.publish(
        "acme-lib",
        WHEEL,
        b"body",
        metadata=b"Metadata-Version: 2.1",
        requires_python=">=3.9",
        yanked="broken",
        provenance="https://index.example.com/provenance",
    )
    (file,) = (await source.project_page("acme-lib")).files
    assert file.location == RemoteFile(f"{index.origin}/packages/acme-lib/{WHEEL}", "team")
    assert file.hashes == {"sha256": hashlib.sha256(b"body").hexdigest()}
    assert file.size == 4
    assert file.upload_time == datetime(2025, 1, 1, tzinfo=UTC)
    assert (file.requires_python, file.yanked) == (">=3.9", "broken")
    assert file.core_metadata == {"sha256": hashlib.sha256(b"Metadata-Version: 2.1").hexdigest()}
    assert file.provenance == "https://index.example.com/provenance"


async def test_html_says_what_it_can_and_nothing_is_invented(index: FakeIndex, source: SimpleIndex) -> None:
    index.html = True
    index.publish("acme-lib", WHEEL, b"body")
    (file,) = (await source.project_page("acme-lib")).files
    assert file.location == RemoteFile(f"{index.origin}/packages/acme-lib/{WHEEL}", "team")
    assert file.hashes == {"sha256": hashlib.sha256(b"body").hexdigest()}
    assert (file.size, file.upload_time, file.core_metadata, file.yanked) == (None, None, None, None)


async def test_json_is_preferred_and_html_accepted(index: FakeIndex, source: SimpleIndex) -> None:
    index.publish("acme-lib", WHEEL, b"body")
    await source.project_page("acme-lib")
    (asked,) = index.asked
    assert asked.path == "/simple/acme-lib/"
    assert asked.headers["Accept"].split(",")[0] == SIMPLE_JSON
    assert "text/html;q=0.01" in asked.headers["Accept"]


async def test_status_and_versions_without_files_are_passed_on(index: FakeIndex, source: SimpleIndex) -> None:
    async def page(request: web.BaseRequest) -> web.Response:
        body = {
            "meta": {"api-version": "1.4"},
            "name": "acme-lib",
            "files": [],
            "versions": ["1.0", "2.0"],
            "project-status": {"status": "archived", "reason": "moved"},
        }
        return web.json_response(body, content_type=SIMPLE_JSON)

    index.handlers["/simple/acme-lib/"] = page
    found = await source.project_page("acme-lib")
    assert (found.files, found.versions) == ((), ("1.0", "2.0"))
    assert found.status == ProjectStatus("archived", "moved")


@pytest.mark.parametrize("html", [False, True], ids=["json", "html"])
@pytest.mark.parametrize("etags", [False, True], ids=["unchanged body", "304"])
async def test_an_unchanged_answer_is_the_same_files_confirmed_now(
    index: FakeIndex, source: SimpleIndex, clock: FakeClock, metrics: Metrics, html: bool, etags: bool
) -> None:
    index.html, index.etags = html, etags
    index.publish("acme-lib", WHEEL, b"body")
    index.publish("acme-lib", "stranger-1.0-py3-none-any.whl", b"x")
    first = await source.project_page("acme-lib")
    assert "If-None-Match" not in index.asked[-1].headers
    clock.move(60)
    second = await source.project_page("acme-lib")
    assert ("If-None-Match" in index.asked[-1].headers) is etags
    assert second.revision == first.revision
    assert second.as_of == clock.now() > first.as_of
    assert (second.versions, second.dropped) == (first.versions, 1)
    assert counted(metrics, "dropped_entries", source="team") == 1, "it was parsed once"

    index.publish("acme-lib", wheel_name("acme-lib", "2.0"), b"new")
    third = await source.project_page("acme-lib")
    assert filenames(third) == [WHEEL, wheel_name("acme-lib", "2.0")]
    assert (await source.project_page("acme-lib")).revision == third.revision


async def test_an_etag_that_changes_without_the_page_costs_no_parsing(index: FakeIndex, source: SimpleIndex) -> None:
    entry = f'{{"filename": "{WHEEL}", "url": "{WHEEL}", "hashes": {{}}}}'
    body = f'{{"meta": {{"api-version": "1.0"}}, "name": "acme-lib", "files": [{entry}]}}'.encode()
    asked = []

    async def page(request: web.BaseRequest) -> web.Response:
        asked.append(request.headers.get("If-None-Match"))
        return web.Response(body=body, content_type=SIMPLE_JSON, headers={"ETag": f'"{len(asked)}"'})

    index.handlers["/simple/acme-lib/"] = page
    first = await source.project_page("acme-lib")
    second = await source.project_page("acme-lib")
    await source.project_page("acme-lib")
    assert second.revision == first.revision
    assert asked == [None, '"1"', '"2"']


async def test_a_page_compressed_anew_each_time_costs_no_parsing(index: FakeIndex, source: SimpleIndex) -> None:
    asked = itertools.count(1)

    async def page(_request: web.BaseRequest) -> web.Response:
        listed = f'{{"meta": {{"api-version": "1.0"}}, "files": [{{"filename": "{WHEEL}", "url": "{WHEEL}", "hashes": {{}}}}]}}'
        body = gzip.compress(listed.encode(), mtime=next(asked))
        return web.Response(body=body, content_type=SIMPLE_JSON, headers={"Content-Encoding": "gzip"})

    index.handlers["/simple/acme-lib/"] = page
    first = await source.project_page("acme-lib")
    assert filenames(first) == [WHEEL]
    assert (await source.project_page("acme-lib")).revision == first.revision
    assert next(asked) == 3


async def test_the_same_bytes_from_another_address_link_elsewhere(
    index: FakeIndex, second_index: FakeIndex, source: SimpleIndex, clock: FakeClock, metrics: Metrics
) -> None:
    """A redirect that moves: relative links mean other files now."""
    target = "/mirror-a/acme-lib/"

    async def redirect(request: web.BaseRequest) -> web.Response:
        return web.Response(status=302, headers={"Location": target})

    async def page(request: web.BaseRequest) -> web.Response:
        entry = {"filename": WHEEL, "url": f"files/{WHEEL}", "hashes": {}}
        return web.json_response({"meta": {"api-version": "1.0"}, "files": [entry]}, content_type=SIMPLE_JSON)

    index.handlers |= {"/simple/acme-lib/": redirect, "/mirror-a/acme-lib/": page, "/mirror-b/acme-lib/": page}
    (file,) = (await source.project_page("acme-lib")).files
    assert file.location == RemoteFile(f"{index.origin}/mirror-a/acme-lib/files/{WHEEL}", "team")
    target = "/mirror-b/acme-lib/"
    (file,) = (await source.project_page("acme-lib")).files
    assert file.location == RemoteFile(f"{index.origin}/mirror-b/acme-lib/files/{WHEEL}", "team")


async def test_a_404_of_the_index_itself_is_an_absence_also_after_a_redirect_within_it(
    index: FakeIndex, source: SimpleIndex
) -> None:
    async def redirect(request: web.BaseRequest) -> web.Response:
        return web.Response(status=301, headers={"Location": "/other/place/"})

    index.handlers["/simple/moved/"] = redirect
    for project in ("nobody", "moved"):
        with pytest.raises(ProjectNotFound, match=f"source team has no project {project}"):
            await source.project_page(project)


async def test_a_file_host_answers_for_no_page(
    index: FakeIndex, second_index: FakeIndex, clock: FakeClock, metrics: Metrics
) -> None:
    async def redirect(request: web.BaseRequest) -> web.Response:
        return web.Response(status=302, headers={"Location": f"{second_index.origin}/gone"})

    host = second_index.origin.removeprefix("http://")
    async with simple_index(index.url, clock, metrics, file_hosts=(host,)) as source:
        index.publish("acme-lib", WHEEL, b"body")
        first = await source.project_page("acme-lib")
        index.handlers["/simple/acme-lib/"] = redirect
        with pytest.raises(UpstreamBadAnswer, match=f"redirects this page to {host}; its pages are at its own origin alone"):
            await source.project_page("acme-lib")
        assert not second_index.asked
        del index.handlers["/simple/acme-lib/"]
        assert (await source.project_page("acme-lib")).revision == first.revision


@pytest.mark.parametrize("html", [False, True], ids=["json", "html"])
async def test_entries_that_cannot_be_used_are_left_out_and_counted(
    index: FakeIndex, source: SimpleIndex, metrics: Metrics, html: bool
) -> None:
    index.html = html
    index.publish("acme-lib", WHEEL, b"body")
    index.publish("acme-lib", wheel_name("other", "1.0"), b"another project's")
    index.publish(
        "acme-lib", wheel_name("acme-lib", "2.0"), b"elsewhere", url="https://elsewhere.invalid/acme_lib-2.0-py3-none-any.whl"
    )
    index.publish("acme-lib", wheel_name("acme-lib", "3.0"), b"bad digest", hashes={"sha256": "abc"})
    page = await source.project_page("acme-lib")
    assert filenames(page) == [WHEEL]
    assert page.dropped == 1
    assert counted(metrics, "dropped_entries", source="team") == 1
    assert [(entry.filename, entry.rule) for entry in page.withheld] == [
        (wheel_name("acme-lib", "3.0"), "digest"),
        (wheel_name("acme-lib", "2.0"), "link"),
    ]
    assert "https://elsewhere.invalid:443" in page.withheld[1].reason
    assert counted(metrics, "withheld_files", source="team", rule="digest") == 1


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        ("text/html", b"", "sign-in page or captive portal"),
        ("application/json", b"{}", "content type 'application/json'"),
        ("text/plain", b"hello", "content type 'text/plain'"),
        (SIMPLE_JSON, b'{"files": [', "cut short"),
        (SIMPLE_JSON, b"[]", "not a project page"),
        (SIMPLE_JSON, b'{"meta": {"api-version": "2.0"}, "files": []}', "version 2.0"),
        (SIMPLE_JSON, b'{"name": "other", "files": []}', "another project"),
    ],
)
async def test_what_is_no_index_page_is_a_bad_answer_and_never_an_absence(
    index: FakeIndex, source: SimpleIndex, kind: str, body: bytes, said: str
) -> None:
    async def page(request: web.BaseRequest) -> web.Response:
        return web.Response(body=body, content_type=kind)

    index.handlers["/simple/acme-lib/"] = page
    with pytest.raises(UpstreamBadAnswer, match=said) as raised:
        await source.project_page("acme-lib")
    assert "source team, asked for acme-lib, answered with" in str(raised.value)


@pytest.mark.parametrize("kind", ["bytes", "entries", "files"])
async def test_a_page_that_is_too_large_is_not_fetched_again_for_a_while(
    index: FakeIndex, source: SimpleIndex, clock: FakeClock, kind: str
) -> None:
    bodies = {
        "bytes": b'{"files": [' + b" " * (65 * 1024 * 1024),
        "entries": b'{"files": [' + b"1," * 200_000 + b"1]}",
        "files": b'{"files": [' + b",".join([b'"an entry that is none"'] * 6_000) + b"]}",
    }

    async def page(request: web.BaseRequest) -> web.Response:
        return web.Response(body=bodies[kind], headers={"Content-Type": SIMPLE_JSON})

    index.handlers["/simple/acme-lib/"] = page
    with pytest.raises(PageTooLarge) as first:
        await source.project_page("acme-lib")
    for _ in range(5):
        with pytest.raises(PageTooLarge, match=re.escape(str(first.value)) + "; it is asked for again in at most 5 minutes"):
            await source.project_page("acme-lib")
    assert index.count("/simple/acme-lib/") == 1
    del index.handlers["/simple/acme-lib/"]
    index.publish("acme-lib", WHEEL, b"")
    clock.move(301)
    assert filenames(await source.project_page("acme-lib")) == [WHEEL]


async def test_an_error_holds_nothing_of_what_was_read(index: FakeIndex, source: SimpleIndex) -> None:
    """Somebody may have the error for long: a flight whose waiters left, a log."""

    async def page(request: web.BaseRequest) -> web.Response:
        return web.Response(body=b"1" * 3_000_000, headers={"Content-Type": SIMPLE_JSON})

    index.handlers["/simple/acme-lib/"] = page
    with pytest.raises(UpstreamBadAnswer) as raised:
        await source.project_page("acme-lib")
    frames = [frame.f_locals for frame, _ in traceback.walk_tb(raised.value.__traceback__)]
    assert raised.value.__context__ is None
    assert not [value for values in frames for value in values.values() if isinstance(value, bytearray | PageAnswer)]


async def test_a_bad_answer_does_not_replace_what_was_known(index: FakeIndex, source: SimpleIndex) -> None:
    index.publish("acme-lib", WHEEL, b"body")
    first = await source.project_page("acme-lib")

    async def portal(request: web.BaseRequest) -> web.Response:
        return web.Response(body=b"<title>Welcome to the hotel</title>", content_type="text/html")

    index.handlers["/simple/acme-lib/"] = portal
    with pytest.raises(UpstreamBadAnswer):
        await source.project_page("acme-lib")
    index.handlers.clear()
    assert (await source.project_page("acme-lib")).revision == first.revision


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, CredentialRefused),
        (403, CredentialRefused),
        (203, CredentialRefused),
        (500, UpstreamUnavailable),
        (418, UpstreamBadAnswer),
    ],
)
async def test_a_refusal_is_a_failure_and_never_an_absence(
    index: FakeIndex, source: SimpleIndex, status: int, error: type[Exception]
) -> None:
    async def refuse(request: web.BaseRequest) -> web.Response:
        return web.Response(status=status, text="<html></html>", content_type="text/html")

    index.handlers["/simple/acme-lib/"] = refuse
    with pytest.raises(error):
        await source.project_page("acme-lib")


async def test_an_absence_is_forgotten_when_the_project_appears(index: FakeIndex, source: SimpleIndex) -> None:
    index.etags = True
    index.publish("acme-lib", WHEEL, b"body")
    index.publish("acme-stays", wheel_name("acme-stays", "1.0"), b"body")
    await source.project_page("acme-lib")
    published = index.projects.pop("acme-lib")
    with pytest.raises(ProjectNotFound):
        await source.project_page("acme-lib")
    index.projects["acme-lib"] = published
    assert filenames(await source.project_page("acme-lib")) == [WHEEL]
    assert "If-None-Match" not in index.asked[-1].headers


async def test_a_url_without_its_last_slash_is_the_same_index(index: FakeIndex, clock: FakeClock, metrics: Metrics) -> None:
    index.publish("acme-lib", WHEEL, wheel_bytes("acme-lib", "1.0"), metadata=metadata("acme-lib", "1.0"))
    async with simple_index(index.url.rstrip("/"), clock, metrics) as source:
        assert filenames(await source.project_page("acme-lib")) == [WHEEL]
    assert index.asked[0].path == "/simple/acme-lib/"
