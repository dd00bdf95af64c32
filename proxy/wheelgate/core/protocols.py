"""Interfaces between the rooms. Implementations know one another through these alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from io import FileIO
from pathlib import Path
from typing import Protocol

import msgspec

from wheelgate.core.model import Judgement, ProjectPage
from wheelgate.core.packed_names import PackedNames

Hook = Callable[[], Awaitable[None]]


class Clock(Protocol):
    """The injected source of time, so that tests can move it. Latencies and other durations of real work do not use it."""

    def now(self) -> datetime:
        """The wall clock, aware and UTC: for what people see, rules about dates, and records that outlive the process."""

    def monotonic(self) -> float:
        """Seconds that only grow: for freshness, deadlines and back-off, whatever the wall clock does."""


class Pages(Protocol):
    """Project pages by name."""

    @property
    def name(self) -> str:
        """The operator's name for it, as it stands in the configuration and in errors."""

    async def project_page(self, project: str) -> ProjectPage:
        """The page of a project given by its normalised name.

        Raises:
            ProjectNotFound: the source was heard, and has no such project. Only this lets another source answer.
            UpstreamError: the source could not be heard; whether it has the project is unknown.
            StoreError: the same, for a source that lives in a store.
        """


class Source(Pages, Protocol):
    """One place that lists projects and their files: an index, a feed, a container, a folder.

    Wrappers (caching, rules, facts) have this same shape, so they compose in any order.
    """

    async def project_names(self) -> PackedNames:
        """Normalised names of the projects it holds; empty for an index too large to list. One revision while nothing changed.

        Raises:
            UpstreamError, StoreError: as above.
        """


class SourceWrapper:
    """The base of every wrapper around a source: it hands everything on, and a wrapper overrides what it changes."""

    def __init__(self, source: Source) -> None:
        self._source = source

    @property
    def name(self) -> str:
        """The name of the source inside."""
        return self._source.name

    @property
    def bare(self) -> Source:
        """The source inside all wrappers: how it answers now, and nothing that is remembered of it."""
        return find_bare(self._source)

    async def project_page(self, project: str) -> ProjectPage:
        """See :class:`Source`."""
        return await self._source.project_page(project)

    async def project_names(self) -> PackedNames:
        """See :class:`Source`."""
        return await self._source.project_names()


class OwnershipJudge(Protocol):
    """The judge of one private source that may pass public packages through: which of its projects are its own.

    It is asked before the source is asked for the page, once or twice a decision, and so answers out of its memory wherever
    it can: what it said last stands in for :data:`~wheelgate.core.model.STALE_IF_ERROR_S` while nobody can be asked, also after a
    restart. It never guesses: where it cannot tell, it says so.
    """

    async def judge(self, project: str) -> Judgement:
        """Judge a project given by its normalised name, whether or not the source lists it. Raises nothing: see UNKNOWN."""

    async def confirm(self, project: str, listed_at: datetime) -> Judgement:
        """Judge a project anew that was presumed to be its own, by what is heard when it was listed or later. Raises nothing."""

    def note_served(self, project: str) -> None:
        """Note that a page of a project is served that was judged to be public: the name is somebody's, and so worth keeping."""


def find_bare(source: Source) -> Source:
    """Find the source inside its wrappers."""
    return source.bare if isinstance(source, SourceWrapper) else source


class BlobInfo(msgspec.Struct, frozen=True):
    """Facts that a store knows of one blob without reading it."""

    path: str
    size: int
    """Bytes."""
    etag: str
    """Changes whenever the body or its facts change."""
    created: datetime
    """When this store first had a blob of that path and body. Aware, UTC."""
    facts: Mapping[str, str]
    """Short ASCII strings kept with the blob: ``sha256``, ``upload_time``, ``yanked``, ..."""
    damage: str | None = None
    """A sentence saying why it cannot be believed, with the remedy; size, time and facts mean nothing then. Only in a listing:
    whoever asks for such a blob by its path is told by :class:`~wheelgate.core.errors.BlobDamaged`."""


MAX_READ_BYTES = 256 * 1024 * 1024
"""No record is larger. What is, is never read into memory."""


