"""The nouns of the product: a distribution file, a project's page, and where bytes are.

Every value here is frozen: a cached page can be handed to any number of readers, and a wrapper that changes a page makes a
new one that shares what stays the same. ``None`` always means "the source does not say"; nothing is ever invented.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from itertools import count
from typing import Annotated

import msgspec


class RemoteFile(msgspec.Struct, frozen=True, tag="remote", array_like=True, gc=False):
    """Bytes behind an upstream URL. The URL carries no user information: credentials are chosen when it is asked."""

    url: str
    source: str
    """The source whose client, connections and address rules fetch it."""
    accept: str | None = None
    """The ``Accept`` header the upstream needs to send bytes rather than a description (GitHub's asset API)."""


class StoredFile(msgspec.Struct, frozen=True, tag="stored", array_like=True, gc=False):
    """Bytes in a blob store, as one version of one blob."""

    store: str
    path: str
    etag: str


class LocalFile(msgspec.Struct, frozen=True, tag="local", array_like=True, gc=False):
    """Bytes in a file of this machine that a directory source lists."""

    path: str
    etag: str
    """Of :func:`file_etag`."""
    root: str
    """The source's folder, above the path: nothing between the two may be a link."""


def file_etag(stat: os.stat_result) -> str:
    """The ETag of a local file: it changes whenever anybody writes the file or puts another in its place.

    Size and modification time can be made equal. No program sets the time of the last change of an inode (``st_ctime``).
    """
    return f"{stat.st_mtime_ns:x}-{stat.st_size:x}-{stat.st_ino:x}-{stat.st_ctime_ns:x}"


Location = RemoteFile | StoredFile | LocalFile


class File(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """One distribution file, as one source lists it."""

    filename: str
    """Safe as one URL path segment and as one file name (:func:`wheelgate.core.names.is_safe_filename`)."""
    project: str
    """The normalised name of the page it stands on."""
    source: str
    location: Location
    hashes: Mapping[str, str] = {}
    """Algorithm to lower-case hex digest. Empty: the source gives none."""
    size: int | None = None
    """Bytes (PEP 700)."""
    upload_time: datetime | None = None
    """Aware, UTC (PEP 700)."""
    requires_python: str | None = None
    """As the source wrote it: installers, not we, interpret it."""
    yanked: str | None = None
    """``None``: not yanked. ``""``: yanked without a reason (PEP 592)."""
    core_metadata: Mapping[str, str] | None = None
    """``None``: not servable. ``{}``: servable, its digest not known yet (PEP 658, PEP 714)."""
    metadata_in_wheel: bool = False
    """The source sends no core metadata for it; what is servable we read out of the wheel ourselves."""
    provenance: str | None = None
    """Absolute URL of the provenance object (PEP 740)."""
    observed: tuple[str, ...] = ()
    """Names of the fields above that its source does not state, and that we saw of its bytes: ``hashes``, ``size``,
    ``upload_time``. They show, but prove nothing of other bytes, and give way to what the source states."""

    @property
    def stated_hashes(self) -> Mapping[str, str]:
        """The digests that its source states. Empty: it vouches for no bytes."""
        return {} if "hashes" in self.observed else self.hashes

    @property
    def stated_size(self) -> int | None:
        """The size that its source states."""
        return None if "size" in self.observed else self.size


class ProjectStatus(msgspec.Struct, frozen=True, gc=False):
    """PEP 792: ``active``, ``archived``, ``quarantined`` or ``deprecated``, and what the index says about it."""

    status: str
    reason: str | None = None


UNUSABLE = "unusable"
"""The rule by which files are withheld that nobody could install, as they are named."""
MAX_NAMED = 100
"""Files that a source has of one project and cannot offer: so many are named, of more the number is known."""


class Withheld(msgspec.Struct, frozen=True, gc=False):
    """A file that a source lists and we do not: which rule, and the sentence people read."""

    filename: str
    source: str
    rule: str
    """A short stable word for metrics: ``merge``, ``outage``, ``deny``, ``cooldown``, ..."""
    reason: str
    """One sentence: what happened and what to do. Becomes a reason phrase."""
    until: datetime | None = None
    """When the rule lets it go by itself; ``None``: not by itself, as far as is known. Aware, UTC."""


class Freshness(msgspec.Struct, frozen=True):
    """Cache control of an answer: three moments, each later than the one before it or without meaning."""

    fresh_until: float = -math.inf
    """Monotonic seconds: until then nobody needs to ask the source again. By default that is never so."""
    stale_until: float = -math.inf
    """Monotonic seconds, stale-while-revalidate (RFC 5861): once no longer fresh, the answer may still be handed out until then,
    while the source is being asked."""
    valid_until: datetime | None = None
    """The next moment at which a rule changes the answer, however fresh it is; ``None``: none will. Aware, UTC."""

    @classmethod
    def earliest(cls, parts: Iterable[Freshness]) -> Freshness:
        """The freshness of what is made of several answers: of each moment the earliest. Of no answer: never fresh."""
        known = list(parts)
        if not known:
            return NEVER_FRESH
        return cls(
            min(part.fresh_until for part in known),
            min(part.stale_until for part in known),
            min((part.valid_until for part in known if part.valid_until is not None), default=None),
        )


FormatVersion = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
"""Version of a format, short enough to be repeated: JSON has integers of thousands of digits."""
STALE_IF_ERROR_S = 24 * 3600.0
"""Time that what was known last stands in for a source, or for our store, that is silent (promise 6 in docs/architecture.md)."""
NEVER_FRESH = Freshness()
"""To be asked for again at every request."""
_next_revision = count(1).__next__


class ProjectPage(msgspec.Struct, frozen=True, kw_only=True):
    """The page of one project, as one index gives it at one moment: its content, and how fresh that is."""

    project: str
    files: Sequence[File]
    """One entry per file name (:class:`wheelgate.core.file_list.FileList`)."""
    versions: tuple[str, ...] = ()
    """Covers every file; may name versions without files (PEP 700)."""
    status: ProjectStatus | None = None
    withheld: tuple[Withheld, ...] = ()
    dropped: int = 0
    """Entries left out because they were not this project's or had no safe link."""
    unread: int = 0
    """Files of which one read will tell more than the page says; it is done in the background."""
    revision: int = msgspec.field(default_factory=_next_revision)
    """Identity of the content above within this process: equal revisions mean equal content. Whoever changes content takes a
    new one (:meth:`with_files`); a page that is confirmed, or stands in, keeps its own."""
    as_of: datetime
    """When the source last confirmed this page. Aware, UTC."""
    known_since: datetime | None = None
    """When the source first had a page of this project, as far as we know. Aware, UTC."""
    stale: bool = False
    """The source could not be heard; this is its last good page (stale-if-error)."""
    freshness: Freshness = NEVER_FRESH

    def with_files(self, files: Sequence[File], withheld: tuple[Withheld, ...], **changes: object) -> ProjectPage:
        """This page with other content, under a new revision."""
        return msgspec.structs.replace(self, files=files, withheld=withheld, revision=_next_revision(), **changes)

    def with_state_of(self, page: ProjectPage) -> ProjectPage:
        """This content, under its revision, confirmed when the other page was and as fresh as that one; itself, if it is so."""
        state = {name: getattr(page, name) for name in ("as_of", "known_since", "stale", "freshness")}
        is_so = all(getattr(self, name) == value for name, value in state.items())
        return self if is_so else msgspec.structs.replace(self, **state)


class Ownership(Enum):
    """The world that a project of a private source belongs to, where that source passes public packages through as well."""

    OWN = "own"
    """A version of it was published to the source itself, or to another one that is not public: it is private, and is claimed."""
    PUBLIC = "public"
    """Nothing under the name is the source's own, whether or not it lists the name: nothing is claimed, and all rules for public
    files hold."""
    UNKNOWN = "unknown"
    """Nobody can tell now. No public source may be asked, nothing may be claimed, and the request fails."""


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to the question whose a project is, as a private source has it that may pass public packages through."""

    ownership: Ownership
    reason: str
    """One sentence about the project: why it is so, for ``explain``. Of UNKNOWN: what clients are refused with, the cause and the
    remedy; it names the source."""
    own_versions: frozenset[str] | None = None
    """Of OWN: the versions that are, each as :func:`wheelgate.core.names.same_version_key` has it; ``None``: all. Whatever else
    is listed under the name came from outside, and is not offered as the source's own."""
    is_presumed: bool = False
    """Of OWN: it follows from what is known of the source, and not of this project. If the source lists it, whose it is has to be
    confirmed before it is claimed: it may pass on more by now."""
    is_evident: bool = False
    """Of OWN: whoever tells knows versions of it, so that the source has it, whatever was heard of that before."""
    is_for_good: bool = False
    """Of UNKNOWN: nobody who could tell is ever asked."""
    is_refused: bool = False
    """Of UNKNOWN: whoever could tell refuses to, or knows no such source. If the source fails as well, that is the trouble."""
    fresh_until: float = -math.inf
    """Monotonic seconds: until then nobody needs to ask for it again."""
    outage_since: datetime | None = None
    """Moment since which nobody can be asked, so that this repeats what was known at ``last_heard``; ``None``: it was asked for
    in time. Of PUBLIC it then means no more than a remembered "not there" of before an outage. Aware, UTC."""
    is_vouched_for: bool = False
    """Of PUBLIC: there is evidence that a public source had the name by then, since it was served from there or saved from it:
    nobody can have registered it since."""
    last_heard: datetime | None = None
    """Moment at which this was so for certain; ``None``: it is so now. Aware, UTC."""
