"""Whose a name is that a mirror has: told by its manifest, in one and the same mirror, without a word of configuration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.configs import index_source
from tests.support.clients import pip, uv
from tests.support.gate import Gate, gate
from tests.support.index import FakeIndex, running
from tests.support.mirrors import HERE, Mirroring, manifest
from tests.support.packages import make_wheel, metadata, wheel_bytes, wheel_name


def publish(index: FakeIndex, project: str, version: str, requires: tuple[str, ...] = ()) -> None:
    body = metadata(project, version, requires=list(requires))
    index.publish(project, wheel_name(project, version), wheel_bytes(project, version, metadata_body=body), metadata=body)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mirror of a private project that needs public ones, and of a project that a merge rule joins."""
    with running(FakeIndex()) as team, running(FakeIndex()) as public:
        publish(team, "acme-app", "1.0", ("helper", "other", "joined"))
        publish(team, "joined", "1.0+acme")
        for project in ("helper", "other", "certifi", "idna", "six"):
            publish(public, project, "1.0")
        publish(public, "joined", "0.9")
        config = index_source(team, "team", private=True) + index_source(public)
        config += '[[policy.merge]]\nnames = ["joined"]\nsources = ["team", "public"]\n'
        mirroring = Mirroring(tmp_path_factory.mktemp("outside"), team, config)
        text = "acme-app\njoined==0.9\ncertifi\nidna\nsix\n"
        mirroring.run(mirroring.input(text), "--to", "file:./bundle", *HERE)
        mirroring.run("--project", "joined==1.0+acme", "--to", "file:./bundle", *HERE)
    return mirroring.folder / "bundle"


def test_the_manifest_tells_whose_each_file_is(bundle: Path) -> None:
    origins = {entry["path"].partition("-py3")[0]: (entry["origin"], entry["source"]) for entry in manifest(bundle)["files"]}
    public = {f"{name}/{name}-1.0": ("public", "public") for name in ("helper", "other", "certifi", "idna", "six")}
    joined = {"joined/joined-1.0+acme": ("private", "team"), "joined/joined-0.9": ("merged", "public")}
    assert origins == public | joined | {"acme-app/acme_app-1.0": ("private", "team")}


@pytest.fixture(scope="module")
def served(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gate, FakeIndex]]:
    """It, served beside a public index that has all those names as well, and a rule for public files."""
    with running(FakeIndex()) as public:
        for project in ("acme-app", "joined", "mine"):
            publish(public, project, "99.0")
        publish(public, "helper", "1.1")
        folder = tmp_path_factory.mktemp("inside")
        (bundle / "mine").mkdir()
        make_wheel(bundle / "mine", "mine", "1.0")
        config = f'[[source]]\nname = "mirror"\ntype = "directory"\nurl = "file:{bundle}"\nlayout = "project"\n'
        config += index_source(public) + '[policy]\nallow = ["helper", "joined==99.0"]\n'
        with gate(folder / "gate", config) as server:
            yield server, public


def versions(server: Gate, project: str) -> list[str]:
    return sorted(file["filename"].split("-")[1] for file in server.page(project)["files"])


def test_what_came_from_a_private_source_is_private_and_claimed(served: tuple[Gate, FakeIndex]) -> None:
    server, public = served
    assert versions(server, "acme-app") == ["1.0"]
    assert versions(server, "joined") == ["1.0+acme"], "the other goes by the rules for public files"
    assert versions(server, "mine") == ["1.0"], "what no manifest tells of is private"
    for project in ("acme-app", "joined", "mine"):
        assert public.count(f"/simple/{project}/") == 0
    claimed = server.run("claims").stdout
    assert {name for name in ("acme-app", "joined", "mine", "helper", "other") if name in claimed} == {
        "acme-app",
        "joined",
        "mine",
    }


def test_what_came_from_a_public_source_is_public(served: tuple[Gate, FakeIndex]) -> None:
    server, _ = served
    assert versions(server, "helper") == ["1.1"], "a public source that is configured answers first"
    withheld = server.get("/simple/other/")
    assert withheld.status == 403
    assert "policy.allow" in withheld.reason or "allow" in withheld.body.decode()
    assert "other" not in server.run("claims").stdout


def test_real_clients_install_from_it_alone(bundle: Path, home: Path, tmp_path: Path) -> None:
    config = f'[server]\noffline = true\n[[source]]\nname = "mirror"\ntype = "directory"\nurl = "file:{bundle}"\n'
    with gate(tmp_path / "gate", config) as server:
        options = ["--no-cache-dir", "--index-url", server.index_url]
        pip(home, "install", *options, "--target", home / "pip", "acme-app", "six")
        uv(home, "pip", "install", *options, "--target", home / "uv", "acme-app", "six")
        for client in ("pip", "uv"):
            assert {path.stem for path in (home / client).glob("*.py")} >= {"acme_app", "helper", "other", "joined", "six"}
        claims = server.run("claims").stdout
        assert "acme-app" in claims
        assert "helper" not in claims
