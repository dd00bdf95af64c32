"""The upload form, byte by byte: what is taken, and what each broken or hostile one is told."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.attestations import attestation
from tests.support.clock import FakeClock
from tests.support.packages import ODD_NAMES, odd_wheel, wheel_bytes, wheel_name
from tests.support.stores import WatchedStore
from wheelgate.core.errors import UploadRefused, WheelgateError
from wheelgate.core.names import is_safe_filename
from wheelgate.core.patterns import NamePatterns
from wheelgate.index.merged import Member, Merged
from wheelgate.runtime.metrics import Metrics
from wheelgate.sources.blob_packages import BlobPackages
from wheelgate.storage import layout
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.claims import Claims
from wheelgate.storage.room import MARGIN_BYTES, MAX_FILE_BYTES
from wheelgate.storage.spool import Spool
from wheelgate.storage.tokens import Tokens
from wheelgate.uploads.accept import Destination, Uploads
from wheelgate.uploads.manage import UploadManager
from wheelgate.web.auth import Authentication, parse_authorization
from wheelgate.web.errors import build_error_response
from wheelgate.web.paths import parse_path
from wheelgate.web.upload import UploadHandlers, _check_kind

WHEEL = wheel_name("acme-lib", "1.0")
BODY = wheel_bytes("acme-lib", "1.0", padding=100_000)
PATH = layout.package("acme-lib", WHEEL)
BOUNDARY = "----boundary"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
Part = tuple[str, bytes]


class Answer(NamedTuple):
    status: int
    text: str


def content(body: bytes = BODY, filename: str = WHEEL) -> Part:
    return (f'form-data; name="content"; filename="{filename}"', body)


def field(name: str, value: str | bytes) -> Part:
    return (f'form-data; name="{name}"', value.encode() if isinstance(value, str) else value)


def form(*parts: Part, end: str = "--") -> bytes:
    pieces = [
        f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + body + b"\r\n" for disposition, body in parts
    ]
    return b"".join(pieces) + f"--{BOUNDARY}{end}\r\n".encode()


class RoomySpool(Spool):
    left = 10**12

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, free=lambda _: self.left, wait_s=0.05)


class Server:
    """The handler behind a socket, with a store in memory."""

    def __init__(self, folder: Path, clock: FakeClock, stall_s: float) -> None:
        self.store = WatchedStore()
        self.spool = RoomySpool(folder)
        self.spool.prepare()
        changes, metrics = StoreChanges(self.store, clock), Metrics()
        claims, self.tokens = Claims(self.store, clock, changes), Tokens(self.store, clock, changes)
        source = BlobPackages(name="uploads", store=self.store, prefix=layout.PACKAGES, clock=clock)
        index = Merged(
            [Member(source, private=True)], claims=claims, clock=clock, metrics=metrics, reserved=NamePatterns([]), merges=[]
        )
        targets = [Destination("uploads", self.store, layout.PACKAGES)]
        uploads = Uploads(
            store=self.store, targets=targets, index=index, claims=claims, changes=changes, clock=clock, metrics=metrics
        )
        packages = UploadManager(targets, store=self.store, changes=changes)
        authentication = Authentication(self.tokens, anonymous_read=True)
        services: Any = SimpleNamespace(store=self.store, uploads=uploads, packages=packages, spool=self.spool)
        self.handlers = UploadHandlers(services, authentication, stall_s=stall_s)
        self.unforeseen: list[Exception] = []
        self.token = ""
        self.port = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self.handlers.act(request)
        except WheelgateError as error:
            return build_error_response(error, request, "id")
        except ConnectionError:
            raise
        except Exception as error:
            self.unforeseen.append(error)
            raise

    async def post(self, body: bytes | Sequence[bytes], **headers: str) -> Answer:
        """Send a form, in pieces if it is given so, and then no more; what it is said to be is for ``headers``."""
        pieces = [body] if isinstance(body, bytes) else body
        given = {
            "Authorization": f"Bearer {self.token}",
            "Content-Type": FORM,
            "Content-Length": str(sum(map(len, pieces))),
            "Connection": "close",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        lines = ["POST /legacy/ HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in given.items() if value), "", ""]
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write("\r\n".join(lines).encode())
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            async with asyncio.timeout(10):
                head = await reader.readuntil(b"\r\n\r\n")
                answer = await reader.read(2_000)
        finally:
            writer.close()
        return Answer(int(head.split()[1]), answer.decode())

    def is_stored(self, path: str = PATH) -> bool:
        return path in self.store.inner.blobs  # type: ignore[attr-defined]

    @property
    def spooled(self) -> list[str]:
        return [path.name for path in self.spool.folder.iterdir() if path.name != ".lock"]


@pytest.fixture
async def server(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Server]:
    made = Server(tmp_path / "spool", clock, stall_s=0.3)
    made.token, _ = await made.tokens.new(("upload",), timedelta(days=1))
    runner = web.ServerRunner(web.Server(made.handle, access_log=None, auto_decompress=False), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()
    assert made.unforeseen == []
    assert made.spooled == []
    made.spool.close()


async def refused(server: Server, body: bytes | Sequence[bytes], sentence: str, status: int = 400, **headers: str) -> None:
    answer = await server.post(body, **headers)
    assert answer.status == status, answer
    assert sentence in answer.text
    assert answer.text.count("\n") == 1
    assert not server.is_stored()


# --- good forms


async def test_a_file_is_taken_wherever_it_stands_among_the_fields(server: Server) -> None:
    before, after = field(":action", "file_upload"), field("description", "A README.\r\n" * 5_000)
    for parts in ((before, after, content()), (content(), before, after), (before, content(), after)):
        await server.store.delete(PATH)
        assert await server.post(form(*parts)) == (200, f"{WHEEL} stored\n")
        assert (await server.store.read(PATH))[0] == BODY


async def test_how_the_bytes_are_cut_on_their_way_does_not_matter(server: Server) -> None:
    body = form(field("name", ""), field(":action", "file_upload"), content())
    small = (
        [body[at : at + 1] for at in range(400)]
        + [body[400:-300]]
        + [body[at : at + 1] for at in range(len(body) - 300, len(body))]
    )
    assert (await server.post(small)).status == 200
    assert (await server.store.read(PATH))[0] == BODY


async def test_the_same_again_is_a_success_and_other_bytes_are_not(server: Server) -> None:
    assert (await server.post(form(content()))).text == f"{WHEEL} stored\n"
    assert await server.post(form(content())) == (200, f"{WHEEL} known already, with the same bytes\n")
    other = await server.post(form(content(wheel_bytes("acme-lib", "1.0"))))
    assert (other.status, other.text.startswith("File already exists")) == (400, True)


@pytest.mark.parametrize("odd", ODD_NAMES, ids="-".join)
async def test_a_file_name_survives_every_way_in_which_clients_write_it(
    server: Server, tmp_path: Path, odd: tuple[str, str, str]
) -> None:
    """Plain as twine and uv send it, encoded as in a URL (aiohttp), and extended (RFC 5987)."""
    wheel = odd_wheel(tmp_path, *odd)
    encoded = quote(wheel.name, safe="")
    told = set()
    for name in (f'filename="{wheel.name}"', f'filename="{encoded}"', f"filename*=UTF-8''{encoded}"):
        answer = await server.post(form((f'form-data; name="content"; {name}', wheel.read_bytes())))
        assert answer.status == 200, (name, answer)
        told.add(answer.text.split(" ")[0])
    assert told == {wheel.name}


@settings(deadline=None, max_examples=300)
@given(st.from_regex(r"[A-Za-z0-9._+!]{1,30}(-[A-Za-z0-9._+!]{1,20}){4,5}\.whl", fullmatch=True))
def test_a_file_name_in_a_url_is_itself_however_it_is_encoded(filename: str) -> None:
    for encoded in (filename, quote(filename), quote(filename, safe=""), filename.replace("+", "%2b")):
        found = parse_path(f"/files/acme/{encoded}", "")
        assert found.filename == (filename if is_safe_filename(filename) else ""), encoded


@pytest.mark.parametrize(
    "filename",
    [
        "acme_lib-1.0%252Bcpu-py3-none-any.whl",
        "acme%2Flib-1.0-py3-none-any.whl",
        "..%2Facme_lib-1.0-py3-none-any.whl",
        "%",
        "%ff",
    ],
)
async def test_what_is_encoded_and_no_distributions_name_stays_refused(server: Server, filename: str) -> None:
    await refused(server, form(content(filename=filename)), "is not an acceptable file name")


@pytest.mark.parametrize(
    ("name", "version"), [("acme-lib", "1.0"), ("Acme_Lib", "1"), ("acme.lib", "v1.0.0"), ("", ""), (" acme-lib ", " 1.0 ")]
)
async def test_a_form_may_state_the_files_name_and_version_in_any_spelling(server: Server, name: str, version: str) -> None:
    assert (await server.post(form(field("name", name), field("version", version), content()))).status == 200


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("name", "acme", "belongs to the project acme-lib, not to 'acme' as the form says"),
        ("name", "acme lib", "belongs to the project acme-lib, not to 'acme lib' as the form says"),
        ("version", "2.0", "is of version 1.0, not of '2.0' as the form says"),
        ("version", "1.0+cpu", "is of version 1.0, not of '1.0+cpu' as the form says"),
        ("version", "nonsense", "is of version 1.0, not of 'nonsense' as the form says"),
        ("filetype", "sdist", "is a bdist_wheel, not a 'sdist' as the form says"),
        ("filetype", "bdist_egg", "is a bdist_wheel, not a 'bdist_egg' as the form says"),
        ("pyversion", "source", "is for py3, not for 'source' as the form says"),
        ("pyversion", "cp39", "is for py3, not for 'cp39' as the form says"),
        ("pyversion", "py2.py4", "is for py3, not for 'py2.py4' as the form says"),
        ("pyversion", "\x1b[2J", "is for py3, not for "),
    ],
)
@pytest.mark.parametrize("last", [True, False])
async def test_a_form_that_contradicts_its_file_is_refused(server: Server, name: str, value: str, said: str, last: bool) -> None:
    parts = [content(), field(name, value)]
    await refused(server, form(*(parts if last else reversed(parts))), f"{WHEEL} {said}")


@pytest.mark.parametrize(
    ("filename", "stated"),
    [
        (WHEEL, {"filetype": "bdist_wheel", "pyversion": "py3"}),  # twine, uv, flit, hatch, pdm, poetry, maturin
        (WHEEL, {"filetype": " bdist_wheel\n", "pyversion": "PY2.py3"}),
        (WHEEL, {"filetype": "bdist_wheel", "pyversion": "3.10"}),  # `setup.py upload`, of the Python that ran it
        (WHEEL, {"filetype": "", "pyversion": ""}),
        ("acme_lib-1.0.tar.gz", {"filetype": "sdist", "pyversion": "source"}),
        ("acme_lib-1.0.tar.gz", {"filetype": "sdist", "pyversion": ""}),
        ("acme_lib-1.0-pp39-pypy39_pp73-linux_x86_64.whl", {"filetype": "bdist_wheel", "pyversion": "cp39"}),  # maturin
        ("acme_lib-1.0-cp37-abi3-linux_x86_64.whl", {"filetype": "bdist_wheel", "pyversion": "cp37"}),
        ("acme_lib-1.0-cp312-abi3-linux_x86_64-cu126.whl", {"filetype": "bdist_wheel", "pyversion": "cp312"}),
        ("acme_lib-1.0-py2.py3-none-any.whl", {"filetype": "bdist_wheel", "pyversion": "py3.py2"}),
        ("acme_lib-1.0-graalpy311-graalpy230_311_native-linux_x86_64.whl", {"pyversion": "graalpy311"}),
    ],
)
def test_what_tools_say_of_the_kind_of_file_is_no_contradiction(filename: str, stated: dict[str, str]) -> None:
    _check_kind(stated, filename)


@pytest.mark.parametrize(
    ("filename", "stated"),
    [
        ("acme_lib-1.0.tar.gz", {"filetype": "bdist_wheel"}),
        ("acme_lib-1.0.zip", {"filetype": "bdist_dumb"}),
        ("acme_lib-1.0.tar.gz", {"pyversion": "py3"}),
        ("acme_lib-1.0-cp312-cp312-linux_x86_64.whl", {"pyversion": "cp311"}),
        ("acme_lib-1.0-cp312-cp312-linux_x86_64.whl", {"pyversion": "py3"}),
    ],
)
def test_the_kind_of_file_is_compared_for_each(filename: str, stated: dict[str, str]) -> None:
    with pytest.raises(UploadRefused, match=f"^{re.escape(filename)} is (a|for) .* as the form says$"):
        _check_kind(stated, filename)


@pytest.mark.parametrize("name", [":action", "name", "version", "filetype", "sha256_digest", "attestations"])
async def test_a_field_that_is_stated_twice_and_not_alike_refuses_the_form(server: Server, name: str) -> None:
    twice = (field(name, "acme-lib"), content(), field(name, "other"))
    await refused(server, form(*twice), f"the form states {name} twice, and not alike")


async def test_a_field_may_be_repeated(server: Server) -> None:
    assert (await server.post(form(field("name", "acme-lib"), content(), field("name", "acme-lib")))).status == 200


async def test_the_digest_of_an_old_upload_command_is_passed_over_where_another_is_compared(server: Server) -> None:
    """Python 3.10's `setup.py upload` states 512 bits where 256 belong."""
    long = field("blake2_256_digest", hashlib.blake2b(BODY).hexdigest())
    right, wrong = (field("sha256_digest", hashlib.sha256(body).hexdigest()) for body in (BODY, b""))
    await refused(server, form(long, content()), "the file arrived with blake2_256 ")
    await refused(server, form(long, wrong, content()), "the file arrived with sha256 ")
    assert (await server.post(form(long, right, content()))).status == 200


