"""Releases of a private repository, installed by real pip and uv: the token reaches the API alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.configs import UPLOADS, index_source
from tests.support.clients import pip, uv
from tests.support.gate import gate
from tests.support.github import TOKEN, Github, github
from tests.support.index import FakeIndex
from tests.support.packages import wheel_bytes, wheel_name


@pytest.fixture
def hub() -> Iterator[Github]:
    with github() as made:
        made.release(
            "acme/tools", "v1", {wheel_name("acme-tool", "1.0"): wheel_bytes("acme-tool", "1.0", requires=["idna-like"])}
        )
        yield made


def config(hub: Github, public: FakeIndex, *, auth_type: str = "PAT", **more: str) -> str:
    lines = "".join(f'{key} = "{value}"\n' for key, value in more.items())
    return f"""
{UPLOADS}
[[source]]
name = "tools"
type = "github"
url = "{hub.url}"
repos = ["acme/tools"]
file_hosts = ["{hub.storage_host}"]
{lines}
{index_source(public)}
[[connection]]
name = "github"
category = "Git"
target = "{hub.url}repos/acme"
auth_type = "{auth_type}"
value = "env:GITHUB_TOKEN"
"""


@pytest.mark.parametrize("delivery", ["cache", "stream"])
def test_a_private_release_installs_with_public_dependencies(
    hub: Github, index: FakeIndex, tmp_path: Path, delivery: str
) -> None:
    index.publish("idna-like", wheel_name("idna-like", "3.0"), wheel_bytes("idna-like", "3.0"))
    settings = config(hub, index, delivery=delivery)
    with gate(tmp_path / "gate", settings, ["--log-level", "DEBUG"], {"GITHUB_TOKEN": TOKEN}) as server:
        pip(tmp_path, "install", "--index-url", server.index_url, "--target", tmp_path / "pip", "acme-tool")
        uv(tmp_path, "pip", "install", "--default-index", server.index_url, "--target", tmp_path / "uv", "acme-tool==1.0")
        for installed in (tmp_path / "pip", tmp_path / "uv"):
            assert {"acme_tool-1.0.dist-info", "idna_like-3.0.dist-info"} <= {path.name for path in installed.iterdir()}
        assert TOKEN not in server.log
        assert 'wheelgate_upstream_requests_left{source="tools"}' in server.get("/metrics").body.decode()
    shown = {request.headers.get("Authorization") for request in hub.asked}
    assert shown == {f"Bearer {TOKEN}"}
    assert hub.storage.asked
    assert not [request for request in (*hub.storage.asked, *index.asked) if TOKEN in str(request.headers)]
    assert index.count("/simple/acme-tool/") == 0


def test_with_redirects_the_client_gets_the_signed_url_and_never_the_token(hub: Github, index: FakeIndex, tmp_path: Path) -> None:
    index.publish("idna-like", wheel_name("idna-like", "3.0"), wheel_bytes("idna-like", "3.0"))
    with gate(tmp_path / "gate", config(hub, index, delivery="redirect"), env={"GITHUB_TOKEN": TOKEN}) as server:
        answer = server.get(f"/files/acme-tool/{wheel_name('acme-tool', '1.0')}")
        assert answer.status == 302
        assert answer.headers["Location"] == f"{hub.storage.origin}/signed/1?sig=signature&se=2030"
        assert answer.headers["Cache-Control"] == "no-store"
        assert not hub.storage.asked, "the bytes are the client's to fetch"
        uv(tmp_path, "pip", "install", "--default-index", server.index_url, "--target", tmp_path / "uv", "acme-tool")
        assert hub.storage.asked
    assert not [request for request in hub.storage.asked if "Authorization" in request.headers]


def test_a_token_that_is_not_taken_is_a_sentence_and_no_absence(hub: Github, index: FakeIndex, tmp_path: Path) -> None:
    index.publish("acme-tool", wheel_name("acme-tool", "99.0"), wheel_bytes("acme-tool", "99.0"))
    with gate(tmp_path / "gate", config(hub, index), env={"GITHUB_TOKEN": "expired"}) as server:
        answer = server.get("/simple/acme-tool/")
        assert answer.status == 502
        assert b"the token may not see it" in answer.body
        assert index.count("/simple/acme-tool/") == 0
        checked = server.run("check")
        assert checked.returncode == 1
        assert "has no such repository, or the token may not see it" in checked.stdout
