"""The one reader of the security rules for a page's entries: file names, links, digests and the other fields."""

from __future__ import annotations

import re
from binascii import unhexlify
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from wheelgate.core.model import File, ProjectStatus, RemoteFile
from wheelgate.core.names import Membership, is_safe_filename, same_version_key, version_of
from wheelgate.core.urls import PageLinks

MAX_FILES = 200_000
_MAX_UNUSABLE = 5_000
"""Of entries that are none: judging one takes ten times as long as reading a good one."""

_DIGEST_BYTES = {"md5": 16, "sha256": 32, "sha384": 48, "sha512": 64}
_HEX = b"0123456789abcdef"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_PROVENANCE = re.compile(r"https://[!#-&(-;=?-\[\]-_a-~]*")  # printable ASCII without quotes, backslash and angle brackets
_MAX_TEXT = 1_000


class NotAnIndexPage(ValueError):
    """An answer that cannot be read as a page of the Simple API; the message completes "it answered with ..."."""


class OversizedPage(NotAnIndexPage):
    """A page of more bytes or entries than any has; reading it again would cost as much again."""


class ParsedPage(msgspec.Struct):
    """The content of one answer about one project."""

    files: tuple[File, ...]
    versions: tuple[str, ...]
    status: ProjectStatus | None
    dropped: int


class PageEntry(msgspec.Struct, rename="kebab", gc=False):
    """A file as an upstream lists it: each field of the right type, and none of them judged yet."""

    filename: str
    url: str
    hashes: dict[str, str]
    requires_python: str | None = None
    size: int | None = None
    upload_time: datetime | None = None
    yanked: bool | str | None = False
    core_metadata: bool | dict[str, str] | None = None
    dist_info_metadata: bool | dict[str, str] | None = None
    provenance: str | None = None


class Collector:
    """Judge of the entries of one page. Both serialisations end here, so one set of rules holds for both.

    ``versions``: those the upstream lists, if it lists any; what its file names state beyond them is added (PEP 700).
    """

    def __init__(self, project: str, source: str, links: PageLinks, versions: Iterable[str] = ()) -> None:
        self._project = project
        self._source = source
        self._links = links
        self._members = Membership(project)
        self._files: dict[str, File | None] = {}
        self._versions = dict.fromkeys(versions)
        self._covered: set[str] | None = None
        self._wheels = "/"
        """How the last wheel's name begins: one that begins so too is of this project and of a version that is listed."""
        self.dropped = 0
        self._unusable = 0

    def __bool__(self) -> bool:
        """True if there is any file of the project."""
        return bool(self._files)

    def add(self, entry: PageEntry) -> None:
        """Judge one entry; a name, link or digest that cannot be trusted drops it."""
        filename, hashes = entry.filename, digests(entry.hashes)
        url = self._links.absolute(entry.url)
        if url is None or hashes is None or not is_safe_filename(filename):
            self.dropped += 1
            return
        covered = (filename.startswith(self._wheels) and filename.endswith(".whl")) or self._is_covered(filename)
        if not (covered or filename in self._members):
            self.dropped += 1
            return
        files, source = self._files, self._source
        if len(files) >= MAX_FILES:
            raise OversizedPage(f"more than {MAX_FILES} files")
        if filename in files:
            self.dropped += 1
            earlier = files[filename]
            if earlier is not None and earlier.hashes != hashes:
                files[filename] = None  # one name, two contents: neither can be trusted
            return
        size, moment, yanked, provenance = entry.size, entry.upload_time, entry.yanked, entry.provenance
        metadata = entry.core_metadata if entry.core_metadata is not None else entry.dist_info_metadata
        files[filename] = File(
            filename=filename,
            project=self._project,
            source=source,
            location=RemoteFile(url, source),
            hashes=hashes,
            size=size if size is not None and 0 <= size < 2**53 else None,
            upload_time=moment if moment is None or moment.tzinfo is UTC else in_utc(moment),
            requires_python=text(entry.requires_python),
            yanked=yank_reason(yanked) if yanked else None,
            core_metadata=metadata_digests(metadata),
            provenance=provenance_url(provenance) if provenance else None,
        )
        if not covered:
            self._cover(filename)

    def _is_covered(self, filename: str) -> bool:
        """True if it is this project's, and of a version that is listed as it stands there, as nearly always; else it may be."""
        if filename.endswith(".whl"):
            head, _, rest = filename.partition("-")
            stated = rest.partition("-")[0]
        elif filename.endswith(".tar.gz"):
            head, _, stated = filename[:-7].rpartition("-")
        else:
            return False
        if stated not in self._versions or "_" in stated or not self._members.is_own(head):
            return False
        if filename.endswith(".whl"):
            self._wheels = f"{head}-{stated}-"
        return True

    def _cover(self, filename: str) -> None:
        """List the version that a file name states, if it is not yet listed in any spelling."""
        version = version_of(filename, self._project)
        if filename.endswith(".whl") and version is not None:
            name, stated, _ = filename.split("-", 2)
            if self._members.is_own(name):
                self._wheels = f"{name}-{stated}-"
        if version is None or version in self._versions:
            return
        if self._covered is None:
            self._covered = {same_version_key(listed) for listed in self._versions}
        if (key := same_version_key(version)) not in self._covered:
            self._covered.add(key)
            self._versions[version] = None

    def drop_unusable(self) -> None:
        """Count an entry that is not one at all.

        Raises:
            OversizedPage: there are so many that this is no index page.
        """
        self.dropped += 1
        self._unusable += 1
        if self._unusable > _MAX_UNUSABLE:
            raise OversizedPage(f"more than {_MAX_UNUSABLE} entries that are none")

    def page(self, status: ProjectStatus | None) -> ParsedPage:
        """The page, with versions that cover every file."""
        files = tuple(file for file in self._files.values() if file is not None)
        self.dropped += len(self._files) - len(files)
        return ParsedPage(files, tuple(self._versions), status, self.dropped)


