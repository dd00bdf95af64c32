"""Request paths: what they mean, and that hostile ones mean nothing."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wheelgate.core.names import is_safe_filename, normalise_name
from wheelgate.simple_api.render import file_url
from wheelgate.web.paths import ParsedPath, Route, find_parameter, parse_path

NOTHING = ParsedPath(Route.NOTHING)
WHEEL = "demo-1.0-py3-none-any.whl"


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/", ParsedPath(Route.HOME)),
        ("", ParsedPath(Route.HOME)),
        ("/simple/", ParsedPath(Route.LIST)),
        ("/simple", ParsedPath(Route.LIST, canonical="/simple/")),
        ("/simple/demo/", ParsedPath(Route.PROJECT, "demo")),
        ("/simple/demo", ParsedPath(Route.PROJECT, "demo", canonical="/simple/demo/")),
        ("/simple/Demo/", ParsedPath(Route.PROJECT, "demo", canonical="/simple/demo/")),
        ("/simple/My._Demo", ParsedPath(Route.PROJECT, "my-demo", canonical="/simple/my-demo/")),
        ("/simple/%64emo/", ParsedPath(Route.PROJECT, "demo")),
        (f"/files/demo/{WHEEL}", ParsedPath(Route.FILE, "demo", WHEEL)),
        (f"/files/Demo/{WHEEL}", ParsedPath(Route.FILE, "demo", WHEEL)),
        (f"/files/demo/{WHEEL}.metadata", ParsedPath(Route.METADATA, "demo", WHEEL)),
        (f"/files/demo/{WHEEL}.provenance", ParsedPath(Route.PROVENANCE, "demo", WHEEL)),
        ("/files/demo/demo-1%211.0%2Blocal.tar.gz", ParsedPath(Route.FILE, "demo", "demo-1!1.0+local.tar.gz")),
        ("/files/demo/demo-1!1.0+local.tar.gz", ParsedPath(Route.FILE, "demo", "demo-1!1.0+local.tar.gz")),
        ("/files/demo/demo%201.0%20%281%29.exe", ParsedPath(Route.FILE, "demo", "demo 1.0 (1).exe")),
        ("/legacy/", ParsedPath(Route.UPLOAD)),
        ("/legacy", ParsedPath(Route.UPLOAD)),
        ("/legacy/+simple/Demo/", ParsedPath(Route.PROJECT, "demo")),
        ("/legacy/%2Bsimple/demo", ParsedPath(Route.PROJECT, "demo")),
        ("/livez", ParsedPath(Route.LIVEZ)),
        ("/readyz", ParsedPath(Route.READYZ)),
        ("/metrics", ParsedPath(Route.METRICS)),
        ("/explain/My_Demo", ParsedPath(Route.EXPLAIN, "my-demo")),
        ("/pypi/demo/json", ParsedPath(Route.JSON_API, "demo")),
        ("/pypi/demo/json/", ParsedPath(Route.JSON_API, "demo")),
        ("/pypi/json/json", ParsedPath(Route.JSON_API, "json")),
        ("/pypi/demo/1%211.0%2Bcpu/json", ParsedPath(Route.JSON_API, "demo", version="1!1.0+cpu")),
        ("/pypi/demo/1!1.0+cpu/json", ParsedPath(Route.JSON_API, "demo", version="1!1.0+cpu")),
        ("/pypi/My_Demo/json", ParsedPath(Route.JSON_API, "my-demo", canonical="/pypi/my-demo/json")),
        (
            "/pypi/Demo/1!1.0+cpu/json/",
            ParsedPath(Route.JSON_API, "demo", version="1!1.0+cpu", canonical="/pypi/demo/1%211.0%2Bcpu/json"),
        ),
    ],
)
def test_a_path_is_understood(path: str, target: ParsedPath) -> None:
    assert parse_path(path, "") == target


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("//simple//demo//", ParsedPath(Route.PROJECT, "demo")),
        ("/simple//demo/", ParsedPath(Route.PROJECT, "demo")),
        ("//", ParsedPath(Route.HOME)),
        (f"//files//demo//{WHEEL}", ParsedPath(Route.FILE, "demo", WHEEL)),
        ("//simple//demo", ParsedPath(Route.PROJECT, "demo", canonical="/simple/demo/")),
        ("//evil.invalid/simple/demo", NOTHING),
    ],
)
def test_doubled_slashes_are_borne_and_never_copied(path: str, target: ParsedPath) -> None:
    assert parse_path(path, "") == target


@pytest.mark.parametrize(
    "path",
    [
        "/simple/../files/demo/x",
        "/simple/..",
        "/simple/.",
        "/simple/./demo/",
        "/simple/..%2f/",
        "/simple/..%2Fdemo/",
        "/simple/demo%2f..%2fother/",
        "/simple/%2e%2e/",
        "/simple/%2e%2e%2fetc/",
        "/simple/.%2e/",
        "/simple/%252e%252e/",
        "/simple/%252e/",
        "/simple/demo%00/",
        "/simple/demo%0d%0aX-Evil:%201/",
        "/simple/demo%0a/",
        "/simple/%ff/",
        "/simple/%c3%a9/",
        "/simple/démo/",
        "/simple/demo\\..\\x/",
        "/simple/demo%5c/",
        "/simple/demo;x/",
        "/simple/demo;/",
        "/simple/demo%3bx/",
        "/simple/demo%20/",
        "/simple/%20demo/",
        "/simple/-demo/",
        "/simple/demo-/",
        "/simple/demo/extra/",
        "/simple/demo?x/",
        "/simple/demo%3fx/",
        "/simple/<script>/",
        "/simple/%/",
        "/simple/%zz/",
        "/simple/%d/",
        "/simple/" + "a" * 201 + "/",
        "/simple/" + "a" * 9_000 + "/",
        "/simple/" + "%61" * 3_000 + "/",
        "/" * 9_000,
        "/files/demo/",
        "/files/demo",
        "/files/",
        "/files/demo/..%2f..%2fetc%2fpasswd",
        "/files/demo/%2e%2e",
        "/files/demo/%2e%2e%2f" + WHEEL,
        "/files/demo/..",
        "/files/../demo/" + WHEEL,
        f"/files/demo/..;/{WHEEL}",
        f"/files/demo/{WHEEL};x",
        f"/files/demo/{WHEEL}%00",
        f"/files/demo/{WHEEL}%00.metadata",
        f"/files/demo/{WHEEL}%0d%0aSet-Cookie:x",
        f"/files/demo/{WHEEL}%ff",
        f"/files/demo/{WHEEL}\\",
        f"/files/demo/x%5c{WHEEL}",
        f"/files/demo/x%2f{WHEEL}",
        f"/files/demo/%252e%252e%252f{WHEEL}",
        "/files/demo/%2564emo-1.0.zip",  # would be another name if decoded twice
        "/files/demo/.metadata",
        "/files/demo/.hidden",
        f"/files/demo/{WHEEL}.metadata.metadata",
        f"/files/demo/{WHEEL}.METADATA",
        f"/files/demo/{WHEEL}.PROVENANCE",
        f"/files/demo/{WHEEL}.metadata.provenance",
        f"/files/demo/{WHEEL}.provenance.metadata",
        f"/files/demo/sub/{WHEEL}",
        f"/files/%64emo%2f/{WHEEL}",
        f"/files/-/{WHEEL}",
        "/files/demo/" + "a" * 256,
        "/files/demo/" + "a" * 9_000,
        "/legacy/simple/demo/",
        "/legacy/+simple/",
        "/legacy/+simple/../",
        "/explain/",
        "/explain/%2e%2e",
        "/Simple/demo/",
        "/SIMPLE/",
        "/livez/x",
        "/pypi/demo",
        "/pypi/json",
        "/pypi/demo/1.0",
        "/pypi/demo/1.0/2.0/json",
        "/pypi/demo/1 0/json",
        "/pypi/demo/1%2F0/json",
        "/pypi/-demo/json",
        "/pypi/demo/1.0/JSON",
        "/favicon.ico",
        "simple/demo/",
        "http://evil.invalid/simple/demo/",
        "*",
        "/simple/demo\r\n/",
        "/simple/\ud800/",
    ],
)
def test_a_hostile_or_unknown_path_means_nothing(path: str) -> None:
    assert parse_path(path, "") == NOTHING


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/python", ParsedPath(Route.HOME)),
        ("/python/", ParsedPath(Route.HOME)),
        ("/python/simple/Demo", ParsedPath(Route.PROJECT, "demo", canonical="/python/simple/demo/")),
        ("/python/simple", ParsedPath(Route.LIST, canonical="/python/simple/")),
        (f"/python/files/demo/{WHEEL}", ParsedPath(Route.FILE, "demo", WHEEL)),
        ("/python/livez", ParsedPath(Route.LIVEZ)),
        ("/simple/demo/", NOTHING),
        ("/pythonsimple/demo/", NOTHING),
        ("/python3/simple/demo/", NOTHING),
        ("/PYTHON/simple/demo/", NOTHING),
        ("/%70ython/simple/demo/", NOTHING),
        ("//python/simple/demo/", NOTHING),
        ("/python/../python/simple/demo/", NOTHING),
        ("/python%2fsimple/demo/", NOTHING),
        ("/pyth", NOTHING),
        ("", NOTHING),
        ("/", NOTHING),
    ],
)
def test_everything_lies_below_the_prefix(path: str, target: ParsedPath) -> None:
    assert parse_path(path, "/python") == target


pieces = st.sampled_from(
    [
        *(
            "/",
            "//",
            "simple",
            "files",
            "legacy",
            "+simple",
            "explain",
            "pypi",
            "json",
            "demo",
            "Demo",
            "My_Demo",
            WHEEL,
            ".metadata",
            "demo-1.0.tar.gz",
        ),
        *(
            "..",
            ".",
            "%2e",
            "%2f",
            "%5c",
            "%00",
            "%0a",
            "%25",
            "%252e",
            "%ff",
            "%61",
            "\\",
            ";",
            "?",
            "#",
            ":",
            "@",
            "é",
            "\ud800",
        ),
        *("%", " ", "\r\n", "a" * 100, "-", "_", "/python"),
    ]
)
paths = st.lists(pieces, max_size=10).map("".join) | st.text(max_size=40)


@settings(deadline=None, max_examples=500)
@given(paths, st.sampled_from(["", "/python"]))
@example("/files/demo/demo-1.0.tar.gz.metadata", "")
def test_only_normal_names_and_safe_file_names_come_out(path: str, prefix: str) -> None:
    target = parse_path(path, prefix)
    if target.project:
        assert normalise_name(target.project) == target.project
    if target.filename:
        assert is_safe_filename(target.filename)
    of_projects = (Route.PROJECT, Route.FILE, Route.METADATA, Route.PROVENANCE, Route.EXPLAIN, Route.JSON_API)
    assert bool(target.project) == (target.route in of_projects)
    assert not target.version or target.route is Route.JSON_API
    assert bool(target.filename) == (target.route in (Route.FILE, Route.METADATA, Route.PROVENANCE))
    if target.canonical is not None:
        if target.route is not Route.JSON_API:
            assert target.canonical in (f"{prefix}/simple/", f"{prefix}/simple/{target.project}/")
        # One redirect, never a second.
        assert parse_path(target.canonical, prefix) == ParsedPath(target.route, target.project, version=target.version)


names = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._+!~=,@() -]{0,40}[A-Za-z0-9)]", fullmatch=True).filter(is_safe_filename)


@settings(deadline=None, max_examples=200)
@given(names, st.sampled_from(["", "/python"]))
def test_every_link_that_a_page_shows_leads_to_its_file(filename: str, prefix: str) -> None:
    url = file_url(prefix, "demo", filename)
    assert parse_path(url, prefix) == ParsedPath(Route.FILE, "demo", filename)
    assert parse_path(f"{url}.metadata", prefix) == ParsedPath(Route.METADATA, "demo", filename)
    unquoted = f"{prefix}/files/demo/{filename}"  # uv sends it as the page has it, pip quotes it anew
    assert parse_path(unquoted, prefix) == ParsedPath(Route.FILE, "demo", filename)


def test_the_longest_path_is_judged_in_no_time() -> None:
    began = time.process_time()
    for path in ("/" * 1_000_000, "/simple/" + "%2e" * 300_000, "/simple/" + "-" * 1_990, "/files/demo/" + "." * 1_980):
        assert parse_path(path, "") == NOTHING
    assert time.process_time() - began < 1


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_probes_need_not_know_the_prefix(path: str) -> None:
    assert parse_path(path, "/python").route is parse_path(f"/python{path}", "/python").route
    assert parse_path(f"{path}/x", "/python").route is Route.NOTHING
    assert parse_path("/simple/", "/python").route is Route.NOTHING


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("format=application/vnd.pypi.simple.v1+json", "application/vnd.pypi.simple.v1+json"),
        ("format=application%2Fvnd.pypi.simple.v1%2Bjson", "application/vnd.pypi.simple.v1+json"),
        ("version=1!2.0+cpu&format=1.0+cu%31.1", "1.0+cu1.1"),
        ("xformat=a&format=&format=b", "b"),
        ("format", None),
        ("", None),
        ("format=%ff", "\ufffd"),
    ],
)
def test_a_plus_in_a_query_is_a_plus(query: str, value: str | None) -> None:
    assert find_parameter(query, "format") == value