def _digests(body: bytes) -> dict[str, list[str]]:
    md5 = hashlib.md5(body, usedforsecurity=False)
    sha256, blake2 = hashlib.sha256(body).hexdigest(), hashlib.blake2b(body, digest_size=32).hexdigest()
    padded = base64.urlsafe_b64encode(md5.digest()).decode()
    return {
        "sha256_digest": [sha256, sha256.upper(), f" {sha256}\n", ""],
        "md5_digest": [md5.hexdigest(), md5.hexdigest().upper(), padded, padded.rstrip("=")],
        "blake2_256_digest": [blake2],
    }


@pytest.mark.parametrize(("name", "at"), [(name, at) for name, values in _digests(b"").items() for at in range(len(values))])
async def test_a_digest_that_is_right_is_accepted_in_every_spelling(server: Server, name: str, at: int) -> None:
    for body in (BODY, wheel_bytes("acme-lib", "1.0", padding=77)):
        await server.store.delete(PATH)
        assert (await server.post(form(field(name, _digests(body)[name][at]), content(body)))).status == 200


@pytest.mark.parametrize("name", ["sha256_digest", "md5_digest", "blake2_256_digest"])
@pytest.mark.parametrize("last", [True, False])
async def test_a_digest_that_is_wrong_refuses_the_file(server: Server, name: str, last: bool) -> None:
    algorithm = name.removesuffix("_digest")
    other = _digests(b"other bytes")[name]
    for stated in (*filter(None, other), "0", "x" * 64, "é", "=", "!!!!", "A" * 5):
        parts = (content(), field(name, stated)) if last else (field(name, stated), content())
        await refused(server, form(*parts), f"the file arrived with {algorithm} ")


