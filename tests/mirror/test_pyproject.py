"""A ``pyproject.toml`` as an input: its dependencies, extras and groups, and what it says that only a lock can answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from wheelgate.core.errors import BadInput
from wheelgate.mirror.inputs import read_input
from wheelgate.mirror.inputs_model import InputRequirement, MirrorInput

PROJECT = """
[project]
name = "Own_Project"
version = "0"
requires-python = ">=3.10"
dependencies = ["flask>=3 ; sys_platform == 'linux'"]

[project.optional-dependencies]
Fast = ["orjson"]
all = ["own-project[fast]", "idna"]

[dependency-groups]
dev = ["pytest", {include-group = "Lint"}]
lint = ["ruff<1"]

[tool.uv]
constraint-dependencies = ["werkzeug<4"]
sources = {orjson = {index = "team"}}

[tool.pdm.dev-dependencies]
docs = ["sphinx"]

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
"""


def read(folder: Path, text: str) -> MirrorInput:
    (folder / "pyproject.toml").write_text(text)
    return read_input(folder / "pyproject.toml", {})


def names(lines: list[InputRequirement]) -> list[str]:
    return [str(line.requirement) for line in lines]


def test_dependencies_extras_and_groups(tmp_path: Path) -> None:
    (tmp_path / "uv.lock").touch()
    asked = read(tmp_path, PROJECT)
    base = 'flask>=3; sys_platform == "linux"'
    assert [names(choice) for choice in asked.choices] == [
        [base],
        [base, "orjson"],
        [base, "orjson", "idna"],
        ["sphinx"],
        ["pytest", "ruff<1"],
        ["ruff<1"],
    ]
    assert set(names(asked.requirements)) == {base, "orjson", "idna", "sphinx", "pytest", "ruff<1"}
    assert names(asked.constraints) == ["werkzeug<4"]
    assert asked.python is not None
    assert asked.python.said == ">=3.10"
    (build,) = asked.builds
    assert names(build.requirements) == ["hatchling", "editables~=0.3"]
    assert any("give uv.lock, which lies beside it" in note for note in asked.notes)
    assert asked.requirements[0].where.endswith("pyproject.toml: dependencies")


def test_groups_without_a_project(tmp_path: Path) -> None:
    asked = read(tmp_path, '[dependency-groups]\ndev = ["pytest"]\n')
    assert names(asked.requirements) == ["pytest"]
    assert not asked.builds


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[project]\nname = 1\n", "is not a valid pyproject.toml"),
        ('[project]\nname = "a"\ndynamic = ["dependencies"]\n', "its dependencies are dynamic, .*: lock it, and give the lock"),
        ('[tool.poetry.dependencies]\nflask = "^3"\n', "constraints of poetry's own: lock it with `poetry lock`"),
        ("[tool.ruff]\nline-length = 1\n", "has neither a project nor dependency-groups: it is the settings of tools"),
        ('[project]\nname = "a"\n', "asks for nothing"),
        ('[project]\nname = "a"\ndependencies = ["x >> 1"]\n', "pyproject.toml: dependencies: 'x >> 1' is not a requirement"),
        ('[project]\nname = "a"\ndependencies = ["x @ git+https://t@h/x"]\n', "a URL or a path is not a file of an index"),
        ('[dependency-groups]\na = [{include-group = "A"}]\n', "the dependency group a: includes itself"),
        ('[dependency-groups]\na = [{include-group = "b"}]\n', "the dependency group b: is included, and there is none"),
        ('[dependency-groups]\na = [{other = "b"}]\n', "neither a requirement nor an include-group"),
        (
            '[project]\nname = "a"\ndependencies = ["x"]\n[tool.uv.sources]\nx = 1\n',
            r"is not a valid pyproject.toml: Expected `object \| array`",
        ),
        (
            '[project]\nname = "a"\ndependencies = ["x"]\n[tool.uv.sources]\nX = {workspace = true}\n',
            r"x comes from a folder, a repository or a URL \(tool.uv.sources\): `uv lock` the project",
        ),
        (
            '[project]\nname = "a"\ndependencies = ["x"]\n[tool.uv]\noverride-dependencies = ["y<1"]\n',
            "overrides what packages say",
        ),
    ],
)
def test_what_only_a_lock_can_answer(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        read(tmp_path, text)


@pytest.mark.parametrize("many", [1, 2])
def test_groups_and_extras_that_include_each_other_are_read_once(tmp_path: Path, many: int) -> None:
    """In however many ways, and however deep: each twice would be 2 ** 20 times, and one inside the other a stack that ends."""
    depth = 20 if many == 2 else 300
    lines = ["[project]", 'name = "app"', "[project.optional-dependencies]", f'e{depth} = ["idna"]']
    lines += [f"e{number} = {[f'app[e{number + 1}]'] * many}" for number in range(depth)]
    lines += ["[dependency-groups]", f'g{depth} = ["ruff"]']
    for number in range(depth):
        included = ", ".join([f'{{include-group = "g{number + 1}"}}'] * many)
        lines.append(f"g{number} = [{included}]")
    asked = read(tmp_path, "\n".join(lines))
    assert [names(choice) for choice in asked.choices] == [["idna"]] * (depth + 1) + [["ruff"]] * (depth + 1)
    assert names(asked.requirements) == ["idna", "ruff"]
