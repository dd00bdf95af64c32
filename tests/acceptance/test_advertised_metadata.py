"""An index that advertises core metadata and does not send it, or another's: what the wheel says is offered, for all to go on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from tests.acceptance.configs import uploads_and
from tests.support.clients import pip, uv
from tests.support.gate import Gate
from tests.support.index import FakeIndex
from tests.support.lies import wait_until
from tests.support.packages import metadata, sha256, wheel_bytes, wheel_name

WRONG = {
    "acme-absent": (404, "text/plain", b"not found"),
    "acme-forbidden": (403, "application/xml", b"<Error><Code>AccessDenied</Code></Error>"),
    "acme-page": (200, "text/html", b"<!DOCTYPE html><title>Sign in</title>"),
    "acme-empty": (200, "application/octet-stream", b""),
    "acme-broken": (500, "text/plain", b"oops"),
}
WHEELS = {name: wheel_bytes(name, "1.0") for name in [*WRONG, "acme-other"]}
OTHER = metadata("acme-other", "1.0", requires=["nobody-has-this"])


def answering(status: int, kind: str, body: bytes) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status, content_type=kind, body=body)

    return answer


@pytest.fixture
def upstream(index: FakeIndex) -> FakeIndex:
    for name, said in WRONG.items():
        index.publish(name, wheel_name(name, "1.0"), WHEELS[name], core_metadata=True)
        index.handlers[f"/packages/{name}/{wheel_name(name, '1.0')}.metadata"] = answering(*said)
    return index


@pytest.mark.parametrize("client", ["pip", "uv"])
def test_what_is_advertised_and_not_sent_is_read_out_of_the_wheel(
    client: str, upstream: FakeIndex, start_gate: Callable[..., Gate], home: Path
) -> None:
    server = start_gate(uploads_and(upstream))
    tags = {name: server.get(f"/simple/{name}/").headers["ETag"] for name in WRONG}
    options = ["install", "--target", str(home / "site"), "--index-url", server.index_url, *WRONG]
    if client == "pip":
        pip(home, *options)
    else:
        uv(home, "pip", *options)
    for name in WRONG:
        (file,) = server.page(name)["files"]
        assert file["core-metadata"] == {"sha256": sha256(metadata(name, "1.0"))}
        assert server.get(f"/simple/{name}/").headers["ETag"] != tags[name]
        assert server.log.count(f"({wheel_name(name, '1.0')}): what the wheel itself says is offered") == (name != "acme-broken")
    assert "wants a credential" not in server.log
    asked = len(upstream.asked)
    server.restart()
    for name in WRONG:
        assert server.get(f"/files/{name}/{wheel_name(name, '1.0')}.metadata").body == metadata(name, "1.0")
    assert not [request for request in upstream.asked[asked:] if request.path.endswith(".metadata")]


@pytest.mark.parametrize("stated", [True, {"sha256": sha256(OTHER)}], ids=["without a digest", "with its digest"])
def test_metadata_of_another_wheel_is_found_out_when_the_wheel_is_here(
    stated: object, index: FakeIndex, start_gate: Callable[..., Gate], home: Path
) -> None:
    """pip compares the two, and stops. Nobody can know before the wheel has come in; then everybody does."""
    name, wheel = "acme-other", wheel_name("acme-other", "1.0")
    index.publish(name, wheel, WHEELS[name], metadata=OTHER, core_metadata=stated)
    server = start_gate(uploads_and(index))
    assert server.get(f"/files/{name}/{wheel}.metadata").body == OTHER
    assert server.get(f"/files/{name}/{wheel}").status == 200
    own = metadata(name, "1.0")
    wait_until(lambda: server.page(name)["files"][0]["core-metadata"] == {"sha256": sha256(own)})
    assert server.get(f"/files/{name}/{wheel}.metadata").body == own
    assert server.log.count("advertises core metadata that is not its wheel's") == (stated is not True)
    pip(home, "install", "--target", home / "pip", "--index-url", server.index_url, name)
    uv(home, "pip", "install", "--target", home / "uv", "--index-url", server.index_url, name)
