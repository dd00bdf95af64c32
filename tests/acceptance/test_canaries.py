"""Secrets of every kind, at level DEBUG, before upstreams that repeat whatever they are sent: none is ever shown."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import quote

import pytest
from aiohttp import web

from tests.support.company import Company, company, connection
from tests.support.entra import APPLICATION, TENANT, authority
from tests.support.gate import Gate, gate
from tests.support.index import Asked, FakeIndex, running

CANARY = {
    "pat": "canary-pat-/+$:é-0123456789",
    "password": "canary-password-/+$:é-0123456789",
    "bearer": "canary-bearer-/+$:-0123456789",
    "client-secret": "canary-client-secret-/+$:é-0123456789",
    "sas": "sv=2026&sig=canary-sas-0123456789%2B&se=2099",
    "proxy": "canary-proxy-/+$:é-0123456789",
    "idle": "canary-that-no-connection-uses-0123456789",
}
KINDS = ("pat", "password", "bearer", "sas", "principal", "proxied")
HOWS = ("401", "403", "404", "410", "500", "429", "203", "elsewhere", "signin", "html", "text", "loop", "json", "header", "cut")


class Echo(FakeIndex):
    """Repeats what it was sent, in every place that somebody may copy from; how is in the project's name."""

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(Asked(request.method, request.raw_path, dict(request.headers)))
        said = " ".join(request.headers.get(name, "") for name in ("Authorization", "Proxy-Authorization"))
        kind, _, pair = said.strip().partition(" ")
        plain = base64.b64decode(pair + "===").decode("utf-8", "replace") if kind == "Basic" else pair
        echo = f"You sent {said} which is {plain} to {request.raw_path}"
        how = request.path.rstrip("/").rpartition("-")[2]
        headers = {"X-VSS-E2EID": echo[:200], "WWW-Authenticate": f'Basic realm="{quote(echo)}"', "Retry-After": "1"}
        url = f"/x?token={quote(pair)}&plain={quote(plain)}"
        match how:
            case "elsewhere":
                return web.Response(status=302, headers={"Location": f"https://{quote(pair, safe='')}.example{url}"})
            case "signin":
                return web.Response(status=302, headers={"Location": f"/_signin{url}"})
            case "loop":
                return web.Response(status=302, headers={"Location": f"{request.path}{url[2:]}"})
            case "html":
                return web.Response(text=f"<html><title>{echo}</title><p>{echo}</p></html>", content_type="text/html")
            case "text":
                return web.Response(text=echo)
            case "json":
                return web.Response(text=f'{{"{echo}": ', content_type="application/vnd.pypi.simple.v1+json")
            case "header":
                return web.Response(
                    text="{}", headers={"Content-Type": f'application/{quote(pair, safe="")}; charset="{quote(plain)}"'}
                )
            case "cut":
                await asyncio.sleep(60)
        return web.Response(status=int(how), reason=echo.encode("ascii", "replace").decode(), text=echo, headers=headers)


@dataclass
class Place:
    """The server, its upstream, and everything that may not be seen."""

    gate: Gate
    echo: Echo
    secrets: dict[str, str]

    def leaks(self, text: str | bytes) -> list[str]:
        body = text.encode() if isinstance(text, str) else text
        return [f"{kind} as {form!r}" for kind, secret in self.secrets.items() for form in forms(secret) if form.encode() in body]


