"""Digests by which locks know the settings that they were made for, written anew when the indexes in those settings are swapped.

Each is a digest of a part of the manifest, as its tool computes it. It is computed of the manifest as it was first: only if that
gives the digest that stands in the lock can the new one be told, so that a lock that was out of date stays out of date.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Callable, Iterator
from typing import Any

from wheelgate.rewrite.canonical_addresses import DIGEST, DIGEST_NAME, CanonicalAddresses, replace_canonical

MANIFESTS = {"poetry.lock": "pyproject.toml", "pdm.lock": "pyproject.toml", "Pipfile.lock": "Pipfile"}
"""Locks that hold a digest, and the file beside each that it is of."""


def swap_digest(lock_name: str, lock: str, before: str, after: str) -> str | None:
    """Swap a lock's digest of its manifest; ``None``: it is not the digest of the manifest as it was, or cannot be told."""
    match = DIGEST.search(lock)
    if match is None:
        return None
    digest = match["digest"] or match["inline"]
    try:
        old, new = tomllib.loads(before.removeprefix("\ufeff")), tomllib.loads(after.removeprefix("\ufeff"))
        for select in _SELECTIONS[lock_name]:
            if _compute(select(old), lock_name) == digest:
                group = "digest" if match["digest"] else "inline"
                return _keep(f"{lock[: match.start(group)]}{_compute(select(new), lock_name)}{lock[match.end(group) :]}", digest)
    except (tomllib.TOMLDecodeError, TypeError, AttributeError):  # dates, and tables that are none
        pass
    return None


def _keep(lock: str, digest: str) -> str:
    known = CanonicalAddresses.read(lock)
    known.registries.setdefault(DIGEST_NAME, digest)
    return replace_canonical(lock, known)


def _compute(content: object, lock_name: str) -> str:
    separators = (",", ":") if lock_name == "Pipfile.lock" else None
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=separators).encode()).hexdigest()


def _select_poetry(manifest: dict[str, Any], *, with_groups: bool) -> object:
    project = {key: manifest.get("project", {}).get(key) for key in ("requires-python", "dependencies", "optional-dependencies")}
    project = {key: value for key, value in project.items() if value is not None}
    groups = manifest.get("dependency-groups", {}) if with_groups else {}
    poetry = manifest.get("tool", {}).get("poetry", {})
    legacy = ("dependencies", "source", "extras", "dev-dependencies")
    content = {
        key: poetry.get(key)
        for key in (*legacy, "group")
        if poetry.get(key) is not None or (key in legacy and not project and not groups)
    }
    outer: dict[str, Any] = {"project": project} if project else {}
    outer |= {"dependency-groups": groups} if groups else {}
    return {**outer, "tool": {"poetry": content}} if outer else content


def _select_pdm(manifest: dict[str, Any]) -> object:
    project, settings = manifest.get("project", {}), manifest.get("tool", {}).get("pdm", {})
    return {
        "sources": settings.get("source", []),
        "dependencies": project.get("dependencies", []),
        "dev-dependencies": {**manifest.get("dependency-groups", {}), **settings.get("dev-dependencies", {})},
        "optional-dependencies": project.get("optional-dependencies", {}),
        "requires-python": project.get("requires-python", ""),
        "resolution": settings.get("resolution", {}),
    }


def _select_pipenv(manifest: dict[str, Any]) -> object:
    standing = ("source", "packages", "dev-packages", "requires", "scripts", "pipfile", "pipenv", "default", "develop")
    return {
        "_meta": {"sources": manifest.get("source", []), "requires": manifest.get("requires", {})},
        "default": manifest.get("packages", {}),
        "develop": manifest.get("dev-packages", {}),
        **{key: value for key, value in manifest.items() if key not in standing},
    }


_SELECTIONS: dict[str, tuple[Callable[[dict[str, Any]], object], ...]] = {
    "poetry.lock": (
        lambda manifest: _select_poetry(manifest, with_groups=True),
        lambda manifest: _select_poetry(manifest, with_groups=False),  # before poetry 2.3
    ),
    "pdm.lock": (_select_pdm,),
    "Pipfile.lock": (_select_pipenv,),
}


def list_locks(manifest_name: str) -> Iterator[str]:
    """The names of the locks that hold a digest of a manifest of this name."""
    yield from (lock for lock, manifest in MANIFESTS.items() if manifest == manifest_name)
