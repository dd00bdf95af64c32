"""Configurations that many tests start a server with."""

from __future__ import annotations

from tests.support.index import FakeIndex

UPLOADS = """
[[source]]
name = "uploads"
type = "store"
"""


def index_source(index: FakeIndex, name: str = "public", **settings: object) -> str:
    """An index on loopback as a source; public unless ``private=True``."""
    lines = [f"{key} = {_toml(value)}" for key, value in {"private": False, **settings}.items()]
    return "\n".join(["", "[[source]]", f'name = "{name}"', 'type = "index"', f'url = "{index.url}"', *lines, ""])


def uploads_and(index: FakeIndex, **settings: object) -> str:
    """The default shape: the store's packages, then a public index."""
    return UPLOADS + index_source(index, **settings)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)