async def test_attestations_in_the_form_are_kept_and_empty_ones_are_none(server: Server) -> None:
    sent = json.dumps([attestation(WHEEL, hashlib.sha256(BODY).hexdigest())])
    assert (await server.post(form(field("attestations", " "), content()))).text == f"{WHEEL} stored\n"
    assert not server.is_stored(layout.provenance(PATH))
    assert (await server.post(form(field("attestations", sent), content()))).status == 200
    assert server.is_stored(layout.provenance(PATH))
    await server.store.delete(PATH)
    await refused(server, form(field("attestations", "[]"), content()), "its attestations are 0")
    await refused(server, form(content(), field("attestations", b"\xff" * 300_000)), "its attestations have more than")


# --- broken forms


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\r\n",
        b"not a form at all",
        b"x\r\n" * 1_000,
        form(content())[:-200],
        form(content(), end=""),
        form(content())[: -len(BOUNDARY) - 4],
        form(content()).replace(b"\r\n\r\n", b"\r\n", 1),
        f"--{BOUNDARY}\r\n".encode(),
        f"--{BOUNDARY}\r\nContent-Disposition".encode(),
        f"--{BOUNDARY}\r\nno colon\r\n\r\nx\r\n--{BOUNDARY}--\r\n".encode(),
        f"--{BOUNDARY}\r\n".encode() + b"X: y\r\n" * 5_000 + b"\r\n",
        f"--{BOUNDARY}\r\nX: ".encode() + b"y" * 100_000 + b"\r\n\r\n",
        form(field("_charset_", "x" * 40), content()),
        form(field("_charset_", b"\xff"), content()),
        f"--{BOUNDARY}\r\nContent-Type: multipart/mixed\r\n\r\n\r\n--{BOUNDARY}--\r\n".encode(),
        f"--{BOUNDARY}\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n--{BOUNDARY}--\r\n".encode(),
    ],
)
async def test_a_malformed_form_is_refused_in_one_sentence(server: Server, body: bytes) -> None:
    await refused(server, body, "the form ")


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "application/octet-stream",
        "multipart/mixed; boundary=x",
        "multipart/",
        "multipart",
        "multipart/form-data",
        "multipart/form-data; boundary=" + "x" * 71,
        "multipart/form-data; boundary=",
        "multipart/form-data, text/html; boundary=x",
        '"multipart/form-data"; boundary=x',
    ],
)
async def test_what_is_no_form_is_refused(server: Server, kind: str) -> None:
    await refused(server, form(content()), "form", Content_Type=kind)


