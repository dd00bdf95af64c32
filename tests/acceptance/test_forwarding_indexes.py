"""Index servers of other makers that redirect names that they do not have, or have an empty page for each, as they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.configs import UPLOADS, index_source
from tests.support.clients import pip
from tests.support.gate import Gate
from tests.support.index import FakeIndex
from tests.support.packages import make_wheel, wheel_bytes, wheel_name
from tests.support.servers import forwarding_pypiserver, simpleindex

Start = Callable[..., Gate]
BLANK = '<!DOCTYPE html>\n<html>\n<head>\n<meta charset="utf-8">\n</head>\n<body>\n</body>\n</html>\n'


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    make_wheel(folder, "acme-a", "1.0", requires=["public-base>=1"])
    return folder


@pytest.fixture
def public(index: FakeIndex) -> FakeIndex:
    index.publish("public-base", wheel_name("public-base", "1.0"), wheel_bytes("public-base", "1.0"))
    index.publish("acme-a", wheel_name("acme-a", "99.0"), wheel_bytes("acme-a", "99.0"))
    return index


def team(url: str) -> str:
    return f'[[source]]\nname = "team"\ntype = "index"\nurl = "{url}"\nprivate = true\nfresh = "0s"\nabsent = "0s"\n'


def install(server: Gate, home: Path, public: FakeIndex) -> None:
    """pip gets what it would get from each place directly, and nobody in public is asked about what is private."""
    pip(home, "install", "--no-cache-dir", "--index-url", server.index_url, "--target", home / "pip", "acme-a")
    assert '"1.0"' in (home / "pip" / "acme_a.py").read_text()
    assert (home / "pip" / "public_base.py").exists()
    assert public.count("/simple/acme-a/") == 0
    assert server.get("/simple/nobody-has-this/").status == 404


def test_pypiserver_as_it_is_by_default(start_gate: Start, tmp_path: Path, home: Path, wheels: Path, public: FakeIndex) -> None:
    with forwarding_pypiserver(tmp_path, wheels, public.url) as origin:
        server = start_gate(UPLOADS + team(f"{origin}/simple/") + index_source(public))
        install(server, home, public)
        checked = server.run("check")
        assert checked.returncode == 0, checked.stdout
        assert f"redirects names that it does not have to {public.origin[7:]}, which is source public" in checked.stdout
        explained = json.loads(server.get("/explain/public-base").body)
        (manner,) = (said["manner"] for said in explained["sources"] if said["source"] == "team")
        assert "which is source public" in manner[0]
        assert "sends no upload times" in manner
    # Gone, it is down: nothing of it goes on to others, be it known or not.
    assert server.get("/simple/acme-b/").status == 503
    assert public.count("/simple/acme-b/") == 0


def test_pypiserver_that_redirects_to_no_source(
    start_gate: Start, tmp_path: Path, wheels: Path, public: FakeIndex, second_index: FakeIndex
) -> None:
    with forwarding_pypiserver(tmp_path, wheels, second_index.url) as origin:
        server = start_gate(UPLOADS + team(f"{origin}/simple/") + index_source(public))
        assert server.get("/simple/acme-a/").status == 200
        answer = server.get("/simple/public-base/")
        assert answer.status == 502
        for said in (second_index.origin[7:], "pypiserver: --disable-fallback", "only"):
            assert said in answer.body.decode()
        assert "file_hosts" not in answer.body.decode()
        assert not public.asked
        checked = server.run("check")
        assert checked.returncode == 1, checked.stdout
        assert f"redirects this page to {second_index.origin[7:]}" in checked.stdout
        assert "--disable-fallback" in checked.stdout
    assert not second_index.asked


@pytest.mark.long
@pytest.mark.parametrize("elsewhere", ["by redirects", "by blank pages"])
def test_simpleindex(start_gate: Start, tmp_path: Path, home: Path, wheels: Path, public: FakeIndex, elsewhere: str) -> None:
    """A route for what is its own, and one for all the rest: elsewhere, or a page that has nothing on it."""
    (tmp_path / "blank.html").write_text(BLANK)
    rest = (
        f'source = "http"\nto = "{public.url}{{project}}/"'
        if elsewhere == "by redirects"
        else 'source = "path"\nto = "blank.html"'
    )
    routes = f'[routes."acme-a"]\nsource = "path"\nto = "{wheels}"\n[routes."{{project}}"]\n{rest}\n'
    with simpleindex(tmp_path, routes) as origin:
        server = start_gate(UPLOADS + team(f"{origin}/") + index_source(public))
        install(server, home, public)
