"""Azure DevOps on loopback, as far as Python feeds go: its hosts, its identifiers, its moods, and the storage behind it.

Everything it says was seen of the real one (by what people reported of it), or stands in the public reference of its REST
interface (:mod:`tests.support.feed_service`). It is reached under its real names, over real TLS, through an outbound proxy that
leads them here; and as a server of a company's own.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import html
import json
import re
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qs, quote, unquote

import trustme
from aiohttp import web

from tests.support import feed_service
from tests.support.entra import OBJECT, TENANT, claims_of
from tests.support.lies import hang_up
from tests.support.packages import wheel_bytes, wheel_name
from tests.support.tunnels import OutboundProxy, certified, outbound

HOST = "pkgs.dev.azure.com"
SERVER = "tfs.acme.example"
"""An Azure DevOps Server; its collections are organisations here, below ``/tfs``."""
STORAGE = "vsblobprodsu6weu.vsblob.vsassets.io"
RESOURCE = "499b84ac-1321-427f-aa17-267ca6975798"
SIMPLE_JSON = "application/vnd.pypi.simple.v1+json"
_LEGACY = re.compile(r"([a-z0-9-]+)\.pkgs\.visualstudio\.com")
_SIGN_IN = "<html><head><title>Azure DevOps Services | Sign In</title></head><body><form></form></body></html>"
_API = ["_apis", "packaging", "feeds"]
_CONTAINER = "b-0efb4611d5654cd19a647d6d7c9e9f2a"

Mood = Callable[[web.BaseRequest], web.StreamResponse | None]
"""Says something else than the feed would, or lets it speak."""


@dataclass
class Asked:
    """One request, as it arrived."""

    host: str
    method: str
    path: str
    query: str
    headers: dict[str, str]
    status: int = 0

    @property
    def is_page(self) -> bool:
        return "/pypi/simple/" in self.path


Files = dict[str, tuple[str, bytes]]
"""File name to the version as it was uploaded, and the body."""


@dataclass
class Upstream:
    """An upstream source of a feed: a public index, or another feed."""

    name: str = "PyPI"
    kind: str = "public"
    protocol: str = "pypi"
    location: str = "https://pypi.org/"
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    files: dict[str, Files] = field(default_factory=dict)
    """Of a public one: what it has, by project."""
    feed: Feed | None = None
    """Of an internal one."""
    removed: bool = False
    """Its saved versions are still in the feed."""

    def listed(self, project: str) -> Files:
        return self.files.get(project, {}) if self.feed is None else self.feed.listed(project)


@dataclass
class Origin:
    """Of a version that was published to a feed, or saved in it."""

    version: str
    upstream: str | None = None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    deleted: bool = False


@dataclass
class Feed:
    """One feed: found by its name or identifier, inside a project or not."""

    name: str
    project: str | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    project_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    files: dict[str, dict[str, tuple[str, bytes]]] = field(default_factory=dict)
    """Project to file name to the version as it was uploaded, and the body."""
    views: dict[str, tuple[str, set[str]]] = field(default_factory=dict)
    """Name to identifier and the files that were promoted to it."""
    upstreams: list[Upstream] = field(default_factory=list)
    origins: dict[str, dict[str, Origin]] = field(default_factory=dict)
    """Project to version to where that came from, of those published or saved."""
    mixes: bool = False
    """Whether versions of public upstreams are listed beside published ones of the same project."""

    def publish(
        self, project: str, version: str, *, views: tuple[str, ...] = (), body: bytes | None = None, at: datetime | None = None
    ) -> str:
        """Push a wheel, and promote it; its file name."""
        filename = wheel_name(project, version)
        self.files.setdefault(project, {})[filename] = (version, body or wheel_bytes(project, version))
        self.origins.setdefault(project, {})[version] = Origin(version, None, at or datetime.now(UTC))
        for view in views:
            self.views.setdefault(view, (str(uuid.uuid4()), set()))[1].add(filename)
        return filename

    def save(self, project: str, version: str, at: datetime | None = None) -> None:
        """Save what an upstream has, as the first install does."""
        upstream, files = next((up, up.listed(project)) for up in self._live() if up.listed(project))
        for name, file in files.items():
            if file[0] == version:
                self.files.setdefault(project, {})[name] = file
        self.origins.setdefault(project, {})[version] = Origin(version, upstream.id, at or datetime.now(UTC))

    def delete(self, project: str, version: str) -> None:
        """Move a version to the recycle bin."""
        self.origins[project][version].deleted = True

    def listed(self, project: str) -> Files:
        """What a page shows to whoever may have things saved: what is there, and what upstreams have."""
        known = self.origins.get(project, {})
        here = {name: file for name, file in self.files.get(project, {}).items() if not known[file[0]].deleted}
        is_own = any(origin.upstream is None and not origin.deleted for origin in known.values())
        found: Files = {}
        for upstream in self._live():
            if upstream.kind == "internal" or not is_own or self.mixes:
                found |= {
                    name: file for name, file in upstream.listed(project).items() if file[0] not in known and name not in found
                }
        return found | here

    def _live(self) -> list[Upstream]:
        return [upstream for upstream in self.upstreams if upstream.protocol == "pypi" and not upstream.removed]


@dataclass
class Organisation:
    """One tenant of the shared hosts: its feeds, and who may read them."""

    name: str
    feeds: list[Feed] = field(default_factory=list)
    pats: dict[str, str] = field(default_factory=dict)
    """Token to what is the matter with it: ``good``, ``reader`` (may not have anything saved), ``expired``, ``no scope``,
    ``no right``."""
    members: set[str] = field(default_factory=lambda: {OBJECT})
    """Object identifiers of the Entra identities that were added as users."""


@dataclass
class AzureDevOps:
    """The service, and everything it and its storage were asked."""

    organisations: dict[str, Organisation] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    storage_asked: list[Asked] = field(default_factory=list)
    service_asked: list[Asked] = field(default_factory=list)
    """What its REST interface was asked of feeds."""
    service_mood: Mood | None = None
    """As ``mood``, of the REST interface alone."""
    ignores_names: bool = False
    """Whether the REST interface lists all packages whatever name it is asked for."""
    json: bool = False
    """Whether its pages come in JSON too, to whoever accepts it."""
    mood: Mood | None = None
    port: int = 0
    activity: str = "3c4d5e6f-0000-4000-8000-000000000001"
    _signing: bytes = b"the storage account's key"

    def organisation(self, name: str) -> Organisation:
        return self.organisations.setdefault(name.lower(), Organisation(name))

    def route(self, host: str, port: int) -> int | None:
        """Where a proxy finds it."""
        ours = host in (HOST, SERVER, STORAGE, feed_service.HOST) or _LEGACY.fullmatch(host) is not None
        return self.port if ours and port == 443 else None

    @property
    def authorisations(self) -> set[str]:
        """Everything that was offered to it as a credential."""
        return {asked.headers[name] for asked in self.asked for name in asked.headers if name.lower() == "authorization"}

    # ---- what it says ---------------------------------------------------------------------------------------------------

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        host = request.headers.get("Host", "").lower()
        path, _, query = request.raw_path.partition("?")
        asked = Asked(host, request.method, path, query, dict(request.headers))
        if host == STORAGE:
            self.storage_asked.append(asked)
            response = self._stored(request)
        elif host == feed_service.HOST or "/_apis/" in path:
            self.service_asked.append(asked)
            response = (self.service_mood(request) if self.service_mood else None) or self._told(request)
            response.headers.update({"X-VSS-E2EID": self.activity, "X-TFS-ProcessId": str(uuid.uuid4())})
        else:
            self.asked.append(asked)
            response = (self.mood(request) if self.mood else None) or self._served(request, host)
            response.headers.update({"X-VSS-E2EID": self.activity, "X-TFS-ProcessId": str(uuid.uuid4())})
        asked.status = response.status
        return response

    def _served(self, request: web.BaseRequest, host: str) -> web.StreamResponse:
        segments = [part for part in request.raw_path.partition("?")[0].split("/") if part]
        if legacy := _LEGACY.fullmatch(host):
            segments.insert(0, legacy[1])
        if host == SERVER:
            segments = segments[1:]
        organisation = self.organisations.get(segments[0].lower()) if segments else None
        refused = self._refused(request, organisation)
        if refused is not None or organisation is None:
            return refused or challenge()
        home, [_, name, *rest] = _parted(segments[1:])
        rest = [part for part in rest if part]
        found, view = self._feed(organisation, home, name)
        if found is None:
            return no_feed(name)
        match rest:
            case ["pypi", "simple", project]:
                return self._page(request, host, organisation, found, view, unquote(project))
            case ["pypi", "download", project, version, filename]:
                may_save = self._may_save(request, organisation)
                return self._download(request, found, view, project, version, filename, may_save=may_save)
        return web.Response(status=404, reason="Not Found")

    def _told(self, request: web.BaseRequest) -> web.Response:
        """What the REST interface says of a feed."""
        segments = [part for part in request.raw_path.partition("?")[0].split("/") if part]
        segments = segments[1:] if segments[0] == "tfs" else segments
        organisation = self.organisations.get(segments[0].lower())
        refused = self._refused(request, organisation)
        at = segments.index("_apis") if "_apis" in segments[:4] else 0
        if refused is not None or organisation is None or [part.lower() for part in segments[at : at + 3]] != _API:
            return refused or challenge()
        home, [name, *rest] = segments[1:at], [*segments[at + 3 :], ""]
        found, _ = self._feed(organisation, home, name)
        if found is None:
            return no_feed(name)
        if rest[:1] == ["packages"]:
            return feed_service.packages(found, request.rel_url.query, filters=not self.ignores_names)
        return feed_service.description(found, organisation.name)

    def _may_save(self, request: web.BaseRequest, organisation: Organisation) -> bool:
        kind, _, value = request.headers.get("Authorization", "").partition(" ")
        pat = base64.b64decode(value).decode("utf-8", "replace").partition(":")[2] if kind == "Basic" else ""
        return organisation.pats.get(pat, "good") != "reader"

    def _feed(self, organisation: Organisation, project: list[str], text: str) -> tuple[Feed | None, str | None]:
        name, _, view = text.replace("%40", "@").partition("@")
        for feed in organisation.feeds:
            homes = {None} if feed.project is None else {feed.project.lower(), feed.project_id}
            if name.lower() in (feed.name.lower(), feed.id) and (project[0].lower() if project else None) in homes:
                known = {text: label for label, (guid, _) in feed.views.items() for text in (label.lower(), guid)}
                if view and view.lower() not in known:
                    return None, None
                return feed, known.get(view.lower())
        return None, None

    def _refused(self, request: web.BaseRequest, organisation: Organisation | None) -> web.Response | None:
        said = request.headers.get("Authorization", "")
        kind, _, value = said.partition(" ")
        if kind == "Basic":
            pat = base64.b64decode(value).decode("utf-8", "replace").partition(":")[2]
            state = organisation.pats.get(pat, "unknown") if organisation else "unknown"
        elif kind == "Bearer":
            claims = claims_of(value)
            ours = claims.get("aud") == RESOURCE and claims.get("exp", 0) > time.time()
            state = "good" if ours and organisation and claims["oid"] in organisation.members else "unknown"
        else:
            state = "nothing"
        match state:
            case "good" | "reader":
                return None
            case "expired":
                return challenge("Access Denied: The Personal Access Token used has expired.")
            case "no scope":
                return challenge("Access Denied: the token lacks the required scope vso.packaging.")
            case "no right":
                return needs("ReadPackages")
            case "nothing" if request.headers.get("X-TFS-FedAuthRedirect") != "Suppress":
                return to_sign_in(request)
        return challenge()

    def _page(
        self, request: web.BaseRequest, host: str, organisation: Organisation, feed: Feed, view: str | None, project: str
    ) -> web.Response:
        if request.method == "HEAD":
            return web.Response(status=405)
        files = feed.listed(project)
        if view is not None:
            files = {name: file for name, file in files.items() if name in feed.views[view][1]}
        elif feed.upstreams and not feed.files.get(project) and not self._may_save(request, organisation):
            return not_saved(project)
        if not files:
            return _trouble(404, f"Package {project!r} was not found.", "PackageNotFoundException")
        top = f"https://{host}" if _LEGACY.fullmatch(host) else f"https://{host}/{organisation.name}"
        if host == SERVER:
            top = f"https://{host}/tfs/{organisation.name}"
        home = f"/{feed.project_id}" if feed.project else ""
        ids = feed.id + (f"@{feed.views[view][0]}" if view else "")
        links = [
            (
                name,
                f"{top}{home}/_packaging/{ids}/pypi/download/{project}/{_short(version)}/{quote(name)}",
                hashlib.sha256(body).hexdigest(),
            )
            for name, (version, body) in files.items()
        ]
        headers = {"Cache-Control": "no-store", "X-RateLimit-Remaining": "4321", "X-RateLimit-Limit": "5000"}
        if self.json and SIMPLE_JSON in request.headers.get("Accept", ""):
            entries = [{"filename": name, "url": url, "hashes": {"sha256": digest}} for name, url, digest in links]
            page = json.dumps({"meta": {"api-version": "1.0"}, "name": project, "files": entries})
            return web.Response(text=page, content_type=SIMPLE_JSON, headers=headers)
        anchors = "<br>\n".join(
            f'<a href="{url}#sha256={digest}" data-requires-python="&gt;=3.8">{html.escape(name)}</a>'
            for name, url, digest in links
        )
        title = f"Links for {project}"
        page = f"<!DOCTYPE html><html><head><title>{title}</title></head><body><h1>{title}</h1>\n{anchors}\n</body></html>"
        return web.Response(text=page, content_type="text/html", headers=headers)

    def _download(
        self, request: web.BaseRequest, feed: Feed, view: str | None, project: str, version: str, name: str, *, may_save: bool
    ) -> web.Response:
        if request.method == "HEAD":
            return web.Response(status=405)
        file = feed.listed(project).get(name)
        if file is not None and name not in feed.files.get(project, {}):
            if not may_save:
                return not_saved(project)
            feed.save(project, file[0])
        if file is None or _short(file[0]) != version or (view and name not in feed.views[view][1]):
            return _trouble(404, "Cannot find the file", "PackageVersionNotFoundException")
        blob = f"{feed.id}-{project}-{name}.blob"
        return web.Response(status=303, headers={"Location": self._signed(blob), "Cache-Control": "no-store"})

    # ---- the storage behind it ------------------------------------------------------------------------------------------

    def _signed(self, blob: str) -> str:
        """Another URL every time, as the real one gives."""
        expires = f"{time.time() + 3_600:.6f}"
        query = f"sv=2019-07-07&sr=b&skoid={OBJECT}&sktid={TENANT}&se={expires}&sp=r&rscl=x-e2eid-{uuid.uuid4()}"
        return f"https://{STORAGE}/{_CONTAINER}/{quote(blob)}?{query}&sig={self._signature(blob, expires)}"

    def _signature(self, blob: str, expires: str) -> str:
        return hmac.new(self._signing, f"{blob}\n{expires}".encode(), "sha256").hexdigest()

    def _stored(self, request: web.BaseRequest) -> web.StreamResponse:
        """A signed URL and a header that signs in as well is one too many: the header is judged, and is not storage's."""
        if "Authorization" in request.headers:
            text = "<Error><Code>AuthenticationFailed</Code><Message>Make sure the value of Authorization header is formed "
            return web.Response(status=403, text=text + "correctly including the signature.</Message></Error>")
        query = {key: values[0] for key, values in parse_qs(request.rel_url.raw_query_string).items()}
        blob = request.rel_url.path.rpartition("/")[2]
        expires = query.get("se", "0")
        if not hmac.compare_digest(query.get("sig", ""), self._signature(blob, expires)) or float(expires) < time.time():
            return web.Response(status=403, text="<Error><Code>AuthenticationFailed</Code></Error>")
        body = self._body(blob)
        start, end = _span(request.headers.get("Range"), len(body))
        headers = {"Accept-Ranges": "bytes", "ETag": f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'}
        if "Range" in request.headers:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(body)}"
        return web.Response(
            status=206 if "Range" in request.headers else 200,
            body=body[start:end],
            content_type="application/octet-stream",
            headers=headers,
        )

    def _body(self, blob: str) -> bytes:
        for organisation in self.organisations.values():
            for feed in organisation.feeds:
                for project, files in feed.files.items():
                    for name, (_, body) in files.items():
                        if blob == f"{feed.id}-{project}-{name}.blob":
                            return body
        raise KeyError(blob)


