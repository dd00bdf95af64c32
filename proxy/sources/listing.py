"""A page of files that a source found lying somewhere: in a folder, in a container."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from proxy.model import File, ProjectPage, StoredFile
from proxy.names import version_of
from proxy.protocols import BlobInfo


def page_of(project: str, files: Iterable[File], *, as_of: datetime, dropped: int = 0) -> ProjectPage:
    """The files by name, with the versions that their names state."""
    ordered = tuple(sorted(files, key=lambda file: file.filename))
    versions = dict.fromkeys(filter(None, (version_of(file.filename, project) for file in ordered)))
    return ProjectPage(project=project, files=ordered, versions=tuple(versions), as_of=as_of, dropped=dropped)


def stored_file(source: str, store: str, project: str, filename: str, info: BlobInfo) -> File:
    """A blob as a distribution file: what its facts say, and the store's own time where they do not say when it came."""
    facts = info.facts
    return File(
        filename=filename,
        project=project,
        source=source,
        location=StoredFile(store, info.path, info.etag),
        hashes={"sha256": facts["sha256"]} if "sha256" in facts else {},
        size=info.size,
        upload_time=_moment(facts.get("upload_time")) or info.created,
        requires_python=facts.get("requires_python"),
        yanked=facts.get("yanked"),
        core_metadata={"sha256": facts["metadata_sha256"]} if "metadata_sha256" in facts else None,
    )


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return None if moment.tzinfo is None else moment.astimezone(UTC)  # without an offset it is not a moment
