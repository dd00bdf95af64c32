"""The ``pyproject.toml`` of an uploaded sdist, as far as pip and uv stop at it before anything is built (PEP 518, PEP 517)."""

from __future__ import annotations

import tomllib
from typing import Any

from packaging.requirements import Requirement

MAX_PYPROJECT_BYTES = 256 * 1024
_MAX_DOTS = 500
"""In a line: the time that Python takes to read a key grows by the square of its parts."""


def load_pyproject(body: bytes) -> dict[str, Any]:
    """Load a ``pyproject.toml`` that is not trusted; ValueError or RecursionError: it is not TOML, or costs too much."""
    text = body.decode("utf-8")
    if any(line.count(".") > _MAX_DOTS for line in text.split("\n")):
        raise ValueError("a key may have too many parts")
    return tomllib.loads(text)


def check_pyproject(body: bytes | None, bad: type[ValueError]) -> None:
    """Check a ``pyproject.toml`` (``None``: there is none); or raise ``bad``, whose message completes "it ..."."""
    try:
        table = load_pyproject(body or b"").get("build-system")
    except (ValueError, RecursionError):  # TOMLDecodeError, UnicodeDecodeError, or a number of thousands of digits
        raise bad(f"has a pyproject.toml that is not TOML, or has a line of more than {_MAX_DOTS} dots") from None
    if table is None:
        return
    requires = table.get("requires") if isinstance(table, dict) else None
    if not isinstance(requires, list) or not all(isinstance(stated, str) for stated in requires):
        raise bad("has a pyproject.toml whose build-system has no list named requires (PEP 518)")
    for stated in requires:
        try:
            Requirement(stated)
        except (ValueError, RecursionError):
            raise bad(f"has a pyproject.toml that requires what is no requirement: {stated[:200]!r}") from None
    if not isinstance(table.get("build-backend", ""), str):
        raise bad("has a pyproject.toml whose build-backend is no text")
    places = table.get("backend-path", [])
    if not isinstance(places, list) or not all(isinstance(place, str) and _stays_inside(place) for place in places):
        raise bad("has a pyproject.toml whose backend-path leads out of the sdist")


def _stays_inside(place: str) -> bool:
    return not place.startswith("/") and ".." not in place.replace("\\", "/").split("/")
