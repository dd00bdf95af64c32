"""Start-up cost of the command line: heavy libraries are imported only by the commands that use them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from wheelgate.cli import cli

HEAVY = ("rich", "azure", "aiohttp", "lxml", "prometheus_client", "wheelgate.wiring", "wheelgate.web")
SCRIPT = """
import sys
from wheelgate.cli import cli
cli.main(sys.argv[1:], standalone_mode=False)
print(*[name for name in {heavy!r} if name in sys.modules], file=sys.stderr)
"""


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["serve", "--help"], ["token", "--help"], ["release", "--help"], ["explain", "--help"]],
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    command = [sys.executable, "-c", SCRIPT.format(heavy=HEAVY), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout
    assert done.stderr.split() == []


def test_connections_are_looked_after_without_a_client_of_http(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT.format(heavy=HEAVY), "connection", "list", "--data", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, cwd=tmp_path)
    assert not set(HEAVY) & set(done.stderr.split())


def test_every_command_has_a_line_of_help_of_its_own() -> None:
    done = subprocess.run([sys.executable, "-m", "wheelgate", "--help"], capture_output=True, text=True, check=True, timeout=60)
    lines = dict(line.split(maxsplit=1) for line in done.stdout.partition("Commands:\n")[2].splitlines())
    assert list(lines) == cli.list_commands(click.Context(cli))
    assert not [line for line in lines.values() if line.endswith("...")]
