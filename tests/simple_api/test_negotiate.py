"""What real clients say they accept, and what they get."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wheelgate.simple_api import HTML, JSON, LEGACY_HTML
from wheelgate.simple_api.negotiate import accepts_gzip, content_type

V1 = "application/vnd.pypi.simple.v1"
LATEST = "application/vnd.pypi.simple.latest"
modestly = settings(deadline=None, max_examples=300)


@pytest.mark.parametrize(
    ("client", "accept", "expected"),
    [
        ("pip, pdm, pipenv, pip-tools", f"{V1}+json, {V1}+html; q=0.1, text/html; q=0.01", JSON),
        ("pip 21 and older", "text/html", LEGACY_HTML),
        ("uv", f"{V1}+json, {V1}+html;q=0.2, text/html;q=0.01", JSON),
        ("poetry", f"{V1}+json, */*;q=0.1", JSON),
        ("pipenv for hashes, curl", "*/*", LEGACY_HTML),
        ("nothing said", None, LEGACY_HTML),
        ("an empty header", "", LEGACY_HTML),
        ("pypi-simple", f"{V1}+json, {V1}+html, text/html;q=0.01", JSON),
        ("a browser", "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8", LEGACY_HTML),
        ("urllib in a hurry", "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", LEGACY_HTML),
    ],
    ids=lambda value: value if isinstance(value, str) and "/" not in value else "",
)
def test_every_real_client_gets_what_it_reads_best(client: str, accept: str | None, expected: str) -> None:
    assert content_type(accept) == expected


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (f"{V1}+json", JSON),
        (f"{V1}+html", HTML),
        (f"{LATEST}+json", JSON),
        (f"{LATEST}+html", HTML),
        (f"{V1}+JSON", JSON),
        ("TEXT/HTML", LEGACY_HTML),
        (f"{V1}+json;charset=utf-8", JSON),
        (f"{V1}+json;version=1;q=0, text/html", LEGACY_HTML),
        # the higher weight wins, whatever the order
        (f"{V1}+json;q=0.1, text/html;q=0.2", LEGACY_HTML),
        (f"text/html;q=0.2, {V1}+json;q=0.3", JSON),
        (f"{V1}+html;q=0.3, {V1}+json;q=0.2", HTML),
        (f"{V1}+json;Q=0.1,{V1}+html;Q=0.5", HTML),
        (f"{V1}+json ; q = 0.1 , {V1}+html ; q = 0.5", HTML),
        (f"{V1}+json;q=0.123, {V1}+html;q=0.124", HTML),
        (f"{V1}+json;q=7, text/html", JSON),
        (f"text/html;q=7, {V1}+json", JSON),  # no weight is above 1
        # equal weights: JSON says most
        (f"text/html, {V1}+html, {V1}+json", JSON),
        (f"text/html, {V1}+html", HTML),
        # named beats covered by a wildcard
        ("text/html, */*", LEGACY_HTML),
        (f"{V1}+html, */*", HTML),
        (f"*/*, {V1}+json", JSON),
        # a weight of nothing means "not that"
        (f"{V1}+json;q=0, */*", LEGACY_HTML),
        ("text/html;q=0, */*", JSON),
        (f"text/html;q=0, {V1}+json;q=0.0, */*;q=0.1", HTML),
        # subtypes
        ("text/*", LEGACY_HTML),
        ("application/*", JSON),
        (f"application/*;q=0.5, {V1}+html", HTML),
        (f"application/*, {V1}+json;q=0", HTML),
        # what nobody here can give, or reads as garbage, is answered with HTML: uv stops at a 406
        ("application/json", LEGACY_HTML),
        ("application/vnd.pypi.simple.v2+json", LEGACY_HTML),
        ("image/png", LEGACY_HTML),
        ("*/*;q=0", LEGACY_HTML),
        (",,;;,=", LEGACY_HTML),
        (f"{V1}+json;q=high, text/html", LEGACY_HTML),
        (f"{V1}+json;q=-1, text/html", LEGACY_HTML),
        (f"{V1}+json;q=, text/html", LEGACY_HTML),
        (f"{V1}+json;q=0.\u0665, text/html", LEGACY_HTML),
        ("q=1", LEGACY_HTML),
    ],
)
def test_weights_wildcards_and_aliases_count_as_http_says(accept: str, expected: str) -> None:
    assert content_type(accept) == expected


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("gzip, deflate", True),
        ("gzip, deflate, zstd", True),
        ("deflate, br", False),
        ("identity", False),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("gzip;q=0.001", True),
        ("identity;q=1, *;q=0", False),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", True),
        ("gzip;q=x", False),
        (";;,", False),
    ],
)
def test_gzip_goes_to_those_who_take_it(accept_encoding: str | None, expected: bool) -> None:
    assert accepts_gzip(accept_encoding) is expected


words = st.sampled_from(
    [
        f"{V1}+json",
        f"{V1}+html",
        "text/html",
        "*/*",
        "text/*",
        "application/*",
        ";",
        ",",
        "q",
        "=",
        "0",
        "1",
        "0.5",
        " ",
        "gzip",
        "*",
    ]
)
headers = st.one_of(st.text(max_size=60), st.lists(words, max_size=20).map("".join))


@modestly
@given(headers)
def test_no_header_ever_fails(header: str) -> None:
    assert content_type(header) in (JSON, HTML, LEGACY_HTML)
    assert accepts_gzip(header) in (True, False)


def test_a_header_of_a_megabyte_or_a_weight_of_a_thousand_digits_is_read_in_no_time() -> None:
    assert content_type("text/html;q=0.1," * 60_000) == LEGACY_HTML
    assert content_type(f"{V1}+json;q={'9' * 5_000}, text/html") == JSON


@modestly
@given(st.permutations([f"{V1}+json;q=0.3", f"{V1}+html;q=0.2", "text/html;q=0.1", "*/*;q=0.05"]))
def test_the_order_of_a_header_does_not_matter(ranges: list[str]) -> None:
    assert content_type(",".join(ranges)) == JSON
