"""Installers, each release as the public index has it, in a place of its own: fetched on first use, and kept beside the tests."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

import pytest
from packaging.version import Version
from uv import find_uv_bin

from tests.support.gate import environment
from tests.support.servers import installed

_FOLDER = Path(sys.prefix) / "installers"
Pins = Mapping[str, str]
"""Project to the sha256 of its only file that may be installed, of version 1.0."""


class Installer:
    """One release of an installer, that puts what is wanted into a folder, from one index."""

    reads_json = True
    """It asks for pages in JSON."""

    def __init__(self, release: str) -> None:
        self.release = release

    def __str__(self) -> str:
        return f"{type(self).__name__.lower()} {self.release}"

    def install(self, folder: Path, index_url: str, wanted: Iterable[str]) -> Path:
        """Install the newest that may be had, nothing being known of digests before; the place of the modules."""
        raise NotImplementedError

    def install_pinned(self, folder: Path, index_url: str, pins: Pins) -> Path:
        """Install these very files, by their digests."""
        raise NotImplementedError


class Pip(Installer):
    """pip."""

    @property
    def reads_json(self) -> bool:  # type: ignore[override]  # told by the release
        return Version(self.release) >= Version("22.2")

    def _run(self, folder: Path, index_url: str, *wanted: str | Path) -> Path:
        options = ["--index-url", index_url, "--trusted-host", "127.0.0.1", "--no-cache-dir", "--disable-pip-version-check"]
        command = [sys.executable, pip_of(self.release), "install", *options, "--target", folder, *wanted]
        run(command, folder, PIP_CONFIG_FILE="/dev/null")
        return folder

    def install(self, folder: Path, index_url: str, wanted: Iterable[str]) -> Path:
        return self._run(folder, index_url, *wanted)

    def install_pinned(self, folder: Path, index_url: str, pins: Pins) -> Path:
        return self._run(folder, index_url, "--require-hashes", "-r", write_pins(folder, pins))


class Uv(Installer):
    """uv; ``here``: the one of the tests' own environment."""

    @property
    def _binary(self) -> str | Path:
        return find_uv_bin() if self.release == "here" else unpack("uv", self.release) / "bin" / "uv"

    def _run(self, folder: Path, index_url: str, *wanted: str | Path) -> Path:
        run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], folder)
        command = [self._binary, "pip", "install", "--no-cache", "--index-url", index_url, *wanted]
        run(command, folder, VIRTUAL_ENV=str(folder / "venv"), UV_NO_CONFIG="1", UV_PYTHON_DOWNLOADS="never")
        return next((folder / "venv").glob("lib/python*/site-packages"))

    def install(self, folder: Path, index_url: str, wanted: Iterable[str]) -> Path:
        return self._run(folder, index_url, *wanted)

    def install_pinned(self, folder: Path, index_url: str, pins: Pins) -> Path:
        told = run([self._binary, "pip", "install", "--help"], folder)
        demand = ["--require-hashes"] if "--require-hashes" in told else []  # the first releases passed digests over
        return self._run(folder, index_url, *demand, "-r", write_pins(folder, pins))


class Locking(Installer):
    """An installer that writes a lock first, with digests, and installs by it."""

    requirements: ClassVar[tuple[str, ...]] = ()
    """What is installed beside it, where its newest dependencies broke it."""
    settings: ClassVar[Mapping[str, str]] = {}
    lock_file = ""

    def _write(self, folder: Path, index_url: str, wanted: Iterable[str]) -> None:
        raise NotImplementedError

    def _command(self, *arguments: str) -> list[str | Path]:
        name = type(self).__name__.lower()
        bin_folder = unpack_whole(f"{name}-{self.release}", f"{name}=={self.release}", *self.requirements)
        return [bin_folder / name, *arguments]

    def install(self, folder: Path, index_url: str, wanted: Iterable[str]) -> Path:
        folder.mkdir(parents=True)
        self._write(folder, index_url, wanted)
        for step in ("lock", "install"):
            self.run_step(folder, step)
        return next((folder / ".venv").glob("lib/python*/site-packages"))

    def run_step(self, folder: Path, step: str) -> None:
        """Lock a folder's project, or install by its lock."""
        caches = {f"{name}_CACHE_DIR": str(folder / "cache") for name in ("POETRY", "PDM", "PIPENV", "PIP")}
        run(self._command(*self._steps[step]), folder, **self.settings, **caches, VIRTUAL_ENV="")

    def install_pinned(self, folder: Path, index_url: str, pins: Pins) -> Path:
        place = self.install(folder, index_url, pins)
        locked = (folder / self.lock_file).read_text()
        assert all(digest in locked for digest in pins.values()), locked
        return place

    _steps: ClassVar[Mapping[str, tuple[str, ...]]] = {"lock": ("lock",), "install": ("install",)}


