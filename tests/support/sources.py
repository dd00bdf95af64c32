"""Sources under the test's control, and the values they list."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import msgspec

from tests.support.clock import FakeClock
from tests.support.packages import wheel_name
from wheelgate.core.errors import ProjectNotFound, UpstreamUnavailable
from wheelgate.core.file_list import FileList
from wheelgate.core.model import File, ProjectPage, RemoteFile, Withheld
from wheelgate.core.names import version_of
from wheelgate.core.packed_names import PackedNames
from wheelgate.runtime.metrics import Metrics

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def listed(
    project: str,
    version: str,
    *,
    source: str = "fake",
    content: str = "",
    upload_time: datetime | None = LONG_AGO,
    hashes: Mapping[str, str] | None = None,
    core_metadata: Mapping[str, str] | None = None,
    url: str | None = None,
    filename: str | None = None,
) -> File:
    """An entry for a wheel (or a file of another name); ``content`` stands for its bytes."""
    filename = filename or wheel_name(project, version)
    digest = hashlib.sha256(f"{filename} {content}".encode()).hexdigest()
    return File(
        filename=filename,
        project=project,
        source=source,
        location=RemoteFile(url or f"https://files.example.com/{source}/{filename}", source),
        hashes={"sha256": digest} if hashes is None else hashes,
        upload_time=upload_time,
        core_metadata=core_metadata,
    )


class FakeSource:
    """A Source that lists what it is given, fails when told to, and remembers everything it was asked."""

    def __init__(self, name: str, clock: FakeClock) -> None:
        self.name = name
        self.clock = clock
        self._names = PackedNames()
        self.files: dict[str, dict[str, File]] = {}
        self.error: Exception | None = None
        """Raised for every project."""
        self.errors: dict[str, Exception] = {}
        """Raised for one."""
        self.asked: list[str] = []
        self.hold: asyncio.Event | None = None
        """If set, answers are computed at once and given when it is set."""
        self.before_answer: Callable[[str], None] = lambda project: None
        self.withheld: tuple[Withheld, ...] = ()
        """Of every page that is made from now on."""
        self._pages: dict[str, ProjectPage] = {}

    def publish(self, project: str, version: str, **known: object) -> File:
        """List a file, uploaded now unless it says otherwise."""
        known.setdefault("upload_time", self.clock.now())
        file = listed(project, version, source=self.name, **known)  # type: ignore[arg-type]
        self.files.setdefault(project, {})[file.filename] = file
        self._pages.pop(project, None)
        return file

    def list_empty(self, project: str) -> None:
        """Have the project, without files."""
        self.files[project] = {}
        self._pages.pop(project, None)

    def remove(self, project: str) -> None:
        self.files.pop(project, None)
        self._pages.pop(project, None)

    def fail(self, error: Exception | None = None) -> None:
        self.error = error or UpstreamUnavailable(f"source {self.name} is down", source=self.name)

    def mend(self) -> None:
        self.error = None
        self.errors.clear()

    def remember_absence(self, project: str, *, last_heard: datetime, outage_since: datetime) -> None:
        """Repeat a "not there" of before an outage, as :class:`wheelgate.sources.cached.Cached` does."""
        self.errors[project] = ProjectNotFound(
            f"source {self.name} is unreachable; before that it had no project {project}",
            outage_since=outage_since,
            last_heard=last_heard,
        )

    async def project_names(self) -> PackedNames:
        self._raise_if_failing("")
        names = PackedNames.of(self.files)
        if names != self._names:
            self._names = names
        return self._names

    async def project_page(self, project: str) -> ProjectPage:
        self.asked.append(project)
        self.before_answer(project)
        outcome: ProjectPage | Exception
        try:
            outcome = self._answer(project)
        except Exception as error:
            outcome = error
        if self.hold is not None:
            await self.hold.wait()
        else:
            await asyncio.sleep(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _answer(self, project: str) -> ProjectPage:
        self._raise_if_failing(project)
        if project not in self.files:
            raise ProjectNotFound(f"source {self.name} has no project {project}")
        page = self._pages.get(project)
        if page is None:
            files = FileList(self.files[project].values())
            versions = tuple(dict.fromkeys(filter(None, (version_of(file.filename, project) for file in files))))
            page = self._pages[project] = ProjectPage(
                project=project,
                files=files,
                versions=versions,
                withheld=self.withheld,
                as_of=self.clock.now(),
                known_since=self.clock.now(),
            )
        return page

    def _raise_if_failing(self, project: str) -> None:
        error = self.error or self.errors.get(project)
        if error is not None:
            raise error


def counted(metrics: Metrics, name: str, **labels: str) -> float:
    """The value of one counter, 0 if nothing was counted yet."""
    return metrics._registry.get_sample_value(f"wheelgate_{name}_total", labels) or 0.0


def content(page: ProjectPage | None) -> ProjectPage | None:
    """A page without its revision, to be compared with another one that says the same."""
    return page and msgspec.structs.replace(page, revision=0)


def filenames(page: ProjectPage) -> list[str]:
    return [file.filename for file in page.files]
