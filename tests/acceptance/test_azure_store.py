"""The whole way, as in Azure: managed identity, the emulator over https with OAuth, delegation signatures, real pip and uv."""

from __future__ import annotations

import concurrent.futures
import json
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import trustme

from tests.acceptance.configs import UPLOADS, index_source
from tests.support.azurite import Azurite, azurite
from tests.support.clients import pip, uv
from tests.support.entra import Identity, managed_identity
from tests.support.gate import Gate, command, gate
from tests.support.index import FakeIndex
from tests.support.packages import ODD_NAMES, make_wheel, odd_wheel, sha256, wheel_bytes, wheel_name
from wheelgate.core.names import normalise_name

DELEGATION = "comp=userdelegationkey"


class World:
    """An account without keys, and who may use it."""

    def __init__(self, folder: Path, emulator: Azurite, identity: Identity) -> None:
        self.folder = folder
        self.emulator = emulator
        self.identity = identity
        self.trust = {name: str(folder / "ca.pem") for name in ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")}
        self.tls = ("--tls-cert", str(folder / "cert.pem"), "--tls-key", str(folder / "key.pem"))
        self._containers = iter(range(100))

    def container(self) -> str:
        """A new container's URL, made with a token, since there are no keys."""
        name = f"store{next(self._containers)}"
        request = urllib.request.Request(
            f"{self.identity.environment['IDENTITY_ENDPOINT']}?resource=https://storage.azure.com",
            headers={"X-IDENTITY-HEADER": self.identity.environment["IDENTITY_HEADER"]},
        )
        token = json.loads(urllib.request.urlopen(request).read())["access_token"]
        create = urllib.request.Request(
            f"{self.emulator.url}/{name}?restype=container",
            method="PUT",
            headers={"Authorization": f"Bearer {token}", "x-ms-version": "2026-06-06", "Content-Length": "0"},
        )
        urllib.request.urlopen(create, context=ssl.create_default_context(cafile=self.trust["PIP_CERT"])).close()
        return f"{self.emulator.url}/{name}"

    def config(self, container: str, index: FakeIndex, **store: str) -> str:
        lines = "".join(f'{key} = "{value}"\n' for key, value in store.items())
        server = f'[server]\nca_file = "{self.folder / "ca.pem"}"\n'
        return f'{server}[store]\nurl = "{container}"\n{lines}{UPLOADS}{index_source(index)}'

    def delegation_keys(self) -> int:
        return (self.folder / "azurite.log").read_text().count(DELEGATION)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("azure")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    for position, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(folder / "cert.pem", append=position > 0)
    secure = ("--oauth", "basic", "--cert", str(folder / "cert.pem"), "--key", str(folder / "key.pem"))
    with azurite(folder, *secure, scheme="https", silent=False) as emulator, managed_identity() as identity:
        yield World(folder, emulator, identity)


def test_a_wheel_installs_by_name_and_by_url_from_storage_without_any_key(
    world: World, tmp_path: Path, index: FakeIndex, home: Path
) -> None:
    base = wheel_bytes("public-base", "1.0")
    index.publish("public-base", wheel_name("public-base", "1.0"), base)
    wheel = make_wheel(tmp_path, "acme-cloud", "1.0", requires=["public-base"])
    with gate(tmp_path / "gate", world.config(world.container(), index), world.tls, world.identity.environment) as server:
        server.trust(world.folder / "ca.pem")
        added = server.run("wheel", "add", wheel)
        assert added.returncode == 0, added.stderr
        time.sleep(2.5)
        redirect = server.get(f"/files/acme-cloud/{wheel.name}")
        assert redirect.status == 302
        location = redirect.headers["Location"]
        assert "skoid=" in location  # a user delegation signature: no account key made it
        assert "spr=https" in location
        assert "sig=" not in server.log

        install = ("install", "--index-url", server.index_url, "--target")
        pip(home, *install, home / "site", "acme-cloud", env=world.trust)
        assert (home / "site" / "acme_cloud.py").exists()
        uv(home, "venv", "--python", sys.executable, home / "venv")
        env = {"VIRTUAL_ENV": str(home / "venv"), **world.trust}
        uv(home, "pip", "install", "--no-cache", "--default-index", server.index_url, "acme-cloud", env=env)
        url = f"acme-cloud @ {server.url}/files/acme-cloud/{wheel.name}#sha256={sha256(wheel.read_bytes())}"
        (home / "requirements.txt").write_text(f"--index-url {server.index_url}\n{url}\n")
        pip(home, "install", "--no-cache-dir", "-r", "requirements.txt", "--target", home / "by-url", env=world.trust)
        uv(home, "pip", "install", "--no-cache", "--reinstall", "-r", "requirements.txt", env=env)

        # The upstream's file came through us once, and from then on comes from storage too.
        assert index.count(f"/packages/public-base/{wheel_name('public-base', '1.0')}") == 1
        assert server.get(f"/files/public-base/{wheel_name('public-base', '1.0')}").status == 302


def test_a_file_name_survives_storage_and_its_redirects(world: World, tmp_path: Path, index: FakeIndex, home: Path) -> None:
    wheels = [(normalise_name(odd[0]), odd_wheel(tmp_path / "dist", *odd)) for odd in ODD_NAMES]
    with gate(tmp_path / "gate", world.config(world.container(), index), world.tls, world.identity.environment) as server:
        server.trust(world.folder / "ca.pem")
        added = server.run("wheel", "add", *(wheel for _, wheel in wheels))
        assert added.returncode == 0, added.stderr
        time.sleep(2.5)
        for project, wheel in wheels:
            for path in (wheel.name, quote(wheel.name, safe="")):
                redirect = server.get(f"/files/{project}/{path}")
                assert redirect.status == 302
                context = ssl.create_default_context(cafile=world.trust["PIP_CERT"])
                with urllib.request.urlopen(redirect.headers["Location"], context=context) as answer:
                    assert answer.read() == wheel.read_bytes()
        name, version, _ = ODD_NAMES[0]
        install = ("--index-url", server.index_url, f"{name}=={version}", "--target")
        pip(home, "install", *install, home / "pip", env=world.trust)
        uv(home, "pip", "install", *install, home / "uv", env=world.trust)


def test_replicas_remember_together_and_after_a_restart(world: World, tmp_path: Path, index: FakeIndex, home: Path) -> None:
    """The records lie in the container: what one replica saw, every other one goes by, also while the upstream is down."""
    name, wheel = "public-kept", wheel_name("public-kept", "1.0")
    index.publish(name, wheel, wheel_bytes(name, "1.0"))
    container = world.container()
    config = world.config(container, index)
    with gate(tmp_path / "first", config, world.tls, world.identity.environment) as first:
        first.trust(world.folder / "ca.pem")
        pip(home, "install", "--index-url", first.index_url, "--target", home / "site", name, env=world.trust)
        before = first.page(name)
        first.stop()
    index.down = True
    with gate(tmp_path / "second", config, world.tls, world.identity.environment) as second:
        second.trust(world.folder / "ca.pem")
        install = ("install", "--no-cache-dir", "--index-url", second.index_url, "--target", home / "again", name)
        pip(home, *install, env=world.trust)
        assert second.page(name) == before
        assert second.get(f"/simple/{name}/").headers["X-Cache"] == "stale"
    index.down = False
    index.publish(name, wheel, wheel_bytes(name, "1.0", extra={"stolen.py": b""}))
    with gate(tmp_path / "third", config, world.tls, world.identity.environment) as third:
        third.trust(world.folder / "ca.pem")
        assert third.get(f"/simple/{name}/").status == 403
        assert third.get(f"/files/{name}/{wheel}").status == 403


def test_a_second_install_within_the_window_downloads_nothing(world: World, tmp_path: Path, index: FakeIndex, home: Path) -> None:
    wheel = make_wheel(tmp_path, "acme-twice", "1.0", padding=200_000)
    config = world.config(world.container(), index, sas_window="15s", sas_life="11m")
    with gate(tmp_path / "gate", config, world.tls, world.identity.environment) as server:
        server.trust(world.folder / "ca.pem")
        assert server.run("wheel", "add", wheel).returncode == 0
        time.sleep(2.5)

        def install(target: str) -> str:
            command = ("install", "--index-url", server.index_url, "--target", home / target, "acme-twice")
            return pip(home, *command, env=world.trust).stdout

        time.sleep(15 - time.time() % 15)  # a whole window before us
        first = server.get(f"/files/acme-twice/{wheel.name}").headers["Location"]
        install("one")
        assert "Using cached" in install("two")
        downloads = (world.folder / "azurite.log").read_text().count(f"GET /devstoreaccount1/{first.split('/')[4]}/packages")
        assert downloads == 1
        time.sleep(15.5 - time.time() % 15)
        assert server.get(f"/files/acme-twice/{wheel.name}").headers["Location"] != first
        install("three")  # another URL, so it downloads again; a stale one is never used


def test_twenty_cold_requests_fetch_one_token_and_one_delegation_key(world: World, tmp_path: Path, index: FakeIndex) -> None:
    wheels = [make_wheel(tmp_path, "acme-many", f"{n}.0") for n in range(20)]
    with gate(tmp_path / "gate", world.config(world.container(), index), world.tls, world.identity.environment) as server:
        server.trust(world.folder / "ca.pem")
        assert server.run("wheel", "add", *wheels).returncode == 0
        server.restart()
        tokens, keys = world.identity.token_requests, world.delegation_keys()
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            statuses = list(pool.map(lambda wheel: server.get(f"/files/acme-many/{wheel.name}").status, wheels))
        assert statuses == [302] * 20
        assert world.identity.token_requests - tokens <= 1  # the start had one fetched already, or this did
        assert world.delegation_keys() - keys == 1


def _upload(server: Gate, secret: str, wheel: Path, trust: Path) -> subprocess.CompletedProcess[str]:
    from tests.support.gate import WHEELGATE, environment

    env = environment(server.folder, WHEELGATE_URL=server.url, WHEELGATE_TOKEN=secret, SSL_CERT_FILE=str(trust))
    return subprocess.run([WHEELGATE, "wheel", "add", "--exist-ok", wheel], capture_output=True, text=True, env=env, timeout=120)


@pytest.mark.parametrize("rounds", [5, pytest.param(50, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
def test_two_replicas_that_receive_one_name_at_once(world: World, tmp_path: Path, index: FakeIndex, rounds: int) -> None:
    config = world.config(world.container(), index)
    ca = world.folder / "ca.pem"
    with (
        gate(tmp_path / "one", config, world.tls, world.identity.environment) as one,
        gate(tmp_path / "two", config, world.tls, world.identity.environment) as two,
    ):
        one.trust(ca)
        two.trust(ca)
        made = one.run("token", "new", "--scope", "upload")
        secret = made.stdout.strip()
        time.sleep(2.5)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for number in range(rounds):
                same = make_wheel(tmp_path / "a", "acme-race", f"{number}.0")
                other = make_wheel(tmp_path / "b", "acme-race", f"{number}.0", requires=["idna"])
                rival = same if number % 2 else other
                tasks = [pool.submit(_upload, server, secret, wheel, ca) for server, wheel in ((one, same), (two, rival))]
                first, second = (task.result() for task in tasks)
                if rival is same:
                    assert (first.returncode, second.returncode) == (0, 0), (first.stderr, second.stderr)
                else:
                    assert sorted((first.returncode, second.returncode)) == [0, 1], (first.stderr, second.stderr)
                    loser = first if first.returncode else second
                    assert "File already exists" in loser.stderr
                winner = same if first.returncode == 0 else other
                time.sleep(0 if number < rounds - 1 else 2.5)
        for server in (one, two):
            _same_page(server, rounds)
        body = _body(one, f"/files/acme-race/{winner.name}", ca)
        assert body == winner.read_bytes()
        metadata = _body(two, f"/files/acme-race/{winner.name}.metadata", ca)
        assert (b"Requires-Dist" in metadata) is (winner is other)


def _same_page(server: Gate, rounds: int) -> None:
    assert len(server.page("acme-race")["files"]) == rounds


def _body(server: Gate, path: str, ca: Path) -> bytes:
    context = ssl.create_default_context(cafile=str(ca))
    with urllib.request.urlopen(server.url + path, context=context) as answer:
        body: bytes = answer.read()
        return body


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
def test_an_upload_cut_by_kill_9_is_absent_or_whole_and_succeeds_again(
    world: World, tmp_path: Path, index: FakeIndex, kills: int
) -> None:
    ca = world.folder / "ca.pem"
    with gate(tmp_path / "gate", world.config(world.container(), index), world.tls, world.identity.environment) as server:
        server.trust(ca)
        secret = server.run("token", "new", "--scope", "upload").stdout.strip()
        for number in range(kills):
            wheel = make_wheel(tmp_path, "acme-kill", f"{number}.0", padding=40_000_000)
            server.restart()
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                upload = pool.submit(_upload, server, secret, wheel, ca)
                time.sleep(0.35 + 0.9 * number / kills)
                server.stop(signal.SIGKILL)
                upload.result()
            server.start()
            answer = server.get("/simple/acme-kill/", {"Accept": "application/vnd.pypi.simple.v1+json"})
            listed = {entry["filename"]: entry for entry in json.loads(answer.body)["files"]} if answer.status == 200 else {}
            if wheel.name in listed:
                assert _body(server, listed[wheel.name]["url"], ca) == wheel.read_bytes()
            again = _upload(server, secret, wheel, ca)
            assert again.returncode == 0, again.stderr
            time.sleep(2.5)
            assert _body(server, f"/files/acme-kill/{wheel.name}", ca) == wheel.read_bytes()


def test_a_requirements_file_is_signed_by_identity_where_no_gate_may_stand(
    world: World, tmp_path: Path, index: FakeIndex, home: Path
) -> None:
    wheel = make_wheel(tmp_path, "acme-signed", "1.0")
    container = world.container()
    with gate(tmp_path / "gate", world.config(container, index), world.tls, world.identity.environment) as server:
        assert server.run("wheel", "add", wheel).returncode == 0
    requirements = home / "requirements.txt"
    requirements.write_text(f"acme-signed @ {container}/packages/acme-signed/{wheel.name}  # ours\n")
    arguments = ("rewrite", requirements, "--sas", "--life", "2d", "-c", server.config)
    done = command(home, *arguments, **world.identity.environment)
    assert done.returncode == 0, done.stderr
    assert "skoid=" in requirements.read_text()  # a user delegation signature: no account key made it
    assert "sig=" not in done.stdout + done.stderr
    pip(home, "install", "--no-cache-dir", "-r", requirements, "--target", home / "site", env=world.trust)
    assert (home / "site" / "acme_signed.py").exists()