class Poetry(Locking):
    """poetry."""

    lock_file = "poetry.lock"

    @property
    def reads_json(self) -> bool:  # type: ignore[override]  # told by the release
        return Version(self.release) >= Version("2")

    settings: ClassVar = {
        "POETRY_VIRTUALENVS_IN_PROJECT": "true",
        "POETRY_NO_INTERACTION": "1",
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
    }

    def _write(self, folder: Path, index_url: str, wanted: Iterable[str]) -> None:
        needs = "".join(f'{name} = "*"\n' for name in wanted)
        (folder / "pyproject.toml").write_text(
            '[tool.poetry]\nname = "probe"\nversion = "0.1"\ndescription = ""\nauthors = []\npackage-mode = false\n'
            f'[tool.poetry.dependencies]\npython = ">=3.11"\n{needs}'
            f'[[tool.poetry.source]]\nname = "wheelgate"\nurl = "{index_url}"\npriority = "primary"\n'
        )


class Pdm(Locking):
    """pdm."""

    lock_file = "pdm.lock"
    requirements: ClassVar = ("hishel<2",)  # the second one lacks what pdm imports
    settings: ClassVar = {"PDM_CHECK_UPDATE": "false", "PDM_IGNORE_SAVED_PYTHON": "0"}
    _steps: ClassVar = {"lock": ("lock",), "install": ("sync",)}

    def _write(self, folder: Path, index_url: str, wanted: Iterable[str]) -> None:
        (folder / "pyproject.toml").write_text(
            f'[project]\nname = "probe"\nversion = "0.1"\nrequires-python = ">=3.11"\ndependencies = {sorted(wanted)}\n'
            f'[tool.pdm]\ndistribution = false\n[[tool.pdm.source]]\nname = "pypi"\nurl = "{index_url}"\nverify_ssl = true\n'
        )


class Pipenv(Locking):
    """pipenv."""

    lock_file = "Pipfile.lock"
    settings: ClassVar = {"PIPENV_VENV_IN_PROJECT": "1", "PIPENV_YES": "1", "PIPENV_NOSPIN": "1", "PIP_CONFIG_FILE": "/dev/null"}
    _steps: ClassVar = {"lock": ("lock", "--python", sys.executable), "install": ("sync", "--python", sys.executable)}

    def _write(self, folder: Path, index_url: str, wanted: Iterable[str]) -> None:
        needs = "".join(f'{name} = "*"\n' for name in wanted)
        (folder / "Pipfile").write_text(f'[[source]]\nname = "pypi"\nurl = "{index_url}"\nverify_ssl = true\n[packages]\n{needs}')


def run(command: list[str | Path], folder: Path, **env: str) -> str:
    """Run a command in a folder that is made for it, and return what it printed; fails unless it succeeds."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = environment(folder, **env)
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=settings, cwd=folder)
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def write_pins(folder: Path, pins: Pins) -> Path:
    """Write a requirements file that allows these files alone."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pinned.txt"
    path.write_text("".join(f"{name}==1.0 --hash=sha256:{digest}\n" for name, digest in pins.items()))
    return path


def pip_of(release: str) -> Path:
    """What Python runs as a release of pip: its folder, since out of its wheel it would be compiled anew each time."""
    return unpack("pip", release) / "pip"


def unpack(project: str, release: str) -> Path:
    """The folder that the wheel of a release is unpacked in, its commands in ``bin``."""
    return _once(f"{project}-{release}", f"{project}=={release}")


def unpack_whole(name: str, *requirements: str) -> Path:
    """The commands of an environment of its own, with all that these need."""
    try:
        return installed(name, *requirements)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"{' '.join(requirements)} cannot be had from the public index here: {_last_line(error)}")


def _once(name: str, requirement: str) -> Path:
    folder = _FOLDER / name
    _FOLDER.mkdir(exist_ok=True)
    with (_FOLDER / "lock").open("w") as lock:  # several test processes may come here at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--target", folder]
            pip = [sys.executable, "-m", "pip", "install", *options, requirement]
            try:
                subprocess.run(pip, check=True, capture_output=True, timeout=240)
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
                pytest.skip(f"{requirement} cannot be had from the public index here: {_last_line(error)}")
            (folder / "ready").touch()
    return folder


def _last_line(error: subprocess.CalledProcessError | subprocess.TimeoutExpired) -> str:
    return (error.stderr or b"no answer").decode(errors="replace").strip().splitlines()[-1]
