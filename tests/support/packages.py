"""Wheels and sdists made on the spot, small and valid unless a test wants otherwise."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path


def metadata(name: str, version: str, *, requires: Sequence[str] = (), requires_python: str | None = None) -> bytes:
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", "Summary: made for a test"]
    if requires_python:
        lines.append(f"Requires-Python: {requires_python}")
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    return ("\n".join(lines) + "\n\nA description.\n").encode()


def wheel_bytes(
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    requires_python: str | None = None,
    padding: int = 0,
    extra: Mapping[str, bytes] | None = None,
    metadata_body: bytes | None = None,
    without: Sequence[str] = (),
) -> bytes:
    """A pure wheel whose one module says its version. ``padding``: incompressible bytes to make it larger."""
    module = name.replace("-", "_").replace(".", "_")
    info = f"{module}-{version}.dist-info"
    body = metadata(name, version, requires=requires, requires_python=requires_python)
    files = {
        f"{module}.py": f'__version__ = "{version}"\n'.encode(),
        f"{info}/METADATA": metadata_body if metadata_body is not None else body,
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **(extra or {}),
    }
    if padding:
        files[f"{module}_padding.bin"] = hashlib.shake_128(f"{name}{version}".encode()).digest(padding)
    record = "".join(f"{path},sha256={_record_digest(content)},{len(content)}\n" for path, content in files.items())
    files[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path, content in files.items():
            if path.rpartition("/")[2] in without:
                continue
            archive.writestr(zipfile.ZipInfo(path, (2026, 1, 1, 0, 0, 0)), content)
    return buffer.getvalue()


def wheel_name(name: str, version: str) -> str:
    return f"{name.replace('-', '_')}-{version}-py3-none-any.whl"


def make_wheel(folder: Path, name: str, version: str, **options: object) -> Path:
    path = folder / wheel_name(name, version)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(wheel_bytes(name, version, **options))  # type: ignore[arg-type]
    return path


def sdist_bytes(name: str, version: str) -> bytes:
    top = f"{name.replace('-', '_')}-{version}"
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as archive:
        files = {
            "PKG-INFO": metadata(name, version),
            "pyproject.toml": b'[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n',
            "setup.cfg": f"[metadata]\nname = {name}\nversion = {version}\n".encode(),
        }
        for path, content in files.items():
            entry = tarfile.TarInfo(f"{top}/{path}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def build_backend(name: str, version: str) -> bytes:
    """A wheel named setuptools with just enough of a build backend to tell uv about ``name``'s metadata, and to build it."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    backend = f"""
import os, zipfile
METADATA = "Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n"
def get_requires_for_build_wheel(config_settings=None):
    return []
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    os.mkdir(os.path.join(folder, "{info}"))
    with open(os.path.join(folder, "{info}", "METADATA"), "w") as file:
        file.write(METADATA)
    return "{info}"
def build_wheel(folder, config_settings=None, metadata_directory=None):
    with zipfile.ZipFile(os.path.join(folder, "{module}-{version}-py3-none-any.whl"), "w") as wheel:
        wheel.writestr("{module}.py", "built = True")
        wheel.writestr("{info}/METADATA", METADATA)
        wheel.writestr("{info}/WHEEL", "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("{info}/RECORD", "")
    return "{module}-{version}-py3-none-any.whl"
"""
    return wheel_bytes("setuptools", "80.0", extra={"setuptools/__init__.py": b"", "setuptools/build_meta.py": backend.encode()})


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _record_digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


ODD_NAMES = [
    ("acme-odd", "1!2.0rc1.post4.dev5+cpu.1_x", ""),
    ("acme-odd", "1.0+cpu.1", "1"),
    ("acme-odd", "2.0a0", "20260101_build.7Z"),
    ("Acme.Odd_Tool", "0!3", "0"),
    ("a", "1.0+0abc.def.9", ""),
    ("z9-8y", "2026.1.1.post20+ABC", "7a"),
]
"""Name, version and build tag of wheels: between them, every character that these may have."""


def odd_wheel(folder: Path, name: str, version: str, build: str) -> Path:
    """A wheel of one of :data:`ODD_NAMES`, named as it is written there."""
    module = name.replace("-", "_")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "-".join(filter(None, [module, version, build, "py3-none-any.whl"]))
    path.write_bytes(wheel_bytes(name, version))
    return path
