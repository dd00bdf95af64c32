"""Index servers of every make there is, each with a team's packages: as a source, or as what stands in the way to one.

Each function is a context manager of a server on loopback and yields the URL that installers get. ``packages``: folder of wheels;
``public_url``: the public index that the server passes on, or sends its clients to. Versions are pinned here: what is said of
them in ``docs/sources.md`` was seen with these.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from aiohttp import web

from tests.support import servers
from tests.support.gate import Gate, environment, gate
from tests.support.index import FakeIndex, running
from tests.support.servers import (
    PASSWORD,
    USER,
    ask_json,
    bandersnatch,
    devpi_passing,
    devpi_session,
    find_free_port,
    forwarding_pypiserver,
    installed,
    run_server,
    simple_repository,
    upload,
)


class Served(NamedTuple):
    """A server that runs, as a source."""

    url: str
    settings: str = ""
    """Lines of the source that it needs beside its URL."""


Server = Callable[[Path, Path, str], AbstractContextManager[Served]]
"""Called with a folder of its own, the packages, and the public index."""


@contextmanager
def pypiserver_alone(folder: Path, packages: Path, public_url: str) -> Iterator[Served]:
    command = installed("pypiserver", "pypiserver==2.4.2", "passlib==1.7.4") / "pypi-server"
    port = find_free_port()
    options = ["-i", "127.0.0.1", "-p", str(port), "-a", ".", "-P", ".", "--disable-fallback"]
    with run_server([command, "run", *options, packages], folder, port):
        yield Served(f"http://127.0.0.1:{port}/simple/")


@contextmanager
def pypiserver_with_fallback(folder: Path, packages: Path, public_url: str) -> Iterator[Served]:
    """Redirects what it does not have."""
    with forwarding_pypiserver(folder, packages, public_url) as origin:
        yield Served(f"{origin}/simple/")


@contextmanager
def devpi_stage(folder: Path, packages: Path, public_url: str) -> Iterator[Served]:
    """An index of its own, which inherits from none."""
    with devpi_session(folder) as (origin, signed_in):
        ask_json(f"{origin}/{USER}/dev", "PUT", {"type": "stage", "bases": [], "volatile": True}, signed_in)
        for path in sorted(packages.iterdir()):
            upload(f"{origin}/{USER}/dev/", path)
        yield Served(f"{origin}/{USER}/dev/+simple/")


@contextmanager
def devpi_over_public(folder: Path, packages: Path, public_url: str) -> Iterator[Served]:
    """Inherits from a mirror of the public index, as ``bases=root/pypi`` does: public packages are answered as its own."""
    with devpi_passing(folder, public_url, sorted(packages.iterdir())) as url:
        yield Served(url)


@contextmanager
def pypiron_alone(folder: Path, packages: Path, public_url: str) -> Iterator[Served]:
    with _pypiron(folder, packages) as url:
        yield Served(url)


@contextmanager
def pypiron_over_public(folder: Path, packages: Path, public_url: str) -> Iterator[Served]:
    """Answers for the public index what it does not have."""
    with _pypiron(
        folder, packages, "--proxy-upstream", public_url, "--allow-insecure-upstream", "--private-prefix", "acme"
    ) as url:
        yield Served(url)


@contextmanager
def _pypiron(folder: Path, packages: Path, *options: str) -> Iterator[str]:
    command = installed("pypiron", "pypiron==0.0.29") / "pypiron"
    port = find_free_port()
    serve = [command, "serve", "--bind-addr", f"127.0.0.1:{port}", "--data-dir", folder / "pypiron", "--wait-on-upload"]
    keys = ["--admin-user", USER, "--admin-pass", PASSWORD]
    with run_server([*serve, *keys, *options], folder, port):
        for path in sorted(packages.iterdir()):
            upload(f"http://127.0.0.1:{port}/legacy/", path)
        yield f"http://127.0.0.1:{port}/simple/"


@contextmanager
def proxpi(folder: Path, packages: Path, public_url: str) -> Iterator[Served]:
    """A cache of another index, which is the team's here."""
    with pypiserver_alone(folder, packages, public_url) as (team, _):
        commands = installed("proxpi", "proxpi==1.3.1")
        port = find_free_port()
        behind = folder / "proxpi"
        behind.mkdir()
        command = [commands / "flask", "--app", "proxpi.server", "run", "--host", "127.0.0.1", "--port", str(port)]
        with run_server(command, behind, port, env={"PROXPI_INDEX_URL": team, "PROXPI_CACHE_DIR": str(behind / "cache")}):
            yield Served(f"http://127.0.0.1:{port}/index/")


