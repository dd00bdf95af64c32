"""Upstreams behind a company's proxies and certificates: for the server, and for each source."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme

from tests.acceptance.configs import UPLOADS, index_source
from tests.support.gate import WHEELGATE, Gate, environment
from tests.support.index import FakeIndex, running
from tests.support.packages import wheel_bytes, wheel_name
from tests.support.tunnels import OutboundProxy, certified, outbound

PASSWORD = "canary-proxy-7xq"
Start = Callable[..., Gate]


class World:
    """Two indexes with certificates of an authority each, reached only through two proxies, the second of which wants a user."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.indexes: dict[str, FakeIndex] = {}
        for name in ("one", "two"):
            authority = trustme.CA()
            authority.cert_pem.write_to_path(folder / f"{name}.pem")
            index = FakeIndex()
            index.publish(f"acme-{name}", wheel_name(f"acme-{name}", "1.0"), wheel_bytes(f"acme-{name}", "1.0"))
            stack.enter_context(running(index, tls=certified(authority, f"{name}.example.com")))
            self.indexes[name] = index
        self.first: OutboundProxy = stack.enter_context(outbound(self._route))
        self.second: OutboundProxy = stack.enter_context(outbound(self._route, password=PASSWORD))

    def _route(self, host: str, port: int) -> int | None:
        index = self.indexes.get(host.removesuffix(".example.com"))
        return int(index.origin.rpartition(":")[2]) if index is not None and port == 443 else None

    def server(self, **settings: object) -> str:
        return "[server]\n" + "".join(f'{key} = "{value}"\n' for key, value in settings.items())

    def source(self, name: str, **settings: object) -> str:
        """Asked for its own names alone: one that fails says nothing about the other."""
        lines = "".join(f'{key} = "{value}"\n' for key, value in settings.items())
        url = f"https://{name}.example.com/simple/"
        return f'[[source]]\nname = "{name}"\ntype = "index"\nurl = "{url}"\nprivate = true\nonly = ["acme-{name}"]\n{lines}'

    @property
    def proxy_credential(self) -> str:
        return (
            f'[[connection]]\nname = "proxy"\ncategory = "HttpProxy"\ntarget = "{self.second.url}"\n'
            'auth_type = "UsernamePassword"\nusername = "gate"\nvalue = "file:proxy-password"\n'
        )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(tmp_path, stack)


def test_each_source_has_its_own_proxy_and_certificates(world: World, start_gate: Start, index: FakeIndex) -> None:
    index.publish("idna", wheel_name("idna", "1.0"), wheel_bytes("idna", "1.0"))
    config = (
        world.server(outbound_proxy=world.first.url, ca_file=world.folder / "one.pem")
        + UPLOADS
        + world.source("one")
        + world.source("two", outbound_proxy=world.second.url, ca_file=world.folder / "two.pem")
        + index_source(index, outbound_proxy="none")
        + world.proxy_credential
    )
    (world.folder / "gate0").mkdir()
    (world.folder / "gate0" / "proxy-password").write_text(PASSWORD)
    server = start_gate(config, "--log-level", "DEBUG")
    for project in ("acme-one", "acme-two", "idna"):
        assert server.get(f"/simple/{project}/").status == 200, server.log
        assert server.get(f"/files/{project}/{wheel_name(project, '1.0')}").status == 200
    assert world.first.hosts == {"one.example.com:443"}
    assert world.second.hosts == {"two.example.com:443"}
    assert all("127.0.0.1" not in passed.line for passed in world.first.passed), "the direct one is asked directly"
    assert all("proxy-authorization" not in passed.headers for passed in world.first.passed), "the other proxy's password"
    for seen in world.indexes.values():
        assert all("Proxy-Authorization" not in asked.headers for asked in seen.asked)
    assert PASSWORD not in server.log