# ---- its moods --------------------------------------------------------------------------------------------------------------


def challenge(text: str = "TF400813: The user is not authorized to access this resource.") -> web.Response:
    """401, as the hosts of packages say it."""
    response = web.Response(status=401, text=text)
    response.headers.add("WWW-Authenticate", f"Bearer authorization_uri=https://login.microsoftonline.com/{TENANT}")
    response.headers.add("WWW-Authenticate", 'Basic realm="https://pkgsprodsu3weu.pkgs.visualstudio.com/"')
    response.headers.add("WWW-Authenticate", "TFS-Federated")
    response.headers["X-VSS-ResourceTenant"] = TENANT
    response.headers["X-VSS-AuthorizationEndpoint"] = "https://vssps.dev.azure.com/acme/"
    return response


def sign_in_page(status: int = 203) -> web.Response:
    """What its other hosts answer an expired PAT with."""
    return web.Response(status=status, text=_SIGN_IN, content_type="text/html")


def to_sign_in(request: web.BaseRequest) -> web.Response:
    """A redirect to where people sign in."""
    host = request.headers.get("Host", "")
    headers = {
        "Location": f"https://app.vssps.visualstudio.com/_signin?realm={host}&reply_to=https%3A%2F%2F{host}",
        "X-TFS-FedAuthRealm": f"https://{host}/",
        "X-TFS-FedAuthIssuer": f"https://{host}/",
    }
    return web.Response(status=302, headers=headers)


