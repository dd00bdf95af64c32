"""Packages kept as blobs, one folder a project: the store's own uploads."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from proxy.errors import ProjectNotFound
from proxy.model import File, ProjectPage, StoredFile
from proxy.names import Membership, is_distribution, is_safe_filename, normalised, version_of
from proxy.protocols import BlobInfo, BlobStore, Clock


class BlobPackages:
    """A :class:`~proxy.protocols.Source` over ``<prefix><project>/<filename>`` in a store. One listing gives a page."""

    def __init__(self, *, name: str, store: BlobStore, prefix: str, clock: Clock) -> None:
        self._name = name
        self._store = store
        self._prefix = prefix
        self._clock = clock
        self._names: frozenset[str] | None = None
        self._generation = 0

    @property
    def name(self) -> str:
        """The operator's name for it."""
        return self._name

    def forget(self) -> None:
        """The store changed: list the names again at the next question."""
        self._generation += 1
        self._names = None

    async def project_names(self) -> frozenset[str]:
        """Every project with a file."""
        if self._names is not None:
            return self._names
        generation = self._generation
        start = len(self._prefix)
        folders = {info.path[start:].partition("/")[0] async for info in self._store.list(self._prefix)}
        names = frozenset(folder for folder in folders if normalised(folder) == folder)
        if generation == self._generation:  # else what was listed may be older than the change
            self._names = names
        return names

    async def project_page(self, project: str) -> ProjectPage:
        """See :class:`~proxy.protocols.Source`."""
        prefix = f"{self._prefix}{project}/"
        blobs = [info async for info in self._store.list(prefix)]
        members = Membership(project)
        files = [
            self._file(project, filename, info)
            for info in sorted(blobs, key=lambda info: info.path)
            if is_safe_filename(filename := info.path.removeprefix(prefix)) and is_distribution(filename) and filename in members
        ]
        if not files:
            raise ProjectNotFound(f"source {self._name} has no project {project}")
        versions = dict.fromkeys(filter(None, (version_of(file.filename, project) for file in files)))
        return ProjectPage(
            project=project,
            files=tuple(files),
            versions=tuple(versions),
            as_of=self._clock.now(),
            dropped=len(blobs) - len(files),
        )

    def _file(self, project: str, filename: str, info: BlobInfo) -> File:
        facts = info.facts
        return File(
            filename=filename,
            project=project,
            source=self._name,
            location=StoredFile(self._store.name, info.path, info.etag),
            hashes={"sha256": facts["sha256"]} if "sha256" in facts else {},
            size=info.size,
            upload_time=_moment(facts) or info.created,
            requires_python=facts.get("requires_python"),
            yanked=facts.get("yanked"),
            core_metadata={"sha256": facts["metadata_sha256"]} if "metadata_sha256" in facts else None,
        )


def _moment(facts: Mapping[str, str]) -> datetime | None:
    try:
        moment = datetime.fromisoformat(facts["upload_time"])
    except (KeyError, ValueError):
        return None
    return None if moment.tzinfo is None else moment.astimezone(UTC)  # without an offset it is not a moment
