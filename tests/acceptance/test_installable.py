"""What is accepted, pip and uv install; what is refused, one of them refuses, or the corpus says why we do (long)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.support.clients import pip, uv
from tests.support.malformed import UPLOADS, Upload

pytestmark = pytest.mark.long


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder, and the URL at which it is served: an index for each upload, which holds nothing but that."""
    folder = tmp_path_factory.mktemp("index")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with setuptools, in which sdists are built without the network."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--system-site-packages", folder], check=True)
    return folder / "bin" / "python"


@pytest.mark.parametrize("upload", UPLOADS, ids=lambda upload: upload.id)
def test_installers_do_with_each_upload_what_the_table_says(
    upload: Upload, index: tuple[Path, str], python: Path, tmp_path: Path
) -> None:
    folder, url = index
    project = folder / upload.id / "acme"
    project.mkdir(parents=True)
    body = upload.build()
    (project / upload.filename).write_bytes(body)
    (project / "index.html").write_text(f'<!DOCTYPE html><a href="{upload.filename}">{upload.filename}</a>')
    options = ["install", "--no-deps", "--no-build-isolation", "--no-cache-dir", "--index-url", f"{url}/{upload.id}"]

    def by_pip() -> subprocess.CompletedProcess[str]:
        (tmp_path / "pip").mkdir()
        target = ["--target", str(tmp_path / "pip" / "target"), "--no-compile", "acme==1.0"]
        return pip(tmp_path / "pip", *options, *target, ok=None)

    def by_uv() -> subprocess.CompletedProcess[str]:
        (tmp_path / "uv").mkdir()
        target = ["--target", str(tmp_path / "uv" / "target"), "--python", str(python), "acme==1.0"]
        return uv(tmp_path / "uv", "pip", *options, *target, ok=None)

    with ThreadPoolExecutor(2) as pool:
        done = [future.result() for future in (pool.submit(by_pip), pool.submit(by_uv))]
    shutil.rmtree(project.parent)
    said = [each.stderr[-600:] for each in done]
    assert [each.returncode == 0 for each in done] == [upload.pip, upload.uv], said
