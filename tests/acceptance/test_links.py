"""Links as indexes write them: what pip and uv install directly is had through the server, and what is refused is named."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from tests.acceptance.configs import UPLOADS
from tests.support.clients import pip, uv
from tests.support.gate import Gate, gate
from tests.support.index import SIMPLE_JSON, running
from tests.support.installers import pip_of
from tests.support.packages import sha256, wheel_bytes, wheel_name

READ, REFUSED = "read", "refused"
LINKS: dict[str, tuple[str, str, str]] = {
    # name: link, what becomes of it, and where the file is asked for or how the refusal reads
    "absolute": ("http://{o}/f/{f}", READ, "/f/{f}"),
    "rooted": ("/f/{f}", READ, "/f/{f}"),
    "relative": ("../../f/{f}", READ, "/f/{f}"),
    "beside": ("{f}", READ, "/simple/{p}/{f}"),
    "dot-beside": ("./{f}", READ, "/simple/{p}/{f}"),
    "network-path": ("//{o}/f/{f}", READ, "/f/{f}"),
    "upper-scheme": ("HTTP://{o}/f/{f}", READ, "/f/{f}"),
    "fragment": ("/f/{f}#egg=x", READ, "/f/{f}"),
    "query": ("/f/{f}?token=1", READ, "/f/{f}"),
    "query-with-path": ("/f/{f}?to=//../x", READ, "/f/{f}"),
    "user": ("http://user@{o}/f/{f}", READ, "/f/{f}"),
    "password": ("http://user:secret@{o}/f/{f}", READ, "/f/{f}"),
    "empty-user": ("http://@{o}/f/{f}", READ, "/f/{f}"),
    "user-alone": ("//user:secret@{o}/f/{f}", READ, "/f/{f}"),
    "empty-segment": ("/f//g/{f}", READ, "/f//g/{f}"),
    "empty-segment-absolute": ("http://{o}/f//g///{f}", READ, "/f//g///{f}"),
    "empty-segment-first": ("http://{o}//f/{f}", READ, "//f/{f}"),
    "dots": ("/x/../f/./{f}", READ, "/f/{f}"),
    "dots-absolute": ("http://{o}/x/../f/{f}", READ, "/f/{f}"),
    "dots-above": ("../../../../../f/{f}", READ, "/f/{f}"),
    "space": ("/a b/{f}", READ, "/a%20b/{f}"),
    "space-encoded": ("/a%20b/{f}", READ, "/a%20b/{f}"),
    "space-absolute": ("http://{o}/a b/{f}", READ, "/a%20b/{f}"),
    "letters": ("/\u00e9/{f}", READ, "/%C3%A9/{f}"),
    "letters-absolute": ("http://{o}/\u00e9/{f}", READ, "/%C3%A9/{f}"),
    "odd-characters": ("/a+b=c;d,e@1/{f}", READ, "/a+b=c;d,e@1/{f}"),
    "space-around": (" /f/{f} ", READ, "/f/{f}"),
    "encoded-dots": ("/x/%2e%2e/f/{f}", REFUSED, "its path could be read in two ways"),
    "encoded-slash": ("/f%2Fg/{f}", REFUSED, "its path could be read in two ways"),
    "backslash": ("\\f\\{f}", REFUSED, "it is malformed"),
    "line-end": ("/f/\n{f}", REFUSED, "it is malformed"),
    "no-authority": ("http:/{o}/f/{f}", REFUSED, "it is not an absolute http(s) URL"),
    "scheme-alone": ("http:f/{f}", REFUSED, "it is not an absolute http(s) URL"),
    "script": ("javascript:{f}", REFUSED, "it is not an absolute http(s) URL"),
    "file": ("file:///etc/{f}", REFUSED, "it is not an absolute http(s) URL"),
    "ftp": ("ftp://{o}/{f}", REFUSED, "it is not an absolute http(s) URL"),
    "trailing-dot": ("http://localhost./{f}", REFUSED, "its host is not written plainly"),
    "user-of-another": ("http://{o}@other.invalid/{f}", REFUSED, "at http://other.invalid:80, which is not among its file_hosts"),
    "other-host": (
        "https://other.invalid/{f}",
        REFUSED,
        "at https://other.invalid:443, which is not among its file_hosts",
    ),
    "other-port": ("http://127.0.0.1:9/{f}", REFUSED, "at http://127.0.0.1:9, another port than its own"),
}
SIZES = {"size-none": None, "size-zero": 0, "size-negative": -1, "size-absurd": 10**30}
ARGUED = {"encoded-dots", "encoded-slash", "backslash", "line-end", "no-authority", "scheme-alone", "trailing-dot", "file"}
"""Links that some installer follows and the server does not: two readers may take them to two places."""
ALL_READ = {name for name, (_, becomes, _) in LINKS.items() if becomes == READ}


@dataclass
class LinkIndex:
    """Pages with these links, each beside one that anybody can follow; a file is had wherever its name ends the path."""

    asked: list[tuple[str, str]] = field(default_factory=list)
    """Raw paths, and what came along as Authorization."""
    url: str = ""
    origin: str = ""

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.rel_url.raw_path
        self.asked.append((path, request.headers.get("Authorization", "")))
        parts = path.strip("/").split("/")
        if parts[0] == "simple" and len(parts) == 2:
            files = self.entries(parts[1])
            page = {"meta": {"api-version": "1.0"}, "name": parts[1], "files": files}
            return web.json_response(page, content_type=SIMPLE_JSON) if files else web.Response(status=404)
        project, _, rest = parts[-1].partition("-")
        version = rest.partition("-")[0]
        if not parts[-1].endswith(".whl"):
            return web.Response(status=404)
        return web.Response(body=wheel_bytes(project.replace("_", "-"), version), content_type="application/octet-stream")

    def entries(self, project: str) -> list[dict[str, object]]:
        if project not in LINKS and project not in SIZES:
            return []
        link = LINKS[project][0] if project in LINKS else "/f/{f}"
        made = []
        for version, href in (("2.0", link), ("1.0", "/f/{f}")):
            name, body = wheel_name(project, version), wheel_bytes(project, version)
            url = href.format(o=self.origin.removeprefix("http://"), f=name, p=project)
            entry: dict[str, object] = {"filename": name, "url": url, "hashes": {"sha256": sha256(body)}}
            if SIZES.get(project) is not None:
                entry["size"] = SIZES[project]
            made.append(entry)
        return made


@pytest.fixture(scope="module")
def upstream() -> Iterator[LinkIndex]:
    with running(LinkIndex()) as made:
        yield made


@pytest.fixture(scope="module")
def server(upstream: LinkIndex, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    source = f'[[source]]\nname = "team"\ntype = "index"\nurl = "{upstream.url}"\nprivate = true\n'
    with gate(tmp_path_factory.mktemp("links"), UPLOADS + source) as made:
        yield made


def expected(project: str, upstream: LinkIndex, text: str) -> str:
    return text.format(o=upstream.origin.removeprefix("http://"), f=wheel_name(project, "2.0"), p=project)


@pytest.mark.parametrize("project", LINKS)
def test_a_link_is_read_as_it_was_written_or_named(project: str, upstream: LinkIndex, server: Gate) -> None:
    _, becomes, said = LINKS[project]
    name = wheel_name(project, "2.0")
    page = {file["filename"]: file for file in server.page(project)["files"]}
    assert wheel_name(project, "1.0") in page, "one link is one file's matter"
    answer = server.get(f"/files/{project}/{name}")
    if becomes == READ:
        assert name in page
        assert (answer.status, answer.body) == (200, wheel_bytes(project, "2.0"))
        asked = {path for path, _ in upstream.asked if path.endswith(f"/{name}")}
        assert asked == {expected(project, upstream, said)}
        assert all(authorization == "" for _, authorization in upstream.asked)
    else:
        assert name not in page
        assert answer.status == 403
        (withheld,) = json.loads(server.get(f"/explain/{project}").body)["withheld"]
        assert (withheld["file"], withheld["rule"]) == (name, "link")
        assert expected(project, upstream, said) in withheld["reason"]
        assert not any(name in path for path, _ in upstream.asked)
    assert "secret" not in server.log


@pytest.mark.parametrize("project", SIZES)
def test_a_size_that_is_none_is_left_out_and_the_file_is_had(project: str, server: Gate) -> None:
    body = server.get(f"/files/{project}/{wheel_name(project, '2.0')}").body
    assert body == wheel_bytes(project, "2.0")
    assert all(file.get("size") != SIZES[project] or file.get("size") is None for file in server.page(project)["files"])


def install(home: Path, client: str, index_url: str, project: str) -> bool:
    """Whether a client gets the version behind the link in question."""
    target, wanted = home / f"{client}-{project}-{urlsplit(index_url).port}", f"{project}==2.0"
    if client == "uv":
        options = ["--no-deps", "--no-cache", "--python", sys.executable, "--target", target, "--default-index", index_url]
        return uv(home, "pip", "install", *options, wanted, ok=None, env={"UV_HTTP_RETRIES": "0"}).returncode == 0
    options = ["--no-deps", "--no-cache-dir", "--retries", "0", "--timeout", "3", "--target", target, "--index-url", index_url]
    options += ["--trusted-host", "127.0.0.1"]
    if client == "pip":
        return pip(home, "install", *options, wanted, ok=None).returncode == 0
    from tests.support.installers import run

    try:
        run([sys.executable, pip_of(client.partition(" ")[2]), "install", *options, wanted], home)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("client", ["pip", "uv"])
@pytest.mark.parametrize("project", ["password", "empty-segment"])
def test_what_a_client_installs_directly_it_installs_through_the_server(
    home: Path, upstream: LinkIndex, server: Gate, client: str, project: str
) -> None:
    assert install(home, client, upstream.url, project)
    assert install(home, client, server.index_url, project)


@pytest.mark.long
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("client", ["pip", "pip 22.3.1", "uv"])
def test_every_link_directly_and_through_the_server(home: Path, upstream: LinkIndex, server: Gate, client: str) -> None:
    table = {name: (install(home, client, upstream.url, name), install(home, client, server.index_url, name)) for name in LINKS}
    for name, (direct, through) in table.items():
        print(f"{name:24} {LINKS[name][1]:8} directly {direct!s:6} through {through}")
    assert {name for name, (_, through) in table.items() if through} == ALL_READ
    assert {name for name, (direct, through) in table.items() if direct and not through} <= ARGUED
