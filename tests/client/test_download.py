"""A file behind a URL that a person gave: what is fetched, from where, and what each wrong URL is told."""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator

import pytest
import trustme
from aiohttp import hdrs, web

from tests.support.index import FakeIndex, running
from wheelgate.client.download import download
from wheelgate.core.errors import (
    AddressRefused,
    CredentialRefused,
    TooLarge,
    UploadRefused,
    UpstreamBadAnswer,
    UpstreamUnavailable,
    WheelgateError,
)

WHEEL = "acme_lib-1.0-py3-none-any.whl"
PATH = f"/files/{WHEEL}"
BODY = bytes(range(256)) * 3_000
SHA256 = hashlib.sha256(BODY).hexdigest()
LIMIT = 10_000_000

Respond = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def answering(status: int = 200, body: bytes = BODY, **headers: str) -> Respond:
    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers={key.replace("_", "-"): value for key, value in headers.items()})

    return answer


async def fetched(
    url: str, *, max_bytes: int = LIMIT, ca_file: str | None = None, outbound_proxy: str | None = None
) -> tuple[str, bytes]:
    how = {"ca_file": ca_file, "outbound_proxy": outbound_proxy}
    async with download(url, max_bytes=max_bytes, user_agent="wheelgate/test", **how) as coming:
        body = b"".join([chunk async for chunk in coming.chunks()])
        coming.verify(hashlib.sha256(body).hexdigest())
        return coming.filename, body


async def refusal(url: str, **how: int) -> WheelgateError:
    with pytest.raises(WheelgateError) as raised:
        await fetched(url, **how)  # type: ignore[arg-type]
    assert str(raised.value).isprintable()
    assert "hidden" not in str(raised.value)
    return raised.value


async def test_the_file_its_name_and_its_size(index: FakeIndex) -> None:
    index.handlers[PATH] = answering()
    async with download(f"{index.origin}{PATH}?sig=hidden", max_bytes=LIMIT, user_agent="wheelgate/test") as coming:
        assert (coming.filename, coming.size) == (WHEEL, len(BODY))
        chunks = [chunk async for chunk in coming.chunks()]
    assert b"".join(chunks) == BODY
    assert max(map(len, chunks)) <= 256 * 1024
    assert hdrs.AUTHORIZATION not in index.asked[0].headers
    assert index.asked[0].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    "fragment", [f"sha256={SHA256}", f"sha256={SHA256.upper()}", f"egg=acme&sha256={SHA256}", "egg=acme", ""]
)
async def test_the_digest_it_states(index: FakeIndex, fragment: str) -> None:
    index.handlers[PATH] = answering()
    assert await fetched(f"{index.origin}{PATH}#{fragment}") == (WHEEL, BODY)


@pytest.mark.parametrize("headers", [{"Content_Type": "text/html"}, {"Content_Encoding": "gzip"}])
async def test_where_a_digest_is_stated_it_decides_what_the_bytes_are(index: FakeIndex, headers: dict[str, str]) -> None:
    index.handlers[PATH] = answering(**headers)
    assert await fetched(f"{index.origin}{PATH}#sha256={SHA256}") == (WHEEL, BODY)


@pytest.mark.parametrize(
    ("fragment", "sentence"),
    [
        ("sha256=" + "0" * 64, f"has sha256 {SHA256}, not the {'0' * 64} that its URL states"),
        ("sha256=abc", "is not followed by 64 hexadecimal digits"),
        ("md5=d41d8cd98f00b204e9800998ecf8427e", "only #sha256= is compared, not md5"),
    ],
)
async def test_a_digest_that_is_wrong_or_not_compared(index: FakeIndex, fragment: str, sentence: str) -> None:
    index.handlers[PATH] = answering()
    error = await refusal(f"{index.origin}{PATH}#{fragment}")
    assert isinstance(error, UploadRefused)
    assert sentence in str(error)


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        (
            "se=2026-11-29T00:00:00Z&sp=r&sr=b",
            "answered 403: the signature in its URL ended on 2026-11-29 00:00Z (se): make a new one",
        ),
        ("se=2027-11-29&sp=w&sr=b", "the signature in its URL has no right to read (sp=w): make a new one"),
        ("se=2027-11-29&sp=r&sr=b", "the signature in its URL is not valid there"),
    ],
)
async def test_a_signed_url_that_storage_refuses_is_explained(index: FakeIndex, query: str, sentence: str) -> None:
    said = {"x-ms-error-code": "AuthenticationFailed", "Date": "Mon, 30 Nov 2026 12:00:00 GMT"}
    index.handlers[PATH] = answering(403, **said)
    error = await refusal(f"{index.origin}{PATH}?{query}&sig=hidden")
    assert type(error) is CredentialRefused
    assert sentence in str(error)


