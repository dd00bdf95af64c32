"""Files of which an index states no digest: nothing but the whole of what the name says leaves or is kept, and it gives way."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import clients
from tests.support.gate import Answer, Gate, fetch
from tests.support.lies import BYTES, Liar, Lie, Talk, file_cut_chunked, file_cut_close, honest_file, running, wait_until
from tests.support.packages import sdist_bytes, wheel_bytes, wheel_name

SIZE = 200_000
UNSTATED: dict[str, object] = {"hashes": {}, "size": None}
TEXT = b"Down for maintenance, please come back later. " * 3_000
BOUND = 64 * 1024


def sends(body: bytes, kind: str = BYTES) -> Lie:
    async def lie(talk: Talk) -> None:
        await talk.answer(body, kind=kind)

    return lie


async def chunked_text(talk: Talk) -> None:
    await talk.head("Transfer-Encoding: chunked", kind="text/plain")
    await talk.chunk(TEXT)
    await talk.chunk(b"")


async def chunked_and_cut(talk: Talk) -> None:
    """As a proxy does whose own upstream broke off."""
    await talk.head("Transfer-Encoding: chunked", kind=BYTES)
    await talk.chunk(talk.liar.body(talk.name)[:-1000])
    await talk.chunk(b"")


async def damaged(talk: Talk) -> None:
    body = bytearray(talk.liar.body(talk.name))
    body[SIZE // 2] ^= 1
    await talk.answer(bytes(body), kind=BYTES)


WRONG: dict[str, Lie] = {
    "text": sends(TEXT, "text/plain"),
    "text-as-zip": sends(TEXT, "application/zip"),
    "text-chunked": chunked_text,
    "empty": sends(b""),
    "another-wheel": sends(wheel_bytes("other", "1.0", padding=SIZE)),
    "another-version": sends(wheel_bytes("another-version", "2.0", padding=SIZE)),
    "an-sdist": sends(sdist_bytes("an-sdist", "1.0")),
    "cut": file_cut_close,
    "cut-chunked": file_cut_chunked,
    "cut-and-ended": chunked_and_cut,
    "damaged": damaged,
}


def source(liar: Liar, name: str, **settings: str) -> str:
    lines = "".join(f'{key} = "{value}"\n' for key, value in settings.items())
    return f'[[source]]\nname = "{name}"\ntype = "index"\nurl = "{liar.url(name)}"\nprivate = true\nonly = ["{name}"]\n{lines}'


def path_of(name: str) -> str:
    return f"/files/{name}/{wheel_name(name, '1.0')}"


def received(server: Gate, path: str, headers: dict[str, str] | None = None) -> tuple[Answer | None, bytes]:
    """The whole answer, or ``None`` and what came of it."""
    import http.client

    try:
        answer = fetch(f"{server.url}{path}", headers or {})
    except http.client.IncompleteRead as error:
        return None, error.partial
    except ConnectionError:
        return None, b""
    return answer, answer.body


def copies(server: Gate) -> list[Path]:
    return [path for path in (server.data / "store" / "cache").rglob("*.whl") if path.is_file()]


@pytest.mark.parametrize("delivery", ["cache", "stream"])
def test_nothing_wrong_leaves_to_its_end_or_is_kept_and_what_is_right_comes_then(
    start_gate: Callable[..., Gate], delivery: str
) -> None:
    liar = Liar(files=dict(WRONG), sizes=dict.fromkeys(WRONG, SIZE), entry=dict.fromkeys(WRONG, UNSTATED))
    with running(liar):
        server = start_gate("".join(source(liar, name, delivery=delivery) for name in WRONG))
        for name in WRONG:
            for headers in ({}, {"Range": "bytes=0-"}):
                answer, body = received(server, path_of(name), headers)
                assert answer is None or answer.status in (502, 503, 416 if name == "empty" and headers else 502), name
                assert answer is not None or len(body) <= len(liar.body(name)) - BOUND, name
            assert (
                json.loads(server.get(f"/simple/{name}/", {"Accept": "application/vnd.pypi.simple.v1+json"}).body)["files"][0][
                    "hashes"
                ]
                == {}
            ), f"{name}: nothing was learned"
        assert copies(server) == []
        assert "of which it states no digest, sent something else, or not all of it: it " in server.log
        liar.files.clear()
        for name in WRONG:
            answer, body = received(server, path_of(name))
            assert (answer and answer.status, body) == (200, liar.body(name)), name
            assert answer is not None
            assert "immutable" not in answer.headers["Cache-Control"], "nobody vouches for it: it may give way"
        wait_until(lambda: len(copies(server)) == (len(WRONG) if delivery == "cache" else 0))


@pytest.mark.long
@pytest.mark.timeout(600)
def test_one_file_from_maintenance_to_a_stated_digest(start_gate: Callable[..., Gate], tmp_path: Path) -> None:
    """With pip and uv, two replicas, and a restart in the middle."""
    name = "lib"
    liar = Liar(files={name: WRONG["text"]}, sizes={name: SIZE}, entry={name: UNSTATED})
    store = f'[store]\nurl = "file:{tmp_path / "shared"}"\n'
    homes = iter(range(100))

    def install(server: Gate, *, ok: bool = True) -> list[str]:
        versions = []
        for client in (clients.pip, clients.uv):
            home = tmp_path / f"home{next(homes)}"
            home.mkdir()
            arguments = ["install", "--target", home / "site", "--index-url", server.index_url, name]
            client(home, *(arguments if client is clients.pip else ["pip", *arguments]), ok=ok)
            made = home / "site" / f"{name}_padding.bin"
            versions += [hashlib.sha256(made.read_bytes()).hexdigest()[:8]] if made.exists() else []
        return versions

    with running(liar):
        config = source(liar, name, fresh="1s") + store
        first, second = start_gate(config), start_gate(config)
        assert install(first, ok=False) == []
        first.restart()
        assert install(second, ok=False) == []
        del liar.files[name]
        right = install(first)
        assert len(set(right)) == 1
        assert install(second) == right
        page = first.page(name)["files"][0]
        observed = hashlib.sha256(liar.body(name)).hexdigest()
        wait_until(lambda: second.page(name)["files"][0]["hashes"] == {"sha256": observed})
        liar.sizes[name] = SIZE + 1  # another wheel: nobody states that it is meant
        assert install(first) == install(second) == right, "what was seen whole first stays"
        first.restart()
        assert install(first) == right
        liar.entry[name] = {}  # from now on its digest is stated, and its size
        for server in (first, second):
            wait_until(lambda server=server: server.page(name)["files"][0]["hashes"] != page["hashes"] != {}, 20)
            assert server.page(name)["files"][0]["hashes"] == {"sha256": hashlib.sha256(liar.body(name)).hexdigest()}
        changed = install(first)
        assert install(second) == changed != right
        assert f"ALARM: project {name}: {wheel_name(name, '1.0')}: source {name} states" in first.log + second.log
        assert "gives way" in first.log + second.log
        metrics = (first.get("/metrics").body + second.get("/metrics").body).decode()
        assert f'wheelgate_overruled_files_total{{source="{name}"}} 1.0' in metrics
        liar.sizes[name] = SIZE + 2  # but what was stated once does not change
        wait_until(lambda: first.get(f"/simple/{name}/").status == 403, 20)
        assert install(first, ok=False) == []


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_an_sdist_is_seen_whole_too(start_gate: Callable[..., Gate], kind: str, index: Any) -> None:
    import io
    import zipfile

    body = sdist_bytes("demo", "1.0")
    if kind == "zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("demo-1.0/PKG-INFO", b"Name: demo\nVersion: 1.0\n")
            archive.writestr("demo-1.0/padding", bytes(100_000))
        body = buffer.getvalue()
    filename = f"demo-1.0.{kind}"
    from tests.acceptance.configs import index_source

    index.publish("demo", filename, body, hashes={}, size=None)
    server = start_gate(index_source(index))
    wrong = [b"", TEXT, gzip.compress(TEXT), body[:-20], sdist_bytes("other", "1.0"), sdist_bytes("demo", "2.0")]
    for sent in wrong:
        index.projects["demo"][filename].body = sent
        answer, _ = received(server, f"/files/demo/{filename}")
        assert answer is None or answer.status in (502, 503)
    index.projects["demo"][filename].body = body
    answer, got = received(server, f"/files/demo/{filename}")
    assert (answer and answer.status, got) == (200, body)


def test_metadata_that_is_read_by_ranges_is_no_evidence_of_the_wheel(start_gate: Callable[..., Gate]) -> None:
    """The upstream sends another wheel of this name and version while only its end is read, and the right one then."""
    name = "ranged"
    other = wheel_bytes(name, "1.0", requires=["something-else"], padding=SIZE + 7)

    async def another(talk: Talk) -> None:
        body, talk.liar.body = talk.liar.body, lambda _: other  # type: ignore[method-assign]
        try:
            await honest_file(talk)
        finally:
            talk.liar.body = body  # type: ignore[method-assign]

    liar = Liar(files={name: another}, sizes={name: SIZE}, entry={name: UNSTATED})
    with running(liar):
        server = start_gate(source(liar, name))
        assert b"something-else" in server.get(f"{path_of(name)}.metadata").body
        shown = server.page(name)["files"][0]
        assert (shown["hashes"], shown["size"]) == ({}, len(other)), "seen in passing"

        def explained() -> tuple[object, object]:
            (entry,) = json.loads(server.get(f"/explain/{name}?version=1.0").body)["listed"]
            return entry["digest"], entry["observed"]

        assert explained() == (None, ["size"])
        del liar.files[name]
        answer, body = received(server, path_of(name))
        assert (answer and answer.status, body) == (200, liar.body(name)), "what was seen in passing hinders nothing"
        wait_until(lambda: server.page(name)["files"][0]["hashes"] != {})
        shown = server.page(name)["files"][0]
        assert shown["hashes"] == {"sha256": hashlib.sha256(body).hexdigest()}
        assert shown["size"] == len(body)
        assert explained() == ("observed", ["size", "hashes"])
        assert b"something-else" not in server.get(f"{path_of(name)}.metadata").body


def test_a_glance_at_something_else_teaches_nothing(start_gate: Callable[..., Gate]) -> None:
    """A maintenance text with a size and a time of its own, where the listing states neither."""
    name = "glanced"

    async def text(talk: Talk) -> None:
        await talk.answer(TEXT, "Last-Modified: Tue, 01 Jan 2019 00:00:00 GMT", kind="text/plain")

    liar = Liar(files={name: text}, sizes={name: SIZE}, entry={name: {**UNSTATED, "upload-time": None}})
    with running(liar):
        server = start_gate(source(liar, name))
        server.page(name)
        wait_until(lambda: any(asked.path.endswith(".whl") for asked in liar.asked_for(name)), 15)
        shown = server.page(name)["files"][0]
        assert "size" not in shown
        assert not shown["upload-time"].startswith("2019")
