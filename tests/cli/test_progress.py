"""What long commands say while they work, where nobody sees a bar."""

from __future__ import annotations

import ast
import asyncio
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import wheelgate.cli
from wheelgate.cli.options import run_to_end
from wheelgate.cli.progress import Activity, format_size, show_copying, tell_now_and_then

SHOWS_COPYING = {"mirror.py", "container.py"}
"""Commands that copy, and tell more themselves."""
SERVES = "serve.py"


def test_whatever_holds_up_the_work_does_not_hold_up_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    with tell_now_and_then(lambda: "reading \x1b[2Jtorch", every_s=0.05):
        time.sleep(0.5)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) > 1
    assert set(lines) == {"wheelgate: reading  [2Jtorch"}


def test_what_is_over_soon_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with tell_now_and_then(lambda: "reading"):
        pass
    assert capsys.readouterr().err == ""


def test_a_copy_tells_how_far_it_is_and_what_it_is_at(capsys: pytest.CaptureFixture[str]) -> None:
    under_way: dict[str, None] = {}
    with show_copying(every_s=0.05) as progress:
        progress.activity.watch(under_way)
        progress.step("resolving requirements.txt for Python 3.11 on linux-x86_64")
        time.sleep(0.3)
        progress.begin(60, 435_000_000)
        progress.bytes(85_300_000)
        progress.done(None)
        under_way |= {"torch/torch-2.0.whl": None, "numpy/numpy-2.0.whl": None}
        time.sleep(0.3)
    told = list(dict.fromkeys(capsys.readouterr().err.splitlines()))
    assert told == [
        "wheelgate: resolving requirements.txt for Python 3.11 on linux-x86_64",
        "wheelgate: 1 of 60 files, 85.3 MB of 435.0 MB; torch/torch-2.0.whl and 1 more",
    ]


def test_a_command_says_that_it_is_at_work_and_what_at() -> None:
    activity = Activity("beginning")

    async def work() -> int:
        activity.begin(3)
        activity.finish_file()
        activity.step("acme-1.0.tar.gz")
        await asyncio.sleep(0.3)
        return 7

    @click.command()
    def add() -> None:
        print(run_to_end(work(), activity.describe, every_s=0.1))

    told = CliRunner().invoke(add, prog_name="wheelgate wheel add")
    assert told.stdout == "7\n"
    assert (
        told.stderr.splitlines()[0] == "wheelgate: wheelgate wheel add is still at work after 0 s: 1 of 3 files; acme-1.0.tar.gz"
    )


@pytest.mark.parametrize(
    ("size", "said"), [(999, "999 bytes"), (1_000, "1.0 kB"), (85_300_000, "85.3 MB"), (2_500_000_000, "2.5 GB")]
)
def test_sizes_are_for_people(size: int, said: str) -> None:
    assert format_size(size) == said


def test_every_command_waits_where_it_is_told_of() -> None:
    """A command that ran its loop by itself would be silent for as long as it takes."""
    folder = Path(wheelgate.cli.__file__).parent
    running = {
        path.name
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("run", "Runner") and ast.unparse(node.value) == "asyncio"
    }
    assert running == {"options.py", SERVES, *SHOWS_COPYING}
