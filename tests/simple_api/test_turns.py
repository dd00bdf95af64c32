"""Turns of the event loop while a hostile page is read: whatever it is made of, nobody else waits for long."""

from __future__ import annotations

import codecs
import json
import random
from collections.abc import Callable

import pytest

from tests.simple_api.pages import links
from tests.support.turns import longest_turn
from wheelgate.runtime.cooperative import in_slices
from wheelgate.simple_api.collector import NotAnIndexPage, ParsedPage
from wheelgate.simple_api.parse import parse_json, split_json
from wheelgate.simple_api.parse_html import parse_html

MOST_S = 0.02


def entry(name: str, **more: object) -> dict[str, object]:
    return {"filename": name, "url": f"/f/{name}", "hashes": {}, **more}


def json_page(*files: dict[str, object], **more: object) -> bytes:
    return json.dumps({"meta": {"api-version": "1.0"}, "name": "demo", "files": files, **more}).encode()


def odd_names(piece: str, length: int, head: str = "b") -> list[str]:
    """Names that may be read in as many ways as there are separators."""
    return [f"{head}{number}{piece * ((length - len(head) - 11) // len(piece))}.tar.gz" for number in range(60)]


def html_page(names: list[str]) -> bytes:
    return b"<title>Links for demo</title>" + "".join(f'<a href="/f/{name}">x</a>' for name in names).encode()


SHAPES = [(piece, n) for piece in ("-1", "_1.0", "-1.0", " 1.0") for n in (255, 999)]
PAGES: dict[str, Callable[[], bytes]] = {
    **{f"names of {piece!r}, {n}": lambda piece=piece, n=n: json_page(*map(entry, odd_names(piece, n))) for piece, n in SHAPES},
    **{f"links to {piece!r}, {n}": lambda piece=piece, n=n: html_page(odd_names(piece, n)) for piece, n in SHAPES},
    "names of the project": lambda: json_page(*map(entry, odd_names("-1", 250, "demo-"))),
    "very many versions": lambda: json_page(
        entry("demo-x.1.tar.gz"), entry("demo-1.0.0.tar.gz"), versions=[f"1.{n}" for n in range(60_000)]
    ),
    "megabytes of a name": lambda: json_page(entry("a" * 2_000_000 + ".whl"), entry("-1" * 1_000_000 + ".tar.gz")),
    "megabytes of versions": lambda: json_page(*(entry(f"demo-{n}.{'1.' * 110}0.tar.gz") for n in range(250))),
    "an enormous size": lambda: json_page(*(entry(f"demo-{n}.zip", size=10**300) for n in range(250))),
    "a tag of megabytes": lambda: b"<a x='" + b"y" * 4_000_000 + b"' href='/f/demo-1.0.zip'>",
    "a comment of megabytes": lambda: b"<!--" + b"- " * 2_000_000 + b"-->",
    "a text of megabytes": lambda: b"<p>" + b"y" * 4_000_000,
}


async def read(body: bytes, charset: str = "utf-8") -> ParsedPage | NotAnIndexPage:
    try:
        if body.startswith(b"{"):
            return await in_slices(parse_json(split_json(body), "demo", "upstream", links()))
        return await in_slices(parse_html(body, charset, "demo", "upstream", links()))
    except NotAnIndexPage as error:
        return error


@pytest.mark.parametrize("kind", PAGES)
async def test_no_page_holds_the_loop_for_long(kind: str) -> None:
    body = PAGES[kind]()
    await read(html_page(["demo-1.0.zip"]))  # what is imported once
    async with longest_turn() as turns:
        await read(body)
    assert turns.longest_s < MOST_S


@pytest.mark.parametrize(
    "tag",
    [b"".join(b"x%d " % n for n in range(200_000)), b"x='>' " * 100_000, b"x='" + b"y" * 17_000_000],
    ids=["attributes", "one attribute, often", "bytes"],
)
async def test_a_tag_of_more_than_any_has_is_refused(tag: bytes) -> None:
    async with longest_turn() as turns:
        assert isinstance(await read(b"<a " + tag + b" href='/f/demo-1.0.zip'>"), NotAnIndexPage)
    assert turns.longest_s < MOST_S


async def test_what_real_pages_have_is_read() -> None:
    sheet = b"<style>" + b"a { color: red }\n" * 10_000 + b"</style>"
    many = b"<!-- made by a proxy -->" * 20_000
    link = b"<a href='/f/demo-1.0.zip' data-requires-python='" + b"&gt;=3,".rjust(10) * 1 + b"' x='" + b"y" * 30_000 + b"'>"
    page = await read(html_page([]) + sheet + many + link)
    assert isinstance(page, ParsedPage)
    assert len(page.files) + len(page.withheld) == 1


async def test_the_address_that_links_are_relative_to_counts_from_where_it_stands() -> None:
    body = b"<title>Links for demo</title><a href='demo-1.0.zip'></a><base href='/elsewhere/'><a href='demo-2.0.zip'></a>"
    page = await read(body)
    assert isinstance(page, ParsedPage)
    assert [file.location.url.partition("example")[2].rpartition("/")[0][-10:] for file in page.files][1].endswith("elsewhere")  # type: ignore[union-attr]


@pytest.mark.parametrize("charset", ["punycode", "PunyCode", "idna", "unicode_escape", "unicode-escape", "undefined"])
async def test_what_encodes_text_as_text_is_no_character_set(charset: str) -> None:
    codecs.lookup(charset)  # Python knows it, and pip would read the page
    assert "an unknown character set" in str(await read(html_page(["demo-1.0.zip"]), charset))


async def test_nothing_is_remembered_of_character_sets_that_nobody_knows() -> None:
    """Python remembers each name that it looked for, and a server may call them as it likes."""
    import encodings

    before = len(encodings._cache)  # type: ignore[attr-defined]
    for _ in range(50):
        await read(html_page(["demo-1.0.zip"]), f"x-{random.randrange(10**9)}")
    assert len(encodings._cache) == before  # type: ignore[attr-defined]
