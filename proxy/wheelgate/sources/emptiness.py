"""Evidence that a container without packages is one: not one that was made anew, nor a folder of it that is not there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from wheelgate.core.errors import StoreError
from wheelgate.sources.known_projects import KnownProjects

KNOWN = 4
"""Projects by which a container is known."""


class Emptiness:
    """The judge of what a container's listing lacks.

    A container that is missing fails by itself. One that is there and has no package may be believed if it never had any, or is
    the very one that had them. A folder of a container is there only if there is something in it.
    """

    def __init__(
        self, *, source: str, is_folder: bool, known: KnownProjects, identity: Callable[[], Awaitable[str | None]]
    ) -> None:
        """``identity``: of the container, another one once it was deleted and made again; ``None``: it may not be asked."""
        self._source = source
        self._is_folder = is_folder
        self._known = known
        self._identity = identity

    async def close(self) -> None:
        """Stop reading and writing."""
        await self._known.close()

    async def identify(self) -> str | None:
        """The identity of the container. Raises StoreError."""
        return await self._identity()

    async def judge(self, place: str | None, *, projects: Sequence[str], is_void: bool) -> None:
        """Let a listing pass that can be believed.

        Args:
            place: the identity of the container, as it was before it was listed.
            projects: some of those that were found.
            is_void: nothing was found, whatever it is.

        Raises:
            StoreError: it may be another container than the one that is meant.
        """
        for project in projects:
            self._known.note(project, place)
        if projects:
            return
        if not await self._known.may_be_empty(place):
            raise StoreError(
                f"source {self._source}: its container had packages and has none any more, as a container that was made anew "
                "would: restore them, or put a first package there"
            )
        if is_void and self._is_folder:
            raise StoreError(
                f"source {self._source}: there is nothing in its folder of the container: check that in its url; if it is meant "
                "to be new, put a first file there, whatever it is"
            )
