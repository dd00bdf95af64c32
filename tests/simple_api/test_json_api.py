"""The JSON API's answers as values and bytes: which version a project is shown with, and the keys that tools read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from tests.support.sources import listed
from wheelgate.core.model import File, ProjectPage
from wheelgate.simple_api.json_api import choose_release, group_releases, render_releases

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
INFO = {
    *("author", "author_email", "bugtrack_url", "classifiers", "description", "description_content_type", "docs_url"),
    *("download_url", "downloads", "dynamic", "home_page", "keywords", "license", "license_expression", "license_files"),
    *("maintainer", "maintainer_email", "name", "package_url", "platform", "project_url", "project_urls", "provides_extra"),
    *("release_url", "requires_dist", "requires_python", "summary", "version", "yanked", "yanked_reason"),
}
"""What PyPI's answer has, and all of these tools look for without asking if it is there."""
ENTRY = {
    *("comment_text", "core-metadata", "digests", "downloads", "filename", "has_sig", "md5_digest", "packagetype"),
    *("python_version", "requires_python", "size", "upload_time", "upload_time_iso_8601", "url", "yanked", "yanked_reason"),
}


def page(files: Sequence[File]) -> ProjectPage:
    return ProjectPage(project="demo", files=files, as_of=NOW)


def render(files: Sequence[File], described: dict[str, object] | None = None, *, whole: bool = True) -> dict[str, Any]:
    releases = group_releases(page(files))
    parts = render_releases(page(files), choose_release(releases), described, releases if whole else None, "/below")
    told: dict[str, Any] = json.loads(b"".join(parts))
    return told


@pytest.mark.parametrize(
    ("versions", "yanked", "chosen"),
    [
        (["1.0", "2.0", "10.0"], [], "10.0"),
        (["1.0", "2.0rc1"], [], "1.0"),
        (["1.0a1", "1.0b1", "1.0.dev3"], [], "1.0b1"),
        (["1.0", "2.0"], ["2.0"], "1.0"),
        (["1.0", "2.0rc1"], ["1.0"], "2.0rc1"),
        (["1.0", "2.0", "2.1a1"], ["1.0", "2.0", "2.1a1"], "2.0"),
        (["2004d", "0.1"], [], "0.1"),
        (["2004d", "0.1"], ["0.1"], "2004d"),
        (["1.0", "1!0.5", "1.0.post1"], [], "1!0.5"),
        (["1.0", "1.0+cpu"], [], "1.0+cpu"),
    ],
)
def test_a_project_is_shown_with_its_newest_final_release_that_is_not_yanked(
    versions: list[str], yanked: list[str], chosen: str
) -> None:
    files = [
        msgspec.structs.replace(
            listed("demo", version, filename=f"demo-{version}.tar.gz"), yanked="bad" if version in yanked else None
        )
        for version in versions
    ]
    assert render(files)["info"]["version"] == chosen


a_version = st.builds("{}{}".format, st.integers(0, 30), st.sampled_from([".0", ".1", "a1", "rc2", ".dev1", ".post1"]))


@given(st.lists(st.tuples(a_version, st.booleans()), min_size=1, max_size=12))
def test_no_better_release_is_passed_over(given_files: list[tuple[str, bool]]) -> None:
    files = {f"demo-{version}.tar.gz": (version, yanked) for version, yanked in given_files}
    made = [
        msgspec.structs.replace(listed("demo", "", filename=name), yanked="" if yanked else None)
        for name, (_, yanked) in files.items()
    ]
    told = render(made)
    best = max((not yanked, not Version(version).is_prerelease, Version(version)) for version, yanked in files.values())
    chosen = Version(told["info"]["version"])
    assert (not told["info"]["yanked"], not chosen.is_prerelease, chosen) == best
    order = [Version(version) for version in told["releases"]]
    assert order == sorted(order, reverse=True)


def test_the_keys_are_pypis_and_what_is_not_known_is_null() -> None:
    bare = listed("demo", "1.0", hashes={}, upload_time=None)
    told = render([bare])
    assert told.keys() == {"info", "last_serial", "ownership", "releases", "urls", "vulnerabilities"}
    assert told["last_serial"] > 0, "bandersnatch wants one"
    assert told["info"].keys() == INFO
    assert told["urls"] == told["releases"]["1.0"]
    entry = told["urls"][0]
    assert entry.keys() == ENTRY
    assert {key for key, value in entry.items() if value is None} == {
        *("comment_text", "md5_digest", "requires_python", "size", "upload_time", "upload_time_iso_8601", "yanked_reason"),
    }
    assert {key for key, value in told["info"].items() if value is not None} == {"downloads", "name", "version", "yanked"}
    assert render([bare], whole=False).keys() == told.keys() - {"releases"}


