"""The wheel of the Wheelgate that runs, packed again from the files that it was installed as."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shlex
import zipfile
from importlib.metadata import Distribution, PackagePath
from pathlib import Path
from urllib.parse import unquote, urlsplit

from wheelgate.core.errors import UploadRefused

_NAME = "wheelgate"
_OF_THE_INSTALLER = frozenset({"INSTALLER", "RECORD", "REQUESTED", "direct_url.json", "uv_cache.json"})
"""In ``.dist-info``: what an installer adds to a wheel."""
_SCRIPTS = ("bin", "Scripts")
"""Where an installer puts those it makes, if it was given one folder for everything."""
_EARLIEST = (1980, 1, 1, 0, 0, 0)


def pack_own_wheel(folder: Path, distribution: Distribution | None = None) -> Path:
    """Pack the installed distribution (``None``: this one) into a wheel in ``folder``, and return its path.

    A version has the same bytes wherever and however it was installed, so that it can be added again.

    Raises:
        UploadRefused: it is not installed as a wheel, or was changed since.
    """
    distribution = distribution or Distribution.from_name(_NAME)
    name, version = distribution.metadata["Name"], distribution.version
    _check_copied(distribution, f"{name}-{version}-py3-none-any.whl")
    kept = [file for file in distribution.files or () if _is_of_wheel(file)]
    info = next((file.parts[0] for file in kept if file.parts[0].endswith(".dist-info") and file.name == "WHEEL"), None)
    if info is None:
        raise UploadRefused(
            f"{name} {version} cannot be packed: its installer left no list of its files; install it with pip or uv"
        )
    contents = {file.as_posix(): _read(distribution, file) for file in kept}
    tags = [line.partition(":")[2].strip() for line in contents[f"{info}/WHEEL"].decode().splitlines() if line.startswith("Tag:")]
    if len(tags) != 1:
        raise UploadRefused(f"{name} {version} cannot be packed: it was built for {', '.join(tags) or 'nothing'}")
    packed = folder / f"{info.removesuffix('.dist-info')}-{tags[0]}.whl"
    _write(packed, contents, info)
    return packed


def _check_copied(distribution: Distribution, filename: str) -> None:
    """Refuse a distribution that is run from its source folder: what is installed of it is a reference to that."""
    try:
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
        is_editable, url = bool(origin.get("dir_info", {}).get("editable")), str(origin.get("url", ""))
    except (ValueError, AttributeError):
        return
    if is_editable:
        source = unquote(urlsplit(url).path)
        raise UploadRefused(
            f"this Wheelgate is installed editable and runs from {source}, so there is no wheel of it: build one with "
            f"`pip wheel --no-deps -w dist {shlex.quote(source)}`, and add that with `wheelgate wheel add dist/{filename}`"
        )


def _is_of_wheel(file: PackagePath) -> bool:
    """True for a file that was in the wheel: not a script that its installer made, nor bytecode."""
    if file.is_absolute() or ".." in file.parts or "__pycache__" in file.parts or file.parts[0] in _SCRIPTS:
        return False
    return not (file.parts[0].endswith(".dist-info") and file.name in _OF_THE_INSTALLER)


def _read(distribution: Distribution, file: PackagePath) -> bytes:
    try:
        content = Path(str(distribution.locate_file(file))).read_bytes()
    except OSError:
        content = None
    if content is None or (file.hash is not None and file.hash.value != _digest(content)):
        raise UploadRefused(f"{file} is not as it was installed: install Wheelgate again, and then add it")
    return content


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _write(packed: Path, contents: dict[str, bytes], info: str) -> None:
    names = sorted(contents, key=lambda name: (name.startswith(f"{info}/"), name))
    record = io.StringIO()
    for name in names:
        record.write(f"{name},sha256={_digest(contents[name])},{len(contents[name])}\n")
    record.write(f"{info}/RECORD,,\n")
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:  # deflate is not the same everywhere
        for name in (*names, f"{info}/RECORD"):
            entry = zipfile.ZipInfo(name, _EARLIEST)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            archive.writestr(entry, contents.get(name, record.getvalue().encode()))
