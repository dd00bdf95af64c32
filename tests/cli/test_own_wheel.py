"""`wheelgate wheel add --self`: a closed network installs the command from the server that it talks to."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from importlib.metadata import Distribution
from io import BytesIO
from pathlib import Path

import click
import pytest

from tests.acceptance.configs import UPLOADS
from tests.support.clients import pip, uv
from tests.support.gate import Gate, environment
from tests.support.packages import make_wheel, sha256
from wheelgate.cli import cli
from wheelgate.cli.own_wheel import pack_own_wheel
from wheelgate.core.errors import UploadRefused
from wheelgate.distfiles.wheels import check_wheel

SOURCE = Path(__file__).parents[2] / "proxy" / "wheelgate"
VERSION = "7.1+here.2"
INFO = f"wheelgate-{VERSION}.dist-info"
ENTRY_POINTS = b"[console_scripts]\nwheelgate = wheelgate.cli:main\n"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This very Wheelgate as a wheel, of a version that no other has."""
    files = {f"wheelgate/{path.relative_to(SOURCE).as_posix()}": path.read_bytes() for path in SOURCE.rglob("*.py")}
    extra = {**files, f"wheelgate-{VERSION}.dist-info/entry_points.txt": ENTRY_POINTS}
    return make_wheel(tmp_path_factory.mktemp("dist"), "wheelgate", VERSION, extra=extra)


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That wheel, installed."""
    return install(uv, tmp_path_factory.mktemp("site"), wheel)


def install(program: Callable[..., object], home: Path, wheel: Path) -> Path:
    home.mkdir(exist_ok=True)
    command = ("pip", "install") if program is uv else ("install",)
    program(home, *command, "--no-deps", "--no-index", "--target", home / "site", wheel)
    return home / "site"


def find_installed(site: Path) -> Distribution:
    (found,) = Distribution.discover(name="wheelgate", path=[str(site)])
    return found


def run(site: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run what is installed there, with the dependencies of these tests."""
    path = f"{site}:{sysconfig.get_path('purelib')}"
    command = [sys.executable, "-P", "-m", "wheelgate", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=environment(site.parent, PYTHONPATH=path, **env), cwd=site.parent
    )


def test_it_has_the_same_bytes_however_it_was_installed(wheel: Path, site: Path, tmp_path: Path) -> None:
    packed = [pack_own_wheel(tmp_path, find_installed(site)).read_bytes()]
    packed.append(pack_own_wheel(tmp_path, find_installed(install(pip, tmp_path, wheel))).read_bytes())
    assert packed[0] == packed[1]
    check_wheel(BytesIO(packed[0]), wheel.name)
    with zipfile.ZipFile(wheel) as built, zipfile.ZipFile(BytesIO(packed[0])) as made:
        assert sorted(made.namelist()) == sorted(built.namelist())
        different = [name for name in built.namelist() if built.read(name) != made.read(name)]
    assert different == [f"wheelgate-{VERSION}.dist-info/RECORD"]


def test_a_server_offers_it_and_a_client_installs_it_from_there(
    start_gate: Callable[..., Gate], site: Path, tmp_path: Path
) -> None:
    gate = start_gate(UPLOADS)
    secret = gate.run("token", "new", "--scope", "upload").stdout.strip()
    added = run(site, "wheel", "add", "--self", WHEELGATE_URL=gate.index_url, WHEELGATE_TOKEN=secret)
    assert (added.returncode, added.stderr) == (0, "")
    assert added.stdout.startswith(f"{gate.url}/files/wheelgate/wheelgate-7.1+here.2-py3-none-any.whl#sha256=")
    second = tmp_path / "site"
    uv(tmp_path, "pip", "install", "--no-deps", "--index-url", gate.index_url, "--target", second, "wheelgate")
    assert run(second, "--version").stdout == f"wheelgate {VERSION}\n"
    once_more = pack_own_wheel(tmp_path, find_installed(second))
    assert sha256(once_more.read_bytes()) == added.stdout.strip().rpartition("=")[2]


def test_without_a_url_it_goes_into_the_store(site: Path, wheel: Path, tmp_path: Path) -> None:
    settings = tmp_path / "wheelgate.toml"
    settings.write_text(UPLOADS)
    added = run(site, "wheel", "add", "--self", "--data", str(tmp_path / "data"), "-c", str(settings))
    assert added.returncode == 0, added.stderr
    assert (tmp_path / "data" / "store" / "packages" / "wheelgate" / wheel.name).is_file()


def _change(site: Path) -> None:
    (site / "wheelgate" / "services.py").write_text("changed")


def _remove(site: Path) -> None:
    (site / "wheelgate" / "services.py").unlink()


def _lose_list(site: Path) -> None:
    (site / INFO / "RECORD").unlink()


def _be_built_for_two(site: Path) -> None:
    (site / INFO / "WHEEL").write_text("Wheel-Version: 1.0\nTag: py2-none-any\nTag: py3-none-any\n")
    lines = (site / INFO / "RECORD").read_text().splitlines()
    (site / INFO / "RECORD").write_text("\n".join(line.split(",")[0] + ",," if "/WHEEL," in line else line for line in lines))


def _be_editable(site: Path) -> None:
    (site / INFO / "direct_url.json").write_text('{"url": "file:///srv/my%20clone", "dir_info": {"editable": true}}')


EDITABLE = (
    "this Wheelgate is installed editable and runs from /srv/my clone, so there is no wheel of it: build one with `pip wheel "
    f"--no-deps -w dist '/srv/my clone'`, and add that with `wheelgate wheel add dist/wheelgate-{VERSION}-py3-none-any.whl`"
)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_change, "wheelgate/services.py is not as it was installed: install Wheelgate again, and then add it"),
        (_remove, "wheelgate/services.py is not as it was installed: install Wheelgate again, and then add it"),
        (_lose_list, "cannot be packed: its installer left no list of its files; install it with pip or uv"),
        (_be_built_for_two, "cannot be packed: it was built for py2-none-any, py3-none-any"),
        (_be_editable, EDITABLE),
    ],
)
def test_what_is_not_as_it_was_installed_is_not_packed(
    site: Path, tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    shutil.copytree(site, tmp_path / "site")
    damage(tmp_path / "site")
    with pytest.raises(UploadRefused, match=f"{re.escape(said)}$"):
        pack_own_wheel(tmp_path, find_installed(tmp_path / "site"))


def test_something_has_to_be_named() -> None:
    with pytest.raises(click.UsageError, match="name the files to add, or pass --self"):
        cli.main(["wheel", "add"], standalone_mode=False)
