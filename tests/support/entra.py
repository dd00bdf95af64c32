"""A managed-identity endpoint on loopback, as App Service and Container Apps have it: tokens that the emulator takes."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from tests.support.index import FakeIndex, running

TENANT, OBJECT = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
HEADER = "the-platform-put-this-here"


class Identity:
    """The endpoint, and what it was asked."""

    def __init__(self, served: FakeIndex) -> None:
        self._served = served
        self.life_s = 3_600

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
        now = int(time.time())
        claims = {
            "aud": resource,
            "iss": f"https://sts.windows.net/{TENANT}/",
            "iat": now - 60,
            "nbf": now - 60,
            "exp": now + self.life_s,
            "oid": OBJECT,
            "tid": TENANT,
            "sub": OBJECT,
        }
        token = ".".join([_part({"alg": "RS256", "typ": "JWT"}), _part(claims), "c2lnbmF0dXJl"])
        return web.json_response(
            {"access_token": token, "expires_on": str(now + self.life_s), "resource": resource, "token_type": "Bearer"}
        )


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
