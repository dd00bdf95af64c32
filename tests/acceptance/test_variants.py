"""Wheel variants (PEP 825) through a running server, as real uv takes them: what it chooses directly it chooses here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.configs import UPLOADS, index_source, uploads_and
from tests.support.clients import pip, uv
from tests.support.gate import Answer, Gate, gate
from tests.support.index import FakeIndex, running
from tests.support.lies import wait_until
from tests.support.packages import metadata, sha256, wheel_bytes, wheel_name

VERSION = "1.0"
SCHEMA = "https://variants-schema.wheelnext.dev/peps/825/v0.1.1.json"


def document_name(name: str) -> str:
    return f"{name}-{VERSION}-variants.json"


def document(*labels: str) -> bytes:
    """The index document: all labels of the version. ``null`` needs nothing of a machine; the others what none has."""
    variants = {label: {} if label == "null" else {"x86_64": {"level": ["v99"]}} for label in labels}
    return json.dumps({"$schema": SCHEMA, "default-priorities": {"namespace": ["x86_64"]}, "variants": variants}).encode()


def variant_wheel(name: str, label: str | None) -> tuple[str, bytes]:
    """A wheel whose module says which it is."""
    filename = wheel_name(name, VERSION)
    extra = {f"{name}_label.py": f"V = {label!r}\n".encode()}
    if label is None:
        return filename, wheel_bytes(name, VERSION, extra=extra)
    extra[f"{name}-{VERSION}.dist-info/variant.json"] = document(label)
    return filename.replace(".whl", f"-{label}.whl"), wheel_bytes(name, VERSION, extra=extra)


def publish(index: FakeIndex, name: str, *labels: str, **entry: object) -> None:
    """The plain wheel, one for each label, and the document that names all of them."""
    for label in (None, *labels):
        index.publish(name, *variant_wheel(name, label))
    index.publish(name, document_name(name), document(*labels), **entry)


def install(home: Path, index_url: str, name: str) -> str | None:
    """Install with uv, into a folder of its own; which wheel it took."""
    target = home / f"site{len(list(home.iterdir()))}"
    preview = ["--preview-features", "wheel-variants", "--refresh"]
    uv(home, "pip", "install", *preview, "--target", target, "--index-url", index_url, name)
    said: dict[str, str | None] = {}
    exec((target / f"{name}_label.py").read_text(), said)  # noqa: S102 - made above
    return said["V"]


def get_document(server: Gate, name: str) -> Answer:
    """The document: never to be kept without asking."""
    answer = server.get(f"/files/{name}/{document_name(name)}")
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-cache"), answer.reason
    assert answer.headers["ETag"] == f'"{sha256(answer.body)}"'
    return answer


def entries(server: Gate, name: str) -> dict[str, dict[str, object]]:
    return {entry["filename"]: entry for entry in server.page(name)["files"]}


@pytest.mark.parametrize("html", [False, pytest.param(True, marks=pytest.mark.long)], ids=["json", "html"])
def test_uv_takes_a_label_that_is_added_later_as_directly(
    start_gate: Callable[..., Gate], index: FakeIndex, home: Path, html: bool
) -> None:
    index.html = html  # on the wire also below
    publish(index, "varpkg", "future")
    server = start_gate(uploads_and(index, fresh="1s"))
    assert (install(home, index.url, "varpkg"), install(home, server.index_url, "varpkg")) == (None, None)
    publish(index, "varpkg", "future", "null")
    assert install(home, index.url, "varpkg") == "null"
    wait_until(lambda: len(entries(server, "varpkg")) == 4)
    assert install(home, server.index_url, "varpkg") == "null", "else a CPU build instead of one for the GPU, without a word"
    assert "ALARM" not in server.log
    pip(home, "install", "--target", home / "by-pip", "--index-url", server.index_url, "varpkg")
    assert (home / "by-pip" / "varpkg_label.py").read_text() == "V = None\n", "who knows no variants goes on without"


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeIndex]:
    with running(FakeIndex()) as index:
        yield index


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("wheels")


@pytest.fixture(scope="module")
def server(upstream: FakeIndex, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """Its index is asked for a page once an hour."""
    kept = f'\n[[source]]\nname = "folder"\ntype = "directory"\nurl = "file:{folder}"\n'
    settings = UPLOADS + kept + index_source(upstream, "public", fresh="1h")
    with gate(tmp_path_factory.mktemp("server"), settings) as running_gate:
        yield running_gate


@pytest.mark.parametrize(("name", "html"), [("one", False), ("two", True)], ids=["json", "html"])
def test_a_document_that_changed_takes_its_page_along(server: Gate, upstream: FakeIndex, name: str, html: bool) -> None:
    """What is served has the digest that the newest page shows, however fresh the page of before was."""
    upstream.html = html
    publish(upstream, name, "future")
    first = get_document(server, name)
    assert entries(server, name)[document_name(name)]["hashes"] == {"sha256": sha256(first.body)}
    assert "core-metadata" not in entries(server, name)[document_name(name)]
    assert server.get(f"/files/{name}/{document_name(name)}.metadata").status == 404
    publish(upstream, name, "future", "null")
    assert get_document(server, name).body == first.body, "as long as our page says so, and we have it"
    server.restart()
    publish(upstream, name, "future", "null", "third")
    entries(server, name)
    publish(upstream, name, "future", "null", "third", "fourth")
    assert get_document(server, name).body == document("future", "null", "third", "fourth")
    listed = entries(server, name)
    assert listed[document_name(name)]["hashes"] == {"sha256": sha256(document("future", "null", "third", "fourth"))}
    assert variant_wheel(name, "fourth")[0] in listed
    assert "ALARM" not in server.log


def test_a_document_answers_head_and_conditions(server: Gate, upstream: FakeIndex) -> None:
    upstream.html = False
    publish(upstream, "three", "null")
    whole = get_document(server, "three")
    path = f"/files/three/{document_name('three')}"
    head = server.get(path, method="HEAD")
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(whole.body)))
    assert server.get(path, {"If-None-Match": whole.headers["ETag"]}).status == 304
    assert server.get(path, {"Range": "bytes=0-3"}).body == whole.body
    assert whole.headers["Content-Type"] == "application/json"


def test_core_metadata_of_a_variant_is_there_at_the_first_request(server: Gate, upstream: FakeIndex) -> None:
    upstream.html, upstream.bare = False, True
    try:
        publish(upstream, "four", "null")
        wheel, _ = variant_wheel("four", "null")
        assert entries(server, "four")[wheel]["core-metadata"]
        answer = server.get(f"/files/four/{wheel}.metadata")
        assert (answer.status, answer.body) == (200, metadata("four", VERSION))
    finally:
        upstream.bare = False


def test_a_variant_is_uploaded_and_listed(server: Gate, tmp_path: Path) -> None:
    filename, body = variant_wheel("five", "cu128")
    (tmp_path / filename).write_bytes(body)
    added = server.run("wheel", "add", tmp_path / filename)
    assert added.returncode == 0, added.stderr
    entry = entries(server, "five")[filename]
    assert (entry["core-metadata"], entry["hashes"]) == (
        {"sha256": sha256(metadata("five", VERSION))},
        {"sha256": sha256(body)},
    )
    assert server.get(f"/files/five/{filename}.metadata").body == metadata("five", VERSION)
    assert '"version": "1.0"' in server.run("wheel", "list", "five", "--json").stdout
    wrong = tmp_path / filename.replace("cu128", "null")
    wrong.write_bytes(body)
    refused = server.run("wheel", "add", wrong)
    assert (refused.returncode, "is named for the variant null, but its variant.json has 'cu128'" in refused.stderr) == (1, True)


def test_a_folder_has_variants_and_their_document(server: Gate, folder: Path) -> None:
    for label in (None, "null"):
        filename, body = variant_wheel("six", label)
        (folder / filename).write_bytes(body)
    (folder / document_name("six")).write_bytes(document("null"))
    wait_until(lambda: server.get("/simple/six/").status == 200)
    wait_until(lambda: len(entries(server, "six")) == 3)
    assert entries(server, "six")[variant_wheel("six", "null")[0]]["core-metadata"] == {
        "sha256": sha256(metadata("six", VERSION))
    }
    assert get_document(server, "six").body == document("null")
    (folder / document_name("six")).write_bytes(document("null", "later"))
    wait_until(lambda: entries(server, "six")[document_name("six")]["hashes"] == {"sha256": sha256(document("null", "later"))})
    assert get_document(server, "six").body == document("null", "later")
    explained = server.run("explain", "six").stdout
    assert "folder" in explained


def test_an_outage_a_restart_and_a_server_that_is_offline_have_the_last_document(
    start_gate: Callable[..., Gate], index: FakeIndex, home: Path
) -> None:
    publish(index, "seven", "null")
    server = start_gate(uploads_and(index, fresh="1s"))
    assert install(home, server.index_url, "seven") == "null"
    wait_until(lambda: any(server.data.rglob(document_name("seven"))))
    index.down = True
    server.restart()
    assert get_document(server, "seven").body == document("null")
    server.stop()
    server.config.write_text("[server]\noffline = true\n" + server.config.read_text())
    server.start()
    assert get_document(server, "seven").body == document("null")
    assert install(home, server.index_url, "seven") == "null"
