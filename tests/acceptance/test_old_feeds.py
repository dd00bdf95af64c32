"""A new server before an old feed that says no times and sizes: files are as old as they are, and locks soon stay the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.configs import UPLOADS, index_source
from tests.support.clients import pip, uv
from tests.support.gate import Gate
from tests.support.index import FakeIndex
from tests.support.lies import wait_until
from tests.support.packages import metadata, sdist_bytes, sha256, wheel_bytes, wheel_name

NAME = "acme-lib"
LONG_AGO = "Tue, 04 Mar 2025 05:06:07 GMT"
STAMP = "2025-03-04T05:06:07Z"


@pytest.fixture
def feed(index: FakeIndex) -> FakeIndex:
    """As Azure Artifacts has it; its storage says since when it has a file."""
    index.bare = index.html = index.redirects = True
    index.heads = False
    for version in ("1.0", "1.1"):
        index.publish(NAME, wheel_name(NAME, version), wheel_bytes(NAME, version))
    index.publish(NAME, "acme_lib-1.1.tar.gz", sdist_bytes(NAME, "1.1"))
    index.modified = LONG_AGO
    return index


def explained(server: Gate) -> dict[str, object]:
    return json.loads(server.get(f"/explain/{NAME}").body)  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", ["private", "public with a cool-down"])
def test_a_page_is_complete_soon_and_then_stays(kind: str, feed: FakeIndex, start_gate: Callable[..., Gate], home: Path) -> None:
    source = index_source(feed, "team", private=True) if kind == "private" else index_source(feed, "team", cooldown="3d")
    server = start_gate(UPLOADS + source)
    server.get(f"/simple/{NAME}/")
    wait_until(lambda: explained(server)["unread"] == 0)
    files = {file["filename"]: file for file in server.page(NAME)["files"]}
    assert {file["upload-time"] for file in files.values()} == {STAMP}
    for filename, file in files.items():
        assert file["size"] == len(feed.projects[NAME][filename].body)
        if filename.endswith(".whl"):
            assert file["core-metadata"] == {"sha256": sha256(metadata(NAME, filename.split("-")[1]))}
    digest, asked = explained(server)["digest"], len(feed.asked)
    pip(home, "install", "--target", home / "pip", "--index-url", server.index_url, "--uploaded-prior-to", "2025-03-05", NAME)
    options = ["--target", home / "uv", "--index-url", server.index_url, "--exclude-newer", "2025-03-05T00:00:00Z", NAME]
    uv(home, "pip", "install", *options)
    server.restart()
    server.get(f"/simple/{NAME}/")
    assert explained(server)["digest"] == digest
    assert len([request for request in feed.asked[asked:] if request.path.startswith("/signed/")]) == 1, "the wheel itself"


def test_a_lock_made_after_that_is_the_same_for_good(feed: FakeIndex, start_gate: Callable[..., Gate], home: Path) -> None:
    server = start_gate(UPLOADS + index_source(feed, "team", private=True))
    server.get(f"/simple/{NAME}/")
    wait_until(lambda: explained(server)["unread"] == 0)
    (home / "pyproject.toml").write_text(
        f'[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.9"\ndependencies = ["{NAME}"]\n'
    )
    locks = []
    for _ in range(2):
        uv(home, "lock", "--index-url", server.index_url, "--upgrade", "--no-cache")
        locks.append((home / "uv.lock").read_text().replace(server.url, ""))
        uv(home, "pip", "install", "--target", home / "site", "--index-url", server.index_url, NAME)
        server.restart()
    assert locks[0] == locks[1]
    assert locks[0].count("size = ") == 2, "of the wheel and of the sdist"
