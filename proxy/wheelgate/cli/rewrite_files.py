"""The files that `rewrite` is given: found in folders, read in their encodings, replaced in place or not at all."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from wheelgate.core.errors import BadInput
from wheelgate.distfiles.text_files import TextFile
from wheelgate.rewrite.formats import is_known_name

_PASSED_OVER = {
    ".git",
    ".hg",
    ".svn",
    ".venv",
    "venv",
    ".tox",
    ".nox",
    "node_modules",
    "site-packages",
    "__pycache__",
    ".mypy_cache",
}
_REQUIREMENTS = re.compile(r".*(?:require|constrain|depend|deps|pip).*|dev|test|prod|base|docs|main|lint", re.IGNORECASE)


def find_files(arguments: Iterable[Path]) -> tuple[dict[Path, bool], int]:
    """Find the files that arguments name, in order: whether one was found in a folder, and how many others lie in the folders.

    No link is followed below a folder.
    """
    found: dict[Path, bool] = {}
    others = 0
    for argument in arguments:
        if not argument.is_dir():
            found[argument] = False
            continue
        for path in _walk(argument):
            if _is_meant(path):
                found.setdefault(path, True)
            else:
                others += 1
    return found, others


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - _PASSED_OVER)
        yield from (Path(parent, name) for name in sorted(names))


def _is_meant(path: Path) -> bool:
    if path.is_symlink() or not is_known_name(path.name):
        return False
    is_list = path.suffix.lower() in (".txt", ".in")
    return not is_list or bool(_REQUIREMENTS.fullmatch(path.stem) or _REQUIREMENTS.fullmatch(path.parent.name))


def refuse_links(paths: Iterable[Path]) -> None:
    """Raise :class:`BadInput` if one is a link: what it leads to may be anybody's."""
    for path in paths:
        if path.is_symlink():
            raise BadInput(f"{path}: is a link, and nothing is written through one: name the file that it leads to")


def write_files(texts: Mapping[Path, str], files: Mapping[Path, TextFile]) -> None:
    """Write the new texts in place of the old, with their permissions: all of them are on disk before the first is moved.

    Raises:
        BadInput: a file or its folder cannot be written.
    """
    staged: list[tuple[Path, Path]] = []
    path = Path()
    try:
        for path, text in texts.items():
            with tempfile.NamedTemporaryFile("wb", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
                staged.append((Path(file.name), path))
                file.write(files[path].encode(text))
                file.flush()
                os.fsync(file.fileno())
            shutil.copymode(path, file.name)
        for temporary, target in staged:
            path = target
            temporary.replace(target)
    except OSError as error:
        raise BadInput(f"{path}: cannot be written: {(error.strerror or 'unknown').lower()}") from None
    except UnicodeEncodeError:
        raise BadInput(f"{path}: cannot be written in the encoding {files[path].encoding}: save it as UTF-8") from None
    finally:
        for temporary, _ in staged:
            temporary.unlink(missing_ok=True)
