"""Large uploads that are refused before they have come: each program tells why, not that the connection broke."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trustme
from uv import find_uv_bin

from tests.acceptance.configs import UPLOADS
from tests.support.gate import WHEELGATE, Gate, environment, gate
from tests.support.packages import make_wheel

MIB = 1024 * 1024


def build_commands(url: str, password: str, file: Path) -> dict[str, Sequence[str | Path]]:
    """By program. curl without `Expect`, which would have it wait for the answer before it sends anything."""
    twine = [sys.executable, "-m", "twine", "--no-color", "upload", "--non-interactive", "--disable-progress-bar"]
    return {
        "twine": [*twine, "-u", "__token__", "-p", password, "--repository-url", f"{url}/legacy/", file],
        "uv": [find_uv_bin(), "publish", "--publish-url", f"{url}/legacy/", "--token", password, file],
        "wheel add": [WHEELGATE, "wheel", "add", "--url", url, file],
        "curl": ["curl", "-sS", "-H", "Expect:", "-u", f"x:{password}", "-F", f"content=@{file}", f"{url}/legacy/"],
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """By https, where no half of a connection can be closed alone."""
    folder, authority = tmp_path_factory.mktemp("gate"), trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    pem = str(folder / "server.pem")
    with gate(folder, UPLOADS, ["--tls-cert", pem, "--tls-key", pem]) as made:
        yield made


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What no socket's buffers hold."""
    return make_wheel(tmp_path_factory.mktemp("dist"), "acme-large", "1.0", padding=24 * MIB)


def test_each_program_tells_why_a_large_upload_was_refused(server: Gate, large: Path) -> None:
    reader = server.run("token", "new", "--scope", "read").stdout.strip()
    refusals = {"wgt_mistyped": "not a Wheelgate token", reader: "may read, not upload"}

    def try_one(case: tuple[str, str]) -> str:
        name, password = case
        authority = str(server.folder / "ca.pem")
        trust = {"SSL_CERT_FILE": authority, "TWINE_CERT": authority, "CURL_CA_BUNDLE": authority}
        env = environment(server.folder, WHEELGATE_TOKEN=password, COLUMNS="300", **trust)
        command = build_commands(server.url, password, large)[name]
        done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=60)
        return done.stdout + done.stderr

    programs = [name for name in build_commands("", "", large) if name != "curl" or shutil.which(name)]
    cases = [(name, password) for password in refusals for name in programs]
    with ThreadPoolExecutor(2) as pool:
        told = dict(zip(cases, pool.map(try_one, cases), strict=True))
    assert not {case: text for case, text in told.items() if refusals[case[1]] not in text}