@pytest.mark.parametrize(
    "second", [content(), content(b"more"), ('form-data; name="content"', b"more")], ids=["same", "other", "nameless"]
)
async def test_two_files_are_refused_and_never_joined(server: Server, second: Part) -> None:
    """A zip with something before it is still a zip."""
    for parts in ((content(), second), (second, content())):
        await refused(server, form(*parts), "the form has two files; send one a request")


@pytest.mark.parametrize(
    "parts", [(), (field("name", "acme-lib"),), (('form-data; name="content"', BODY),), (content(filename=""),)]
)
async def test_a_form_without_a_named_file_is_refused(server: Server, parts: tuple[Part, ...]) -> None:
    await refused(server, form(*parts), "the form names no file")


@pytest.mark.parametrize(
    "filename", ["../../etc/passwd", "a/b-1.0.tar.gz", "x.txt", ".whl", "acme\\lib-1.0.tar.gz", "x" * 300 + ".whl"]
)
async def test_a_file_name_that_is_none_is_refused(server: Server, filename: str) -> None:
    await refused(server, form(content(filename=filename)), "")


async def test_an_unknown_action_is_refused(server: Server) -> None:
    await refused(server, form(field(":action", "submit"), content()), "unknown action 'submit'")
    await refused(server, form(field(":action", "delete")), "the form names no file")