class BodyStore(Protocol):
    """A flat tree of immutable bodies: what a mirror needs of a store, which a plain folder can be too. A folder keeps no facts.

    Paths are built from validated parts (``storage/layout.py``), use ``/``, and never begin with it. Every method raises
    :class:`~wheelgate.core.errors.StoreError` when the store cannot be reached or refuses us, and only that: "the container is
    missing" is never "the blob is missing". Those that read raise ``BlobNotFound`` where there is no blob of that path, and
    ``BlobDamaged`` where there is one that cannot be believed.
    """

    def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        """Every blob whose path begins with ``prefix``, sorted by path; damaged ones marked: they stop no other."""

    def list_folder(self, folder: str) -> AsyncGenerator[Sequence[str]]:
        """The names directly below a folder (its path ends with a slash), many at a time, without looking at any.

        In no particular order. Of a folder that holds something the name ends with a slash.
        """

    async def info(self, path: str) -> BlobInfo:
        """The facts of one blob."""

    async def read(self, path: str) -> tuple[bytes, BlobInfo]:
        """A small blob, whole: at most :data:`MAX_READ_BYTES`."""

    def stream(self, path: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Bytes ``start`` (included) to ``end`` (excluded) of a large one, in bounded memory."""

    async def put_if_absent(
        self, path: str, body: Path | bytes, facts: Mapping[str, str], *, before_commit: Hook | None = None
    ) -> BlobInfo:
        """Create a blob: body, facts and visibility in one atomic step, durable when this returns.

        The blob as it was made, without asking for it again; ``created`` may be off by the time that the body took.

        A ``Path`` is a spool file that the caller will not write again; it may be hard-linked. ``before_commit`` is awaited once
        a large body is in place and only that step is left; what it raises is raised, and nothing is created.

        Raises:
            BlobExists: there is one already; it is untouched.
        """

    async def replace_if(self, path: str, body: bytes, etag: str | None) -> str:
        """Write a small record if its ETag is still ``etag`` (``None``: if it does not exist); the new ETag.

        Raises:
            BlobChanged: somebody else wrote it first.
        """

    async def delete(self, path: str, etag: str | None = None) -> None:
        """Remove a blob; a missing one is fine.

        Raises:
            BlobChanged: it is not the one of that ``etag`` any more, and stays.
        """

    def open_local(self, path: str) -> FileIO | None:
        """Open the file that holds the body, judged, for the kernel to send; ``None``: no file of this machine does. Blocks."""


class BlobStore(BodyStore, Protocol):
    """A store of bodies with a few facts each, shared by every replica."""

    @property
    def name(self) -> str:
        """Stable identity of the store, for locations and errors."""

    def check_answering(self) -> None:
        """Raise :class:`~wheelgate.core.errors.StoreError` if it is known, without asking, that nobody is answered just now."""

    async def set_facts(self, path: str, facts: Mapping[str, str], etag: str) -> str:
        """Replace the facts of a blob, its body untouched; the new ETag.

        Raises:
            BlobNotFound, BlobChanged: gone, or changed since ``etag``.
        """

    async def signed_url(self, path: str) -> str | None:
        """A short-lived URL that reads this one blob, opaque and complete; ``None`` if this store cannot make one."""


class Credential(Protocol):
    """A stored secret, ready to authenticate requests. Its ``repr`` hides everything."""

    @property
    def connection(self) -> str:
        """The operator's name for it, as it stands in errors."""

    async def headers(self) -> Mapping[str, str]:
        """Headers for one request to a URL that the credential was stored for.

        Raises:
            CredentialRefused: the secret is not available (missing, or the vault or token endpoint refused).
            UpstreamUnavailable: the vault or token endpoint cannot be reached.
        """

    async def sign_url(self, url: str) -> str:
        """The URL as it is to be asked, never to be shown: most kinds leave it as it is.

        Raises:
            CredentialRefused, UpstreamUnavailable: as for :meth:`headers`.
        """

    async def renew(self) -> bool:
        """An upstream refused it: look for another secret in its place. Whether there is one to ask again with."""

    def explain_refusal(self, code: str, now: datetime) -> str | None:
        """Explain, in our words, why an upstream refused it; ``None``: it says nothing of itself.

        ``code``: the upstream's own for the refusal, empty without one. ``now``: aware, UTC.
        """


class Credentials(Protocol):
    """The choice of the credential for a URL, made anew at every hop."""

    def for_url(self, url: str) -> Credential | None:
        """The credential stored for the longest prefix of ``url``, or ``None``."""
