"""Broken set-ups, and what `wheelgate check` must say of each: where, what is wrong, what to do, what stands in meanwhile.

Every store here remembers better days: kept pages and listings, projects that sources were known by, claims. None of that may
speak for a source that is broken now.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme
from aiohttp import web

from tests.acceptance.configs import UPLOADS, index_source
from tests.support.gate import WHEELGATE, environment
from tests.support.github import TOKEN, Github, github
from tests.support.index import SIMPLE_JSON, Asked, FakeIndex, Handler, running
from tests.support.packages import wheel_bytes, wheel_name
from wheelgate.cli.check import run_checks
from wheelgate.cli.checks.findings import Finding
from wheelgate.config import load
from wheelgate.wiring import open_services

SECRET = "canary-7xq-do-not-print"
SIGNATURE = "sv=2025-01-05&sp=r&se=2030-01-01&sig=canary-signature"
OWN, BLOB, LOCAL = "acme-core", "acme-blob", "acme-local"
XML = '<?xml version="1.0" encoding="utf-8"?>'


@dataclass
class Upstream(FakeIndex):
    """An index that may turn into anything."""

    override: Handler | None = None

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.override is None:
            return await super().answer(request)
        self.asked.append(Asked(request.method, request.rel_url.raw_path, dict(request.headers)))
        return await self.override(request)


@dataclass
class Storage(Upstream):
    """A container with one wheel, at the wire; ``error``: what the service says to what it is asked."""

    error: Callable[[web.BaseRequest], tuple[int, str] | None] = lambda _: None

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(Asked(request.method, request.rel_url.raw_path_qs, dict(request.headers)))
        if self.override is not None:
            return await self.override(request)
        if (refused := self.error(request)) is not None:
            status, code = refused
            body = f"{XML}<Error><Code>{code}</Code><Message>no</Message></Error>"
            headers = {"x-ms-error-code": code, "x-ms-request-id": "0"}
            return web.Response(status=status, text=body, content_type="application/xml", headers=headers)
        wheel = wheel_bytes(BLOB, "1.0")
        headers = {
            "x-ms-request-id": "0",
            "ETag": '"0x8DC0FFEE"',
            "Last-Modified": formatdate(1_700_000_000, usegmt=True),
            "x-ms-creation-time": formatdate(1_700_000_000, usegmt=True),
            "x-ms-blob-type": "BlockBlob",
        }
        if request.query.get("comp") == "list":
            listed = (
                f"<Blob><Name>{wheel_name(BLOB, '1.0')}</Name><Properties>"
                f"<Creation-Time>{headers['Last-Modified']}</Creation-Time><Last-Modified>{headers['Last-Modified']}</Last-Modified>"
                f"<Etag>0x8DC0FFEE</Etag><Content-Length>{len(wheel)}</Content-Length><BlobType>BlockBlob</BlobType></Properties></Blob>"
            )
            body = f'{XML}<EnumerationResults ContainerName="box"><Blobs>{listed}</Blobs><NextMarker /></EnumerationResults>'
            return web.Response(text=body, content_type="application/xml", headers=headers)
        is_blob = request.method in ("GET", "HEAD") and "restype" not in request.query
        if is_blob and not request.path.endswith(".whl"):
            return web.Response(status=404, headers={"x-ms-error-code": "BlobNotFound", "x-ms-request-id": "0"})
        if request.method == "HEAD" and is_blob:
            return web.Response(headers={**headers, "Content-Length": str(len(wheel))})
        if is_blob:
            start, stop, _ = request.http_range.indices(len(wheel))
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(wheel)}"
            return web.Response(status=206, body=wheel[start:stop], headers=headers)
        return web.Response(headers=headers)


@dataclass
class World:
    """Servers that were fine when the store learned of them."""

    folder: Path
    team: Upstream
    public: Upstream
    plain: Upstream
    """Over TLS that is trusted."""
    misnamed: Upstream
    """Over TLS of another name."""
    stranger: Upstream
    """Over TLS of an authority that nobody knows."""
    storage: Storage
    hub: Github
    closed: int
    """A port that nobody listens on."""
    indexes: list[Upstream] = field(default_factory=list)

    def mend(self) -> None:
        for index in self.indexes:
            index.override, index.down, index.handlers = None, False, {}
            index.projects.clear()
            index.bare = False
        self.hub.refusal = None
        self.storage.error, self.storage.override = lambda _: None, None
        self.team.publish(OWN, wheel_name(OWN, "1.0"), wheel_bytes(OWN, "1.0"))
        for name in ("pip", "idna"):
            self.public.publish(name, wheel_name(name, "1.0"), wheel_bytes(name, "1.0"))
        (self.folder / "wheels").mkdir(exist_ok=True)
        (self.folder / "wheels" / wheel_name(LOCAL, "1.0")).write_bytes(wheel_bytes(LOCAL, "1.0"))

    def index(self, name: str, url: str, *lines: str) -> str:
        return "\n".join(["", "[[source]]", f'name = "{name}"', 'type = "index"', f'url = "{url}"', *lines, ""])

    def private(self, *lines: str, url: str = "") -> str:
        """The private index, with further settings."""
        return self.index("team", url or self.team.url, "private = true", *lines)

    def box(self, *lines: str, container: str = "box") -> str:
        url = f"{self.storage.origin}/devstoreaccount1/{container}"
        return "\n".join(["", "[[source]]", 'name = "box"', 'type = "blob"', f'url = "{url}"', *lines, ""])

    def releases(self, *repos: str) -> str:
        listed = ", ".join(f'"{repo}"' for repo in repos)
        source = f'\n[[source]]\nname = "tools"\ntype = "github"\nurl = "{self.hub.url}"\nrepos = [{listed}]\n'
        hosts = f'file_hosts = ["{self.hub.storage_host}"]\n'
        return source + hosts + self.connection(self.hub.api.origin, "Bearer", "Git").replace(":secret", ":token")

    @property
    def key(self) -> str:
        return 'account_key = "file:key"'

    def directory(self, url: str = "file:./wheels") -> str:
        return f'\n[[source]]\nname = "shared"\ntype = "directory"\nurl = "{url}"\n'

    def connection(self, target: str, auth_type: str = "PAT", category: str = "PythonFeed") -> str:
        fields = {"name": "acme", "category": category, "target": target, "auth_type": auth_type, "value": "file:secret"}
        return "\n[[connection]]\n" + "".join(f'{key} = "{value}"\n' for key, value in fields.items())

    def check(self, config: str, data: Path) -> list[Finding]:
        path = self.folder / "wheelgate.toml"
        path.write_text(config)
        return asyncio.run(run_checks(load(path, flags={"data": data}, environment={})))


def serve_tls(names: tuple[str, ...], authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    known, unknown = trustme.CA(), trustme.CA()
    known.cert_pem.write_to_path(folder / "ca.pem")
    (folder / "key").write_text("a2V5")
    (folder / "secret").write_text(SECRET)
    (folder / "sas").write_text(SIGNATURE)
    (folder / "ended").write_text(SIGNATURE.replace("2030", "2020"))
    (folder / "token").write_text(TOKEN)
    with ExitStack() as stack, socket.create_server(("127.0.0.1", 0)) as free:
        team, public = (stack.enter_context(running(Upstream())) for _ in range(2))
        plain = stack.enter_context(running(Upstream(), tls=serve_tls(("127.0.0.1",), known)))
        misnamed = stack.enter_context(running(Upstream(), tls=serve_tls(("pypi.example.com",), known)))
        stranger = stack.enter_context(running(Upstream(), tls=serve_tls(("127.0.0.1",), unknown)))
        storage = stack.enter_context(running(Storage()))
        hub = stack.enter_context(github())
        hub.release("acme/tools", "v1", {wheel_name("acme-tool", "1.0"): wheel_bytes("acme-tool", "1.0")})
        port = free.getsockname()[1]
        free.close()
        indexes = [team, public, plain, misnamed, stranger]
        yield World(folder, team, public, plain, misnamed, stranger, storage, hub, port, indexes)


@pytest.fixture(scope="module")
def better_days(world: World) -> Path:
    """A store that learned of every source while it was well."""
    world.mend()
    data = world.folder / "data"
    config = world.private("only = ['acme-core*']") + world.box(world.key, "only = ['acme-blob*']") + world.directory()
    path = world.folder / "good.toml"
    path.write_text(config + index_source(world.public))

    async def learn() -> None:
        async with open_services(load(path, flags={"data": data}, environment={})) as services:
            for name in (OWN, BLOB, LOCAL, "pip", "idna"):
                (await services.index.decide(name)).require_page()

    asyncio.run(learn())
    assert all(finding.ok for finding in world.check(config + index_source(world.public), data)), "they were good"
    return data


@pytest.fixture
def data(world: World, better_days: Path, tmp_path: Path) -> Path:
    shutil.copytree(better_days, tmp_path / "data")
    world.mend()
    return tmp_path / "data"


def say(status: int, body: str = "", kind: str = "text/html", **headers: str) -> Handler:
    """Say the same to everything."""

    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(
            status=status, text=body, content_type=kind, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )

    return answer


def only_files(status: int) -> Callable[[World], None]:
    def break_(world: World) -> None:
        world.team.handlers[f"/packages/{OWN}/{wheel_name(OWN, '1.0')}"] = say(status)

    return break_


def turn(handler: Handler) -> Callable[[World], None]:
    def break_(world: World) -> None:
        world.team.override = handler

    return break_


def refuse(status: int, code: str, when: Callable[[web.BaseRequest], bool] = lambda _: True) -> Callable[[World], None]:
    def break_(world: World) -> None:
        world.storage.error = lambda request: (status, code) if when(request) else None

    return break_


async def answer_empty(request: web.BaseRequest) -> web.StreamResponse:
    name = request.rel_url.raw_path.strip("/").split("/")[-1]
    page = {"meta": {"api-version": "1.0"}, "name": name, "files": []}
    return web.json_response(page, content_type=SIMPLE_JSON)


def answer_every_name(world: World) -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        is_its = request.rel_url.raw_path in (f"/simple/{OWN}/", "/simple/") or "/packages/" in request.path
        return await (FakeIndex.answer(world.team, request) if is_its else answer_empty(request))

    world.team.override = answer


def forward(world: World) -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.rel_url.raw_path in (f"/simple/{OWN}/", "/simple/") or "/packages/" in request.path:
            return await FakeIndex.answer(world.team, request)
        return web.Response(status=302, headers={"Location": f"{world.public.origin}{request.rel_url.raw_path}"})

    world.team.override = answer


def strip(*keys: str) -> Callable[[World], None]:
    def break_(world: World) -> None:
        for key in keys:
            entry = world.team.projects[OWN][wheel_name(OWN, "1.0")].entry
            entry.pop(key)
            entry |= {"hashes": {}} if key == "hashes" else {}

    return break_


def move_files(world: World) -> None:
    for published in world.team.projects[OWN].values():
        published.entry["url"] = f"{world.public.origin}/elsewhere/{published.entry['filename']}"


def unmount(world: World) -> None:
    (world.folder / "unmounted").mkdir(exist_ok=True)
    (world.folder / "wheels").rename(world.folder / "unmounted" / "wheels")
    (world.folder / "wheels").mkdir()


def no_feed(world: World) -> None:
    world.team.override = say(
        404, '{"$id":"1","message":"The feed with ID \'team\' doesn\'t exist.","typeKey":"FeedIdNotFoundException"}'
    )


def nothing(_: World) -> None:
    """The settings alone are wrong."""


class Row(NamedTuple):
    """A broken set-up, and what is said of it."""

    name: str
    config: Callable[[World], str]
    broken: Callable[[World], None]
    check: str
    """The row of ``--json`` that tells it."""
    says: tuple[str, ...]
    """Of these texts each, with ``{team}`` and so on for host and port."""
    ok: bool = False
    kept: str = ""
    """The project whose last good page stands in."""


OURS = "only = ['acme-core*']"
TABLE = [
    Row(
        "wrong path",
        lambda w: w.private(OURS, url=f"{w.team.origin}/simpel/"),
        nothing,
        "source.answers",
        ("http://{team}/simpel/", "Check that its url"),
    ),
    Row(
        "another product's page",
        lambda w: w.private(OURS),
        turn(say(200, "<html><title>Jenkins</title><h1>Dashboard</h1></html>")),
        "source.answers",
        ("http://{team}/simple/", "check that source[0].url is the one that installers use"),
        kept=OWN,
    ),
    Row(
        "a login page with 200",
        lambda w: w.private(OURS),
        turn(say(200, "<html><head><title>Sign in</title></head><form>...</form></html>")),
        "source.answers",
        ("wants a credential at {team} (it answered 200 with a sign-in page)", "store one with wheelgate connection set"),
        kept=OWN,
    ),
    Row(
        "404 of a load balancer",
        lambda w: w.private(OURS),
        turn(say(404, "<html><h1>404 no backend</h1></html>")),
        "source.answers",
        ("{team}", "nothing shows that an index answers there", "Check that its url"),
        kept="",
    ),
    Row(
        "404 of a load balancer, public",
        lambda w: index_source(w.public),
        lambda w: setattr(w.public, "override", say(404, "no backend")),
        "source.answers",
        ("{public}", "Check that its url"),
        kept="",
    ),
    Row(
        "503",
        lambda w: w.private(OURS),
        turn(say(503)),
        "source.answers",
        ("answered 503", "http://{team}/simple/", "start it, or correct source[0].url"),
        kept=OWN,
    ),
    Row(
        "an expired token",
        lambda w: w.private(OURS) + w.connection(w.team.origin),
        turn(say(401, "Personal Access Token used has expired")),
        "source.answers",
        ("connection acme was refused by {team}", "the PAT has expired: make a new one"),
        kept=OWN,
    ),
    Row(
        "a wrong token",
        lambda w: w.private(OURS) + w.connection(w.team.origin),
        turn(say(401)),
        "source.answers",
        ("connection acme was refused by {team}", "wheelgate connection set"),
        kept=OWN,
    ),
    Row(
        "no token",
        lambda w: w.private(OURS),
        turn(say(401)),
        "source.answers",
        ("no connection is stored for http://{team}/simple/acme-core/", "wheelgate connection set"),
        kept=OWN,
    ),
    Row(
        "a wrong host name",
        lambda w: w.private(OURS, url="http://no-such-host.invalid:8081/simple/"),
        nothing,
        "source.answers",
        ("http://no-such-host.invalid:8081", "correct the host in source[0].url"),
    ),
    Row(
        "nobody there",
        lambda w: w.private(OURS, url=f"http://127.0.0.1:{w.closed}/simple/"),
        nothing,
        "source.answers",
        ("cannot be reached at http://127.0.0.1:{closed} (connection refused)", "start it, or correct source[0].url"),
    ),
    Row(
        "TLS of another name",
        lambda w: "[server]\nca_file = 'ca.pem'\n" + w.private(OURS, url=w.misnamed.url),
        nothing,
        "source.answers",
        ("no trustworthy certificate for {misnamed}", "correct the host in source[0].url", "source[0].ca_file or server.ca_file"),
    ),
    Row(
        "TLS of an unknown authority",
        lambda w: "[server]\nca_file = 'ca.pem'\n" + w.private(OURS, url=w.stranger.url),
        nothing,
        "source.answers",
        ("no trustworthy certificate for {stranger}", "source[0].ca_file or server.ca_file"),
    ),
    Row(
        "no TLS there",
        lambda w: w.private(OURS, url=w.team.url.replace("http:", "https:")),
        nothing,
        "source.answers",
        ("https://{team}", "does not speak TLS there", "correct scheme or port in source[0].url"),
    ),
    Row(
        "a dead outbound proxy",
        lambda w: f"[server]\noutbound_proxy = 'http://127.0.0.1:{w.closed}'\n" + w.private(OURS),
        nothing,
        "source.answers",
        ("the outbound proxy does not answer", "correct server.outbound_proxy = http://127.0.0.1:{closed}", "start that proxy"),
        kept=OWN,
    ),
    Row(
        "an outbound proxy that wants a password",
        lambda w: w.private(OURS, f"outbound_proxy = '{w.public.origin}'"),
        lambda w: setattr(w.public, "override", say(407)),
        "source.answers",
        ("answered 407", "store a connection of category HttpProxy for source[0].outbound_proxy = http://{public}"),
        kept=OWN,
    ),
    Row(
        "files on a host that is not allowed",
        lambda w: w.private(OURS),
        move_files,
        "source.answers",
        (
            "has files of acme-core and may be asked for none",
            'if its files are meant to be there, list "{public}" in its file_hosts (',
        ),
        kept=OWN,
    ),
    Row(
        "a page but files 403",
        lambda w: w.private(OURS),
        only_files(403),
        "source.files",
        ("acme_core-1.0-py3-none-any.whl cannot be fetched from {team}", "wheelgate connection set"),
    ),
    Row(
        "a page but files 404",
        lambda w: w.private(OURS),
        only_files(404),
        "source.files",
        ("answered 404 for a file that it lists", "from {team}", "whoever runs it"),
    ),
    Row(
        "files behind a redirect to a host that is not allowed",
        lambda w: w.private(OURS),
        lambda w: w.team.handlers.update(
            {f"/packages/{OWN}/{wheel_name(OWN, '1.0')}": say(302, Location=f"{w.public.origin}/elsewhere")}
        ),
        "source.files",
        (
            "cannot be fetched from {team}",
            "redirects to http://{public}",
            "if its files are meant to be there, list that host in source[0].file_hosts",
        ),
    ),
    Row(
        "files without digests",
        lambda w: w.private(OURS),
        strip("hashes"),
        "source.digests",
        ("states no digests (the file of acme-core)",),
        ok=True,
    ),
    Row(
        "files without upload times",
        lambda w: w.private(OURS),
        strip("upload-time"),
        "source.times",
        ("sends no upload times",),
        ok=True,
    ),
    Row(
        "an index that redirects what it lacks",
        lambda w: w.private(),
        forward,
        "source.answers",
        ("redirects this page to {public}", "switch that off there", "http://{team}/simple/"),
        kept=OWN,
    ),
    Row(
        "an index that redirects to another source",
        lambda w: w.private() + index_source(w.public),
        forward,
        "source.manner",
        ("redirects names that it does not have to {public}, which is source public", "http://{team}/simple/"),
        ok=True,
    ),
    Row(
        "an index that answers every name",
        lambda w: w.private(),
        answer_every_name,
        "source.manner",
        ("answers every name", "http://{team}/simple/"),
        ok=True,
    ),
    Row(
        "empty pages for all",
        lambda w: w.private(),
        turn(answer_empty),
        "source.answers",
        (
            "answers with an empty page, but nothing shows that an index answers there",
            "Check that its url (http://{team}/simple/)",
        ),
        kept=OWN,
    ),
    Row(
        "only names that nobody has",
        lambda w: w.private("only = ['acme-core']"),
        nothing,
        "source.manner",
        ("source[0].only allows no name that nobody has",),
        ok=True,
    ),
    Row(
        "a container that is missing",
        lambda w: w.box(w.key),
        refuse(404, "ContainerNotFound"),
        "source.answers",
        ("there is no such container: create it, or correct the URL", "http://{storage}/devstoreaccount1/box"),
        kept=BLOB,
    ),
    Row(
        "a wrong account key",
        lambda w: w.box(w.key),
        refuse(403, "AuthenticationFailed"),
        "source.answers",
        ("refused us (AuthenticationFailed)", "the account key", "clock is wrong", "http://{storage}/devstoreaccount1/box"),
        kept=BLOB,
    ),
    Row(
        "a SAS without the right to list",
        lambda w: (
            w.box() + w.connection(f"{w.storage.origin}/devstoreaccount1/box", "SAS", "AzureBlob").replace(":secret", ":sas")
        ),
        refuse(403, "AuthorizationPermissionMismatch", lambda request: request.query.get("comp") == "list"),
        "source.answers",
        (
            "the SAS of connection",
            "has no right to list (sp=r): make a new one with r and l",
            "http://{storage}/devstoreaccount1/box",
        ),
        kept=BLOB,
    ),
    Row(
        "an expired SAS",
        lambda w: (
            w.box() + w.connection(f"{w.storage.origin}/devstoreaccount1/box", "SAS", "AzureBlob").replace(":secret", ":ended")
        ),
        refuse(403, "AuthenticationFailed"),
        "source.answers",
        ("the SAS of connection", "ended on 2020-01-01 00:00Z (se): make a new one", "http://{storage}/devstoreaccount1/box"),
        kept=BLOB,
    ),
    Row(
        "signed URLs that are refused",
        lambda w: w.box(w.key),
        refuse(403, "AuthenticationFailed", lambda request: "sig" in request.query),
        "source.signed",
        ('source[0].delivery = "redirect" sends clients to URLs that do not work', "{storage} refuses it (403", '= "stream"'),
    ),
    Row(
        "an account that answers as something else",
        lambda w: w.box(w.key),
        lambda w: setattr(w.storage, "override", say(200, "<html>captive portal</html>")),
        "source.answers",
        ("http://{storage}/devstoreaccount1/box",),
        kept=BLOB,
    ),
    Row(
        "a lost mount",
        lambda w: w.directory(),
        unmount,
        "source.answers",
        ("/wheels had packages, and is another one now, without any: is its disk mounted?", "put a first package there"),
    ),
    Row(
        "a folder that is not there",
        lambda w: w.directory("file:./wheeels"),
        nothing,
        "source.answers",
        ("/wheeels cannot be read (no such file or directory)", "source[0].url"),
    ),
    Row(
        "a feed that was renamed",
        lambda w: w.index("team", f"{w.team.origin}/tfs/acme/_packaging/team/pypi/simple/").replace('"index"', '"devops"'),
        no_feed,
        "source.answers",
        ("there is no such feed", "http://{team}/tfs/acme/_packaging/team/pypi/simple/", "are organisation, project, feed"),
    ),
    Row(
        "a repository that is gone",
        lambda w: w.releases("acme/tools", "acme/gone"),
        nothing,
        "source.answers",
        ("acme/gone: ", "has no such repository, or the token may not see it", "http://{hub}/api/v3/"),
    ),
    Row(
        "an organisation that wants single sign-on",
        lambda w: w.releases("acme/tools"),
        lambda w: setattr(w.hub, "refusal", "Resource protected by organization SAML enforcement."),
        "source.answers",
        ("acme/tools: ", "refused by {hub}", "wants single sign-on: authorise the token for it (Configure SSO)"),
    ),
    Row(
        "an organisation with an IP allow list",
        lambda w: w.releases("acme/tools"),
        lambda w: setattr(w.hub, "refusal", "The `acme` organization has an IP allow list enabled, and your IP is not permitted"),
        "source.answers",
        ("acme/tools: ", "{hub}", "lets only listed addresses in", "have this machine's address added"),
    ),
    Row(
        "a vault that cannot be reached",
        lambda w: f"[server]\nkey_vault = 'https://127.0.0.1:{w.closed}'\n" + w.box("account_key = 'keyvault:storage'"),
        nothing,
        "source.secret",
        ("source[0].account_key", "https://127.0.0.1:{closed}", "server.key_vault"),
    ),
    Row(
        "a secret that is not there",
        lambda w: w.box("account_key = 'file:gone'"),
        nothing,
        "source.secret",
        ("source[0].account_key: the file gone cannot be read: no such file or directory",),
    ),
    Row(
        "a store that may not be written",
        lambda w: f"[store]\nurl = '{w.storage.origin}/devstoreaccount1/store'\n{w.key}\n" + UPLOADS,
        refuse(403, "AuthorizationPermissionMismatch", lambda request: request.method == "PUT"),
        "store",
        ("http://{storage}/devstoreaccount1/store", "Storage Blob Data Contributor"),
    ),
    Row(
        "one place twice",
        lambda w: w.private() + index_source(w.team, "again", private=True),
        nothing,
        "duplicate",
        ("source[1].url is that of source team too (http://{team}/simple/)", "remove one of them"),
        ok=True,
    ),
    Row(
        "no name at all",
        lambda w: w.private("only = []"),
        nothing,
        "source.answers",
        ("is never asked: source[0].only names nothing",),
        ok=True,
    ),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name.replace(" ", "-"))
def test_what_is_broken_is_said_whatever_is_remembered(
    row: Row, world: World, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    row.broken(world)
    findings = world.check(row.config(world), data)
    told = [finding for finding in findings if finding.check == row.check]
    assert told, findings
    servers = {name: getattr(world, name) for name in ("team", "public", "misnamed", "stranger", "storage")}
    places = {name: server.origin.partition("//")[2] for name, server in (servers | {"hub": world.hub.api}).items()}
    (said,) = told
    assert (said.ok, said.doubtful or not row.ok or row.check in ("source.times", "source.manner")) == (row.ok, True)
    for text in row.says:
        assert text.format(**places, closed=world.closed) in said.detail
    assert all(finding.ok for finding in findings) == row.ok or row.check == "source.manner"
    for finding in findings:
        assert SECRET not in finding.detail
        assert "canary" not in finding.detail
        assert "\n" not in finding.detail
        assert len(finding.detail) < 700
    meanwhile = " ".join(finding.detail for finding in findings if finding.check == "source.meanwhile")
    if row.kept:
        assert re.search(rf"meanwhile its (last good page of {row.kept} stands in, of |page of {row.kept} is served)", meanwhile)
    elif not row.ok and row.check == "source.answers":
        assert "stand" in meanwhile
    assert "canary" not in caplog.text


def test_there_are_enough_of_them() -> None:
    assert len(TABLE) >= 24
    assert len({row.name for row in TABLE}) == len(TABLE)


def run(world: World, data: Path, config: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = world.folder / "run.toml"
    path.write_text(config)
    command = [WHEELGATE, "check", "-c", path, "--data", data, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment(world.folder), check=False)


def test_a_process_says_so_by_its_exit_status_and_in_rows(world: World, data: Path) -> None:
    good = world.private(OURS) + index_source(world.public)
    fine = run(world, data, good)
    assert (fine.returncode, fine.stderr) == (0, ""), fine.stdout
    world.team.override = say(401)
    broken = run(world, data, good, "--json")
    assert (broken.returncode, broken.stderr) == (1, "")
    rows = json.loads(broken.stdout)
    assert {tuple(row) for row in rows} == {("what", "ok", "detail", "doubtful", "check", "source")}
    failed = [row for row in rows if not row["ok"]]
    assert [(row["check"], row["source"]) for row in failed] == [("source.answers", "team")]
    assert ("source.meanwhile", "team") in [(row["check"], row["source"]) for row in rows]

    wrong = run(world, data, good.replace("only", "onyl"), "--json")
    assert (wrong.returncode, wrong.stderr) == (2, "")
    assert {row["check"] for row in json.loads(wrong.stdout)} == {"configuration"}
    assert json.loads(wrong.stdout)[0]["what"].startswith("source[0]")