async def test_fields_may_not_be_a_bomb(server: Server) -> None:
    await refused(server, form(field("description", b"x" * (17 * 1024 * 1024)), content()), "larger than any", 413)
    many = [field(f"classifiers{n}", "x" * 1_000_000) for n in range(18)]
    await refused(server, form(*many, content()), "larger than any", 413)
    wide = [field("description", "\U0001f600" * 1_000_000) for _ in range(5)]  # bytes count, not characters
    await refused(server, form(*wide, content()), "larger than any", 413)
    await refused(server, form(*(field(f"f{n}", "") for n in range(5_001)), content()), "not one that upload tools send")


async def test_a_long_description_and_many_classifiers_are_fine(server: Server) -> None:
    parts = [field("classifiers", f"Topic :: {n}") for n in range(500)]
    assert (await server.post(form(*parts, field("description", "ö" * 2_000_000), content()))).status == 200


# --- before the body is read


async def test_a_compressed_body_is_refused(server: Server) -> None:
    for encoding in ("gzip", "deflate", "br", "GZIP"):
        await refused(server, form(content()), "must not be compressed", Content_Encoding=encoding)
    assert (await server.post(form(content()), Content_Encoding="identity")).status == 200


async def test_one_announced_too_large_is_refused_before_it_is_read(server: Server) -> None:
    for length in (MAX_FILE_BYTES + 1, 10**18):
        answer = await server.post(form(content())[:100], Content_Length=str(length))
        assert answer.status == 413
        assert f"{length} bytes are more than" in answer.text


