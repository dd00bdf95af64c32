"""Forgetting what sources said to somebody else: whoever signed in by another connection, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from wheelgate.config import Connection, SourceSettings


class OtherCallers:
    """The connections that the remote sources were asked with, so that none of their answers outlives its caller.

    An index may hide a project from whoever does not sign in, or not as somebody who may see it: a "not there" that was true for
    the one is not for the other.
    """

    def __init__(
        self,
        sources: Iterable[SourceSettings],
        *,
        find_connection: Callable[[str], Connection | None],
        forget_answers: Callable[[str], None],
    ) -> None:
        """``find_connection``: by URL, as they stand now. ``forget_answers``: of a source, by its name."""
        self._find_connection = find_connection
        self._forget_answers = forget_answers
        self._urls = {source.name: source.index_url for source in sources}
        self._asked_with = {name: find_connection(url) for name, url in self._urls.items()}

    def look_again(self) -> None:
        """Have every source forget its answers that is asked with another connection from now on."""
        for name, url in self._urls.items():
            connection = self._find_connection(url)
            if connection != self._asked_with[name]:
                self._asked_with[name] = connection
                self._forget_answers(name)
