"""The distribution claims one import name, its own: another one that brings a package ``proxy`` does it no harm."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.packages import make_wheel, sha256, wheel_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOREIGN = {"proxy/__init__.py": b"", "proxy/__main__.py": b"raise SystemExit(1)\n", "proxy/cli/__init__.py": b""}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel: hatchling's, where it is installed; else one of what pyproject.toml has it put there."""
    folder, version = tmp_path_factory.mktemp("dist"), PROJECT["project"]["version"]
    if importlib.util.find_spec("hatchling"):
        run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, ROOT)
        return folder / wheel_name("wheelgate", version)
    packages = [ROOT / package for package in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]]
    files = {
        path.relative_to(package.parent).as_posix(): path.read_bytes()
        for package in packages
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    # The module that this maker of wheels adds by itself lies beside the package, and is left out.
    return make_wheel(folder, "wheelgate", version, extra=files, without=["wheelgate.py"])


def run(*command: str | Path, env: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ if env is None else env))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_has_one_top_level_package_which_is_typed(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"wheelgate"}
    assert {"wheelgate/__init__.py", "wheelgate/__main__.py", "wheelgate/py.typed"} <= set(names)


def test_another_distribution_with_a_package_proxy_comes_and_goes(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv/bin/python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    pip = (sys.executable, "-m", "pip", "--python", python, "-q", "--no-input", "--disable-pip-version-check")
    # Dependencies are this environment's; of an installation that it may have itself, only a .pth file knows.
    with_dependencies = {**os.environ, "PYTHONPATH": sysconfig.get_path("purelib")}

    def ours() -> dict[str, str]:
        files = (path for path in site.glob("wheelgate*/**/*") if path.is_file() and path.suffix != ".pyc")
        return {str(path): sha256(path.read_bytes()) for path in files}

    def assert_works() -> None:
        where = run(python, "-P", "-c", "import wheelgate; print(wheelgate.__file__)", env=with_dependencies)
        assert Path(where.strip()) == site / "wheelgate/__init__.py"
        told = run(python, "-P", "-m", "wheelgate", "--version", env=with_dependencies)
        assert PROJECT["project"]["version"] in told

    foreign = make_wheel(tmp_path, "proxy.py", "2.4.10", extra=FOREIGN)
    run(*pip, "install", "--no-index", "--no-deps", "--no-compile", wheel)
    installed = ours()
    assert_works()
    run(*pip, "install", "--no-index", "--no-deps", "--no-compile", foreign)
    assert (site / "proxy/__init__.py").is_file()
    assert_works()
    run(*pip, "uninstall", "-y", "proxy.py")
    assert not (site / "proxy").exists()
    assert ours() == installed
    assert_works()
