"""A remote source that is not asked any more: what the store holds of it, and a sentence for what it does not."""

from __future__ import annotations

import msgspec
from cachetools import LRUCache

from wheelgate.core.errors import NotHeld, ProjectNotFound, advise_mirroring
from wheelgate.core.file_list import FileList
from wheelgate.core.memory_cost import RECENT_BYTES, files_bytes
from wheelgate.core.model import ProjectPage
from wheelgate.core.protocols import Source


class HeldNowhere(ProjectNotFound):
    """Nothing of the project is held, and no source of this server is ever asked for more."""


class OfflineSource:
    """A :class:`~wheelgate.core.protocols.Source` over the copies that were kept when the source was asked.

    That it lacks a project is "not there" only where nobody is asked for anything any more: each copy came in by the decision of
    all sources then, so that no other one's copy can speak for a name that was this one's. Beside sources that are asked, it is
    a source that cannot be heard.
    """

    def __init__(self, source: Source, *, alone: bool) -> None:
        """A view of what is held.

        Args:
            source: lists the copies.
            alone: every remote source of this server is offline.
        """
        self._source = source
        self._alone = alone
        self._made: LRUCache[str, tuple[int, ProjectPage]] = LRUCache(RECENT_BYTES, getsizeof=_bytes)

    @property
    def name(self) -> str:
        """The source's name."""
        return self._source.name

    async def project_names(self) -> frozenset[str]:
        """Every project of which a file is held."""
        return await self._source.project_names()

    async def project_page(self, project: str) -> ProjectPage:
        """See :class:`~wheelgate.core.protocols.Source`."""
        try:
            return self._with_metadata(await self._source.project_page(project))
        except ProjectNotFound:
            sentence = f"source {self.name} is offline, and nothing of {project} is held: {advise_mirroring(project)}"
            raise HeldNowhere(sentence) if self._alone else NotHeld(sentence, source=self.name) from None

    def _with_metadata(self, page: ProjectPage) -> ProjectPage:
        """Every wheel offers core metadata: what its source sent, or what stands in our copy."""
        made = self._made.get(page.project)
        if made is None or made[0] != page.revision:
            files = FileList(
                (
                    msgspec.structs.replace(file, core_metadata={}, metadata_in_wheel=True)
                    if file.filename.endswith(".whl")
                    else file
                    for file in page.files
                ),
                [page.files],
            )
            made = self._made[page.project] = (page.revision, page.with_files(files, page.withheld))
        return made[1].with_state_of(page)


def _bytes(made: tuple[int, ProjectPage]) -> int:
    return min(2 * files_bytes(made[1].files), RECENT_BYTES)
