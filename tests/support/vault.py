"""A key vault at the wire, as azure-keyvault-secrets speaks to one: a challenge first, then a token."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.support.entra import TENANT
from tests.support.index import FakeIndex

RESOURCE = "https://vault.azure.net"


@dataclass
class FakeVault(FakeIndex):
    """Run it with :func:`tests.support.index.running` and TLS; ``origin`` is its URL."""

    secrets: dict[str, list[str]] = field(default_factory=dict)
    """Name to versions, the newest last."""
    refuses: tuple[int, str] | None = None
    """A status and code that every question with a token gets."""

    def reads(self, name: str) -> int:
        """How often a secret was really asked for, with a token."""
        return sum(
            request.method == "GET" and request.path.startswith(f"/secrets/{name}/") and "Authorization" in request.headers
            for request in self.asked
        )

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        from tests.support.index import Asked

        self.asked.append(Asked(request.method, request.rel_url.raw_path, dict(request.headers)))
        claims = _claims(request.headers.get("Authorization", ""))
        if claims.get("aud") != RESOURCE:
            challenge = f'Bearer authorization="https://login.microsoftonline.com/{TENANT}", resource="{RESOURCE}"'
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})
        if self.refuses is not None:
            return _error(*self.refuses)
        match request.rel_url.raw_path.strip("/").split("/"):
            case ["secrets", name, *version] if request.method == "GET":
                versions = self.secrets.get(name, [])
                known = {_version(number): value for number, value in enumerate(versions)}
                wanted = version[0] if version else _version(len(versions) - 1)
                if wanted in known:
                    return self._bundle(request, name, wanted, known[wanted])
                return _error(404, "SecretNotFound")
            case ["secrets", name] if request.method == "PUT":
                value = json.loads(await request.read())["value"]
                self.secrets.setdefault(name, []).append(value)
                return self._bundle(request, name, _version(len(self.secrets[name]) - 1), value)
        return _error(400, "BadParameter")

    @staticmethod
    def _bundle(request: web.BaseRequest, name: str, version: str, value: str) -> web.Response:
        attributes = {"enabled": True, "created": 1, "updated": 1, "recoveryLevel": "Recoverable+Purgeable"}
        identifier = f"https://{request.host}/secrets/{name}/{version}"
        return web.json_response({"value": value, "id": identifier, "attributes": attributes})


def _version(number: int) -> str:
    return f"{number:032x}"


def _error(status: int, code: str) -> web.Response:
    inner = {"code": code} if status == 403 else None
    error = {"code": "Forbidden" if status == 403 else code, "message": f"no: {code}", "innererror": inner}
    return web.json_response({"error": error}, status=status)


def _claims(authorization: str) -> dict[str, Any]:
    try:
        body = authorization.removeprefix("Bearer ").split(".")[1]
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=="))
    except (IndexError, ValueError):
        return {}
    return claims
