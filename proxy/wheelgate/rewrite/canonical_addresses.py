"""Canonical addresses of a lock, kept in the lock itself without credentials, for the way back.

The index of most packages is kept once, those of the others by name and version, and the links by file name: as comments at
the end of a lock in TOML; in a ``Pipfile.lock``, which is JSON, as a list in its ``_meta``, of which pipenv reads what it knows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import unquote

import msgspec

from wheelgate.rewrite.places import Edit, Place, PlaceKind, apply_edits

KEPT_IN_JSON = ("_meta", "wheelgate")
"""The path of the list in a ``Pipfile.lock``."""
DIGEST = re.compile(
    r'^(?:content[-_]hash = "(?:sha256:)?|\s*"sha256": ")(?P<digest>[0-9a-f]{64})"'
    r'|"hash": \{"sha256": "(?P<inline>[0-9a-f]{64})"',
    re.MULTILINE,
)
"""The digest by which a lock knows the settings that it was made for."""
DIGEST_NAME = "content-hash"
_HEADING = "# Canonical addresses, for `wheelgate rewrite --restore`:"
_LINE = re.compile(r"# wheelgate: ([^\r\n]+)")
_ENTRY = re.compile(r"(?P<url>\S+)(?: for (?P<package>\S+))?[ \t]*")
_BLOCK = re.compile(rf"(?:\r?\n)?{re.escape(_HEADING)}\r?\n(?:# wheelgate: [^\n]*\n?)*")
_META = re.compile(r'"_meta"\s*:\s*\{(?P<space>\s*)')
_LIST = re.compile(r'(?<=\{)\s*"wheelgate": (?P<list>\[(?:[^\]"\\]|"(?:[^"\\]|\\.)*")*\]),')


class CanonicalAddresses(msgspec.Struct):
    """The addresses that a lock had before: of the indexes of its packages, and of files by name."""

    default: str = ""
    registries: dict[str, str] = msgspec.field(default_factory=dict)
    files: dict[str, str] = msgspec.field(default_factory=dict)

    def find(self, place: Place, number: int) -> str | None:
        """Find the address that a place had, by its number among those of its package too; ``None``: nothing says it."""
        if place.kind is PlaceKind.FILE:
            return self.files.get(read_filename(place.text))
        if "#" in place.text:
            return self.registries.get(f"#{place.text.partition('#')[2]}")
        by_number = self.registries.get(f"{place.package}#{number}")
        return by_number or self.registries.get(place.package) or self.default or None

    @classmethod
    def read(cls, text: str) -> CanonicalAddresses:
        """Read those that a lock keeps."""
        read = cls()
        for line in _read_entries(text):
            entry = _ENTRY.fullmatch(line)
            if entry is None:
                continue
            if entry["package"] == "*":
                read.default = entry["url"]
            elif entry["package"]:
                read.registries[entry["package"]] = entry["url"]
            else:
                read.files[read_filename(entry["url"])] = entry["url"]
        return read

    def edit(self, text: str) -> Edit:
        """Make the edit that keeps these, and no others, in a lock."""
        entries = list(self._list_entries())
        if (at := _find_kept(text)) is not None:
            start, end = at
        elif _is_json(text):
            meta = _META.search(text)
            start = end = meta.start("space") if meta is not None else len(text)
        else:
            start = end = len(text)
        if not entries:
            return Edit(start, end, "")
        if _is_json(text):
            meta = _META.search(text)
            return Edit(start, end, f'{meta["space"] if meta is not None else ""}"wheelgate": {json.dumps(entries)},')
        line_end = "\r\n" if re.match(r"[^\n]*\r\n", text) else "\n"
        return Edit(start, end, "".join(f"{line}{line_end}" for line in ("", _HEADING, *_as_comments(entries))))

    def _list_entries(self) -> Iterator[str]:
        if self.default:
            yield f"{self.default} for *"
        yield from (f"{url} for {package}" for package, url in sorted(self.registries.items()))
        yield from (url for _, url in sorted(self.files.items()))


def replace_canonical(text: str, kept: CanonicalAddresses) -> str:
    """Replace those that a lock keeps."""
    return apply_edits(text, [kept.edit(text)])


def remove_canonical(text: str) -> list[Edit]:
    """Make the edit that takes those out that a lock keeps, as if they had never been there."""
    at = _find_kept(text)
    return [] if at is None else [Edit(*at, "")]


def read_filename(url: str) -> str:
    """Read the name of the file behind a URL."""
    return unquote(re.split(r"[?#]", url, maxsplit=1)[0].rpartition("/")[2])


def _is_json(text: str) -> bool:
    return text.lstrip("\ufeff \t\r\n").startswith("{")


def _find_kept(text: str) -> tuple[int, int] | None:
    """Find the piece of a lock that keeps them; ``None``: there is none."""
    if not _is_json(text):
        block = _BLOCK.search(text)
        return None if block is None else block.span()
    meta = _META.search(text)
    kept = _LIST.match(text, meta.start("space")) if meta is not None else None
    return None if kept is None else kept.span()


def _read_entries(text: str) -> list[str]:
    at = _find_kept(text)
    if at is None:
        return []
    if not _is_json(text):
        return [line[1].strip() for line in _LINE.finditer(text, *at)]
    kept = _LIST.match(text, at[0])
    listed = json.loads(kept["list"]) if kept is not None else []
    return [entry for entry in listed if isinstance(entry, str)]


def _as_comments(entries: Iterable[str]) -> Iterator[str]:
    yield from (f"# wheelgate: {entry}" for entry in entries)
