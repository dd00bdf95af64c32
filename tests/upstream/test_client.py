"""The outgoing HTTP of one source: who is asked, as whom, how often, and what is believed."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.support import lies
from tests.support.clock import FakeClock
from tests.support.lies import MIB, Liar, Lie, Talk, running, witness
from wheelgate.core.errors import (
    AddressRefused,
    Busy,
    CredentialRefused,
    UpstreamBadAnswer,
    UpstreamError,
    UpstreamUnavailable,
)
from wheelgate.core.protocols import Credential, Credentials
from wheelgate.runtime.byte_budget import ByteBudget
from wheelgate.runtime.metrics import Metrics
from wheelgate.upstream.client import PageAnswer, SourceClient

SECRET = "s3cr3t-of-the-feed"
CODES = (301, 302, 303, 307, 308)


class Secret:
    """A credential of two headers: a client that knows only one of them would let the other through."""

    def __init__(self, text: str) -> None:
        self._text = text

    async def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self._text}", "X-Feed-Key": self._text}

    connection = "acme"

    async def sign_url(self, url: str) -> str:
        return url

    async def renew(self) -> bool:
        return False

    def explain_refusal(self, code: str, now: datetime) -> str | None:
        return f"it ended before {now:%Y} ({code})" if self._text == "signed" else None


class ByPrefix:
    """Credentials by URL prefix, which remember every question."""

    def __init__(self, secrets: Mapping[str, str] | None = None) -> None:
        self._secrets = secrets or {}
        self.asked: list[str] = []

    def for_url(self, url: str) -> Credential | None:
        self.asked.append(url)
        return next((Secret(secret) for prefix, secret in self._secrets.items() if url.startswith(prefix)), None)


@pytest.fixture
def liar() -> Iterator[Liar]:
    with running(Liar()) as made:
        yield made


@pytest.fixture
def other() -> Iterator[Liar]:
    with running(Liar()) as made:
        yield made


@asynccontextmanager
async def client_of(
    liar: Liar,
    clock: FakeClock | None = None,
    *,
    credentials: Credentials | None = None,
    file_hosts: tuple[str, ...] = (),
    **settings: Any,
) -> AsyncIterator[SourceClient]:
    client = SourceClient(
        source="upstream",
        url=settings.pop("url", liar.origin + "/"),
        file_hosts=file_hosts,
        credentials=credentials or ByPrefix(),
        clock=clock or FakeClock(),
        metrics=Metrics(),
        user_agent="test",
        **settings,
    )
    try:
        yield client
    finally:
        await client.close()


async def page_of(client: SourceClient, liar: Liar, name: str = "demo", **options: Any) -> PageAnswer:
    return await client.page(f"{liar.url(name)}{name}/", accept=lies.JSON, **options)


def host_of(liar: Liar) -> str:
    return liar.origin.removeprefix("http://")


def in_turn(*turns: Lie) -> Lie:
    """The first request gets the first lie; whoever comes later gets the last."""
    left = list(turns)

    async def lie(talk: Talk) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(talk)

    return lie


async def honest(talk: Talk) -> None:
    await talk.answer(talk.page)


def secrets_seen(liar: Liar) -> dict[str, list[str]]:
    """Path to every secret that came with a request for it."""
    return {a.path: sorted({v for v in a.headers.values() if SECRET in v}) for a in liar.asked}


@pytest.mark.parametrize("code", CODES)
async def test_a_secret_goes_to_the_place_it_was_stored_for_and_not_along_with_redirects(
    liar: Liar, other: Liar, code: int
) -> None:
    liar.pages["feed"] = partial(lies.redirect, to="/feedx/simple/", code=code)
    liar.pages["feedx"] = partial(lies.redirect, to=f"{other.origin}/cdn/simple/x/", code=code)
    other.pages["cdn"] = partial(lies.redirect, to=f"{liar.origin}/feed/x/last/", code=code)
    credentials = ByPrefix({f"{liar.origin}/feed/": SECRET})
    async with client_of(liar, credentials=credentials, file_hosts=(host_of(other),)) as client:
        liar.pages["feed"] = in_turn(liar.pages["feed"], honest)
        assert (await page_of(client, liar, "feed")).status == 200
    both = sorted((f"Bearer {SECRET}", SECRET))
    assert secrets_seen(liar) == {"/feed/simple/feed/": both, "/feedx/simple/": [], "/feed/x/last/": both}
    assert secrets_seen(other) == {"/cdn/simple/x/": []}
    assert len(credentials.asked) == 4, "it is consulted anew at each hop"


async def test_another_hosts_own_secret_is_used_there(liar: Liar, other: Liar) -> None:
    liar.files["demo"] = partial(lies.redirect, to=f"{other.origin}/demo/files/x.whl")
    credentials = ByPrefix({liar.origin: SECRET, other.origin: "of-the-other"})
    async with (
        client_of(liar, credentials=credentials, file_hosts=(host_of(other),)) as client,
        client.file(f"{liar.origin}/demo/files/x.whl") as answer,
    ):
        assert b"".join([chunk async for chunk in answer.chunks()]) == other.body("demo")
    (asked,) = other.asked
    assert asked.headers["authorization"] == "Bearer of-the-other"
    assert SECRET not in str(asked.headers)


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("cdn/files/x.whl?sig=abc", "refused the signed URL that {host} redirected to (403)"),
        ("cdn/files/x.whl", "no connection is stored for"),
    ],
)
async def test_storage_that_refuses_a_signed_url_wants_no_connection(liar: Liar, other: Liar, to: str, said: str) -> None:
    liar.files["demo"] = partial(lies.redirect, to=f"{other.origin}/hop/files/x.whl")
    other.files["hop"] = partial(lies.redirect, to=f"/{to}")
    other.files["cdn"] = partial(lies.status, line="403 No")
    credentials = ByPrefix({liar.origin: SECRET})
    async with client_of(liar, credentials=credentials, file_hosts=(host_of(other),)) as client:
        with pytest.raises(CredentialRefused) as caught:
            await client.file(f"{liar.origin}/demo/files/x.whl").__aenter__()
    assert said.format(host=host_of(liar)) in str(caught.value)
    assert ("and acme was accepted" in str(caught.value)) == ("?" in to)
    assert "sig=" not in str(caught.value)


async def test_without_a_connection_on_the_way_a_403_behind_a_redirect_wants_one(liar: Liar, other: Liar) -> None:
    liar.files["demo"] = partial(lies.redirect, to=f"{other.origin}/cdn/files/x.whl?sig=abc")
    other.files["cdn"] = partial(lies.status, line="403 No")
    async with client_of(liar, file_hosts=(host_of(other),)) as client:
        with pytest.raises(CredentialRefused, match=f"no connection is stored for {other.origin}/cdn/files/x.whl$"):
            await client.file(f"{liar.origin}/demo/files/x.whl").__aenter__()


async def test_a_credential_that_tells_why_it_is_refused_is_heard(liar: Liar) -> None:
    liar.pages["head"] = partial(lies.status, line="403 Forbidden", headers=("x-ms-error-code: AuthenticationFailed",))
    liar.pages["body"] = lambda talk: talk.answer(
        b"<Error><Code>AuthenticationFailed</Code><Message>roles</Message></Error>",
        status="403 Forbidden",
        kind="application/xml",
    )
    for name in ("head", "body"):
        async with client_of(liar, credentials=ByPrefix({liar.origin: "signed"})) as client:
            with pytest.raises(
                CredentialRefused, match=r"connection acme was refused by .*: it ended before \d+ \(Auth\w+Failed\)"
            ):
                await page_of(client, liar, name)


async def test_a_403_may_be_a_wrong_password(liar: Liar) -> None:
    """pypiserver answers one with it."""
    liar.pages["demo"] = partial(lies.status, line="403 Forbidden")
    async with client_of(liar, credentials=ByPrefix({liar.origin: SECRET})) as client:
        with pytest.raises(
            CredentialRefused, match=f"acme was refused by {host_of(liar)}: the credential is wrong or has no right here"
        ):
            await page_of(client, liar)


async def test_what_the_machine_knows_of_hosts_is_not_used(liar: Liar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither netrc, nor proxy variables, nor cookies."""
    (tmp_path / ".netrc").write_text(f"machine 127.0.0.1 login x password {SECRET}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with witness("127.0.0.2") as (port, seen):
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.2:{port}")
        monkeypatch.setenv("http_proxy", f"http://127.0.0.2:{port}")

        async def cookie(talk: Talk) -> None:
            await talk.answer(talk.page, "Set-Cookie: session=1; Path=/")

        liar.pages["demo"] = cookie
        async with client_of(liar) as client:
            for _ in range(2):
                await page_of(client, liar)
        assert seen == []
    assert not {"authorization", "cookie"} & {name for asked in liar.asked for name in asked.headers}


async def test_no_error_tells_a_query_or_a_secret(liar: Liar) -> None:
    for to in (f"http://elsewhere.invalid/x?sig={SECRET}", f"https://user:{SECRET}@127.0.0.1/", f"/login?code={SECRET}"):
        liar.pages["demo"] = partial(lies.redirect, to=to)
        async with client_of(liar, credentials=ByPrefix({liar.origin: SECRET})) as client:
            with pytest.raises(UpstreamError) as caught:
                await page_of(client, liar)
        assert SECRET not in str(caught.value)
        assert SECRET not in repr(caught.value)


@pytest.mark.parametrize("code", CODES)
async def test_every_hop_is_judged_and_not_only_the_first(liar: Liar, other: Liar, code: int) -> None:
    with witness("127.0.0.2") as (port, seen):
        liar.pages["demo"] = partial(lies.redirect, to=f"{other.origin}/x/", code=code)
        other.pages["x"] = partial(lies.redirect, to=f"http://127.0.0.2:{port}/", code=code)
        async with client_of(liar, file_hosts=(host_of(other),)) as client:
            with pytest.raises(AddressRefused, match=rf" redirects to http://127\.0\.0\.2:{port}, which is neither its own"):
                await page_of(client, liar)
        assert (len(other.asked), seen) == (1, [])


async def test_https_is_never_left_for_http(other: Liar, tmp_path: Path) -> None:
    """Not even to a host that the operator named."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with running(Liar(), tls=context) as liar:
        for to in (f"{other.origin}/demo/simple/demo/", liar.origin.replace("https", "http") + "/demo/simple/demo/"):
            liar.pages["demo"] = partial(lies.redirect, to=to)
            async with client_of(liar, file_hosts=(host_of(other),), ca_file=str(tmp_path / "ca.pem")) as client:
                with pytest.raises(AddressRefused):
                    await page_of(client, liar)
                liar.pages.clear()
                assert (await page_of(client, liar)).status == 200
    assert other.asked == []


@pytest.mark.parametrize(("hops", "arrives"), [(5, True), (6, False)])
async def test_five_redirects_are_followed_and_no_more(liar: Liar, hops: int, arrives: bool) -> None:
    chain = [partial(lies.redirect, to=f"/demo/{at}/") for at in range(hops)]
    liar.pages["demo"] = in_turn(*chain, honest)
    async with client_of(liar) as client:
        if arrives:
            assert (await page_of(client, liar)).url == f"{liar.origin}/demo/{hops - 1}/"
        else:
            with pytest.raises(UpstreamBadAnswer, match="redirected more than 5 times"):
                await page_of(client, liar)


def noting(seen: list[int], lie: Lie) -> Lie:
    """The lie, and the port that it was asked from: each connection has its own."""

    async def noted(talk: Talk) -> None:
        seen.append(talk.writer.get_extra_info("peername")[1])
        await lie(talk)

    return noted


def redirect_saying(body: bytes, *, length: int | None = None, before_s: float = 0) -> Lie:
    async def lie(talk: Talk) -> None:
        await talk.head(f"Content-Length: {len(body) if length is None else length}", "Location: /demo/there", status="303 There")
        await asyncio.sleep(before_s)
        await talk.send(body)

    return lie


@pytest.mark.parametrize(("body", "before_s"), [(b"", 0), (b"there", 0), (b"there", 0.02), (b"x" * 16_384, 0)])
async def test_a_redirect_costs_no_new_connection(liar: Liar, body: bytes, before_s: float) -> None:
    ports: list[int] = []
    liar.pages["demo"] = noting(ports, in_turn(redirect_saying(body, before_s=before_s), honest))
    async with client_of(liar) as client:
        assert (await page_of(client, liar)).body == liar.page("demo")
    assert len(ports) == 2
    assert len(set(ports)) == 1


@pytest.mark.parametrize(
    "lie",
    [
        redirect_saying(b"x" * 16_385, before_s=0.02),
        redirect_saying(b"late", before_s=60),
        redirect_saying(b"more than it says: HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", length=18),
        partial(lies.raw, data=b"HTTP/1.1 303 There\r\nLocation: /demo/there\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"),
    ],
    ids=["long", "late", "more", "endless"],
)
async def test_what_is_left_of_a_redirect_is_neither_awaited_nor_an_answer(liar: Liar, lie: Lie) -> None:
    ports: list[int] = []
    liar.pages["demo"] = noting(ports, in_turn(lie, honest))
    async with client_of(liar) as client, asyncio.timeout(5):
        assert (await page_of(client, liar)).body == liar.page("demo")
    assert len(set(ports)) == 2


@pytest.mark.parametrize("name", ["oauth2", "login", "signin", "login-tools"])
async def test_a_project_may_be_called_like_a_sign_in_page(liar: Liar, name: str) -> None:
    liar.pages[name] = in_turn(partial(lies.redirect, to=f"/mirror/simple/{name}/"))
    async with client_of(liar) as client:
        liar.pages["mirror"] = honest
        assert (await page_of(client, liar, name)).status == 200


@pytest.mark.parametrize("to", ["/_signin?x", "/login", "/login.aspx?x", "/oauth2/authorize", "/a/OAuth/b", "/_signedin"])
async def test_a_redirect_to_a_sign_in_page_is_a_refused_credential(liar: Liar, to: str) -> None:
    liar.pages["demo"] = partial(lies.redirect, to=to)
    async with client_of(liar) as client:
        with pytest.raises(CredentialRefused, match="sign-in"):
            await page_of(client, liar)
    assert len(liar.asked) == 1


def resolving(addresses: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that resolve as a hostile DNS server says."""
    real: Callable[..., Any] = socket.getaddrinfo

    def resolve(host: str, port: int, *arguments: Any, **options: Any) -> Any:
        return real(addresses.get(host, host), port, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


async def test_a_name_that_resolves_to_an_inner_address_is_not_asked(liar: Liar, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is allowed by a wildcard; that address is nobody's whom the operator named."""
    resolving({"cdn.example.com": "127.0.0.1", "deep.example.com": "10.0.0.1"}, monkeypatch)
    async with client_of(liar, file_hosts=("*.example.com",)) as client:
        for host in ("cdn.example.com", "deep.example.com"):
            with pytest.raises(AddressRefused, match="inner address"):
                async with client.file(f"http://{host}/demo/files/x.whl"):
                    pass


async def test_a_name_that_the_operator_wrote_may_resolve_to_an_inner_address(
    liar: Liar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Private endpoints do; but link-local and metadata addresses are nobody's index."""
    resolving({"index.example.com": "127.0.0.1", "trap.example.com": "169.254.169.254"}, monkeypatch)
    port = liar.origin.rpartition(":")[2]
    async with client_of(liar, url=f"http://index.example.com:{port}/") as client:
        answer = await client.page(f"http://index.example.com:{port}/demo/simple/demo/", accept=lies.JSON)
        assert answer.status == 200
    async with client_of(liar, url=f"http://trap.example.com:{port}/") as client:
        with pytest.raises(AddressRefused, match="metadata"):
            await client.page(f"http://trap.example.com:{port}/demo/simple/demo/", accept=lies.JSON)


TRANSIENT: list[Lie] = [
    partial(lies.status, line="500 No"),
    partial(lies.status, line="503 No"),
    lies.reset,
    lies.close,
    lies.cut_length,
    partial(lies.raw, data=b"nonsense\r\n\r\n"),
]


@pytest.mark.parametrize("trouble", TRANSIENT)
async def test_what_may_pass_is_tried_again(liar: Liar, trouble: Lie) -> None:
    liar.pages["demo"] = in_turn(trouble, trouble, honest)
    async with client_of(liar) as client:
        assert (await page_of(client, liar)).body == liar.page("demo")


@pytest.mark.parametrize("line", ["400 Bad", "401 Who", "403 No", "404 No", "410 Gone"])
async def test_what_is_definite_is_not_asked_twice(liar: Liar, line: str) -> None:
    liar.pages["demo"] = partial(lies.status, line=line)
    async with client_of(liar) as client:
        try:
            assert (await page_of(client, liar)).status == 404
        except UpstreamBadAnswer:
            assert line != "404 No"
    assert len(liar.asked) == 1


async def test_a_file_that_fails_to_open_is_tried_again_and_a_listed_one_is_never_absent(liar: Liar) -> None:
    async with client_of(liar) as client:
        liar.files["demo"] = in_turn(lies.reset, partial(lies.status, line="500 No"), lies.honest_file)
        async with client.file(f"{liar.origin}/demo/files/x.whl") as answer:
            assert answer.total == len(liar.body("demo"))
        liar.files["demo"] = partial(lies.status, line="404 No")
        with pytest.raises(UpstreamBadAnswer, match="404 for a file that it lists"):
            async with client.file(f"{liar.origin}/demo/files/x.whl"):
                pass


@pytest.mark.parametrize("form", ["seconds", "date"])
@pytest.mark.parametrize("kind", ["page", "file"])
async def test_a_pause_that_is_asked_for_is_kept_to_the_second(liar: Liar, clock: FakeClock, form: str, kind: str) -> None:
    wait = "30" if form == "seconds" else format_datetime(clock.now() + timedelta(seconds=30), usegmt=True)
    sorry = partial(lies.status, line="429 Slower", headers=(f"Retry-After: {wait}",))
    liar.pages["demo"], liar.files["demo"] = in_turn(sorry, honest), in_turn(sorry, lies.honest_file)

    async def ask(client: SourceClient) -> None:
        if kind == "page":
            await page_of(client, liar)
        else:
            async with client.file(f"{liar.origin}/demo/files/x.whl"):
                pass

    async with client_of(liar, clock) as client:
        for _ in range(3):
            with pytest.raises(UpstreamUnavailable) as caught:
                await ask(client)
            assert caught.value.retry_after_s == 30
        assert len(liar.asked) == 1
        clock.move(29)
        with pytest.raises(UpstreamUnavailable):
            await ask(client)
        assert len(liar.asked) == 1
        clock.move(1)
        await ask(client)
        assert len(liar.asked) == 2


@pytest.mark.parametrize("wait", ["-5", "soon", "1e9", "", "99999999999999999999", "Mon, 99 Foo 2030 00:00:00 GMT", "٣"])
async def test_a_pause_that_cannot_be_read_is_none(liar: Liar, clock: FakeClock, wait: str) -> None:
    headers = (f"Retry-After: {wait.encode().decode('latin-1')}",)
    liar.pages["demo"] = in_turn(partial(lies.status, line="503 Later", headers=headers), honest)
    async with client_of(liar, clock) as client:
        assert (await page_of(client, liar)).status == 200


async def test_a_pause_is_five_minutes_at_most(liar: Liar, clock: FakeClock) -> None:
    liar.pages["demo"] = in_turn(partial(lies.status, line="503 Later", headers=("Retry-After: 86400",)), honest)
    async with client_of(liar, clock) as client:
        with pytest.raises(UpstreamUnavailable):
            await page_of(client, liar)
        clock.move(300)
        assert (await page_of(client, liar)).status == 200


async def test_after_five_failures_of_an_address_only_one_request_at_a_time_finds_out(liar: Liar, clock: FakeClock) -> None:
    liar.pages["demo"] = partial(lies.status, line="503 No")
    async with client_of(liar, clock) as client:
        for _ in range(5):
            with pytest.raises(UpstreamUnavailable):
                await page_of(client, liar)
        asked = len(liar.asked)
        with pytest.raises(UpstreamUnavailable, match="asked again in 5 s"):
            await page_of(client, liar)
        assert len(liar.asked) == asked
        async with client.file(f"{liar.origin}/demo/files/x.whl"):
            pass
        liar.pages.clear()
        clock.move(5)
        assert (await page_of(client, liar)).status == 200
        assert (await page_of(client, liar)).status == 200


async def test_a_wrong_answer_shows_that_the_upstream_is_there(liar: Liar, clock: FakeClock) -> None:
    """Else its refusal of a credential would be told as an outage."""
    liar.pages["demo"] = partial(lies.status, line="503 No")
    async with client_of(liar, clock) as client:
        for _ in range(5):
            with pytest.raises(UpstreamUnavailable):
                await page_of(client, liar)
        liar.pages["demo"] = partial(lies.status, line="401 Who")
        clock.move(5)
        for _ in range(3):
            with pytest.raises(CredentialRefused):
                await page_of(client, liar)


async def test_a_page_is_inflated_whole(liar: Liar) -> None:
    body = lies.json_of("demo", lies.entries("demo", 30_000))
    liar.pages["demo"] = lambda talk: talk.answer(gzip.compress(body), "Content-Encoding: gzip", 'ETag: "x"')
    async with client_of(liar) as client:
        answer = await page_of(client, liar)
    assert answer.body == body
    assert (answer.etag, answer.content_type, answer.charset) == ('"x"', lies.JSON, "utf-8")


async def test_a_304_is_an_answer_only_to_whoever_asked_for_it(liar: Liar) -> None:
    liar.pages["demo"] = partial(lies.raw, data=b"HTTP/1.1 304 Same\r\n\r\n")
    async with client_of(liar) as client:
        assert (await page_of(client, liar, etag='"x"')).status == 304
        assert liar.asked[0].headers["if-none-match"] == '"x"'
        with pytest.raises(UpstreamBadAnswer):
            await page_of(client, liar)


@pytest.mark.parametrize("size", [63, 65])
async def test_a_page_has_64_mib_at_most(liar: Liar, size: int) -> None:
    body = b'{"files":[]' + b" " * (size * MIB) + b"}"

    async def large(talk: Talk) -> None:
        await talk.answer(body)

    liar.pages["demo"] = large
    async with client_of(liar) as client:
        if size < 64:
            assert len((await page_of(client, liar)).body) == len(body)
        else:
            with pytest.raises(UpstreamBadAnswer, match="larger than any index page"):
                await page_of(client, liar)


async def test_files_that_nobody_reads_leave_room_to_ask_for_pages(liar: Liar) -> None:
    """Each open file holds a connection for as long as a client likes."""
    liar.sizes["demo"] = MIB
    async with client_of(liar) as client, AsyncExitStack() as opened:
        for _ in range(80):
            await opened.enter_async_context(client.file(f"{liar.origin}/demo/files/x.whl"))
        assert (await page_of(client, liar)).status == 200


async def test_a_client_is_sent_only_where_no_secret_is_needed_and_we_would_go_ourselves(liar: Liar) -> None:
    async with client_of(liar, credentials=ByPrefix({f"{liar.origin}/private/": SECRET})) as client:
        assert await client.resolve_redirect_target(f"{liar.origin}/public/x.whl") == f"{liar.origin}/public/x.whl"
        assert not liar.asked, "what needs no secret needs no question"
        for elsewhere in ("http://elsewhere.invalid/x.whl", "javascript:alert(1)"):
            with pytest.raises(AddressRefused):
                await client.resolve_redirect_target(elsewhere)


async def test_a_page_without_room_beside_others_is_busy_here_and_nobodys_fault(liar: Liar) -> None:
    """While a large page is held, another waits half read; in the end it is told, and the source stays as healthy as it is."""
    memory = ByteBudget(small_bytes=1_000, large_room_bytes=4 * MIB, wait_s=0.2)
    body = b'{"files": []}' + b" " * MIB

    async def large(talk: Talk) -> None:
        await talk.answer(body)

    liar.pages["demo"] = large
    async with client_of(liar, page_memory=memory) as client:
        held = await page_of(client, liar)
        assert memory.used_bytes == 3 * len(body)
        for _ in range(6):
            with pytest.raises(Busy, match=r"too many large pages .* source upstream now: try again"):
                await page_of(client, liar)
        assert memory.used_bytes == 3 * len(body), "what was refused holds nothing"
        waiting = asyncio.create_task(page_of(client, liar))
        await asyncio.sleep(0.1)
        del held
        assert (await waiting).body == body
        assert len(liar.asked) == 8, "each was asked once"


@pytest.mark.long
async def test_a_source_that_waited_for_us_did_not_have_its_whole_time(liar: Liar) -> None:
    memory = ByteBudget(small_bytes=1_000, large_room_bytes=4 * MIB, wait_s=60)

    async def large(talk: Talk) -> None:
        await talk.answer(b" " * MIB)

    liar.pages["demo"] = large
    async with client_of(liar, page_memory=memory) as client:
        held = await page_of(client, liar)
        with pytest.raises(Busy):
            await page_of(client, liar)
        del held
