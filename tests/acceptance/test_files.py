"""Files: whole, in ranges, asked about; held, on their way, passed through, redirected; right, or not at all."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from tests.support import lies
from tests.support.gate import Answer, Gate, fetch, gate
from tests.support.lies import MIB, Liar, Talk, assert_nothing_wrong_is_kept, config_for, file_of, kept, running, span
from tests.support.packages import make_wheel, metadata, sha256, wheel_bytes, wheel_name
from tests.support.watch import watched

SIZE = 300_000
HUGE = 65 * MIB
RANGES = ["bytes=0-99", "bytes=100-199", "bytes=-100", "bytes=1000-", "bytes=0-", "bytes=299000-999999999", "BYTES=5-5"]
IGNORED = ["bytes=0-1,5-6", "bytes=9-5", "lines=1-2", "bytes=-", "bytes=a-b", "0-5"]


class Shop:
    """One server with a file for every way of delivery."""

    def __init__(self, server: Gate, liar: Liar) -> None:
        self.server = server
        self.liar = liar

    def body(self, name: str) -> bytes:
        return wheel_bytes(name, "1.0", padding=SIZE) if name in ("folder", "uploaded") else self.liar.body(name)

    def get(self, name: str, headers: dict[str, str] | None = None, method: str = "GET") -> Answer:
        return self.server.get(file_of(name), headers, method)


CACHED = ["held", "cold", "cold-tail", "cold-unsized", "huge", "huge-unsized", "head", "head-unsized", "plain-unsized"]
STREAMED = ["streamed", "streamed-unsized"]
REDIRECTED = ["redirected"]
DELIVERED = ["held", *STREAMED, "redirected", "folder", "uploaded"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    liar = Liar(sizes={name: HUGE if "huge" in name else SIZE for name in (*CACHED, *STREAMED, *REDIRECTED)})
    liar.entry = {name: {"size": None} for name in liar.sizes if "unsized" in name}
    make_wheel(folder / "wheels", "folder", "1.0", padding=SIZE)
    with running(liar):
        config = (
            '[[source]]\nname = "uploads"\ntype = "store"\n[[source]]\nname = "wheels"\ntype = "directory"\n'
            f'url = "file:{folder}/wheels"\n'
            + config_for(liar, CACHED)
            + config_for(liar, STREAMED, delivery="stream")
            + config_for(liar, REDIRECTED, delivery="redirect")
        )
        with gate(folder / "gate", config) as server:
            added = server.run("wheel", "add", make_wheel(folder / "made", "uploaded", "1.0", padding=SIZE))
            assert added.returncode == 0, added.stderr
            made = Shop(server, liar)
            assert made.get("held").body == liar.body("held")
            yield made
            assert_nothing_wrong_is_kept(server, liar)
            assert "Traceback" not in server.log


def assert_a_file(answer: Answer, name: str, body: bytes) -> None:
    assert answer.headers["Content-Type"] == "application/zip"
    assert answer.headers["Cache-Control"] == "max-age=31536000, immutable"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["ETag"] == f'"{sha256(body)}"'
    assert "Content-Encoding" not in answer.headers
    assert "Content-Disposition" not in answer.headers or name in answer.headers["Content-Disposition"]


@pytest.mark.parametrize("name", DELIVERED)
def test_a_whole_file_says_what_it_is(shop: Shop, name: str) -> None:
    answer = shop.get(name, {"Accept-Encoding": "gzip, br"})
    if name == "redirected":
        answer = fetch(answer.headers["Location"])
        assert answer.body == shop.body(name)
        return
    assert answer.status == 200
    assert answer.body == shop.body(name)
    assert answer.headers["Content-Length"] == str(len(answer.body))
    assert_a_file(answer, name, answer.body)


@pytest.mark.parametrize("name", DELIVERED)
@pytest.mark.parametrize("wanted", RANGES)
def test_a_range_is_what_was_asked_for(shop: Shop, name: str, wanted: str) -> None:
    body = shop.body(name)
    start, end = span(wanted.lower(), len(body))
    answer = shop.get(name, {"Range": wanted})
    assert answer.status == 206
    assert answer.body == body[start:end]
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(body)}"
    assert answer.headers["Content-Length"] == str(end - start)
    assert_a_file(answer, name, body)


@pytest.mark.parametrize("name", ["held", "streamed", "folder", "uploaded"])
def test_a_range_beyond_the_end_is_416_and_says_the_size(shop: Shop, name: str) -> None:
    size = len(shop.body(name))
    for wanted in (f"bytes={size}-", "bytes=999999999-1000000000", "bytes=-0"):
        answer = shop.get(name, {"Range": wanted})
        assert (answer.status, answer.body) == (416, b"")
        assert answer.headers["Content-Range"] == f"bytes */{size}"


@pytest.mark.parametrize("name", ["held", "streamed", "folder", "uploaded"])
@pytest.mark.parametrize("wanted", IGNORED)
def test_what_is_not_one_range_gives_the_whole_file(shop: Shop, name: str, wanted: str) -> None:
    answer = shop.get(name, {"Range": wanted})
    assert (answer.status, answer.body) == (200, shop.body(name))


@pytest.mark.parametrize("name", ["held", "streamed", "folder", "uploaded"])
def test_if_range_gives_the_range_only_of_the_same_bytes(shop: Shop, name: str) -> None:
    same = f'"{sha256(shop.body(name))}"'
    for condition, status in ((same, 206), (f"W/{same}", 200), ('"other"', 200), ("Mon, 01 Jan 2035 00:00:00 GMT", 200)):
        assert shop.get(name, {"Range": "bytes=0-9", "If-Range": condition}).status == status, condition


@pytest.mark.parametrize("name", DELIVERED)
def test_who_holds_the_bytes_already_gets_304(shop: Shop, name: str) -> None:
    etag = f'"{sha256(shop.body(name))}"'
    asked = len(shop.liar.asked)
    for condition in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        answer = shop.get(name, {"If-None-Match": condition})
        assert (answer.status, answer.body) == (304, b"")
        assert answer.headers["ETag"] == etag
    assert shop.get(name, {"If-None-Match": '"other"'}).status in (200, 302)
    assert not [a for a in shop.liar.asked[asked:] if a.headers.get("if-none-match")]


@pytest.mark.parametrize("name", [*DELIVERED, "head", "head-unsized"])
def test_head_tells_all_and_fetches_no_body(shop: Shop, name: str) -> None:
    body = shop.body(name)
    asked = len(shop.liar.asked)
    for headers in ({}, {"Range": "bytes=0-5"}):
        answer = shop.get(name, headers, method="HEAD")
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["Content-Length"] == str(len(body))
        assert_a_file(answer, name, body)
    for request in shop.liar.asked[asked:]:
        if "/files/" in request.path:
            assert "unsized" in name, "the listing states the size"
            assert request.headers["range"] == "bytes=0-0"
    assert not kept(shop.server, "head").exists()


def test_redirects_are_for_plain_gets_alone_and_for_this_once(shop: Shop) -> None:
    plain = shop.get("redirected")
    assert (plain.status, plain.body) == (302, b"")
    assert plain.headers["Cache-Control"] == "no-store"
    assert plain.headers["Location"] == f"{shop.liar.origin}/redirected/files/{wheel_name('redirected', '1.0')}"
    assert shop.get("redirected", method="HEAD").status == 200
    assert shop.get("redirected", {"Range": "bytes=-5"}).status == 206


@pytest.mark.parametrize("name", ["cold", "cold-tail", "cold-unsized"])
def test_a_range_of_a_small_cold_file_starts_its_fill(shop: Shop, name: str) -> None:
    """A client that reads the tail of a wheel wants the wheel next."""
    body = shop.body(name)
    answer = shop.get(name, {"Range": "bytes=-1000" if name == "cold-tail" else "bytes=10-1009"})
    assert answer.status == 206
    assert answer.body == (body[-1000:] if name == "cold-tail" else body[10:1010])
    assert shop.get(name).body == body
    whole = [a for a in shop.liar.asked_for(name) if "/files/" in a.path and "range" not in a.headers]
    assert len(whole) == 1


@pytest.mark.parametrize("name", ["huge", "huge-unsized"])
def test_a_range_of_a_large_cold_file_is_passed_through_alone(shop: Shop, name: str) -> None:
    body = shop.body(name)
    for wanted in ("bytes=-1000", "bytes=5000000-5000999"):
        start, end = span(wanted, len(body))
        answer = shop.get(name, {"Range": wanted})
        assert (answer.status, answer.body) == (206, body[start:end])
    asked = [a.headers.get("range") for a in shop.liar.asked_for(name) if "/files/" in a.path]
    assert None not in asked, "the whole file was asked for"
    assert not kept(shop.server, name).exists()


@pytest.mark.parametrize("name", ["plain-unsized", "streamed-unsized"])
def test_a_file_of_unknown_size_is_asked_for_once(shop: Shop, name: str) -> None:
    asked = len(shop.liar.asked_for(name))
    answer = shop.get(name)
    assert answer.body == shop.body(name)
    assert answer.headers["Content-Length"] == str(len(answer.body))
    files = [a for a in shop.liar.asked_for(name)[asked:] if "/files/" in a.path]
    assert len(files) == 1


def test_an_upstream_without_ranges_still_gives_ranges(start_gate: Callable[..., Gate]) -> None:
    async def whole(talk: Talk) -> None:
        await talk.answer(talk.liar.body(talk.name), kind=lies.BYTES)

    liar = Liar(files={"streamed": whole}, sizes={"streamed": SIZE})
    with running(liar):
        server = start_gate(config_for(liar, ["streamed"], delivery="stream"))
        body = liar.body("streamed")
        for wanted in RANGES:
            start, end = span(wanted.lower(), len(body))
            assert server.get(file_of("streamed"), {"Range": wanted}).body == body[start:end]


def test_a_listing_without_any_digest_is_delivered_and_kept_under_the_digest_it_had(start_gate: Callable[..., Gate]) -> None:
    liar = Liar(sizes={"bare": SIZE}, entry={"bare": {"hashes": {}, "size": None}})
    with running(liar):
        server = start_gate(config_for(liar, ["bare"]))
        body = liar.body("bare")
        answer = server.get(file_of("bare"))
        assert (answer.status, answer.body) == (200, body)
        assert "ETag" not in answer.headers
        lies.wait_until(kept(server, "bare").exists)
        liar.sizes["bare"] = SIZE + 1
        assert server.get(file_of("bare")).body == body, "a file name never changes its content"
        assert server.get(file_of("bare"), {"Range": "bytes=-7"}).body == body[-7:]


def received(gate: Gate, path: str, headers: dict[str, str] | None = None) -> tuple[int, bytes, bool]:
    """Status, what arrived of the body, and whether it ended as HTTP says it must."""
    place = urlsplit(gate.url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=30)
    connection.request("GET", path, headers=headers or {})
    response = connection.getresponse()
    body, whole = b"", True
    try:
        while chunk := response.read1(65_536):
            body += chunk
        whole = response.length in (0, None)
    except (http.client.IncompleteRead, ConnectionError) as error:
        body += getattr(error, "partial", b"")
        whole = False
    connection.close()
    return response.status, body, whole


MISMATCHES: dict[str, tuple[lies.Lie, dict[str, object]]] = {
    "sha256": (lies.file_other, {}),
    "sha256-unsized": (lies.file_other, {"size": None}),
    "sha256-chunked": (lies.file_other_chunked, {"size": None}),
    "md5": (lies.honest_file, {"hashes": {"md5": "0" * 32}}),
    "sha512": (lies.honest_file, {"hashes": {"sha512": "0" * 128}}),
    "longer": (lies.file_longer, {}),
    "endless": (lies.file_endless, {}),
    "cut": (lies.file_cut, {}),
    "cut-chunked": (lies.file_cut_chunked, {}),
    "cut-close": (lies.file_cut_close, {}),
    "broken": (lies.file_broken_in_the_middle, {}),
}


@pytest.mark.parametrize("delivery", ["cache", "stream"])
def test_what_turns_out_wrong_is_broken_off_before_it_is_whole(start_gate: Callable[..., Gate], delivery: str) -> None:
    """At most all but the last 64 KiB arrive, nothing is kept, and the log says it once."""
    liar = Liar(
        files={name: lie for name, (lie, _) in MISMATCHES.items()},
        entry={name: entry for name, (_, entry) in MISMATCHES.items()},
        sizes=dict.fromkeys(MISMATCHES, 3 * MIB),
    )
    with running(liar):
        server = start_gate(config_for(liar, MISMATCHES, delivery=delivery))
        for name in MISMATCHES:
            log = len(server.log)
            body = liar.body(name)
            status, arrived, whole = received(server, file_of(name))
            assert not (whole and status == 200), name
            if status == 200:
                assert len(arrived) <= len(body) - 64 * 1024, name
                assert body.startswith(arrived)
            told = [line for line in server.log[log:].splitlines() if " ERROR " in line]
            said = [line for line in server.log[log:].splitlines() if " ERROR " in line or " WARNING " in line]
            assert len(told) == (0 if name.startswith(("cut", "broken")) else 1), (name, told)
            assert name in said[0]
            assert not kept(server, name).exists()
        assert_nothing_wrong_is_kept(server, liar)
        assert "Traceback" not in server.log
        liar.files.clear()
        liar.entry.clear()
        assert server.get(file_of("longer")).body == liar.body("longer")


RANGE_LIES: dict[str, str] = {
    "other-start": "bytes 1-9/{size}",
    "other-end": "bytes 0-8/{size}",
    "other-size": "bytes 0-9/99",
    "no-range": "bytes nonsense",
    "none": "",
}


def test_another_range_than_asked_for_is_refused(start_gate: Callable[..., Gate]) -> None:
    async def lie(talk: Talk) -> None:
        claim = RANGE_LIES[talk.name].format(size=len(talk.liar.body(talk.name)))
        lines = [f"Content-Range: {claim}"] if claim else []
        await talk.answer(b"0123456789", *lines, status="206 Partial Content", kind=lies.BYTES)

    async def short(talk: Talk) -> None:
        size = len(talk.liar.body(talk.name))
        await talk.answer(b"01234", f"Content-Range: bytes 0-9/{size}", status="206 Partial Content", kind=lies.BYTES)

    liar = Liar(files={**dict.fromkeys(RANGE_LIES, lie), "short": short})
    with running(liar):
        server = start_gate(config_for(liar, liar.files, delivery="stream"))
        for name in RANGE_LIES:
            assert server.get(file_of(name), {"Range": "bytes=0-9"}).status == 502, name
        status, arrived, whole = received(server, file_of("short"), {"Range": "bytes=0-9"})
        assert (status, arrived, whole) == (206, b"01234", False)


def test_a_file_whose_upstream_digest_changed_is_refused_with_an_alarm(start_gate: Callable[..., Gate]) -> None:
    liar = Liar()
    with running(liar):
        server = start_gate(config_for(liar, ["swapped"], fresh=0))
        first = server.get(file_of("swapped")).body
        lies.wait_until(kept(server, "swapped").exists)
        liar.sizes["swapped"] = 10
        for headers in ({}, {"Range": "bytes=0-9"}):
            answer = server.get(file_of("swapped"), {"Accept": "application/json", **headers})
            assert answer.status == 403
            assert "never changes its content" in answer.reason
            assert json.loads(answer.body)["reason"] == answer.reason
        assert server.log.count("ALARM") == 1, "once per page made, not once per request"
        assert kept(server, "swapped").read_bytes() == first


METADATA_LIES: dict[str, tuple[lies.Lie, int]] = {
    "meta-other": (partial(lies.content, body=metadata("meta-other", "2.0"), kind="text/plain"), 502),
    "meta-404": (partial(lies.status, line="404 No"), 502),
    "meta-403": (partial(lies.status, line="403 No"), 502),
    "meta-500": (partial(lies.status, line="500 No"), 503),
    "meta-html": (partial(lies.content, body=lies.SIGN_IN, kind=lies.HTML), 502),
    "meta-text": (partial(lies.content, body=b"hello", kind="text/plain"), 502),
    "meta-huge": (partial(lies.content, body=b"Metadata-Version: 2.1\n" + bytes(11 * MIB), kind="text/plain"), 502),
    "meta-nothing": (partial(lies.content, body=b"", kind="text/plain"), 502),
}


def test_core_metadata_is_right_or_not_given(start_gate: Callable[..., Gate]) -> None:
    right = {name: metadata(name, "1.0") for name in [*METADATA_LIES, "meta-right", "meta-unsaid", "meta-none"]}
    liar = Liar(
        files={name: lie for name, (lie, _) in METADATA_LIES.items()},
        entry={name: {"core-metadata": {"sha256": sha256(body)}} for name, body in right.items()},
    )
    liar.entry["meta-unsaid"] = {"core-metadata": True}
    liar.entry["meta-none"] = {}

    def honest(name: str) -> lies.Lie:
        return partial(lies.content, body=right[name], kind="application/octet-stream")

    liar.files |= {"meta-right": honest("meta-right"), "meta-unsaid": honest("meta-unsaid")}
    with running(liar):
        server = start_gate(config_for(liar, right))
        for name, (_, status) in METADATA_LIES.items():
            assert server.get(file_of(name) + ".metadata").status == status, name
        assert not (server.data / "store" / "metadata").exists(), "something wrong was kept"
        for name in ("meta-right", "meta-unsaid"):
            for _ in range(2):
                answer = server.get(file_of(name) + ".metadata")
                assert (answer.status, answer.body) == (200, right[name])
                assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
            assert liar.count(f"/{name}/files/{wheel_name(name, '1.0')}.metadata") == 1
        etag = {"If-None-Match": f'"{sha256(right["meta-right"])}"'}
        assert server.get(file_of("meta-right") + ".metadata", etag).status == 304
        answer = server.get(file_of("meta-none") + ".metadata")
        assert (answer.status, answer.body) == (200, right["meta-none"]), "read out of the wheel"
        assert liar.count(f"/meta-none/files/{wheel_name('meta-none', '1.0')}.metadata") == 0
        liar.files["meta-other"] = honest("meta-other")
        assert server.get(file_of("meta-other") + ".metadata").body == right["meta-other"]


def test_files_leave_over_tls_as_they_leave_without(tmp_path: Path, start_gate: Callable[..., Gate]) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    body = make_wheel(tmp_path / "wheels", "folder", "1.0", padding=6 * MIB).read_bytes()
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    liar = Liar(sizes={"held": SIZE})
    with running(liar):
        directory = f'[[source]]\nname = "wheels"\ntype = "directory"\nurl = "file:{tmp_path}/wheels"\n'
        pair = ("--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem"))
        server = start_gate(directory + config_for(liar, ["held"]), *pair)
        place = urlsplit(server.url)
        assert place.scheme == "https"
        connection = http.client.HTTPSConnection(str(place.hostname), place.port, timeout=30, context=trust)
        for name, right in (("folder", body), ("held", liar.body("held")), ("held", liar.body("held"))):
            for wanted in (None, "bytes=100-4999999"):
                connection.request("GET", file_of(name), headers={"Range": wanted} if wanted else {})
                response = connection.getresponse()
                assert response.status == (206 if wanted else 200)
                assert response.read() == (right[100:5_000_000] if wanted else right)
        connection.close()


def test_a_certificate_of_the_operators_own_authority_is_trusted_beside_the_machines(tmp_path: Path) -> None:
    """And one of an authority that neither knows is not, which the error says."""
    contexts = {}
    authorities = {name: trustme.CA() for name in ("own", "machine", "stranger")}
    for name, authority in authorities.items():
        contexts[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(contexts[name])
        authority.cert_pem.write_to_path(str(tmp_path / f"{name}.pem"))
    liars = {name: Liar() for name in authorities}
    with (
        running(liars["own"], tls=contexts["own"]),
        running(liars["machine"], tls=contexts["machine"]),
        running(liars["stranger"], tls=contexts["stranger"]),
    ):
        config = f'[server]\nca_file = "{tmp_path}/own.pem"\n' + "".join(config_for(liars[name], [name]) for name in liars)
        with gate(tmp_path / "gate", config, env={"SSL_CERT_FILE": str(tmp_path / "machine.pem")}) as server:
            assert server.get(file_of("own")).body == liars["own"].body("own")
            assert server.get(file_of("machine")).body == liars["machine"].body("machine")
            refused = server.get("/simple/stranger/")
            assert refused.status == 503
            assert "certificate" in refused.reason
            assert liars["stranger"].asked == []


def test_a_full_disk_is_no_reason_to_refuse_a_file(tmp_path: Path, start_gate: Callable[..., Gate]) -> None:
    """It is passed through and not kept; what turns out too large on its way is too."""
    disk = tmp_path / "gate0" / "data"
    disk.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", disk], check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    liar = Liar(sizes={"small": SIZE, "large": 20 * MIB, "unsized": 20 * MIB}, entry={"unsized": {"size": None}})
    try:
        with running(liar):
            server = start_gate(config_for(liar, liar.sizes))
            for name in liar.sizes:
                assert server.get(file_of(name)).body == liar.body(name), name
            lies.wait_until(kept(server, "small").exists)
            assert not kept(server, "large").exists()
            assert not kept(server, "unsized").exists()
            assert "the spool is full: make room at" in server.log
            assert_nothing_wrong_is_kept(server, liar)
            server.stop()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.parametrize("delivery", ["cache", "stream"])
def test_clients_that_read_nothing_cost_little_memory_and_hold_up_nobody(start_gate: Callable[..., Gate], delivery: str) -> None:
    liar = Liar(sizes={"large": 24 * MIB, "small": SIZE})
    with running(liar), ExitStack() as stack:
        server = start_gate(config_for(liar, liar.sizes, delivery=delivery))
        server.get("/simple/large/")
        with watched(server) as seen:
            for _ in range(20):
                stack.enter_context(lies.stalled(server, file_of("large")))
            assert server.get(file_of("small")).body == liar.body("small")
            assert server.get("/simple/large/").status == 200
        assert seen.grown_bytes < 64 * MIB, seen
        assert seen.held_up_s < 0.1, seen
