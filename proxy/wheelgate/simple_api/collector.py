"""The one reader of the security rules for a page's entries: file names, links, digests and the other fields."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from wheelgate.core.belonging import Membership, explain_unsafe
from wheelgate.core.constraints import UnshowableConstraint, read_constraint
from wheelgate.core.digests import UnusableDigest, read_digests, read_fragment
from wheelgate.core.model import MAX_NAMED, UNUSABLE, File, ProjectStatus, RemoteFile, Withheld
from wheelgate.core.names import (
    is_index_document,
    is_listable,
    is_safe_filename,
    make_safe_filename,
    same_version_key,
    show_any,
    version_of,
)
from wheelgate.core.page_links import PageLinks
from wheelgate.runtime.cooperative import Steps

MAX_FILES = 200_000
JUDGED_TOGETHER = 4
"""Entries that are judged in one go. Nearly all take microseconds; of the oddest name, a millisecond."""
MAX_LINK = 8_000
"""Characters, its fragment included."""
_MAX_UNUSABLE = 5_000
"""Of entries that are none: judging one takes ten times as long as reading a good one."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_PROVENANCE = re.compile(r"https://[!#-&(-;=?-\[\]-_a-~]*")  # printable ASCII without quotes, backslash and angle brackets
_MAX_TEXT = 1_000
_FEW_VERSIONS = 200
_MAX_SIZE = 2**40
"""Bytes, a terabyte. What an index states beyond that, or as nothing at all, is no file's."""
LINK_RULE = "link"
"""The rule by which files are withheld to which the page leads in a way that is not followed."""


class NotAnIndexPage(ValueError):
    """An answer that cannot be read as a page of the Simple API; the message completes "it answered with ..."."""


class BlankPage(NotAnIndexPage):
    """A web page that says nothing at all: no link, no word, nothing that could show or lead anywhere."""


class OversizedPage(NotAnIndexPage):
    """A page of more bytes or entries than any has; reading it again would cost as much again."""


