"""What is accepted, pip and uv install; what is refused, one of them refuses, or the corpus says why we do.

``python -m tests.acceptance.test_installable`` prints the corpus as a table: what we say of each upload, and what installers do.
"""

from __future__ import annotations

import http.client
import io
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.acceptance.configs import UPLOADS as UPLOADS_ALONE
from tests.support.archives import Part, build_wheel
from tests.support.clients import pip, uv
from tests.support.gate import Gate, gate
from tests.support.index import FakeIndex, running
from tests.support.malformed import EXTRA, UPLOADS, Upload
from tests.support.packages import metadata
from tests.support.preloaded_pip import PreloadedPip, preloaded
from wheelgate.distfiles.core_metadata import read_core_metadata

PIP_20 = {
    *("no-metadata", "metadata-of-another", "metadata-of-another-version", "metadata-without-name", "metadata-bom"),
    *("requirement-invalid", "entry-point-leaves", "entry-point-absolute", "entry-point-nul", "info-of-egg"),
    *("entry-points-twice", "entry-point-blank", "entry-point-code", "entry-point-code-2"),
}
"""Wheels with which pip 20.0.2 does otherwise than today's: it installs the first ten, and not the others."""


@pytest.fixture(scope="module")
def index() -> Iterator[FakeIndex]:
    """An index that offers the metadata of what is accepted, as we do."""
    with running(FakeIndex()) as made:
        yield made


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with setuptools, in which sdists are built without the network."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--system-site-packages", folder], check=True)
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def preloaded_pip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PreloadedPip]:
    with preloaded(tmp_path_factory.mktemp("pip")) as made:
        yield made


@pytest.mark.long
@pytest.mark.parametrize("upload", UPLOADS, ids=lambda upload: upload.id)
def test_installers_do_with_each_upload_what_the_table_says(
    upload: Upload, index: FakeIndex, python: Path, preloaded_pip: PreloadedPip, tmp_path: Path
) -> None:
    index.projects.clear()
    body = upload.build()
    offered = (
        None
        if upload.said or not upload.filename.endswith(".whl")
        else read_core_metadata(io.BytesIO(body), upload.filename).body
    )
    index.publish("acme", upload.filename, body, metadata=offered)
    options = ["install", "--no-build-isolation", "--no-cache-dir", "--index-url", index.url]

    def by_pip() -> subprocess.CompletedProcess[str]:
        (tmp_path / "pip").mkdir()
        return preloaded_pip.run(
            tmp_path / "pip", *options, "--target", str(tmp_path / "pip" / "target"), "--no-compile", "acme==1.0"
        )

    def by_uv() -> subprocess.CompletedProcess[str]:
        (tmp_path / "uv").mkdir()
        target = ["--target", str(tmp_path / "uv" / "target"), "--python", str(python), "acme==1.0"]
        return uv(tmp_path / "uv", "pip", *options, *target, ok=None)

    with ThreadPoolExecutor(2) as pool:
        done = [future.result() for future in (pool.submit(by_pip), pool.submit(by_uv))]
    said = [each.stderr[-600:] for each in done]
    assert [each.returncode == 0 for each in done] == [upload.pip, upload.uv], said


# --- against a running server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gate, str]]:
    """A server, and a token that may upload."""
    with gate(tmp_path_factory.mktemp("gate"), UPLOADS_ALONE) as made:
        yield made, made.run("token", "new", "--scope", "upload").stdout.strip()


def post(server: tuple[Gate, str], filename: str, body: bytes) -> tuple[int, str]:
    """Upload as a form does; the status and the sentence."""
    url = urlsplit(server[0].url)
    head = f'--b\r\nContent-Disposition: form-data; name="content"; filename="{filename}"\r\n\r\n'.encode()
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=60)
    headers = {"Content-Type": "multipart/form-data; boundary=b", "Authorization": f"Bearer {server[1]}"}
    connection.request("POST", "/legacy/", head + body + b"\r\n--b--\r\n", headers)
    answer = connection.getresponse()
    said = answer.read().decode()
    connection.close()
    return answer.status, said


def test_what_the_table_refuses_is_refused_by_a_server_and_leaves_nothing(server: tuple[Gate, str]) -> None:
    refused = [upload for upload in UPLOADS if upload.said and upload.why != "a bomb"]
    for upload in refused:
        status, said = post(server, upload.filename, upload.build())
        assert (status, said.count("\n")) == (400, 1), (upload.id, said)
        assert upload.said in said or upload.id == "browser-copy", upload.id
    assert server[0].get("/simple/acme/").status == 404


