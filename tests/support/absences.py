"""Ways to say 404: those of indexes that lack a project, and those of whatever answers in their place."""

from __future__ import annotations

import asyncio
import itertools
import random
import string
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from tests.support.index import Asked, FakeIndex

Say404 = Callable[[str], web.Response]
"""Answers a raw path."""
_numbers = itertools.count(1)
_letters = random.Random(7)


def html(body: str, *, server: str | None = None, **headers: str) -> Say404:
    """A web page. ``PATH`` and ``NAME`` stand for what was asked, ``NUMBER`` and ``WORD`` for what differs each time."""
    return _saying(body, "text/html; charset=utf-8", server, headers)


def text(body: str, *, server: str | None = None, **headers: str) -> Say404:
    return _saying(body, "text/plain; charset=utf-8", server, headers)


def json(body: str, *, server: str | None = None, **headers: str) -> Say404:
    return _saying(body, "application/json", server, headers)


def _saying(body: str, kind: str, server: str | None, headers: dict[str, str]) -> Say404:
    def say(path: str) -> web.Response:
        name = path.strip("/").rpartition("/")[2]
        number, word = f"{next(_numbers):08x}", "".join(_letters.choices(string.ascii_letters, k=20))
        filled = body.replace("PATH", path).replace("NAME", name).replace("NUMBER", number).replace("WORD", word)
        made = {key.replace("_", "-"): value.replace("NUMBER", number) for key, value in headers.items()}
        if server is not None:
            made["Server"] = server
        return web.Response(status=404, body=filled.encode(), headers={**({"Content-Type": kind} if kind else {}), **made})

    return say


_TITLE = "<head><title>404 Not Found</title></head>"
NGINX = f"<html>\n{_TITLE}\n<body>\n<center><h1>404 Not Found</h1></center>\n<hr><center>nginx/1.24.0</center>\n"

OWN: dict[str, Say404] = {
    "plain": text("not found"),
    "pypiserver": html(
        "<!DOCTYPE HTML PUBLIC '-//IETF//DTD HTML 2.0//EN'><html><head><title>Error: 404 Not Found</title></head>"
        "<body><h1>Error: 404 Not Found</h1><p>Sorry, the requested URL <tt>&#039;http://index.example.com:8080PATH&#039;</tt> "
        "caused an error:</p><pre>Not Found (http://index.example.com:8080PATH does not exist)</pre></body></html>"
    ),
    "devpi": text("404 Not Found\n\nThe resource could not be found.\n\n\n no project 'NAME'\n\n", server="waitress"),
    "nginx": html(NGINX + "</body>\n</html>\n", server="nginx/1.24.0"),
    "Artifactory": json(
        '{\n  "errors" : [ {\n    "status" : 404,\n    "message" : "Not Found"\n  } ]\n}', X_JFrog_Version="Artifactory/7.90.1"
    ),
    "Nexus": html(
        "<!DOCTYPE html><html lang='en'><head><title>404 - Nexus Repository Manager</title></head>"
        "<body><div class='nexus-body'>404 Not Found</div><p>Not Found PATH</p></body></html>",
        server="Nexus/3.70.1-02 (OSS)",
    ),
    "FastAPI": json('{"detail":"Project NAME not found"}', server="uvicorn"),
    "a number in each": json('{"message":"not found","request":"NUMBER","time":"2026-11-29T16:30:NUMBER"}'),
    "letters in each": html("<html><body><h1>Not here</h1><p>Please tell support: WORD</p></body></html>"),
    "only letters": text("WORD WORD"),
    "empty": text("", server="index/1.0"),
}
"""By the server whose manner it is."""

