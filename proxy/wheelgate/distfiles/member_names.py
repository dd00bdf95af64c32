"""Names of the members of an upload's archive: the one judgement of them, for zip and for tar files."""

from __future__ import annotations

import re
import unicodedata

_DRIVE = re.compile(r"[A-Za-z]:")
_UNPRINTABLE = ("C", "Zl", "Zp")
"""Categories of Unicode that uv refuses, and the two that end a line for pip's reader of RECORD."""
_MAX_NAME_BYTES = 4_096
_MAX_PARTS = 100
"""Beyond these no system unpacks it; and each part of a name is a folder to remember."""
_MAX_NAMES_BYTES = 48 * 1024 * 1024
"""Of all names of an archive and all their folders, each with what it takes in memory beside its text."""
_NAME_OVERHEAD_BYTES = 64


def show_name(name: str) -> str:
    """A name as it stands in a sentence, cut to what fits there."""
    return repr(name[:200])


def check_name(name: str, bad: type[ValueError]) -> None:
    """Check that a name means one file below the folder that the archive is unpacked in, to every reader; or raise ``bad``."""
    if len(name) > _MAX_NAME_BYTES or len(name.encode("utf-8", "replace")) > _MAX_NAME_BYTES:
        raise bad(f"has an entry whose name is longer than {_MAX_NAME_BYTES} bytes: {show_name(name)}")
    path = name.removesuffix("/")
    if path.count("/") >= _MAX_PARTS:
        raise bad(f"has an entry whose name has more than {_MAX_PARTS} parts: {show_name(name)}")
    if name.startswith("/") or "\\" in name or ".." in path.split("/") or _DRIVE.match(name):
        raise bad(f"has an entry that leaves its folder: {show_name(name)}")
    if any(part in ("", ".") for part in path.split("/")):
        raise bad(f"has an entry whose name has an empty part, which installers spell differently: {show_name(name)}")
    if not (name.isascii() and name.isprintable()) and any(
        unicodedata.category(character).startswith(_UNPRINTABLE) for character in name
    ):
        raise bad(f"has an entry whose name has characters that cannot be printed: {show_name(name)}")


class MemberNames:
    """The members of one archive so far, no two of which may land in one place."""

    def __init__(self, bad: type[ValueError], *, folds_case: bool) -> None:
        """Begin an archive.

        Args:
            bad: raised, with a message that completes "it ...", where a rule is broken.
            folds_case: the archive may be unpacked where ``A.py`` and ``a.py`` are one file (Windows, macOS), and so are the
                composed and the decomposed form of a letter.
        """
        self._bad = bad
        self._folds_case = folds_case
        self._names: dict[str, str] = {}
        self._folders: set[str] = set()
        self._left_bytes = _MAX_NAMES_BYTES

    def add(self, name: str) -> None:
        """Add a member by its name, that of a folder with a slash at its end; ``bad`` if it cannot be."""
        check_name(name, self._bad)
        path = name.removesuffix("/")
        key = self._fold(path)
        taken = self._names.setdefault(key, name)
        if taken is not name:
            if taken == name:
                raise self._bad(f"has two entries named {show_name(name)}")
            difference = "by a slash" if taken.removesuffix("/") == path else "by case or by the form of a letter"
            raise self._bad(f"has two entries that differ only {difference}: {show_name(taken)} and {show_name(name)}")
        self._measure(key, name)
        if name.endswith("/"):
            self._folders.add(key)
        while (key := key.rpartition("/")[0]) and key not in self._folders:
            self._measure(key, name)
            self._folders.add(key)

    def check(self) -> None:
        """Check, when all are added, that nothing lies inside a file; or raise ``bad``."""
        for key, name in self._names.items():
            if key in self._folders and not name.endswith("/"):
                raise self._bad(f"has an entry that is a file, and the folder of others: {show_name(name)}")

    def _measure(self, key: str, name: str) -> None:
        """Count what a name or folder takes in memory; ``bad`` if it is too much."""
        self._left_bytes -= _NAME_OVERHEAD_BYTES + (len(key) if key.isascii() else 4 * len(key))
        if self._left_bytes < 0:
            raise self._bad(f"has longer names of entries and folders, all together, than any distribution: {show_name(name)}")

    def _fold(self, path: str) -> str:
        if not self._folds_case:
            return path
        return path.lower() if path.isascii() else unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())
