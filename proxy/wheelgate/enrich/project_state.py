"""What this process remembers of one project of a remote source."""

from __future__ import annotations

from datetime import datetime

import msgspec

from wheelgate.core.memory_cost import page_bytes
from wheelgate.core.model import ProjectPage
from wheelgate.enrich.kept_pages import KeptPage
from wheelgate.enrich.records import Files

_ROW_BYTES = 600  # a file name with what is remembered of it


class ProjectState:
    """What is remembered of one project."""

    def __init__(self) -> None:
        self.files: Files = {}
        """By file name; only :class:`Memory` changes it."""
        self.version = 0
        """Grows with everything that may change what a page shows."""
        self.page: ProjectPage | None = None
        """The last good one that this process heard."""
        self.kept: KeptPage | None = None
        """The last good one that the record holds, until this process has heard one."""
        self.gone_at: datetime | None = None
        """When the source said "not there", unless it has had a page since."""
        self.read_s: float | None = None
        """By the monotonic clock: when the record was last read; ``None``: not yet."""
        self.rest_until_s = 0.0
        self.etag: str | None = None
        self.news = False
        """There is something about files that the record lacks."""
        self.written: tuple[bytes, datetime] | None = None
        """Mark and confirmation of the page that the record holds."""
        self.shown: Projection | None = None

    def is_over(self, page: KeptPage) -> bool:
        """Whether the source has said "not there" since it had this page."""
        return self.gone_at is not None and page.as_of <= self.gone_at

    @property
    def size_bytes(self) -> int:
        """An estimate of the memory behind it."""
        page = 0 if self.page is None else page_bytes(self.page)
        kept = 0 if self.kept is None else len(self.kept.body)
        alike = self.shown is None or self.shown.page.revision == self.shown.of.revision
        shown = 0 if alike or self.shown is None else page_bytes(self.shown.page)
        return 500 + _ROW_BYTES * len(self.files) + page + kept + shown


class Projection(msgspec.Struct, frozen=True):
    """A page as it was shown last."""

    of: ProjectPage
    """What the source said."""
    version: int
    """Of the notes it was made with."""
    page: ProjectPage
