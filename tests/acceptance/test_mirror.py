"""`wheelgate mirror` end to end: real uv, a real process, an index on loopback that counts what it is asked."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from tests.acceptance.configs import index_source
from tests.support.clients import pip, uv
from tests.support.gate import Gate, gate
from tests.support.index import FakeIndex
from tests.support.mirrors import (
    BOTH,
    HERE,
    ON_BOTH,
    ON_LINUX,
    Mirroring,
    assert_served_as_known,
    distributions,
    manifest,
    mirror_twice,
    publish_catalogue,
    tree,
    without_times,
)
from tests.support.packages import metadata, sha256, wheel_bytes, wheel_name
from wheelgate.distfiles.core_metadata import read_core_metadata

WINDOWS = ("--python", "3.11", "--platform", "win-64")


@pytest.fixture
def mirroring(index: FakeIndex, tmp_path: Path) -> Mirroring:
    publish_catalogue(index)
    return Mirroring(tmp_path / "work", index)


def bundle_of(mirroring: Mirroring) -> Path:
    return mirroring.folder / "bundle"


def test_requirements_are_resolved_for_every_target_and_laid_out_plainly(mirroring: Mirroring) -> None:
    done = mirroring.run(mirroring.input("app\n"), "--to", "file:./bundle", *BOTH)
    bundle = bundle_of(mirroring)
    assert distributions(bundle) == ON_BOTH
    assert "6 files" in done.stdout
    assert "6 new" in done.stdout
    assert "for Python 3.11 on linux-x86_64, Python 3.11 on windows-x86_64" in done.stderr
    assert "sourced-3.0.tar.gz must be built: no wheel fits; included for that: setuptools" in done.stderr
    entries = {entry["path"]: entry for entry in manifest(bundle)["files"]}
    assert entries.keys() == ON_BOTH
    for path, entry in entries.items():
        body = (bundle / path).read_bytes()
        assert (entry["sha256"], entry["size"], entry["source"]) == (sha256(body), len(body), "public")
        if path.endswith(".whl"):
            beside = (bundle / f"{path}.metadata").read_bytes()
            with (bundle / path).open("rb") as wheel:
                assert beside == read_core_metadata(wheel, Path(path).name).body
            assert entry["metadata_sha256"] == sha256(beside)
    both = ["Python 3.11 on linux-x86_64", "Python 3.11 on windows-x86_64"]
    assert entries["colour/colour-2.0-py3-none-any.whl"]["needed_by"] == {"requirements.txt": both[1:]}
    assert entries["app/app-2.0-py3-none-any.whl"]["needed_by"] == {"requirements.txt": both}
    assert mirroring.index.origin not in (bundle / "wheelgate-mirror.json").read_text()
    # The upload time goes along as the file's own.
    assert (bundle / "app/app-2.0-py3-none-any.whl").stat().st_mtime == 1_735_689_600


def test_a_second_run_copies_only_what_is_new(mirroring: Mirroring) -> None:
    mirroring.run(mirroring.input("app\n"), "--to", "file:./bundle", *HERE)
    before = mirroring.fetched()
    again = mirroring.run(mirroring.input("app\n"), "--to", "file:./bundle", *HERE)
    assert "0 new" in again.stdout
    copied = [path for path in mirroring.fetched()[len(before) :] if not path.startswith(("sourced/", "setuptools/"))]
    assert copied == []  # uv builds the sdist each time: it alone is asked for again, by uv
    more = mirroring.run("--project", "app==1.0", "--to", "file:./bundle", *HERE)
    assert "1 new" in more.stdout
    assert "3 already there" in more.stdout
    loaded = manifest(bundle_of(mirroring))
    assert set(loaded["inputs"]) == {"requirements.txt", "project app==1.0"}
    assert len(loaded["files"]) == 5
    verified = mirroring.run("requirements.txt", "--to", "file:./bundle", "--verify")
    assert "satisfies requirements.txt: 4 files" in verified.stdout


def test_inputs_of_one_name_and_several_projects_keep_what_each_needs(mirroring: Mirroring) -> None:
    folders = [mirroring.folder / mirroring.input(f"{name}\n", f"{name}/requirements.txt") for name in ("colour", "lib")]
    mirroring.run(*folders, "--to", "./bundle", *HERE)
    for arguments in (["--project", "sourced", *HERE], ["--project", "colour", *HERE], [folders[1], *WINDOWS]):
        mirroring.run(*arguments, "--to", "./bundle")
    loaded = manifest(bundle_of(mirroring))
    targets = ["Python 3.11 on linux-x86_64", "Python 3.11 on windows-x86_64"]
    assert loaded["inputs"]["lib/requirements.txt"]["targets"] == targets
    libs = [entry["needed_by"] for entry in loaded["files"] if entry["path"].startswith("lib/")]
    assert libs == [{"lib/requirements.txt": [target]} for target in targets]
    assert set(loaded["inputs"]) == {"requirements.txt", "lib/requirements.txt", "project sourced", "project colour"}
    needed = {entry["path"].partition("/")[0]: set(entry["needed_by"]) for entry in loaded["files"]}
    assert needed == {
        "colour": {"requirements.txt", "project colour"},
        "lib": {"lib/requirements.txt"},
        "sourced": {"project sourced"},
        "setuptools": {"project sourced"},
    }
    assert str(mirroring.folder) not in (bundle_of(mirroring) / "wheelgate-mirror.json").read_text()


def test_a_dry_run_says_what_would_be_copied_and_writes_nothing(mirroring: Mirroring) -> None:
    done = mirroring.run(mirroring.input("app\n"), "--to", "file:./bundle", "--dry-run", *HERE)
    assert "4 files" in done.stdout
    assert "4 to be copied" in done.stdout
    assert not bundle_of(mirroring).exists()


@pytest.mark.parametrize(
    ("path", "damage"),
    [
        ("app/app-2.0-py3-none-any.whl", "removed"),
        ("lib/lib-1.0-cp311-cp311-win_amd64.whl.metadata", "changed"),
        *(
            pytest.param(path, damage, marks=pytest.mark.long)
            for path, damage in [
                ("lib/lib-1.0-cp311-cp311-win_amd64.whl", "changed"),
                ("sourced/sourced-3.0.tar.gz", "changed"),
                ("lib/lib-1.0-cp311-cp311-win_amd64.whl.metadata", "removed"),
                ("app/app-2.0-py3-none-any.whl.metadata", "changed"),
            ]
        ),
    ],
)
def test_what_is_missing_or_damaged_is_named_and_alone_repaired(mirroring: Mirroring, path: str, damage: str) -> None:
    arguments = (mirroring.input("app\n"), "--to", "file:./bundle", *BOTH)
    mirroring.run(*arguments)
    bundle = bundle_of(mirroring)
    whole, recorded = tree(bundle), manifest(bundle)
    assert "6 files" in mirroring.run(*arguments, "--verify").stdout
    victim = bundle / path
    if damage == "removed":
        victim.unlink()
    else:
        stat = victim.stat()
        body = bytearray(victim.read_bytes())
        body[len(body) // 2] ^= 1
        victim.write_bytes(body)
        os.utime(victim, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # nothing but its bytes tells
    failed = mirroring.run(*arguments, "--verify", status=1)
    told = [line for line in failed.stderr.splitlines() if path in line]
    assert len(told) == 1
    assert ("is missing" if damage == "removed" else "is damaged") in told[0]
    assert "lacks what was asked for: 1 problem" in failed.stdout
    mark = len(mirroring.fetched())
    mirroring.run(*arguments)
    assert tree(bundle) == whole, "and the manifest says nothing new"
    assert without_times(manifest(bundle)) == without_times(recorded)
    fetched = {name for name in mirroring.fetched()[mark:] if not name.startswith(("sourced/", "setuptools/"))}
    assert fetched == ({path} if path.endswith(".whl") else set())
    mirroring.run(*arguments, "--verify")


def test_verify_proves_each_target_from_the_mirror_alone(mirroring: Mirroring) -> None:
    mirroring.run(mirroring.input("app\n"), "--to", "file:./bundle", *HERE)
    mirroring.index.projects.clear()  # no help from there
    mirroring.run("requirements.txt", "--to", "file:./bundle", "--verify", *HERE)
    failed = mirroring.run("requirements.txt", "--to", "file:./bundle", "--verify", *BOTH, status=1)
    assert "lib" in failed.stderr
    assert "for Python 3.11 on windows-x86_64" in failed.stderr
    mirroring.input("app\nmissing-one\n")
    failed = mirroring.run("requirements.txt", "--to", "file:./bundle", "--verify", *HERE, status=1)
    assert "missing-one" in failed.stderr


def test_a_lock_of_other_bytes_is_not_satisfied_however_large_the_file_is(mirroring: Mirroring) -> None:
    """A folder's large files are listed before they were read, with the digest that the manifest vouches for."""
    name = wheel_name("huge", "1.0")
    body = wheel_bytes("huge", "1.0", padding=33 * 1024 * 1024)
    mirroring.index.publish("huge", name, body)
    right, wrong = (f"huge==1.0 --hash=sha256:{digest}\n" for digest in (sha256(body), "0" * 64))
    mirroring.run(mirroring.input(right), "--to", "file:./bundle", *HERE)
    mirroring.run("requirements.txt", "--to", "file:./bundle", "--verify")
    mirroring.input(wrong)
    failed = mirroring.run("requirements.txt", "--to", "file:./bundle", "--verify", status=1)
    assert "no file of huge 1.0 that a source lists has one of its hashes" in failed.stderr, "the manifest has its digest"


