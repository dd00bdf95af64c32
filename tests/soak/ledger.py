"""The truth that everything is judged by: which files were acknowledged, what was last done to each, and what went wrong."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

from tests.soak.store_watch import StoreWatch
from tests.support.packages import metadata, sha256, wheel_bytes, wheel_name

SEEN_WITHIN_S = 5.0
"""How long a change may take to be seen on every replica."""
BAIT = "99.0"
"""The version under which the public index offers every name of ours: whoever shows it has let a stranger in."""
_PADDING = 100_000  # more than the 64 KiB that are held back until size and digest agree


class State(StrEnum):
    LISTED = "listed"
    YANKED = "yanked"
    DELETED = "deleted"


@lru_cache(maxsize=512)
def wheel(project: str, version: str, requires: str = "") -> bytes:
    """The only right bytes of a file."""
    return wheel_bytes(project, version, requires=[requires] if requires else [], padding=_PADDING)


@dataclass
class OwnFile:
    """A file of ours, and what was last acknowledged of it."""

    project: str
    version: str
    requires: str
    sha256: str
    state: State = State.LISTED
    since_s: float = 0.0
    """When that was acknowledged, by the monotonic clock."""
    changing: bool = True
    """Something is being done to it, or was and was never acknowledged: it may be seen before or after."""
    readers: int = 0
    """Installers that count on its being there."""

    @property
    def filename(self) -> str:
        return wheel_name(self.project, self.version)

    @property
    def body(self) -> bytes:
        return wheel(self.project, self.version, self.requires)

    @property
    def metadata(self) -> bytes:
        return metadata(self.project, self.version, requires=[self.requires] if self.requires else [])

    def settled(self, now_s: float) -> bool:
        """True if everybody must have seen its state."""
        return not self.changing and now_s - self.since_s > SEEN_WITHIN_S


@dataclass
class Ledger:
    """All files of ours, by project and name."""

    projects: dict[str, dict[str, OwnFile]] = field(default_factory=dict)

    def add(self, project: str, version: str, requires: str) -> OwnFile:
        """A file that is about to be uploaded."""
        file = OwnFile(project, version, requires, sha256(wheel(project, version, requires)))
        self.projects.setdefault(project, {})[file.filename] = file
        return file

    def files(self) -> Iterator[OwnFile]:
        for files in self.projects.values():
            yield from files.values()

    def pick(self, dice: random.Random, *states: State, unread: bool = False) -> OwnFile | None:
        """Any settled file in one of the states; ``unread``: one that no installer counts on."""
        now_s = time.monotonic()
        found = [file for file in self.files() if file.state in states and file.settled(now_s) and not (unread and file.readers)]
        return dice.choice(found) if found else None

    @staticmethod
    def acknowledge(file: OwnFile, state: State) -> None:
        """What was being done to a file is done."""
        file.state, file.since_s, file.changing = state, time.monotonic(), False


def find_differences(files: dict[str, OwnFile], page: dict[str, Any] | None, asked_s: float) -> list[str]:
    """In what a page that was asked for at a moment is not what has been acknowledged; ``None``: there was no such page."""
    listed = {} if page is None else {entry["filename"]: entry for entry in page["files"]}
    wrong = [f"{name} is on the page, and was never ours" for name in listed.keys() - files.keys()]
    for file in files.values():
        if not file.settled(asked_s):
            continue
        entry = listed.get(file.filename)
        if file.state is State.DELETED:
            if entry is not None:
                wrong.append(f"{file.filename} was deleted, and is listed")
        elif entry is None:
            wrong.append(f"{file.filename} was acknowledged, and is not listed")
        elif entry["hashes"].get("sha256") != file.sha256:
            wrong.append(f"{file.filename} is listed with another digest")
        elif (entry.get("yanked", False) is not False) is not (file.state is State.YANKED):
            wrong.append(f"{file.filename} is {file.state}, and the page says yanked: {entry.get('yanked', False)}")
    return wrong


class Kind(StrEnum):
    """What is counted of what broke, each by itself."""

    INSTALL = "installs that failed after pip's own retries"
    BYTES = "wrong bytes, wrong digests, files of strangers"
    LOST = "acknowledged uploads that were lost"
    LATE = "pages and tokens not alike on all replicas within 5 s"
    OTHER = "anything else"


@dataclass(frozen=True)
class Breakage:
    """Something that was not as promised."""

    kind: Kind
    line: str
    at_s: float
    """When it was found, by the monotonic clock."""
    since_s: float | None
    """When it began; ``None``: it has no excuse, however silent the store was."""


@dataclass
class Record:
    """What happened and what broke, in the order of time; everything counted."""

    folder: Path
    broken: list[Breakage] = field(default_factory=list)
    forgiven: list[Breakage] = field(default_factory=list)
    """What broke while the store itself was silent to everybody."""
    counts: Counter[str] = field(default_factory=Counter)
    times_s: dict[str, list[float]] = field(default_factory=dict)
    began_s: float = field(default_factory=time.monotonic)

    def note(self, what: str) -> None:
        """Write an event down."""
        with (self.folder / "events.log").open("a") as file:
            file.write(f"{time.strftime('%H:%M:%S')} {self.age_s:8.2f} s  {what}\n")

    def break_(self, what: str, replica: str = "", *, kind: Kind = Kind.OTHER, since_s: float | None = None) -> None:
        """Something was not as promised. ``since_s``: since when, if a silence of the store would excuse it."""
        line = f"{self.age_s:8.2f} s  {f'{replica}: ' if replica else ''}{what}"
        self.broken.append(Breakage(kind, line, time.monotonic(), since_s))
        self.note(f"BROKEN {replica} {what}")
        if len(self.broken) <= 50:
            print(f"BROKEN {line}", flush=True)

    def forgive(self, watch: StoreWatch) -> None:
        """Take out of what broke what a silence of the store excuses."""
        broken, self.broken = self.broken, []
        for each in broken:
            excused = each.since_s is not None and watch.excuses(each.since_s, each.at_s)
            (self.forgiven if excused else self.broken).append(each)

    def time(self, what: str, took_s: float) -> None:
        self.times_s.setdefault(what, []).append(took_s)

    @property
    def age_s(self) -> float:
        return time.monotonic() - self.began_s


def parse_page(body: bytes) -> dict[str, Any]:
    page: dict[str, Any] = json.loads(body)
    return page
