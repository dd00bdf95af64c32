"""Offline source: lists the copies that the store holds of a remote source, which is not asked any more."""

from __future__ import annotations

import msgspec
from cachetools import LRUCache

from wheelgate.core.errors import NotHeld, ProjectNotFound, advise_mirroring
from wheelgate.core.file_list import RECENT_BYTES, FileList, files_bytes
from wheelgate.core.model import ProjectPage
from wheelgate.core.protocols import Source, SourceWrapper


class HeldNowhere(ProjectNotFound):
    """Definite absence: nothing of the project is held, and no source of this server is ever asked for more."""


class OfflineSource(SourceWrapper):
    """A :class:`~wheelgate.core.protocols.Source` over the copies that were kept when the source was asked.

    That it lacks a project is "not there" only where nobody is asked for anything any more: each copy came in by the decision of
    all sources then, so that no other one's copy can speak for a name that was this one's. Beside sources that are asked, it is
    an unreachable source.
    """

    def __init__(self, source: Source, *, alone: bool) -> None:
        """``source``: lists the copies. ``alone``: every remote source of this server is offline."""
        super().__init__(source)
        self._alone = alone
        self._pages: LRUCache[str, tuple[int, ProjectPage]] = LRUCache(RECENT_BYTES, getsizeof=_page_bytes)
        """By project: the revision of the copies' page, and what became of it."""

    @property
    def bare(self) -> Source:
        """Itself: nobody is asked, so that the copies are all there is."""
        return self

    async def project_page(self, project: str) -> ProjectPage:
        try:
            return self._offer_metadata(await self._source.project_page(project))
        except ProjectNotFound:
            sentence = f"source {self.name} is offline, and nothing of {project} is held: {advise_mirroring(project)}"
            raise HeldNowhere(sentence) if self._alone else NotHeld(sentence, source=self.name) from None

    def _offer_metadata(self, page: ProjectPage) -> ProjectPage:
        """Offer core metadata of every wheel: what its source sent, or what stands in our copy."""
        of, offered = self._pages.get(page.project, (None, page))
        if of != page.revision:
            files = FileList(
                (
                    msgspec.structs.replace(file, core_metadata={}, metadata_in_wheel=True)
                    if file.filename.endswith(".whl")
                    else file
                    for file in page.files
                ),
                [page.files],
            )
            offered = page.with_files(files, page.withheld)
            self._pages[page.project] = (page.revision, offered)
        return offered.with_state_of(page)


def _page_bytes(entry: tuple[int, ProjectPage]) -> int:
    return min(2 * files_bytes(entry[1].files), RECENT_BYTES)