def needs(permission: str) -> web.Response:
    """403: somebody it knows, without the right."""
    said = f"User '{OBJECT}' lacks permission to complete this action. You need to have '{permission}'."
    return _trouble(403, said, "FeedNeedsPermissionsException")


def no_feed(name: str) -> web.Response:
    """404 of the feed itself."""
    return _trouble(404, f"The feed with ID '{name}' doesn't exist.", "FeedIdNotFoundException")


def not_saved(project: str) -> web.Response:
    """401: somebody who may not have an upstream's package saved asked for one that is not."""
    said = (
        f"No local versions of package '{project}'; please provide authentication to access versions from upstream that have not "
        "yet been saved to your feed."
    )
    return _trouble(401, said, "UnauthorizedRequestException")


def throttled(wait_s: int = 7) -> web.Response:
    """429: this identity asked too much."""
    text = "TF400733: The request has been canceled: Request was blocked due to exceeding usage of resource 'Concurrency'."
    headers = {
        "Retry-After": str(wait_s),
        "X-RateLimit-Resource": "Packaging/Python",
        "X-RateLimit-Delay": "0.5",
        "X-RateLimit-Limit": "5000",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": str(int(time.time()) + wait_s),
    }
    return web.Response(status=429, text=text, headers=headers)


def _trouble(status: int, message: str, key: str) -> web.Response:
    body = {
        "$id": "1",
        "innerException": None,
        "message": message,
        "typeName": f"Microsoft.VisualStudio.Services.{key}, Microsoft.VisualStudio.Services",
        "typeKey": key,
        "errorCode": 0,
        "eventId": 3000,
    }
    return web.json_response(body, status=status, reason=message, headers={"X-TFS-ServiceError": quote(message)})


