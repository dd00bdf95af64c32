"""Who owns which names, and how names get out: on a real store, by name, by pattern and by source."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.acceptance.configs import UPLOADS, index_source
from tests.support.gate import WHEELGATE, Gate, environment
from tests.support.index import FakeIndex
from tests.support.packages import wheel_bytes, wheel_name

FEED = ("acme-a", "acme-b", "idna", "requests")


@pytest.fixture
def gate(start_gate: Callable[..., Gate], second_index: FakeIndex, public: FakeIndex) -> Gate:
    """A server that claimed four names of a feed, of which two are gone since."""
    for name in FEED:
        second_index.publish(name, wheel_name(name, "1.0"), wheel_bytes(name, "1.0"))
    started = start_gate(
        UPLOADS + index_source(second_index, "feed", private=True, fresh="0s", absent="0s") + index_source(public)
    )
    for name in FEED:
        assert started.get(f"/simple/{name}/").status == 200
    for name in ("idna", "requests"):
        del second_index.projects[name]
    return started


@pytest.fixture
def public(index: FakeIndex) -> FakeIndex:
    index.publish("idna", wheel_name("idna", "9.0"), wheel_bytes("idna", "9.0"))
    return index


def test_claims_are_listed_and_released_by_source_pattern_and_name(gate: Gate) -> None:
    listed = gate.run("claims")
    assert [line.split()[:2] for line in listed.stdout.splitlines()] == [[name, "feed"] for name in FEED]
    rows = json.loads(gate.run("claims", "--empty", "--json").stdout)
    assert [(row["project"], row["source"]) for row in rows] == [("idna", "feed"), ("requests", "feed")]
    none = gate.run("claims", "--source", "nobody")
    assert (none.returncode, none.stdout) == (0, "")
    assert "no claims of source nobody" in none.stderr

    tried = gate.run("release", "--source", "feed", "--except", "acme_b", "--dry-run")
    assert tried.stdout.splitlines() == [
        "would release idna",
        "would release requests",
        "would release 2 names; nothing was changed",
    ]
    assert "source feed lists acme-a, so the name would be claimed again at once" in tried.stderr
    assert "acme-b" not in tried.stderr + tried.stdout
    assert tried.returncode == 1
    assert len(gate.run("claims").stdout.splitlines()) == len(FEED)

    done = gate.run("release", "id*", "acme-nobody", "--reason", "passed through", "--yes")
    assert done.stdout == "released idna\n"
    assert "acme-nobody is not claimed" in done.stderr
    assert done.returncode == 1
    done = gate.run("release", "--source", "feed", "--except", "acme-*", "--reason", "passed through", "--yes")
    assert (done.returncode, done.stdout, done.stderr) == (0, "released requests\n", "")
    assert [line.split()[0] for line in gate.run("claims").stdout.splitlines()] == ["acme-a", "acme-b"]
    (kept,) = (gate.data / "store" / "released" / "requests").iterdir()
    assert "passed through" in kept.read_text()


def test_ctrl_c_at_the_question_ends_it_at_once(gate: Gate) -> None:
    ours, theirs = pty.openpty()
    command = [WHEELGATE, "release", "idna", "--reason", "passed through", "-c", gate.config, "--data", gate.data]
    env = environment(gate.folder, **gate.env)
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=env) as asking:
        try:
            assert asking.stderr is not None
            said = b""
            while not said.endswith(b"[y/N]: "):
                said += (more := os.read(asking.stderr.fileno(), 4_096))
                assert more, said
            for _ in range(2):  # the first may come before anything is read, and then it is not noticed until something is
                time.sleep(0.3)
                asking.send_signal(signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    asking.wait(5)
                    break
            assert asking.poll() == 130
        finally:
            asking.kill()
            os.close(ours)
            os.close(theirs)
    assert "idna" in gate.run("claims").stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "name the projects to release, or their --source"),
        (("idna",), "--reason is needed"),
        (("*", "--reason", "x"), "'*' is every name: say whose, with --source"),
        (("a b", "--reason", "x"), "'a b' is not a project name"),
        (("--source", "feed", "--except", "a b", "--dry-run"), "'a b' is not a pattern of project names"),
    ],
)
def test_what_is_not_meant_is_refused(arguments: tuple[str, ...], sentence: str) -> None:
    from click.testing import CliRunner

    from wheelgate.cli.release import release

    told = CliRunner().invoke(release, list(arguments))
    assert told.exit_code == 2
    assert sentence in told.output


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (("--empty",), 3_000),
        pytest.param((), 200_000, marks=[pytest.mark.long, pytest.mark.timeout(600)]),
        pytest.param(("--empty",), 200_000, marks=[pytest.mark.long, pytest.mark.timeout(600)]),
    ],
)
def test_very_many_old_claims_are_listed_in_bounded_memory(home: Path, arguments: tuple[str, ...], count: int) -> None:
    """Records of before there were facts are read one by one; a store in folders keeps their names sorted, and nothing else."""
    config = home / "wheelgate.toml"
    config.write_text(UPLOADS)
    folder = home / "data" / "store" / "claims"
    folder.mkdir(parents=True)
    few_mib, none = measure([WHEELGATE, "claims", *arguments, "-c", config, "--data", home / "data"], home)
    assert none == 0
    for number in range(count):
        name = f"acme-part-{number:06}"
        claim = {"project": name, "source": "feed", "since": "2026-01-01T00:00:00+00:00"}
        (folder / name).write_text(json.dumps(claim))
    peak_mib, lines = measure([WHEELGATE, "claims", *arguments, "-c", config, "--data", home / "data"], home)
    assert lines == count
    assert peak_mib - few_mib < 24  # seen of 200,000: 68 MiB, and 76 with --empty, of which Python and its libraries take 57


def measure(command: list[str | Path], home: Path) -> tuple[float, int]:
    """Run a command that has to succeed: MiB of memory that it took at most, and lines that it printed."""
    with (home / "lines").open("wb") as lines:
        process = subprocess.Popen(command, stdout=lines, stderr=subprocess.DEVNULL, env=environment(home))
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss / 1024, (home / "lines").read_bytes().count(b"\n")
