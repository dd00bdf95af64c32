"""Project pages: any bytes as JSON and as HTML; and one list of entries written as either, which both readers judge alike."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html import escape
from urllib.parse import unquote

import msgspec

from tests.fuzzing.target import Target, assert_sentence
from tests.simple_api.pages import assert_sound, links, parsed_html, parsed_json
from tests.support.steps import straight
from wheelgate.core.model import File, ProjectPage
from wheelgate.core.names import is_distribution
from wheelgate.simple_api import HTML, JSON
from wheelgate.simple_api.collector import NotAnIndexPage, ParsedPage
from wheelgate.simple_api.parse_html import parse_html
from wheelgate.simple_api.render import render_page

_SHA = b"a" * 64
# What an HTML reader changes or refuses wherever it stands, and JSON does not: it is not about the rules.
_NOT_HTML = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufdd0-\ufdef\ud800-\udfff\r]|[\ufffe\uffff]")


def check(data: bytes) -> None:
    _check_bytes(data)
    _check_entries(data)


def _check_bytes(data: bytes) -> None:
    for charset in (None, "utf-8", "utf-16", "iso-8859-1"):
        try:
            page = straight(parse_html(data, charset, "demo", "upstream", links())) if charset else parsed_json(data)
        except NotAnIndexPage as error:
            assert_sentence(str(error))
            continue
        assert_sound(page)
        _check_rendered(page)


def _check_rendered(page: ParsedPage) -> None:
    """What was read and is written again by us reads the same: nothing in it ends an attribute, a string or a line."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    ours = ProjectPage(project="demo", files=page.files, versions=page.versions, status=page.status, as_of=moment)
    again = parsed_json(b"".join(render_page(ours, JSON, "")))
    assert [_facts(file) for file in again.files] == [_facts(file) for file in page.files]
    assert (again.versions, again.dropped) == (page.versions, 0)
    assert (again.status and again.status.status) == (page.status and page.status.status)
    html = parsed_html(b"".join(render_page(ours, HTML, "")))
    linked = [file for file in page.files if is_distribution(file.filename)]  # what else a web page links is no file
    assert [file.filename for file in html.files] == [file.filename for file in linked]
    assert [_shown(file.yanked) for file in html.files] == [_shown(file.yanked) for file in linked]
    assert [file.requires_python for file in html.files] == [file.requires_python for file in linked]


def _shown(text: str | None) -> str | None:
    return text if text is None else _NOT_HTML.sub("", text)


def _facts(file: File) -> tuple[object, ...]:
    return (
        file.filename,
        file.hashes,
        file.size,
        file.upload_time,
        file.requires_python,
        file.yanked,
        file.core_metadata,
        file.provenance,
    )


def _check_entries(data: bytes) -> None:
    """Lines of ``url TAB digest TAB requires-python TAB yanked TAB core-metadata TAB provenance``, a digest as ``name=hex``."""
    entries, anchors = [], []
    for line in _NOT_HTML.sub("", data.decode("utf-8", "ignore")).split("\n")[:50]:
        url, digest, requires, yanked, metadata, provenance = (line.split("\t") + [""] * 6)[:6]
        url = url.partition("#")[0].strip()
        filename = unquote(url.partition("?")[0].rpartition("/")[2])
        algorithm, _, value = re.sub(r"[&#\s]", "", digest).partition("=")
        if not url or len(url) > 4_000 or not is_distribution(filename):
            continue
        known = algorithm.lower() in ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")
        entry: dict[str, object] = {"filename": filename, "url": url, "hashes": {algorithm.lower(): value} if known else {}}
        attributes = f'href="{escape(url)}' + (f"#{escape(algorithm)}={escape(value)}" if known else "") + '"'
        if requires:
            entry["requires-python"] = requires
            attributes += f' data-requires-python="{escape(requires)}"'
        if yanked:
            entry["yanked"] = yanked
            attributes += f' data-yanked="{escape(yanked)}"'
        if metadata:
            name, equals, sha = metadata.partition("=")
            entry["core-metadata"] = {name: sha} if equals else metadata != "false"
            attributes += f' data-core-metadata="{escape(metadata)}"'
        if provenance:
            entry["provenance"] = provenance
            attributes += f' data-provenance="{escape(provenance)}"'
        entries.append(entry)
        anchors.append(f"<a {attributes}>x</a>\n")
    page = {"meta": {"api-version": "1.1"}, "name": "demo", "versions": [], "files": entries}
    json = parsed_json(msgspec.json.encode(page))
    heading = '<!DOCTYPE html><html><head><meta charset="utf-8"><title>Links for demo</title></head><body>'
    html = parsed_html(f"{heading}{''.join(anchors)}</body></html>")
    assert json.files == html.files
    assert (json.versions, json.dropped) == (html.versions, html.dropped)