async def test_a_refusal_of_a_moment_that_no_clock_has_is_one_all_the_same(index: FakeIndex) -> None:
    index.handlers[PATH] = answering(
        403, **{"x-ms-error-code": "AuthenticationFailed", "Date": "Fri, 31 Dec 9999 23:00:00 -1400"}
    )
    assert type(await refusal(f"{index.origin}{PATH}?se=2027-11-29&sp=r&sr=b&sig=hidden")) is CredentialRefused


@pytest.mark.parametrize(
    ("answer", "kind", "sentence"),
    [
        (answering(404), UploadRefused, "there is no such file (404)"),
        (answering(410), UploadRefused, "there is no such file (410)"),
        (answering(401), CredentialRefused, "it wants a credential, and none is sent"),
        (answering(403), CredentialRefused, "it wants a credential, and none is sent"),
        (answering(203), CredentialRefused, "it wants a credential, and none is sent"),
        (answering(500), UpstreamUnavailable, "answered 500: try again later"),
        (answering(429), UpstreamUnavailable, "answered 429: try again later"),
        (answering(204, b""), UpstreamBadAnswer, "answered 204, which is no file"),
        (answering(Content_Type="text/html"), UpstreamBadAnswer, "is a web page, not a file"),
        (answering(Content_Encoding="gzip"), UpstreamBadAnswer, "an encoding that was not asked for"),
        (answering(302, Location="http://[::1/"), UpstreamBadAnswer, "redirected to a malformed address"),
        (answering(302, Location="https://user:hidden@example.com/"), AddressRefused, "it carries user information"),
        (
            answering(302, Location="http://example.com/x.whl"),
            AddressRefused,
            "redirects to http://example.com:80, which",
        ),
        (answering(302, Location="ftp://example.com/x.whl"), AddressRefused, "it is not an absolute http(s) URL"),
        (answering(302, Location=PATH), UpstreamBadAnswer, "redirected more than 5 times"),
    ],
)
async def test_what_is_no_file_is_one_sentence(
    index: FakeIndex, answer: Respond, kind: type[WheelgateError], sentence: str
) -> None:
    index.handlers[PATH] = answer
    error = await refusal(f"{index.origin}{PATH}?sig=hidden")
    assert type(error) is kind
    assert sentence in str(error)
    assert str(error).startswith(f"{index.origin}{PATH}")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (f"http://example.com/{WHEEL}", "would be readable by everybody on the way: use an https URL"),
        (f"http://127.0.0.1.example.com/{WHEEL}", "would be readable by everybody on the way: use an https URL"),
        (f"https://user:hidden@example.com/{WHEEL}", "the URL cannot be used: it carries user information"),
        (f"ftp://example.com/{WHEEL}", "the URL cannot be used: it is not an absolute http(s) URL"),
        (f"https://example.com/a/../{WHEEL}", "the URL cannot be used"),
    ],
)
async def test_a_url_that_cannot_be_used(url: str, sentence: str) -> None:
    error = await refusal(url)
    assert type(error) is UploadRefused
    assert sentence in str(error)


async def test_a_file_that_is_too_large_is_refused_before_or_while_it_comes(index: FakeIndex) -> None:
    async def endless(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(1_000):
            await response.write(BODY)
        return response

    index.handlers[PATH] = answering()
    error = await refusal(f"{index.origin}{PATH}", max_bytes=len(BODY) - 1)
    assert type(error) is TooLarge
    assert f"has {len(BODY)} bytes, more than the {len(BODY) - 1}" in str(error)
    assert await fetched(f"{index.origin}{PATH}", max_bytes=len(BODY)) == (WHEEL, BODY)
    index.handlers[PATH] = endless
    error = await refusal(f"{index.origin}{PATH}")
    assert type(error) is TooLarge
    assert f"is larger than the {LIMIT} bytes" in str(error)


async def test_a_body_that_breaks_off(index: FakeIndex) -> None:
    async def cut(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(BODY))})
        await response.prepare(request)
        await response.write(BODY[:1_000])
        assert request.transport is not None
        request.transport.abort()
        return response

    index.handlers[PATH] = cut
    error = await refusal(f"{index.origin}{PATH}")
    assert type(error) is UpstreamUnavailable
    assert "broke off in the middle" in str(error)


