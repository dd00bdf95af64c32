"""Every installer in the field: what it installs, in either format, with core metadata and without, by digest and without."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from tests.acceptance.configs import uploads_and
from tests.support.gate import Gate
from tests.support.index import SIMPLE_JSON, FakeIndex
from tests.support.installers import Installer, Pdm, Pip, Pipenv, Poetry, Uv
from tests.support.packages import metadata, sha256, wheel_bytes, wheel_name
from tests.support.retelling import Retelling, retold

PIPS = [
    *("20.0.2", "20.1.1", "20.2.4", "20.3.4", "21.0.1", "21.1.3", "21.2.4", "21.3.1", "22.0.4", "22.1.2", "22.2.2", "22.3"),
    *("22.3.1", "23.0.1", "23.1", "23.1.2", "23.2.1", "23.3.2", "24.0", "24.1.2", "24.2", "24.3.1", "25.0.1", "25.1.1"),
    *("25.2", "25.3", "26.0.1", "26.1.2", "26.2", "26.3"),
]
"""Every minor release."""
UVS = [
    *("0.1.5", "0.1.45", "0.2.37", "0.3.5", "0.4.30", "0.5.31", "0.6.17", "0.7.22", "0.8.24", "0.9.30", "0.10.12", "0.11.33"),
    *("0.12.24", "0.13.9"),
]
"""One of the first, and the last of every minor release."""
IN_CI = {"pip 22.3.1, json", "pip 23.1.2, json", "uv here, json", "uv here, html"}
"""The first and the last pip that cannot read JSON with the older name of the key for core metadata (PEP 714)."""
INSTALLERS: list[Installer] = [
    *map(Pip, PIPS),
    *map(Uv, ["here", *UVS]),
    *map(Poetry, ["1.8.5", "2.5.1"]),
    *map(Pdm, ["2.29.4"]),
    *map(Pipenv, ["2024.4.1", "2026.10.3"]),
]
WANTED = {"stated": "by the index", "found": "by nobody, so it is read out of the wheel", "bare": "to nobody"}
"""Projects, and who tells their core metadata; each needs ``other``, of which the newest version is for another Python."""
BROKEN = {"uv 0.1.5, html": "asks for core metadata by a URL with the link's fragment in the middle, of any index"}
"""What cannot work, and is not ours to mend."""


def list_cases() -> list[ParameterSet]:
    cases = []
    for installer in INSTALLERS:
        for html in (False, True) if installer.reads_json else (True,):
            name = f"{installer}, {'html' if html else 'json'}"
            marks = [] if name in IN_CI else [pytest.mark.long]
            if reason := BROKEN.get(name):
                marks.append(pytest.mark.xfail(strict=True, reason=reason))
            cases.append(pytest.param(installer, html, id=name, marks=marks))
    return cases


def body_of(project: str) -> bytes:
    return wheel_bytes(project, "1.0", requires=["other"] if project in WANTED else [])


@pytest.fixture
def relay(start_gate: Callable[..., Gate], index: FakeIndex, html: bool) -> Iterator[Retelling]:
    for project in (*WANTED, "other"):
        told = (
            metadata(project, "1.0", requires=["other"] if project in WANTED else []) if project in ("stated", "other") else None
        )
        index.publish(project, wheel_name(project, "1.0"), body_of(project), metadata=told)
    newer = wheel_bytes("other", "2.0", requires_python=">=3.99")
    index.publish("other", wheel_name("other", "2.0"), newer, requires_python=">=3.99")
    with retold(start_gate(uploads_and(index)).url, html=html, without_metadata=frozenset({"bare"})) as made:
        yield made


@pytest.mark.public
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("installer", "html"), list_cases())
def test_it_installs_what_the_index_lists(relay: Retelling, tmp_path: Path, installer: Installer, html: bool) -> None:
    index_url = f"{relay.origin}/simple/"

    def holds_what_is_wanted(place: Path) -> None:
        assert {path.stem for path in place.glob("*.py")} >= {*WANTED, "other"}
        assert '"1.0"' in (place / "other.py").read_text()

    for time in ("cold", "warm"):  # the second page says what the first fetch of each wheel told
        holds_what_is_wanted(installer.install(tmp_path / time, index_url, WANTED))
    pins = {project: sha256(body_of(project)) for project in (*WANTED, "other")}
    holds_what_is_wanted(installer.install_pinned(tmp_path / "pinned", index_url, pins))
    assert relay.page_types == ({SIMPLE_JSON} if installer.reads_json and not html else {"text/html"})
    told = {path.split("/")[2] for path in relay.paths if path.endswith(".metadata")}
    assert "bare" not in told
    print(f"{installer}, {'HTML' if html else 'JSON'}: core metadata of {sorted(told) or 'nothing'}")