def test_a_bundle_is_carried_onward_without_any_index(mirroring: Mirroring) -> None:
    mirroring.run(mirroring.input("app\n"), "--to", "file:./bundle", *BOTH)
    asked = len(mirroring.index.asked)
    done = mirroring.run("--from", "file:./bundle", "--to", "file:./inside")
    assert "6 files" in done.stdout
    assert len(mirroring.index.asked) == asked
    bundle, inside = bundle_of(mirroring), mirroring.folder / "inside"
    assert {k: v for k, v in tree(inside).items() if not k.endswith(".json")} == {
        k: v for k, v in tree(bundle).items() if not k.endswith(".json")
    }
    assert without_times(manifest(inside)) == without_times(manifest(bundle))
    assert "0 new" in mirroring.run("--from", "file:./bundle", "--to", "file:./inside").stdout
    (bundle / "app/app-2.0-py3-none-any.whl").write_bytes(b"not what it was")
    damaged = mirroring.run("--from", "file:./bundle", "--to", "file:./other", status=1)
    assert "app" in damaged.stderr
    assert distributions(mirroring.folder / "other") == ON_BOTH - {"app/app-2.0-py3-none-any.whl"}
    nothing = mirroring.run("--from", "file:./data", "--to", "file:./other", status=1)
    assert "is not a mirror" in nothing.stderr


