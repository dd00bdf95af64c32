"""What is kept of a file: by the address of its source, and until somebody says that it be forgotten."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.configs import index_source
from tests.support.gate import Gate
from tests.support.index import FakeIndex, running
from tests.support.lies import wait_until
from tests.support.packages import sha256, wheel_bytes, wheel_name

NAME, WHEEL = "lib", wheel_name("lib", "1.0")
PATH = f"/files/{NAME}/{WHEEL}"
RIGHT = wheel_bytes(NAME, "1.0", padding=1_000)
OTHER = wheel_bytes(NAME, "1.0", padding=2_000)


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f'[store]\nurl = "file:{tmp_path / "shared"}"\n'


def copies(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "shared" / "cache").rglob("*.whl"))


def records(tmp_path: Path) -> list[str]:
    return sorted(path.parent.name for path in (tmp_path / "shared" / "records").rglob(NAME) if path.is_file())


@pytest.mark.parametrize("hashes", [None, {}], ids=["stated", "not stated"])
def test_a_source_that_moved_is_another_source(
    start_gate: Callable[..., Gate], index: FakeIndex, store: str, tmp_path: Path, hashes: dict[str, str] | None
) -> None:
    stated = {} if hashes is None else {"hashes": {}, "size": None}
    with running(FakeIndex()) as new:
        index.publish(NAME, WHEEL, RIGHT, **stated)
        new.publish(NAME, WHEEL, OTHER, **stated)
        here, there = index_source(index, fresh=0) + store, index_source(new, fresh=0) + store
        server = start_gate(here)
        assert server.get(PATH).body == RIGHT
        wait_until(lambda: len(copies(tmp_path)) == len(records(tmp_path)) == 1)
        server.stop()
        new.down = True
        server = start_gate(there)
        assert server.get(f"/simple/{NAME}/").status == 503, "the page of the other place does not stand in"
        new.down = False
        wait_until(lambda: server.get(PATH).body == OTHER, 15)
        assert "ALARM" not in server.log
        wait_until(lambda: len(records(tmp_path)) == 2 and copies(tmp_path)[0].read_bytes() == OTHER)
        server.stop()
        # Back again: what was remembered there is still so, and the copy of the other place is not served.
        server = start_gate(here)
        assert server.get(PATH).body == RIGHT
        index.publish(NAME, WHEEL, OTHER, **stated)
        refused = server.get(PATH)
        assert refused.body == RIGHT if stated else refused.status == 403


def test_a_file_is_forgotten_by_every_replica_within_seconds(
    start_gate: Callable[..., Gate], index: FakeIndex, store: str, tmp_path: Path
) -> None:
    """It was published wrong, and then right under its name, as some do: only the operator can say that this is meant."""
    config = index_source(index, "team", fresh=0, private=True) + store
    index.publish(NAME, WHEEL, OTHER)
    first, second = start_gate(config), start_gate(config)
    for server in (first, second):
        assert server.get(PATH).body == OTHER
    wait_until(lambda: len(copies(tmp_path)) == 1 and records(tmp_path) != [])
    index.publish(NAME, WHEEL, RIGHT)
    for server in (first, second):
        assert server.get(PATH).status == 403

    dry = first.run("cache", "forget", NAME, WHEEL, "--dry-run")
    assert dry.returncode == 0
    assert f"would forget {WHEEL} of source team: our copy ({len(OTHER):,} bytes, sha256 {sha256(OTHER)})" in dry.stdout
    assert f"(sha256 {sha256(OTHER)} as stated)" in dry.stdout
    assert first.get(PATH).status == 403, "nothing was changed"
    unasked = first.run("cache", "forget", NAME, WHEEL)
    assert (unasked.returncode, "--yes" in unasked.stderr) == (2, True)
    done = first.run("cache", "forget", NAME, WHEEL, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert (row["source"], row["digests"], row["observed"], row["forgotten"]) == ("team", {"sha256": sha256(OTHER)}, False, True)
    for server in (first, second):
        wait_until(lambda server=server: server.get(PATH).body == RIGHT, 6)
    wait_until(lambda: copies(tmp_path) != [] and copies(tmp_path)[0].read_bytes() == RIGHT)
    for server in (first, second):
        server.restart()
        assert server.get(PATH).body == RIGHT
    index.publish(NAME, WHEEL, OTHER)
    assert second.get(PATH).status == 403, "from here on it keeps its bytes again"


def test_what_nobody_remembers_is_said(start_gate: Callable[..., Gate], index: FakeIndex) -> None:
    server = start_gate(index_source(index, "team", private=True))
    nothing = server.run("cache", "forget", NAME, WHEEL, "--yes")
    assert (nothing.returncode, nothing.stderr) == (1, f"wheelgate: nothing is remembered of {WHEEL} of project {NAME}\n")
    unknown = server.run("cache", "forget", NAME, WHEEL, "--source", "uploads")
    assert unknown.returncode == 2
    assert "'uploads' is no source that is asked over HTTP: team" in unknown.stderr
