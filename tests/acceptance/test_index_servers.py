"""Index servers of every make, as sources: what pip and uv install through each is what lies on the right side of it.

``docs/sources.md`` has the table of what was seen, and is held against this one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.acceptance.configs import UPLOADS, index_source
from tests.support import index_servers as makes
from tests.support.clients import pip, uv
from tests.support.gate import Gate
from tests.support.index import FakeIndex, running
from tests.support.packages import make_wheel, wheel_bytes, wheel_name

Start = Callable[..., Gate]
WELL_KNOWN = (
    "numpy",
    "requests",
    "urllib3",
    "setuptools",
    "pip",
    "certifi",
    "idna",
    "packaging",
    "six",
    "pyyaml",
    "cryptography",
)


class Make(NamedTuple):
    """One server, and what is to be seen of it."""

    serve: makes.Server
    said: str = "ok    source team (private): answers"
    """Part of what ``check`` says of it, as a private source."""
    passes_public: bool = False
    """It answers with what is public as though it were its own."""


MAKES = {
    "pypiserver": Make(makes.pypiserver_alone),
    "pypiserver, fallback on": Make(makes.pypiserver_with_fallback, said="warn  source team (private): answers"),
    "devpi": Make(makes.devpi_stage),
    "devpi over a mirror of PyPI": Make(makes.devpi_over_public, passes_public=True),
    "pypiron": Make(makes.pypiron_alone),
    "pypiron, proxy on": Make(makes.pypiron_over_public, passes_public=True),
    "proxpi": Make(makes.proxpi),
    "simple-repository-server": Make(makes.simple_repository_server),
    "simpleindex": Make(makes.simpleindex, said="warn  source team (private): answers"),
    "dumb-pypi": Make(makes.dumb_pypi),
    "python-pypi-mirror": Make(makes.pypi_mirror),
    "pip2pi": Make(makes.pip2pi),
    "simple503": Make(makes.simple503),
    "bandersnatch": Make(makes.bandersnatch_mirror),
    "folders behind nginx": Make(makes.folders_behind_nginx),
    "pypiserver behind HAProxy": Make(makes.behind_haproxy),
    "Wheelgate": Make(makes.wheelgate),
    "GitLab (like it)": Make(makes.gitlab_like, said="warn  source team (private): answers"),
    "object storage (like it)": Make(makes.object_storage_like, said="warn  source team (private): answers"),
    "GitHub Pages (like it)": Make(makes.github_pages_like),
}


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """A team's package, which needs one that is public."""
    folder = tmp_path / "wheels"
    make_wheel(folder, "acme-a", "1.0", requires=["public-base>=1"], padding=50_000)
    make_wheel(folder, "acme-a", "0.9")
    return folder


@pytest.fixture
def public() -> Iterator[FakeIndex]:
    """A public index with a higher version of the team's name."""
    index = FakeIndex()
    for name in ("public-base", *WELL_KNOWN):
        index.publish(name, wheel_name(name, "1.0"), wheel_bytes(name, "1.0"))
    index.publish("acme-a", wheel_name("acme-a", "99.0"), wheel_bytes("acme-a", "99.0"))
    with running(index):
        yield index


def install(index_url: str, home: Path, number: int) -> None:
    """Real pip and uv find the team's package, and what it needs in public."""
    pip(home, "install", "--no-cache-dir", "--index-url", index_url, "--target", home / f"pip{number}", "acme-a")
    venv = home / f"venv{number}"
    uv(home, "venv", "--python", sys.executable, venv)
    options = ("--no-cache", "--default-index", index_url)
    uv(home, "pip", "install", *options, "acme-a", env={"VIRTUAL_ENV": str(venv)})
    for site in (home / f"pip{number}", next((venv / "lib").iterdir()) / "site-packages"):
        assert '"1.0"' in (site / "acme_a.py").read_text()
        assert (site / "public_base.py").exists()


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("make", MAKES.values(), ids=MAKES.keys())
def test_as_a_private_source(make: Make, start_gate: Start, tmp_path: Path, home: Path, wheels: Path, public: FakeIndex) -> None:
    """Cold, again, after a restart; with metadata; and nobody in public is asked about the team's name."""
    with make.serve(tmp_path, wheels, public.url) as served:
        only = 'only = ["acme-*"]\n' if make.passes_public else ""
        team = f'[[source]]\nname = "team"\ntype = "index"\nurl = "{served.url}"\nprivate = true\nfresh = "0s"\n'
        team += only + served.settings
        server = start_gate(UPLOADS + team + index_source(public))
        asked = public.count("/simple/acme-a/")
        install(server.index_url, home, 1)
        wheel = server.get(f"/files/acme-a/{wheel_name('acme-a', '1.0')}")
        assert wheel.body == (wheels / wheel_name("acme-a", "1.0")).read_bytes()
        assert b"Requires-Dist: public-base" in server.get(f"/files/acme-a/{wheel_name('acme-a', '1.0')}.metadata").body
        assert server.get("/simple/no-such-name-7xq/").status == 404
        server.restart()
        install(server.index_url, home, 2)
        assert public.count("/simple/acme-a/") == asked
        done = server.run("check")
        print(done.stdout)
        assert done.returncode == 0, done.stdout
        assert make.said in done.stdout
        claimed = server.run("claims").stdout
        assert "acme-a" in claimed
        assert "public-base" not in claimed
