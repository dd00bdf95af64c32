"""Microsoft Entra on loopback: the managed-identity endpoint of App Service and Container Apps, and the https token endpoint.

Its tokens are what the storage emulator and the fake Azure DevOps take.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import trustme
from aiohttp import web

from tests.support.index import FakeIndex, running
from tests.support.tunnels import certified

TENANT, OBJECT = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
APPLICATION = "33333333-3333-3333-3333-333333333333"
HEADER = "the-platform-put-this-here"


class Identity:
    """The endpoint, and what it was asked."""

    def __init__(self, served: FakeIndex) -> None:
        self._served = served
        self.life_s = 3_600
        self.client_ids: list[str | None] = []
        self.tokens: list[str] = []

    @property
    def environment(self) -> dict[str, str]:
        """What the platform sets for a process that has this identity."""
        return {"IDENTITY_ENDPOINT": f"{self._served.origin}/msi/token", "IDENTITY_HEADER": HEADER}

    @property
    def token_requests(self) -> int:
        return self._served.count("/msi/token")

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("X-IDENTITY-HEADER") != HEADER:
            return web.json_response({"message": "who are you"}, status=401)
        resource = request.rel_url.query["resource"]
        self.client_ids.append(request.rel_url.query.get("client_id"))
        expires = int(time.time()) + self.life_s
        self.tokens.append(token_for(resource, self.life_s))
        return web.json_response(
            {"access_token": self.tokens[-1], "expires_on": str(expires), "resource": resource, "token_type": "Bearer"}
        )


class Authority:
    """The token endpoint of one tenant (``POST /{tenant}/oauth2/v2.0/token``), for applications and workloads."""

    def __init__(self, served: FakeIndex, host: str) -> None:
        self._served = served
        self._host = host
        self.life_s = 3_600
        self.client_secret = "the-application's-secret"
        self.assertion = "header.the-cluster-says-who-this-is.signature"
        self.asked: list[dict[str, Any]] = []
        self.tokens: list[str] = []

    @property
    def environment(self) -> dict[str, str]:
        """What leads azure-identity here: directly, or through a proxy that knows the way to another host name."""
        loopback = self._host == "127.0.0.1"
        return {"AZURE_AUTHORITY_HOST": self._served.origin if loopback else f"https://{self._host}"}

    @property
    def port(self) -> int:
        return int(self._served.origin.rpartition(":")[2])

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        form = dict((await request.post()).items())
        self.asked.append(form)
        if form.get("client_id") != APPLICATION:
            return _refused("AADSTS700016: Application was not found in the directory.", "unauthorized_client")
        if "client_assertion" in form:
            if form["client_assertion"] != self.assertion:
                return _refused("AADSTS700213: No matching federated identity record found.")
        elif form.get("client_secret") != self.client_secret:
            return _refused("AADSTS7000215: Invalid client secret provided.")
        self.tokens.append(token_for(str(form["scope"]).removesuffix("/.default"), self.life_s))
        return web.json_response({"token_type": "Bearer", "expires_in": self.life_s, "access_token": self.tokens[-1]})


def _refused(why: str, error: str = "invalid_client") -> web.Response:
    return web.json_response({"error": error, "error_description": why}, status=401)


def token_for(resource: str, life_s: int) -> str:
    """A token with the claims of a real one, which nobody checks the signature of."""
    now = int(time.time())
    claims = {
        "aud": resource,
        "iss": f"https://sts.windows.net/{TENANT}/",
        "iat": now - 60,
        "nbf": now - 60,
        "exp": now + life_s,
        "oid": OBJECT,
        "tid": TENANT,
        "sub": OBJECT,
        "jti": str(time.monotonic_ns()),
    }
    return ".".join([_part({"alg": "RS256", "typ": "JWT"}), _part(claims), "c2lnbmF0dXJl"])


def claims_of(token: str) -> dict[str, Any]:
    """What a token says; nothing if it is none."""
    try:
        part = token.split(".")[1]
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, IndexError):
        return {}
    return claims


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@contextmanager
def managed_identity() -> Iterator[Identity]:
    """The endpoint, gone when the block ends."""
    served = FakeIndex()
    identity = Identity(served)
    served.handlers["/msi/token"] = identity.answer
    with running(served):
        yield identity


@contextmanager
def authority(certificates: trustme.CA, host: str = "127.0.0.1") -> Iterator[Authority]:
    """The token endpoint, gone when the block ends."""
    served = FakeIndex()
    made = Authority(served, host)
    served.handlers[f"/{TENANT}/oauth2/v2.0/token"] = made.answer
    with running(served, tls=certified(certificates, host)):
        yield made