async def test_one_without_room_is_refused_before_it_is_read(server: Server) -> None:
    server.spool.left = MARGIN_BYTES + 1_000
    answer = await server.post(form(content())[:100], Content_Length="20000000")
    assert answer == (507, "the spool is full: whoever runs this server has to make room\n")
    assert (await server.post(form(content()))).status == 507
    server.spool.left = 10**12
    assert (await server.post(form(content()))).status == 200
    assert server.spool.room.promised_bytes == server.spool.room.used_bytes == 0


async def test_what_takes_nothing_in_needs_no_room(server: Server) -> None:
    assert (await server.post(form(content()))).status == 200
    server.spool.left = 0
    away = server.spool.folder.rename(server.spool.folder.with_name("away"))
    for action in ("yank", "unyank", "delete"):
        assert (await server.post(form(field(":action", action), field("filename", WHEEL)))).status == 200
    away.rename(server.spool.folder)


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer x", "Basic", "Basic !", "Basic é", "Basic 4pyT4pyT/w==", "Digest x"]
)
async def test_nobody_uploads_without_a_token_and_the_body_is_not_read(server: Server, authorization: str) -> None:
    answer = await server.post(form(content())[:100], Content_Length="50000", Authorization=authorization)
    assert answer.status == 401
    assert not server.is_stored()


@pytest.mark.parametrize("header", ["Basic é", "Basic \udcff", "basic YQ", "Basic /w==", "Basic YTo6", "Bearer  "])
def test_a_header_that_holds_no_secret_is_none_or_text(header: str) -> None:
    assert parse_authorization(header) in (None, ":")


# --- clients that stall or leave


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"preamble\r\n",
        f"--{BOUNDARY}\r\n".encode(),
        f"--{BOUNDARY}\r\nContent-Dispo".encode(),
        form(field("a", "b"))[:-4],
        form(content())[:50_000],
    ],
    ids=["nothing", "preamble", "boundary", "header", "end", "file"],
)
async def test_a_client_that_stalls_is_not_waited_for_for_ever_wherever_it_does(server: Server, sent: bytes) -> None:
    async with asyncio.timeout(5):
        answer = await server.post(sent, Content_Length="200000")
    assert answer == (400, "the form came too slowly\n")
    assert not server.is_stored()


async def test_a_client_that_sends_a_byte_now_and_then_is_not_waited_for_either(server: Server) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = f"POST /legacy/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token}\r\nContent-Type: {FORM}\r\n"
    writer.write(f"{head}Content-Length: 200000\r\n\r\n".encode() + form(content())[:200])
    began = time.monotonic()
    while not (answer := reader._buffer):  # type: ignore[attr-defined]
        assert time.monotonic() < began + 5
        writer.write(b"x")
        await asyncio.sleep(0.05)
    assert answer.startswith(b"HTTP/1.1 400")
    writer.close()


async def test_a_client_that_leaves_leaves_nothing_behind(server: Server) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = f"POST /legacy/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token}\r\nContent-Type: {FORM}\r\n"
    writer.write(f"{head}Content-Length: 200000\r\n\r\n".encode() + form(content())[:50_000])
    await until(lambda: bool(server.spooled))
    writer.close()
    await writer.wait_closed()
    await until(lambda: not server.spooled)
    assert not server.is_stored()
    assert reader is not None


async def until(seen: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not seen():
            await asyncio.sleep(0.005)
