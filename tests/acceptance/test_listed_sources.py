"""Sources that are listed whole, on a running server: who waits for the first listing, and who does not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.configs import UPLOADS, index_source
from tests.support.azurite import KEY
from tests.support.fake_container import fake_container, project_of
from tests.support.gate import Gate, command
from tests.support.index import FakeIndex
from tests.support.packages import make_wheel, wheel_bytes, wheel_name

PAGE_S = 1.5
PAGES = 3


@pytest.fixture
def container() -> Iterator[str]:
    """A container of three pages, each of which takes its time."""
    with fake_container(PAGES * 5_000, latency_s=PAGE_S) as url:
        yield url


@pytest.fixture
def gate_folder(tmp_path: Path) -> Path:
    """The folder of the first server, with the container's key and an upload in its store."""
    folder = tmp_path / "gate0"
    folder.mkdir()
    (folder / "key").write_text(KEY)
    (folder / "uploads.toml").write_text(UPLOADS)
    wheel = make_wheel(folder, "acme-own", "1.0")
    done = command(folder, "wheel", "add", wheel, "-c", folder / "uploads.toml", "--data", folder / "data")
    assert done.returncode == 0, done.stderr
    return folder


def config(container: str, index: FakeIndex, more: str = "") -> str:
    index.publish("idna", wheel_name("idna", "3.0"), wheel_bytes("idna", "3.0"))
    source = f'[[source]]\nname = "curated"\ntype = "blob"\nurl = "{container}"\naccount_key = "file:key"\n{more}'
    return UPLOADS + source + index_source(index)


def timed(gate: Gate, project: str) -> tuple[int, float]:
    began = time.monotonic()
    return gate.get(f"/simple/{project}/").status, time.monotonic() - began


@pytest.mark.usefixtures("gate_folder")
def test_before_the_first_listing_only_those_wait_whose_owner_is_not_known(
    container: str, index: FakeIndex, start_gate: Callable[..., Gate]
) -> None:
    gate = start_gate(config(container, index))
    began = time.monotonic()
    assert gate.get("/livez").status == 200
    ready = gate.get("/readyz")
    assert (ready.status, b'"starting"' in ready.body) == (503, True), "every name that is nobody's waits"
    status, took_s = timed(gate, "acme-own")
    assert status == 200
    assert took_s < PAGE_S
    assert timed(gate, "idna")[0] == 200
    assert time.monotonic() - began > (PAGES - 2) * PAGE_S, "it waited: the container might have had it"
    assert gate.get("/readyz").status == 200
    assert len(gate.page(project_of(0))["files"]) == 10
    metrics = gate.get("/metrics").body.decode()
    assert f'wheelgate_listing_blobs{{source="curated"}} {PAGES * 5_000}.0' in metrics

    gate.restart()
    began = time.monotonic()
    assert gate.get("/readyz").status in (200, 503)
    assert timed(gate, "idna")[0] == 200
    assert timed(gate, project_of(100))[0] == 200
    assert time.monotonic() - began < PAGES * PAGE_S, "the listing of a moment ago was kept"
    assert not [asked for asked in index.asked if "acme" in asked.path]


@pytest.mark.usefixtures("gate_folder")
def test_names_that_only_does_not_cover_never_wait(container: str, index: FakeIndex, start_gate: Callable[..., Gate]) -> None:
    gate = start_gate(config(container, index, 'only = ["acme-*"]\n'))
    assert gate.get("/readyz").status == 200
    status, took_s = timed(gate, "idna")
    assert status == 200
    assert took_s < PAGE_S
    assert len(gate.page(project_of(0))["files"]) == 10
