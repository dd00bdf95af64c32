"""A feed of Azure DevOps and public packages behind one URL, with every way to sign in; and no secret on any other way."""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.clients import pip, uv
from tests.support.company import PAT, TEAM_URL, TOOLS_URL, Company, company, connection
from tests.support.devops import HOST, RESOURCE
from tests.support.entra import APPLICATION, TENANT, authority, claims_of, managed_identity
from tests.support.gate import Gate, gate

BASIC = "Basic " + base64.b64encode(f"wheelgate:{PAT}".encode()).decode()


@pytest.fixture
def acme(tmp_path: Path) -> Iterator[Company]:
    with company(tmp_path / "company") as made:
        yield made


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Gate]]:
    """Starts servers with an environment: ``start(config, NAME=value)``."""
    with ExitStack() as stack:
        count = iter(range(100))
        yield lambda config, **env: stack.enter_context(gate(tmp_path / f"gate{next(count)}", config, env=env))


@dataclass
class SignedIn:
    """A way to sign in: its connection's fields, its environment, and what the feed must have been shown."""

    fields: dict[str, str]
    environment: dict[str, str] = field(default_factory=dict)
    shown: Callable[[], set[str]] = lambda: {BASIC}


@pytest.fixture(params=["PAT", "managed identity", "service principal", "workload identity"])
def way(request: pytest.FixtureRequest, acme: Company, tmp_path: Path) -> Iterator[SignedIn]:
    with ExitStack() as stack:
        match request.param:
            case "PAT":
                yield SignedIn({"auth_type": "PAT"}, {"ACME_PAT": PAT})
            case "managed identity":
                identity = stack.enter_context(managed_identity())
                yield SignedIn(
                    {"auth_type": "ManagedIdentity"},
                    identity.environment,
                    lambda: {f"Bearer {token}" for token in identity.tokens},
                )
            case "service principal":
                tenant = stack.enter_context(authority(acme.authority))
                fields = {"tenant_id": TENANT, "client_id": APPLICATION, "value": "env:CLIENT_SECRET"}
                yield SignedIn(
                    {"auth_type": "ServicePrincipal", **fields},
                    {**tenant.environment, "CLIENT_SECRET": tenant.client_secret},
                    lambda: {f"Bearer {token}" for token in tenant.tokens},
                )
            case _:
                tenant = stack.enter_context(authority(acme.authority))
                assertion = tmp_path / "federated-token"
                assertion.write_text(tenant.assertion)
                yield SignedIn(
                    {"auth_type": "ManagedIdentity"},
                    {
                        **tenant.environment,
                        "AZURE_TENANT_ID": TENANT,
                        "AZURE_CLIENT_ID": APPLICATION,
                        "AZURE_FEDERATED_TOKEN_FILE": str(assertion),
                    },
                    lambda: {f"Bearer {token}" for token in tenant.tokens},
                )


def assert_secrets_kept(acme: Company, shown: set[str]) -> None:
    """The feed's hosts saw the credential at every request, its storage and the proxy never."""
    assert len(shown) == 1
    assert acme.devops.authorisations == shown
    assert all("Authorization" in asked.headers for asked in acme.devops.asked)
    assert acme.devops.storage_asked
    assert acme.secrets_at_storage == []
    (credential,) = shown
    assert credential.split()[1].encode() not in acme.proxy.seen
    assert not [name for passed in acme.proxy.passed for name in passed.headers if "authorization" in name]
    assert not [asked for asked in acme.public.asked if "Authorization" in asked.headers or "acme" in asked.path]


def test_pip_and_uv_install_from_a_feed_and_a_public_index_through_one_url(
    acme: Company, start: Callable[..., Gate], way: SignedIn, home: Path
) -> None:
    gate = start(acme.config(TEAM_URL, connection(**way.fields)), **way.environment)
    pip(home, "install", "--no-cache-dir", "--index-url", gate.index_url, "--target", home / "pip", "acme-lib==2.0", "idna")
    uv(home, "venv", "--python", sys.executable, home / "venv")
    in_venv = {"VIRTUAL_ENV": str(home / "venv")}
    uv(home, "pip", "install", "--no-cache", "--index-url", gate.index_url, "acme-lib==1.0", "idna", env=in_venv)
    assert (home / "pip" / "acme_lib.py").read_text() == '__version__ = "2.0"\n'
    assert (home / "pip" / "idna.py").exists()
    assert next((home / "venv").rglob("site-packages/acme_lib.py")).read_text() == '__version__ = "1.0"\n'
    assert_secrets_kept(acme, way.shown())
    if not way.fields["auth_type"].startswith("PAT"):
        (shown,) = way.shown()
        assert claims_of(shown.removeprefix("Bearer "))["aud"] == RESOURCE