OTHERS: dict[str, Say404] = {
    "nginx default": html(
        NGINX + "</body>\n</html>\n<!-- a padding to disable MSIE and Chrome friendly error page -->\n", server="nginx"
    ),
    "HAProxy": html("<html><body><h1>404 Not Found</h1>\nThe resource could not be found.\n</body></html>\n"),
    "Apache": html(
        '<!DOCTYPE HTML PUBLIC "-//IETF//DTD HTML 2.0//EN">\n<html><head>\n<title>404 Not Found</title>\n</head><body>\n<h1>Not '
        "Found</h1>\n<p>The requested URL was not found on this server.</p>\n</body></html>\n",
        server="Apache/2.4.57 (Debian)",
    ),
    "IIS": html(
        '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN"><html><head><title>404 - File or directory not found.</title>'
        "</head><body><h2>404 - File or directory not found.</h2><h3>The resource might have been removed.</h3></body></html>",
        server="Microsoft-IIS/10.0",
        X_Powered_By="ASP.NET",
    ),
    "App Service": html(
        "<!DOCTYPE html><html><head><title>Microsoft Azure Web App - Error 404</title></head><body>"
        "<h1>404 Web Site not found.</h1><p>You may be seeing this error due to one of the reasons below: Custom domain has "
        "not been configured inside Azure.</p></body></html>"
    ),
    "Front Door": html(
        "<html><head><title>Page not found</title></head><body><h2>Our services aren't available</h2>NUMBER</body></html>",
        X_Azure_Ref="20261129T163046Z-NUMBER",
    ),
    "Kubernetes": text("default backend - 404"),
    "Traefik": text("404 page not found\n", X_Content_Type_Options="nosniff"),
    "Envoy": _saying("", "", "envoy", {}),
    "Express": html("<!DOCTYPE html><html><body><pre>Cannot GET PATH</pre></body></html>", X_Powered_By="Express"),
    "Spring": json('{"timestamp":"2026-11-29T16:30:46.NUMBER+00:00","status":404,"error":"Not Found","path":"PATH"}'),
    "an API": json('{"error":{"code":"not_found","message":"The requested resource was not found"},"trace":"NUMBER"}'),
    "object store": _saying(
        '<?xml version="1.0" encoding="UTF-8"?><Error><Code>NoSuchKey</Code><Key>PATH</Key><RequestId>NUMBER</RequestId></Error>',
        "application/xml",
        "AmazonS3",
        {"x-amz-request-id": "NUMBER"},
    ),
    "blob storage": _saying(
        '\ufeff<?xml version="1.0" encoding="utf-8"?><Error><Code>ResourceNotFound</Code><Message>The specified resource '
        "does not exist.\nRequestId:NUMBER\nTime:2026-11-29T16:30:46.NUMBERZ</Message></Error>",
        "application/xml",
        "Windows-Azure-Blob/1.0 Microsoft-HTTPAPI/2.0",
        {"x-ms-request-id": "NUMBER"},
    ),
    "captive portal": html(
        "<html><head><title>Welcome to the hotel</title></head><body><a href='/login'>Sign in</a></body></html>"
    ),
    "Artifactory, renamed": json(
        '{\n  "errors" : [ {\n    "status" : 404,\n    "message" : "Repository \'team-pypi\' does not exist"\n  } ]\n}'
    ),
    "GitLab": json('{"message":"404 Project Not Found"}', server="nginx", X_Gitlab_Meta="NUMBER"),
    "another Simple API": json('{"detail":"no such index"}', server="uvicorn"),
}
"""By what answers where the index should."""


@dataclass
class Behind(FakeIndex):
    """An index that says 404 in a manner of its own, behind something that may answer in its place."""

    own: Say404 = field(default_factory=lambda: OWN["plain"])
    front: Say404 | None = None
    """Answers in its place, if set."""
    in_front_of: Callable[[str], bool] = lambda path: True
    """The paths that it answers."""
    lacks_after_s: float = 0.0
    """Seconds that the index takes to find out that it lacks something."""

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.rel_url.raw_path
        if self.front is not None and self.in_front_of(path):
            self.asked.append(Asked(request.method, path, dict(request.headers)))
            return self.front(path)
        answer = await super().answer(request)
        if answer.status != 404:
            return answer
        await asyncio.sleep(self.lacks_after_s)
        return self.own(path)