def test_check_warns_of_settings_that_contradict_a_mirror(mirroring: Mirroring, start_gate: Callable[..., Gate]) -> None:
    mirroring.run(mirroring.input("app\n"), "--to", "file:./bundle", *HERE)
    source = f'[[source]]\nname = "mirror"\ntype = "directory"\nurl = "file:{bundle_of(mirroring)}"\n'
    done = start_gate(f"{source}private = true\n").run("check")
    assert done.returncode == 0
    assert "warn  source mirror (private): mirrors app, lib, setuptools and 1 more projects from a public source" in done.stdout
    assert "warn  source" not in start_gate(source).run("check").stdout


def test_a_mirror_serves_as_a_directory_source(mirroring: Mirroring, home: Path, tmp_path: Path) -> None:
    mirroring.run(mirroring.input("app\n"), "--to", "file:./bundle", *HERE)
    mirroring.index.projects.clear()
    config = f'[[source]]\nname = "mirror"\ntype = "directory"\nurl = "file:{bundle_of(mirroring)}"\n'
    with gate(tmp_path / "gate", config) as server:
        pip(home, "install", "--no-cache-dir", "--index-url", server.index_url, "--target", home / "site", "app")
        assert {path.stem for path in (home / "site").glob("*.py")} >= {"app", "lib", "sourced"}
        assert server.page("app")["files"][0]["upload-time"].startswith("2025-01-01")
        assert all(not name["filename"].endswith(".metadata") for name in server.page("lib")["files"])


