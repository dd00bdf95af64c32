"""Wheels and sdists as real build tools make them, and as the public index has them: none is refused that pip and uv install."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests.support.clients import pip, uv
from tests.support.gate import Gate, environment, fetch, gate
from wheelgate.distfiles.core_metadata import BadWheel
from wheelgate.distfiles.sdists import BadSdist, check_sdist
from wheelgate.distfiles.wheels import check_wheel

pytestmark = [pytest.mark.public, pytest.mark.long, pytest.mark.timeout(900)]

PROJECTS = [
    *("idna", "certifi", "charset-normalizer", "urllib3", "requests", "six", "packaging", "setuptools", "wheel", "pip", "attrs"),
    *("click", "flask", "jinja2", "markupsafe", "pyyaml", "rpds-py", "pydantic-core", "contourpy", "iminuit", "poetry-core"),
    *(
        "pdm-backend",
        "flit-core",
        "hatchling",
        "tomlkit",
        "rich",
        "uvicorn",
        "httpx",
        "psutil",
        "msgpack",
        "greenlet",
        "docutils",
    ),
    *("pygments", "pytz", "zope-interface", "backports-tarfile", "python-dateutil", "simplejson", "cffi", "multidict"),
]
MOST_BYTES = 6 * 1024 * 1024
BACKENDS = {
    "setuptools": ('["setuptools>=77"]', "setuptools.build_meta", ""),
    "hatchling": ('["hatchling"]', "hatchling.build", ""),
    "flit": ('["flit_core>=3.4"]', "flit_core.buildapi", ""),
    "poetry": ('["poetry-core>=2"]', "poetry.core.masonry.api", ""),
    "pdm": ('["pdm-backend"]', "pdm.backend", ""),
    "uv": ('["uv_build>=0.8"]', "uv_build", '[tool.uv.build-backend]\nmodule-root = ""\n'),
    "meson": ('["meson-python"]', "mesonpy", ""),
    "scikit-build": ('["scikit-build-core"]', "scikit_build_core.build", "[tool.scikit-build]\nwheel.cmake = false\n"),
}
MESON = """project('acme-tools', version: '1.0')
py = import('python').find_installation()
py.install_sources(['acme_tools/__init__.py'], subdir: 'acme_tools')
"""
SETUP = "from setuptools import setup\nsetup(name='acme-tools', version='1.0', packages=['acme_tools'], scripts=['tool'])\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    with gate(tmp_path_factory.mktemp("gate"), "") as made:
        yield made


def find_refusal(filename: str, body: bytes) -> str:
    try:
        (check_wheel if filename.endswith(".whl") else check_sdist)(io.BytesIO(body), filename)
    except (BadWheel, BadSdist) as error:
        return f"{filename}: {error}"
    return ""


def test_files_of_the_public_index_are_not_refused(server: Gate) -> None:
    """The newest wheel and the newest sdist of each project, as far as they are not too large."""
    refusals, looked_at = [], 0
    for project in PROJECTS:
        files = [
            entry for entry in server.page(project)["files"] if entry.get("size", 0) < MOST_BYTES and not entry.get("yanked")
        ]
        files.sort(key=lambda entry: str(entry["upload-time"]))
        for ending in (".whl", ".tar.gz"):
            entry = next((entry for entry in reversed(files) if entry["filename"].endswith(ending)), None)
            if entry is not None:
                answer = fetch(f"{server.url}{entry['url']}", timeout=100)
                assert answer.status == 200
                looked_at += 1
                refusals.append(find_refusal(entry["filename"], answer.body))
    assert looked_at >= 60
    print(f"{looked_at} files")
    assert [refusal for refusal in refusals if refusal] == []


def write_project(folder: Path, backend: str) -> None:
    (folder / "acme_tools").mkdir(parents=True)
    (folder / "acme_tools" / "__init__.py").write_text('"""Tools made for a test."""\n__version__ = "1.0"\n')
    (folder / "README.md").write_text("Made for a test: é.\n")
    if backend == "setup.py":
        (folder / "setup.py").write_text(SETUP)
        (folder / "tool").write_text("#!python\nprint(1)\n")
        return
    requires, module, more = BACKENDS[backend]
    project = 'name = "acme-tools"\nversion = "1.0"\ndescription = "Tools"\nreadme = "README.md"\nrequires-python = ">=3.9"\n'
    scripts = '[project.scripts]\nacme-tool = "acme_tools:__doc__.strip"\n'
    build = f'[build-system]\nrequires = {requires}\nbuild-backend = "{module}"\n'
    (folder / "pyproject.toml").write_text(f"{build}[project]\n{project}{scripts}{more}")
    (folder / "meson.build").write_text(MESON)


@pytest.mark.parametrize("backend", [*BACKENDS, "setup.py"])
def test_what_a_build_tool_makes_is_taken_and_installs(server: Gate, home: Path, tmp_path: Path, backend: str) -> None:
    folder = tmp_path / "project"
    write_project(folder, backend)
    subprocess.run(["git", "init", "-q", folder], check=True)  # meson makes an sdist of what is committed
    for command in (["add", "."], ["-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "-qm", "x"]):
        subprocess.run(["git", "-C", folder, *command], check=True)
    env = environment(home, UV_CACHE_DIR=str(home / "cache"), UV_NO_CONFIG="1", UV_PYTHON=sys.executable)
    build = [find_uv_bin(), "build", "--quiet", "--default-index", server.index_url]
    done = subprocess.run(build, cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    made = sorted(path for path in (folder / "dist").iterdir() if path.suffix in (".whl", ".gz"))
    assert len(made) == 2
    assert [refusal for path in made if (refusal := find_refusal(path.name, path.read_bytes()))] == []
    for program, command in ((pip, ("install",)), (uv, ("pip", "install"))):
        program(
            home,
            *command,
            "--no-deps",
            "--no-index",
            "--target",
            home / program.__name__,
            made[0 if made[0].suffix == ".whl" else 1],
        )
        assert (home / program.__name__ / "acme_tools" / "__init__.py").is_file()


@pytest.mark.parametrize(
    "tags",
    [
        "cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64",
        "cp39-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64",
        "cp311-cp311-macosx_10_12_x86_64.macosx_11_0_arm64.macosx_10_12_universal2",
        "pp310-pypy310_pp73-manylinux_2_17_x86_64.manylinux2014_x86_64",
        "cp313-cp313t-musllinux_1_2_aarch64",
        "py3-none-win_amd64",
        "graalpy311-graalpy242_311_native-linux_x86_64",
    ],
)
def test_names_as_maturin_gives_them_are_taken(tags: str) -> None:
    from tests.support.archives import build_wheel

    python, abi, platforms = tags.split("-")
    lines = "".join(f"Tag: {python}-{abi}-{platform}\n" for platform in platforms.split("."))
    wheel = f"Wheel-Version: 1.0\nGenerator: maturin (1.9.6)\nRoot-Is-Purelib: false\n{lines}".encode()
    assert find_refusal(f"acme-1.0-{tags}.whl", build_wheel(files={"WHEEL": wheel})) == ""