LEGACY = "https://acme.pkgs.visualstudio.com"


@pytest.mark.parametrize("target", [f"https://{HOST}/acme", f"https://{HOST}/acme/_packaging/team/pypi/simple/", LEGACY])
@pytest.mark.parametrize("url", [TEAM_URL, f"{LEGACY}/_packaging/team/pypi/simple/"], ids=["host", "legacy host"])
def test_organisation_and_feed_on_either_host_are_one_place(
    acme: Company, start: Callable[..., Gate], target: str, url: str, home: Path
) -> None:
    gate = start(acme.config(url, connection(target)), ACME_PAT=PAT)
    pip(home, "download", "--no-cache-dir", "--no-deps", "--index-url", gate.index_url, "-d", home / "out", "acme-lib")
    assert (home / "out" / "acme_lib-2.0-py3-none-any.whl").exists()
    assert {asked.host for asked in acme.devops.asked} == {urlsplit(url).hostname}
    assert_secrets_kept(acme, {BASIC})


@pytest.mark.parametrize("target", [f"https://{HOST}/acme", f"https://{HOST}/ACME/Platform", TOOLS_URL])
def test_a_feed_of_a_project_installs_with_a_connection_for_organisation_project_or_feed(
    acme: Company, start: Callable[..., Gate], target: str, home: Path
) -> None:
    gate = start(acme.config(TOOLS_URL, connection(target)), ACME_PAT=PAT)
    pip(home, "download", "--no-cache-dir", "--no-deps", "--index-url", gate.index_url, "-d", home / "out", "acme-tool")
    download = next(asked for asked in acme.devops.asked if "/download/" in asked.path)
    assert download.path.startswith(f"/acme/{acme.tools.project_id}/_packaging/{acme.tools.id}/pypi/download/acme-tool/3/")
    assert_secrets_kept(acme, {BASIC})


@pytest.mark.parametrize("kind", ["HTML", "JSON"])
def test_a_view_offers_what_was_promoted_to_it(acme: Company, start: Callable[..., Gate], kind: str, home: Path) -> None:
    acme.devops.json = kind == "JSON"
    url = TEAM_URL.replace("/team/", "/team@Release/")
    gate = start(acme.config(url, connection(url)), ACME_PAT=PAT)
    assert [file["filename"] for file in gate.page("acme-lib")["files"]] == ["acme_lib-1.0-py3-none-any.whl"]
    pip(home, "download", "--no-cache-dir", "--no-deps", "--index-url", gate.index_url, "-d", home / "out", "acme-lib")
    guid = acme.team.views["Release"][0]
    assert any(f"/_packaging/{acme.team.id}@{guid}/pypi/download/" in asked.path for asked in acme.devops.asked)
    assert_secrets_kept(acme, {BASIC})


def test_the_url_as_azure_devops_shows_it_works(acme: Company, start: Callable[..., Gate]) -> None:
    """Its pages offer URLs with the organisation as user name."""
    shown = TEAM_URL.replace("https://", "https://acme@")
    gate = start(acme.config(shown, connection(f"https://acme@{HOST}/acme")), ACME_PAT=PAT)
    assert gate.get("/simple/acme-lib/").status == 200


def test_a_user_assigned_identity_is_asked_for_by_its_client_id(acme: Company, start: Callable[..., Gate]) -> None:
    with managed_identity() as identity:
        signed_in = connection(auth_type="ManagedIdentity", client_id=APPLICATION)
        gate = start(acme.config(TEAM_URL, signed_in), **identity.environment)
        assert gate.get("/simple/acme-lib/").status == 200
        assert identity.client_ids == [APPLICATION]


def test_a_workload_identity_is_used_by_its_client_id(acme: Company, start: Callable[..., Gate], tmp_path: Path) -> None:
    assertion = tmp_path / "federated-token"
    with authority(acme.authority) as tenant:
        assertion.write_text(tenant.assertion)
        env = {"AZURE_TENANT_ID": TENANT, "AZURE_FEDERATED_TOKEN_FILE": str(assertion), **tenant.environment}
        gate = start(acme.config(TEAM_URL, connection(auth_type="ManagedIdentity", client_id=APPLICATION)), **env)
        assert gate.get("/simple/acme-lib/").status == 200
        assert [form["client_id"] for form in tenant.asked] == [APPLICATION]


