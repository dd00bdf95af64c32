"""Manners of indexes: how they answer for names that they do not have, and what answers for all names while one is ill."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from tests.support.index import SIMPLE_JSON, Asked, FakeIndex

Say = Callable[[str], web.Response]
"""Answers for a name."""
_numbers = itertools.count(1)


def page(body: str = "", kind: str = "text/html", status: int = 200, **headers: str) -> Say:
    """``NAME`` stands for what was asked, ``NUMBER`` for what differs each time."""

    def say(name: str) -> web.Response:
        text = body.replace("NAME", name).replace("NUMBER", f"{next(_numbers):016X}")
        made = {"Content-Type": kind, **{key.replace("_", "-"): value for key, value in headers.items()}}
        return web.Response(status=status, body=text.encode(), headers=made)

    return say


def leads(to: str, status: int = 302) -> Say:
    """A redirect."""
    return lambda name: web.Response(status=status, headers={"Location": to.replace("NAME", name)})


def empty(name: str) -> web.Response:
    """A page without files."""
    body = json.dumps({"meta": {"api-version": "1.1"}, "name": name, "files": [], "versions": []})
    return web.Response(text=body, content_type=SIMPLE_JSON)


NOT_FOUND = page("not found", "text/plain", 404)
TITLED = page("<!DOCTYPE html><html><head><title>Links for NAME</title></head><body><h1>Links for NAME</h1></body></html>")
UNTITLED = page('<!DOCTYPE html>\n<html>\n<head>\n<meta charset="utf-8">\n</head>\n<body>\n\n</body>\n</html>\n')  # simpleindex
S3 = page(
    '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code><Message>Access Denied</Message>'
    "<RequestId>NUMBER</RequestId><HostId>NUMBERabc/def+NUMBER=</HostId></Error>",
    "application/xml",
    403,
    Server="AmazonS3",
)
WAF = page("<html><head><title>Request blocked</title></head><body>Your request was blocked. NUMBER</body></html>", status=403)


@dataclass
class Mannered(FakeIndex):
    """An index that answers for names that it does not have as it is told, and, while it is ill, for those that it has."""

    unknown: Say = NOT_FOUND
    known: Say | None = None
    """For the names that it has; ``None``: their pages."""
    root: Say | None = None
    """``None``: a list of what it has."""
    some: dict[str, Say] = field(default_factory=dict)
    """For single names."""

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.rel_url.raw_path
        name = path.removeprefix("/simple/").strip("/") if path.startswith("/simple/") else ""
        say = self.root if path == "/simple/" else None
        if name:
            say = self.some.get(name) or (self.known if name in self.projects else self.unknown)
        if say is None:
            return await super().answer(request)
        self.asked.append(Asked(request.method, path, dict(request.headers)))
        return say(name)

    def heal(self) -> None:
        """Answer 404 for what it does not have, and pages for the rest."""
        self.unknown, self.known, self.root = NOT_FOUND, None, None
        self.some.clear()
