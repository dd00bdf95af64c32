"""The list of projects leaves as it is made: whole where it is short, else in slices of little work and little memory."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator, Sequence

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from tests.support.clock import FakeClock
from tests.support.stores import MemoryStore
from tests.support.turns import longest_turn
from wheelgate.core.name_table import pack_names
from wheelgate.core.packed_names import PackedNames
from wheelgate.core.patterns import NamePatterns
from wheelgate.index.merged import Merged
from wheelgate.index.project_list import ProjectList
from wheelgate.runtime.metrics import Metrics
from wheelgate.simple_api import HTML, JSON
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.claims import Claims
from wheelgate.web.project_list import ProjectListHandler

MANY = [f"acme-team-{number % 70}-lib-{number:06d}" for number in range(100_000)]


class Names(Merged):
    """An index that has these names."""

    def __init__(self, clock: FakeClock) -> None:
        store = MemoryStore()
        claims = Claims(store, clock, StoreChanges(store, clock))
        super().__init__([], claims=claims, clock=clock, metrics=Metrics(), reserved=NamePatterns([]))
        self.parts: Sequence[tuple[PackedNames, NamePatterns | None]] = []

    async def list_projects(self) -> ProjectList:
        return ProjectList(self.parts)


@pytest.fixture
def names(clock: FakeClock) -> Names:
    return Names(clock)


@pytest.fixture
async def url(names: Names) -> AsyncIterator[str]:
    handler = ProjectListHandler(names, prefix="/python", cache_control="no-cache")

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return await handler.answer(request, request.headers["Accept"], gzip="gzip" in request.headers.get("Accept-Encoding", ""))

    async with RawTestServer(answer) as server:
        yield str(server.make_url("/"))


async def fetch(url: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    plain = {"Accept": JSON, "Accept-Encoding": "identity"}
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.request(method, url, headers={**plain, **headers}) as response,
    ):
        return response.status, {key.title(): value for key, value in response.headers.items()}, await response.read()


@pytest.mark.parametrize("listed", [[], ["a", "b-c"], MANY], ids=["none", "two", "many"])
async def test_each_form_has_every_name_once(names: Names, url: str, listed: list[str]) -> None:
    names.parts = [(await pack_names(listed), None), (PackedNames.of(["b-c", *listed[:3000:7]]), NamePatterns(["acme-*", "a"]))]
    _, headers, body = await fetch(url)
    assert [entry["name"] for entry in json.loads(body)["projects"]] == sorted(listed)
    etags = {headers["Etag"]}
    _, headers, packed = await fetch(url, **{"Accept-Encoding": "gzip"})
    assert headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed) == body
    etags.add(headers["Etag"])
    _, headers, html = await fetch(url, Accept=HTML)
    assert html.count(b"<a ") == len(listed)
    assert html.startswith(b"<!DOCTYPE html>")
    assert html.endswith(b"</html>\n")
    assert all(f'<a href="/python/simple/{name}/">{name}</a>'.encode() in html for name in listed[:50])
    etags.add(headers["Etag"])
    assert len(etags) == 3
    for etag in etags:
        assert headers["Vary"] == "Accept, Accept-Encoding"
        assert etag.startswith('"')


@pytest.mark.parametrize("listed", [["a", "b"], MANY], ids=["two", "many"])
async def test_who_has_the_list_is_told_so_until_it_changes(names: Names, url: str, listed: list[str]) -> None:
    packed = await pack_names(listed)
    names.parts = [(packed, None)]
    for encoding in ("identity", "gzip"):
        _, headers, body = await fetch(url, **{"Accept-Encoding": encoding})
        names.parts = [(packed.updated(add=["new"]).updated(remove=["new"]) if len(listed) < 9 else packed, None)]
        status, again, nothing = await fetch(url, **{"Accept-Encoding": encoding, "If-None-Match": headers["Etag"]})
        assert (status, nothing, again["Etag"]) == (304, b"", headers["Etag"])
        status, again, nothing = await fetch(url, "HEAD", **{"Accept-Encoding": encoding})
        assert (status, nothing, again["Etag"]) == (200, b"", headers["Etag"])
        names.parts = [(packed.updated(add=["new"]), None)]
        status, again, other = await fetch(url, **{"Accept-Encoding": encoding, "If-None-Match": headers["Etag"]})
        assert status == 200
        assert other != body
        names.parts = [(packed, None)]


@pytest.mark.parametrize("form", [JSON, HTML])
async def test_a_short_list_out_of_many_names_is_found_in_slices(names: Names, url: str, form: str) -> None:
    names.parts = [(await pack_names([*MANY, "zzz-own"]), NamePatterns(["zzz-*"]))]
    async with longest_turn() as turns:
        _, _, body = await fetch(url, Accept=form)
    assert body.count(b"zzz-own") == (1 if form == JSON else 2)
    assert turns.longest_s < 0.02


async def test_a_long_list_leaves_in_slices_while_others_are_served(names: Names, url: str) -> None:
    """No step takes as much processor time as anybody would notice, and the first byte needs few of the names."""
    names.parts = [(await pack_names(MANY), None)]
    worst_s, done = 0.0, asyncio.Event()

    async def watch() -> None:
        nonlocal worst_s
        while not done.is_set():
            began = time.thread_time()
            await asyncio.sleep(0)
            worst_s = max(worst_s, time.thread_time() - began)

    watching = asyncio.create_task(watch())
    began = time.perf_counter()
    async with aiohttp.ClientSession() as session, session.get(url, headers={"Accept": HTML}) as response:
        await response.content.readany()
        first_s = time.perf_counter() - began
        assert not response.content.is_eof()
        async for _ in response.content.iter_chunked(256 * 1024):
            pass
        all_s = time.perf_counter() - began
    done.set()
    await watching
    assert worst_s < 0.02
    assert first_s < all_s / 2
