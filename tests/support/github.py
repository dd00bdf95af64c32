"""GitHub on loopback, as far as releases go: its API with a token, and the signed storage that it redirects downloads to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.support.index import Asked, FakeIndex, running

TOKEN = "github_pat_canary"


@dataclass
class Github:
    """Repositories with releases; a private one is not there for whoever shows no token."""

    api: FakeIndex
    storage: FakeIndex
    repos: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    bodies: dict[int, bytes] = field(default_factory=dict)
    gives_digests: bool = True
    down: bool = False
    budget: int = 5_000
    odd: bytes | None = None
    """Answers everything, if set."""
    refusal: str | None = None
    """The message of a 403 without any header that tells more, for everybody."""
    renamed: dict[str, str] = field(default_factory=dict)
    """Repositories of old names, and their new ones."""
    after_page: Callable[[int], None] = lambda number: None
    """Happens once a page of a release list was answered."""

    @property
    def url(self) -> str:
        return f"{self.api.origin}/api/v3/"

    @property
    def storage_host(self) -> str:
        return self.storage.origin.removeprefix("http://")

    @property
    def asked(self) -> list[Asked]:
        return self.api.asked

    def release(self, repo: str, tag: str, files: dict[str, bytes], *, draft: bool = False, prerelease: bool = False) -> None:
        """A new release, as `gh release create` makes it; the newest is listed first."""
        assets = []
        for name, body in files.items():
            number = len(self.bodies) + 1
            self.bodies[number] = body
            asset = {
                "id": number,
                "name": name,
                "url": f"{self.url}repos/{repo}/releases/assets/{number}",
                "browser_download_url": f"{self.api.origin}/{repo}/releases/download/{tag}/{name}",
                "state": "uploaded",
                "content_type": "application/octet-stream",
                "size": len(body),
                "created_at": f"2025-01-01T00:00:{number % 60:02}Z",
                "digest": f"sha256:{hashlib.sha256(body).hexdigest()}" if self.gives_digests else None,
            }
            assets.append(asset)
        marks = {"draft": draft, "prerelease": prerelease}
        self.repos.setdefault(repo, []).insert(0, {"id": len(self.bodies), "tag_name": tag, **marks, "assets": assets})

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.api.asked.append(Asked(request.method, request.rel_url.raw_path_qs, dict(request.headers)))
        limits = {"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": str(self.budget), "X-GitHub-Request-Id": "AB12:34"}
        if self.odd is not None:
            return web.Response(body=self.odd, content_type="application/json", headers=limits)
        if self.down:
            return web.Response(status=502, headers=limits)
        if self.budget == 0:
            limits |= {"X-RateLimit-Reset": "1893456000"}
            return web.json_response({"message": "API rate limit exceeded"}, status=403, headers=limits)
        if self.refusal is not None:
            return web.json_response({"message": self.refusal}, status=403, headers={"X-GitHub-Request-Id": "AB12:34"})
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({"message": "Not Found"}, status=404, headers=limits)
        match request.rel_url.raw_path.removeprefix("/api/v3/").split("/"):
            case ["repos", owner, repo, "releases"] if f"{owner}/{repo}" in self.renamed:
                where = f"{self.url}repositories/{self.renamed[f'{owner}/{repo}']}/releases?{request.rel_url.raw_query_string}"
                return web.Response(status=301, headers={"Location": where, **limits})
            case ["repos" | "repositories", owner, repo, "releases"] if f"{owner}/{repo}" in self.repos:
                return self._releases(request, self.repos[f"{owner}/{repo}"], limits)
            case ["repos", _, _, "releases", "assets", number] if int(number) in self.bodies:
                return self._asset(request, int(number), limits)
        return web.json_response({"message": "Not Found"}, status=404, headers=limits)

    def _releases(self, request: web.BaseRequest, releases: list[dict[str, Any]], limits: dict[str, str]) -> web.Response:
        size, number = int(request.rel_url.query.get("per_page", 30)), int(request.rel_url.query.get("page", 1))
        body = json.dumps(releases[(number - 1) * size : number * size]).encode()
        etag = f'W/"{hashlib.sha256(body).hexdigest()}"'
        self.after_page(number)
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers={"ETag": etag, **limits})
        self.budget -= 1
        return web.Response(body=body, content_type="application/json", headers={"ETag": etag, **limits})

    def _asset(self, request: web.BaseRequest, number: int, limits: dict[str, str]) -> web.Response:
        self.budget -= 1
        if request.headers.get("Accept") != "application/octet-stream":
            return web.json_response({"id": number}, headers=limits)
        where = f"{self.storage.origin}/signed/{number}?sig=signature&se=2030"
        return web.Response(status=302, headers={"Location": where, **limits})

    async def stored(self, request: web.BaseRequest) -> web.StreamResponse:
        """The storage refuses whoever shows a signature and a credential."""
        self.storage.asked.append(Asked(request.method, request.rel_url.raw_path_qs, dict(request.headers)))
        if "Authorization" in request.headers or request.rel_url.query.get("sig") != "signature":
            return web.Response(status=403, text="AuthenticationFailed")
        body = self.bodies[int(request.rel_url.raw_path.rpartition("/")[2])]
        span = request.http_range
        if span.start is None and span.stop is None:
            return web.Response(body=body, content_type="application/octet-stream")
        start, stop, _ = span.indices(len(body))
        headers = {"Content-Range": f"bytes {start}-{stop - 1}/{len(body)}"}
        return web.Response(status=206, body=body[start:stop], headers=headers, content_type="application/octet-stream")


@contextmanager
def github() -> Iterator[Github]:
    """Both services, gone when the block ends."""
    api, storage = FakeIndex(), FakeIndex()
    made = Github(api, storage)
    api.answer = made.answer  # type: ignore[method-assign]
    storage.answer = made.stored  # type: ignore[method-assign]
    with running(api), running(storage):
        yield made
