"""An index of wheels built for accelerators: flat files on another host, local versions, upload times on its pages, and 403 for
whatever it lacks. Real pip and uv choose from it through the server, under the rules."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path
from urllib.parse import quote

import pytest
from aiohttp import web

from tests.acceptance.configs import UPLOADS, index_source
from tests.support.clients import pip, uv
from tests.support.gate import Gate
from tests.support.index import FakeIndex, running
from tests.support.packages import sha256, wheel_bytes, wheel_name

OLD = datetime.now(UTC) - timedelta(days=90)
YOUNG = datetime.now(UTC) - timedelta(hours=5)
BUILDS = (("2.6.0", OLD), ("2.7.0", OLD), ("2.8.0", YOUNG))
"""Versions of each build, and when they were uploaded."""
RULES = '[policy]\ncooldown = "3d"\n'


class Builds(FakeIndex):
    """Pages at ``/whl/BUILD/PROJECT/``; the wheels lie flat on another host, two ways of linking them. It has no other name."""

    def __init__(self, files: FakeIndex) -> None:
        super().__init__()
        self.files = files
        self.pages: dict[str, str] = {}

    def add(self, build: str, project: str, **more: object) -> None:
        links = []
        for version, moment in BUILDS:
            name = wheel_name(project, f"{version}+{build}")
            body = wheel_bytes(project, f"{version}+{build}", requires=["filelock"], **more)  # type: ignore[arg-type]
            self.files.publish(f"whl-{build}", name, body)
            host = self.files.origin if version == "2.6.0" else self.files.origin.removeprefix("http:")
            said = (
                f'data-upload-time="{moment:%Y-%m-%dT%H:%M:%SZ}" data-size="{len(body)}" data-requires-python="{escape(">=3.9")}"'
            )
            address = f"{host}/packages/whl-{build}/{quote(name)}#sha256={sha256(body)}"
            links.append(f'    <a href="{address}" {said}>{name}</a><br/>')
        page = "\n".join(
            ["<!DOCTYPE html>", "<html>", "  <body>", f"    <h1>Links for {project}</h1>", *links, "  </body>", "</html>"]
        )
        self.pages[f"/whl/{build}/{project}/"] = page
        self.pages[f"/whl/{build}/"] = f'<!DOCTYPE html><html><body><a href="{project}/">{project}</a><br/></body></html>'

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        page = self.pages.get(request.rel_url.raw_path)
        if page is None:  # as object storage behind a network of caches says it
            return web.Response(status=403, text="<Error><Code>AccessDenied</Code></Error>", content_type="application/xml")
        return web.Response(text=page, content_type="text/html")


@pytest.fixture
def builds() -> Iterator[Builds]:
    """Of each build a project ``torch``."""
    with running(FakeIndex()) as files, running(Builds(files)) as made:
        for build in ("cu126", "cpu"):
            made.add(build, "torch")
        yield made


def build_source(builds: Builds, build: str) -> str:
    host = builds.files.origin.removeprefix("http://")
    source = f'[[source]]\nname = "{build}"\ntype = "index"\nurl = "{builds.origin}/whl/{build}/"\nprivate = false\n'
    return source + f'only = ["torch", "torch-*"]\nfile_hosts = ["{host}"]\n'


def versions(server: Gate, project: str = "torch") -> list[str]:
    return [entry["filename"].split("-")[1] for entry in server.page(project)["files"]]


def installed(home: Path, client: Callable[..., object], index_url: str, *wanted: str) -> str:
    """Install into a folder of its own; the version of torch that was taken."""
    target = home / f"site-{threading.get_native_id()}-{len(list(home.iterdir()))}"
    install = ["pip", "install"] if client is uv else ["install"]
    client(home, *install, "--target", target, "--index-url", index_url, *wanted)
    assert list(target.glob("filelock-*.dist-info"))
    return next(target.glob("torch-*.dist-info")).name.split("-")[1].removesuffix(".dist")


def test_the_build_is_chosen_under_the_cool_down_by_pip_and_uv(
    builds: Builds, start_gate: Callable[..., Gate], index: FakeIndex, home: Path
) -> None:
    index.publish("filelock", wheel_name("filelock", "3.0"), wheel_bytes("filelock", "3.0"))
    index.publish("torch", wheel_name("torch", "2.9.0"), wheel_bytes("torch", "2.9.0", requires=["filelock"]))
    index.publish("torch-extras", wheel_name("torch-extras", "1.0"), wheel_bytes("torch-extras", "1.0", requires=["torch"]))
    server = start_gate(UPLOADS + build_source(builds, "cu126") + index_source(index) + RULES)
    page = {entry["filename"].split("-")[1]: entry for entry in server.page("torch")["files"]}
    assert set(page) == {"2.6.0+cu126", "2.7.0+cu126"}, "2.8.0 is too young, 2.9.0 is another source's"
    assert page["2.7.0+cu126"]["upload-time"].startswith(f"{OLD:%Y-%m-%dT%H:%M:%S}")
    assert all(entry["size"] and entry["requires-python"] == ">=3.9" for entry in page.values())
    assert installed(home, pip, server.index_url, "torch") == "2.7.0+cu126"
    assert installed(home, uv, server.index_url, "torch==2.6.0") == "2.6.0+cu126"
    assert installed(home, uv, server.index_url, "torch-extras") == "2.7.0+cu126", "a name that the builds lack"
    assert "torch" not in server.run("claims", "--json").stdout, "public names stay public"
    withheld = server.get(f"/files/torch/{quote(wheel_name('torch', '2.8.0+cu126'))}")
    assert withheld.status == 403
    assert "cool-down" in withheld.reason


@pytest.mark.long
def test_two_builds_side_by_side_are_told_by_their_versions(
    builds: Builds, start_gate: Callable[..., Gate], index: FakeIndex, home: Path
) -> None:
    index.publish("filelock", wheel_name("filelock", "3.0"), wheel_bytes("filelock", "3.0"))
    merge = '[[policy.merge]]\nnames = ["torch"]\nsources = ["cu126", "cpu"]\n'
    config = UPLOADS + build_source(builds, "cu126") + build_source(builds, "cpu") + index_source(index) + RULES + merge
    server = start_gate(config)
    assert sorted(versions(server)) == ["2.6.0+cpu", "2.6.0+cu126", "2.7.0+cpu", "2.7.0+cu126"]
    assert installed(home, uv, server.index_url, "torch==2.7.0+cpu") == "2.7.0+cpu"
    assert installed(home, uv, server.index_url, "torch") == "2.7.0+cu126"
    checked = server.run("check")
    assert "FAIL" not in checked.stdout, checked.stdout


@pytest.mark.long
def test_files_elsewhere_are_named_until_their_host_is_listed(
    builds: Builds, start_gate: Callable[..., Gate], index: FakeIndex, home: Path
) -> None:
    server = start_gate(UPLOADS + build_source(builds, "cu126").partition("file_hosts")[0] + index_source(index))
    told = server.run("check").stdout
    assert "file_hosts" in told
    assert builds.files.origin.removeprefix("http://") in told
