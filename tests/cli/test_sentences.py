"""What commands say to people who took a wrong turn that many take: what happened, and the way on."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization

from tests.acceptance.configs import UPLOADS, uploads_and
from tests.support.gate import Gate, command
from tests.support.index import FakeIndex
from tests.support.packages import make_wheel, wheel_bytes, wheel_name
from wheelgate.cli import cli
from wheelgate.config import load
from wheelgate.core.errors import ConfigurationError
from wheelgate.web.server import build_tls_context


def told(done: subprocess.CompletedProcess[str], status: int) -> str:
    assert done.returncode == status, done.stderr
    return done.stderr.removeprefix("wheelgate: ").rstrip("\n")


def problems_of(folder: Path, text: str, **flags: object) -> list[str]:
    path = folder / "wheelgate.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load(path, flags={name.replace("__", "."): value for name, value in flags.items()}, environment={})
    return caught.value.problems


# --- where the server is


def test_a_url_without_a_scheme(home: Path) -> None:
    done = command(home, "wheel", "list", "--url", "127.0.0.1:8080")
    assert told(done, 2) == "the server's URL has no scheme: write http://127.0.0.1:8080"
    (home / "requirements.txt").write_text("idna\n")
    done = command(home, "rewrite", "--url", "wheelgate.internal", "requirements.txt")
    assert "Error: the URL of Wheelgate has no scheme: write https://wheelgate.internal\n" in done.stderr


def test_a_missing_token_is_told_in_words(start_gate: Callable[..., Gate], index: FakeIndex, tmp_path: Path) -> None:
    gate = start_gate(f'[server]\nanonymous = "none"\n{uploads_and(index)}')
    wheel = make_wheel(tmp_path, "acme-up", "1.0")
    for arguments in (("list",), ("add", wheel)):
        sentence = told(command(tmp_path, "wheel", *arguments, "--url", gate.url), 1)
        assert sentence == "a token is required: set WHEELGATE_TOKEN"
    sentence = told(command(tmp_path, "wheel", "list", "--url", gate.url, WHEELGATE_TOKEN="wgt_nonsense"), 1)
    assert sentence.endswith(" (WHEELGATE_TOKEN)")
    assert "{" not in sentence


# --- settings


WITH_PORT = "server.host: has a port in it: write {}, and 8000 as port (on the command line: --port 8000)"
A_URL = "server.host: is a URL: write the address to listen on, such as 127.0.0.1, alone"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[source]\nname = "a"\n', "source: must be a list: write [[source]]"),
        ('[[source]]\nname = "a"\ntype = "index"\nonly = "acme-*"\n', 'source[0].only: must be a list: write only = ["..."]'),
        ('host = "0.0.0.0"\n', "host: unknown setting; did you mean server.host?"),
        ('cooldown = "3d"\n', "cooldown: unknown setting; did you mean cooldown in [[source]] or policy.cooldown?"),
        ('[server]\nsas_window = "10m"\n', "server.sas_window: unknown setting; did you mean store.sas_window?"),
        ("[server]\nprt = 1\n", "server.prt: unknown setting; did you mean port?"),
        ('[server]\nhost = "localhost:8000"\n', WITH_PORT.format("localhost")),
        ('[server]\nhost = "[::1]:8000"\n', WITH_PORT.format("[::1]")),
        ('[server]\nhost = "http://localhost"\n', A_URL),
        ('[server]\npublic_url = "wheelgate.internal"\n', "server.public_url: has no scheme: write https://wheelgate.internal"),
    ],
)
def test_a_setting_in_the_wrong_place_or_form_is_told_with_the_right_one(tmp_path: Path, text: str, sentence: str) -> None:
    assert problems_of(tmp_path, text) == [sentence]


def test_all_problems_are_told_at_once_and_none_that_another_one_made(tmp_path: Path) -> None:
    source = '[[source]]\nname = "Team Feed"\ntype = "index"\nurl = "pypi.example.com/simple"\nonly = "acme-*"\nfresh = "soon"\n'
    assert sorted(problem.partition(": ")[0] for problem in problems_of(tmp_path, source)) == [
        f"source[0].{key}" for key in ("fresh", "name", "only", "url")
    ]
    server = '[server]\ntls_cert = 7\ntls_key = "key.pem"\nport = 99999\nhost = "0.0.0.0"\n'
    assert sorted(problem.partition(": ")[0] for problem in problems_of(tmp_path, server)) == [
        f"server.{key}" for key in ("anonymous", "port", "tls_cert")
    ]


def test_an_address_of_another_machine(home: Path) -> None:
    done = command(home, "serve", "--host", "192.0.2.1", "--port", "0", "--anonymous", "read", "--data", home / "data")
    assert told(done, 2) == "server.host: this machine has no address 192.0.2.1; choose another with --host"


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pems")
    mine, other = trustme.CA().issue_cert("localhost"), trustme.CA().issue_cert("localhost")
    mine.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    mine.private_key_pem.write_to_path(folder / "key.pem")
    other.private_key_pem.write_to_path(folder / "other.pem")
    key = serialization.load_pem_private_key((folder / "key.pem").read_bytes(), None)
    secret = serialization.BestAvailableEncryption(b"canary-7xq")
    packed = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret)
    (folder / "locked.pem").write_bytes(packed)
    (folder / "cut.pem").write_bytes((folder / "key.pem").read_bytes()[:100])
    (folder / "text.pem").write_text("hello")
    return folder


@pytest.mark.parametrize(
    ("cert", "key", "sentence"),
    [
        ("cert.pem", "other.pem", "the key in {key} does not belong to the certificate in {cert}"),
        ("text.pem", "key.pem", "{cert} holds no certificate (PEM: it begins with -----BEGIN CERTIFICATE-----)"),
        ("key.pem", "key.pem", "{cert} holds no certificate (PEM: it begins with -----BEGIN CERTIFICATE-----)"),
        ("cert.pem", "text.pem", "{key} holds no private key (PEM: it begins with -----BEGIN PRIVATE KEY-----)"),
        ("cert.pem", "cert.pem", "{key} holds no private key (PEM: it begins with -----BEGIN PRIVATE KEY-----)"),
        (
            "cert.pem",
            "locked.pem",
            "the key in {key} has a pass phrase: store it without one (openssl pkey -in locked.pem -out NEW)",
        ),
        ("cert.pem", "cut.pem", "the certificate in {cert} or the key in {key} is damaged"),
    ],
)
def test_a_certificate_or_key_that_does_not_serve(pems: Path, cert: str, key: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        build_tls_context(pems / cert, pems / key)
    where = {"cert": pems / cert, "key": pems / key}
    assert caught.value.problems == [f"server.tls_cert, server.tls_key: {sentence.format(**where)}"]


# --- names


def test_a_wheel_that_was_renamed(home: Path) -> None:
    (home / "acme-tool-1.0.whl").write_bytes(wheel_bytes("acme-tool", "1.0"))
    assert told(command(home, "wheel", "add", "acme-tool-1.0.whl"), 1) == (
        "acme-tool-1.0.whl is not the name of a wheel or sdist: expected NAME-VERSION-py3-none-any.whl (PEP 427); build it "
        "again rather than rename it"
    )


def test_other_bytes_under_a_name_that_is_taken(home: Path) -> None:
    for padding, status in ((0, 0), (10, 1)):
        make_wheel(home, "acme-tool", "1.0").write_bytes(wheel_bytes("acme-tool", "1.0", padding=padding))
        done = command(home, "wheel", "add", wheel_name("acme-tool", "1.0"))
        assert done.returncode == status
    assert done.stderr.endswith(": choose a new version\n")


def test_a_project_that_is_nearly_one_of_ours(home: Path, index: FakeIndex) -> None:
    (home / "wheelgate.toml").write_text(uploads_and(index))
    command(home, "wheel", "add", "-c", "wheelgate.toml", make_wheel(home, "acme-tool", "1.0"))
    done = command(home, "explain", "-c", "wheelgate.toml", "acme-tol")
    assert done.returncode == 1
    assert done.stdout.startswith("acme-tol: no source has a project acme-tol; did you mean acme-tool?\n")
    assert command(home, "explain", "-c", "wheelgate.toml", "zebra").stdout.startswith("zebra: no source has a project zebra\n")


@pytest.mark.parametrize(
    ("arguments", "meant"), [(("whel",), "wheel"), (("mirrors",), "mirror"), (("wheel", "ad"), "add"), (("token", "nwe"), "new")]
)
def test_a_command_that_is_nearly_one(arguments: tuple[str, ...], meant: str) -> None:
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 2
    assert f"Error: No such command '{arguments[-1]}'. Did you mean '{meant}'?" in done.stderr


# --- answers that nobody gives


@pytest.mark.parametrize("arguments", [("wheel", "delete", "acme-1.0.tar.gz"), ("release", "acme", "--reason", "x")])
def test_a_question_that_nobody_can_answer(home: Path, arguments: tuple[str, ...]) -> None:
    (home / "wheelgate.toml").write_text(UPLOADS)
    settings = {"WHEELGATE_CONFIG": str(home / "wheelgate.toml")}
    command(home, "wheel", "add", make_wheel(home, "acme", "1.0"), **settings)
    command(home, "wheel", "delete", "--yes", wheel_name("acme", "1.0"), **settings)  # its claim stays
    done = command(home, *arguments, **settings)
    assert done.returncode == 2
    assert "Error: standard input is not a terminal, so nobody can be asked: confirm with --yes\n" in done.stderr


def test_a_lifetime_without_a_unit(home: Path) -> None:
    (home / "wheelgate.toml").write_text(UPLOADS)
    done = command(home, "token", "new", "-c", "wheelgate.toml", "--scope", "read", "--expires", "5")
    assert done.returncode == 2
    assert "--expires: " in done.stderr
    done = command(home, "token", "new", "-c", "wheelgate.toml", "--scope", "read", "--expires", "5d")
    assert re.search(r" until \d{4}-\d\d-\d\d \d\d:\d\dZ; ", done.stderr)
    assert re.search(r"  until \d{4}-\d\d-\d\d \d\d:\d\dZ  read", command(home, "token", "list", "-c", "wheelgate.toml").stdout)
