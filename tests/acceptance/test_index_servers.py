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
    said: str = 'a 404 for a name that it lacks counts as "not there"'
    """Part of what ``check`` says of it."""
    passes_public: bool = False
    """It answers with what is public as though it were its own."""


REDIRECTS = 'which is source public: that counts as "not there"'
MAKES = {
    "pypiserver": Make(makes.pypiserver_alone),
    "pypiserver, fallback on": Make(makes.pypiserver_with_fallback, said=REDIRECTS),
    "devpi": Make(makes.devpi_stage),
    "devpi over a mirror of PyPI": Make(makes.devpi_over_public, passes_public=True),
    "pypiron": Make(makes.pypiron_alone),
    "pypiron, proxy on": Make(makes.pypiron_over_public, passes_public=True),
    "proxpi": Make(makes.proxpi),
    "simple-repository-server": Make(makes.simple_repository_server),
    "simpleindex": Make(makes.simpleindex, said=REDIRECTS),
    "dumb-pypi": Make(makes.dumb_pypi),
    "python-pypi-mirror": Make(makes.pypi_mirror),
    "pip2pi": Make(makes.pip2pi),
    "simple503": Make(makes.simple503),
    "bandersnatch": Make(makes.bandersnatch_mirror),
    "folders behind nginx": Make(makes.folders_behind_nginx),
    "pypiserver behind HAProxy": Make(makes.behind_haproxy),
    "Wheelgate": Make(makes.wheelgate),
    "GitLab (like it)": Make(makes.gitlab_like, said=REDIRECTS),
    "object storage (like it)": Make(makes.object_storage_like, said="answers 403 to names that it does not have"),
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
    with running(FakeIndex()) as index:
        for name, version in (*((name, "1.0") for name in ("public-base", *WELL_KNOWN)), ("acme-a", "99.0")):
            file = wheel_name(name, version)
            # Links of the public index are absolute; pypiron 0.0.29 reads others from a folder too high.
            index.publish(name, file, wheel_bytes(name, version), url=f"{index.origin}/packages/{name}/{file}")
        yield index


def install(index_url: str, home: Path, number: int, project: str) -> None:
    """Real pip and uv find a project, and what it needs."""
    pip(home, "install", "--no-cache-dir", "--index-url", index_url, "--target", home / f"pip{number}", project)
    venv = home / f"venv{number}"
    uv(home, "venv", "--python", sys.executable, venv)
    options = ("--no-cache", "--default-index", index_url)
    uv(home, "pip", "install", *options, project, env={"VIRTUAL_ENV": str(venv)})
    for site in (home / f"pip{number}", next((venv / "lib").iterdir()) / "site-packages"):
        assert '"1.0"' in (site / "acme_a.py").read_text()
        assert (site / "public_base.py").exists()
        assert (site / f"{project.replace('-', '_')}.py").exists()


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("private", [True, False], ids=["private", "public"])
@pytest.mark.parametrize("make", MAKES.values(), ids=MAKES.keys())
def test_as_a_source(
    make: Make, private: bool, start_gate: Start, tmp_path: Path, home: Path, wheels: Path, public: FakeIndex
) -> None:
    """Cold, again, after a restart; with metadata; and nobody in public is asked about a private name."""
    only = 'only = ["acme-*"]\n' if private and make.passes_public else ""
    with make.serve(tmp_path, wheels, public.url) as served:
        source = f'[[source]]\nname = "team"\ntype = "index"\nurl = "{served.url}"\nprivate = {str(private).lower()}\n'
        server = start_gate(f'{UPLOADS}{source}fresh = "0s"\n{only}{served.settings}{index_source(public)}')
        ours = "acme-a"
        if not private:  # then it is an upload that is, which needs what the server has
            ours = "house-app"
            assert server.get("/simple/acme-a/").status == 200  # by which an index is known that lists nothing at its root
            added = server.run("wheel", "add", make_wheel(tmp_path / "ours", ours, "1.0", requires=["acme-a"]))
            assert added.returncode == 0, added.stderr
        asked = public.count(f"/simple/{ours}/")  # by the server itself, for what it was given
        install(server.index_url, home, 1, ours)
        wheel = server.get(f"/files/acme-a/{wheel_name('acme-a', '1.0')}")
        assert wheel.body == (wheels / wheel_name("acme-a", "1.0")).read_bytes()
        assert b"Requires-Dist: public-base" in server.get(f"/files/acme-a/{wheel_name('acme-a', '1.0')}.metadata").body
        assert server.get("/simple/no-such-name-7xq/").status == 404
        server.restart()
        install(server.index_url, home, 2, ours)
        assert public.count(f"/simple/{ours}/") == asked
        done = server.run("check")
        print(done.stdout)
        assert done.returncode == 0, done.stdout
        said = next(line for line in done.stdout.splitlines() if "source team" in line)
        assert f"source team ({'private' if private else 'public'}): answers" in said
        assert make.said in said
        claimed = server.run("claims").stdout.split()
        assert [name for name in ("acme-a", "house-app", "public-base") if name in claimed] == [ours]
