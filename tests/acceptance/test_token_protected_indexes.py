"""Indexes of other makers that want a credential, as they are; and another Wheelgate, with a token."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from yarl import URL

from tests.acceptance.configs import UPLOADS, index_source
from tests.support.clients import pip, uv
from tests.support.gate import WHEELGATE, Gate, environment, gate
from tests.support.index import FakeIndex
from tests.support.packages import make_wheel, wheel_bytes, wheel_name
from tests.support.servers import PASSWORD, USER, devpi, pypiserver
from tests.support.waiting import until

Start = Callable[..., Gate]


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """Packages of a team, one of which needs one that is public."""
    folder = tmp_path / "wheels"
    make_wheel(folder, "acme-a", "1.0", requires=["public-base>=1"], padding=100_000)
    make_wheel(folder, "acme-a", "0.9")
    return folder


@pytest.fixture
def public(index: FakeIndex) -> FakeIndex:
    index.publish("public-base", wheel_name("public-base", "1.0"), wheel_bytes("public-base", "1.0"))
    index.publish("acme-a", wheel_name("acme-a", "99.0"), wheel_bytes("acme-a", "99.0"))
    return index


def source(url: str, **more: object) -> str:
    more = {"private": True, **more}
    lines = "".join(f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}\n" for key, value in more.items())
    return f'[[source]]\nname = "team"\ntype = "index"\nurl = "{url}"\n{lines}'


def stored(folder: Path, *fields: str, secret: str) -> None:
    """`wheelgate connection set` for the gate in the folder."""
    command = [WHEELGATE, "connection", "set", "--data", folder / "data", "--name", "team", *fields]
    done = subprocess.run(command, input=secret, capture_output=True, text=True, timeout=30, env=environment(folder))
    assert done.returncode == 0, done.stderr


def install_both(server: Gate, home: Path, public: FakeIndex) -> None:
    """Real pip and uv find the team's package, and what it needs in public; nobody in public is asked about the first."""
    pip(home, "install", "--no-cache-dir", "--index-url", server.index_url, "--target", home / "pip", "acme-a")
    uv(home, "venv", "--python", sys.executable, home / "venv")
    env = {"VIRTUAL_ENV": str(home / "venv")}
    uv(home, "pip", "install", "--no-cache", "--default-index", server.index_url, "acme-a", env=env)
    for site in (home / "pip", next((home / "venv" / "lib").iterdir()) / "site-packages"):
        assert '"1.0"' in (site / "acme_a.py").read_text()
        assert (site / "public_base.py").exists()
    assert public.count("/simple/acme-a/") == 0


def both_ways(start_gate: Start, origin: str, url: str, tmp_path: Path, home: Path, public: FakeIndex) -> None:
    """Without a connection a sentence that says what is missing; with one, everything."""
    server = start_gate(UPLOADS + source(url, private=True, fresh="0s", absent="0s") + index_source(public))
    answer = server.get("/simple/acme-a/")
    assert answer.status == 502
    said = answer.body.decode()
    assert f"source team wants a credential at {URL(url).authority} (it answered 40" in said
    assert f"no connection is stored for {url}acme-a/" in said
    failed = pip(home, "install", "--no-cache-dir", "--retries", "0", "--index-url", server.index_url, "acme-a", ok=False)
    assert "Successfully installed" not in failed.stdout
    assert public.count("/simple/acme-a/") == 0

    stored(server.folder, "--target", origin, "--auth-type", "UsernamePassword", "--username", USER, secret="wrong")
    until(lambda: "connection team was refused by 127.0.0.1:" in server.get("/simple/acme-a/").body.decode())
    stored(server.folder, "--target", origin, "--auth-type", "UsernamePassword", "--username", USER, secret=PASSWORD)
    until(lambda: server.get("/simple/acme-a/").status == 200)
    install_both(server, home, public)
    done = server.run("connection", "test", "team")
    assert done.returncode == 0, done.stdout
    assert PASSWORD not in server.log