def test_a_folder_is_served_with_what_its_manifest_knows(mirroring: Mirroring, home: Path, tmp_path: Path) -> None:
    """What the index said of a file when it was mirrored last: yank marks, constraints of sdists too, upload times."""
    mirror_twice(mirroring, "file:./bundle")
    bundle = tmp_path / "carried"
    shutil.copytree(bundle_of(mirroring), bundle, copy_function=shutil.copyfile)  # the times of the files are lost
    config = f'[[source]]\nname = "mirror"\ntype = "directory"\nurl = "file:{bundle}"\nlayout = "project"\n'
    with gate(tmp_path / "gate", config) as server:
        assert_served_as_known(server)
        options = ["--no-cache-dir", "--index-url", server.index_url]
        pip(home, "install", *options, "--target", home / "pip", "tool")
        uv(home, "pip", "install", *options, "--target", home / "uv", "tool")
        assert ['"1.0"' in (home / client / "tool.py").read_text() for client in ("pip", "uv")] == [True, True]


def test_locks_are_taken_as_they_stand(mirroring: Mirroring) -> None:
    mirroring.input(
        '[project]\nname = "work"\nversion = "0"\nrequires-python = ">=3.11"\ndependencies = ["app<2"]\n', "pyproject.toml"
    )
    uv(mirroring.folder, "lock", "--default-index", mirroring.index.url)
    uv(mirroring.folder, "export", "-q", "--no-emit-project", "--format", "pylock.toml", "-o", "pylock.toml")
    uv(mirroring.folder, "export", "-q", "--no-emit-project", "--format", "requirements.txt", "-o", "locked.txt")
    expected = {path.replace("app-2.0", "app-1.0") for path in ON_LINUX}
    for number, lock in enumerate(("uv.lock", "pylock.toml", "locked.txt")):
        mirroring.run(lock, "--to", f"file:./bundle{number}", *HERE)
        assert distributions(mirroring.folder / f"bundle{number}") == expected, lock
        mirroring.run(lock, "--to", f"file:./bundle{number}", "--verify")
    mirroring.run("uv.lock", "--to", "file:./all", "--all-files", *HERE)
    assert distributions(mirroring.folder / "all") == expected | {"lib/lib-1.0-cp311-cp311-win_amd64.whl"}


