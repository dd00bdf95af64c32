"""Real pip and real uv, through the real server, against the real public index: only `--index-url`, and empty caches."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.support.clients import pip, uv
from tests.support.gate import Gate, gate
from tests.support.packages import make_wheel

pytestmark = [pytest.mark.public, pytest.mark.timeout(300)]

SIX = ["azure-identity", "azure-storage-blob", "pandas", "scikit-learn", "mlflow-skinny", "fastapi"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """One server without any settings, for all of these: the second client finds what the first one filled."""
    with gate(tmp_path_factory.mktemp("gate"), "") as made:
        yield made


def venv(home: Path) -> dict[str, str]:
    uv(home, "venv", "--python", sys.executable, home / "venv")
    return {"VIRTUAL_ENV": str(home / "venv")}


def test_pip_installs_pandas(server: Gate, home: Path) -> None:
    pip(home, "install", "--no-cache-dir", "--index-url", server.index_url, "--target", home / "site", "pandas")
    assert (home / "site" / "pandas" / "__init__.py").exists()


def test_pip_downloads_an_sdist(server: Gate, home: Path) -> None:
    arguments = ("--no-cache-dir", "--no-binary", ":all:", "--no-deps", "--dest", home / "out", "idna")
    pip(home, "download", "--index-url", server.index_url, *arguments)
    (sdist,) = (home / "out").iterdir()
    assert sdist.name.startswith("idna-")
    assert sdist.name.endswith(".tar.gz")


def test_uv_installs_fastapi_with_its_extra(server: Gate, home: Path) -> None:
    env = venv(home)
    uv(home, "pip", "install", "--no-cache", "--default-index", server.index_url, "fastapi[standard]", env=env)
    assert list((home / "venv").glob("lib/python*/site-packages/uvicorn"))


def test_uv_compiles_a_realistic_set_and_pip_installs_its_hashes(server: Gate, home: Path) -> None:
    (home / "requirements.in").write_text("\n".join(SIX))
    index = ("--no-cache", "--default-index", server.index_url)
    uv(home, "pip", "compile", *index, "--generate-hashes", "requirements.in", "-o", "requirements.txt")
    compiled = (home / "requirements.txt").read_text()
    assert compiled.count("==") > 40
    assert all(f"\n{name}==" in f"\n{compiled}" for name in SIX)

    (home / "few.in").write_text("idna\nanyio\n")
    uv(home, "pip", "compile", *index, "--generate-hashes", "few.in", "-o", "few.txt")
    arguments = ("--no-cache-dir", "--require-hashes", "-r", home / "few.txt", "--target", home / "site")
    pip(home, "install", "--index-url", server.index_url, *arguments)
    assert (home / "site" / "anyio").exists()


def test_pip_lists_versions(server: Gate, home: Path) -> None:
    listed = pip(home, "index", "versions", "--index-url", server.index_url, "numpy").stdout
    assert "Available versions: " in listed
    assert "1.26.4" in listed


def test_a_private_wheel_that_depends_on_a_public_one_installs_in_one_command(server: Gate, home: Path) -> None:
    added = server.run("wheel", "add", make_wheel(home, "acme-gate-demo", "1.0", requires=["idna>=3"]))
    assert added.returncode == 0, added.stderr
    pip(home, "install", "--no-cache-dir", "--index-url", server.index_url, "--target", home / "site", "acme-gate-demo")
    assert (home / "site" / "acme_gate_demo.py").exists()
    assert (home / "site" / "idna").exists()
    env = venv(home)
    uv(home, "pip", "install", "--no-cache", "--default-index", server.index_url, "acme-gate-demo", env=env)


@pytest.mark.long
def test_the_same_over_https(tmp_path: Path, home: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    for position, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(tmp_path / "cert.pem", append=position > 0)
    tls = ("--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem"))
    with gate(tmp_path / "gate", "", tls) as server:
        assert server.url.startswith("https://")
        trust = {"PIP_CERT": str(tmp_path / "ca.pem"), "SSL_CERT_FILE": str(tmp_path / "ca.pem")}
        pip(home, "install", "--index-url", server.index_url, "--target", home / "site", "anyio", env=trust)
        again = ("install", "--index-url", server.index_url, "--target", home / "again", "anyio")
        assert "Using cached" in pip(home, *again, env=trust).stdout  # pip's cache works, as it does over https only
        env = {**venv(home), **trust}
        uv(home, "pip", "install", "--default-index", server.index_url, "fastapi", env=env)
        assert list((home / "venv").glob("lib/python*/site-packages/fastapi"))
