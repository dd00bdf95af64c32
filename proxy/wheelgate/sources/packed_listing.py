"""Packed listing: the distribution files of a container or a folder, by project, in some forty bytes each.

The files stand in the order in which they were listed, a few dozen to a block, and each block is compressed by columns. A block
ends where the digest of a path says so, not after a number of files: so what one file changes is one block, and a listing that is
made after another shares all blocks that are the same. An index of numbers says in which blocks a project has files.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated
from zlib import crc32

import msgspec
from isal import isal_zlib

from wheelgate.core.belonging import explain_nobodys, find_obstacle, normalise_head, read_belonging
from wheelgate.core.inflation import inflate
from wheelgate.core.names import is_listable, is_normalised
from wheelgate.core.protocols import BlobInfo
from wheelgate.runtime.cooperative import Steps

_LEAST, _MOST = 32, 256
"""Files of a block: fewer take more room, more take longer to unpack for one of them."""
_CUT = 0x3F
"""One path in 64 ends a block that has the least already."""
_BLOCK_BYTES = _MOST * 64 * 1024
_COMPARED = 64
"""Changed blocks that are compared file by file; with more, everything counts as changed."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER = re.compile(r"0x[1-9A-F][0-9A-F]{0,14}")
_SEPARATORS = re.compile(r"[-_.]+")
_WORD = r"[A-Za-z0-9]+(?:[._][A-Za-z0-9]+)*"
_PLAIN = rf"({_WORD})-[0-9]+(?:\.[0-9]+)*(?:(?:a|b|rc|\.post|\.dev)[0-9]+)?"
# Names that are read in one way alone, and that installers take.
_PLAIN_WHEEL = re.compile(rf"{_PLAIN}(?:-[0-9]+(?:[._][A-Za-z0-9]+)*)?(?:-{_WORD}){{3}}\.whl", re.ASCII)
_PLAIN_SDIST = re.compile(rf"{_PLAIN}\.(?:tar\.gz|zip)", re.ASCII)
_PLAIN_CHARACTERS = 250
FOLDER_END = "/"
"""Ending of the path of a folder that is listed for itself: nobody looked into it."""
_A_COLUMN = msgspec.Meta(max_length=_MOST)


class _Columns(msgspec.Struct, array_like=True):
    paths: Annotated[list[str], _A_COLUMN]
    sizes: Annotated[list[Annotated[int, msgspec.Meta(ge=0)]], _A_COLUMN]
    etags: Annotated[list[int | str], _A_COLUMN]
    """The service's are numbers, which take half the room of their digits."""
    seconds: Annotated[list[int], _A_COLUMN]
    """Of the times, since 1970."""
    microseconds: Annotated[dict[int, int], _A_COLUMN]
    """Of the times that have some, by the file's number."""
    has_digest: bytes
    """1 for a file whose fact ``sha256`` is among the digests, else 0."""
    facts: Annotated[dict[int, dict[str, str]], _A_COLUMN]
    """The other facts, by the file's number; most have none."""
    damages: Annotated[dict[int, str], _A_COLUMN]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Columns).decode


