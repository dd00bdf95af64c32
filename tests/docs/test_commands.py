"""Commands and settings that pages show are understood by the product."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.docs.pages import PAGES, blocks, code_spans, name_of
from wheelgate.cli import cli
from wheelgate.config import load

_PROGRAM = re.compile(r"(?:^|&& |[\w./]+/)wheelgate (?=[a-z-])")


def shown(text: str) -> Iterator[str]:
    """What follows ``wheelgate`` on a command line of a fenced block, up to where the shell takes over again."""
    for block in blocks(text):
        if block.lstrip().startswith(("[", "#", "name:", "{")) or "ENTRYPOINT" in block:
            continue
        for line in block.replace("\\\n", " ").splitlines():
            for found in _PROGRAM.finditer(line):
                if "#" in line[: found.start()]:
                    continue
                before, rest = line[: found.end()], line[found.end() :]
                inside = before.count('"') % 2 == 1
                yield re.split(r"\"" if inside else r"\s(?:\||<|>|&&)\s| #", rest)[0]


def resolve(words: list[str]) -> tuple[click.Command, list[str], list[str]]:
    """The command that words name, its names, and its arguments."""
    command: click.Command = cli
    names = ["wheelgate"]
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, f"wheelgate has no command {' '.join([*names[1:], words[0]])}"
        command, names, words = found, [*names, words[0]], words[1:]
    return command, names, words


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_command_lines_are_understood(page: Path) -> None:
    for line in shown(page.read_text()):
        command, names, words = resolve(shlex.split(line))
        assert not isinstance(command, click.Group) or words, line
        command.make_context(" ".join(names), words)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_in_the_text_and_their_options_exist(page: Path) -> None:
    for span in code_spans(page.read_text()):
        if not span.startswith("wheelgate ") or span.startswith("wheelgate ..."):
            continue
        if "=" in span or "(" in span:
            continue  # `wheelgate = ...` of the packaging
        command, _, words = resolve(span.split()[1:])
        known = {option for parameter in command.params for option in parameter.opts} | {"--help", "--version"}
        assert not {word for word in words if word.startswith("--")} - known, f"{name_of(page)}: {span}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_settings_are_understood(page: Path, tmp_path: Path) -> None:
    """Each TOML block that holds settings of ours is a configuration as it stands."""
    for block in blocks(page.read_text(), "toml"):
        settings = tomllib.loads(block)
        if settings.keys() <= {"server", "store", "source", "connection", "policy", "data"}:
            file = tmp_path / "wheelgate.toml"
            file.write_text(block)
            load(file, environment={"WHEELGATE_DATA": str(tmp_path / "data")})


def test_the_pages_show_commands() -> None:
    assert sum(len(list(shown(page.read_text()))) for page in PAGES) > 35
