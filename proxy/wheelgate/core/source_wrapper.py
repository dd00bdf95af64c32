"""The base of every wrapper around a source: it hands everything on, and a wrapper overrides what it changes."""

from __future__ import annotations

from wheelgate.core.model import ProjectPage
from wheelgate.core.protocols import Source


class SourceWrapper:
    """A :class:`~wheelgate.core.protocols.Source` that answers as another one does."""

    def __init__(self, source: Source) -> None:
        self._source = source

    @property
    def name(self) -> str:
        """The name of the source inside."""
        return self._source.name

    async def project_page(self, project: str) -> ProjectPage:
        """See :class:`~wheelgate.core.protocols.Source`."""
        return await self._source.project_page(project)

    async def project_names(self) -> frozenset[str]:
        """See :class:`~wheelgate.core.protocols.Source`."""
        return await self._source.project_names()
