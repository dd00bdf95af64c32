"""Gathers the entries of one page: which are this project's files, which names are trusted, which versions they state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from wheelgate.core.model import File, ProjectStatus, RemoteFile
from wheelgate.core.names import Membership, are_plain_filenames, is_safe_filename, same_version_key, version_of
from wheelgate.simple_api.fields import are_plain, clean, digests, in_utc, metadata_digests, provenance_url, text

MAX_FILES = 200_000
_MAX_UNUSABLE = 5_000
"""Of entries that are none: judging one takes ten times as long as reading a good one."""
_NO_NAME = "/"
"""No file name begins so."""


class NotAnIndexPage(ValueError):
    """The answer cannot be read as a page of the Simple API; the message completes "it answered with ..."."""


class Links(Protocol):
    """Turns what a page links to into URLs we may ask, and everything else into ``None``."""

    def rebase(self, href: str) -> None:
        """Resolve from now on against a ``<base href>``."""
        ...

    def absolute(self, href: str) -> str | None:
        """The absolute URL without fragment, or ``None`` if it is malformed or leads where the source may not go."""
        ...

    def plain(self, hrefs: Sequence[str]) -> Sequence[str] | None:
        """What :meth:`absolute` gives for each, if all are plain links to one allowed place; ``None``: ask one by one."""
        ...


class ParsedPage(msgspec.Struct):
    """What one answer says about one project."""

    files: tuple[File, ...]
    versions: tuple[str, ...]
    status: ProjectStatus | None
    dropped: int


class PageEntry(msgspec.Struct, rename="kebab", gc=False):
    """A file as an upstream lists it in JSON, each field of the right type and nothing else known of it."""

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
    """Judges entries and gathers a page. Both serialisations end here, so one set of rules holds for both.

    ``versions``: those the upstream lists, if it lists any; what its file names state beyond them is added (PEP 700).
    """

    def __init__(self, project: str, source: str, links: Links, versions: Iterable[str] = ()) -> None:
        self._project = project
        self._source = source
        self._links = links
        self._members = Membership(project)
        self._files: dict[str, File | None] = {}
        self._versions = dict.fromkeys(versions)
        self._covered: set[str] | None = None
        self.dropped = 0
        self._unusable = 0

    def __bool__(self) -> bool:
        """Whether there is any file of the project."""
        return bool(self._files)

    def add_all(self, entries: Sequence[PageEntry]) -> None:
        """Entries of a page, in their order. Where every one of them is plain, as nearly always, they are judged together."""
        if not self._add_together(entries):
            for entry in entries:
                self.add_entry(entry)

    def _add_together(self, entries: Sequence[PageEntry]) -> bool:
        """Take them all, as :meth:`add_entry` would; or none, if one of them needs a closer look.

        Judged column by column: 15,000 take 32 ms so, and 65 one by one.
        """
        names = [entry.filename for entry in entries]
        metadata = [entry.core_metadata if entry.core_metadata is not None else entry.dist_info_metadata for entry in entries]
        tables = [entry.hashes for entry in entries]
        tables += [stated for stated in metadata if isinstance(stated, dict)]
        if not are_plain(tables) or not are_plain_filenames(names):
            return False
        if len(set(names)) < len(names) or not self._files.keys().isdisjoint(names):
            return False
        urls = self._links.plain([entry.url for entry in entries])
        uncovered = self._uncovered(names)
        if urls is None or uncovered is None or len(self._files) + len(names) > MAX_FILES:
            return False
        project, source = self._project, self._source
        for entry, url, stated in zip(entries, urls, metadata, strict=True):
            size, moment = entry.size, entry.upload_time
            self._files[entry.filename] = File(
                filename=entry.filename,
                project=project,
                source=source,
                location=RemoteFile(url, source),
                hashes=entry.hashes,
                size=size if size is None or 0 <= size < 2**53 else None,
                upload_time=moment if moment is None or moment.tzinfo is UTC else in_utc(moment),
                requires_python=text(entry.requires_python),
                yanked=_yanked(entry.yanked) if entry.yanked else None,
                core_metadata=stated if isinstance(stated, dict) else {} if stated else None,
                provenance=provenance_url(entry.provenance) if entry.provenance else None,
            )
        for name in uncovered:
            self._cover(name)
        return True

    def _uncovered(self, names: Sequence[str]) -> list[str] | None:
        """Of names that are all this project's, those that may state a version that is not listed; ``None``: one is not.

        The files of a version mostly follow each other: after the first, how a name begins says all of it.
        """
        uncovered = []
        wheels = sdist = _NO_NAME
        for name in names:
            if name == sdist or (name.startswith(wheels) and name.endswith(".whl")):
                continue
            stem = self._listed(name)
            if stem is not None:
                sdist, wheels = f"{stem}.tar.gz", f"{stem}-" if stem.count("-") == 1 else _NO_NAME
            elif name in self._members:
                uncovered.append(name)
            else:
                return None
        return uncovered

    def _listed(self, name: str) -> str | None:
        """Name and version of a wheel or sdist of the project whose version is spelled as it is listed, as nearly always."""
        if name.endswith(".whl"):
            head, _, rest = name.partition("-")
            version, dash, _ = rest.partition("-")
        else:
            head, dash, version = name.removesuffix(".tar.gz").rpartition("-")
            if not name.endswith(".tar.gz"):
                return None
        return f"{head}-{version}" if dash and version in self._versions and self._members.is_own(head) else None

    def add_entry(self, entry: PageEntry) -> None:
        """One entry, judged by itself."""
        metadata = entry.core_metadata if entry.core_metadata is not None else entry.dist_info_metadata
        self.add(
            entry.filename,
            entry.url,
            digests(entry.hashes),
            size=entry.size if entry.size is not None and 0 <= entry.size < 2**53 else None,
            upload_time=in_utc(entry.upload_time),
            requires_python=text(entry.requires_python),
            yanked=_yanked(entry.yanked) if entry.yanked else None,
            core_metadata=metadata_digests(metadata),
            provenance=provenance_url(entry.provenance),
        )

    def add(
        self,
        filename: str,
        href: str,
        hashes: Mapping[str, str] | None,
        *,
        size: int | None = None,
        upload_time: datetime | None = None,
        requires_python: str | None = None,
        yanked: str | None = None,
        core_metadata: Mapping[str, str] | None = None,
        provenance: str | None = None,
    ) -> None:
        """One entry, its fields judged already. ``hashes=None``: a digest was malformed; that or an unsafe link drops it."""
        url = self._links.absolute(href)
        if url is None or hashes is None or not is_safe_filename(filename) or filename not in self._members:
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
        self._files[filename] = File(
            filename=filename,
            project=self._project,
            source=self._source,
            location=RemoteFile(url, self._source),
            hashes=hashes,
            size=size,
            upload_time=upload_time,
            requires_python=requires_python,
            yanked=yanked,
            core_metadata=core_metadata,
            provenance=provenance,
        )
        if self._listed(filename) is None:
            self._cover(filename)

    def _cover(self, filename: str) -> None:
        version = version_of(filename, self._project)
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


def _yanked(stated: bool | str) -> str:
    return clean(stated) if isinstance(stated, str) else ""
