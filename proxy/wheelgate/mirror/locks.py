"""Lock files: ``pylock.toml`` (PEP 751) and ``uv.lock``. What they pin is taken as it stands, by file name and digest."""

from __future__ import annotations

import tomllib
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
from packaging.markers import InvalidMarker, Marker
from packaging.pylock import (
    PackageSdist,
    PackageWheel,
    Pylock,
    PylockSelectError,
    PylockUnsupportedVersionError,
    PylockValidationError,
)

from wheelgate.core.errors import BadInput
from wheelgate.core.names import normalise_name
from wheelgate.distfiles.requirements_file import read_text
from wheelgate.mirror.inputs_model import LockFile, NeededRelease, format_hashes
from wheelgate.mirror.targets import Target, find_best_wheel

_UV_LOCK_VERSION = 1


def read_pylock(path: Path) -> LockFile:
    """Read a ``pylock.toml`` (PEP 751), with every extra and group; :class:`BadInput` if it is none, or of another version."""
    try:
        lock = Pylock.from_dict(_read_toml(path))
    except PylockUnsupportedVersionError as error:
        raise BadInput(f"{path}: is a lock of a version that is not supported: {error}; 1.0 is") from None
    except PylockValidationError as error:
        raise BadInput(f"{path}: is not a valid pylock.toml: {error}") from None
    groups = lock.dependency_groups or lock.default_groups or ()

    def select(target: Target) -> list[NeededRelease]:
        found = []
        try:
            for package, file in lock.select(
                environment=target.environment, tags=target.tags, extras=lock.extras or (), dependency_groups=groups
            ):
                if not isinstance(file, PackageWheel | PackageSdist):
                    raise _not_listed(path, package.name)
                hashes = format_hashes(file.hashes)
                found.append(NeededRelease(package.name, str(package.version), file.filename, hashes, str(path)))
        except PylockSelectError as error:
            raise BadInput(f"{path}: has nothing for {target}: {error}") from None
        except (ValueError, LookupError):
            raise BadInput(f"{path}: has a marker that compares what cannot be compared") from None
        return found

    return select


def read_uv_lock(path: Path) -> LockFile:
    """Read a ``uv.lock``: what the workspace's projects need, with their extras and groups; :class:`BadInput` as above."""
    document = _read_toml(path)
    version = document.get("version")
    if version != _UV_LOCK_VERSION:
        raise BadInput(f"{path}: is a lock of version {version!r}, which is not supported; {_UV_LOCK_VERSION} is")
    try:
        packages = msgspec.convert(document.get("package", []), list[_UvPackage])
    except msgspec.ValidationError as error:
        raise BadInput(f"{path}: is not a valid uv.lock: {error}") from None
    return _UvLock(path, packages).select


def _not_listed(path: Path, name: str) -> BadInput:
    return BadInput(f"{path}: {name} is locked to a repository, folder or URL, which no index lists")


class _UvFile(msgspec.Struct):
    url: str | None = None
    path: str | None = None
    filename: str | None = None
    hash: str | None = None

    @property
    def name(self) -> str:
        try:
            place = self.filename or self.path or unquote(urlsplit(self.url or "").path)
        except ValueError:  # no URL: then it is not the name of a file that fits, either
            return ""
        return PurePosixPath(place).name


class _UvDependency(msgspec.Struct):
    name: str
    version: str | None = None
    marker: str | None = None
    extra: list[str] = []


class _UvPackage(msgspec.Struct, rename="kebab"):
    name: str
    source: dict[str, Any]
    version: str | None = None
    resolution_markers: list[str] = []
    dependencies: list[_UvDependency] = []
    optional_dependencies: dict[str, list[_UvDependency]] = {}
    dev_dependencies: dict[str, list[_UvDependency]] = {}
    sdist: _UvFile | None = None
    wheels: list[_UvFile] = []

    @property
    def is_project(self) -> bool:
        """Is one of the projects that were locked, rather than something they depend on."""
        return bool(self.source.keys() & {"virtual", "editable", "directory"})


class _UvLock(msgspec.Struct):
    path: Path
    packages: list[_UvPackage]

    def select(self, target: Target) -> list[NeededRelease]:
        found = []
        for package in self._walk(target):
            if "registry" not in package.source:
                raise _not_listed(self.path, package.name)
            best = find_best_wheel((file.name for file in package.wheels), target)
            file = next((file for file in package.wheels if file.name == best), package.sdist)
            if file is None:
                raise BadInput(f"{self.path}: has no file of {package.name} {package.version} for {target}")
            algorithm, _, digest = (file.hash or "").partition(":")
            project, hashes = normalise_name(package.name) or package.name, format_hashes({algorithm: digest} if digest else {})
            found.append(NeededRelease(project, package.version or "", file.name, hashes, str(self.path)))
        return found

    def _walk(self, target: Target) -> Iterator[_UvPackage]:
        """Walk through what the projects need there, directly or not."""
        projects = [package for package in self.packages if package.is_project]
        if not projects:
            yield from (package for package in self.packages if self._any_holds(package.resolution_markers, target))
            return
        seen: set[tuple[str, str | None, str]] = set()
        waiting = deque((package, extra) for package in projects for extra in ("", *package.optional_dependencies))
        while waiting:
            package, extra = waiting.popleft()
            if (package.name, package.version, extra) in seen:
                continue
            seen.add((package.name, package.version, extra))
            if not extra and not package.is_project:
                yield package
            wanted = package.optional_dependencies.get(extra, []) if extra else package.dependencies
            groups = package.dev_dependencies.values() if package.is_project and not extra else ()
            for dependency in (*wanted, *(entry for group in groups for entry in group)):
                if self._holds(dependency.marker, target):
                    waiting += (
                        (needed, name) for needed in self._find_packages(dependency, target) for name in ("", *dependency.extra)
                    )

    def _find_packages(self, dependency: _UvDependency, target: Target) -> list[_UvPackage]:
        found = [
            package
            for package in self.packages
            if package.name == dependency.name
            and dependency.version in (None, package.version)
            and (dependency.version is not None or self._any_holds(package.resolution_markers, target))
        ]
        if not found:
            raise BadInput(f"{self.path}: is incomplete: {dependency.name} is needed, and not locked")
        return found

    def _any_holds(self, markers: list[str], target: Target) -> bool:
        return not markers or any(self._holds(marker, target) for marker in markers)

    def _holds(self, marker: str | None, target: Target) -> bool:
        if marker is None or "extra" in marker:  # conflicting extras are told apart so: all of them are wanted
            return True
        try:
            return target.meets(Marker(marker), str(self.path))
        except InvalidMarker:
            raise BadInput(f"{self.path}: {marker[:200]!r} is not a marker") from None


def _read_toml(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(read_text(path).removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:  # ValueError itself: a number of thousands of digits
        raise BadInput(f"{path}: is not valid TOML: {error}") from None
