"""The rows of the table of faults, as data: a fault, what is asked while it lasts, and what has to be seen.

What a row expects is what the product promises, whatever the code does today. A row that does not hold yet says so (``known``),
by the aspects in which it fails; it fails the tests once it holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Protocol

from tests.support.gate import Gate

CLIENT, LOG, METRICS, STORE, RECOVERY = "client", "log", "metrics", "store", "recovery"
OTHERS, LEAKS, PUBLIC, PREPARED = "others", "leaks", "public", "prepared"
"""Aspects of a row. ``others``: probes and innocent clients; ``leaks``: secrets in answers and logs, tracebacks; ``public``: what
a public index was asked for, although the name is private; ``prepared``: what is there before the fault
could not be made."""
BROKEN_OFF = 0
"""The status of an answer that ended before it was whole, or never came."""


@dataclass(frozen=True)
class Seen:
    """What a client saw."""

    status: int
    reason: str = ""
    headers: dict[str, str] | None = None
    body: bytes = b""
    took_s: float = 0.0
    wrong: str = ""
    """What is wrong with a body or page that came with a success."""


class Site(Protocol):
    """The processes that a group's rows are played against; shared by its rows, each of which uses names of its own."""

    server: Gate

    def secrets(self) -> Sequence[str]:
        """Texts that no answer and no log may show."""

    def asked_in_public(self) -> Sequence[str]:
        """Paths of requests to a public index."""


class Step(Protocol):
    """Something that a client asks for."""

    name: str
    words: str

    def prepare(self, site: Any, name: str) -> None:
        """Bring about what has to be there before the fault; ``name`` is the row's own project."""

    def ask(self, site: Any, name: str) -> Seen:
        """Ask while the fault lasts."""

    def look_healed(self, site: Any, name: str) -> str:
        """What is not yet as it should be, after the fault; nothing if all is."""

    def look_kept(self, site: Any, name: str, seen: Seen) -> str:
        """What is wrong in the store, looked at behind the server's back once all is healed."""

    kept: str
    """What the store has to hold, in words."""
    recovery: str
    """When all is right again, in words; empty: as the row says."""


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong, and the way it is made to."""

    name: str
    words: str
    injected: str
    inject: Callable[[Any, str], AbstractContextManager[object]]
    """For a site and the row's project; healed when the block ends."""
    needs: Callable[[], str] = lambda: ""
    """What this machine lacks to inject it; nothing if it can."""


@dataclass(frozen=True)
class Expect:
    """What is promised while the fault lasts, and after it."""

    status: tuple[int, ...]
    within_s: float = 12.0
    says: str = ""
    """A pattern that the sentence of a refusal matches."""
    log: str = ""
    """A pattern that the log matches."""
    metric: str = ""
    """The start of a sample of ``/metrics`` that has to have risen."""
    recovers_s: float = 5.0
    retry_after: bool = True
    """Whether a 503 has to say when to try again; probes and commands need not."""

    def describe_client(self) -> str:
        what = " or ".join("broken off" if status == BROKEN_OFF else str(status) for status in self.status)
        if 503 in self.status and self.retry_after:
            what += " (`Retry-After` 1 to 5)"
        return f"{what} within {self.within_s:g} s" + (f", says “{_plain(self.says)}”" if self.says else "")

    def describe_trace(self) -> str:
        found = [*([f"log: “{_plain(self.log)}”"] if self.log else []), *([f"`{self.metric}` rises"] if self.metric else [])]
        return "; ".join(found) or "no traceback"


def _plain(pattern: str) -> str:
    return re.sub(r"\\(.)", r"\1", pattern.replace(".*", "…"))


@dataclass(frozen=True)
class Known:
    """A fault of the product that is known, and not mended yet."""

    name: str
    aspects: tuple[str, ...]
    measured: str
    always: bool = True
    """``False``: it is at the edge of what is promised, and a quiet machine is within."""


def find_known(name: str, table: Mapping[str, Known]) -> Known | None:
    """The known fault of the first pattern that a row's name (without its group) matches."""
    return next((known for pattern, known in table.items() if fnmatchcase(name, pattern)), None)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of the table."""

    group: str
    fault: Fault
    step: Step
    expect: Expect
    open_site: Callable[[Path], AbstractContextManager[Site]]
    """Rows with the same one share the site."""
    quick: bool = False
    """Runs in CI; the others by hand."""
    at_once: bool = False
    """May be played together with others of its site, so that their waits overlap."""
    watched: bool = False
    """Costs the server time or memory, if it could: the loop and the memory are watched meanwhile."""
    known: Known | None = None

    @property
    def name(self) -> str:
        return f"{self.group}/{self.fault.name}/{self.step.name}" if self.step.name else f"{self.group}/{self.fault.name}"

    @property
    def project(self) -> str:
        """A normalised name that no other row has."""
        return re.sub(r"[^a-z0-9]+", "-", f"{self.fault.name}-{self.step.name}".lower()).strip("-")


@dataclass(frozen=True)
class Reference:
    """A row that a test elsewhere plays, because it needs more than one question and one answer."""

    group: str
    fault: str
    expect: str
    test: str


@dataclass(frozen=True)
class Impossible:
    """A fault that cannot be made here, and why; and what stands in for it."""

    group: str
    fault: str
    why: str
    instead: str
