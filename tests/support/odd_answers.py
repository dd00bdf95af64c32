"""Pages in every content coding, type and character set that servers give them, and what real installers make of each."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.support.clients import uv
from tests.support.gate import environment

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "text/html"
Headers = tuple[tuple[str, str], ...]


def json_page(name: str) -> bytes:
    entry = {"filename": f"{name}-1.0-py3-none-any.whl", "url": f"/f/{name}-1.0-py3-none-any.whl", "hashes": {"sha256": "0" * 64}}
    return json.dumps({"meta": {"api-version": "1.0"}, "name": name, "files": [entry]}).encode()


def html_page(name: str) -> bytes:
    link = f'<a href="/f/{name}-1.0-py3-none-any.whl#sha256={"0" * 64}">{name}-1.0-py3-none-any.whl</a>'
    return f"<!DOCTYPE html><html><head><title>Links for {name}</title></head><body>{link}</body></html>".encode()


def deflated(body: bytes, wbits: int = 15) -> bytes:
    deflater = zlib.compressobj(wbits=wbits)
    return deflater.compress(body) + deflater.flush()


def same(body: bytes) -> bytes:
    return body


@dataclass(frozen=True)
class OddAnswer:
    """A page as it is sent, and who reads it: as seen, pip 26.3 and uv 0.13."""

    headers: Headers
    page: Callable[[str], bytes] = json_page
    change: Callable[[bytes], bytes] = same
    pip: bool = False
    uv: bool = False
    ours: bool | None = None
    """``None``: whatever pip or uv reads."""
    says: str = ""
    """What the refusal names."""

    @property
    def is_read(self) -> bool:
        return self.pip or self.uv if self.ours is None else self.ours


@contextmanager
def serving(answers: dict[str, OddAnswer]) -> Iterator[str]:
    """An index of one project for each answer, named ``odd-0`` and so on; its URL."""
    numbered = dict(enumerate(answers.values()))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            name = self.path.strip("/").rpartition("/")[2]
            number = name.removeprefix("odd-")
            if number.isdecimal():
                answer = numbered[int(number)]
                self.answer(200, answer.headers, answer.change(answer.page(name.replace("-", "_"))))
            elif self.path == "/simple/":
                listed = {"meta": {"api-version": "1.0"}, "projects": [{"name": "odd-0"}]}
                self.answer(200, (("Content-Type", JSON),), json.dumps(listed).encode())
            else:
                self.answer(404, (("Content-Type", "text/plain"),), b"not found")

        def answer(self, status: int, headers: Headers, body: bytes) -> None:
            self.send_response(status)
            for key, value in headers:
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/simple/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


_AS_PIP = """
import sys
from pip._internal.index.collector import _get_index_content, parse_links
from pip._internal.models.link import Link
from pip._internal.network.session import PipSession
session = PipSession(trusted_hosts=["127.0.0.1"])
for url in sys.argv[1:]:
    try:
        content = _get_index_content(Link(url), session=session)
        print(0 if content is None else len(list(parse_links(content))))
    except Exception as error:
        print(0)