class Block(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Files that follow one another, packed."""

    files: bytes
    digests: bytes
    """32 bytes each, which nothing makes fewer."""
    keys: bytes
    """Of their projects, four bytes each."""
    count: int

    def unpack(self) -> Iterator[BlobInfo]:
        """The files. Raises ValueError if they are damaged."""
        try:
            columns = _decode(inflate(self.files, _BLOCK_BYTES))
            rows = zip(columns.paths, columns.sizes, columns.etags, columns.seconds, columns.has_digest, strict=True)
            start = 0
            for number, (path, size, etag, seconds, has_digest) in enumerate(rows):
                facts = columns.facts.get(number, {})
                if has_digest:
                    facts["sha256"] = self.digests[start : start + 32].hex()
                    start += 32
                moment = _EPOCH + timedelta(0, seconds, columns.microseconds.get(number, 0))
                yield BlobInfo(
                    path, size, f"0x{etag:X}" if isinstance(etag, int) else etag, moment, facts, columns.damages.get(number)
                )
        except (msgspec.MsgspecError, OverflowError, UnicodeDecodeError) as error:
            raise ValueError(f"a block of a listing is damaged: {error}") from None


def _pack(files: Sequence[BlobInfo]) -> tuple[bytes, bytes]:
    columns = _Columns([], [], [], [], {}, b"", {}, {})
    digests = []
    for number, file in enumerate(files):
        columns.paths.append(file.path)
        columns.sizes.append(file.size)
        columns.etags.append(int(file.etag, 16) if _NUMBER.fullmatch(file.etag) else file.etag)
        since = file.created - _EPOCH
        columns.seconds.append(since.days * 86_400 + since.seconds)
        if since.microseconds:
            columns.microseconds[number] = since.microseconds
        facts = dict(file.facts)
        digests.append(_take_digest(facts))
        if facts:
            columns.facts[number] = facts
        if file.damage is not None:
            columns.damages[number] = file.damage
    columns.has_digest = bytes(map(bool, digests))
    return isal_zlib.compress(_encode(columns), level=2), b"".join(digests)


def _take_digest(facts: dict[str, str]) -> bytes:
    """Take the digest out of the facts, in half the room; empty if it would not come back as it is."""
    stated = facts.get("sha256", "")
    try:
        digest = bytes.fromhex(stated)
    except ValueError:
        return b""
    if len(digest) != 32 or digest.hex() != stated:
        return b""
    del facts["sha256"]
    return digest


class PackedListing:
    """A listing that is complete. Frozen; safe to be read while a later one is being made."""

    def __init__(self, blocks: Sequence[Block], index: _Index, *, by_folder: bool = False) -> None:
        """``by_folder``: see :func:`find_projects`."""
        self.blocks = blocks
        self._index = index
        self._by_folder = by_folder
        self.count = sum(block.count for block in blocks)
        """Files that look like distributions."""

    def find(self, project: str) -> list[BlobInfo]:
        """The files of a project, whether or not they can be offered, in a tenth of a millisecond for each block.

        In the order in which they were listed.

        Raises:
            ValueError: the listing is damaged.
        """
        return [
            file
            for number in self._index.find(_key(project))
            for file in self.blocks[number].unpack()
            if (self._by_folder or _may_begin_with(project, file.path))
            and project in find_projects(file.path, by_folder=self._by_folder)
        ]

    def names(self) -> Iterator[set[str]]:
        """All projects, block by block; one may be in several."""
        return map(self._projects_of, self.blocks)

    def sample(self, most: int) -> list[str]:
        """Some of the projects."""
        found: dict[str, None] = {}
        for block in self.blocks:
            if block.keys:
                found |= dict.fromkeys(self._projects_of(block))
            if len(found) >= most:
                break
        return list(found)[:most]

    def files(self) -> Iterator[list[BlobInfo]]:
        """All files, block by block."""
        return (list(block.unpack()) for block in self.blocks)

    def find_obstacle(self, path: str) -> str | None:
        """Find why a file cannot be offered, in words that may follow a colon; ``None``: it can, or may be no distribution."""
        filename = path.rpartition("/")[2]
        if not self._by_folder and _read_plain(filename) is not None:
            return None
        projects = find_projects(path, by_folder=self._by_folder)
        if projects:
            return find_obstacle(filename, projects[0])
        return None if self._by_folder else explain_nobodys(filename)

    def _projects_of(self, block: Block) -> set[str]:
        return {project for file in block.unpack() for project in find_projects(file.path, by_folder=self._by_folder)}


def find_projects(path: str, *, by_folder: bool) -> tuple[str, ...]:
    """Find whose a file is: by its name, or by the folder that it lies in, which then is named for the project."""
    folder, _, filename = path.rpartition("/")
    if by_folder:
        return (folder,) if is_normalised(folder) and (is_listable(filename) or not filename) else ()
    return read_belonging(filename).projects


def _may_begin_with(project: str, path: str) -> bool:
    return _SEPARATORS.sub("-", path.rpartition("/")[2]).lower().startswith(project)


class ListingBuilder:
    """A listing in the making: files are added as they are listed, and blocks that an earlier listing has are shared."""

    def __init__(self, earlier: PackedListing | None = None, *, by_folder: bool = False) -> None:
        """``earlier``: of the same place. ``by_folder``: see :func:`find_projects`."""
        self._earlier = earlier
        self._by_folder = by_folder
        self._known = {(block.files, block.digests): block for block in (earlier.blocks if earlier is not None else ())}
        self._open: list[BlobInfo] = []
        self._blocks: list[Block] = []
        self._fresh: list[Block] = []
        self._changed: set[str] | None = None

    def add(self, file: BlobInfo) -> None:
        """Add the next file; whatever does not look like what a page lists is left out. At most about a millisecond."""
        is_folder = file.damage is not None and file.path.endswith(FOLDER_END)
        if not is_folder and not is_listable(file.path.rpartition("/")[2]):
            return
        self._open.append(file)
        count = len(self._open)
        if count >= _MOST or (count >= _LEAST and not crc32(file.path.encode()) & _CUT):
            self._close_block()

    def _close_block(self) -> None:
        files, self._open = self._open, []
        packed = _pack(files)
        block = self._known.pop(packed, None)
        if block is None:
            keys = {key for file in files for key in find_keys(file.path, by_folder=self._by_folder)}
            block = Block(*packed, array("I", sorted(keys)).tobytes(), len(files))
            self._fresh.append(block)
        self._blocks.append(block)

    def finish(self) -> Steps[PackedListing]:
        """Make the listing of everything that was added."""
        if self._open:
            self._close_block()
        yield
        listing = yield from assemble(self._blocks, by_folder=self._by_folder)
        if self._earlier is not None and len(self._fresh) + len(self._known) <= _COMPARED:
            self._changed = set()
            before = dict(_files_of(self._known.values()))
            after = dict(_files_of(self._fresh))
            yield
            for path in before.keys() | after.keys():
                if before.get(path) != after.get(path):
                    self._changed.update(find_projects(path, by_folder=self._by_folder))
        self._known.clear()
        return listing

    @property
    def changed(self) -> frozenset[str] | None:
        """The projects whose files are others than in the earlier listing; ``None``: all may be."""
        return None if self._changed is None else frozenset(self._changed)


def _files_of(blocks: Iterable[Block]) -> Iterator[tuple[str, BlobInfo]]:
    return ((file.path, file) for block in blocks for file in block.unpack())


def assemble(blocks: Sequence[Block], *, by_folder: bool = False) -> Steps[PackedListing]:
    """Make a listing of its blocks. ``by_folder``: see :func:`find_projects`."""
    index = _Index()
    for number, block in enumerate(blocks):
        index.add(number, block.keys)
        yield
    yield from index.sort()
    return PackedListing(tuple(blocks), index, by_folder=by_folder)


def _key(project: str) -> int:
    """The key of a project: the same in every process. Names that collide cost a look into one more block."""
    return crc32(project.encode())


def find_keys(path: str, *, by_folder: bool = False) -> Sequence[int]:
    """Find the keys under which a file is looked for: those of its projects.

    Of nearly every name in a tenth of the time that it takes to read it whole.
    """
    # Keys are kept in the store and taken over by later releases: whoever changes a result raises the version of kept listings.
    if by_folder:
        return [_key(project) for project in find_projects(path, by_folder=True)]
    filename = path.rpartition("/")[2]
    project = _read_plain(filename)
    return [_key(project) for project in (read_belonging(filename).projects if project is None else (project,))]


def _read_plain(filename: str) -> str | None:
    """Read the one project of a file that installers take, from a name that cannot be read otherwise; ``None``: read it whole."""
    plain = None
    if len(filename) <= _PLAIN_CHARACTERS:
        plain = _PLAIN_WHEEL.fullmatch(filename) or _PLAIN_SDIST.fullmatch(filename)
    return None if plain is None else normalise_head(plain[1])


class _Index:
    """In which blocks a project has files: numbers of 64 bits, the key before the block, sorted in 256 parts."""

    def __init__(self) -> None:
        self._parts = [array("Q") for _ in range(256)]

    def add(self, number: int, keys: bytes) -> None:
        for key in array("I", keys):
            self._parts[key >> 24].append(key << 32 | number)

    def sort(self) -> Steps[None]:
        for place, part in enumerate(self._parts):
            self._parts[place] = array("Q", sorted(part))
            yield

    def find(self, key: int) -> Iterator[int]:
        part = self._parts[key >> 24]
        for at in range(bisect_left(part, key << 32), len(part)):
            if part[at] >> 32 != key:
                return
            yield part[at] & 0xFFFFFFFF
