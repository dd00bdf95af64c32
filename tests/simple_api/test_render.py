"""Pages as clients get them: what goes in comes out again, and nothing else does."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simple_api.pages import DIGESTS, SHA, pages, parsed_html, parsed_json
from wheelgate.core.model import File, LocalFile, ProjectPage, ProjectStatus, RemoteFile, StoredFile, Withheld
from wheelgate.core.names import same_version_key, version_of
from wheelgate.simple_api import HTML, JSON, LEGACY_HTML
from wheelgate.simple_api.collector import ParsedPage
from wheelgate.simple_api.render import file_url, render_names, render_page

modestly = settings(deadline=None, max_examples=100)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def file(filename: str = "demo-1.0-py3-none-any.whl", **known: Any) -> File:
    location = known.pop("location", RemoteFile("https://files.example.com/secret?sig=1", "upstream"))
    return File(filename=filename, project="demo", source="upstream", location=location, **known)


def page(*files: File, **known: Any) -> ProjectPage:
    return ProjectPage(project="demo", files=files, as_of=NOW, **known)


def rendered(shown: ProjectPage, content_type: str = JSON, prefix: str = "") -> bytes:
    return b"".join(render_page(shown, content_type, prefix))


def as_json(shown: ProjectPage, prefix: str = "") -> Any:
    return json.loads(rendered(shown, JSON, prefix))


def entry(**known: Any) -> dict[str, Any]:
    return as_json(page(file(**known)))["files"][0]  # type: ignore[no-any-return]


class Reader(HTMLParser):
    """What a browser or an old pip sees: Python's own parser, not the one we read with."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[dict[str, str | None]] = []
        self.metas: dict[str | None, str | None] = {}
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "a":
            self.links.append(dict(attrs))
        if tag == "meta":
            self.metas[dict(attrs).get("name")] = dict(attrs).get("content")

    def handle_data(self, data: str) -> None:
        self.text += data


def as_html(shown: ProjectPage, prefix: str = "") -> Reader:
    reader = Reader()
    reader.feed(rendered(shown, LEGACY_HTML, prefix).decode())
    reader.close()
    return reader


def relocated(parsed: ParsedPage) -> tuple[File, ...]:
    """The files, but for where they are: a client of ours sees our URLs, not the upstream's."""
    for one in parsed.files:
        assert isinstance(one.location, RemoteFile)
        assert one.location.url == "https://index.example.com" + file_url("", "demo", one.filename)
    return tuple(msgspec.structs.replace(one, location=LocalFile("", "", "")) for one in parsed.files)


@modestly
@given(pages())
def test_a_json_page_parses_to_what_was_rendered(shown: ProjectPage) -> None:
    parsed = parsed_json(rendered(shown))
    expected = tuple(
        msgspec.structs.replace(
            one, location=LocalFile("", "", ""), hashes={name: one.hashes[name] for name in DIGESTS if name in one.hashes}
        )
        for one in shown.files
    )
    assert relocated(parsed) == expected
    assert parsed.versions == shown.versions
    assert parsed.status == shown.status
    assert parsed.dropped == 0


@modestly
@given(pages(), st.sampled_from([HTML, LEGACY_HTML]))
def test_an_html_page_parses_to_what_html_can_carry(shown: ProjectPage, content_type: str) -> None:
    parsed = parsed_html(rendered(shown, content_type))
    first_digest = {
        one.filename: next(({name: one.hashes[name]} for name in ("sha256", "sha512", "sha384", "md5") if name in one.hashes), {})
        for one in shown.files
    }
    expected = tuple(
        msgspec.structs.replace(
            one,
            location=LocalFile("", "", ""),
            hashes=first_digest[one.filename],
            size=None,
            upload_time=None,
        )
        for one in shown.files
    )
    assert relocated(parsed) == expected
    assert parsed.status == shown.status
    assert parsed.dropped == 0


