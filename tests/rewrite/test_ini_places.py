"""Files of pip's configuration, read as Python's own parser reads them."""

from __future__ import annotations

import configparser
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wheelgate.rewrite.classify_urls import UrlClassifier
from wheelgate.rewrite.documents import Purpose, Rewritten, rewrite_text
from wheelgate.rewrite.ini_places import read_options

GATE = "https://wheelgate.internal"
FEED = "https://build:canary7xq9z@pkgs.dev.azure.com/acme/_packaging/team/pypi/simple/"
LINES = st.sampled_from(
    [
        "[global]",
        " [install]",
        "[global] ; x",
        "a = 1",
        "  b = 2",
        "\tc: 3",
        "    more",
        " [x]",
        "",
        "# d = 4",
        "  ; e",
        "--f=5",
        "  g = 6 ; x",
    ]
)


def parse(text: str) -> list[tuple[str, str, str]] | None:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error:
        return None
    return sorted((section, name, value) for section in parser.sections() for name, value in parser.items(section))


@given(st.lists(LINES, max_size=12).map(lambda lines: "\n".join(["[global]", *lines, ""])))
@example("[global]\n  a = 1\n  b = 2\n")
@example("[global]\na = 1\n\n    # c\n    more\n")
def test_options_are_those_of_pythons_parser(text: str) -> None:
    expected = parse(text)
    if expected is None:
        return
    found = []
    for option in read_options(text):
        lines = [line.strip() for line in text[option.value : option.end].split("\n")]
        kept = [line for at, line in enumerate(lines) if at == 0 or not re.match("[#;]", line)]
        found.append((option.section, option.name.lower(), re.sub(r"\n+", "\n", "\n".join(kept)).strip()))
    assert sorted(found) == [(section, name, re.sub(r"\n+", "\n", value).strip()) for section, name, value in expected]


def rewrite(text: str) -> Rewritten:
    return rewrite_text("pip.conf", text, Purpose(ours=UrlClassifier(GATE), gate=GATE))


@pytest.mark.parametrize("behind", [" ; x", " # x", "; x", " ;x"])
def test_what_only_looks_like_a_comment_is_named(behind: str) -> None:
    done = rewrite(f"[global]\nindex-url = {FEED}{behind}\n")
    assert [line for line, sentence in done.left if "a line of its own" in sentence] == [2]
    assert "canary" not in "".join(sentence for _, sentence in done.left)
    for text in (f"[global] ; x\nindex-url = {FEED}\n", f"[global]\n; x\n  # y\nindex-url = {FEED}\n"):
        assert rewrite(text).left == []


def test_options_that_are_indented_or_have_dashes_are_options() -> None:
    done = rewrite(f"[global]\n  --index-url = {FEED}\n  extra_index_url =\n      {FEED}\n  timeout = 5\n")
    assert done.text == f"[global]\n  --index-url = {GATE}/simple/\n  timeout = 5\n"
    assert done.left == []
