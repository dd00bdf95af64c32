"""Pages of realistic size, made on the spot: the same ones in every run."""

from __future__ import annotations

import hashlib
import random
from typing import Any

SMALL, LARGE, HUGE = 250, 4_400, 15_000
PYTHONS = ("cp310", "cp311", "cp312", "cp313", "cp314")
PLATFORMS = (
    "manylinux_2_17_x86_64.manylinux2014_x86_64",
    "manylinux_2_17_aarch64.manylinux2014_aarch64",
    "musllinux_1_2_x86_64",
    "macosx_11_0_arm64",
    "win_amd64",
)


def page(project: str, files: int, *, files_at: str) -> dict[str, Any]:
    """A PEP 691 page as a large public index gives it: 400 bytes a file for small projects, 600 for those with many wheels."""
    chance = random.Random(project)
    binary = files > 1_000
    entries, versions = [], []
    stem = project.replace("-", "_")
    while len(entries) < files:
        version = f"{len(versions) // 50 + 1}.{len(versions) // 10 % 5}.{len(versions) % 10}"
        versions.append(version)
        names = [f"{stem}-{version}.tar.gz"]
        if binary:
            names += [f"{stem}-{version}-{python}-{python}-{platform}.whl" for python in PYTHONS for platform in PLATFORMS]
        else:
            names += [f"{stem}-{version}-py3-none-any.whl"]
        entries += [_entry(name, chance, files_at, len(versions), binary=binary) for name in names]
    return {"meta": {"api-version": "1.1"}, "name": project, "versions": versions, "files": entries[:files]}


def _entry(name: str, chance: random.Random, files_at: str, age: int, *, binary: bool) -> dict[str, Any]:
    digest = hashlib.sha256(chance.randbytes(16)).hexdigest()
    entry: dict[str, Any] = {
        "filename": name,
        "url": f"{files_at}/{digest[:2]}/{digest[2:4]}/{digest[4:]}/{name}",
        "hashes": {"sha256": digest},
        "requires-python": ">=3.10",
        "size": chance.randrange(50_000, 20_000_000),
        "upload-time": f"20{10 + age % 14:02}-0{age % 9 + 1}-1{age % 10}T12:{age % 60:02}:00.{chance.randrange(10**6):06}Z",
        "yanked": False,
    }
    if name.endswith(".whl"):
        metadata = {"sha256": hashlib.sha256(chance.randbytes(16)).hexdigest()}
        entry["core-metadata"] = metadata
        if binary:
            entry["dist-info-metadata"] = metadata
    return entry