def test_head_is_never_asked_of_a_feed_and_metadata_is_offered_all_the_same(acme: Company, start: Callable[..., Gate]) -> None:
    gate = start(acme.config(TEAM_URL, connection()), ACME_PAT=PAT)
    (one, two) = gate.page("acme-lib")["files"]
    assert gate.get(one["url"], method="HEAD").status == 200
    assert gate.get(two["url"], {"Range": "bytes=-100"}).status == 206
    assert {asked.method for asked in acme.devops.asked} == {"GET"}


# ---- the company's proxy -----------------------------------------------------------------------------------------------------


def test_everything_goes_through_the_outbound_proxy_which_has_a_credential_of_its_own(
    acme: Company, start: Callable[..., Gate], home: Path
) -> None:
    acme.proxy.password = "canary-password-of-the-proxy"
    proxy = connection(
        acme.proxy.url, "UsernamePassword", "proxy", username="gate", value="env:PROXY_PASSWORD", category="HttpProxy"
    )
    env = {"ACME_PAT": PAT, "PROXY_PASSWORD": acme.proxy.password}
    gate = start(acme.config(TEAM_URL, connection() + proxy), **env)
    pip(home, "download", "--no-cache-dir", "--no-deps", "--index-url", gate.index_url, "-d", home / "out", "acme-lib")
    assert acme.proxy.hosts == {f"{HOST}:443", "feeds.dev.azure.com:443", "vsblobprodsu6weu.vsblob.vsassets.io:443"}
    told = [value for asked in acme.devops.asked + acme.devops.storage_asked for value in asked.headers.values()]
    assert not [value for value in told if base64.b64encode(b"gate:canary").decode()[:12] in value]
    assert not [asked for asked in acme.devops.asked if "Proxy-Authorization" in asked.headers]
    assert acme.devops.authorisations == {BASIC}


def test_plain_http_behind_a_proxy_with_a_password(acme: Company, start: Callable[..., Gate]) -> None:
    acme.proxy.password = "canary-password-of-the-proxy"
    acme.proxy.route = lambda host, port: port if host == "127.0.0.1" else None
    proxy = connection(acme.proxy.url, "UsernamePassword", "proxy", username="gate", value="env:PROXY_PASSWORD")
    config = acme.server() + acme.public_source().replace('outbound_proxy = "none"\n', "") + proxy
    gate = start(config, PROXY_PASSWORD=acme.proxy.password)
    assert gate.get("/simple/idna/").status == 200
    assert [passed.line.split()[0] for passed in acme.proxy.passed] == ["GET"]
    assert not [asked for asked in acme.public.asked if "Proxy-Authorization" in asked.headers]


def test_a_proxy_that_refuses_us_is_said_so(acme: Company, start: Callable[..., Gate]) -> None:
    acme.proxy.password = "another"
    gate = start(acme.config(TEAM_URL, connection()), ACME_PAT=PAT)
    answer = gate.get("/simple/acme-lib/")
    assert answer.status == 503
    assert "the outbound proxy answered 407" in answer.reason
    assert acme.devops.asked == []


def test_without_the_companys_certificates_nothing_is_asked(acme: Company, start: Callable[..., Gate]) -> None:
    config = acme.config(TEAM_URL, connection()).replace(f'ca_file = "{acme.ca_file}"\n', "")
    answer = start(config, ACME_PAT=PAT).get("/simple/acme-lib/")
    assert answer.status == 503
    assert "certificate" in answer.reason
    assert acme.devops.asked == []


@pytest.mark.public
@pytest.mark.timeout(300)
def test_a_feed_and_the_real_public_index(acme: Company, start: Callable[..., Gate], home: Path) -> None:
    config = acme.config(TEAM_URL, connection()).replace(f'url = "{acme.public.url}"\n', "")
    gate = start(config, ACME_PAT=PAT)
    pip(home, "install", "--no-cache-dir", "--index-url", gate.index_url, "--target", home / "pip", "acme-lib", "idna")
    assert (home / "pip" / "acme_lib.py").exists()
    assert (home / "pip" / "idna" / "core.py").exists()
    assert_secrets_kept(acme, {BASIC})
