"""Locks that the newest tools wrote, of projects of every shape: what each needs where.

The tools themselves are asked anew in the long tests of tests/acceptance/test_locks_inside.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.kept_locks import FOLDER, KEPT, write_kept
from tests.support.lock_shapes import (
    LINUX,
    MACOS,
    PDM_SHAPES,
    PIPENV_SHAPES,
    PLATFORMS,
    POETRY_SHAPES,
    PUBLIC,
    TEAM,
    UV_SHAPES,
    WINDOWS,
    LockShape,
)
from wheelgate.core.errors import BadInput
from wheelgate.mirror.inputs import read_input
from wheelgate.mirror.inputs_model import MirrorInput
from wheelgate.mirror.targets import parse_target

SHAPES: Mapping[str, LockShape] = {
    f"{tool}-{name}": shape
    for tool, shapes in (("uv", UV_SHAPES), ("pdm", PDM_SHAPES), ("poetry", POETRY_SHAPES), ("pipenv", PIPENV_SHAPES))
    for name, shape in shapes.items()
}


def lay_out(folder: Path, name: str, lock: str) -> Path:
    """The project of a shape with its lock beside it."""
    for path, text in SHAPES[name].files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text.replace("<public>", PUBLIC).replace("<team>", TEAM))
    return write_kept(name, lock, folder)


def needed(asked: MirrorInput, platform: str, python: str = "3.11") -> set[str]:
    assert asked.lock is not None
    needs = asked.lock(parse_target(python, platform)).needs
    assert all(need.hashes for need in needs)
    assert len({(need.project, need.version) for need in needs}) == len(needs)
    return {need.filename or f"{need.project}=={need.version}" for need in needs}


def test_every_shape_is_kept() -> None:
    assert {name for name, _ in KEPT} == SHAPES.keys()


def test_no_address_is_kept_in_them() -> None:
    assert [path.name for path in FOLDER.glob("*/*") if "://" in path.read_text()] == []


@pytest.mark.parametrize(("name", "lock"), KEPT)
def test_a_lock_needs_what_its_tool_would_install(tmp_path: Path, name: str, lock: str) -> None:
    shape = SHAPES[name]
    asked = read_input(lay_out(tmp_path, name, lock), {})
    for platform in PLATFORMS:
        wanted = set(shape.needs) if lock == "Pipfile.lock" else shape.list_files(platform)
        assert needed(asked, platform) == wanted, platform
    assert [build.label for build in asked.builds] == [f"what builds {project}" for project in shape.builds]
    assert asked.python is not None
    assert asked.python.allows(parse_target("3.11", LINUX).version)
    assert not asked.python.allows(parse_target("3.9", LINUX).version)
    with pytest.raises(BadInput, match=r"is for Python \S+, and not for Python 3.9 on linux-x86_64"):
        needed(asked, LINUX, "3.9")


def test_what_only_an_extra_needs_and_cannot_have_is_said(tmp_path: Path) -> None:
    for name, lock in (("uv-cpu-or-gpu", "uv.lock"), ("poetry-cpu-or-gpu", "poetry.lock")):
        asked = read_input(lay_out(tmp_path / name, name, lock), {})
        assert asked.lock is not None
        (note,) = asked.lock(parse_target("3.11", MACOS)).notes
        assert "has no file of tensor 3.0+gpu for Python 3.11 on macos-arm64: the extra or group that needs it cannot be" in note
        assert not asked.lock(parse_target("3.11", LINUX)).notes


def test_a_fork_is_told_apart_by_the_python(tmp_path: Path) -> None:
    for name, lock in (("uv-fork", "uv.lock"), ("uv-fork", "pylock.toml"), ("poetry-fork", "poetry.lock")):
        asked = read_input(lay_out(tmp_path / name, name, lock), {})
        assert needed(asked, LINUX) == {"old_new-1.0-py3-none-any.whl"}
        assert needed(asked, LINUX, "3.12") == {"old_new-2.0-py3-none-any.whl"}


def test_a_lock_that_came_without_its_projects(tmp_path: Path) -> None:
    for name, lock in (
        ("uv-own", "uv.lock"),
        ("uv-own", "pylock.toml"),
        ("pdm-aside", "pdm.lock"),
        ("poetry-groups", "poetry.lock"),
    ):
        (tmp_path / name).mkdir(exist_ok=True)
        asked = read_input(write_kept(name, lock, tmp_path / name), {})
        project = "own" if name == "uv-own" else "aside"
        assert not asked.builds
        assert any(
            note.endswith(
                f"{project} is built where it is installed, and its folder is not here: add what builds it by --project"
            )
            for note in asked.notes
        )


def test_a_lock_of_a_script(tmp_path: Path) -> None:
    path = tmp_path / "report.py.lock"
    package = '[[package]]\nname = "{0}"\nversion = "1.0"\nsource = {{ registry = "https://x/simple" }}\n'
    wheel = 'wheels = [{{ url = "https://x/{0}-1.0-py3-none-any.whl", hash = "sha256:aa" }}]\n'
    rest = "".join((package + wheel).format(name) for name in ("used", "unused"))
    path.write_text(f'version = 1\nrequires-python = ">=3.11"\n[manifest]\nrequirements = [{{ name = "used" }}]\n{rest}')
    assert needed(read_input(path, {}), LINUX) == {"used-1.0-py3-none-any.whl"}


def test_a_lock_for_other_places_is_refused(tmp_path: Path) -> None:
    for name, text in (
        ("uv.lock", "version = 1\nsupported-markers = [\"sys_platform == 'linux'\"]\n"),
        ("pylock.toml", 'lock-version = "1.0"\ncreated-by = "x"\npackages = []\nenvironments = ["sys_platform == \'linux\'"]\n'),
    ):
        (tmp_path / name).write_text(text)
        asked = read_input(tmp_path / name, {})
        assert asked.lock is not None
        asked.lock(parse_target("3.11", LINUX))
        with pytest.raises(BadInput, match=r"is for sys_platform == .linux., and not for Python 3.11 on windows-x86_64"):
            asked.lock(parse_target("3.11", WINDOWS))


CHOICES = """lock-version = "1.0"
created-by = "x"
extras = ["cpu", "gpu"]
dependency-groups = ["dev"]
default-groups = ["default"]
"""


def pylock(folder: Path, *packages: tuple[str, str, str]) -> MirrorInput:
    """A lock with extras and groups; of each package its name, its version and its marker."""
    text = CHOICES + "".join(
        f'[[packages]]\nname = "{name}"\nversion = "{version}"\n'
        + (f"marker = '''{marker}'''\n" if marker else "")
        + f'wheels = [{{url = "https://x/{name}-{version}-py3-none-any.whl", hashes = {{sha256 = "aa"}}}}]\n'
        for name, version, marker in packages
    )
    (folder / "pylock.toml").write_text(text)
    return read_input(folder / "pylock.toml", {})


@pytest.mark.parametrize(
    ("marker", "is_needed"),
    [
        ("", True),
        ("'default' in dependency_groups", True),
        ("'dev' in dependency_groups and 'gpu' in extras", True),
        ("'gpu' in extras and 'cpu' not in extras", True),
        ("'cpu' in extras and 'cpu' not in extras", False),
        ("'unheard-of' in extras", False),
        ("'gpu' in extras and sys_platform == 'win32'", False),
        (" or ".join(f"'g{n}' in extras" for n in range(40)) + " or 'cpu' in extras", True),
    ],
)
def test_a_package_is_needed_if_some_choice_needs_it(tmp_path: Path, marker: str, is_needed: bool) -> None:
    assert needed(pylock(tmp_path, ("demo", "1.0", marker)), LINUX) == ({"demo-1.0-py3-none-any.whl"} if is_needed else set())


def test_choices_that_exclude_each_other_are_all_mirrored(tmp_path: Path) -> None:
    asked = pylock(tmp_path, ("demo", "1.0", "'cpu' in extras"), ("demo", "2.0", "'gpu' in extras"))
    assert needed(asked, LINUX) == {"demo-1.0-py3-none-any.whl", "demo-2.0-py3-none-any.whl"}
    with pytest.raises(BadInput, match="locks demo to two versions at once for Python 3.11 on linux-x86_64"):
        needed(pylock(tmp_path, ("demo", "1.0", ""), ("demo", "2.0", "")), LINUX)


OLD_POETRY = """
[[package]]
name = "app"
version = "1.0"
category = "main"
optional = false
python-versions = ">=3.7"
[package.dependencies]
pywin = {version = "*", markers = "sys_platform == \\"win32\\""}