def forms(secret: str) -> set[str]:
    """How a secret may look once somebody has passed it on."""
    pairs = {base64.b64encode(f"{user}:{secret}".encode()).decode() for user in ("wheelgate", "me", "gate")}
    plain = {secret, quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1], repr(secret)[1:-1]}
    core = {secret[len("canary-") :][:24]} if secret.startswith("canary-") else set()
    return plain | pairs | {quote(pair, safe="") for pair in pairs} | core


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("canaries")
    with ExitStack() as stack:
        acme: Company = stack.enter_context(company(folder / "company"))
        echo = Echo()
        stack.enter_context(running(echo))
        tenant = stack.enter_context(authority(acme.authority))
        tenant.client_secret = CANARY["client-secret"]
        acme.proxy.password = "not what we say"
        (folder / "password").write_text(CANARY["password"])
        sources = "".join(
            f'\n[[source]]\nname = "{kind}"\ntype = "index"\nurl = "{echo.origin}/{kind}/simple/"\nonly = ["{kind}-*"]\n'
            f'outbound_proxy = "{acme.proxy.url if kind == "proxied" else "none"}"\nfresh = "0s"\nabsent = "0s"\n'
            for kind in KINDS
        )
        at = f"{echo.origin}/%s"
        config = (
            acme.server()
            + sources
            + connection(at % "pat", name="a-pat", value="env:A_PAT")
            + connection(at % "password", "UsernamePassword", "a-password", username="me", value=f"file:{folder / 'password'}")
            + connection(at % "bearer", "Bearer", "a-bearer", value="secret:a-bearer")
            + connection(at % "sas", "SAS", "a-sas", value="env:A_SAS")
            + connection(
                at % "principal",
                "ServicePrincipal",
                "a-principal",
                tenant_id=TENANT,
                client_id=APPLICATION,
                value="env:A_CLIENT_SECRET",
                scope="api://wheelgate/.default",
            )
            + connection(acme.proxy.url, "UsernamePassword", "a-proxy", username="gate", value="env:A_PROXY")
        )
        env = {
            "A_PAT": CANARY["pat"],
            "A_SAS": CANARY["sas"],
            "A_CLIENT_SECRET": CANARY["client-secret"],
            "A_PROXY": CANARY["proxy"],
            **tenant.environment,
        }
        secrets_file = folder / "gate" / "data" / "secrets.toml"
        secrets_file.parent.mkdir(parents=True)
        secrets_file.touch(mode=0o600)
        lines = {"a-bearer": CANARY["bearer"], "idle": CANARY["idle"]}
        secrets_file.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in lines.items()))
        server = stack.enter_context(gate(folder / "gate", config, ["--log-level", "DEBUG"], env))
        made = Place(server, echo, dict(CANARY))
        yield made
        made.secrets |= {f"token {number}": token for number, token in enumerate(tenant.tokens)}


JSON = "application/vnd.pypi.simple.v1+json, application/json"


@pytest.mark.parametrize("how", HOWS)
def test_no_answer_and_no_log_line_has_a_secret_in_it(place: Place, how: str) -> None:
    kinds = KINDS if how != "cut" else KINDS[:1]
    before = len(place.gate.log)
    for kind in kinds:
        for path in (
            f"/simple/{kind}-{how}/",
            f"/explain/{kind}-{how}",
            f"/files/{kind}-{how}/{kind}_{how}-1.0-py3-none-any.whl",
        ):
            for accept in (JSON, "text/html"):
                answer = place.gate.get(path, {"Accept": accept})
                assert place.leaks(answer.body) == []
                assert place.leaks(answer.reason.encode("latin-1", "replace")) == []
                assert place.leaks(str(answer.headers)) == []
    assert place.leaks(place.gate.log) == []
    assert len(place.gate.log) > before
    assert place.leaks(place.gate.get("/metrics").body) == []


def test_the_secrets_were_really_there_to_be_repeated(place: Place) -> None:
    """Else nothing above could fail."""
    place.gate.get("/simple/principal-401/")
    for kind in KINDS[:5]:
        place.gate.get(f"/simple/{kind}-404/")
    sent = "\n".join(f"{asked.path}\n{asked.headers}" for asked in place.echo.asked)
    for kind in ("pat", "password", "bearer", "sas"):
        assert any(form in sent for form in forms(CANARY[kind])), kind
    assert "Bearer eyJ" in sent


@pytest.mark.parametrize(
    "command",
    [
        ["check"],
        ["check", "--json"],
        ["connection", "list"],
        ["connection", "list", "--json"],
        *[["connection", verb, f"a-{kind}"] for verb in ("show", "test") for kind in (*KINDS[:5], "proxy")],
        ["explain", "pat-401"],
        ["explain", "bearer-html"],
        ["connection", "delete", "a-pat"],
    ],
    ids=" ".join,
)
def test_no_command_prints_a_secret(place: Place, command: list[str]) -> None:
    done = place.gate.run(*command)
    assert done.stdout + done.stderr
    assert place.leaks(done.stdout + done.stderr) == []
    assert "Traceback" not in done.stderr