def test_what_stands_in_the_way_is_one_sentence_and_stops_nobody_else(world: World, start_gate: Start, index: FakeIndex) -> None:
    index.publish("idna", wheel_name("idna", "1.0"), wheel_bytes("idna", "1.0"))
    config = (
        world.server(outbound_proxy=world.first.url, ca_file=world.folder / "one.pem")
        + UPLOADS
        + world.source("one", outbound_proxy=world.second.url)
        + world.source("two")
        + index_source(index, outbound_proxy="none")
    )
    server = start_gate(config)
    for project, sentence in {
        "acme-one": "source one cannot be reached: the outbound proxy answered 407",
        "acme-two": "source two has no trustworthy certificate for two.example.com",
    }.items():
        answer = server.get(f"/simple/{project}/")
        assert answer.status == 503
        assert answer.body.decode().startswith(sentence), answer.body
    assert server.get("/simple/idna/").status == 200

    command = [
        WHEELGATE,
        "connection",
        "set",
        "-c",
        server.config,
        "--data",
        server.data,
        "--name",
        "proxy",
        "--username",
        "gate",
    ]
    done = subprocess.run(
        [*command, "--category", "HttpProxy", "--target", world.second.url, "--auth-type", "UsernamePassword"],
        input=PASSWORD,
        capture_output=True,
        text=True,
        env=environment(server.folder),
    )
    assert done.returncode == 0, done.stderr
    server.restart()
    assert server.get("/simple/acme-one/").status == 200


def test_a_password_for_a_proxy_without_tls_must_be_meant(tmp_path: Path) -> None:
    command = [WHEELGATE, "connection", "set", "--data", tmp_path / "data", "--name", "p", "--username", "u", "--auth-type"]
    command += ["UsernamePassword", "--target", "http://proxy.example.com:3128"]
    done = subprocess.run(command, input="x", capture_output=True, text=True, env=environment(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith(
        "wheelgate: target: the secret would be sent unencrypted to http://proxy.example.com:3128: use https, or set allow_http"
    )
    done = subprocess.run([*command, "--allow-http"], input="x", capture_output=True, text=True, env=environment(tmp_path))
    assert done.returncode == 0, done.stderr


SERVER = '[server]\n{}\n[[source]]\nname = "a"\ntype = "index"\nurl = "https://a.example.com/simple/"\nprivate = true\n'
SOURCE = '[[source]]\nname = "a"\ntype = "index"\nurl = "https://a.example.com/simple/"\nprivate = true\n{}\n'
STORE = '[[source]]\nname = "uploads"\ntype = "store"\n{}\n'
LOOKS = 'must look like "http://proxy.example.com:3128"'


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        (
            SERVER,
            'outbound_proxy = "proxy:3128"',
            f"server.outbound_proxy: {LOOKS}; this URL has no scheme",
        ),
        (SERVER, 'outbound_proxy = "direct"', f"server.outbound_proxy: {LOOKS}"),
        (SERVER, 'outbound_proxy = "socks5://p:1"', f"server.outbound_proxy: {LOOKS}"),
        (SERVER, 'outbound_proxy = "http://p:1/path"', f"server.outbound_proxy: {LOOKS}, without a path"),
        (
            SERVER,
            f'outbound_proxy = "http://me:{PASSWORD}@p:1"',
            "server.outbound_proxy: must not contain a user or password: store a connection for the proxy's URL",
        ),
        (SOURCE, 'outbound_proxy = ""', f"source[0].outbound_proxy: {LOOKS}"),
        (
            SOURCE,
            'outbound_proxy = "direct"',
            f"source[0].outbound_proxy: {LOOKS}; this URL cannot be used: it is not an absolute",
        ),
        (STORE, 'outbound_proxy = "http://p:1"', "source[0].outbound_proxy: applies only to a source that is asked over HTTP"),
        (STORE, 'ca_file = "ca.pem"', "source[0].ca_file: applies only to a source that is asked over HTTP"),
        (SERVER, 'ca_file = "missing.pem"', "server.ca_file: "),
        (SOURCE, 'ca_file = "missing.pem"', "source[0].ca_file: "),
    ],
)
def test_wrong_settings_are_named_by_their_key(tmp_path: Path, text: str, line: str, sentence: str) -> None:
    path = tmp_path / "wheelgate.toml"
    path.write_text(text.format(line))
    command = [WHEELGATE, "check", "-c", path, "--data", tmp_path / "data"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment(tmp_path))
    assert done.returncode == 2, done.stdout
    assert done.stderr.startswith(f"wheelgate: {sentence}"), done.stderr
    assert done.stderr.count("\n") == 1
    assert PASSWORD not in done.stderr