@modestly
@given(pages())
def test_no_text_of_an_upstream_becomes_markup(shown: ProjectPage) -> None:
    reader = as_html(shown)
    skeleton = as_html(
        page(*(file(one.filename) for one in shown.files), status=shown.status and ProjectStatus(shown.status.status))
    )
    extra = 1 if shown.status is not None and shown.status.reason else 0
    assert sorted(reader.tags) == sorted([*skeleton.tags, *["meta"] * extra])
    for one, link in zip(shown.files, reader.links, strict=True):
        assert link.get("data-yanked") == one.yanked
        assert link.get("data-requires-python") == one.requires_python


@modestly
@given(pages())
def test_nothing_is_ever_null_and_only_known_keys_appear(shown: ProjectPage) -> None:
    def assert_no_null(value: object) -> None:
        assert value is not None
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            assert_no_null(inner)

    body = as_json(shown)
    assert_no_null(body)
    assert body.keys() <= {"meta", "name", "versions", "files", "project-status"}
    has_sizes = all(one.size is not None for one in shown.files)
    assert body["meta"] == {"api-version": "1.4" if has_sizes else "1.0"}, "PEP 700"
    for one in body["files"]:
        assert one.keys() <= {
            *("filename", "url", "hashes", "requires-python", "size", "upload-time"),
            *("yanked", "core-metadata", "provenance"),
        }
        assert one["yanked"] is not False if "yanked" in one else True


@modestly
@given(pages())
def test_the_versions_cover_every_file(shown: ProjectPage) -> None:
    listed = {same_version_key(version) for version in as_json(shown)["versions"]}
    for one in shown.files:
        assert same_version_key(version_of(one.filename, "demo") or "") in listed


def test_a_bare_file_shows_its_name_link_and_digests_only() -> None:
    assert entry() == {
        "filename": "demo-1.0-py3-none-any.whl",
        "url": "/files/demo/demo-1.0-py3-none-any.whl",
        "hashes": {},
    }


