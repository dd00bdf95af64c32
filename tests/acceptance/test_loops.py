"""Loops: a source that is this server, or asks it in turn, costs nobody's time and is named."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.acceptance.configs import UPLOADS
from tests.support.gate import Gate
from tests.support.packages import make_wheel
from tests.support.servers import find_free_port
from wheelgate.runtime.chain import CHAIN_HEADER


def start_ring(start_gate: Callable[..., Gate], count: int, *, private: bool, only: bool = False) -> list[Gate]:
    """Servers of which each asks the next, and the last one the first."""
    ports = [find_free_port() for _ in range(count)]
    gates = []
    for number, port in enumerate(ports):
        following = (number + 1) % count
        names = f'only = ["acme-{following}"]\n' if only else ""
        source = (
            f'[[source]]\nname = "next"\ntype = "index"\nurl = "http://127.0.0.1:{ports[following]}/simple/"\n'
            f"private = {str(private).lower()}\n{names}"
        )
        gates.append(start_gate(UPLOADS + source, "--port", str(port)))
    return gates


@pytest.mark.parametrize("private", [True, False], ids=["private", "public"])
@pytest.mark.parametrize("count", [1, pytest.param(2, marks=pytest.mark.long), 3])
def test_a_question_that_comes_back_is_answered_at_once(start_gate: Callable[..., Gate], count: int, private: bool) -> None:
    gates = start_ring(start_gate, count, private=private)
    for name in ("missing", "other"):
        began = time.monotonic()
        answer = gates[0].get(f"/simple/{name}/")
        assert time.monotonic() - began < 2
        assert answer.status == 508, answer.body
        said = answer.body.decode()
        assert "source next leads back to this server (" in said
        assert len(answer.headers[CHAIN_HEADER].split(",")) == count + 1
    assert gates[0].get("/readyz").status == 200
    checked = gates[0].run("check")
    assert checked.returncode == 1
    assert "leads back to this server" in checked.stdout + checked.stderr


def test_servers_that_ask_one_another_for_names_of_their_own_are_no_loop(
    start_gate: Callable[..., Gate],
) -> None:
    first, second = start_ring(start_gate, 2, private=True, only=True)
    for number, gate in enumerate((first, second)):
        assert gate.run("wheel", "add", make_wheel(gate.folder, f"acme-{number}", "1.0")).returncode == 0
    assert [file["filename"] for file in first.page("acme-1")["files"]] == ["acme_1-1.0-py3-none-any.whl"]
    assert [file["filename"] for file in second.page("acme-0")["files"]] == ["acme_0-1.0-py3-none-any.whl"]
    assert first.get("/files/acme-1/acme_1-1.0-py3-none-any.whl").status == 200


@pytest.mark.parametrize("said", ["0" * 8, ",".join(["0" * 8] * 7), "nonsense", "x" * 5_000])
def test_a_chain_of_others_or_of_nobody_is_no_loop(start_gate: Callable[..., Gate], said: str) -> None:
    gate = start_gate(UPLOADS)
    assert gate.get("/simple/missing/", {CHAIN_HEADER: said}).status == 404


def test_a_chain_that_is_too_long_ends(start_gate: Callable[..., Gate]) -> None:
    gate = start_gate(UPLOADS)
    assert gate.get("/simple/missing/", {CHAIN_HEADER: ",".join(["0" * 8] * 8)}).status == 508


def test_what_is_refused_to_one_chain_is_held_against_nobody_else(start_gate: Callable[..., Gate]) -> None:
    behind = start_gate(UPLOADS)
    assert behind.run("wheel", "add", make_wheel(behind.folder, "acme-lib", "1.0")).returncode == 0
    source = (
        f'[[source]]\nname = "next"\ntype = "index"\nurl = "{behind.index_url}"\nprivate = true\nfresh = "1s"\nabsent = "1s"\n'
    )
    gate = start_gate(UPLOADS + source)
    assert gate.get("/simple/acme-lib/").status == 200
    assert gate.get("/simple/missing/").status == 404
    time.sleep(2.1)  # as stale as a page may be that is served while it is asked for anew
    too_long = {CHAIN_HEADER: ",".join(["0" * 8] * 7)}  # with the mark of the first server, for the second
    for name, status in (("acme-lib", 200), ("missing", 508), ("new", 508)):
        assert gate.get(f"/simple/{name}/", too_long).status == status, name
    for name, status in (("acme-lib", 200), ("missing", 404), ("new", 404)):
        answer = gate.get(f"/simple/{name}/")
        assert (answer.status, answer.headers.get("X-Cache")) == (status, None), name
    assert "fails" not in gate.log


def test_its_own_public_address_is_no_source(start_gate: Callable[..., Gate]) -> None:
    source = '[[source]]\nname = "self"\ntype = "index"\nurl = "https://Packages.acme.example/simple/"\nprivate = false\n'
    with pytest.raises(AssertionError, match=r"source\[0\].url: is this server itself, as server.public_url says"):
        start_gate('[server]\npublic_url = "https://packages.acme.example"\n' + source)