def _parted(segments: list[str]) -> tuple[list[str], list[str]]:
    """The project, if the path names one, and the rest from ``_packaging`` on."""
    at = segments.index("_packaging") if "_packaging" in segments[:2] else 0
    return segments[:at], [*segments[at:], "", ""]


def _short(version: str) -> str:
    """A version as it stands in paths there: zeros at its end are dropped."""
    return re.sub(r"(\.0)+$", "", version)


def _span(header: str | None, size: int) -> tuple[int, int]:
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header or "")
    if match is None:
        return 0, size
    if not match[1]:
        return max(size - int(match[2]), 0), size
    return int(match[1]), min(int(match[2]) + 1, size) if match[2] else size


# ---- running it -------------------------------------------------------------------------------------------------------------


@contextmanager
def azure_devops(authority: trustme.CA) -> Iterator[tuple[AzureDevOps, OutboundProxy]]:
    """The service under its real names, and the proxy that leads there; both gone when the block ends."""
    service = AzureDevOps()
    tls = certified(authority, HOST, SERVER, feed_service.HOST, "*.pkgs.visualstudio.com", STORAGE)
    with _running(service, tls), outbound(service.route) as proxy:
        yield service, proxy


@contextmanager
def _running(service: AzureDevOps, tls: ssl.SSLContext) -> Iterator[None]:
    loop = asyncio.new_event_loop()
    started, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        runner = web.ServerRunner(web.Server(service.answer, access_log=None), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        service.port = runner.addresses[0][1]
        started.set()
        await stop.wait()
        await runner.cleanup()
        await hang_up()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    started.wait(10)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
