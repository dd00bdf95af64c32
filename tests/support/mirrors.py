"""`wheelgate mirror` as people run it, a catalogue on loopback to mirror from, and what came of it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.acceptance.configs import index_source
from tests.support.gate import WHEELGATE, Gate, environment
from tests.support.index import FakeIndex
from tests.support.packages import build_backend, metadata, sdist_bytes, wheel_bytes, wheel_name

HERE = ("--python", "3.11", "--platform", "linux-x86_64")
BOTH = (*HERE, "--platform", "windows-x86_64")


def publish_catalogue(index: FakeIndex) -> None:
    """``app`` 1.0 and 2.0 need ``lib`` (a wheel for each of two platforms), ``colour`` on Windows, and ``sourced``, an sdist."""
    for version in ("1.0", "2.0"):
        requires = ["lib>=1", "colour; sys_platform == 'win32'", "sourced"]
        body = metadata("app", version, requires=requires)
        index.publish("app", wheel_name("app", version), wheel_bytes("app", version, metadata_body=body), metadata=body)
    body = metadata("lib", "1.0")
    for tag in ("cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-win_amd64"):
        index.publish(
            "lib", f"lib-1.0-{tag}.whl", wheel_bytes("lib", "1.0", extra={f"lib/{tag}": b"1"}, padding=70_000), metadata=body
        )
    index.publish("colour", wheel_name("colour", "2.0"), wheel_bytes("colour", "2.0"), metadata=metadata("colour", "2.0"))
    index.publish("sourced", "sourced-3.0.tar.gz", sdist_bytes("sourced", "3.0"))
    index.publish("setuptools", wheel_name("setuptools", "80.0"), build_backend("sourced", "3.0"))


ON_LINUX = {
    "app/app-2.0-py3-none-any.whl",
    "lib/lib-1.0-cp311-cp311-manylinux_2_17_x86_64.whl",
    "sourced/sourced-3.0.tar.gz",
    "setuptools/setuptools-80.0-py3-none-any.whl",
}
ON_BOTH = {*ON_LINUX, "lib/lib-1.0-cp311-cp311-win_amd64.whl", "colour/colour-2.0-py3-none-any.whl"}


class Mirroring:
    """Runs the command in a folder of its own, with one index as source."""

    def __init__(self, folder: Path, index: FakeIndex, config: str = "") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.index = index
        (folder / "wheelgate.toml").write_text(config or index_source(index))

    def input(self, text: str, name: str = "requirements.txt") -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return name

    def command(self, *arguments: str | Path) -> list[str]:
        return [WHEELGATE, "mirror", "-c", "wheelgate.toml", "--data", "data", *map(str, arguments)]

    def env(self) -> dict[str, str]:
        return environment(self.folder, STORAGE_KEY=_key())

    def start(self, *arguments: str | Path) -> subprocess.Popen[bytes]:
        with (self.folder / "mirror.log").open("ab") as log:
            return subprocess.Popen(
                self.command(*arguments), cwd=self.folder, env=self.env(), stdout=log, stderr=log, start_new_session=True
            )

    def run(self, *arguments: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*arguments), cwd=self.folder, env=self.env(), capture_output=True, text=True, timeout=120
        )
        assert done.returncode == status, f"{arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def fetched(self) -> list[str]:
        """Files that the upstream was asked for so far, whole."""
        return [
            asked.path.removeprefix("/packages/")
            for asked in self.index.asked
            if _is_file(asked.path) and "Range" not in asked.headers and asked.method == "GET"
        ]


def _key() -> str:
    from tests.support.azurite import KEY

    return KEY


def _is_file(path: str) -> bool:
    return path.startswith("/packages/") and not path.endswith(".metadata")


def tree(folder: Path) -> dict[str, bytes]:
    """Everything below a folder, by path; hidden things too."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def distributions(folder: Path) -> set[str]:
    return {path for path in tree(folder) if not path.endswith((".metadata", ".json"))}


def manifest(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "wheelgate-mirror.json").read_text())
    return loaded


def without_times(loaded: dict[str, Any]) -> dict[str, Any]:
    for entry in loaded["files"]:
        assert entry.pop("stored")
        assert entry.pop("as_of")
        entry.pop("etag", None)
    for asked in loaded["inputs"].values():
        assert asked.pop("mirrored")
    return loaded


def mirror_twice(mirroring: Mirroring, to: str, *arguments: str) -> None:
    """Mirror ``tool``, of which 2.0 is yanked only after it was copied, and ``limited``, an sdist."""
    index = mirroring.index
    for version in ("1.0", "2.0"):
        index.publish("tool", wheel_name("tool", version), wheel_bytes("tool", version), metadata=metadata("tool", version))
    limited: dict[str, Any] = {"requires_python": ">=3.6,<4", "upload_time": "2024-02-03T04:05:06Z"}
    index.publish("limited", "limited-1.0.tar.gz", sdist_bytes("limited", "1.0"), **limited)
    index.publish("setuptools", wheel_name("setuptools", "80.0"), build_backend("limited", "1.0"))
    for yanked in (None, "it broke"):
        index.publish(
            "tool", wheel_name("tool", "2.0"), wheel_bytes("tool", "2.0"), metadata=metadata("tool", "2.0"), yanked=yanked
        )
        files = [published for project in ("tool", "limited") for published in index.projects[project].values()]
        pins = [(*one.entry["filename"].removesuffix(".tar.gz").split("-")[:2], one.entry["hashes"]["sha256"]) for one in files]
        text = "".join(f"{name}=={version} --hash=sha256:{sha256}\n" for name, version, sha256 in pins)
        mirroring.run(mirroring.input(text, "pins.txt"), "--to", to, *HERE, *arguments)


def assert_served_as_known(server: Gate) -> None:
    """The pages of a server of that mirror."""
    old, new = server.page("tool")["files"]
    assert (old.get("yanked", False), new["yanked"]) == (False, "it broke")
    limited = next(file for file in server.page("limited")["files"] if file["filename"].endswith(".tar.gz"))
    assert limited["requires-python"] == ">=3.6,<4"
    assert limited["upload-time"].startswith("2024-02-03T04:05:06")
