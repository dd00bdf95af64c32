"""The check of an uploaded sdist: whole, its own, and unpacked alike by pip and uv (PEP 625)."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from concurrent.futures import Executor
from typing import IO

from packaging.utils import InvalidSdistFilename, canonicalize_name, parse_sdist_filename

from wheelgate.distfiles.core_metadata import MAX_METADATA_BYTES, STATED_ONCE, check_stated_once, parse_headers, read_identity
from wheelgate.distfiles.member_names import MemberNames, show_name
from wheelgate.distfiles.pyproject import MAX_PYPROJECT_BYTES, check_pyproject
from wheelgate.distfiles.tar_members import TarMember, TarStream, TarWalk, is_plain, stays_inside
from wheelgate.distfiles.zip_reading import MAX_INFLATED_BYTES, ZipReader
from wheelgate.runtime.bounded_gzip import PIECE_BYTES, BadGzip, BoundedGunzip

_FREE_BYTES = 64 * 1024 * 1024
_MAX_MEMBERS = 150_000
_MAX_LINKS = 5_000
_MAX_HOPS = 40
"""Beyond as many a system follows a chain of links no further."""
_BUILDS = ("pyproject.toml", "setup.py")


class BadSdist(ValueError):
    """An sdist that breaks a rule; the message completes "it ..."."""


def check_sdist(file: IO[bytes], filename: str, helpers: Executor | None = None) -> None:
    """Check a whole sdist by reading it once from end to end. ``helpers`` inflate parts of it, if it is a zip file.

    Raises:
        BadSdist: its message names the member and the rule that it breaks.
    """
    contents = _Contents(filename)
    if filename.lower().endswith(".zip"):
        archive = ZipReader(file, BadSdist)
        if not archive.entries:
            raise BadSdist("is empty")
        for entry in archive.entries:
            contents.add(TarMember(entry.name.removesuffix("/"), "folder" if entry.is_folder else "file", entry.size_bytes, ""))
        archive.check_contents(lambda _, __: None, helpers)
        contents.check_identity(archive.read(contents.pkg_info, MAX_METADATA_BYTES))
        check_pyproject(archive.read(contents.pyproject, MAX_PYPROJECT_BYTES), BadSdist)
    else:
        _check_tar(file, contents)


def _check_tar(file: IO[bytes], contents: _Contents) -> None:
    gunzip = BoundedGunzip("an sdist", free_bytes=_FREE_BYTES, max_bytes=MAX_INFLATED_BYTES)
    walk = TarWalk(TarStream(_inflate(file, gunzip)), BadSdist)
    read: dict[str, bytes] = {}
    try:
        for member in walk:
            contents.add(member)
            max_bytes = contents.limits.get(member.name) if member.kind == "file" else None
            if max_bytes is not None:
                if member.size_bytes > max_bytes:
                    raise BadSdist(f"has {show_name(member.name)} larger than {max_bytes // 1024} KiB")
                read[member.name] = walk.read()
    except BadGzip as error:
        raise BadSdist(str(error)) from None
    if gunzip.has_more or file.read(1):  # a second archive, which some readers would add to the first
        raise BadSdist("has trailing data after its end")
    contents.check_identity(read.get(contents.pkg_info))
    linked = contents.find_linked(contents.pyproject)
    check_pyproject(read.get(contents.pyproject) if linked is None else _read_again(file, linked), BadSdist)


def _read_again(file: IO[bytes], name: str) -> bytes | None:
    """Read a pyproject.toml that has another name, which was not known when it was passed."""
    file.seek(0)
    gunzip = BoundedGunzip("an sdist", free_bytes=_FREE_BYTES, max_bytes=MAX_INFLATED_BYTES)
    walk = TarWalk(TarStream(_inflate(file, gunzip)), BadSdist)
    member = next(member for member in walk if member.name == name)
    if member.size_bytes > MAX_PYPROJECT_BYTES:
        raise BadSdist(f"has a pyproject.toml larger than {MAX_PYPROJECT_BYTES // 1024} KiB")
    return walk.read()


def _inflate(file: IO[bytes], gunzip: BoundedGunzip) -> Iterator[bytes]:
    while not gunzip.is_whole:
        chunk = file.read(PIECE_BYTES)
        if not chunk:
            raise BadGzip("is not a whole gzip file")
        yield from gunzip.feed(chunk)


class _Contents:
    """The members of an sdist so far."""

    def __init__(self, filename: str) -> None:
        try:
            self._project, self._version = parse_sdist_filename(filename)
        except InvalidSdistFilename:
            raise BadSdist("has a name that no installer reads") from None
        self._top = ""
        self._names = MemberNames(BadSdist, folds_case=False)
        self._kinds: dict[str, str] = {}
        self._links: dict[str, str] = {}
        self._hard_links: dict[str, str] = {}
        self._members = 0

    @property
    def pkg_info(self) -> str:
        """The name that PKG-INFO has in it."""
        return f"{self._top}/PKG-INFO"

    @property
    def pyproject(self) -> str:
        """The name that pyproject.toml has in it."""
        return f"{self._top}/pyproject.toml"

    @property
    def limits(self) -> dict[str, int]:
        """The members that are looked into, and how many bytes each may have."""
        return {self.pkg_info: MAX_METADATA_BYTES, self.pyproject: MAX_PYPROJECT_BYTES}

    def add(self, member: TarMember) -> None:
        """Add a member, or raise :class:`BadSdist`."""
        self._members += 1
        if self._members > _MAX_MEMBERS:
            raise BadSdist(f"has more than {_MAX_MEMBERS} members")
        known = self._kinds.get(member.name)
        if known == "folder" and known == member.kind:
            return
        self._names.add(f"{member.name}/" if member.kind == "folder" else member.name)
        if not is_plain(member.name):
            raise BadSdist(
                f"has a member whose name has a colon, or a blank at an end, which uv refuses: {show_name(member.name)}"
            )
        self._check_top(member)
        folder = member.name
        while folder := folder.rpartition("/")[0]:
            if self._kinds.get(folder) == "symlink":
                raise BadSdist(f"has a member that lies behind a link: {show_name(member.name)}")
        if member.kind == "symlink":
            self._add_symbolic_link(member)
        elif member.kind == "hardlink":
            if self._kinds.get(member.target) != "file":
                raise BadSdist(f"has a hard link to no file before it: {show_name(member.name)}")
            self._hard_links[member.name] = member.target
        self._kinds[member.name] = member.kind

    def _add_symbolic_link(self, member: TarMember) -> None:
        if not stays_inside(member, self._top):
            raise BadSdist(f"has a link that leads out of its top folder, or up again on its way: {show_name(member.name)}")
        self._links[member.name] = posixpath.normpath(posixpath.join(posixpath.dirname(member.name), member.target))
        if len(self._links) > _MAX_LINKS:
            raise BadSdist(f"has more than {_MAX_LINKS} symbolic links")

    def _check_top(self, member: TarMember) -> None:
        top, _, inside = member.name.partition("/")
        if not self._top:
            if canonicalize_name(top.rpartition("-")[0]) != self._project:
                raise BadSdist(f"is named for {self._project}, but holds the folder {show_name(top)}")
            self._top = top
        if top != self._top or (not inside and member.kind != "folder"):
            raise BadSdist(f"has a member outside of its top folder {show_name(self._top)}: {show_name(member.name)}")

    def check_identity(self, pkg_info: bytes | None) -> None:
        """Check, when all members are added, that it is the sdist that it is named, and can be built."""
        self._names.check()
        if pkg_info is None:
            raise BadSdist(f"has no PKG-INFO in its top folder {show_name(self._top)}")
        headers = parse_headers(pkg_info, "PKG-INFO", BadSdist)
        read_identity(headers, "PKG-INFO", self._project, self._version, BadSdist)
        check_stated_once(headers, "PKG-INFO", STATED_ONCE, BadSdist)
        for name in self._links:
            if self._follow(name) is None:
                raise BadSdist(
                    f"has a link that leads round in a circle, or along more than {_MAX_HOPS} links: {show_name(name)}"
                )
        if not any(self._kinds.get(self._follow(f"{self._top}/{name}") or "") in ("file", "hardlink") for name in _BUILDS):
            raise BadSdist("has neither a pyproject.toml nor a setup.py in its top folder, so that nothing can build it")

    def find_linked(self, name: str) -> str | None:
        """Find the file that a name of a link stands for; ``None``: it is none, or of no file."""
        place = self._follow(name) or ""
        place = self._hard_links.get(place, place)
        return place if place != name and self._kinds.get(place) == "file" else None

    def _follow(self, name: str) -> str | None:
        """Follow symbolic links from a name to a member that is none; ``None``: they go round in a circle, or on and on."""
        for _ in range(_MAX_HOPS + 1):
            end = name.find("/")
            while end > 0 and name[:end] not in self._links:
                end = name.find("/", end + 1)
            link = name[:end] if end > 0 else name
            if link not in self._links:
                return name
            name = self._links[link] + name[len(link) :]
        return None