@contextmanager
def simple_repository_server(folder: Path, packages: Path, public_url: str) -> Iterator[Served]:
    """In front of the team's index, which clients are sent to for the files."""
    with pypiserver_alone(folder, packages, public_url) as (team, _):
        behind = folder / "behind"
        behind.mkdir()
        with simple_repository(behind, team) as url:
            hosts = f'file_hosts = ["{team.removeprefix("http://").partition("/")[0]}"]\n'
            yield Served(url, hosts)


@contextmanager
def simpleindex(folder: Path, packages: Path, public_url: str) -> Iterator[Served]:
    """A router: the team's names to a folder, every other one redirected."""
    routes = f'[routes."acme-a"]\nsource = "path"\nto = "{packages}"\n'
    routes += f'[routes."{{project}}"]\nsource = "http"\nto = "{public_url}{{project}}/"\n'
    with servers.simpleindex(folder, routes) as origin:
        yield Served(f"{origin}/")


@contextmanager
def dumb_pypi(folder: Path, packages: Path, public_url: str) -> Iterator[Served]:
    """A static tree."""
    command = installed("dumb-pypi", "dumb-pypi==1.15.0") / "dumb-pypi"
    names = folder / "names"
    names.write_text("".join(f"{path.name}\n" for path in sorted(packages.iterdir())))
    tree = folder / "tree"
    shutil.copytree(packages, tree / "packages")
    _run(folder, [command, "--package-list", names, "--packages-url", "../../packages", "--output-dir", tree])
    with nginx(folder, tree) as origin:
        yield Served(f"{origin}/simple/")


@contextmanager
def pypi_mirror(folder: Path, packages: Path, public_url: str) -> Iterator[Served]:
    """A static tree of links to files."""
    command = installed("pypi-mirror", "python-pypi-mirror==5.2.1") / "pypi-mirror"
    _run(folder, [command, "create", "--copy", "--download-dir", packages, "--mirror-dir", folder / "tree" / "simple"])
    with nginx(folder, folder / "tree") as origin:
        yield Served(f"{origin}/simple/")


@contextmanager
def pip2pi(folder: Path, packages: Path, public_url: str) -> Iterator[Served]:
    """A static tree that names projects as their files do."""
    command = installed("pip2pi", "pip2pi==0.8.2", "setuptools<81") / "dir2pi"
    tree = folder / "tree"
    shutil.copytree(packages, tree)
    _run(folder, [command, "--no-symlink", "--normalize-package-names", tree])
    with nginx(folder, tree) as origin:
        yield Served(f"{origin}/simple/")


@contextmanager
def simple503(folder: Path, packages: Path, public_url: str) -> Iterator[Served]:
    """A static tree with core metadata."""
    command = installed("simple503", "simple503==0.4.0") / "simple503"
    tree = folder / "tree"
    _run(folder, [command, "--copy", "--sort", packages, tree])
    with nginx(folder, tree) as origin:
        yield Served(f"{origin}/")


@contextmanager
def bandersnatch_mirror(folder: Path, packages: Path, public_url: str) -> Iterator[Served]:
    """A static mirror of a server that has the JSON API; it takes files below ``/packages`` alone."""
    with _wheelgate(folder, packages, "/packages") as other:
        tree = bandersnatch(folder, other.index_url.removesuffix("/simple/"), "acme-a")
        with nginx(folder, tree) as origin:
            yield Served(f"{origin}/simple/")


@contextmanager
def folders_behind_nginx(folder: Path, packages: Path, public_url: str) -> Iterator[Served]:
    """A folder of files for each project, listed by ``autoindex``."""
    for path in packages.iterdir():
        project = folder / "tree" / "simple" / path.name.partition("-")[0].replace("_", "-")
        project.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, project)
    with nginx(folder, folder / "tree") as origin:
        yield Served(f"{origin}/simple/")


