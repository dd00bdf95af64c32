"""A private index that passes public packages through, with real pip and uv: what is its own is private, and nothing else is."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.acceptance.configs import UPLOADS, index_source
from tests.support.clients import pip, uv
from tests.support.gate import Gate, gate
from tests.support.index import FakeIndex, running
from tests.support.packages import make_wheel, wheel_bytes, wheel_name
from tests.support.servers import devpi_passing
from tests.support.waiting import until

OWN, PUBLIC, NEW = "acme-lib", "left-pad", "3.0"
POLICY = '[policy]\ncooldown = "3d"\n'
WELL_KNOWN = ("certifi", "idna", "six")


class Company:
    """A feed with a project of its own, and all that a public index has, which it passes through."""

    def __init__(self, feed: FakeIndex, public: FakeIndex) -> None:
        self.feed, self.public = feed, public
        for name in (OWN, PUBLIC, *WELL_KNOWN):
            self.publish(name, "1.0", feed if name == OWN else None)
        self.publish(PUBLIC, NEW, uploaded=datetime.now(UTC))

    def publish(
        self, name: str, version: str, only: FakeIndex | None = None, uploaded: datetime = datetime(2025, 1, 1, tzinfo=UTC)
    ) -> None:
        body = wheel_bytes(name, version, requires=[PUBLIC] if name == OWN else ())
        for index in (self.feed, self.public) if only is None else (only,):
            index.publish(name, wheel_name(name, version), body, upload_time=f"{uploaded:%Y-%m-%dT%H:%M:%S}.000000Z")

    def config(self, *, public: bool = True, **said: object) -> str:
        sources = UPLOADS + index_source(self.feed, "feed", private=True, fresh="1s", absent="1s", **said)
        return sources + (index_source(self.public, private=False) if public else "") + POLICY

    def asked(self, index: FakeIndex, name: str) -> list[str]:
        return [asked.path for asked in index.asked if f"/{name}/" in asked.path]


@pytest.fixture
def company(index: FakeIndex, second_index: FakeIndex) -> Company:
    return Company(second_index, index)


def claims_of(server: Gate) -> dict[str, str]:
    return {row["project"]: row["source"] for row in json.loads(server.run("claims", "--json").stdout)}


def install(home: Path, server: Gate) -> set[str]:
    """Install its own project with both installers; what the environments have then."""
    for number, name in enumerate(("pip", "uv")):
        folder = home / f"venv-{name}"
        uv(home, "venv", "--python", sys.executable, folder)
        if number:
            uv(home, "pip", "install", "--no-cache", "--default-index", server.index_url, OWN, env={"VIRTUAL_ENV": str(folder)})
        else:
            target = folder / "site"
            pip(home, "install", "--no-cache-dir", "--index-url", server.index_url, "--target", target, OWN)
    return {path.name for path in home.rglob("*.dist-info") if path.name.startswith(("acme", "left"))}


@pytest.mark.parametrize("public", [True, pytest.param(False, marks=pytest.mark.long)])
def test_its_own_project_installs_with_public_ones_that_go_by_the_rules(
    start_gate: Callable[..., Gate], company: Company, home: Path, public: bool
) -> None:
    server = start_gate(company.config(public=public, upstream="public", only=["acme-*"]))
    assert install(home, server) == {"acme_lib-1.0.dist-info", "left_pad-1.0.dist-info"}, "the newer one is too new"
    assert claims_of(server) == {OWN: "feed"}
    (feed, outside) = (company.asked(index, PUBLIC) for index in (company.feed, company.public))
    assert bool(feed) is not public
    assert bool(outside) is public
    assert company.asked(company.public, OWN) == []
    told = server.run("explain", PUBLIC).stdout
    assert f"feed (private): nothing of its own, {PUBLIC} comes to source feed from outside" in told
    assert "its own: `only` of source feed covers it (acme-*)" in server.run("explain", OWN).stdout
    assert server.get(f"/files/{PUBLIC}/{wheel_name(PUBLIC, NEW)}").status == 403
    checked = server.run("check")
    assert checked.returncode == 0, checked.stdout
    assert "passes public packages through; its own are acme-*, and what it claimed before" in checked.stdout

    server.restart()
    company.feed.down = True
    if public:
        assert len(server.page(PUBLIC)["files"]) == 1
    assert len(server.page(OWN)["files"]) == 1, "its last good page stands in"
    assert claims_of(server) == {OWN: "feed"}


def test_one_of_which_nothing_is_said_claims_nothing_more_and_says_so(start_gate: Callable[..., Gate], company: Company) -> None:
    server = start_gate(company.config())
    for name in (OWN, PUBLIC, "six"):
        answer = server.get(f"/simple/{name}/")
        assert answer.status == 503
        assert f"nobody can tell whose {name} is: set its upstream" in answer.body.decode()
    assert claims_of(server) == {}
    assert company.asked(company.public, OWN) == company.asked(company.public, PUBLIC) == []
    said = [line for line in server.log.splitlines() if "lists public packages beside its own (certifi, idna and six)" in line]
    assert len([line for line in said if "ERROR" in line]) == 1
    assert b'\nwheelgate_passes_public_through{source="feed"} 1.0\n' in server.get("/metrics").body
    assert server.get("/readyz").status == 200
    checked = server.run("check", "--json")
    assert checked.returncode == 1
    (failed,) = [finding for finding in json.loads(checked.stdout) if not finding["ok"]]
    assert (failed["check"], failed["source"]) == ("source.passing", "feed")
    assert 'set its upstream = "public"' in failed["detail"]

    server.config.write_text(company.config(upstream="none"))
    assert server.run("check").returncode == 0
    server.restart()
    assert server.get(f"/simple/{OWN}/").status == server.get("/simple/six/").status == 200
    assert claims_of(server) == {OWN: "feed", "six": "feed"}


@pytest.mark.long
def test_what_was_claimed_by_mistake_is_found_and_released(start_gate: Callable[..., Gate], company: Company) -> None:
    server = start_gate(company.config(upstream="none"))
    for name in (OWN, PUBLIC, "six"):
        assert server.get(f"/simple/{name}/").status == 200
    nobody = server.run("claims", "--foreign")
    assert nobody.returncode == 2
    assert 'say upstream = "public"' in nobody.stderr
    server.config.write_text(company.config(upstream="public"))
    unclear = server.run("release", "--foreign", "--dry-run")
    assert unclear.returncode == 1
    assert unclear.stdout.startswith("would release 0 names")
    assert "does not say which of the names it claimed are its own: list them in its `only`" in unclear.stderr

    server.config.write_text(company.config(upstream="public", only=["acme-*"]))
    server.restart()
    assert len(server.page(PUBLIC)["files"]) == 2, "what is claimed stays the feed's own until it is released"
    assert [line.split()[0] for line in server.run("claims", "--foreign").stdout.splitlines()] == [PUBLIC, "six"]
    tried = server.run("release", "--foreign", "--dry-run")
    assert (tried.returncode, tried.stdout.splitlines()[:2]) == (0, [f"would release {PUBLIC}", "would release six"])
    assert claims_of(server).keys() == {OWN, PUBLIC, "six"}
    done = server.run("release", "--foreign", "--reason", "it passes PyPI through", "--yes")
    assert (done.returncode, done.stdout) == (0, f"released {PUBLIC}\nreleased six\n")
    until(lambda: len(server.page(PUBLIC)["files"]) == 1)
    assert server.get(f"/simple/{OWN}/").status == 200
    assert claims_of(server) == {OWN: "feed"}


def test_an_upload_under_a_name_that_comes_through_is_as_one_under_any_public_name(
    start_gate: Callable[..., Gate], company: Company, tmp_path: Path
) -> None:
    server = start_gate(company.config(public=False, upstream="public", only=["acme-*"]))
    wheel = make_wheel(tmp_path, PUBLIC, "9.0")
    refused = server.run("wheel", "add", wheel)
    assert refused.returncode == 1
    assert "--take-over" in refused.stderr
    assert server.run("wheel", "add", "--take-over", wheel).returncode == 0
    until(lambda: [file["filename"] for file in server.page(PUBLIC)["files"]] == [wheel.name])


@pytest.mark.long
def test_devpi_with_a_mirror_as_its_base(tmp_path: Path, home: Path) -> None:
    """The index that everybody has: a stage whose bases lead to public PyPI."""
    with running(FakeIndex()) as public:
        company = Company(public, public)
        del public.projects[OWN]
        with devpi_passing(tmp_path, public.url, [make_wheel(tmp_path, OWN, "1.0", requires=[PUBLIC])]) as url:
            feed = f'\n[[source]]\nname = "feed"\ntype = "index"\nurl = "{url}"\nprivate = true\n'
            said = feed + 'upstream = "public"\nonly = ["acme-*"]\n'
            (tmp_path / "one").mkdir()
            with gate(tmp_path / "one", UPLOADS + said + index_source(public, private=False) + POLICY) as server:
                assert install(home, server) == {"acme_lib-1.0.dist-info", "left_pad-1.0.dist-info"}
                assert claims_of(server) == {OWN: "feed"}
                assert company.asked(public, OWN) == []
            (tmp_path / "two").mkdir()
            with gate(tmp_path / "two", UPLOADS + feed + index_source(public, private=False) + POLICY) as server:
                assert server.get(f"/simple/{PUBLIC}/").status == 503
                assert claims_of(server) == {}
