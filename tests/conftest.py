"""Fixtures that every test may use, and the rule that no test leaves this machine unless it is marked `public`."""

from __future__ import annotations

import gc
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.clock import FakeClock
from tests.support.gate import Gate, gate
from tests.support.index import FakeIndex, running
from wheelgate.config import PUBLIC_INDEX

# The contracts' own assertions explain themselves like those of a test module.
pytest.register_assert_rewrite("tests.sources.source_contract", "tests.storage.blob_store_contract")

_guard = {"on": False}


def _refuse_beyond_loopback(event: str, arguments: tuple[object, ...]) -> None:
    if not _guard["on"] or event != "socket.connect":
        return
    address = arguments[1]
    if isinstance(address, tuple) and not ip_address(str(address[0]).partition("%")[0]).is_loopback:
        raise OSError(f"a test tried to reach {address[0]}; only tests marked `public` may leave this machine")


sys.addaudithook(_refuse_beyond_loopback)


@cache
def _reaches_public_index() -> bool:
    with suppress(OSError):
        socket.create_connection((urlsplit(PUBLIC_INDEX).hostname or "", 443), timeout=5).close()
        return True
    return False


def pytest_collection_finish() -> None:
    """Keep what thousands of collected tests consist of out of each garbage collection that a test asks for: it took a second."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests marked `public` are skipped aloud where the public index cannot be reached."""
    if item.get_closest_marker("public") and not _reaches_public_index():
        pytest.skip("the public index cannot be reached from here")


def pytest_make_parametrize_id(val: object) -> str | None:
    """Archives are no names for tests: they hold times, and two processes must collect the same."""
    return "bytes" if isinstance(val, bytes) and len(val) > 40 else None


@pytest.fixture(scope="session", autouse=True)
def _nobody_needs_our_usual_port() -> Iterator[None]:
    """Hold the port that a server without settings takes: a test that needs it fails here, and not on a machine that uses it."""
    with ExitStack() as stack:
        with suppress(OSError):  # somebody has it already: another process of these tests, or anybody else
            stack.enter_context(socket.create_server(("127.0.0.1", 8080)))
        yield


@pytest.fixture(scope="session", autouse=True)
def _signals_are_heeded() -> None:
    """Start processes as a terminal does: `nohup`, and a shell for what it runs in the background, ignore some for all below."""
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _loopback_only(request: pytest.FixtureRequest) -> Iterator[None]:
    _guard["on"] = request.node.get_closest_marker("public") is None
    yield
    _guard["on"] = False


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def index() -> Iterator[FakeIndex]:
    """An empty index on loopback."""
    with running(FakeIndex()) as made:
        yield made


@pytest.fixture
def second_index() -> Iterator[FakeIndex]:
    """Another one, on another port."""
    with running(FakeIndex()) as made:
        yield made


@pytest.fixture
def start_gate(tmp_path: Path) -> Iterator[Callable[..., Gate]]:
    """Starts real servers: ``start_gate(config_toml, *arguments)``; each ends with the test."""
    with ExitStack() as stack:
        count = iter(range(100))

        def start(config: str, *arguments: str) -> Gate:
            return stack.enter_context(gate(tmp_path / f"gate{next(count)}", config, arguments))

        yield start


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home for a client."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked `long` run when asked for by ``-m long``."""
    if "long" in (config.option.markexpr or ""):
        return
    skip = pytest.mark.skip(reason="long: run with -m long")
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(skip)