_WHEEL = b"demo-1.0-py3-none-any.whl"
TARGET = Target(
    check=check,
    modules=("wheelgate.simple_api.parse", "wheelgate.simple_api.parse_html", "wheelgate.simple_api.collector"),
    seeds=(
        b'{"meta":{"api-version":"1.1"},"name":"demo","project-status":{"status":"archived","reason":"old"},"versions":["1.0"],'
        b'"files":[{"filename":"' + _WHEEL + b'","url":"/f/' + _WHEEL + b'","hashes":{"sha256":"' + _SHA + b'"},"yanked":"why",'
        b'"size":1,"upload-time":"2026-01-01T00:00:00Z","requires-python":">=3","core-metadata":{"sha256":"' + _SHA + b'"},'
        b'"provenance":"https://a/b"}]}',
        b'<!DOCTYPE html><html><head><meta name="pypi:repository-version" content="1.0"><title>Links for demo</title></head>'
        b'<a href="/f/' + _WHEEL + b"#sha256=" + _SHA + b'" data-yanked="why" data-requires-python="&gt;=3" '
        b'data-core-metadata="sha256=' + _SHA + b'" data-provenance="https://a/b">' + _WHEEL + b"</a></body></html>",
        b"/f/" + _WHEEL + b"\tsha256=" + _SHA + b"\t>=3\twhy\tsha256=" + _SHA + b"\thttps://a/b\n/f/demo-2.tar.gz\tmd5=0",
        b'{"files":[{"filename":"demo-1.0<b>.zip","url":"/f","hashes":{}},{"filename":"demo-1.0/x.zip","url":"/f","hashes":{}},'
        b'{"filename":"demo-2.0.zip","url":"/f/x","hashes":{},"yanked":"\\"><a href=x>&amp;"}]}',
        b"/f/demo-1.0.zip\t\t\t\"><a href='/f/demo-2.0.zip'>&lt;\n/f/demo-3.0%3Cb%3E.zip",
        b"https://index.example.com/a/demo-1.0.zip\nhttps://evil.example/demo-3.0.zip\n//evil.example/demo-4.zip\n../demo-1.0.zip",
    ),
    words=(
        b'"filename"', b'"url"', b'"hashes"', b'"files":[', b'"yanked":', b'"size":', b"null", b"true", b"1e999", b"-1", b"[",
        b"{", b"}", b'"api-version":"2.0"', b'"versions":', b'"core-metadata":', b"\\ud800", b"\\u0000", b"\xef\xbb\xbf",
        b"sha256=" + _SHA, b"#sha256=", b"<a href=", b"<base href=", b'data-yanked=""', b"<meta name=", b"</a>", b"<!--",
        b"&#x2028;", b"&#0;", b"%2f", b"%00", b"..", b"\\", b"https://", b"//", b"@", b"https:", _WHEEL, b"demo-1.0.tar.gz",
        b"\t", b"true", b"false", b"https://a/b", b"<h1>", b"]]>",
    ),
    examples=120,
)  # fmt: skip