[[package]]
name = "pywin"
version = "2.0"
category = "main"
optional = false
python-versions = "*"

[metadata]
lock-version = "1.1"
python-versions = ">=3.8,<3.10 || ^3.11"
content-hash = "aa"

[metadata.files]
app = [{file = "app-1.0-py3-none-any.whl", hash = "sha256:aa"}, {file = "app-2.0-py3-none-any.whl", hash = "sha256:ab"}]
pywin = [{file = "pywin-2.0-cp311-cp311-win_amd64.whl", hash = "sha256:bb"}]
"""


def test_a_lock_that_does_not_say_what_is_needed_where(tmp_path: Path) -> None:
    """All of it is; but for what has no file there, and only what is not needed there depends on."""
    (tmp_path / "poetry.lock").write_text(OLD_POETRY)
    asked = read_input(tmp_path / "poetry.lock", {})
    assert needed(asked, LINUX) == {"app-1.0-py3-none-any.whl"}
    assert needed(asked, WINDOWS) == {"app-1.0-py3-none-any.whl", "pywin-2.0-cp311-cp311-win_amd64.whl"}
    (tmp_path / "poetry.lock").write_text(OLD_POETRY.replace(', markers = "sys_platform == \\"win32\\""', ""))
    with pytest.raises(BadInput, match="has no file of pywin 2.0 for Python 3.11 on linux-x86_64"):
        needed(read_input(tmp_path / "poetry.lock", {}), LINUX)


TWO_QUOTES = r"""'''os_name == "'\x22"'''"""


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("poetry.lock", "", "is no lock, or not a whole one: it does not say of which version it is"),
        ("poetry.lock", '[metadata]\nlock-version = "9.0"\n', "version '9.0'"),
        ("poetry.lock", '[metadata]\nlock-version = "2.1"\n', "locks nothing"),
        ("poetry.lock", '[[package]]\nname = "a"\n[metadata]\nlock-version = "2.1"\n', "not a valid poetry.lock"),
        (
            "poetry.lock",
            '[[package]]\nname = "a"\nversion = "1"\nsource = {type = "git"}\n[metadata]\nlock-version = "2.1"\n',
            "a is locked to a repository, a URL or a file, which no index lists: build its wheel",
        ),
        (
            "pdm.lock",
            '[metadata]\nlock_version = "4.5.0"\n[[package]]\nname = "a"\npath = "./a-1.0.tar.gz"\n',
            "a is locked to a repository",
        ),
        (
            "Pipfile.lock",
            '{"_meta": {"pipfile-spec": 6}, "default": {"a": {"path": "./a-1.0-py3-none-any.whl"}}}',
            "a is locked to a repository",
        ),
        ("pdm.lock", '[metadata]\nlock_version = "9"\n', "version '9', which is not supported; 4.5 is"),
        ("pdm.lock", '[metadata]\nlock_version = "4.5.0"\n', "locks nothing"),
        ("pdm.lock", '[metadata]\nlock_version = "4.5.0"\n[[package]]\nname = 1\n', "not a valid pdm.lock"),
        (
            "pdm.lock",
            '[metadata]\nlock_version = "4.5.0"\n[[package]]\nname = "a"\ngit = "https://x"\n',
            "a is locked to a repository",
        ),
        ("Pipfile.lock", "[]", "is not a Pipfile.lock"),
        ("Pipfile.lock", '{"_meta": {"pipfile-spec": 7}}', "version 7, which is not supported; 6 is"),
        ("Pipfile.lock", '{"_meta": {"pipfile-spec": 6}, "default": {"a": 1}}', "not a valid Pipfile.lock"),
        ("Pipfile.lock", '{"_meta": {"pipfile-spec": 6}, "default": {}}', "locks nothing"),
        ("Pipfile.lock", '{"_meta": {"pipfile-spec": 6}, "default": {"a": {"git": "https://x"}}}', "a is locked to a repository"),
        ("uv.lock", 'version = 1\nrequires-python = "nonsense"\n', "'nonsense' does not say which Python it is for"),
        (
            "uv.lock",
            "version = 1\nconflicts = [" + '[{package = "a", extra = "x"}],' * 13 + "]\n",
            "declares more conflicts than can be tried: 8,192 choices",
        ),
        ("Pipfile.lock", '{"_meta": {"pipfile-spec": 6}, "default": {"": {"version": "==1"}}}', "'' is not a project name"),
        (
            "poetry.lock",
            '[[package]]\nname = "!"\nversion = "1"\nfiles = [{file = "a-1.tar.gz"}]\n[metadata]\nlock-version = "2.1"\n',
            "'!' is not a project name",
        ),
        (
            "uv.lock",
            f'version = 1\n[[package]]\nname = "a"\nversion = "1"\nsource = {{ editable = "{"a" * 300}" }}\n'
            '[[package]]\nname = "b"\nversion = "1"\nsource = { git = "x" }\n[manifest]\nrequirements = [{ name = "b" }]\n',
            "b is locked to a repository",
        ),
        (
            "pdm.lock",
            '[metadata]\nlock_version = "4.5"\n[[package]]\nname = "a"\nversion = "1"\n'
            'dependencies = ["b @ https://u:hidden@x/b.whl ; nonsense"]\n',
            "what it says of a dependency, 'b', is not a requirement$",
        ),
        (
            "poetry.lock",
            f'[[package]]\nname = "a"\nversion = "1"\nmarkers = {TWO_QUOTES}\n[metadata]\nlock-version = "2.1"\n',
            "has a marker with both kinds of quotes in one value",
        ),
        (
            "pylock.toml",
            'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "a"\ndirectory = {path = "."}\n'
            f"marker = {TWO_QUOTES}\n",
            "has a marker with both kinds of quotes in one value",
        ),
        ("s.lock", "", "is none of the locks that are known by their names: pylock.toml"),
    ],
)  # fmt: skip
def test_broken_locks(tmp_path: Path, name: str, text: str, sentence: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInput, match=sentence):
        needed(read_input(tmp_path / name, {}), LINUX)
