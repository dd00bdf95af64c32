"""What an installer takes from an index without metadata, it takes through Wheelgate: with metadata promised, and known."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.configs import UPLOADS, index_source
from tests.support.clients import uv
from tests.support.gate import Gate
from tests.support.index import FakeIndex
from tests.support.installers import pip_of
from tests.support.odd_wheels import CONTENTS, ELSEWHERE, OLDER_PIP, OddWheel
from tests.support.preloaded_pip import PreloadedPip, preloaded

IN_CI = ("metadata-twice", "version-not-local", "leaves-its-folder")
"""Each was answered with 404 once: pip takes the first, uv the others."""
WHEELS = [*CONTENTS, *ELSEWHERE]


@pytest.fixture(scope="module")
def current(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PreloadedPip]:
    with preloaded(tmp_path_factory.mktemp("pip")) as made:
        yield made


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PreloadedPip]:
    with preloaded(tmp_path_factory.mktemp("pip"), pip_of(OLDER_PIP)) as made:
        yield made


def takes(client: PreloadedPip | None, home: Path, index_url: str) -> str | None:
    """Install the project from an index, by uv if by no pip; what went wrong, or ``None``."""
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    options = ["install", "--no-cache-dir", "--index-url", index_url, "--target", str(home / "site"), "acme"]
    if client is None:
        done = uv(home, "pip", *options, ok=None)
    else:
        done = client.run(home, *options, "--no-compile", "--trusted-host", "127.0.0.1")
    return None if done.returncode == 0 else done.stderr[-1_000:]


@pytest.fixture
def serve(index: FakeIndex, start_gate: Callable[..., Gate]) -> Callable[[OddWheel], Gate]:
    def started(wheel: OddWheel) -> Gate:
        index.bare = index.html = True
        index.publish("acme", wheel.filename, wheel.build())
        return start_gate(UPLOADS + index_source(index, "feed", delivery="cache"))

    return started


@pytest.mark.parametrize("wheel", [wheel for wheel in WHEELS if wheel.id in IN_CI], ids=lambda wheel: wheel.id)
def test_what_a_client_takes_directly_it_takes_here(
    wheel: OddWheel, serve: Callable[[OddWheel], Gate], index: FakeIndex, current: PreloadedPip, tmp_path: Path
) -> None:
    server = serve(wheel)
    client = current if wheel.pip else None
    for is_known in (False, True):
        (file,) = server.page("acme")["files"]
        assert isinstance(file["core-metadata"], dict) is is_known, "promised, and then known"
        assert takes(client, tmp_path / "client", server.index_url) is None


@pytest.mark.public
@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("wheel", WHEELS, ids=lambda wheel: wheel.id)
def test_every_client_does_here_what_it_does_directly(
    wheel: OddWheel,
    serve: Callable[[OddWheel], Gate],
    index: FakeIndex,
    current: PreloadedPip,
    older: PreloadedPip,
    tmp_path: Path,
) -> None:
    server = serve(wheel)
    clients = {"pip": current, "older pip": older, "uv": None}

    def try_each(url: str, names: Iterable[str]) -> dict[str, str | None]:
        return {name: takes(clients[name], tmp_path / "client", url) for name in names}

    expected = {"pip": wheel.pip, "older pip": wheel.older_pip, "uv": wheel.uv}
    directly = try_each(index.url, clients)
    taken = {name: trouble is None for name, trouble in directly.items()}
    assert taken == expected | ({"uv": False} if wheel.only_here else {}), directly
    expected["older pip"] &= wheel.older_pip_here
    takers = [name for name, is_taken in expected.items() if is_taken]
    promised, known = try_each(server.index_url, takers), try_each(server.index_url, takers)
    assert not any(known.values()), known
    assert wheel.left or not any(promised.values()), promised