async def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    error = await refusal(f"http://127.0.0.1:{port}/{WHEEL}")
    assert type(error) is UpstreamUnavailable
    assert f"cannot be reached at http://127.0.0.1:{port} (connection refused)" in str(error)


# --- redirects


async def test_a_redirect_is_followed_and_the_name_stays(index: FakeIndex, second_index: FakeIndex) -> None:
    index.handlers[PATH] = answering(302, Location=f"{second_index.origin}/blobs/7f3a?sig=hidden")
    second_index.handlers["/blobs/7f3a"] = answering()
    assert await fetched(f"{index.origin}{PATH}#sha256={SHA256}") == (WHEEL, BODY)
    assert not {hdrs.AUTHORIZATION, hdrs.COOKIE, hdrs.REFERER} & second_index.asked[0].headers.keys()


async def test_no_redirect_leads_to_an_inner_address_that_the_url_does_not_name(index: FakeIndex) -> None:
    with running(FakeIndex(), host="127.0.0.2") as inner:
        inner.handlers[PATH] = answering()
        index.handlers[PATH] = answering(302, Location=f"{inner.origin}{PATH}")
        error = await refusal(f"{index.origin}{PATH}")
        assert type(error) is AddressRefused
        assert "an inner address" in str(error)
        assert inner.asked == []
        assert await fetched(f"{inner.origin}{PATH}") == (WHEEL, BODY)  # named by the person themselves


async def test_the_metadata_address_is_never_asked(index: FakeIndex) -> None:
    for proxy in (None, index.origin):
        with pytest.raises(AddressRefused, match="a link-local or metadata address"):
            await fetched(f"https://169.254.169.254/{WHEEL}", outbound_proxy=proxy)
    assert index.asked == []


async def test_a_companys_proxy_is_asked_instead(index: FakeIndex) -> None:
    index.handlers[PATH] = answering()
    assert await fetched(f"http://127.0.0.1:9{PATH}", outbound_proxy=index.origin) == (WHEEL, BODY)
    assert index.asked[0].headers["Host"] == "127.0.0.1:9"


# --- the name


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (f'attachment; filename="{WHEEL}"', WHEEL),
        ("attachment; filename*=UTF-8''acme_lib-1.0.tar.gz", "acme_lib-1.0.tar.gz"),
        ('attachment; filename="../../acme_lib-1.0.tar.gz"', None),
        ('attachment; filename="notes.txt"', None),
        ("attachment", None),
        ("", None),
    ],
)
async def test_the_server_names_it_where_the_url_does_not(index: FakeIndex, disposition: str, name: str | None) -> None:
    index.handlers["/download"] = answering(Content_Disposition=disposition) if disposition else answering()
    url = f"{index.origin}/download?id=7"
    if name is not None:
        assert (await fetched(url))[0] == name
        return
    error = await refusal(url)
    assert type(error) is UploadRefused
    assert "does not end with the name of a wheel or sdist" in str(error)


async def test_the_url_decides_the_name_where_it_has_one(index: FakeIndex) -> None:
    name = "acme_lib-1.0+cpu-py3-none-any.whl"
    index.handlers["/acme_lib-1.0%2Bcpu-py3-none-any.whl"] = answering(Content_Disposition=f'attachment; filename="{WHEEL}"')
    assert (await fetched(f"{index.origin}/acme_lib-1.0%2Bcpu-py3-none-any.whl"))[0] == name


# --- https


@pytest.fixture
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """An https origin that redirects to plain http on this machine, and the file of its authority."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    plain, _ = listener.accept()
                    with context.wrap_socket(plain, server_side=True) as client:
                        asked = client.recv(4_000).split()[1].decode()
                        if asked.startswith("/down/"):
                            client.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/x\r\nContent-Length: 0\r\n\r\n")
                        else:
                            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)
                except ssl.SSLError:
                    continue
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}", str(folder / "ca.pem")
        listener.shutdown(socket.SHUT_RDWR)


async def test_https_is_checked_and_never_left(secure: tuple[str, str]) -> None:
    origin, ca_file = secure
    assert await fetched(f"{origin}/{WHEEL}", ca_file=ca_file) == (WHEEL, BODY)
    error = await refusal(f"{origin}/{WHEEL}")
    assert type(error) is UpstreamUnavailable
    assert "certificate" in str(error)
    with pytest.raises(AddressRefused, match=r"redirects to http://127\.0\.0\.1:9, which is not https"):
        await fetched(f"{origin}/down/{WHEEL}", ca_file=ca_file)
