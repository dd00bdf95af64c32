"""The laptop's services, as processes: the same commands, environment and order, with the storage emulator from npm."""

from __future__ import annotations

import io
import re
import shlex
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.acceptance.configs import index_source
from tests.deploy.dockerfile import ROOT, environment_of, stages
from tests.support.azurite import ACCOUNT, KEY, VERSION, installed
from tests.support.clients import pip, uv
from tests.support.gate import WHEELGATE, Gate, environment, fetch
from tests.support.index import FakeIndex
from tests.support.packages import make_wheel, wheel_bytes, wheel_name


def services() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"])


def test_nothing_of_it_can_be_reached_by_others() -> None:
    for service in services().values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert services()["wheelgate"]["read_only"] is True


def test_it_is_the_emulator_of_the_tests_with_its_public_key() -> None:
    assert services()["storage"]["image"].endswith(f":{VERSION}")
    settings = services()["wheelgate"]["environment"]
    assert settings["STORAGE_KEY"] == KEY
    assert f"/{ACCOUNT}/" in settings["WHEELGATE_STORE__URL"]
    assert services()["container"]["environment"] == settings


@contextmanager
def process(command: list[str], folder: Path, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "log").open("ab") as log:
        running = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log)
    try:
        yield running
    finally:
        running.kill()
        running.wait(10)


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return str(free.getsockname()[1])


@pytest.mark.timeout(180)
def test_the_services_start_in_their_order_and_an_upload_installs(tmp_path: Path, home: Path) -> None:
    ports = {"10000": free_port(), "8080": free_port()}
    data = tmp_path / "data"
    data.mkdir()

    def here(text: str) -> str:
        text = re.sub(r"\b(10000|8080)\b", lambda match: ports[match[0]], text)
        return text.replace("0.0.0.0", "127.0.0.1").replace("/data", str(data))

    asked = services()
    settings = {name: here(value) for name, value in asked["wheelgate"]["environment"].items()}
    image = {name: here(value) for name, value in environment_of(stages()[-1]).items()}
    env = {**environment(home), **image, **settings}
    with ExitStack() as stack:
        storage = [*installed(), *shlex.split(here(asked["storage"]["command"]))[1:]]
        program = asked["container"]["entrypoint"][2]
        making = stack.enter_context(process([sys.executable, "-c", program], tmp_path, env))  # which waits for the storage
        stack.enter_context(process(storage, tmp_path, environment(home)))
        assert making.wait(60) == 0
        assert subprocess.run([sys.executable, "-c", program], env=env).returncode == 0  # the next start finds it there

        assert asked["wheelgate"]["depends_on"]["container"]["condition"] == "service_completed_successfully"
        command = next(entry for entry in stages()[-1] if entry.word == "CMD").words
        stack.enter_context(process([WHEELGATE, *command], tmp_path, env))
        url = settings["WHEELGATE_SERVER__PUBLIC_URL"]
        deadline = time.monotonic() + 30
        while True:
            try:
                if fetch(f"{url}/readyz").status == 200:
                    break
            except OSError:
                assert time.monotonic() < deadline, (tmp_path / "log").read_text()[-2000:]
                time.sleep(0.1)

        # As README.md says: a token from inside, an upload from outside.
        made = subprocess.run(
            [WHEELGATE, "token", "new", "--scope", "upload:acme-*", "--expires", "1d"], env=env, capture_output=True, text=True
        )
        assert made.returncode == 0, made.stderr
        token = re.search(r"wgt_\S+", made.stdout)
        assert token
        client = environment(home, WHEELGATE_URL=url, WHEELGATE_TOKEN=token[0])
        time.sleep(2.5)
        added = subprocess.run(
            [WHEELGATE, "wheel", "add", make_wheel(tmp_path, "acme-laptop", "1.0")], env=client, capture_output=True, text=True
        )
        assert added.returncode == 0, added.stderr
        answer = fetch(added.stdout.partition("#")[0].strip())
        assert answer.status == 302
        assert answer.headers["Location"].startswith(here("http://127.0.0.1:10000/"))  # which the laptop reaches too
        pip(home, "install", "--no-cache-dir", "--index-url", f"{url}/simple/", "--target", home / "site", "acme-laptop")
        uv(home, "venv", "--python", sys.executable, home / "venv")
        uv(
            home,
            "pip",
            "install",
            "--no-cache",
            "--default-index",
            f"{url}/simple/",
            "acme-laptop",
            env={"VIRTUAL_ENV": str(home / "venv")},
        )


def test_a_machine_with_nothing_but_python_installs_through_it(
    index: FakeIndex, start_gate: Callable[..., Gate], home: Path
) -> None:
    """`first-install.sh`, as README.md has it run on a new machine; pip is not the newest that is listed last."""
    import pip as own

    script = ROOT / "deploy" / "first-install.sh"
    folder = Path(own.__file__).parent
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for path in folder.rglob("*.py"):
            archive.write(path, f"pip/{path.relative_to(folder)}")
        for path in folder.rglob("*.pem"):
            archive.write(path, f"pip/{path.relative_to(folder)}")
    for name in ("pip-9.0-py3-none-any.whl", "pip-10.1-py3-none-any.whl"):
        index.publish("pip", name, body.getvalue() if "10" in name else b"too old")
    index.publish("acme-first", wheel_name("acme-first", "1.0"), wheel_bytes("acme-first", "1.0"))
    gate = start_gate(index_source(index))
    env = environment(home, WHEELGATE_URL=f"{gate.url}/")

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", script, *arguments], env={**env, **more}, cwd=home, capture_output=True, text=True, timeout=60
        )

    done = run("acme-first")
    assert done.returncode == 0, done.stderr
    assert f"installed acme-first through {gate.url}" in done.stderr
    assert index.count("/packages/pip/pip-9.0-py3-none-any.whl") == 0
    assert run("acme-second").returncode != 0
    missing = run(WHEELGATE_URL="http://127.0.0.1:9")
    assert missing.returncode == 1
    assert "cannot be reached" in missing.stderr
    assert not list(home.glob("**/site"))
