"""Page builder: project pages out of files that a source found lying somewhere, in a folder or a container."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from wheelgate.core.digests import SHA256
from wheelgate.core.file_list import FileList
from wheelgate.core.model import UNUSABLE, File, ProjectPage, StoredFile, Withheld
from wheelgate.core.names import version_of
from wheelgate.core.protocols import BlobInfo
from wheelgate.sources.holdings import DAMAGED


def page_of(
    project: str, files: Iterable[File], *, as_of: datetime, dropped: int = 0, withheld: tuple[Withheld, ...] = ()
) -> ProjectPage:
    """Build a page: the files by name, with the versions that their names state, but for those that nobody could install."""
    ordered = FileList(sorted(files, key=lambda file: file.filename))
    names = (entry.filename for entry in (*ordered, *(entry for entry in withheld if entry.rule not in (DAMAGED, UNUSABLE))))
    versions = dict.fromkeys(filter(None, (version_of(name, project) for name in names)))
    return ProjectPage(project=project, files=ordered, versions=tuple(versions), withheld=withheld, as_of=as_of, dropped=dropped)


def stored_file(source: str, store: str, project: str, filename: str, info: BlobInfo, *, provenance: str | None = None) -> File:
    """List a blob as a distribution file: what its facts say, and the store's own time where they do not say when it came.

    ``provenance``: where its provenance object is served, if it has one.
    """
    facts = info.facts
    sha256, metadata_sha256 = _digest(facts, "sha256"), _digest(facts, "metadata_sha256")
    return File(
        filename=filename,
        project=project,
        source=source,
        location=StoredFile(store, info.path, info.etag),
        hashes={"sha256": sha256} if sha256 else {},
        size=info.size,
        upload_time=_moment(facts.get("upload_time")) or info.created,
        requires_python=facts.get("requires_python"),
        yanked=facts.get("yanked"),
        core_metadata={"sha256": metadata_sha256} if sha256 and metadata_sha256 else None,
        provenance=provenance,
    )


def _digest(facts: Mapping[str, str], name: str) -> str | None:
    """Take a digest, if it is one: what others wrote beside a blob may be anything; paths of our store are made of digests."""
    stated = facts.get(name, "").lower()
    return stated if SHA256.fullmatch(stated) else None


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return None if moment.tzinfo is None else moment.astimezone(UTC)  # without an offset it is not a moment
