"""Files of an operator that are damaged: refused within moments, in one sentence that names the file and says what it is."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from tests.support.broken_files import break_file, unmount_below
from wheelgate.cli.wheel_add import _open_file
from wheelgate.config import Config, SecretMissing, load
from wheelgate.config.connections_folder import read_connections_folder
from wheelgate.config.references import References
from wheelgate.core.errors import ConfigurationError, WheelgateError
from wheelgate.distfiles.requirements_file import read_text
from wheelgate.web.server import build_tls_context
from wheelgate.wiring.foundation import check_certificates


def use_config(path: Path) -> None:
    load(path, environment={})


def use_document(path: Path) -> None:
    _, problems = read_connections_folder(path.parent)
    if problems:
        raise ConfigurationError(problems)


def use_secrets(path: Path) -> None:
    References(path.parent, path).read("secret:pat")


def use_secret_file(path: Path) -> None:
    References(path.parent, path.parent / "secrets.toml").read(f"file:{path}")


def use_certificate(path: Path) -> None:
    build_tls_context(path, path.parent / "key.pem")


def use_key(path: Path) -> None:
    build_tls_context(path.parent / "cert.pem", path)


def use_authority(path: Path) -> None:
    check_certificates(Config(), path, "server.ca_file")


def use_requirements(path: Path) -> None:
    read_text(path)


def use_wheel(path: Path) -> None:
    _open_file(str(path), path).close()


KINDS: dict[str, tuple[str, bytes, Callable[[Path], None]]] = {
    "configuration": ("wheelgate.toml", b"[server]\nport = 8081\n", use_config),
    "connection": ("a.yml", b"name: a\ntarget: https://pkgs.dev.azure.com/acme\n", use_document),
    "secrets.toml": ("secrets.toml", b'pat = "x"\n', use_secrets),
    "file: secret": ("pat", b"secret", use_secret_file),
    "certificate": ("cert.pem", b"", use_certificate),
    "key": ("key.pem", b"", use_key),
    "authority": ("ca.pem", b"", use_authority),
    "requirements": ("requirements.txt", b"idna\n", use_requirements),
    "wheel": ("a-1.0-py3-none-any.whl", b"PK", use_wheel),
}


def be_large(path: Path) -> None:
    os.truncate(path, 2_000_000_000)


def be_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def be_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def be_device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def be_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def be_unreadable(path: Path) -> None:
    break_file(path)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "2 GB": be_large,
    "a pipe": be_pipe,
    "a folder": be_folder,
    "a device": be_device,
    "a link to itself": be_loop,
    "unreadable": be_unreadable,
    "an image": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(500)),
    "half": lambda path: path.write_bytes(path.read_bytes()[: len(path.read_bytes()) * 2 // 3]),
    "empty": lambda path: path.write_bytes(b""),
}
AS_GOOD = {
    ("configuration", "empty"),  # no setting is a setting
    ("connection", "half"),  # a shorter host is one
    *{("requirements", damage) for damage in ("empty", "half")},
    *{("wheel", damage) for damage in ("empty", "half", "an image", "2 GB", "unreadable")},  # judged by what is in it
    *{("file: secret", damage) for damage in ("half",)},  # no secret says how long it is
}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    (tmp_path / "cert.pem").write_bytes(issued.cert_chain_pems[0].bytes())
    (tmp_path / "key.pem").write_bytes(issued.private_key_pem.bytes())
    (tmp_path / "ca.pem").write_bytes(authority.cert_pem.bytes())
    yield tmp_path
    unmount_below(tmp_path)


def outcome_of(use: Callable[[Path], None], path: Path) -> BaseException | None:
    seen: list[BaseException | None] = []

    def work() -> None:
        try:
            use(path)
        except BaseException as error:
            seen.append(error)
        else:
            seen.append(None)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(10)
    assert not worker.is_alive(), "it waits for ever"
    return seen[0]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_one_sentence(place: Path, kind: str, damage: str) -> None:
    name, body, use = KINDS[kind]
    path = place / name
    if body:
        path.write_bytes(body)
        path.chmod(0o600)
    assert outcome_of(use, path) is None
    DAMAGES[damage](path)
    error = outcome_of(use, path)
    if (kind, damage) in AS_GOOD:
        assert error is None
        return
    assert isinstance(error, WheelgateError | SecretMissing), repr(error)
    assert name in str(error) or "server.tls_cert" in str(error), "it is not named"
    assert "\n" not in str(error)
    if damage in ("a pipe", "a folder", "a device"):
        assert f"it is {damage}, not a file".replace("a pipe", "a named pipe") in str(error) or damage == "a folder"
