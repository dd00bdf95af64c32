"""Which Python an input allows, in every spelling, and for which it is mirrored."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.version import Version

from wheelgate.core.errors import BadInput
from wheelgate.mirror.allowed_pythons import AllowedPythons, allow_pythons, choose_pythons
from wheelgate.mirror.conda import read_python_spec
from wheelgate.mirror.inputs import read_input

ALL = ["3.9.18", "3.10.0", "3.10.4", "3.10.19", "3.11.0", "3.11.5", "3.12.1"]


def allowed(spec: str) -> list[str]:
    found = read_python_spec(spec, "x.yml line 1")
    return ALL if found is None else [version for version in ALL if found.allows(Version(version))]


TENS = ["3.10.0", "3.10.4", "3.10.19"]


@pytest.mark.parametrize(
    ("spec", "versions"),
    [
        ("python=3.10", TENS),
        ("python = 3.10", TENS),
        ("Python=3.10", TENS),
        ("python 3.10.*", TENS),
        ("python==3.10.*", TENS),
        ("python>=3.10,<3.11", TENS),
        ("python >=3.10, <3.11", TENS),
        ("python>=3.10.*,<3.11", TENS),
        ("python~=3.10.0", TENS),
        ("conda-forge::python=3.10", TENS),
        ("conda-forge/linux-64::python=3.10", TENS),
        ("python[version='>=3.10,<3.11']", TENS),
        ('python[version=">=3.10,<3.11",build="*_cpython"]', TENS),
        ("conda-forge::python[version='3.10.*']", TENS),
        ("python !=3.10.4,>=3.10,<3.11", ["3.10.0", "3.10.19"]),
        ("python=3.10.4", ["3.10.4"]),
        ("python 3.10.4 h123_0", ["3.10.4"]),
        ("python=3.10.4=h123_0_cpython", ["3.10.4"]),
        ("python 3.10", ["3.10.0"]),  # an exact version, to conda
        ("python==3.10", ["3.10.0"]),
        ("python=3.10=*_cpython", ["3.10.0"]),
        ("python[version=3.10]", ["3.10.0"]),
        ("python=3.10|>=3.12", [*TENS, "3.12.1"]),
        ("python<3.11", ["3.9.18", *TENS]),
        ("python~=3.10", [*TENS, "3.11.0", "3.11.5", "3.12.1"]),
        ("python # any", ALL),
        ("python *", ALL),
        ("python", ALL),
        ("python-dateutil=2.8", ALL),
        ("python_abi=3.10", ALL),
        ("ipython=8", ALL),
    ],
)
def test_conda_writes_it_in_many_ways(spec: str, versions: list[str]) -> None:
    """As py-rattler, conda's own reader of such specifications, answers for each of these versions."""
    assert allowed(spec) == versions


def test_what_conda_does_not_read_either() -> None:
    with pytest.raises(BadInput, match=r"x\.yml line 1: '>=abc' does not say which Python it is for"):
        read_python_spec("python>=abc", "x.yml line 1")
    with pytest.raises(BadInput, match="does not say which Python it is for") as error:
        allow_pythons(f">={'9' * 5_000}", [f">={'9' * 5_000}"], "x")
    assert len(str(error.value)) < 300


def python(text: str) -> AllowedPythons:
    return allow_pythons(text, text.split("|"), "x")


@pytest.mark.parametrize(
    ("text", "named", "chosen"),
    [
        (">=3.10", [], ["3.11"]),  # the usual one, where it will do
        ("==3.10.*", [], ["3.10"]),
        (">=3.10,<3.11", [], ["3.10"]),
        ("==3.10.4", [], ["3.10.4"]),
        (">=3.10.2,<3.10.9", [], ["3.10.8"]),
        ("==3.11.4", [], ["3.11.4"]),
        ("==3.8.*|==3.11.*", [], ["3.11"]),
        (">=3.12", ["3.12", "3.13"], ["3.12", "3.13"]),
        (">=3.12", ["3.11", "3.12"], ["3.12"]),
        ("==3.12.4", ["3.12"], ["3.12.4"]),
        (">=3.12", ["3.12.3"], ["3.12.3"]),
    ],
)
def test_the_python_that_the_input_allows_is_mirrored(text: str, named: list[str], chosen: list[str]) -> None:
    assert choose_pythons("uv.lock", python(text), named, "3.11") == chosen


@pytest.mark.parametrize(
    ("text", "named", "sentence"),
    [
        (">=3.12", [], r"^uv\.lock: is for Python >=3\.12, which this one \(3\.11\) is not: say which with --python$"),
        (">=3.12", ["3.11"], r"is for Python >=3\.12, and not for 3\.11: name another with --python"),
        ("==2.7.*", [], "is for Python ==2.7.*, and there is none such to mirror for"),
        (">=3.12,<3.12", [], "there is none such"),
    ],
)
def test_else_somebody_is_asked(text: str, named: list[str], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        choose_pythons("uv.lock", python(text), named, "3.11")


def test_an_input_that_says_nothing() -> None:
    assert choose_pythons("r.txt", None, [], "3.11") == ["3.11"]
    assert choose_pythons("r.txt", None, ["3.9"], "3.11") == ["3.9"]


def test_every_kind_of_input_says_it(tmp_path: Path) -> None:
    pip = "  - pip: [demo]\n"
    for name, text, wanted in (
        ("environment.yml", f"dependencies:\n  - conda-forge::python=3.10\n{pip}", "3.10"),
        ("conda.yml", f"dependencies:\n  - python>=3.10,<3.11\n{pip}", "3.10"),
        ("python_env.yaml", 'python: "3.9.7"\nbuild_dependencies: [pip]\ndependencies: [demo==1]\n', "3.9.7"),
        ("uv.lock", 'version = 1\nrequires-python = "==3.12.*"\n', "3.12"),
        ("pylock.toml", 'lock-version = "1.0"\ncreated-by = "x"\nrequires-python = "==3.12.*"\npackages = []\n', "3.12"),
        ("poetry.lock", '[metadata]\nlock-version = "2.1"\npython-versions = "~3.12"\n', "3.12"),
        ("pdm.lock", '[metadata]\nlock_version = "4.5.0"\n[[metadata.targets]]\nrequires_python = "==3.12.*"\n', "3.12"),
        ("Pipfile.lock", '{"_meta": {"pipfile-spec": 6, "requires": {"python_version": "3.12"}}, "default": {}}', "3.12"),
        (
            "Pipfile.lock",
            '{"_meta": {"pipfile-spec": 6, "requires": {"python_full_version": "3.12.3"}}, "default": {}}',
            "3.12.3",
        ),
    ):
        (tmp_path / name).write_text(text)
        asked = read_input(tmp_path / name, {})
        assert choose_pythons(name, asked.python, [], "3.11") == [wanted], name


def test_digits_that_no_number_has_are_found_wherever_they_stand() -> None:
    with pytest.raises(BadInput, match="does not say which Python"):
        allow_pythons("x", [f">=3.5,>={'9' * 5_000}", "<2"], "a.lock")
