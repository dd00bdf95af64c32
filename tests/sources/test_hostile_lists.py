"""Lists of a hostile server, as far as they are read: whatever they are made of, nobody else waits for long."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sources.test_github_releases import releases
from tests.support.clock import FakeClock
from tests.support.github import Github, github
from tests.support.turns import longest_turn
from wheelgate.simple_api import JSON, LEGACY_HTML
from wheelgate.sources.index_root import read_root
from wheelgate.upstream.answers import PageAnswer

MOST_S = 0.02
LINKS = b"".join(b"<a href='/simple/p%d/'>p</a>" % number for number in range(60_000))
ROOTS = {
    "tags without an end": (LEGACY_HTML, b"<a " * 600_000),
    "declarations without an end": (LEGACY_HTML, b"<meta " * 600_000),
    "headings without an end": (LEGACY_HTML, b"<h1 " * 1_000_000),
    "headings": (LEGACY_HTML, b"<h1>index " * 400_000),
    "long links": (LEGACY_HTML, b"".join(b"<a href='%d%s/'>" % (number, b"x" * 480) for number in range(8_000))),
    "fields without an end": (JSON, b"{" + b'"a":1,' * 1_000_000),
    "long names": (JSON, b'{"projects":[' + b",".join(b'{"name":"%s"}' % (b"x-" * 500) for _ in range(4_000)) + b"]}"),
    "a real one": (LEGACY_HTML, b"<title>Simple index</title>" + LINKS),
}


@pytest.mark.parametrize("kind", ROOTS)
async def test_the_root_of_an_index_is_read_in_no_time(kind: str) -> None:
    content_type, body = ROOTS[kind]
    answer = PageAnswer(200, "https://index.example/simple/", content_type=content_type, body=body)
    async with longest_turn() as turns:
        root = read_root(answer)
    assert turns.longest_s < MOST_S
    assert (root is not None and len(root.names) == 50) == (kind == "a real one")


@pytest.fixture
def hub() -> Iterator[Github]:
    with github() as made:
        yield made


async def test_names_that_may_be_read_in_dozens_of_ways_hold_nobody_up(hub: Github, clock: FakeClock) -> None:
    hub.release("acme/tools", "v1", {"demo-1.0.zip": b"x"})
    async with releases(hub, "acme/tools", clock=clock) as source:
        assert await source.project_names() == {"demo"}  # what is opened and imported once
        hub.release("acme/tools", "v2", {f"b{number}{'-1.0' * 59}.tar.gz": b"x" for number in range(20)})
        clock.move(3_600.0)
        async with longest_turn() as turns:
            assert len(await source.project_names()) > 500
    assert turns.longest_s < MOST_S