def digests(hashes: Mapping[str, str]) -> Mapping[str, str] | None:
    """The digests we and every installer can check, lower-case; ``None`` if one of them is malformed.

    Without its digest a file would install unverified, so a bad one costs the file, not only the digest. Algorithms
    beyond these are left out: uv rejects a page that carries a ``blake2b`` of the usual length.
    """
    sha256 = hashes.get("sha256") if len(hashes) == 1 else None
    if sha256 is not None and len(sha256) == 64 and sha256.isascii() and not sha256.encode().translate(None, _HEX):
        return hashes  # as nearly always: as it is
    kept = {}
    try:
        for algorithm, stated in hashes.items():
            if algorithm in _DIGEST_BYTES:
                digest = stated.lower()
                if len(unhexlify(digest)) != _DIGEST_BYTES[algorithm]:
                    return None
                kept[algorithm] = digest
    except ValueError:
        return None
    return kept


def metadata_digests(value: bool | Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Core metadata (PEP 714): ``None`` for not offered, or offered under a malformed digest; ``{}`` for offered without."""
    if value is None or value is False:
        return None
    if value is True:
        return {}
    known = digests(value)
    if known is None or (len(known) == 1 and "sha256" in known):
        return known
    return {"sha256": known["sha256"]} if "sha256" in known else {}


def provenance_url(value: str | None) -> str | None:
    """The absolute https URL that PEP 740 wants; anything else is left out."""
    return value if value is not None and len(value) <= 2_000 and _PROVENANCE.fullmatch(value) else None


def yank_reason(value: bool | str | None) -> str | None:
    """The reason of a yank (PEP 592): ``None`` for not yanked, ``""`` for yanked without a reason."""
    return (clean(value) if isinstance(value, str) else "") if value else None


def clean(value: str) -> str:
    """Upstream text that may stand in a page, a log line or a header: no control characters, bounded."""
    return _CONTROL.sub(" ", value)[:_MAX_TEXT]


def text(value: str | None) -> str | None:
    """A short printable string as it is; anything else is left out."""
    return _printable(value) if value and len(value) <= _MAX_TEXT else None  # what is remembered is short too


@lru_cache(maxsize=1_024)
def _printable(value: str) -> str | None:
    return value if value.isprintable() else None


def in_utc(moment: datetime | None) -> datetime | None:
    """An aware moment in UTC; anything else is left out."""
    if moment is None or moment.tzinfo is None:
        return None  # without an offset it is not a moment; PEP 700 demands one
    try:
        return moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    except OverflowError:  # the last hours of the year 9999, or the first of the year 1, elsewhere
        return None
