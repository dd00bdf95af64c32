"""The one reader of the security rules for a page's entries: file names, links, digests, and the versions they state."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec

from wheelgate.core.model import File, ProjectStatus, RemoteFile
from wheelgate.core.names import Membership, is_safe_filename, same_version_key, version_of
from wheelgate.core.urls import PageLinks
from wheelgate.simple_api.fields import digests, in_utc, metadata_digests, provenance_url, text, yank_reason

MAX_FILES = 200_000
_MAX_UNUSABLE = 5_000
"""Of entries that are none: judging one takes ten times as long as reading a good one."""


class NotAnIndexPage(ValueError):
    """An answer that cannot be read as a page of the Simple API; the message completes "it answered with ..."."""


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
        follows = filename.startswith(self._wheels) and filename.endswith(".whl")
        if url is None or hashes is None or not is_safe_filename(filename) or not (follows or filename in self._members):
            self.dropped += 1
            return
        if len(self._files) >= MAX_FILES:
            raise NotAnIndexPage(f"more than {MAX_FILES} files")
        if filename in self._files:
            self.dropped += 1
            earlier = self._files[filename]
            if earlier is not None and earlier.hashes != hashes:
                self._files[filename] = None  # one name, two contents: neither can be trusted
            return
        metadata = entry.core_metadata if entry.core_metadata is not None else entry.dist_info_metadata
        self._files[filename] = File(
            filename=filename,
            project=self._project,
            source=self._source,
            location=RemoteFile(url, self._source),
            hashes=hashes,
            size=entry.size if entry.size is not None and 0 <= entry.size < 2**53 else None,
            upload_time=in_utc(entry.upload_time),
            requires_python=text(entry.requires_python),
            yanked=yank_reason(entry.yanked),
            core_metadata=metadata_digests(metadata),
            provenance=provenance_url(entry.provenance),
        )
        if not follows:
            self._cover(filename)

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
            NotAnIndexPage: there are so many that this is no index page.
        """
        self.dropped += 1
        self._unusable += 1
        if self._unusable > _MAX_UNUSABLE:
            raise NotAnIndexPage(f"more than {_MAX_UNUSABLE} entries that are none")

    def page(self, status: ProjectStatus | None) -> ParsedPage:
        """The page, with versions that cover every file."""
        files = tuple(file for file in self._files.values() if file is not None)
        self.dropped += len(self._files) - len(files)
        return ParsedPage(files, tuple(self._versions), status, self.dropped)
