"""The repository's pages for people, and the pieces of them that tests look at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PRODUCT = ROOT / "proxy" / "wheelgate"
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
        *(ROOT / "docs").glob("*.md"),
        ROOT / "deploy" / "README.md",
        ROOT / "tests" / "README.md",
        ROOT / "tests" / "benchmarks" / "README.md",
    ]
)
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    """Below the repository, for test names."""
    return page.relative_to(ROOT).as_posix()


def blocks(text: str, language: str | None = None) -> Iterator[str]:
    """The fenced blocks, of one language if one is given."""
    for found in _FENCE.finditer(text):
        if language is None or found[1] == language:
            yield found[2]


def prose(text: str) -> str:
    """The page less its fenced blocks."""
    return _FENCE.sub("", text)


def code_spans(text: str) -> list[str]:
    """What stands between single backticks outside fenced blocks."""
    return re.findall(r"`([^`\n]+)`", prose(text))


def rows(text: str, heading: str) -> list[dict[str, str]]:
    """The rows of the first table below a heading, by column."""
    section = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, f"there is no section {heading}"
    table = re.search(r"^\|.*\n\|[-|]+\n((?:\|.*\n)+)", section[1], re.MULTILINE)
    assert table, f"section {heading} has no table"
    names, _, *found = table[0].splitlines()
    return [dict(zip(_cells(names), _cells(line), strict=True)) for line in found]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]
