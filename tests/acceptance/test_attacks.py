"""Every attack twice, with real pip (`long`) and real uv: it succeeds against an index that merges naively, and fails here."""

from __future__ import annotations

import itertools
import re
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web

from tests.acceptance.configs import UPLOADS, index_source
from tests.support.clients import pip, uv
from tests.support.gate import Gate
from tests.support.index import FakeIndex, running
from tests.support.naive import NaiveMerge
from tests.support.packages import make_wheel, metadata, sha256, wheel_bytes, wheel_name

EVIL = "99.0"
_numbers = itertools.count()


def published(index: FakeIndex, name: str, version: str, *, page: str | None = None, **entry: object) -> None:
    project = page or name
    index.publish(project, wheel_name(name, version), wheel_bytes(name, version), metadata=metadata(name, version), **entry)


def hour_ago() -> str:
    return (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def silent(index: FakeIndex, *names: str) -> None:
    """The index fails for these projects."""

    async def broken(_request: web.BaseRequest) -> web.Response:
        return web.Response(status=500)

    index.handlers.update({f"/simple/{name}/": broken for name in names})


class Attack:
    """Two upstreams, the naive index over them, and what a client ends up with."""

    def __init__(
        self, private: FakeIndex, public: FakeIndex, naive: NaiveMerge, start_gate: Callable[..., Gate], home: Path, client: str
    ) -> None:
        self.private, self.public, self.naive = private, public, naive
        self._start_gate = start_gate
        self._home = home
        self.client = client
        self.said = ""
        """What the client printed last."""

    def gate(self, policy: str = "") -> Gate:
        self.public.asked.clear()
        team = index_source(self.private, "team", private=True, fresh="1s", absent="1s")
        return self._start_gate(UPLOADS + team + index_source(self.public, fresh="1s", absent="1s") + policy)

    def installed(self, index_url: str, requirement: str) -> str | None:
        """The version a client installs, from an empty cache; ``None``: it fails."""
        target = self._home / f"target{next(_numbers)}"
        if self.client == "pip":
            options = ["--no-deps", "--no-cache-dir", "--retries", "0", "--target", target, "--index-url", index_url]
            done = pip(self._home, "install", *options, requirement, ok=None)
        else:
            options = ["--no-deps", "--no-cache", "--python", sys.executable, "--target", target, "--default-index", index_url]
            done = uv(self._home, "pip", "install", *options, requirement, ok=None, env={"UV_HTTP_RETRIES": "0"})
        self.said = done.stdout + done.stderr
        if done.returncode:
            return None
        (module,) = target.glob("*.py")
        return re.findall(r'"(.*)"', module.read_text())[0]

    def public_asked(self, *names: str) -> list[str]:
        return [asked.path for asked in self.public.asked if any(name in asked.path for name in names)]


@pytest.fixture
def naive(index: FakeIndex, second_index: FakeIndex) -> Iterator[NaiveMerge]:
    with running(NaiveMerge([second_index, index])) as made:
        yield made


@pytest.fixture(params=[pytest.param("pip", marks=pytest.mark.long), "uv"])
def attack(
    request: pytest.FixtureRequest,
    index: FakeIndex,
    second_index: FakeIndex,
    naive: NaiveMerge,
    start_gate: Callable[..., Gate],
    home: Path,
) -> Attack:
    return Attack(second_index, index, naive, start_gate, home, request.param)


def test_a_higher_version_of_a_private_name(attack: Attack) -> None:
    published(attack.private, "acme-lib", "1.0")
    published(attack.public, "acme-lib", EVIL)
    assert attack.installed(attack.naive.url, "acme-lib") == EVIL

    gate = attack.gate()
    assert attack.installed(gate.index_url, "acme-lib") == "1.0"
    assert attack.installed(gate.index_url, f"acme-lib=={EVIL}") is None
    assert attack.public_asked("acme") == []


def test_a_squat_during_an_outage_of_the_private_source(attack: Attack) -> None:
    published(attack.private, "acme-lib", "1.0")
    gate = attack.gate()
    assert attack.installed(gate.index_url, "acme-lib") == "1.0"
    published(attack.public, "acme-lib", EVIL)
    silent(attack.private, "acme-lib")
    assert attack.installed(attack.naive.url, "acme-lib") == EVIL

    attack.public.asked.clear()
    assert attack.installed(gate.index_url, "acme-lib") == "1.0", "its last good page"
    gate.restart()
    assert attack.installed(gate.index_url, "acme-lib") in (None, "1.0")
    assert attack.public_asked("acme") == []


def test_a_squat_of_a_name_published_privately_after_we_last_asked(attack: Attack) -> None:
    gate = attack.gate()
    assert attack.installed(gate.index_url, "acme-new") is None  # nobody has it, and we remember that
    published(attack.private, "acme-new", "1.0")
    published(attack.public, "acme-new", EVIL)
    silent(attack.private, "acme-new")
    assert attack.installed(attack.naive.url, "acme-new") == EVIL

    answers = {gate.get("/simple/acme-new/").status for _ in _for_seconds(2)}
    assert answers <= {404, 503}
    assert attack.installed(gate.index_url, "acme-new") is None
    attack.private.handlers.clear()
    assert _eventually(lambda: gate.get("/simple/acme-new/").status == 200)
    assert attack.installed(gate.index_url, "acme-new") == "1.0"


def test_a_squat_of_a_reserved_name_that_nobody_has(attack: Attack) -> None:
    published(attack.public, "acme-internal", EVIL)
    assert attack.installed(attack.naive.url, "acme-internal") == EVIL

    gate = attack.gate('[policy]\nreserved = ["acme-*"]\n')
    for spelling in ("acme-internal", "Acme.Internal", "ACME__internal"):
        assert attack.installed(gate.index_url, spelling) is None
    assert attack.public_asked("internal") == []


@pytest.mark.parametrize("spelling", ["acme_lib", "Acme.LIB"])
def test_a_squat_in_another_spelling(attack: Attack, spelling: str, tmp_path: Path) -> None:
    """The private index has the name as its people write it; the stranger as clients ask for it."""
    published(attack.private, "acme-lib", "1.0", page=spelling)
    published(attack.public, "acme-lib", EVIL)
    assert attack.installed(attack.naive.url, spelling) == EVIL

    gate = attack.gate()
    assert gate.run("wheel", "add", "--take-over", make_wheel(tmp_path, spelling, "1.0")).returncode == 0
    assert _eventually(lambda: len(gate.page("acme-lib")["files"]) == 1)
    attack.public.asked.clear()
    for name in ("acme-lib", spelling, "ACME_LIB"):
        assert attack.installed(gate.index_url, name) == "1.0"
    assert attack.public_asked("cme") == []


def test_a_squat_of_a_name_whose_private_files_were_all_deleted(attack: Attack) -> None:
    published(attack.private, "acme-stays", "1.0")
    published(attack.private, "acme-lib", "1.0")
    published(attack.public, "acme-lib", EVIL)
    gate = attack.gate()
    assert attack.installed(gate.index_url, "acme-lib") == "1.0"
    del attack.private.projects["acme-lib"]
    assert attack.installed(attack.naive.url, "acme-lib") == EVIL

    attack.public.asked.clear()
    assert _eventually(lambda: gate.page("acme-lib")["files"] == [])
    assert attack.installed(gate.index_url, "acme-lib") is None
    gate.restart()
    assert attack.installed(gate.index_url, "acme-lib") is None
    assert attack.public_asked("acme") == []


def test_a_squat_of_a_name_whose_private_files_are_all_denied(attack: Attack) -> None:
    published(attack.private, "acme-stays", "1.0")
    published(attack.private, "acme-lib", "1.0")
    published(attack.public, "acme-lib", EVIL)
    assert attack.installed(attack.naive.url, "acme-lib!=1.0") == EVIL

    gate = attack.gate('[policy]\ndeny = ["acme-lib<50"]\n')
    assert attack.installed(gate.index_url, "acme-lib") is None
    assert attack.installed(gate.index_url, f"acme-lib=={EVIL}") is None
    answer = gate.get("/simple/acme-lib/")
    assert answer.status == 403
    assert answer.reason.startswith("every file of acme-lib is withheld: policy.deny has acme-lib<50")
    assert attack.public_asked("acme") == []
    del attack.private.projects["acme-lib"]
    assert _eventually(lambda: gate.get("/simple/acme-lib/").status == 200)
    assert attack.installed(gate.index_url, "acme-lib") is None
    assert attack.public_asked("acme") == []


def test_a_lock_file_that_skips_the_page(attack: Attack) -> None:
    published(attack.private, "acme-lib", "1.0")
    published(attack.public, "acme-lib", EVIL)
    evil = f"files/acme-lib/{wheel_name('acme-lib', EVIL)}#sha256={sha256(wheel_bytes('acme-lib', EVIL))}"
    assert attack.installed(attack.naive.url, f"acme-lib @ {attack.naive.origin}/{evil}") == EVIL

    gate = attack.gate()
    assert attack.installed(gate.index_url, f"acme-lib @ {gate.url}/{evil}") is None
    good = f"files/acme-lib/{wheel_name('acme-lib', '1.0')}#sha256={sha256(wheel_bytes('acme-lib', '1.0'))}"
    assert attack.installed(gate.index_url, f"acme-lib @ {gate.url}/{good}") == "1.0"
    assert attack.public_asked("acme") == []


def test_a_page_that_lists_another_projects_file(attack: Attack) -> None:
    published(attack.private, "acme-lib", "1.0")
    published(attack.public, "left-pad", "1.0")
    published(attack.public, "acme-lib", EVIL, page="left-pad")
    evil = f"files/left-pad/{wheel_name('acme-lib', EVIL)}#sha256={sha256(wheel_bytes('acme-lib', EVIL))}"
    assert attack.installed(attack.naive.url, f"acme-lib @ {attack.naive.origin}/{evil}") == EVIL

    gate = attack.gate()
    assert [entry["filename"] for entry in gate.page("left-pad")["files"]] == [wheel_name("left-pad", "1.0")]
    assert attack.installed(gate.index_url, f"acme-lib @ {gate.url}/{evil}") is None
    path = f"/files/left-pad/{wheel_name('acme-lib', EVIL)}"
    assert gate.get(path).status == 404
    assert gate.get(f"{path}.metadata").status == 404
    assert attack.installed(gate.index_url, "left-pad") == "1.0"


def test_a_release_published_an_hour_ago(attack: Attack) -> None:
    published(attack.public, "idna", "1.0")
    published(attack.public, "idna", EVIL, upload_time=hour_ago())
    assert attack.installed(attack.naive.url, "idna") == EVIL

    gate = attack.gate('[policy]\ncooldown = "3d"\n')
    assert attack.installed(gate.index_url, "idna") == "1.0"
    assert attack.installed(gate.index_url, f"idna=={EVIL}") is None
    assert [entry["filename"] for entry in gate.page("idna")["files"]] == [wheel_name("idna", "1.0")]
    path = f"/files/idna/{wheel_name('idna', EVIL)}"
    for address in (path, f"{path}.metadata", f"{path}.provenance"):
        for method in ("GET", "HEAD"):
            answer = gate.get(address, method=method)
            assert answer.status == 403
            assert "a cool-down of 3d holds it until" in answer.reason
    assert gate.get(path, {"Range": "bytes=0-9"}).status == 403
    assert attack.installed(gate.index_url, f"idna @ {gate.url}{path}") is None
    assert "403" in attack.said
    if attack.client == "pip":
        assert "cool-down of 3d" in attack.said, "pip prints the sentence"
    asked = [asked.path for asked in attack.public.asked]
    assert not [path for path in asked if EVIL in path], "nothing of it was fetched"


def _for_seconds(seconds: float) -> Iterator[None]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        time.sleep(0.1)


def _eventually(condition: Callable[[], bool]) -> bool:
    return any(condition() for _ in _for_seconds(8))