def test_pypiserver_with_htpasswd(start_gate: Start, tmp_path: Path, home: Path, wheels: Path, public: FakeIndex) -> None:
    with pypiserver(tmp_path, wheels) as origin:
        both_ways(start_gate, origin, f"{origin}/simple/", tmp_path, home, public)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_devpi_with_files_that_only_readers_get(
    start_gate: Start, tmp_path: Path, home: Path, wheels: Path, public: FakeIndex
) -> None:
    with devpi(tmp_path, sorted(wheels.iterdir())) as origin:
        url = f"{origin}/{USER}/dev/+simple/"
        server = start_gate(UPLOADS + source(url, private=True) + index_source(public))
        answer = server.get(f"/files/acme-a/{wheel_name('acme-a', '1.0')}")
        assert answer.status == 502
        assert f"source team wants a credential at {URL(url).authority} (it answered 403)" in answer.body.decode()
        fields = ("--target", f"{origin}/{USER}", "--auth-type", "UsernamePassword", "--username", USER)
        stored(server.folder, *fields, secret=PASSWORD)
        until(lambda: server.get(f"/files/acme-a/{wheel_name('acme-a', '1.0')}").status == 200)
        install_both(server, home, public)
        assert PASSWORD not in server.log


class TestAnotherWheelgate:
    """As an upstream, and as the target of Azure ML's connections."""

    @pytest.fixture
    def guarded(self, tmp_path: Path, wheels: Path) -> Iterator[tuple[Gate, str]]:
        """One that answers nobody without a token, and a token."""
        with gate(tmp_path / "guarded", f'[server]\nanonymous = "none"\n{UPLOADS}') as server:
            added = server.run("wheel", "add", *sorted(wheels.iterdir()))
            assert added.returncode == 0, added.stderr
            token = server.run("token", "new", "--scope", "read").stdout.strip()
            assert token.startswith("wgt_")
            until(lambda: server.get("/simple/acme-a/", {"Authorization": f"Bearer {token}"}).status == 200)
            yield server, token

    @pytest.mark.parametrize(
        "kind",
        [
            ("Bearer",),
            *(pytest.param(kind, marks=pytest.mark.long) for kind in [("PAT",), ("UsernamePassword", "--username", "anybody")]),
        ],
    )
    def test_as_an_upstream(
        self, start_gate: Start, guarded: tuple[Gate, str], home: Path, public: FakeIndex, kind: tuple[str, ...]
    ) -> None:
        upstream, token = guarded
        server = start_gate(
            UPLOADS + source(upstream.index_url, private=True, strict=True, fresh="0s", absent="0s") + index_source(public)
        )
        assert server.get("/simple/acme-a/").status == 502
        stored(server.folder, "--target", upstream.url, "--auth-type", *kind, secret=token)
        until(lambda: server.get("/simple/acme-a/").status == 200)
        install_both(server, home, public)
        assert token not in server.log + upstream.log

        revoked = upstream.run("token", "revoke", token.split("_")[1])
        assert revoked.returncode == 0, revoked.stderr
        until(lambda: server.get("/simple/new-question/").status == 502)
        assert re.search(r"connection team was refused by 127\.0\.0\.1:\d+: the credential is wrong, has expired", server.log)

    def test_azure_ml_installs_from_it_with_any_user_and_a_token_as_password(
        self, guarded: tuple[Gate, str], home: Path, tmp_path: Path
    ) -> None:
        """What a workspace's python_feed connection does with its target: user name and PAT in the index URL."""
        server, token = guarded
        make_wheel(tmp_path, "acme-alone", "1.0")
        assert server.run("wheel", "add", tmp_path / wheel_name("acme-alone", "1.0")).returncode == 0
        for number, user in enumerate(("AzureML", "VssSessionToken", "", "build%40acme")):
            index_url = server.index_url.replace("http://", f"http://{user}:{token}@")
            pip(home, "install", "--no-cache-dir", "--index-url", index_url, "--target", home / str(number), "acme-alone")
        for wrong in (token[:-1] + "x", "", "pat-of-somebody"):
            index_url = server.index_url.replace("http://", f"http://AzureML:{wrong}@")
            failed = pip(home, "install", "--no-cache-dir", "--no-input", "--index-url", index_url, "acme-alone", ok=False)
            assert "No matching distribution" in failed.stderr + failed.stdout
        assert token not in server.log
