"""What stays true over time: a file name keeps its bytes, and what was seen keeps installing; after a restart, on a replica."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.configs import UPLOADS, index_source
from tests.support.clients import pip, uv
from tests.support.gate import Gate
from tests.support.index import FakeIndex
from tests.support.lies import wait_until
from tests.support.packages import metadata, wheel_bytes, wheel_name

NAME, WHEEL = "lib", wheel_name("lib", "1.0")
GOOD = wheel_bytes(NAME, "1.0")
EVIL = wheel_bytes(NAME, "1.0", extra={"lib_stolen.py": b"everything"})
Install = Callable[[str], bool]
"""Install the library from an index into a new place; whether the stranger's bytes came."""


def shared(folder: Path) -> str:
    return f'[store]\nurl = "file:{folder}"\n'


@pytest.fixture
def store(tmp_path: Path) -> str:
    """The settings of a store that several servers share."""
    return shared(tmp_path / "shared")


@pytest.fixture(params=["pip", "uv"])
def install(request: pytest.FixtureRequest, tmp_path: Path) -> Install:
    count = iter(range(100))

    def run(index_url: str, ok: bool = True, requirement: str = NAME) -> bool:
        home = tmp_path / f"home{next(count)}"  # an empty cache each time
        home.mkdir()
        if request.param == "pip":
            pip(home, "install", "--target", home / "site", "--index-url", index_url, "--retries", "0", requirement, ok=ok)
        else:
            uv(home, "pip", "install", "--target", home / "site", "--index-url", index_url, requirement, ok=ok)
        return (home / "site" / "lib_stolen.py").exists()

    return run  # type: ignore[return-value]


def settled(server: Gate, project: str = NAME, source: str = "public") -> None:
    """Until what was seen is in the store: it is written behind the answer."""
    wait_until(lambda: any(path.is_file() for path in server.data.parent.parent.rglob(f"records/{source}@*/{project}")))


def metric(server: Gate, line: str) -> float:
    lines = server.get("/metrics").body.decode().splitlines()
    return next((float(found.rpartition(" ")[2]) for found in lines if found.startswith(line)), 0.0)


# --- a file name keeps its bytes


def test_swapped_bytes_under_an_old_name_reach_nobody(
    index: FakeIndex, start_gate: Callable[..., Gate], store: str, install: Callable[..., bool]
) -> None:
    config = UPLOADS + index_source(index, "public", fresh=0) + store
    index.publish(NAME, WHEEL, GOOD, metadata=metadata(NAME, "1.0"))
    first, second = start_gate(config), start_gate(config)
    assert not install(index.url)
    assert [file["filename"] for file in first.page(NAME)["files"]] == [WHEEL]  # seen, not even fetched
    settled(first)
    index.publish(NAME, WHEEL, EVIL, metadata=metadata(NAME, "1.0"))
    assert install(index.url), "whoever passes the page on passes the attack on"

    def is_refused(server: Gate) -> None:
        install(server.index_url, ok=False)
        for ending in ("", ".metadata"):
            answer = server.get(f"/files/{NAME}/{WHEEL}{ending}")
            assert answer.status == 403
            assert "a file name never changes its content" in answer.reason
        assert server.get(f"/simple/{NAME}/").status == 403
        assert f"ALARM: project {NAME}: {WHEEL}" in server.log
        assert metric(server, 'wheelgate_withheld_files_total{rule="digest",source="public"}') >= 1
        assert "digest" in server.get(f"/explain/{NAME}").body.decode()

    is_refused(first)
    is_refused(second)  # which sees the project for the first time
    first.restart(signal.SIGKILL)
    is_refused(first)
    is_refused(start_gate(config))


def test_a_replica_that_knew_the_project_learns_of_files_that_another_one_saw_first(
    index: FakeIndex, start_gate: Callable[..., Gate], store: str, install: Callable[..., bool]
) -> None:
    config = UPLOADS + index_source(index, "public", fresh=0) + store
    older = wheel_name(NAME, "0.9")
    index.publish(NAME, older, wheel_bytes(NAME, "0.9"))
    first, second = start_gate(config), start_gate(config)
    for server in (first, second):
        assert len(server.page(NAME)["files"]) == 1
    index.publish(NAME, WHEEL, GOOD)
    assert len(first.page(NAME)["files"]) == 2
    first.stop()  # what is left to write is written at the end
    index.publish(NAME, WHEEL, EVIL)
    assert [file["filename"] for file in second.page(NAME)["files"]] == [older]
    assert not install(second.index_url)
    install(second.index_url, ok=False, requirement=f"{NAME}==1.0")


