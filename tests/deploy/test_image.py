"""The image: what its Dockerfile promises, and each of its steps carried out in a clean directory."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
import tomllib
import urllib.request
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deploy.dockerfile import ROOT, carried_out, environment_of, moved, reaches_the_build, stages
from tests.deploy.tools import tool
from tests.support.gate import environment


def test_it_runs_without_root_and_decides_nothing_for_the_operator() -> None:
    final = stages()[-1]
    users = [entry.text for entry in final if entry.word == "USER"]
    assert users == ["10001:10001"]  # a number, so that Kubernetes can see that it is not root
    assert not [entry for entry in final if entry.word == "RUN"]
    settings = environment_of(final)
    # The environment beats the file: who may install and where the store is must stay the operator's to say.
    assert {name for name in settings if name.startswith("WHEELGATE")} == {
        "WHEELGATE_DATA", "WHEELGATE_SERVER__HOST", "WHEELGATE_SERVER__PORT",
    }  # fmt: skip
    health = next(entry for entry in final if entry.word == "HEALTHCHECK")
    assert "/livez" in health.words[-1]
    assert f":{settings['WHEELGATE_SERVER__PORT']}/" in health.words[-1]


def test_what_it_copies_reaches_the_build_and_nothing_else_does() -> None:
    copied = {
        name
        for stage in stages()
        for entry in stage
        if entry.word == "COPY" and entry.flag("from") is None
        for name in entry.words[:-1]
    }
    for name in copied:
        assert (ROOT / name).exists()
        assert reaches_the_build(name)
    for name in (".git", ".venv", "tests", "deploy", "data", ".env", "wheelgate.toml"):
        assert not reaches_the_build(name)


@pytest.mark.parametrize(("lock", "wanted"), [("requirements.lock", "project"), ("build.lock", "build-system")])
def test_the_locks_pin_everything_by_hash_and_are_up_to_date(lock: str, wanted: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    pinned = {}
    for entry in re.split(r"\n(?=[a-z])", text.replace(" \\\n", " ").strip()):
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(\S+)", entry)
        assert match, entry[:80]
        assert "--hash=sha256:" in entry
        pinned[canonicalize_name(match[1])] = match[2]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    served = {
        name: needs for name, needs in extras.items() if name not in ("test", "dev")
    }  # the image has every extra of a server
    asked = [*project["project"]["dependencies"], *(need for needs in served.values() for need in needs)]
    how = f"uv pip compile pyproject.toml {' '.join(f'--extra {name}' for name in served)} -o requirements.lock"
    if wanted == "build-system":
        asked, how = project["build-system"]["requires"], "uv pip compile - -o build.lock, given build-system.requires"
    how += " --generate-hashes --no-header --no-annotate --universal --python-version 3.11"
    for requirement in map(Requirement, asked):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version, f"{lock} lacks {requirement}: {how}"
        assert requirement.specifier.contains(version), f"{lock} is behind {requirement}: {how}"


@pytest.mark.long
def test_hadolint_has_nothing_to_say() -> None:
    done = subprocess.run([tool("hadolint"), ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.long
@pytest.mark.public
@pytest.mark.timeout(600)
def test_each_step_runs_in_a_clean_directory_and_the_image_serves_read_only(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}  # how this machine reaches an index
    image = carried_out(tmp_path / "i", environment(tmp_path, **kept))
    assert not list((image / "opt" / "wheelgate" / "bin").glob("pip*"))
    assert not (image / "src").exists()

    # Started with its own command and environment, on a port that is free here.
    final = stages()[-1]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    settings = {name: moved(value, image) for name, value in environment_of(final).items()}
    settings |= {"WHEELGATE_SERVER__PORT": port, "PATH": "/usr/bin:/bin"}
    command = [moved(word, image) for entry in final if entry.word in ("ENTRYPOINT", "CMD") for word in entry.words]
    health = [moved(word, image) for word in next(entry for entry in final if entry.word == "HEALTHCHECK").words]
    health[-1] = health[-1].replace("8080", port)
    refused = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=30)
    assert refused.returncode == 2
    assert 'anonymous = "read"' in refused.stderr
    settings["WHEELGATE_SERVER__ANONYMOUS"] = "read"
    assert subprocess.run(health, env=settings, capture_output=True).returncode != 0
    process = subprocess.Popen(_read_only(command, image / "data"), env=settings, cwd="/")
    try:
        deadline = time.monotonic() + 30
        while subprocess.run(health, env=settings, capture_output=True).returncode != 0:
            assert process.poll() is None
            assert time.monotonic() < deadline
        for path in ("/readyz", "/simple/"):
            assert urllib.request.urlopen(f"http://127.0.0.1:{port}{path}").status == 200
        assert any((image / "data").iterdir())
    finally:
        process.terminate()
        assert process.wait(40) == 0


def _read_only(command: list[str], data: Path) -> list[str]:
    """The command as the image's user, with every file system read-only but its volume; as it is where we are not root."""
    if os.geteuid() != 0:
        return command
    for folder in (data, *data.parents):
        if folder.stat().st_uid == 0 and str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    os.chown(data, 10001, 10001)
    steps = (
        f'mount --bind "{data}" "{data}" && mount -o remount,bind,ro / && ! touch "{data.parent}/x" 2>/dev/null && '
        'exec setpriv --reuid 10001 --regid 10001 --clear-groups "$@"'
    )
    return ["unshare", "--mount", "/bin/sh", "-c", steps, "sh", *command]
