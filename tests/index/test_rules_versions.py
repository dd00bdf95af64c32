"""Version matching for a page: the same answers as packaging gives, and every file in the group of its version."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from tests.support.sources import LONG_AGO, listed
from wheelgate.core.model import ProjectPage
from wheelgate.core.names import version_of
from wheelgate.core.patterns import parse_specifier
from wheelgate.index.rules import PageVersions

numbers = st.integers(0, 12).map(str)
plain = st.lists(numbers, min_size=1, max_size=4).map(".".join)
odd = st.sampled_from(
    ["1.0rc1", "2.0.dev3", "1.0.post1", "1!1.0", "1.0+local.1", "v1.0", "1.0-1", "01.0", "1..0", "2004d", "", "x"]
)
operators = st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "~=", "==="])
parts = st.tuples(operators, st.one_of(plain, plain.map(lambda text: f"{text}.*"), st.sampled_from(["1.0rc1", "1!1"]))).map(
    "".join
)

FORMS = ("demo-{}-py3-none-any.whl", "demo-{}-cp314-abi3-win32.whl", "demo-{}.tar.gz", "DEMO-{}.zip", "demo-{}-py2.7.egg")


def texts(*filenames: str, project: str = "demo") -> list[str | None]:
    return list(PageVersions(page(filenames, project)).by_text)


def page(filenames: Sequence[str], project: str = "demo") -> ProjectPage:
    files = tuple(listed(project, "", filename=name) for name in filenames)
    return ProjectPage(project=project, files=files, as_of=LONG_AGO)


@given(text=st.one_of(plain, odd), wanted=st.lists(parts, min_size=1, max_size=3))
@example(text="1.0.0", wanted=["==1"])
@example(text="0", wanted=["==0.0"])
@example(text="1.0.post1", wanted=[">1.0"])
@example(text="2.0rc1", wanted=["<2.0"])
@example(text="0.0", wanted=["===0"])
def test_a_version_is_meant_exactly_if_pep_440_says_so(text: str, wanted: list[str]) -> None:
    try:
        meant = SpecifierSet(",".join(wanted))
    except InvalidSpecifier:
        return
    try:
        expected = meant.contains(Version(text), prereleases=True)
    except InvalidVersion:
        expected = None
    name = f"demo-{text}-py3-none-any.whl" if "-" not in text else f"demo-{text.replace('-', '_')}-py3-none-any.whl"
    versions = PageVersions(page([name]))
    assert bool(versions.files_in(meant)) is bool(expected)
    assert bool(versions.files_in(meant, unreadable=True)) is (True if expected is None else expected)


@pytest.mark.parametrize(
    ("filename", "text"),
    [
        ("demo-1.0-py3-none-any.whl", "1.0"),
        ("demo-1.0-1build-py3-none-any.whl", "1.0"),
        ("demo-1.0.whl", None),
        ("demo-1.0.tar.gz", "1.0"),
        ("Demo-1.0rc1.tar.gz", "1.0rc1"),
        ("demo-1.0-1.tar.gz", "1.0.post1"),
        ("demo-1.0.zip", "1.0"),
        ("demo-1.0-py2.7.egg", "1.0"),
        ("demo-1.0.win32-py2.7.exe", "1.0"),
        ("demo-2004d.tar.gz", "2004d"),
    ],
)
def test_the_version_text_of_a_file_name(filename: str, text: str | None) -> None:
    assert texts(filename) == [text]


@given(text=plain, form=st.sampled_from(FORMS))
def test_version_texts_are_the_versions_that_others_read(text: str, form: str) -> None:
    filename = form.format(text)
    (found,) = texts(filename)
    assert found is not None
    assert str(Version(found)) == version_of(filename, "demo")


def test_every_file_is_in_the_group_of_its_version() -> None:
    wheel = "demo-{}-py3-none-{}.whl".format
    names = [
        wheel("1.0", "a"),
        wheel("1.0", "b"),
        "demo-1.0-1.tar.gz",
        wheel("1.0", "c"),
        wheel("1.0.1", "a"),
        "demo-2.0.tar.gz",
        "Demo-2.0-py3-none-any.whl",
        wheel("2.0", "a"),
    ]
    versions = PageVersions(page(names))
    assert {text: [file.filename for file in files] for text, files in versions.by_text.items()} == {
        "1.0": [names[0], names[1], names[3]],
        "1.0.post1": [names[2]],
        "1.0.1": [names[4]],
        "2.0": names[5:],
    }


@given(found=st.lists(st.tuples(st.one_of(plain, odd), st.sampled_from(FORMS)), max_size=6, unique=True), wanted=parts)
def test_the_files_of_a_page_that_match_are_those_that_match_one_by_one(found: list[tuple[str, str]], wanted: str) -> None:
    try:
        meant = SpecifierSet(wanted)
    except InvalidSpecifier:
        return
    names = list(dict.fromkeys(form.format(text) for text, form in found))

    def matches(name: str) -> bool:
        try:
            return meant.contains(Version(version_of(name, "demo") or ""), prereleases=True)
        except InvalidVersion:
            return False

    files = PageVersions(page(names)).files_in(meant)
    assert sorted(file.filename for file in files) == sorted(filter(matches, names))


def test_a_project_with_a_dash() -> None:
    names = ["a_b-1.0-py3-none-any.whl", "a-b-2.0.tar.gz", "A.B-3.0.tar.gz"]
    assert texts(*names, project="a-b") == ["1.0", "2.0", "3.0"]


def test_a_bare_version_is_that_version() -> None:
    assert parse_specifier("2.5.1") == SpecifierSet("==2.5.1")
    assert parse_specifier(" >=2, <3 ") == SpecifierSet(">=2,<3")