def test_a_file_that_went_and_came_back_with_other_bytes_is_withheld(
    index: FakeIndex, start_gate: Callable[..., Gate], install: Callable[..., bool]
) -> None:
    server = start_gate(UPLOADS + index_source(index, "public", fresh=0))
    index.publish(NAME, WHEEL, GOOD)
    index.publish(NAME, wheel_name(NAME, "0.9"), wheel_bytes(NAME, "0.9"))
    assert len(server.page(NAME)["files"]) == 2
    del index.projects[NAME][WHEEL]
    assert len(server.page(NAME)["files"]) == 1
    server.restart()
    assert len(server.page(NAME)["files"]) == 1
    index.publish(NAME, WHEEL, EVIL)
    assert install(index.url)
    assert not install(server.index_url)
    assert len(server.page(NAME)["files"]) == 1
    index.publish(NAME, WHEEL, GOOD)
    assert len(server.page(NAME)["files"]) == 2, "the same bytes may return"


def test_a_digest_that_is_left_out_does_not_open_the_door(
    index: FakeIndex, start_gate: Callable[..., Gate], install: Callable[..., bool]
) -> None:
    server = start_gate(UPLOADS + index_source(index, "public", fresh=0))
    index.publish(NAME, WHEEL, GOOD)
    digest = server.page(NAME)["files"][0]["hashes"]
    index.publish(NAME, WHEEL, EVIL, hashes={}, size=None)
    assert install(index.url)
    assert server.page(NAME)["files"][0]["hashes"] == digest, "what was known stands"
    install(server.index_url, ok=False)


# --- what was seen keeps installing


@pytest.mark.parametrize(
    "ending", [pytest.param(signal.SIGTERM, marks=pytest.mark.long), signal.SIGKILL], ids=["SIGTERM", "SIGKILL"]
)
def test_after_a_restart_with_the_upstream_down_what_was_seen_installs(
    index: FakeIndex, start_gate: Callable[..., Gate], install: Callable[..., bool], ending: signal.Signals
) -> None:
    server = start_gate(UPLOADS + index_source(index, "public"))
    index.publish(NAME, WHEEL, wheel_bytes(NAME, "1.0", requires=["needed"]), metadata=metadata(NAME, "1.0", requires=["needed"]))
    index.publish("needed", wheel_name("needed", "3.0"), wheel_bytes("needed", "3.0"))
    install(server.index_url)
    before = server.page(NAME)
    for project in (NAME, "needed"):
        settled(server, project)
    time.sleep(1)  # SIGKILL leaves no time to write
    server.stop(ending)
    index.down = True
    server.start()
    install(server.index_url)
    assert server.page(NAME) == before
    answer = server.get(f"/simple/{NAME}/")
    assert answer.headers["X-Cache"] == "stale"
    assert answer.headers["X-Stale-Since"] < time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    assert metric(server, 'wheelgate_stale_pages_total{source="public"}') >= 1
    assert f"source public: serving the stale page of {NAME} as of" in server.log
    assert server.get("/simple/never-seen/").status == 503
    index.down = False
    index.publish(NAME, wheel_name(NAME, "1.1"), wheel_bytes(NAME, "1.1"))
    wait_until(lambda: len(server.page(NAME)["files"]) == 2, 20)
    assert "X-Cache" not in server.get(f"/simple/{NAME}/").headers


def test_a_restarted_server_whose_private_source_is_down_lets_nobody_else_answer(
    index: FakeIndex, second_index: FakeIndex, start_gate: Callable[..., Gate], install: Callable[..., bool]
) -> None:
    config = UPLOADS + index_source(index, "team", private=True) + index_source(second_index, "public")
    server = start_gate(config)
    index.publish(NAME, WHEEL, GOOD)
    install(server.index_url)
    settled(server, source="team")
    server.stop()
    index.down = True
    second_index.publish(NAME, wheel_name(NAME, "99.0"), wheel_bytes(NAME, "99.0", extra={"lib_stolen.py": b""}))
    second_index.publish("other", wheel_name("other", "99.0"), wheel_bytes("other", "99.0"))
    assert install(second_index.url)
    server.start()
    assert not install(server.index_url)
    assert [file["filename"] for file in server.page(NAME)["files"]] == [WHEEL]
    assert server.get("/simple/other/").status == 503, "nobody knows whether the private source has it"
    assert second_index.count(f"/simple/{NAME}/") == 1, "by the client alone"


def test_a_store_that_cannot_be_written_costs_a_line_in_the_log(
    index: FakeIndex, start_gate: Callable[..., Gate], tmp_path: Path, install: Callable[..., bool]
) -> None:
    folder = tmp_path / "shared"
    server = start_gate(UPLOADS + index_source(index, "public", delivery="stream") + shared(folder))
    folder.mkdir(exist_ok=True)
    (folder / "records").write_bytes(b"")  # where a folder should be
    index.publish(NAME, WHEEL, GOOD, metadata=metadata(NAME, "1.0"))
    install(server.index_url)
    wait_until(lambda: "what is remembered of source public cannot be" in server.log)
    assert server.stop() == 0