ODD = [
    {},
    {"method": 0},
    {"descriptor": "plain"},
    {"descriptor": "signed"},
    {"descriptor": "zip64"},
    {"method": 0, "descriptor": "signed"},
    {"local": {"extra": EXTRA}, "central": {"extra": EXTRA}},
    {"local": {"extra": EXTRA}},
    {"local": {"flags": 0x800}, "central": {"flags": 0x800}},
]
ZIPPED = [{}, {"zip64": "right"}, {"comment": b"zip-rs"}]


def build_odd(name: str, chance: random.Random) -> bytes:
    """A wheel of several oddities that are no faults."""
    info, data = f"{name}-1.0.dist-info", f"{name}-1.0.data"
    more = [
        Part("é😀.py", b"1"),
        Part(f"{name}_folder/", method=0),
        Part(f"{data}/scripts/{name}-tool", b"#!python\n"),
        Part(f"{data}/data/share/{name}/x", b"x"),
        Part(f"{info}/entry_points.txt", f"[console_scripts]\n{name}-run = {name}:main [extra]\n".encode()),
        Part(f"{name}_zeros.bin", bytes(100_000)),
        Part(f"{name}_inner.zip", build_wheel()),
        Part(f"{name}_empty", b"", method=0),
    ]
    unique = {"é😀.py"} if name != "sweep0" else set()  # all are installed into one place
    chosen = [part for part in more if chance.random() < 0.5 and part.name not in unique]
    module = Part(f"{name}.py", b"VALUE = 1\n" * 20, **chance.choice(ODD))
    files = {"METADATA": metadata(name, "1.0")}
    return build_wheel(*chosen, module=module, files=files, info=info, zipped=chance.choice(ZIPPED))


def sweep(server: tuple[Gate, str], names: Sequence[str], *, damages: bool) -> dict[str, bytes]:
    """Upload odd wheels, some of them with bytes changed; those that were accepted."""
    accepted = {}
    for name in names:
        chance = random.Random(name)
        body = bytearray(build_odd(name, chance))
        for _ in range(chance.randint(1, 2) if damages else 0):
            body[chance.randrange(len(body))] = chance.randrange(256)
        status, said = post(server, f"{name}-1.0-py3-none-any.whl", bytes(body))
        assert status == (200 if not damages else status if status == 400 else 200), said
        if status == 200:
            accepted[name] = bytes(body)
    return accepted


def install_all(server: tuple[Gate, str], home: Path, names: Sequence[str]) -> None:
    """Install from the page what was accepted, by pip and by uv: everything at once."""
    for program, command in ((pip, ("install", "--no-compile")), (uv, ("pip", "install"))):
        target = home / program.__name__
        program(home, *command, "--no-deps", "--no-cache-dir", "--index-url", server[0].index_url, "--target", target, *names)
        assert {f"{name}.py" for name in names} <= {path.name for path in target.glob("*.py")}


def test_what_a_server_accepts_is_installed_by_both(server: tuple[Gate, str], home: Path) -> None:
    names = [f"sweep{number}" for number in range(12)]
    assert sweep(server, names, damages=False).keys() == set(names)
    install_all(server, home, names)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_what_a_server_accepts_of_damaged_wheels_is_installed_by_both(server: tuple[Gate, str], home: Path) -> None:
    accepted = sweep(server, [f"damaged{number}" for number in range(1_500)], damages=True)
    print(f"{len(accepted)} of 1,500 accepted")
    assert len(accepted) > 20
    install_all(server, home, list(accepted))


def _print_table() -> None:
    print("| upload | we | pip 26.3 | pip 20.0.2 | uv 0.13.9 |\n|---|---|---|---|---|")
    for upload in UPLOADS:
        is_wheel = upload.filename.endswith(".whl")
        old = upload.pip is not (upload.id in PIP_20) if is_wheel else None
        does = ("-" if installs is None else "installs" if installs else "refuses" for installs in (upload.pip, old, upload.uv))
        we = f"refuse: {upload.said}{f' ({upload.why})' if upload.why else ''}" if upload.said else "accept"
        print(f"| {upload.id} | {we} | {' | '.join(does)} |")


if __name__ == "__main__":
    _print_table()
