"""Pages in odd codings, types and character sets: what pip reads is read, and what is not is named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gate import Gate, gate
from tests.support.odd_answers import ANSWERS, JSON, read_by_pip, read_by_uv, serving


@pytest.fixture(scope="module")
def index_url() -> Iterator[str]:
    with serving(ANSWERS) as url:
        yield url


@pytest.fixture(scope="module")
def server(index_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    source = f'[[source]]\nname = "odd"\ntype = "index"\nurl = "{index_url}"\nprivate = true\n'
    with gate(tmp_path_factory.mktemp("odd"), source) as running:
        yield running


@pytest.mark.parametrize(("number", "name"), list(enumerate(ANSWERS)), ids=ANSWERS)
def test_a_page_is_read_or_what_is_wrong_with_it_is_named(server: Gate, number: int, name: str) -> None:
    answer, expected = server.get(f"/simple/odd-{number}/", {"Accept": JSON}), ANSWERS[name]
    if expected.is_read:
        assert answer.status == 200, answer.body
        assert [file["filename"] for file in json.loads(answer.body)["files"]] == [f"odd_{number}-1.0-py3-none-any.whl"]
    else:
        assert answer.status in (502, 503)
        assert expected.says
        assert expected.says in json.loads(answer.body)["reason"]


def test_what_is_read_by_nobody_else_is_of_a_kind_that_is_known() -> None:
    """Leniency beyond pip and uv, and what they read and we do not: both are lists that no change makes longer by accident."""
    assert [name for name, seen in ANSWERS.items() if seen.is_read and not (seen.pip or seen.uv)] == [
        *("gzip said twice", "identity, gzip", "gzip, identity", "utf-8, gzip"),  # the bytes say what was done to them
        *("latest JSON", "JSON v2", "HTML as latest+html"),  # the version on the page decides
    ]
    assert [name for name, seen in ANSWERS.items() if not seen.is_read and (seen.pip or seen.uv)] == [
        *("gzip cut", "gzip and more"),  # nobody can tell if that is the page
        *("JSON and more letters", "HTML as text/html5"),  # of another type, but for pip's look at its first letters
        *("charset unknown", "charset of bytes"),  # but for uv, which reads every page as UTF-8
        "JSON, utf-16",  # but for pip; RFC 8259 forbids it
    ]


@pytest.mark.long
@pytest.mark.timeout(1_200)
def test_installers_read_them_as_the_table_says(index_url: str, home: Path) -> None:
    by_pip = read_by_pip(home, index_url, len(ANSWERS))
    by_uv = read_by_uv(home, index_url, range(len(ANSWERS)))
    assert dict(zip(ANSWERS, by_pip, strict=True)) == {name: seen.pip for name, seen in ANSWERS.items()}
    assert dict(zip(ANSWERS, by_uv, strict=True)) == {name: seen.uv for name, seen in ANSWERS.items()}