def test_every_fact_has_its_key() -> None:
    shown = entry(
        hashes={"sha256": SHA},
        size=0,
        upload_time=datetime(2025, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
        requires_python=">=3.9",
        yanked="why",
        core_metadata={"sha256": SHA},
        provenance="https://index.example.com/p",
    )
    assert shown == {
        "filename": "demo-1.0-py3-none-any.whl",
        "url": "/files/demo/demo-1.0-py3-none-any.whl",
        "hashes": {"sha256": SHA},
        "size": 0,
        "upload-time": "2025-01-02T03:04:05.000678Z",
        "requires-python": ">=3.9",
        "yanked": "why",
        "core-metadata": {"sha256": SHA},
        "provenance": "https://index.example.com/p",
    }


@pytest.mark.parametrize(
    ("core_metadata", "in_json", "in_html"),
    [(None, None, None), ({}, True, "true"), ({"sha256": SHA}, {"sha256": SHA}, f"sha256={SHA}")],
)
def test_core_metadata_has_both_its_names_in_html_and_one_in_json(core_metadata: Any, in_json: object, in_html: object) -> None:
    shown = page(file(core_metadata=core_metadata))
    (one,) = as_json(shown)["files"]
    assert one.get("core-metadata") == in_json
    assert "dist-info-metadata" not in one, "pip 22.3 to 23.1.2 crash on it"
    (link,) = as_html(shown).links
    assert link.get("data-core-metadata") == link.get("data-dist-info-metadata") == in_html


@pytest.mark.parametrize(
    ("yanked", "in_json", "in_html"),
    [
        (None, None, None),
        ("", True, ""),
        ("</a><script>alert('x')</script>", "</a><script>alert('x')</script>", "</a><script>alert('x')</script>"),
        ("\" onmouseover='x' data-yanked=\"", "\" onmouseover='x' data-yanked=\"", "\" onmouseover='x' data-yanked=\""),
        ("&lt;&amp;&#39;", "&lt;&amp;&#39;", "&lt;&amp;&#39;"),
    ],
)
def test_a_yank_is_marked_with_its_reason_and_nothing_is_run(yanked: Any, in_json: object, in_html: object) -> None:
    shown = page(file(yanked=yanked))
    assert as_json(shown)["files"][0].get("yanked") == in_json
    reader = as_html(shown)
    assert reader.links[0].get("data-yanked") == in_html
    assert reader.links[0].keys() <= {"href", "data-yanked"}
    assert "script" not in reader.tags
    assert b"<script" not in rendered(shown, HTML)


@pytest.mark.parametrize(
    ("hashes", "fragment"),
    [
        ({}, ""),
        ({"sha256": SHA, "md5": "b" * 32}, f"#sha256={SHA}"),
        ({"md5": "b" * 32, "sha512": "c" * 128}, f"#sha512={'c' * 128}"),
        ({"md5": "b" * 32}, f"#md5={'b' * 32}"),
        ({"sha1": "b" * 40, "blake2b": "c" * 128}, ""),
    ],
)
def test_html_carries_the_one_best_digest(hashes: dict[str, str], fragment: str) -> None:
    (link,) = as_html(page(file(hashes=hashes))).links
    assert link["href"] == f"/files/demo/demo-1.0-py3-none-any.whl{fragment}"


@pytest.mark.parametrize(
    ("filename", "last"),
    [
        ("demo-1.0.tar.gz", "demo-1.0.tar.gz"),
        ("demo-1!1.0+local.tar.gz", "demo-1!1.0+local.tar.gz"),
        ("demo 1.0 (1).exe", "demo%201.0%20%281%29.exe"),
        ("demo-1.0~rc1,x=y@z.zip", "demo-1.0~rc1%2Cx%3Dy%40z.zip"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "/python", "/a/b"])
def test_a_file_url_is_path_absolute_and_quoted_once(filename: str, last: str, prefix: str) -> None:
    assert file_url(prefix, "demo", filename) == f"{prefix}/files/demo/{last}"
    assert as_json(page(file(filename)), prefix)["files"][0]["url"] == f"{prefix}/files/demo/{last}"
    assert as_html(page(file(filename)), prefix).links[0]["href"] == f"{prefix}/files/demo/{last}"


@pytest.mark.parametrize(
    "location",
    [
        RemoteFile("https://files.example.com/x?sig=secret", "upstream", "application/octet-stream"),
        StoredFile("store", "packages/secret", "etag-secret"),
        LocalFile("/home/secret/x.whl", "etag-secret", "/home/secret"),
    ],
)
@pytest.mark.parametrize("content_type", [JSON, HTML, LEGACY_HTML])
def test_a_page_never_says_where_bytes_really_are(location: object, content_type: str) -> None:
    body = rendered(page(file(location=location)), content_type)
    assert b"secret" not in body
    assert b"upstream" not in body


@pytest.mark.parametrize("content_type", [JSON, HTML, LEGACY_HTML])
def test_what_is_withheld_does_not_show(content_type: str) -> None:
    hidden = Withheld("demo-9.9.zip", "upstream", "deny", "never-shown")
    assert b"9.9" not in rendered(page(file(), withheld=(hidden,)), content_type)


def test_a_status_stands_at_the_top_with_a_reason_only_if_there_is_one() -> None:
    assert "project-status" not in as_json(page())
    assert as_json(page(status=ProjectStatus("archived")))["project-status"] == {"status": "archived"}
    assert as_json(page(status=ProjectStatus("archived", "")))["project-status"] == {"status": "archived"}
    assert as_json(page(status=ProjectStatus("archived", 'a "reason"')))["project-status"] == {
        "status": "archived",
        "reason": 'a "reason"',
    }
    metas = as_html(page(status=ProjectStatus("archived", '"><script>'))).metas
    assert metas["pypi:project-status"] == "archived"
    assert metas["pypi:project-status-reason"] == '"><script>'
    assert "pypi:project-status-reason" not in as_html(page(status=ProjectStatus("archived"))).metas


def test_an_empty_page_is_complete_in_every_content_type() -> None:
    assert as_json(page()) == {"meta": {"api-version": "1.4"}, "name": "demo", "versions": [], "files": []}
    assert parsed_json(rendered(page())).files == ()
    for content_type in (HTML, LEGACY_HTML):
        assert parsed_html(rendered(page(), content_type)).files == ()
        assert rendered(page(), content_type).startswith(b"<!DOCTYPE html>\n")


@pytest.mark.parametrize("unknown", [None, 0, 255, 256, 600])
def test_a_page_in_json_says_1_1_or_later_only_if_every_file_has_a_size(unknown: int | None) -> None:
    """PEP 700: what reads a page by its version (simple-repository) refuses all of one that breaks this."""
    shown = page(*(file(f"demo-{number}.zip", size=None if number == unknown else 0) for number in range(601)), versions=("0",))
    body = as_json(shown)
    assert body["meta"] == {"api-version": "1.4" if unknown is None else "1.0"}
    assert body["versions"] == ["0"]
    assert as_html(shown).metas["pypi:repository-version"] == "1.4", "HTML has no sizes in any version"


def test_html_says_its_version_and_charset() -> None:
    reader = as_html(page())
    assert reader.metas["pypi:repository-version"] == "1.4"
    assert b'<meta charset="utf-8">' in rendered(page(), HTML)


def test_an_upload_time_from_elsewhere_is_still_a_moment() -> None:
    moment = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert entry(upload_time=moment)["upload-time"] == "2025-01-02T03:04:05Z"
    elsewhere = moment.astimezone(timezone(timedelta(hours=2)))
    assert datetime.fromisoformat(entry(upload_time=elsewhere)["upload-time"]) == moment


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 512, 1_001])
def test_pages_of_any_length_are_joined_without_a_seam(count: int) -> None:
    shown = page(*(file(f"demo-{number}.zip") for number in range(count)))
    expected = [f"demo-{number}.zip" for number in range(count)]
    assert [one["filename"] for one in as_json(shown)["files"]] == expected
    assert re.findall(r">(demo-\d+\.zip)</a>", rendered(shown, HTML).decode()) == expected


