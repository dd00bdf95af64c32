"""Secrets in Azure Key Vault: stored there by `connection set`, read by a running server with its managed identity."""

from __future__ import annotations

import base64
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from tests.acceptance.configs import UPLOADS, index_source
from tests.support.azurite import KEY, azurite
from tests.support.certificates import loopback_tls
from tests.support.entra import Identity, managed_identity
from tests.support.gate import WHEELGATE, Gate, environment, gate
from tests.support.index import FakeIndex, running
from tests.support.packages import wheel_bytes, wheel_name
from tests.support.tunnels import certified, outbound
from tests.support.vault import FakeVault
from tests.support.waiting import until

SECRET = "canary-7xqTz9-s3cret"


class Feed(FakeIndex):
    """An index that answers only who has the PAT of the day."""

    pat = SECRET

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Basic {base64.b64encode(f'wheelgate:{self.pat}'.encode()).decode()}":
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="feed"'})
        return await super().answer(request)


class World:
    """A feed, a vault, and a machine with an identity."""

    def __init__(self, folder: Path, feed: Feed, vault: FakeVault, identity: Identity) -> None:
        self.folder = folder
        self.feed = feed
        self.vault = vault
        self.identity = identity

    def config(self, value: str | None = None, vault: str | None = None, more: str = "") -> str:
        server = f'[server]\nca_file = "{self.folder / "ca.pem"}"\nkey_vault = "{vault or self.vault.origin}"\n'
        source = index_source(self.feed, "team", private=True, strict=True, fresh="0s", absent="0s")
        fields = f'name = "team"\ntarget = "{self.feed.origin}"\nauth_type = "PAT"\nvalue = "{value}"\n'
        return server + more + UPLOADS + source + (f"[[connection]]\n{fields}" if value else "")

    def gate(self, config: str) -> Gate:
        return Gate(self.folder / "gate", config, ("--log-level", "DEBUG"), self.identity.environment)

    def set(
        self, config: str, *, secret: str = SECRET, name: str = "team", target: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        path = self.folder / "set.toml"
        path.write_text(config)
        command = [WHEELGATE, "connection", "set", "-c", path, "--data", self.folder / "gate" / "data", "--name", name]
        done = subprocess.run(
            [*command, "--target", target or self.feed.origin],
            input=secret,
            capture_output=True,
            text=True,
            timeout=60,
            env=environment(self.folder, **self.identity.environment),
        )
        assert "Traceback" not in done.stderr
        assert secret not in done.stdout + done.stderr
        return done


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        feed, vault = Feed(), FakeVault()
        feed.publish("acme-a", wheel_name("acme-a", "1.0"), wheel_bytes("acme-a", "1.0"))
        stack.enter_context(running(feed))
        stack.enter_context(running(vault, tls=loopback_tls(tmp_path / "ca.pem")))
        yield World(tmp_path, feed, vault, stack.enter_context(managed_identity()))


@pytest.fixture
def started(world: World) -> Iterator[list[Gate]]:
    gates: list[Gate] = []
    yield gates
    for one in gates:
        one.stop()
        assert SECRET not in one.log


def start(started: list[Gate], one: Gate) -> Gate:
    started.append(one)
    one.start()
    return one


def test_set_stores_it_in_the_vault_and_a_running_server_signs_in_with_it(world: World, started: list[Gate]) -> None:
    server = start(started, world.gate(world.config()))
    assert server.get("/simple/acme-a/").status == 502
    done = world.set(world.config())
    assert done.returncode == 0, done.stderr
    [name] = world.vault.secrets
    assert world.vault.secrets[name] == [SECRET]
    assert name.startswith("wheelgate-team-")
    assert f"(secret: keyvault:{name})" in done.stdout
    assert not (server.data / "secrets.toml").exists()
    until(lambda: server.get("/simple/acme-a/").status == 200)
    for project in ("a", "b", "c"):
        server.get(f"/simple/{project}/")
    assert world.vault.reads(name) == 1
    found = server.run("connection", "test", "team")
    assert found.stdout.startswith("ok    secret: is available\nok    source team (private): answers")

    done = server.run("connection", "delete", "team")
    assert done.stderr == f"wheelgate: the secret is still in the key vault (keyvault:{name}): delete it there\n"


def test_two_connections_never_share_a_secret_of_the_vault(world: World) -> None:
    for name in ("a.b", "a-b", "a_b"):  # which a vault cannot tell apart
        done = world.set(world.config(), name=name, target=f"{world.feed.origin}/{name}", secret=f"of {name}")
        assert done.returncode == 0, done.stderr
    assert sorted(world.vault.secrets.values()) == [["of a-b"], ["of a.b"], ["of a_b"]]


@pytest.mark.parametrize("form", ["team", "{origin}/secrets/team", "{origin}/secrets/team/{version}"])
def test_references_by_name_url_and_version(world: World, started: list[Gate], form: str) -> None:
    world.vault.secrets["team"] = [SECRET, SECRET]
    value = f"keyvault:{form.format(origin=world.vault.origin, version='0' * 32)}"
    server = start(started, world.gate(world.config(value)))
    assert server.get("/simple/acme-a/").status == 200
    assert world.vault.reads("team") == 1


def test_a_secret_rotated_in_the_vault_heals_without_a_restart(world: World, started: list[Gate]) -> None:
    world.vault.secrets["team"] = [SECRET]
    server = start(started, world.gate(world.config("keyvault:team")))
    assert server.get("/simple/acme-a/").status == 200
    world.feed.pat = "rotated"
    answer = server.get("/simple/acme-a/")
    assert answer.status in (200, 502)  # the page it had stands in, or the refusal is said
    assert "connection team was refused by 127.0.0.1:" in server.log
    world.vault.secrets["team"].append("rotated")
    until(lambda: server.get("/simple/not-asked-before/").status == 404, 30)
    assert world.vault.reads("team") <= 3, "a vault counts its requests"


@pytest.mark.parametrize(
    ("refuses", "sentence"),
    [
        ((403, "ForbiddenByRbac"), "refuses access to secret team: our identity needs the role Key Vault Secrets User"),
        ((403, "ForbiddenByFirewall"), "refuses access to secret team: its firewall does not let this machine in"),
        ((403, "SecretDisabled"), "refuses access to secret team: the secret is disabled"),
        (None, "key vault 127.0.0.1 has no secret team"),
    ],
)
def test_a_vault_that_gives_none_is_one_sentence_and_stops_nobody_else(
    world: World, started: list[Gate], index: FakeIndex, refuses: tuple[int, str] | None, sentence: str
) -> None:
    world.vault.refuses = refuses
    index.publish("acme-b", wheel_name("acme-b", "1.0"), wheel_bytes("acme-b", "1.0"))
    # Each source is asked for names of its own: another private one that is unreachable must not decide.
    config = world.config("keyvault:team").replace('name = "team"\n', 'name = "team"\nonly = ["acme-a"]\n', 1)
    server = start(started, world.gate(config + index_source(index)))
    answer = server.get("/simple/acme-a/")
    assert answer.status == 502
    assert (
        f"connection team has no secret: key vault 127.0.0.1 {sentence.removeprefix('key vault 127.0.0.1 ')}"
        in answer.body.decode()
    )
    assert server.get("/simple/acme-b/").status == 200
    done = server.run("connection", "test", "team")
    assert done.returncode == 1
    assert (
        f"FAIL  secret: connection team has no secret: key vault 127.0.0.1 {sentence.removeprefix('key vault 127.0.0.1 ')}"
        in done.stdout
    )


def test_a_vault_that_cannot_be_reached(world: World, started: list[Gate]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nowhere = f"https://127.0.0.1:{closed.getsockname()[1]}"
    server = start(started, world.gate(world.config("keyvault:team", vault=nowhere)))
    answer = server.get("/simple/acme-a/")
    assert answer.status == 503
    assert "connection team has no secret: key vault 127.0.0.1 cannot be reached" in answer.body.decode()
    assert server.get("/simple/").status == 200

    done = world.set(world.config(vault=nowhere))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "wheelgate: key vault 127.0.0.1 cannot be reached\n"


def test_set_where_the_identity_may_not_write(world: World) -> None:
    for refuses, words in {
        (403, "ForbiddenByRbac"): "our identity needs the role Key Vault Secrets Officer",
        (409, "ObjectIsDeletedButRecoverable"): "a deleted secret still has the name: recover or purge it",
    }.items():
        world.vault.refuses = refuses
        done = world.set(world.config())
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("wheelgate: key vault 127.0.0.1 refuses access to secret wheelgate-team-")
        assert done.stderr.endswith(f"{words}\n")
        assert done.stderr.count("\n") == 1
    assert not (world.folder / "gate" / "data" / "connections").exists()


def test_a_vault_is_needed_to_refer_to_one(world: World, started: list[Gate]) -> None:
    config = world.config("keyvault:team").replace(f'key_vault = "{world.vault.origin}"\n', "")
    server = start(started, world.gate(config))
    assert (
        "server.key_vault is not set: set it, or name the vault in the reference" in server.get("/simple/acme-a/").body.decode()
    )


PROXY_PASSWORD = "canary-proxy-7xq"


@pytest.mark.parametrize("where", ["file:proxy-password", "keyvault:proxy-password"])
def test_a_vault_beyond_a_proxy_that_wants_a_password(world: World, started: list[Gate], where: str) -> None:
    """The password may not lie in the vault that it is needed for: nobody waits for that, and the proxy says what is missing."""
    authority, vault = trustme.CA(), FakeVault(secrets={"team": [SECRET], "proxy-password": [PROXY_PASSWORD]})
    authority.cert_pem.write_to_path(world.folder / "ca.pem")

    def route(host: str, _: int) -> int | None:
        return int(vault.origin.rpartition(":")[2]) if host == "acme.vault.azure.net" else None

    with running(vault, tls=certified(authority, "acme.vault.azure.net")), outbound(route, password=PROXY_PASSWORD) as proxy:
        config = world.config("keyvault:team", vault="https://acme.vault.azure.net")
        config = config.replace("[server]\n", f'[server]\noutbound_proxy = "{proxy.url}"\n', 1)
        config = config.replace('name = "team"\n', 'name = "team"\noutbound_proxy = "none"\n', 1)
        config += (
            f'[[connection]]\nname = "proxy"\ncategory = "HttpProxy"\ntarget = "{proxy.url}"\n'
            f'auth_type = "UsernamePassword"\nusername = "gate"\nvalue = "{where}"\n'
        )
        (world.folder / "gate").mkdir()
        (world.folder / "gate" / "proxy-password").write_text(PROXY_PASSWORD)
        server = start(started, world.gate(config))
        answer = server.get("/simple/acme-a/")
        if where.startswith("file:"):
            assert answer.status == 200, answer.body
            assert vault.reads("team") == 1
            assert all("Proxy-Authorization" not in asked.headers for asked in vault.asked)
        else:
            assert answer.status == 503
            sentence = f"key vault acme.vault.azure.net cannot be reached through {proxy.url} (server.outbound_proxy)"
            assert sentence in answer.body.decode()
        assert proxy.hosts == {"acme.vault.azure.net:443"}
        assert all("proxy-authorization" not in a.headers for a in world.feed.asked)
        assert PROXY_PASSWORD not in server.log


@pytest.mark.parametrize("url", ["https://example.com", "http://acme.vault.azure.net", "https://acme.vault.azure.net/secrets"])
def test_what_is_no_vault_is_not_shown_our_identity(tmp_path: Path, url: str) -> None:
    (tmp_path / "c.toml").write_text(f'[server]\nkey_vault = "{url}"\n')
    done = subprocess.run(
        [WHEELGATE, "check", "-c", tmp_path / "c.toml"], capture_output=True, text=True, env=environment(tmp_path)
    )
    assert done.returncode == 2
    assert done.stderr.startswith("wheelgate: server.key_vault: must be a key vault, such as https://NAME.vault.azure.net")


def test_the_key_of_a_store_may_lie_in_the_vault(world: World, tmp_path: Path) -> None:
    """An identity that may read the vault, and a store without rights for it: the emulator."""
    world.vault.secrets["storage"] = [KEY]
    with azurite(tmp_path / "emulator") as emulator:
        store = f'[store]\nurl = "{emulator.url}/wheelgate"\naccount_key = "keyvault:storage"\n'
        create_container(f"{emulator.url}/wheelgate")
        with gate(tmp_path / "keyed", world.config(more=store), env=world.identity.environment) as server:
            assert server.get("/readyz").status == 200
            assert KEY not in server.log
        done = subprocess.run(
            [WHEELGATE, "check", "-c", tmp_path / "keyed" / "wheelgate.toml", "--data", tmp_path / "keyed" / "data"],
            capture_output=True,
            text=True,
            env=environment(tmp_path, **world.identity.environment),
        )
        assert "ok    store" in done.stdout, done.stdout + done.stderr
        world.vault.secrets.clear()
        done = subprocess.run(done.args, capture_output=True, text=True, env=environment(tmp_path, **world.identity.environment))
        assert done.returncode == 1
        vault = f"server.key_vault = {world.vault.origin}"
        assert f"FAIL  store: store.account_key: key vault 127.0.0.1 has no secret storage ({vault})\n" in done.stdout


def create_container(url: str) -> None:
    from azure.storage.blob import ContainerClient

    with ContainerClient.from_container_url(url, credential=KEY) as client:
        client.create_container()
