"""A feed that passes public packages through: its own names are claimed and no others, and public files keep to the rules.

The feed is as the portal makes it, with public sources included; the clients are pip and uv.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web

from tests.support.clients import pip, uv
from tests.support.company import PAT, TEAM_URL, Company, company, connection
from tests.support.devops import Upstream, needs
from tests.support.gate import Gate, command, gate
from tests.support.lies import wait_until
from tests.support.packages import wheel_bytes, wheel_name

DEPENDENCIES = [f"common-{number:02}" for number in range(20)]
OLD = datetime.now(UTC) - timedelta(days=400)
POLICY = '\n[policy]\ncooldown = "3d"\n'


@pytest.fixture
def acme(tmp_path: Path) -> Iterator[Company]:
    """``acme-app`` needs twenty public packages; of each 1.0 is a year old and saved in the feed, 2.0 appeared a moment ago."""
    with company(tmp_path / "company") as made:
        upstream = Upstream()
        for name in DEPENDENCIES:
            for version, uploaded in (("1.0", OLD), ("2.0", datetime.now(UTC))):
                body = wheel_bytes(name, version)
                upstream.files.setdefault(name, {})[wheel_name(name, version)] = (version, body)
                made.public.publish(name, wheel_name(name, version), body, upload_time=f"{uploaded:%Y-%m-%dT%H:%M:%S.%fZ}")
        made.team.upstreams = [Upstream("npmjs", protocol="npm"), upstream]
        made.team.publish("acme-app", "1.0", body=wheel_bytes("acme-app", "1.0", requires=DEPENDENCIES), at=OLD)
        for name in DEPENDENCIES:
            made.team.save(name, "1.0", at=OLD)
        yield made


def config(acme: Company, *, public: bool = True) -> str:
    """As the README has it, under a cool-down."""
    whole = acme.config(TEAM_URL, connection())
    return (whole if public else whole.replace(acme.public_source(), "")) + POLICY


def install(gate: Gate, home: Path, client: str) -> dict[str, str]:
    """The versions that a client installs of everything."""
    where = home / f"{client}-{len(list(home.iterdir()))}"
    if client == "pip":
        pip(home, "install", "--no-cache-dir", "--index-url", gate.index_url, "--target", where, "acme-app")
    else:
        uv(home, "venv", "--python", sys.executable, where)
        uv(home, "pip", "install", "--no-cache", "--index-url", gate.index_url, "acme-app", env={"VIRTUAL_ENV": str(where)})
    names = [path.name.split("-") for path in where.rglob("*.dist-info")]
    return {name.replace("_", "-"): version.removesuffix(".dist") for name, version, *_ in names}


def claimed(gate: Gate) -> list[str]:
    done = command(gate.folder, "claims", "-c", gate.config, "--data", gate.data, "--json", ACME_PAT=PAT)
    assert done.returncode == 0, done.stderr
    return [row["project"] for row in json.loads(done.stdout)]


EVERYTHING = {"acme-app": "1.0", **dict.fromkeys(DEPENDENCIES, "1.0")}


def is_down(request: web.BaseRequest) -> web.Response:
    return web.Response(status=503)


def serves(server: Gate) -> dict[str, str]:
    """What an installer would choose of everything, asked as it asks; one file of each world is fetched."""
    chosen = {}
    for name in EVERYTHING:
        (file,) = server.page(name)["files"]
        chosen[name] = file["filename"].split("-")[1]
        if name in ("acme-app", DEPENDENCIES[0]):
            assert server.get(file["url"]).status in (200, 302)
    return chosen


@pytest.mark.parametrize("way", ["asked", pytest.param("installed", marks=pytest.mark.long)])
def test_an_own_package_with_twenty_public_dependencies_is_all_that_is_claimed(
    acme: Company, tmp_path: Path, home: Path, way: str
) -> None:
    """By pip and uv at first; then as an installer asks, or each time ``installed``."""
    devops = acme.devops

    def check(server: Gate) -> None:
        for client in ("pip", "uv") if way == "installed" else ():
            assert install(server, home, client) == EVERYTHING
        assert serves(server) == EVERYTHING

    with gate(tmp_path / "gate", config(acme), env={"ACME_PAT": PAT}) as server:
        for client in ("pip", "uv"):
            assert install(server, home, client) == EVERYTHING
        assert claimed(server) == ["acme-app"]
        pages = {asked.path.split("/")[-2] for asked in devops.asked if asked.is_page}
        assert pages == {"acme-app"}, "the feed was asked for what is its own"
        assert not [asked for asked in acme.public.asked if "acme" in asked.path]
        server.stop()
        # The service is down, and another process starts: what was known stands in, and nothing is made up.
        devops.service_mood = is_down
        server.start()
        check(server)
        assert server.get("/simple/common-99/").status == 503
        devops.mood = is_down  # and the feed
        check(server)
        server.stop()
        server.start()
        check(server)
        devops.service_mood, devops.mood = None, is_down  # the feed alone
        check(server)
        devops.mood = None
        server.stop()
        # The public source is gone: the feed is asked for what it passes through, and the rules are the same.
        server.config.write_text(config(acme, public=False))
        server.start()
        asked = len(acme.public.asked)
        for client in ("pip", "uv") if way == "installed" else ("uv",):
            assert install(server, home, client) == EVERYTHING
        check(server)
        assert len(acme.public.asked) == asked
        assert claimed(server) == ["acme-app"]
        assert server.get(f"/files/common-00/{wheel_name('common-00', '2.0')}").status == 403


def test_another_replica_goes_by_what_the_first_one_learned(acme: Company, tmp_path: Path) -> None:
    """Two processes over one store: the second starts while the service is down."""
    store = f'\n[store]\nurl = "file:{tmp_path / "store"}"\n'
    with gate(tmp_path / "one", config(acme) + store, env={"ACME_PAT": PAT}) as one:
        assert serves(one) == EVERYTHING
        wait_until(lambda: len(list((tmp_path / "store").rglob("origins/team-feed/common-*"))) >= len(DEPENDENCIES), 10)
        acme.devops.service_mood = is_down
        with gate(tmp_path / "two", config(acme) + store, env={"ACME_PAT": PAT}) as two:
            assert serves(two) == EVERYTHING
            assert serves(one) == EVERYTHING
            assert claimed(two) == ["acme-app"]


def test_whoever_cannot_be_asked_is_named_with_what_to_set(acme: Company, tmp_path: Path) -> None:
    acme.devops.service_mood = lambda request: needs("ReadPackages")
    with gate(tmp_path / "gate", config(acme), env={"ACME_PAT": PAT}) as server:
        answer = server.get("/simple/common-00/")
        assert answer.status == 503
        assert b"nobody can tell whether common-00 is source team-feed's own" in answer.body
        assert b'say upstream = "public" or upstream = "none"' in answer.body
        assert not acme.public.asked
        assert claimed(server) == []
        told = command(server.folder, "check", "-c", server.config, "--data", server.data, ACME_PAT=PAT)
        assert (
            "cannot tell its own names from those it passes on: connection acme was refused by feeds.dev.azure.com" in told.stdout
        )
        assert told.returncode == 1


def test_a_reader_is_told_apart_and_public_names_are_asked_elsewhere(acme: Company, tmp_path: Path, home: Path) -> None:
    """An identity that may have nothing saved: what is not saved is absent for it, and what is saved installs."""
    acme.devops.organisation("acme").pats[PAT] = "reader"
    acme.team.upstreams[1].files["rare"] = {wheel_name("rare", "1.0"): ("1.0", wheel_bytes("rare", "1.0"))}
    with gate(tmp_path / "gate", config(acme, public=False), env={"ACME_PAT": PAT}) as server:
        assert server.get("/simple/rare/").status == 404
        assert "and the identity is only a Reader of the feed: what its upstreams have needs" in server.log
        told = command(server.folder, "check", "-c", server.config, "--data", server.data, ACME_PAT=PAT)
        assert "passes on packages of PyPI (public): own ones are claimed, public ones stay public" in told.stdout
        assert "answers, but the identity is only a Reader of the feed" in told.stdout
        assert told.returncode == 0, told.stdout
        assert install(server, home, "pip") == EVERYTHING


def test_a_feed_saves_nothing_that_nobody_asked_for(acme: Company, tmp_path: Path) -> None:
    """What it lists of its upstreams is saved there, for all who use it, once it is downloaded: so it is not read ahead."""
    acme.team.mixes = True
    acme.team.upstreams[1].files["acme-app"] = {wheel_name("acme-app", "99.0"): ("99.0", wheel_bytes("acme-app", "99.0"))}
    saved = {name: set(versions) for name, versions in acme.team.origins.items()}
    with gate(tmp_path / "gate", config(acme, public=False), env={"ACME_PAT": PAT}) as server:
        page = server.page("common-00")
        assert [file["filename"] for file in page["files"]] == [wheel_name("common-00", "1.0")]
        own = "/explain/acme-app"
        assert server.page("acme-app")["files"]
        wait_until(lambda: json.loads(server.get(own).body)["unread"] == 1, 20)  # 1.0 was read, and 99.0 is not
        assert {name: set(versions) for name, versions in acme.team.origins.items()} == saved


def test_offline_its_copies_are_what_its_service_said(acme: Company, tmp_path: Path) -> None:
    """Public ones stay public, under the rules; of what was never told of nothing is claimed, and nothing is served."""
    with gate(tmp_path / "gate", config(acme, public=False), env={"ACME_PAT": PAT}) as server:
        for name, version in (("acme-app", "1.0"), ("common-00", "1.0"), ("common-01", "1.0")):
            assert server.get(f"/files/{name}/{wheel_name(name, version)}").status in (200, 302)
        server.stop()
        store = server.data / "store"
        assert (store / "origins" / "team-feed" / "common-00").exists()
        (store / "origins" / "team-feed" / "common-01").unlink()
        offline = server.config.read_text().replace("[server]", "[server]\noffline = true").replace("3d", "2020-01-01")
        server.config.write_text(offline)
        asked = len(acme.devops.asked), len(acme.devops.service_asked)
        server.start()
        assert [file["filename"] for file in server.page("acme-app")["files"]] == [wheel_name("acme-app", "1.0")]
        public, unknown = server.get("/simple/common-00/"), server.get("/simple/common-01/")
        assert (public.status, unknown.status, server.get("/simple/common-02/").status) == (403, 403, 403)
        assert b"the index is frozen as of 2020-01-02" in public.body
        assert b"nobody can tell whether common-01 is source team-feed's own" in unknown.body
        assert claimed(server) == ["acme-app"]
        assert (len(acme.devops.asked), len(acme.devops.service_asked)) == asked