def test_what_is_known_of_a_file_is_told() -> None:
    moment = datetime(2026, 5, 1, 10, 20, 30, 400, tzinfo=UTC)
    file = listed(
        "demo", "1.0", upload_time=moment, hashes={"md5": "0" * 32, "sha256": "1" * 64}, core_metadata={"sha256": "2" * 64}
    )
    entry = render([msgspec.structs.replace(file, size=7, requires_python=">=3.9", yanked="a & b")])["urls"][0]
    assert (entry["md5_digest"], entry["digests"]) == ("0" * 32, {"md5": "0" * 32, "sha256": "1" * 64})
    assert (entry["upload_time"], entry["upload_time_iso_8601"]) == ("2026-05-01T10:20:30", "2026-05-01T10:20:30.000400Z")
    assert (entry["size"], entry["requires_python"], entry["core-metadata"]) == (7, ">=3.9", {"sha256": "2" * 64})
    assert (entry["yanked"], entry["yanked_reason"]) == (True, "a & b")
    assert entry["url"] == "/below/files/demo/demo-1.0-py3-none-any.whl"
    assert (entry["packagetype"], entry["python_version"]) == ("bdist_wheel", "py3")


@pytest.mark.parametrize(
    ("filename", "kind", "python"),
    [
        ("demo-1.0-cp311-cp311-win_amd64.whl", "bdist_wheel", "cp311"),
        ("demo-1.0-1-py2.py3-none-any.whl", "bdist_wheel", "py2.py3"),
        ("demo-1.0-py3-none-any-cu128.whl", "bdist_wheel", "py3"),
        ("demo-1.0-1-py3-none-any-cu128.whl", "bdist_wheel", "py3"),
        ("demo-1.0.tar.gz", "sdist", "source"),
        ("demo-1.0.zip", "sdist", "source"),
        ("demo-1.0-py3.9.egg", "bdist_egg", "3.9"),
        ("demo-1.0.win32-py2.7.exe", "bdist_wininst", "2.7"),
        ("demo-1.0.win32-py2.7.msi", "bdist_msi", "2.7"),
    ],
)
def test_the_kind_of_a_file_is_that_of_its_name(filename: str, kind: str, python: str) -> None:
    told = render([listed("demo", "1.0", filename=filename)])
    assert [(entry["packagetype"], entry["python_version"]) for entry in told["releases"]["1.0"]] == [(kind, python)]


def test_a_project_without_files_is_told_as_one() -> None:
    told = render([])
    assert (told["info"]["name"], told["info"]["version"], told["releases"], told["urls"]) == ("demo", None, {}, [])


def test_what_is_no_distribution_is_not_among_the_files() -> None:
    told = render([listed("demo", "1.0"), listed("demo", "1.0", filename="demo-1.0-variants.json")])
    assert [entry["filename"] for entry in told["urls"]] == ["demo-1.0-py3-none-any.whl"]


def test_what_the_release_says_stands_in_info_but_for_what_the_page_says() -> None:
    described: dict[str, object] = {"summary": "it", "requires_python": ">=2", "requires_dist": ["idna"]}
    file = listed("demo", "1.0")
    told = render([file], described)["info"]
    assert (told["summary"], told["requires_python"], told["requires_dist"]) == ("it", ">=2", ["idna"])
    assert render([msgspec.structs.replace(file, requires_python=">=3.9")], described)["info"]["requires_python"] == ">=3.9"


@pytest.mark.parametrize("count", [0, 1, 499, 500, 501, 1_700])
def test_no_release_is_rendered_all_at_once(count: int) -> None:
    files = [listed("demo", "1.0", filename=f"demo-1.0-{number}-py3-none-any.whl") for number in range(count)]
    told = render(files)
    assert [len(told["urls"])] + [len(entries) for entries in told["releases"].values()] == [count] * (2 if count else 1)
    releases = group_releases(page(files))
    parts = list(render_releases(page(files), choose_release(releases), None, releases, ""))
    assert max(map(len, parts)) < 400_000
