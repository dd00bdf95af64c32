"""Question to an upstream: what is asked, until when an answer is wanted, and what came of asking so far."""

from __future__ import annotations

import asyncio
from enum import Enum

from wheelgate.runtime.deadline import Deadline


class QuestionKind(Enum):
    """Kinds of what is asked. Each has connections of its own, and fails by itself."""

    PAGE = "page"
    """An index page, or an answer of an API."""
    METADATA = "metadata"
    """Core metadata, or a small part of a file."""
    FILE = "file"


class Fault(Enum):
    """Kinds of what may go wrong at an upstream, by what may be concluded of others."""

    BROKEN = "broken"
    """It answered soon, and with a failure: that says something of this address alone."""
    SILENT = "silent"
    """It was asked for some seconds and said nothing. Whoever else asks may have to wait as long."""
    UNREACHABLE = "unreachable"
    """There was no connection: nobody else will get one either."""


class Question:
    """One thing that is asked, by one request or by several in turn."""

    def __init__(
        self, url: str, kind: QuestionKind, deadline: Deadline, *, is_control: bool = False, stays: bool = False
    ) -> None:
        """A question that nobody was asked yet.

        Args:
            url: as a listing names it, before any redirect.
            kind: decides on connections and patience.
            deadline: until when an answer is wanted.
            is_control: nobody needs the answer but this server.
            stays: only the source itself may answer, and none of its file hosts.
        """
        self.url = url
        self.kind = kind
        self.deadline = deadline
        self.is_control = is_control
        self.stays = stays
        self.host = ""
        """Host, with its port, of the hop that is being asked, or was asked last."""
        self.fault: Fault | None = None
        """The last one; ``None``: nothing went wrong that was the upstream's doing."""
        self.is_heard = False
        """Whether the hop that is being asked began to answer."""
        self._asked_s: float | None = None

    @property
    def address(self) -> str:
        """The address that a fault is held against first."""
        return f"{self.kind.value} {self.url}"

    def turn_to(self, host: str) -> None:
        """A host is to be asked next, as soon as there is a connection for it: until then we wait for ourselves."""
        self.host, self.is_heard, self._asked_s = host, False, None

    def begin(self) -> None:
        """A connection is free for it: from now on the upstream is waited for."""
        self._asked_s = asyncio.get_running_loop().time()

    def asked_for_s(self) -> float:
        """Seconds since the host that is being asked was turned to with a connection; 0 if it was not."""
        return 0.0 if self._asked_s is None else asyncio.get_running_loop().time() - self._asked_s
