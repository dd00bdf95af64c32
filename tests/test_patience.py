"""The tests themselves: none may need a machine to itself, so nothing that should come at once has less than seconds to come."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
SHORTEST_S = 2.0
WALL_CLOCKS = ("time.monotonic()", "time.perf_counter()")
PATIENCE = ("asyncio.timeout", "asyncio.wait_for")
BY_HAND = {"benchmarks", "soak", "faults"}
"""Folders of what is played by hand, alone on the machine, and of the harness for it."""


def find_hasty(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in PATIENCE and _is_short(node.args[-1:]):
            yield f"{path.name}:{node.lineno}: {ast.unparse(node)[-60:]}"
        if isinstance(node, ast.Compare) and _is_short(node.comparators) and isinstance(node.ops[0], ast.Lt | ast.LtE):
            began = node.left.left if isinstance(node.left, ast.BinOp) else node.left
            if ast.unparse(began) in WALL_CLOCKS:
                yield f"{path.name}:{node.lineno}: {ast.unparse(node)}"


def _is_short(values: list[ast.expr]) -> bool:
    return any(isinstance(one, ast.Constant) and isinstance(one.value, int | float) and one.value < SHORTEST_S for one in values)


def test_none_of_them_needs_a_machine_to_itself() -> None:
    paths = [path for path in sorted(TESTS.rglob("*.py")) if path.relative_to(TESTS).parts[0] not in BY_HAND]
    assert len(paths) > 200
    assert [line for path in paths for line in find_hasty(path)] == []


def test_what_is_hasty_is_found(tmp_path: Path) -> None:
    path = tmp_path / "hasty.py"
    path.write_text(
        "async def test():\n    async with asyncio.timeout(0.5): ...\n    await asyncio.wait_for(x, 1)\n"
        "    assert time.monotonic() - began < 0.04\n    assert time.process_time() - began < 0.04\n    await wait_for(x, 1)\n"
    )
    assert sorted(line.split(":")[1] for line in find_hasty(path)) == ["2", "3", "4"]
