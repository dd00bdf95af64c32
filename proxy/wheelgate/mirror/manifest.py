"""Manifest of a mirror, ``wheelgate-mirror.json``: what it holds, from where and whose, with which digest, for whom, since when.

It vouches for bytes: a name that stands in it, as seen (:class:`Sighting`) or as held (:class:`ManifestEntry`), stands for one
content, whoever lists another one later. A name is written down as seen before its file is put in place. So two runs at once
cannot put different bytes there, and no file ever lies in a mirror of which nobody could tell whose it is.

It travels with the files: what a source said, when that was, and whose a project is, is read out of it wherever they are served.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import chain
from typing import Annotated, Literal

import msgspec

from wheelgate.core.digests import Sha256
from wheelgate.core.model import FormatVersion
from wheelgate.core.names import is_index_document
from wheelgate.sources.mirror_facts import MANIFEST_NAME, MANIFEST_VERSION, Origin

NAME = MANIFEST_NAME
METADATA = ".metadata"
"""The ending of the core metadata beside a wheel (PEP 658)."""
Observable = Literal["sha256", "size", "upload_time"]
OBSERVABLE: tuple[Observable, ...] = ("sha256", "size", "upload_time")
_STRENGTH: Mapping[Origin | None, int] = {None: 0, "public": 1, "merged": 2, "private": 3}
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]
_PROJECT = "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_FILE = r"(?!.*\.(?i:metadata|provenance)\Z)[A-Za-z0-9_][^/\\\x00-\x1f\x7f-\x9f]*"
# What stands beside a file is vouched for by the file's entry, so it is none itself.
_Path = Annotated[str, msgspec.Meta(pattern=rf"^{_PROJECT}/{_FILE}\Z", max_length=500)]
Refusals = dict[str, str]
"""By path, a sentence saying why a file may not be put there."""


class Sighting(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One file that was listed, or fetched, and is not in its place yet: its name is for these bytes from then on."""

    path: _Path
    sha256: Sha256
    source: str
    origin: Origin | None = None
    """``None``: a manifest of a former release did not say."""
    observed: list[Observable] = []
    seen: _Moment


class ManifestEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One file, as it was when it had been verified."""

    path: _Path
    """``<project>/<file>``."""
    sha256: Sha256
    size: Annotated[int, msgspec.Meta(ge=0)]
    """Bytes."""
    source: str
    """The configured source it came from; never its URL."""
    origin: Origin | None = None
    """``None``: a manifest of a former release did not say."""
    observed: list[Observable] = []
    """Names of the fields that the source did not state, and that were seen of the bytes."""
    metadata_sha256: Sha256 | None = None
    provenance_sha256: Sha256 | None = None
    upload_time: _Moment | None = None
    requires_python: str | None = None
    yanked: str | None = None
    as_of: _Moment | None = None
    """Moment at which the index first said the last three as they are here; what it said later goes before it."""
    needed_by: dict[str, list[str]] = {}
    """Input label to the targets it is for."""
    stored: _Moment
    etag: str | None = None
    """Of a container: as long as it stays, nobody wrote the file again."""

    def update(self, now: ManifestEntry) -> ManifestEntry:
        """Tell the same bytes anew: what was said later stands, but a file grows no younger, and no private one public."""
        later, earlier = (now, self) if (now.as_of or _LONG_AGO) >= (self.as_of or _LONG_AGO) else (self, now)
        is_same = (later.requires_python, later.yanked) == (earlier.requires_python, earlier.yanked)
        dated = min((one for one in (self, now) if one.upload_time), key=lambda one: one.upload_time or _LONG_AGO, default=now)
        seen_time = {"upload_time"} & set(dated.observed)
        observed = set(self.observed) & set(now.observed) - {"upload_time"} | seen_time
        by = now if _STRENGTH[now.origin] > _STRENGTH[self.origin] else self
        return msgspec.structs.replace(
            now,
            source=by.source,
            origin=by.origin,
            observed=sorted(observed),
            metadata_sha256=now.metadata_sha256 or self.metadata_sha256,
            provenance_sha256=self.provenance_sha256 or now.provenance_sha256,
            upload_time=dated.upload_time,
            requires_python=later.requires_python,
            yanked=later.yanked,
            as_of=earlier.as_of if is_same else later.as_of,
            needed_by=_join_needs(self.needed_by, now.needed_by),
            stored=min(self.stored, now.stored),
        )


class ManifestInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One input, and for which targets it was mirrored, by one run or by several."""

    targets: list[str]
    mirrored: _Moment
    place: str | None = None
    """Of a file, a digest of where it lay: another file of that name is another input."""

    def join(self, now: ManifestInput) -> ManifestInput:
        """Join the targets of another run."""
        targets = sorted({*self.targets, *now.targets})
        return ManifestInput(targets, max(self.mirrored, now.mirrored), now.place or self.place)


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The inputs and files of one mirror. A field more is another version: taken for none, it would vouch for nothing."""

    wheelgate_mirror: FormatVersion = MANIFEST_VERSION
    inputs: dict[str, ManifestInput] = {}
    files: list[ManifestEntry] = []
    """Held, and vouched for."""
    seen: list[Sighting] = []

    def places(self) -> dict[str, str | None]:
        return {label: one.place for label, one in self.inputs.items()}

    def by_path(self) -> dict[str, ManifestEntry]:
        return {entry.path: entry for entry in self.files}

    def announce(self, sightings: Iterable[Sighting], place: str) -> tuple[Manifest, Refusals]:
        """Write down what is about to be put in place; this very object if all of that is known.

        Refused is what would change what a name stands for, and a public file of a project that is private here.
        """
        announced = list(sightings)
        held, seen, refused = self.by_path(), {one.path: one for one in self.seen}, Refusals()
        everything: Iterable[Sighting | ManifestEntry] = chain(announced, self.seen, self.files)
        private = {project_of(one.path): one.source for one in everything if one.origin == "private"}
        for one in announced:
            known = held.get(one.path) or seen.get(one.path)
            owner = private.get(project_of(one.path))
            is_known = known is not None and known.sha256 == one.sha256
            if known is not None and not is_known and not _may_change(known):
                refused[one.path] = _describe_change(known, one, place)
            elif owner is not None and (one.origin == "public" or (one.origin is None and not is_known)):
                refused[one.path] = _describe_stranger(one, owner, place)
            elif one.path not in held and not is_known:
                seen[one.path] = one
        if seen == {one.path: one for one in self.seen}:
            return self, refused
        return msgspec.structs.replace(self, seen=[seen[path] for path in sorted(seen)]), refused

    def add(
        self,
        entries: Iterable[ManifestEntry],
        inputs: Mapping[str, ManifestInput],
        place: str,
        *,
        complete: bool = True,
        whole: bool = True,
    ) -> tuple[Manifest, Refusals]:
        """Add what is in place now; this very object if that is nothing new.

        Who needs a file is joined. The inputs named, unless they were mirrored later than is said here, need what is said now
        and nothing else; if that is not ``complete``, nothing is taken from them. What is one run's, and not the ``whole``,
        is so on its targets alone, whichever run ended first: a pipeline has a job for each Python.
        """
        later = {label for label, one in inputs.items() if label in self.inputs and self.inputs[label].mirrored > one.mirrored}
        outdated = later if whole else set[str]()
        current = {label: one for label, one in inputs.items() if complete and label not in outdated}
        if not whole:
            current = {label: self.inputs[label].join(one) if label in self.inputs else one for label, one in current.items()}
        files, seen, refused = {}, {one.path: one for one in self.seen}, Refusals()
        for entry in self.files:
            gone = {label: None if whole else inputs[label].targets for label in current}
            others = _take_needs(entry.needed_by, gone)
            files[entry.path] = msgspec.structs.replace(entry, needed_by=others)
        for entry in entries:
            known = files.get(entry.path)
            first = known or seen.get(entry.path)
            if first is not None and first.sha256 != entry.sha256 and not _is_document(first):
                refused[entry.path] = _describe_change(first, entry, place)
                continue
            needed_by = {label: entry.needed_by[label] for label in sorted(entry.needed_by) if label not in outdated}
            added = msgspec.structs.replace(entry, needed_by=needed_by)
            files[entry.path] = added if known is None or known.sha256 != entry.sha256 else known.update(added)
            seen.pop(entry.path, None)
        changed = Manifest(
            inputs=dict(sorted({**self.inputs, **current}.items())),
            files=[files[path] for path in sorted(files)],
            seen=[seen[path] for path in sorted(seen)],
        )
        return (self if changed._without_times() == self._without_times() else changed), refused

    def _without_times(self) -> Manifest:
        """The same, but for when each input was mirrored last: for that alone nothing is written."""
        inputs = {label: msgspec.structs.replace(one, mirrored=_LONG_AGO) for label, one in self.inputs.items()}
        return msgspec.structs.replace(self, inputs=inputs)


def _join_needs(one: Mapping[str, list[str]], other: Mapping[str, list[str]]) -> dict[str, list[str]]:
    return {label: sorted({*one.get(label, ()), *other.get(label, ())}) for label in sorted({*one, *other})}


def _take_needs(needs: Mapping[str, list[str]], away: Mapping[str, list[str] | None]) -> dict[str, list[str]]:
    """Take inputs from those that need a file, for some targets; ``None``: for all."""
    rest = {}
    for label, targets in needs.items():
        gone = away.get(label, [])
        if left := [] if gone is None else [one for one in targets if one not in gone]:
            rest[label] = left
    return rest


def project_of(path: str) -> str:
    """Find the project that a path is below."""
    return path.partition("/")[0]


def _may_change(known: ManifestEntry | Sighting) -> bool:
    """Tell whether a name may get other bytes: a document of the index, and what was fetched once, unstated, and never held."""
    return _is_document(known) or (isinstance(known, Sighting) and "sha256" in known.observed)


def _is_document(known: ManifestEntry | Sighting) -> bool:
    return is_index_document(known.path.partition("/")[2])


def _describe_change(known: ManifestEntry | Sighting, now: ManifestEntry | Sighting, place: str) -> str:
    held = isinstance(known, ManifestEntry)
    since = f"{known.stored if isinstance(known, ManifestEntry) else known.seen:%Y-%m-%d}"
    unstated = ", which no source stated," if "sha256" in known.observed else ""
    return (
        f"ALARM: {known.path} has the sha256 {now.sha256} in source {now.source}; {place} "
        f"{'holds' if held else 'has seen'} it since {since} with {known.sha256}{unstated} from source {known.source}: "
        f"{'that stays, and the other is refused' if held else 'the other is refused'}; a file name never changes its content: "
        "have the new one published as a new version"
    )


def _describe_stranger(stranger: Sighting, owner: str, place: str) -> str:
    project = project_of(stranger.path)
    kind = "a public source" if stranger.origin == "public" else "a mirror of a former release, which does not say whose it is"
    return (
        f"ALARM: {stranger.path} is refused: it comes from source {stranger.source} ({kind}), and {project} is private in "
        f"{place}, which has files of it from source {owner}: mirror it from there, or join the two by a policy.merge rule"
    )