class ParsedPage(msgspec.Struct):
    """The content of one answer about one project."""

    files: tuple[File, ...]
    versions: tuple[str, ...]
    status: ProjectStatus | None
    dropped: int
    withheld: tuple[Withheld, ...] = ()
    """Files of the project that cannot be offered as the page states them."""


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
        """``None``: withheld."""
        self._withheld: dict[str, Withheld] = {}
        self._refused: dict[str, Withheld] = {}
        self._constraint: tuple[str | None, str | None] = None, None
        """The last one, as stated and as shown."""
        self._versions = dict.fromkeys(versions)
        self._covered: set[str] | None = None
        self._wheels = "/"
        """How the last wheel's name begins: one that begins so too is of this project and of a version that is listed."""
        self.dropped = 0
        self._unusable = 0

    def __bool__(self) -> bool:
        """True if there is any file of the project."""
        return bool(self._files or self._refused)

    def add(self, entry: PageEntry) -> None:
        """Judge one entry. A name or link that cannot be trusted drops it; what cannot be checked or shown withholds the file."""
        filename = entry.filename
        url = self._links.absolute(entry.url) if len(entry.url) <= MAX_LINK else None
        if url is None or not is_safe_filename(filename):
            self._refuse(entry, url)
            return
        covered = (filename.startswith(self._wheels) and filename.endswith(".whl")) or self._is_covered(filename)
        if not (covered or filename in self._members):
            self.dropped += 1
            return
        files, source = self._files, self._source
        if len(files) >= MAX_FILES:
            raise OversizedPage(f"more than {MAX_FILES} files")
        try:
            hashes = read_digests(entry.hashes if "#" not in entry.url else _all_digests(entry))
            if entry.requires_python != self._constraint[0]:  # as nearly never: the files of a page follow one another
                self._constraint = entry.requires_python, read_constraint(entry.requires_python)
        except UnusableDigest as error:
            self._withhold(filename, "digest", str(error))
            return
        except UnshowableConstraint as error:
            self._withhold(filename, "requires-python", str(error))
            return
        if filename in files:
            self._add_again(filename, hashes)
            return
        size, moment, yanked, provenance = entry.size, entry.upload_time, entry.yanked, entry.provenance
        metadata = entry.core_metadata if entry.core_metadata is not None else entry.dist_info_metadata
        files[filename] = File(
            filename=filename,
            project=self._project,
            source=source,
            location=RemoteFile(url, source),
            hashes=hashes,
            size=size if size is not None and 0 < size <= _MAX_SIZE else None,
            upload_time=moment if moment is None or moment.tzinfo is UTC else in_utc(moment),
            requires_python=self._constraint[1],
            yanked=yank_reason(yanked) if yanked else None,
            core_metadata=None if is_index_document(filename) else metadata_digests(metadata),
            provenance=provenance_url(provenance) if provenance else None,
        )
        if not covered:
            self._cover(filename)

    def _refuse(self, entry: PageEntry, url: str | None) -> None:
        """Name a file that may not be followed, or not be named, unless another entry of its name comes; so many, and no more."""
        filename = entry.filename
        name = make_safe_filename(filename)
        is_one_more = len(self._refused) < MAX_NAMED and len(filename) <= _MAX_TEXT and name not in self._refused
        if not is_one_more or not is_listable(filename) or filename not in self._members:
            self.dropped += 1
        elif url is None:
            way = self._links.explain(entry.url) if len(entry.url) <= MAX_LINK else "by more characters than a link has"
            self._refused[name] = Withheld(name, self._source, LINK_RULE, f"source {self._source} links to it {way}")
        else:
            reason = f"source {self._source} does not offer {show_any(filename)}: {explain_unsafe(filename)}"
            self._refused[name] = Withheld(name, self._source, UNUSABLE, reason)

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

    def _add_again(self, filename: str, hashes: Mapping[str, str]) -> None:
        """Take a further entry of one name: the first stands, and its bytes must be what each of them says."""
        self.dropped += 1
        earlier = self._files[filename]
        if earlier is None or earlier.hashes == hashes:
            return
        both = {**earlier.hashes, **hashes}
        if any(both[algorithm] != digest for algorithm, digest in earlier.hashes.items()):
            self._withhold(filename, "digest", "two files of this name")  # neither can be trusted
        else:
            self._files[filename] = msgspec.structs.replace(earlier, hashes=both)

    def _withhold(self, filename: str, rule: str, what: str) -> None:
        """Withhold a file: left out in silence, an installer would take another one, and nobody would know why."""
        self._files[filename] = None
        reason = f"source {self._source} states {what}: have it corrected there"
        self._withheld.setdefault(filename, Withheld(filename, self._source, rule, reason))
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

    def read_listed(self) -> Steps[None]:
        """Read the versions that the upstream lists, if they are very many: some at a time."""
        if len(self._versions) > _FEW_VERSIONS:
            self._covered = set()
            for number, listed in enumerate(self._versions):
                self._covered.add(same_version_key(listed))
                if not number % _FEW_VERSIONS:
                    yield

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
        refused = [entry for name, entry in self._refused.items() if name not in self._files]
        for entry in refused:
            self._cover(entry.filename)
        dropped = self.dropped + len(self._refused) - len(refused)
        return ParsedPage(files, tuple(self._versions), status, dropped, (*self._withheld.values(), *refused))


def _all_digests(entry: PageEntry) -> Mapping[str, str]:
    """The digests in an entry's table and those in its link's fragment, which pip checks too."""
    linked = read_fragment(entry.url.partition("#")[2])
    for name in linked.keys() & entry.hashes.keys():
        if linked[name].lower() != entry.hashes[name].lower():
            raise UnusableDigest("one digest in its link and another beside it")
    return {**linked, **entry.hashes}


def metadata_digests(value: bool | Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Core metadata (PEP 714): ``{}`` for offered without a digest; ``None`` for not offered, or under none that is compared.

    What is not offered is read out of the wheel, whose own digest is.
    """
    if value is None or value is False:
        return None
    if value is True or not value:
        return {}
    try:
        known = read_digests(value)
    except UnusableDigest:
        return None
    if len(known) == 1 and "sha256" in known:
        return known
    return {"sha256": known["sha256"]} if "sha256" in known else None


def provenance_url(value: str | None) -> str | None:
    """The absolute https URL that PEP 740 wants; anything else is left out."""
    return value if value is not None and len(value) <= 2_000 and _PROVENANCE.fullmatch(value) else None


def yank_reason(value: bool | str | None) -> str | None:
    """The reason of a yank (PEP 592): ``None`` for not yanked, ``""`` for yanked without a reason."""
    return (clean(value) if isinstance(value, str) else "") if value else None


def clean(value: str) -> str:
    """Upstream text that may stand in a page, a log line or a header: no control characters, bounded."""
    return _CONTROL.sub(" ", value[:_MAX_TEXT])


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