def test_each_other_form_of_input(mirroring: Mirroring) -> None:
    mirroring.input("dependencies:\n- python=3.11\n- pip:\n  - app\n", "env/environment.yml")
    for given in (["env/environment.yml"], ["env"], ["--project", "app>=2"]):
        mirroring.run(*given, "--to", "file:./bundle", "--platform", "linux-x86_64")
        assert distributions(bundle_of(mirroring)) == ON_LINUX


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("requirements.txt", "no-such-project\n", "no-such-project was not found in any source"),
        ("requirements.txt", "app==9\n", "no source lists app==9; the newest is 2.0"),
        (
            "requirements.txt",
            f"app==2.0 --hash=sha256:{'0' * 64}\n",
            "no file of app 2.0 that a source lists has one of its hashes",
        ),
        ("requirements.txt", "app; sys_platform == 'darwin'\n", "its markers exclude every target (Python 3.11 on linux-x86_64)"),
        ("missing.txt", None, "missing.txt: there is no such file"),
        ("pylock.toml", 'lock-version = "9.0"\ncreated-by = "x"\npackages = []\n', "of a version that is not supported"),
        ("uv.lock", "version = 7\n", "which is not supported"),
        ("environment.yml", "dependencies: [python=3.11]\n", "has no pip section"),
        ("requirements.txt", "app >> 2\n", "is not a requirement"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(mirroring: Mirroring, name: str, text: str | None, sentence: str) -> None:
    if text is not None:
        mirroring.input(text, name)
    done = mirroring.run(name, "--to", "file:./bundle", *HERE, status=1)
    told = [line for line in done.stderr.splitlines() if "wheelgate: " in line and ": for Python" not in line]
    assert len(told) == 1, done.stderr
    assert sentence in told[0]
    assert "127.0.0.1" not in told[0]
    assert tree(bundle_of(mirroring)) == {} if bundle_of(mirroring).exists() else True


def test_a_lock_of_other_bytes_and_of_a_file_that_is_gone(mirroring: Mirroring) -> None:
    mirroring.input(
        '[project]\nname = "work"\nversion = "0"\nrequires-python = ">=3.11"\ndependencies = ["lib"]\n', "pyproject.toml"
    )
    uv(mirroring.folder, "lock", "--default-index", mirroring.index.url)
    name = "lib-1.0-cp311-cp311-manylinux_2_17_x86_64.whl"
    mirroring.index.publish("lib", name, wheel_bytes("lib", "1.0", padding=10))
    swapped = mirroring.run("uv.lock", "--to", "file:./bundle", *HERE, status=1)
    assert f"{name} is locked with another hash than source public lists" in swapped.stderr
    del mirroring.index.projects["lib"][name]
    gone = mirroring.run("uv.lock", "--to", "file:./bundle", *HERE, status=1)
    assert f"{name} is locked, and no source lists it any more" in gone.stderr


def test_an_upstream_that_sends_other_bytes_fails_that_file_alone(mirroring: Mirroring) -> None:
    lying = mirroring.index.projects["lib"]["lib-1.0-cp311-cp311-manylinux_2_17_x86_64.whl"]
    lying.body = lying.body[:-1] + b"!"
    failed = mirroring.run(mirroring.input("app\n"), "--to", "file:./bundle", *HERE, status=1)
    assert "lib-1.0-cp311-cp311-manylinux_2_17_x86_64.whl" in failed.stderr
    assert "3 of 4 files are in" in failed.stdout
    assert distributions(bundle_of(mirroring)) == ON_LINUX - {"lib/lib-1.0-cp311-cp311-manylinux_2_17_x86_64.whl"}
    known = manifest(bundle_of(mirroring))
    assert (known["inputs"], {entry["path"] for entry in known["files"]}) == ({}, distributions(bundle_of(mirroring)))


@pytest.mark.parametrize(
    "arguments",
    [
        ("--to", "file:./bundle"),
        ("requirements.txt",),
        ("requirements.txt", "--to", "ftp://x/y"),
        ("requirements.txt", "--to", "file:./b", "--account-key", "the-key-itself"),
        ("requirements.txt", "--to", "file:./b", "--from", "file:./c"),
    ],
)
def test_wrong_usage_is_status_2(mirroring: Mirroring, arguments: tuple[str, ...]) -> None:
    mirroring.input("app\n")
    if "--account-key" in arguments:
        arguments = (*arguments[:2], "https://acct.blob.core.windows.net/c", *arguments[3:])
    done = mirroring.run(*arguments, status=2)
    assert "the-key-itself" not in done.stderr


def test_a_folder_that_cannot_be_written_is_named_as_it_was_said(mirroring: Mirroring) -> None:
    (mirroring.folder / "file").write_text("in the way")
    mirroring.run(mirroring.input("app\n"), "--to", "file:./carried", *HERE)
    for arguments in ((mirroring.input("app\n"), *HERE), ("--from", "file:./carried")):
        done = mirroring.run(*arguments, "--to", "file:./file/bundle", status=1)
        told = [line for line in done.stderr.splitlines() if line.startswith("wheelgate: ") and ": for Python" not in line]
        assert told == [f"wheelgate: --to: the folder {mirroring.folder / 'file' / 'bundle'} cannot be written: not a directory"]


def sixty(index: FakeIndex) -> str:
    for number in range(60):
        name = f"piece-{number:02}"
        body = wheel_bytes(name, "1.0", padding=150_000)
        index.publish(name, wheel_name(name, "1.0"), body, metadata=metadata(name, "1.0"))
    return "".join(f"piece-{number:02}==1.0\n" for number in range(60))


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=[pytest.mark.long, pytest.mark.timeout(600)])])
def test_killed_at_any_point_it_goes_on_where_it_was(index: FakeIndex, tmp_path: Path, kills: int) -> None:
    mirroring = Mirroring(tmp_path / "work", index)
    arguments = (mirroring.input(sixty(index)), *HERE)
    began = time.monotonic()
    mirroring.run(*arguments, "--to", "file:./clean")
    took_s = time.monotonic() - began
    clean, bundle = mirroring.folder / "clean", bundle_of(mirroring)
    points = []
    for _ in range(kills):
        # Often in the middle of copying, where most is under way; each time a little further.
        finished_before = {path for path in distributions(bundle) if not path.startswith(".")} if bundle.exists() else set()
        mark = len(mirroring.fetched())
        process = mirroring.start(*arguments, "--to", "file:./bundle")
        if points and random.random() < 0.5:  # the first one comes while files do
            time.sleep(random.uniform(0.1, took_s))
        else:
            more = random.randint(1, 10)
            deadline = time.monotonic() + 20
            while len(mirroring.fetched()) < mark + more and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        fetched = set(mirroring.fetched()[mark:])
        assert not fetched & finished_before
        points.append(len(fetched))
        for path, body in tree(bundle).items() if bundle.exists() else []:
            if not path.startswith(".") and not path.endswith(".json"):
                assert body == tree(clean)[path], f"{path} is half-written under its final name"
    finished = {path for path in distributions(bundle) if not path.startswith(".")}
    mark = len(mirroring.fetched())
    mirroring.run(*arguments, "--to", "file:./bundle")
    assert not set(mirroring.fetched()[mark:]) & finished
    left, right = tree(bundle), tree(clean)
    assert left.keys() == right.keys()
    assert {path for path in left if left[path] != right[path]} <= {"wheelgate-mirror.json"}
    assert without_times(manifest(bundle)) == without_times(manifest(clean))
    assert any(points), "no kill came while files were on their way"
    mirroring.run(*arguments, "--to", "file:./bundle", "--verify")


