"""Names: one validation, one normalisation, and which files are whose."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.utils import InvalidSdistFilename, canonicalize_name, parse_sdist_filename
from packaging.version import Version

from wheelgate.core import names
from wheelgate.core.belonging import Membership
from wheelgate.core.names import is_distribution, is_safe_filename, normalise_name, same_version_key, version_of

modestly = settings(deadline=None, max_examples=200)
spellings = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,20}[A-Za-z0-9])?", fullmatch=True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("demo", "demo"),
        ("Demo", "demo"),
        ("Foo.Bar_baz--qux", "foo-bar-baz-qux"),
        ("a", "a"),
        ("0", "0"),
        ("a._-b", "a-b"),
        ("a" * 200, "a" * 200),
    ],
)
def test_a_valid_name_is_normalised_as_pep_503_says(name: str, expected: str) -> None:
    assert normalise_name(name) == expected


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "-demo",
        "demo-",
        ".demo",
        "demo_",
        "de mo",
        "demo\n",
        "\ndemo",
        "demo/other",
        "demo\\other",
        "demo%2fother",
        "demo\0",
        "démo",
        "demo\u0130",  # lowers to two characters
        "\u212a",  # the Kelvin sign lowers to a plain k
        "\uff44emo",
        "demo;x",
        "<b>",
        "a" * 201,
    ],
)
def test_what_is_no_name_has_no_normal_form(name: str) -> None:
    assert normalise_name(name) is None


@modestly
@given(st.text(max_size=30))
def test_whatever_comes_out_is_normal_already(text: str) -> None:
    name = normalise_name(text)
    if name is not None:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
        assert normalise_name(name) == name


@modestly
@given(spellings)
def test_a_valid_name_is_normalised_as_packaging_does(name: str) -> None:
    assert normalise_name(name) == canonicalize_name(name)


@pytest.mark.parametrize(
    "filename",
    [
        "demo-1.0-py3-none-any.whl",
        "demo-1!1.0+local.1.tar.gz",
        "_demo-1.0.tar.gz",
        "demo 1.0.zip",
        "demo-1.0 (1).exe",
        "demo-1.0~rc1.tar.gz",
        "a" * 255,
    ],
)
def test_names_of_real_files_are_safe(filename: str) -> None:
    assert is_safe_filename(filename)


@pytest.mark.parametrize(
    "filename",
    [
        "",
        "x",
        ".hidden.whl",
        "-rf.whl",
        "../demo.whl",
        "a/../b.whl",
        "demo..whl",
        "a/b.whl",
        "a\\b.whl",
        "demo%2f.whl",
        "demo%.whl",
        "demo\n.whl",
        "demo.whl\n",
        "demo\r\nX-Evil: 1.whl",
        "demo\0.whl",
        "demo#.whl",
        "demo?x.whl",
        'demo".whl',
        "demo'.whl",
        "demo<script>.whl",
        "demo&amp;.whl",
        "démo.whl",
        "demo;x.whl",
        "demo:x.whl",
        "demo.whl ",
        "demo.whl.",
        "demo.whl.metadata",
        "demo.whl.METADATA",
        "a" * 256,
    ],
)
def test_names_with_a_second_meaning_are_not_safe(filename: str) -> None:
    assert not is_safe_filename(filename)


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("demo-1.0-py3-none-any.whl", True),
        ("demo-1.0.tar.gz", True),
        ("demo-1.0.tar.bz2", True),
        ("demo-1.0.TGZ", True),
        ("demo-1.0-py2.7.egg", True),
        ("demo-1.0.win32.exe", True),
        ("demo-1.0.tar.gz.asc", False),
        ("demo-1.0-py3-none-any.whl.metadata", False),
        ("demo.html", False),
        ("whl", False),
    ],
)
def test_a_distribution_file_is_told_by_its_ending(filename: str, expected: bool) -> None:
    assert is_distribution(filename) is expected


@pytest.mark.parametrize(
    ("project", "filename"),
    [
        ("demo", "demo-1.0-py3-none-any.whl"),
        ("demo", "Demo-1.0-py3-none-any.whl"),
        ("demo", "demo-1.0-1build-py3-none-any.whl"),
        ("demo", "demo-1.0-not-a-valid.whl"),
        ("acme-odd", "Acme.Odd-1.1-py3-none-any.whl"),
        ("acme-odd", "acme_odd-1.1-py3-none-any.whl"),
        ("demo", "demo-1.0.tar.gz"),
        ("demo", "demo-1.0.zip"),
        ("demo", "demo-1.0.tar.bz2"),
        ("demo", "demo-1.0.tgz"),
        ("demo", "demo-1.0.tar.Z"),
        ("demo", "demo-1.0-1.tar.gz"),  # a post release of demo 1.0
        ("demo", "demo-2004d.tar.gz"),
        ("demo", "demo-latest.tar.gz"),
        ("demo", "demo-1.0-beta.tar.gz"),
        ("demo", "demo-1.0.linux-x86_64.tar.gz"),
        ("demo", "demo-1.0.macosx-10.9-x86_64.tar.gz"),
        ("my-demo", "my-demo-1.0.tar.gz"),
        ("my-demo", "my_demo-1.0.tar.gz"),
        ("my-demo", "My.Demo-1.0.tar.gz"),
        ("demo", "demo-1.0-py2.7.egg"),
        ("demo", "demo-1.0.win32-py2.7.exe"),
        ("demo", "demo-1.0.win-amd64.msi"),
        ("demo", "demo-1.0-1.noarch.rpm"),
        ("demo-whl", "demo.whl"),  # odd, and no reason to fall over
    ],
)
def test_a_projects_own_files_are_its_members(project: str, filename: str) -> None:
    assert filename in Membership(project)


@pytest.mark.parametrize(
    ("project", "filename"),
    [
        ("demo", "other-1.0-py3-none-any.whl"),
        ("demo", "demo_utils-1.0-py3-none-any.whl"),
        ("demo", "demo.utils-1.0-py3-none-any.whl"),
        ("demo", "demo-utils-1.0.tar.gz"),
        ("demo", "demo_utils-1.0.tar.gz"),
        ("demo", "demo-utils-1.0.tar.bz2"),
        ("demo", "demo-utils-1.0.tgz"),
        ("demo", "demo-utils-2-1.0.zip"),
        ("demo", "demo2-1.0.tar.gz"),
        ("demo", "xdemo-1.0.tar.gz"),
        ("demo", "demo2-1.0-py2.7.egg"),
        ("demo", "other-1.0.win32.exe"),
        ("demo-utils", "demo-1.0.tar.gz"),
        ("demo", ""),
    ],
)
def test_a_foreign_file_is_not_a_member(project: str, filename: str) -> None:
    assert filename not in Membership(project)


@modestly
@given(spellings, spellings, st.sampled_from(["1.0", "2.0.post1", "1!3", "1.0a1"]))
def test_no_modern_file_of_another_project_is_a_member(one: str, other: str, version: str) -> None:
    project, foreign = canonicalize_name(one), canonicalize_name(other)
    escaped = foreign.replace("-", "_")
    members = Membership(project)
    for filename in (f"{escaped}-{version}.tar.gz", f"{escaped}-{version}-py3-none-any.whl"):
        assert (filename in members) == (project == foreign)


@modestly
@given(st.from_regex(r"[a-z]{1,3}(-[a-z0-9]{1,2}){0,3}\.tar\.gz", fullmatch=True), st.sampled_from(["a", "a-b", "ab"]))
def test_an_sdist_that_only_packaging_reads_as_anothers_is_not_a_member(filename: str, project: str) -> None:
    try:
        name, version = parse_sdist_filename(filename)
    except InvalidSdistFilename:
        return
    if name != project and "post" not in str(version) and filename in Membership(project):
        # The one other reading, which is pip's: a post release or pre-release written with a dash.
        assert Version(filename.removeprefix(f"{project}-").removesuffix(".tar.gz"))


@pytest.mark.parametrize(
    ("filename", "version"),
    [
        ("demo-1.0-py3-none-any.whl", "1.0"),
        ("demo-1.0-2-py3-none-any.whl", "1.0"),
        ("demo-1.0+local_1-py3-none-any.whl", "1.0+local.1"),
        ("demo-01.0-py3-none-any.whl", "1.0"),
        ("demo-1.0.tar.gz", "1.0"),
        ("demo-1.0-1.tar.gz", "1.0.post1"),
        ("demo-1.0-beta.tar.gz", "1.0b0"),
        ("demo-2004d.tar.gz", "2004d"),
        ("demo-latest.zip", "latest"),
        ("demo-1.0.linux-x86_64.tar.gz", "1.0.linux-x86_64"),
        ("demo-1!2.0.tar.bz2", "1!2.0"),
        ("demo-1.0-py2.7.egg", "1.0"),
        ("demo-1.0-py2.7-win32.egg", "1.0"),
        ("demo-1.0.win32.exe", "1.0"),
        ("demo-1.0.win-amd64-py2.7.exe", "1.0"),
        ("demo-1.0.win-amd64.msi", "1.0"),
        ("demo-1.0-1.noarch.rpm", "1.0"),
    ],
)
def test_the_version_stands_in_the_name(filename: str, version: str) -> None:
    assert version_of(filename, "demo") == version


@pytest.mark.parametrize(
    ("filename", "project"),
    [("demo.whl", "demo"), ("demo-1.0.whl", "demo"), ("demo.tar.gz", "demo"), ("demo-.tar.gz", "demo"), ("x-1.0.tar.gz", "demo")],
)
def test_a_name_without_a_place_for_a_version_states_none(filename: str, project: str) -> None:
    assert version_of(filename, project) is None


def test_a_name_with_dashes_does_not_hide_the_version() -> None:
    assert version_of("My.Long_Name-1.0.tar.gz", "my-long-name") == "1.0"


@pytest.mark.parametrize(
    ("one", "other", "same"), [("1.0", "1.0.0", True), ("v1", "1", True), ("1.0", "1.1", False), ("x", "x", True)]
)
def test_versions_are_compared_as_versions(one: str, other: str, same: bool) -> None:
    assert (same_version_key(one) == same_version_key(other)) is same


@modestly
@given(st.text(max_size=40), spellings)
def test_no_file_name_makes_the_questions_fail(filename: str, name: str) -> None:
    project = canonicalize_name(name)
    assert (filename in Membership(project)) in (True, False)
    version_of(filename, project)
    is_distribution(filename)


def test_a_name_of_megabytes_is_not_remembered() -> None:
    """A page states its own name: an index that states another megabyte each time must not fill the memory."""
    before = names._normalise.cache_info().currsize
    assert names.normalise_name("a" * 1_000_000) is None
    assert names._normalise.cache_info().currsize == before


@pytest.mark.parametrize("filename", ["*" * 250 + ".whl", "a" * 199 + "..b.whl", "a" * 198 + "..b.whl", "é" * 300])
def test_no_more_of_a_name_is_made_safe_than_is_shown(filename: str) -> None:
    assert names.make_safe_filename(filename) == names.make_safe_filename(filename + "*" * 1_000)
    assert names.make_safe_filename(filename + "*" * 20_000_000) == names.make_safe_filename(filename + "*" * 1_000)