@contextmanager
def behind_haproxy(folder: Path, packages: Path, public_url: str) -> Iterator[Served]:
    with pypiserver_alone(folder, packages, public_url) as (team, _):
        port, host = find_free_port(), team.removeprefix("http://").partition("/")[0]
        (folder / "haproxy.cfg").write_text(_HAPROXY.format(port=port, host=host))
        front = folder / "front"
        front.mkdir()
        with run_server([_find("haproxy"), "-f", folder / "haproxy.cfg"], front, port):
            yield Served(f"http://127.0.0.1:{port}/simple/")


@contextmanager
def wheelgate(folder: Path, packages: Path, public_url: str) -> Iterator[Served]:
    """Another Wheelgate with uploads."""
    with _wheelgate(folder, packages, "") as other:
        yield Served(other.index_url)


@contextmanager
def _wheelgate(folder: Path, packages: Path, prefix: str) -> Iterator[Gate]:
    port = find_free_port()
    lines = f'public_url = "http://127.0.0.1:{port}{prefix}"\n' + (f'path_prefix = "{prefix}"\n' if prefix else "")
    config = f'[server]\n{lines}[[source]]\nname = "uploads"\ntype = "store"\n'
    with gate(folder / "other", config, ["--port", str(port)]) as other:
        added = other.run("wheel", "add", *sorted(packages.iterdir()))
        assert added.returncode == 0, added.stderr
        yield other


@contextmanager
def gitlab_like(folder: Path, packages: Path, public_url: str) -> Iterator[Served]:
    """An index below a path that redirects what it does not have, as GitLab forwards requests."""
    with _index_of(packages, lambda request: web.HTTPFound(f"{public_url}{request.rel_url.parts[-2]}/")) as index:
        yield Served(index.url)


@contextmanager
def object_storage_like(folder: Path, packages: Path, public_url: str) -> Iterator[Served]:
    """Pages in object storage without the right to list: 403 for what is not there, the root too."""
    with _index_of(packages, lambda request: web.HTTPForbidden(text="<Error><Code>AccessDenied</Code></Error>")) as index:
        yield Served(index.url)


@contextmanager
def github_pages_like(folder: Path, packages: Path, public_url: str) -> Iterator[Served]:
    """Static pages: HTML alone, and a page of many words for what is not there."""
    with _index_of(packages, lambda request: web.HTTPNotFound(text=_NOT_HERE, content_type="text/html")) as index:
        index.html = True
        yield Served(index.url)


@contextmanager
def _index_of(packages: Path, answer: Callable[[web.BaseRequest], web.HTTPException]) -> Iterator[FakeIndex]:
    class Index(FakeIndex):
        """One that answers in its own way for what it does not have."""

        async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
            found = await super().answer(request)
            if found.status != 404:
                return found
            raised = answer(request)
            return web.Response(status=raised.status, headers=raised.headers, body=raised.body)

    index = Index(lists=False)
    for path in packages.iterdir():
        index.publish(path.name.partition("-")[0].replace("_", "-"), path.name, path.read_bytes())
    with running(index):
        yield index


@contextmanager
def nginx(folder: Path, tree: Path) -> Iterator[str]:
    """A web server of a folder, which lists folders that have no page; its origin."""
    port = find_free_port()
    front = folder / "nginx"
    front.mkdir()
    (front / "nginx.conf").write_text(_NGINX.format(user=_USER, folder=front, port=port, tree=tree))
    with run_server([_find("nginx"), "-e", front / "error.log", "-c", front / "nginx.conf"], front, port):
        yield f"http://127.0.0.1:{port}"


def _find(program: str) -> str:
    found = shutil.which(program, path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if found is None:
        pytest.skip(f"there is no {program} on this machine: apt-get install haproxy nginx-light")
    return found


def _run(folder: Path, command: list[str | Path]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment(folder), cwd=folder)
    assert done.returncode == 0, done.stderr[-2_000:]


_USER = "user root;" if os.geteuid() == 0 else ""  # else its workers could not read what is ours
_NOT_HERE = "<!DOCTYPE html><title>Page not found</title><p>There is no site here.</p>" + "<p>Read the help.</p>" * 40
_HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend all
    bind 127.0.0.1:{port}
    default_backend team
backend team
    server one {host}
"""
_NGINX = """
{user}
daemon off;
worker_processes 1;
pid {folder}/pid;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    types {{ text/html html; application/json json; }}
    default_type application/octet-stream;
    server {{
        listen 127.0.0.1:{port};
        root {tree};
        autoindex on;
    }}
}}
"""