def test_rules_and_outages_are_told_in_our_own_words(index: FakeIndex, tmp_path: Path) -> None:
    publish_catalogue(index)
    down = Mirroring(
        tmp_path / "down",
        index,
        '[[source]]\nname = "team"\ntype = "index"\nurl = "http://127.0.0.1:9/simple/"\nprivate = false\n',
    )
    failed = down.run(down.input("app\n"), "--to", "file:./bundle", *HERE, status=1)
    assert (
        "requirements.txt cannot be resolved for Python 3.11 on linux-x86_64: source team cannot be reached at http://127.0.0.1:9"
        in failed.stderr
    )
    offline = Mirroring(tmp_path / "offline", index, "[server]\noffline = true\n" + index_source(index))
    failed = offline.run(offline.input("app\n"), "--to", "file:./bundle", *HERE, status=1)
    assert "app was not found in any source" in failed.stderr
    assert "this server is offline and holds nothing of app" in failed.stderr


def test_what_a_rule_withholds_is_told_by_that_rule(index: FakeIndex, tmp_path: Path) -> None:
    """To uv, which is not shown it, there is no such version."""
    publish_catalogue(index)
    now = datetime.now(UTC)
    index.publish("colour", wheel_name("colour", "3.0"), wheel_bytes("colour", "3.0"), upload_time=f"{now:%Y-%m-%dT%H:%M:%SZ}")
    mirroring = Mirroring(tmp_path / "work", index, f'{index_source(index)}[policy]\ncooldown = "3d"\n')
    reason = f"colour 3.0 is withheld: it was uploaded at {now:%Y-%m-%d %H:%M:%S}Z, and a cool-down of 3d holds it until "
    failed = mirroring.run("--project", "colour>=3", "--to", "./bundle", *HERE, status=1)
    assert f"project colour>=3 cannot be resolved for Python 3.11 on linux-x86_64: {reason}" in failed.stderr
    assert "no version of" not in failed.stderr
    done = mirroring.run("--project", "colour", "--to", "./bundle", *HERE)
    assert f"wheelgate: colour 2.0 is mirrored: {reason}" in done.stderr
    assert distributions(bundle_of(mirroring)) == {"colour/colour-2.0-py3-none-any.whl"}


