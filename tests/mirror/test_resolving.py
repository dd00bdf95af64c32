"""What uv is asked, and how its answers read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.index import FakeIndex
from tests.support.packages import metadata, sdist_bytes, wheel_bytes, wheel_name
from wheelgate.core.errors import Unresolvable
from wheelgate.mirror.build_failures import find_failed_build
from wheelgate.mirror.inputs import read_projects
from wheelgate.mirror.platforms import PLATFORMS
from wheelgate.mirror.resolving import Resolver
from wheelgate.mirror.targets import parse_target

HERE = parse_target("3.11", "linux-x86_64")


def publish(index: FakeIndex, name: str, version: str, *requires: str) -> None:
    body = metadata(name, version, requires=requires)
    index.publish(name, wheel_name(name, version), wheel_bytes(name, version, metadata_body=body), metadata=body)


def resolver(index: FakeIndex, folder: Path, **environment: str) -> Resolver:
    return Resolver(index.url, folder, {"PATH": "/usr/bin", **environment}, python=sys.executable, outputs=folder / "outputs")


async def resolved(index: FakeIndex, folder: Path, *specifiers: str) -> list[str]:
    needs = await resolver(index, folder).resolve(read_projects(specifiers, {}), HERE)
    return [f"{need.project}=={need.version}" for need in needs]


async def test_versions_extras_and_dependencies(index: FakeIndex, tmp_path: Path) -> None:
    publish(index, "demo", "1.0", "base", "more; extra == 'all'")
    publish(index, "demo", "2.0rc1")
    publish(index, "base", "3.0+local")
    publish(index, "more", "4.0")
    assert await resolved(index, tmp_path, "demo") == ["base==3.0+local", "demo==1.0"]
    assert await resolved(index, tmp_path, "Demo[all]") == ["base==3.0+local", "demo==1.0", "more==4.0"]
    assert await resolved(index, tmp_path, "demo>=2.0rc1") == ["demo==2.0rc1"]


@pytest.mark.parametrize(
    "platform", [*PLATFORMS, "manylinux_2_17_x86_64", "manylinux_2_24_aarch64", "manylinux_2_12_x86_64", "macosx_11_0_arm64"]
)
async def test_uv_knows_every_platform_by_its_name(index: FakeIndex, tmp_path: Path, platform: str) -> None:
    publish(index, "demo", "1.0")
    for python in ("3.9", "3.14", "3.12.3"):
        needs = await resolver(index, tmp_path).resolve(read_projects(["demo"], {}), parse_target(python, platform))
        assert [need.version for need in needs] == ["1.0"]


async def test_uv_is_told_how_old_a_mac_may_be(index: FakeIndex, tmp_path: Path) -> None:
    publish(index, "demo", "1.0")
    index.publish("demo", "demo-2.0-py3-none-macosx_12_0_arm64.whl", wheel_bytes("demo", "2.0"), metadata=metadata("demo", "2.0"))
    for platform, version in (("macosx_11_0_arm64", "1.0"), ("macosx_12_0_arm64", "2.0"), ("osx-arm64", "2.0")):
        needs = await resolver(index, tmp_path).resolve(read_projects(["demo"], {}), parse_target("3.11", platform))
        assert [need.version for need in needs] == [version], platform


async def test_nothing_of_this_machines_settings_reaches_uv(index: FakeIndex, tmp_path: Path) -> None:
    publish(index, "demo", "1.0")
    elsewhere = "http://127.0.0.1:9/simple/"
    (tmp_path / ".config" / "uv").mkdir(parents=True)
    (tmp_path / ".config" / "uv" / "uv.toml").write_text(f'[[index]]\nurl = "{elsewhere}"\ndefault = true\n')
    needs = await resolver(index, tmp_path, UV_DEFAULT_INDEX=elsewhere, UV_CACHE_DIR="/nonexistent").resolve(
        read_projects(["demo"], {}), HERE
    )
    assert [need.version for need in needs] == ["1.0"]


@pytest.mark.parametrize(
    ("specifiers", "why"),
    [
        (["nowhere"], "nowhere was not found in any source"),
        (["demo==9"], "no source offers a version that matches demo==9"),
        (["demo", "clash"], "demo"),
    ],
)
async def test_a_reason_is_one_line_without_our_address(
    index: FakeIndex, tmp_path: Path, specifiers: list[str], why: str
) -> None:
    publish(index, "demo", "1.0")
    publish(index, "clash", "1.0", "demo>1")
    with pytest.raises(Unresolvable) as error:
        await resolved(index, tmp_path, *specifiers)
    told = str(error.value)
    assert told.startswith("the projects named cannot be resolved for Python 3.11 on linux-x86_64: ")
    assert why in told
    assert "127.0.0.1" not in told
    assert "\n" not in told
    assert "cause:" not in told


async def test_a_build_that_fails_is_told_in_a_sentence_and_its_output_kept(index: FakeIndex, tmp_path: Path) -> None:
    backend = b"""
def get_requires_for_build_wheel(config_settings=None):
    return []
def build_wheel(folder, config_settings=None, metadata_directory=None):
    print("about to import")
    import numpy
"""
    index.publish("broken", "broken-1.0.tar.gz", sdist_bytes("broken", "1.0"))
    extra = {"setuptools/__init__.py": b"", "setuptools/build_meta.py": backend}
    index.publish("setuptools", wheel_name("setuptools", "80.0"), wheel_bytes("setuptools", "80.0", extra=extra))
    publish(index, "outer", "1.0", "broken")
    with pytest.raises(Unresolvable) as error:
        await resolved(index, tmp_path, "outer")
    log = tmp_path / "outputs" / "broken-1.0.log"
    assert str(error.value) == (
        "the projects named cannot be resolved for Python 3.11 on linux-x86_64: broken==1.0 has to be built "
        f"to tell what it needs, and its build failed (ModuleNotFoundError: No module named 'numpy'): its output is in {log}; "
        "name a version that has a wheel, or run this where pip can build it"
    )
    text = log.read_text()
    assert "about to import" in text
    assert "Traceback" in text
    assert index.origin not in text


def test_a_sentence_needs_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    failed = find_failed_build("error: Failed to build `a/../b==1`\n cause: Call to `x.build_wheel` failed\n")
    assert failed is not None
    assert failed.describe(tmp_path / "file") == (
        "a/../b==1 has to be built to tell what it needs, and its build failed; "
        "name a version that has a wheel, or run this where pip can build it"
    )
    assert "a-..-b-1.log" in failed.describe(tmp_path / "outputs")
    assert find_failed_build("error: Failed to build `a==1`\n cause: no network\n") is None