"""


def read_by_pip(home: Path, index_url: str, count: int) -> list[bool]:
    """Whether pip finds the file of each project, by the very functions that it reads pages with."""
    urls = [f"{index_url}odd-{number}/" for number in range(count)]
    done = subprocess.run(
        [sys.executable, "-c", _AS_PIP, *urls], capture_output=True, text=True, timeout=120, env=environment(home), cwd=home
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    return [line != "0" for line in done.stdout.split()]


def read_by_uv(home: Path, index_url: str, numbers: Sequence[int]) -> list[bool]:
    """Whether uv finds the file of each project."""
    found = []
    for number in numbers:
        wanted = home / "wanted.in"
        wanted.write_text(f"odd-{number}\n")
        done = uv(home, "pip", "compile", "--no-deps", "--no-cache", "--default-index", index_url, wanted, ok=None)
        found.append(done.returncode == 0 and f"odd-{number}==1.0" in done.stdout)
    return found


def _typed(kind: str, *more: tuple[str, str]) -> Headers:
    return (("Content-Type", kind), *more)


def _coded(coding: str, kind: str = JSON) -> Headers:
    return _typed(kind, ("Content-Encoding", coding))


def _brotli(body: bytes) -> bytes:
    """The body as brotli has it: one meta-block of bytes as they are, and an empty last one (RFC 7932, 9.2)."""
    assert 1 < len(body) <= 65_536
    bits = (
        0b0 | (0 << 1) | ((len(body) - 1) << 4) | (1 << 20)
    ) << 1  # window of 16 bits; not last, 4 nibbles, length, uncompressed
    return bits.to_bytes(3, "little") + body + b"\x03"


ANSWERS: dict[str, OddAnswer] = {
    "plain": OddAnswer(_typed(JSON), pip=True, uv=True),
    "gzip": OddAnswer(_coded("gzip"), change=gzip.compress, pip=True, uv=True),
    "gzip, upper": OddAnswer(_coded("GZIP"), change=gzip.compress, pip=True),
    "x-gzip": OddAnswer(_coded("x-gzip"), change=gzip.compress, pip=True),
    "deflate": OddAnswer(_coded("deflate"), change=deflated, pip=True, uv=True),
    "deflate, raw": OddAnswer(_coded("deflate"), change=lambda body: deflated(body, -15), pip=True),
    "deflate of HTML": OddAnswer(_coded("deflate", HTML), html_page, deflated, pip=True, uv=True),
    "br": OddAnswer(_coded("br"), change=_brotli, says="and is not read here ('br')"),
    "zstd": OddAnswer(
        _coded("zstd"), change=lambda body: b"\x28\xb5\x2f\xfd\x00\x00\x00" + body, says="and is not read here ('zstd')"
    ),
    "compress": OddAnswer(_coded("compress"), pip=True, uv=True),
    "identity": OddAnswer(_coded("identity"), pip=True, uv=True),
    "identity, upper": OddAnswer(_coded("Identity"), pip=True, uv=True),
    "no coding": OddAnswer(_coded(""), pip=True, uv=True),
    "none": OddAnswer(_coded("none"), pip=True, uv=True),
    "utf-8": OddAnswer(_coded("utf-8"), pip=True, uv=True),
    "UTF-8 of HTML": OddAnswer(_coded("UTF-8", HTML), html_page, pip=True, uv=True),
    "aws-chunked": OddAnswer(_coded("aws-chunked"), pip=True, uv=True),
    "gzip that is not": OddAnswer(_coded("gzip"), says="not a whole gzip file"),
    "deflate that is not": OddAnswer(_coded("deflate"), says="compressed page that is"),
    "gzip unsaid": OddAnswer(_typed(JSON), change=gzip.compress, says="no Content-Encoding says so"),
    "gzip twice": OddAnswer(_coded("gzip, gzip"), change=lambda body: gzip.compress(gzip.compress(body)), pip=True),
    "gzip said twice": OddAnswer(_coded("gzip, gzip"), change=gzip.compress, ours=True),
    "gzip in two headers": OddAnswer((*_coded("gzip"), ("Content-Encoding", "gzip")), change=gzip.compress, uv=True),
    "gzip twice in two headers": OddAnswer(
        (*_coded("gzip"), ("Content-Encoding", "gzip")), change=lambda body: gzip.compress(gzip.compress(body)), pip=True
    ),
    "identity, gzip": OddAnswer(_coded("identity, gzip"), change=gzip.compress, ours=True),
    "gzip, identity": OddAnswer(_coded("gzip, identity"), change=gzip.compress, ours=True),
    "utf-8, gzip": OddAnswer(_coded("utf-8, gzip"), change=gzip.compress, ours=True),
    "identity twice": OddAnswer(_coded("identity, identity"), pip=True, uv=True),
    "gzip cut": OddAnswer(
        _coded("gzip"),
        change=lambda body: gzip.compress(body)[:-9],
        pip=True,
        ours=False,
        says="broke off in the middle of a page",
    ),
    "deflate cut": OddAnswer(_coded("deflate"), change=lambda body: deflated(body)[:-6], says="broke off"),
    "gzip and more": OddAnswer(
        _coded("gzip"),
        change=lambda body: gzip.compress(body) + gzip.compress(b" "),
        pip=True,
        uv=True,
        ours=False,
        says="more behind its end",
    ),
    "type twice in two headers": OddAnswer((("Content-Type", JSON), ("Content-Type", JSON)), pip=True, uv=True),
    "type twice in one": OddAnswer(_typed(f"{JSON}, {JSON}"), pip=True),
    "JSON, then HTML": OddAnswer((("Content-Type", JSON), ("Content-Type", HTML)), pip=True, uv=True),
    "HTML, then JSON; JSON": OddAnswer((("Content-Type", HTML), ("Content-Type", JSON)), says="what it calls HTML and is JSON"),
    "HTML, then JSON; HTML": OddAnswer((("Content-Type", HTML), ("Content-Type", JSON)), html_page, pip=True, uv=True),
    "HTML twice in one": OddAnswer(_typed(f"{HTML}, {HTML}"), html_page, pip=True),
    "HTML twice with charsets": OddAnswer(_typed(f"{HTML}; charset=utf-8, {HTML}; charset=utf-8"), html_page, uv=True),
    "JSON with charset": OddAnswer(_typed(f"{JSON}; charset=utf-8"), pip=True, uv=True),
    "JSON with odd charset": OddAnswer(_typed(f"{JSON}; charset=klingon"), pip=True, uv=True),
    "JSON, upper": OddAnswer(_typed(JSON.upper()), pip=True),
    "JSON, semicolon": OddAnswer(_typed(f"{JSON};"), pip=True, uv=True),
    "JSON, blank before": OddAnswer(_typed(f"  {JSON}  "), pip=True, uv=True),
    "JSON and more letters": OddAnswer(
        _typed(f"{JSON}5"), pip=True, ours=False, says="the content type 'application/vnd.pypi.simple.v1+json5'"
    ),
    "latest JSON": OddAnswer(_typed("application/vnd.pypi.simple.latest+json"), ours=True),
    "JSON v2": OddAnswer(_typed("application/vnd.pypi.simple.v2+json"), ours=True),
    "application/json": OddAnswer(_typed("application/json"), says="'application/json'"),
    "JSON as text/html": OddAnswer(_typed(HTML), says="what it calls HTML and is JSON"),
    "JSON as octets": OddAnswer(_typed("application/octet-stream"), says="'application/octet-stream'"),
    "JSON without type": OddAnswer((), says="content type 'none'"),
    "HTML as JSON": OddAnswer(_typed(JSON), html_page, says="project page: it is HTML"),
    "HTML": OddAnswer(_typed(HTML), html_page, pip=True, uv=True),
    "HTML as v1+html": OddAnswer(_typed("application/vnd.pypi.simple.v1+html"), html_page, pip=True, uv=True),
    "HTML as latest+html": OddAnswer(_typed("application/vnd.pypi.simple.latest+html"), html_page, ours=True),
    "HTML as text/plain": OddAnswer(_typed("text/plain"), html_page, says="'text/plain'"),
    "HTML as xhtml": OddAnswer(_typed("application/xhtml+xml"), html_page, says="'application/xhtml+xml'"),
    "HTML as text/html5": OddAnswer(_typed("text/html5"), html_page, pip=True, ours=False, says="'text/html5'"),
    "HTML without type": OddAnswer((), html_page, says="content type 'none'"),
    "HTML with empty type": OddAnswer(_typed(""), html_page, says="content type 'none'"),
    "charset quoted": OddAnswer(_typed(f'{HTML}; charset="UTF-8"'), html_page, pip=True, uv=True),
    "charset apostrophes": OddAnswer(_typed(f"{HTML}; charset='utf-8'"), html_page, pip=True, uv=True),
    "charset utf8": OddAnswer(_typed(f"{HTML};charset=utf8"), html_page, pip=True, uv=True),
    "charset latin-1": OddAnswer(
        _typed(f"{HTML}; charset=ISO-8859-1"), html_page, lambda body: body + b"\xe9", pip=True, uv=True
    ),
    "charset empty": OddAnswer(_typed(f"{HTML}; charset="), html_page, pip=True, uv=True),
    "charset unknown": OddAnswer(_typed(f"{HTML}; charset=klingon"), html_page, uv=True, ours=False, says="'klingon'"),
    "charset of bytes": OddAnswer(_typed(f"{HTML}; charset=base64"), html_page, uv=True, ours=False, says="'base64'"),
    "charset twice": OddAnswer(_typed(f"{HTML}; charset=utf-8; charset=latin-1"), html_page, pip=True, uv=True),
    "charset utf-16": OddAnswer(
        _typed(f"{HTML}; charset=utf-16"), html_page, lambda body: body.decode().encode("utf-16"), pip=True
    ),
    "charset utf-16, without mark": OddAnswer(
        _typed(f"{HTML}; charset=utf-16"), html_page, lambda body: body.decode().encode("utf-16-le"), pip=True
    ),
    "utf-16 unsaid": OddAnswer(_typed(HTML), html_page, lambda body: body.decode().encode("utf-16"), says="not an index page"),
    "HTML, latin-1 unsaid": OddAnswer(_typed(HTML), html_page, lambda body: body.replace(b"</body>", b"caf\xe9</body>"), uv=True),
    "HTML with mark": OddAnswer(_typed(HTML), html_page, lambda body: b"\xef\xbb\xbf" + body, pip=True, uv=True),
    "HTML with mark, utf-8": OddAnswer(
        _typed(f"{HTML}; charset=utf-8"), html_page, lambda body: b"\xef\xbb\xbf" + body, pip=True, uv=True
    ),
    "JSON with mark": OddAnswer(_typed(JSON), change=lambda body: b"\xef\xbb\xbf" + body, pip=True),
    "JSON, utf-16": OddAnswer(
        _typed(JSON), change=lambda body: body.decode().encode("utf-16"), pip=True, ours=False, says="it is UTF-16"
    ),
    "JSON, blanks around": OddAnswer(_typed(JSON), change=lambda body: b"\r\n\t " + body + b"\n\n", pip=True, uv=True),
}
"""By name; every one is sent without having been asked for."""