def test_progress_is_drawn_at_a_terminal_and_nowhere_else(mirroring: Mirroring) -> None:
    ours, theirs = pty.openpty()
    command = mirroring.command(mirroring.input("app\n"), "--to", "file:./bundle", *HERE)
    env = {**mirroring.env(), "TERM": "xterm", "COLUMNS": "150"}
    with subprocess.Popen(command, cwd=mirroring.folder, stdout=subprocess.PIPE, stderr=theirs, env=env) as process:
        os.close(theirs)
        drawn = b""
        with contextlib.suppress(OSError):  # Linux's word for the other end being closed
            while piece := os.read(ours, 65536):
                drawn += piece
        assert process.stdout is not None
        told = process.stdout.read().decode()
    os.close(ours)
    assert process.returncode == 0
    assert "resolving requirements.txt for Python 3.11 on linux-x86_64" in drawn.decode()
    assert "of 4 files" in drawn.decode()
    assert told.startswith("4 files")
    assert "\x1b" not in told
    quiet = mirroring.run("requirements.txt", "--to", "file:./bundle", *HERE)
    assert "\x1b" not in quiet.stderr
    assert "of 4 files" not in quiet.stderr


@pytest.mark.parametrize(
    "input_file", [("requirements.txt", "app\n"), ("environment.yml", "dependencies: [python=3.99, pip, {pip: [app]}]\n")]
)
def test_an_impossible_python_is_refused_before_anything_is_asked(mirroring: Mirroring, input_file: tuple[str, str]) -> None:
    name, text = input_file
    options = ["--python", "3.99"] if name.endswith(".txt") else []
    done = mirroring.run(mirroring.input(text, name), "--to", "file:./bundle", *options, status=1)
    sentence = r"wheelgate: there is no Python 3\.99 to mirror for, the newest being 3\.\d\d; did you mean 3\.9\?\n"
    assert re.fullmatch(sentence, done.stderr)
    assert mirroring.index.asked == []
    assert not bundle_of(mirroring).exists()


@pytest.mark.long
@pytest.mark.timeout(180)
def test_without_a_terminal_a_line_now_and_then_says_what_it_is_at(mirroring: Mirroring) -> None:
    body = wheel_bytes("colour", "2.0", padding=400_000)
    mirroring.index.publish("colour", wheel_name("colour", "2.0"), body, metadata=metadata("colour", "2.0"))

    async def slowly(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(body))})
        await response.prepare(request)
        for start in range(0, len(body), len(body) // 40):  # 40 s, none of them silent
            await response.write(body[start : start + len(body) // 40])
            await asyncio.sleep(1)
        return response

    mirroring.index.handlers[f"/packages/colour/{wheel_name('colour', '2.0')}"] = slowly
    done = mirroring.run("--project", "colour", "--to", "file:./bundle", *HERE)
    line = rf"wheelgate: 0 of 1 files, [\d.]+ kB of {len(body) / 1000:.1f} kB; colour/{re.escape(wheel_name('colour', '2.0'))}"
    assert [told for told in done.stderr.splitlines() if re.fullmatch(line, told)]
