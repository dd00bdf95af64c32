"""Pages of an index that a mirror is planned from, and whose each listed file is: a private source's or a public one's."""

from __future__ import annotations

from wheelgate.core.model import File, ProjectPage
from wheelgate.index.merged import Merged
from wheelgate.sources.mirror_facts import Origin


class ToldOrigins:
    """The :class:`~wheelgate.core.protocols.Pages` of an index, noting from which side of it each file comes."""

    def __init__(self, index: Merged) -> None:
        self.name = index.name
        self._index = index
        self._sides: dict[str, dict[str, bool]] = {}
        """By project and source, whether that was heard as a private one."""

    async def project_page(self, project: str) -> ProjectPage:
        """See :class:`~wheelgate.core.protocols.Pages`."""
        decision = await self._index.decide(project)
        page = decision.require_page()
        self._sides[project] = {answer.source: answer.private for answer in decision.answers if answer.page is not None}
        return page

    def find(self, file: File) -> Origin | None:
        """Find whose a file is; ``None``: nobody asked for its page."""
        sides = self._sides.get(file.project, {})
        if file.source not in sides:
            return None
        if sides[file.source]:
            return "private"
        return "merged" if any(sides.values()) else "public"