def test_a_long_page_is_rendered_in_short_parts() -> None:
    shown = page(*(file(f"demo-{number}.zip") for number in range(1_000)))
    for content_type in (JSON, HTML):
        parts = list(render_page(shown, content_type, ""))
        assert max(map(len, parts)) < sum(map(len, parts)) / 3


def test_the_same_page_renders_to_the_same_bytes() -> None:
    shown = page(file(hashes={"sha256": SHA}), file("demo-2.0.zip"))
    for content_type in (JSON, HTML):
        assert rendered(shown, content_type) == rendered(shown, content_type)


def test_the_project_list_is_sorted_and_links_below_the_prefix() -> None:
    names = [[b"alpha"], [], [b"my-demo", b"zeta"]]
    assert json.loads(b"".join(render_names(names, JSON, "/python"))) == {
        "meta": {"api-version": "1.4"},
        "projects": [{"name": "alpha"}, {"name": "my-demo"}, {"name": "zeta"}],
    }
    for content_type in (HTML, LEGACY_HTML):
        reader = Reader()
        reader.feed(b"".join(render_names(names, content_type, "/python")).decode())
        assert [link["href"] for link in reader.links] == [
            "/python/simple/alpha/",
            "/python/simple/my-demo/",
            "/python/simple/zeta/",
        ]
        assert reader.metas["pypi:repository-version"] == "1.4"


def test_an_empty_project_list_is_complete() -> None:
    assert json.loads(b"".join(render_names([], JSON, "")))["projects"] == []
    assert b"<a " not in b"".join(render_names([], HTML, ""))
