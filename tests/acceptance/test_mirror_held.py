"""What a mirror holds does not change: as people run it, and killed at every write."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.index import FakeIndex
from tests.support.mirrors import HERE, Mirroring, distributions, manifest, tree
from tests.support.packages import metadata, sha256, wheel_bytes, wheel_name

NAME = wheel_name("kept", "1.0")
PATH = f"kept/{NAME}"
FIRST, OTHER = (wheel_bytes("kept", "1.0", extra={"kept/which": which}) for which in (b"first", b"other"))


def publish(index: FakeIndex, body: bytes) -> None:
    index.publish("kept", NAME, body, metadata=metadata("kept", "1.0"))


@pytest.fixture
def mirroring(index: FakeIndex, tmp_path: Path) -> Mirroring:
    publish(index, FIRST)
    return Mirroring(tmp_path / "work", index)


def forget(mirroring: Mirroring) -> None:
    """As a pipeline does, whose machine is another one each time."""
    subprocess.run(["rm", "-rf", str(mirroring.folder / "data")], check=True)


def test_swapped_bytes_are_refused_and_the_old_ones_stay(mirroring: Mirroring) -> None:
    arguments = (mirroring.input("kept\n"), "--to", "file:./bundle", *HERE)
    mirroring.run(*arguments)
    before = tree(mirroring.folder / "bundle")
    publish(mirroring.index, OTHER)
    forget(mirroring)
    refused = mirroring.run(*arguments, "--json", status=1)
    assert json.loads(refused.stdout)["refused"] == [PATH]
    assert f"ALARM: {PATH} has the sha256 {sha256(OTHER)} in source public; file:./bundle holds it since" in refused.stderr
    assert tree(mirroring.folder / "bundle") == before


@pytest.mark.long
def test_a_dry_run_says_so_and_what_is_damaged_is_repaired_by_the_old_ones_alone(mirroring: Mirroring) -> None:
    arguments = (mirroring.input("kept\n"), "--to", "file:./bundle", *HERE)
    mirroring.run(*arguments)
    bundle = mirroring.folder / "bundle"
    before = tree(bundle)
    publish(mirroring.index, OTHER)
    forget(mirroring)
    assert f"ALARM: {PATH}" in mirroring.run(*arguments, "--dry-run", status=1).stderr
    mirroring.run("requirements.txt", "--to", "file:./later", *HERE)
    (bundle / PATH).write_bytes(FIRST[:-1] + b"!")
    for refused in (("--from", "file:./later", "--to", "file:./bundle"), arguments):
        assert f"ALARM: {PATH}" in mirroring.run(*refused, status=1).stderr
        assert (bundle / PATH).read_bytes() == FIRST[:-1] + b"!"
    assert "is damaged" in mirroring.run(*arguments, "--verify", status=1).stderr
    publish(mirroring.index, FIRST)
    forget(mirroring)
    assert "1 repaired" in mirroring.run(*arguments).stdout
    assert tree(bundle) == before


_DIE = """
import os, signal, sys
from wheelgate.storage.disk import DiskStore
left = int(sys.argv.pop(1))

def dying(write, after):
    async def act(self, *arguments, **options):
        global left
        left -= 1
        if left == 0 and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        done = await write(self, *arguments, **options)
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return done
    return act

after = sys.argv.pop(1) == "after"
for name in ("put_if_absent", "replace_if", "delete"):
    setattr(DiskStore, name, dying(getattr(DiskStore, name), after))
from wheelgate.cli import main
sys.argv[0] = "wheelgate"
main()
"""


_POINTS = [(1, "after"), (2, "after"), (3, "after"), (4, "before"), (4, "after")]


@pytest.mark.parametrize("points", [_POINTS[2:3], pytest.param(_POINTS, marks=pytest.mark.long)])
def test_killed_between_any_two_writes_all_that_lies_there_is_told_of(
    mirroring: Mirroring, points: list[tuple[int, str]]
) -> None:
    """Carried by --from, which needs no resolver: the announcement, then metadata and wheel, then the entry."""
    mirroring.run(mirroring.input("kept\n"), "--to", "file:./bundle", *HERE)
    publish(mirroring.index, OTHER)
    mirroring.run("requirements.txt", "--to", "file:./later", *HERE, "--data", "elsewhere")
    whole = tree(mirroring.folder / "bundle")
    for number, moment in points:
        to = f"inside-{number}-{moment}"
        command = [sys.executable, "-c", _DIE, str(number), moment, "mirror", "-c", "wheelgate.toml", "--data", "data"]
        died = subprocess.run(
            [*command, "--from", "file:./bundle", "--to", f"file:./{to}"], cwd=mirroring.folder, env=mirroring.env(), check=False
        )
        assert died.returncode == -9, (number, moment)
        inside = mirroring.folder / to
        told = {one["path"]: one["sha256"] for key in ("files", "seen") for one in manifest(inside).get(key, [])}
        lies = {path for path in distributions(inside) if not path.startswith(".")}
        assert {path: sha256((inside / path).read_bytes()) for path in lies}.items() <= told.items()
        if number == 3:  # what was announced stays what the name is for, though others come first now
            refused = mirroring.run("--from", "file:./later", "--to", f"file:./{to}", status=1)
            assert f"ALARM: {PATH}" in refused.stderr
        mirroring.run("--from", "file:./bundle", "--to", f"file:./{to}")
        assert {path: body for path, body in tree(inside).items() if not path.endswith(".json")} == {
            path: body for path, body in whole.items() if not path.endswith(".json")
        }
        assert "seen" not in manifest(inside) or manifest(inside)["seen"] == []
