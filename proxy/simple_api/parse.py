"""A Simple API answer to a frozen page: what is usable is kept, what is not is left out and counted.

Upstreams are not trusted to be well-formed. One bad field in one entry makes some installers reject the whole page and
others crash, so every entry is judged alone: a mistyped optional field is left out; an entry whose name, link or digest
cannot be trusted is dropped. Only an answer that is not an index page at all is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Protocol

import msgspec

from proxy.model import File, ProjectStatus
from proxy.names import Membership, is_safe_filename, normalised, same_version_key, version_of
from proxy.slices import Steps

MAX_FILES = 200_000
_DIGEST = {
    "md5": re.compile(r"[0-9a-f]{32}"),
    "sha256": re.compile(r"[0-9a-f]{64}"),
    "sha384": re.compile(r"[0-9a-f]{96}"),
    "sha512": re.compile(r"[0-9a-f]{128}"),
}
_HEX = "0123456789abcdef"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_STATUSES = {"active", "archived", "quarantined", "deprecated"}
_MAX_TEXT = 1_000
_SLICE_FILES = 250
_BOM = b"\xef\xbb\xbf"
_MAX_JSON_BYTES = 32 * 1024 * 1024  # three times the largest page of the public index
# Decoding goes by the number of values, in one go: a hundred thousand real entries take less than a million bare numbers. In a
# real page a comma comes every 70 bytes or so.
_MANY_COMMAS = 100_000
_BYTES_A_COMMA = 16
_MAX_LOOSE_BYTES = 1024 * 1024
_MAX_UNUSABLE = 5_000
"""Of entries that are none: judging one takes ten times as long as reading a good one."""


class NotAnIndexPage(ValueError):
    """The answer cannot be read as a page of the Simple API; the message completes "it answered with ..."."""


class Links(Protocol):
    """Turns what a page links to into URLs we may ask, and everything else into ``None``."""

    def rebase(self, href: str) -> None:
        """Resolve from now on against a ``<base href>``."""
        ...

    def absolute(self, href: str) -> str | None:
        """The absolute URL without fragment, or ``None`` if it is malformed or leads where the source may not go."""
        ...


class Parsed(msgspec.Struct):
    """What one answer says about one project."""

    files: tuple[File, ...]
    versions: tuple[str, ...]
    status: ProjectStatus | None
    dropped: int


class Collector:
    """Judges entries one by one and gathers a page. Both serialisations end here, so one set of rules holds for both.

    ``versions``: those the upstream lists, if it lists any; what its file names state beyond them is added (PEP 700).
    """

    def __init__(self, project: str, make: Callable[..., File], versions: Iterable[str] = ()) -> None:
        self._project = project
        self._make = make
        self._members = Membership(project)
        self._files: dict[str, File | None] = {}
        self._versions = dict.fromkeys(versions)
        self._covered: set[str] | None = None
        self.dropped = 0
        self._unusable = 0

    def __bool__(self) -> bool:
        """Whether there is any file of the project."""
        return bool(self._files)

    def add(
        self,
        filename: str,
        url: str | None,
        hashes: Mapping[str, str] | None,
        *,
        size: int | None = None,
        upload_time: datetime | None = None,
        requires_python: str | None = None,
        yanked: str | None = None,
        core_metadata: Mapping[str, str] | None = None,
        provenance: str | None = None,
    ) -> None:
        """One entry. ``hashes=None``: a digest was malformed; ``url=None``: the link was unsafe. Either drops it."""
        if url is None or hashes is None or not is_safe_filename(filename) or filename not in self._members:
            self.dropped += 1
            return
        if len(self._files) >= MAX_FILES:
            raise NotAnIndexPage(f"more than {MAX_FILES} files")
        if filename in self._files:
            self.dropped += 1
            earlier = self._files[filename]
            if earlier is not None and earlier.hashes != hashes:
                self._files[filename] = None  # one name, two contents: neither can be trusted
            return
        self._files[filename] = self._make(
            filename=filename,
            url=url,
            hashes=hashes,
            size=size,
            upload_time=upload_time,
            requires_python=requires_python,
            yanked=yanked,
            core_metadata=core_metadata,
            provenance=provenance,
        )
        self._cover(filename)

    def _cover(self, filename: str) -> None:
        if filename.endswith(".whl") and filename.partition("-")[2].partition("-")[0] in self._versions:
            return  # as nearly always: spelled as the upstream lists it
        version = version_of(filename, self._project)
        if version is None or version in self._versions:
            return
        if self._covered is None:
            self._covered = {same_version_key(listed) for listed in self._versions}
        if (key := same_version_key(version)) not in self._covered:
            self._covered.add(key)
            self._versions[version] = None

    def drop_unusable(self) -> None:
        """Count an entry that is not one at all.

        Raises:
            NotAnIndexPage: there are so many that this is no index page.
        """
        self.dropped += 1
        self._unusable += 1
        if self._unusable > _MAX_UNUSABLE:
            raise NotAnIndexPage(f"more than {_MAX_UNUSABLE} entries that are none")

    def page(self, status: ProjectStatus | None) -> Parsed:
        """The page, with versions that cover every file."""
        files = tuple(file for file in self._files.values() if file is not None)
        self.dropped += len(self._files) - len(files)
        return Parsed(files, tuple(self._versions), status, self.dropped)


class _WireFile(msgspec.Struct, rename="kebab", gc=False):
    filename: str
    url: str
    hashes: dict[str, str]
    requires_python: str | None = None
    size: int | None = None
    upload_time: datetime | None = None
    yanked: bool | str | None = False
    core_metadata: bool | dict[str, str] | None = None
    dist_info_metadata: bool | dict[str, str] | None = None
    provenance: str | None = None


class _WirePage(msgspec.Struct, rename="kebab"):
    files: list[msgspec.Raw]
    name: msgspec.Raw = msgspec.Raw()
    meta: msgspec.Raw = msgspec.Raw()
    versions: msgspec.Raw = msgspec.Raw()
    project_status: msgspec.Raw = msgspec.Raw()


_page_decoder = msgspec.json.Decoder(_WirePage)
_file_decoder = msgspec.json.Decoder(_WireFile)
_files_decoder = msgspec.json.Decoder(list[_WireFile])


def parse_json(body: bytes | bytearray, project: str, links: Links, make: Callable[..., File]) -> Steps[Parsed]:
    """A PEP 691 project page, in slices.

    Raises:
        NotAnIndexPage: not JSON, not such a page, another project's, or of a major version we do not know (PEP 629).
    """
    if len(body) > _MAX_JSON_BYTES:
        raise NotAnIndexPage("more JSON than any project page is")
    commas = body.count(b",")
    if commas > _MANY_COMMAS and commas * _BYTES_A_COMMA > len(body):
        raise NotAnIndexPage("JSON made of far more and smaller values than a project page")
    try:
        page = _page_decoder.decode(memoryview(body)[len(_BOM) :] if body.startswith(_BOM) else body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise NotAnIndexPage("JSON that is cut short or is not a project page") from None
    yield
    if len(page.files) > MAX_FILES:
        raise NotAnIndexPage(f"more than {MAX_FILES} files")
    check_version(_get(_loose(page.meta), "api-version"))
    name = _loose(page.name)
    if isinstance(name, str) and normalised(name) != project:
        raise NotAnIndexPage("the page of another project")
    versions = _loose(page.versions)
    listed = [v for v in versions if isinstance(v, str) and text(v)] if isinstance(versions, list) else ()
    collector = Collector(project, make, listed)
    for start in range(0, len(page.files), _SLICE_FILES):
        raws = page.files[start : start + _SLICE_FILES]
        try:
            # All at once, as nearly always: asking the decoder for each costs as much again.
            for wire in _files_decoder.decode(b"[%b]" % b",".join(raws)):
                _add_wire(collector, wire, links)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            for raw in raws:
                _add_json(collector, raw, links)
        yield
    return collector.page(status_of(_loose(page.project_status)))


def _add_json(collector: Collector, raw: msgspec.Raw, links: Links) -> None:
    try:
        wire = _file_decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        usable = _repaired(_loose(raw))
        if usable is None:
            collector.drop_unusable()
            return
        wire = usable
    _add_wire(collector, wire, links)


def _add_wire(collector: Collector, wire: _WireFile, links: Links) -> None:
    metadata = wire.core_metadata if wire.core_metadata is not None else wire.dist_info_metadata
    collector.add(
        wire.filename,
        links.absolute(wire.url),
        digests(wire.hashes),
        size=wire.size if wire.size is not None and 0 <= wire.size < 2**53 else None,
        upload_time=_utc(wire.upload_time),
        requires_python=text(wire.requires_python),
        yanked=None if not wire.yanked else "" if wire.yanked is True else clean(wire.yanked),
        core_metadata=metadata_digests(metadata),
        provenance=provenance_url(wire.provenance),
    )


def _repaired(entry: object) -> _WireFile | None:
    """The usable fields of an entry with a mistyped one; ``None`` if it has no name, link or digest table to trust."""
    if not isinstance(entry, dict):
        return None
    kept: dict[str, Any] = {}
    for field in msgspec.structs.fields(_WireFile):
        if field.encode_name in entry:
            try:
                kept[field.name] = msgspec.convert(entry[field.encode_name], field.type)
            except msgspec.ValidationError:
                if field.required:
                    return None
    if kept.keys() >= {"filename", "url", "hashes"}:
        return _WireFile(**kept)
    return None


def _loose(raw: msgspec.Raw) -> object:
    """Whatever the value is, ``None`` if it is nothing; never one so large that decoding it holds anybody up."""
    if len(memoryview(raw)) > _MAX_LOOSE_BYTES:
        raise NotAnIndexPage("a value larger than any project page has")
    try:
        value: object = msgspec.json.decode(raw) if raw else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return value


def _get(value: object, key: str) -> object:
    return value.get(key) if isinstance(value, dict) else None


def check_version(version: object) -> None:
    """PEP 629: no version means 1.0; another minor one is fine; another major one is not for us to guess at.

    Raises:
        NotAnIndexPage: the major version is not 1.
    """
    stated = str(version) if isinstance(version, str | int | float) else ""
    if stated.partition(".")[0].strip() not in ("1", ""):
        raise NotAnIndexPage(f"Simple API version {clean(stated)[:20]}, of which only 1.x is known")


def status_of(value: object) -> ProjectStatus | None:
    """PEP 792, from the object or (in HTML) the pair of meta tags; a status nobody defined is left out."""
    status, reason = _get(value, "status"), _get(value, "reason")
    if not isinstance(status, str) or status not in _STATUSES:
        return None
    return ProjectStatus(status, clean(reason) if isinstance(reason, str) else None)


def digests(hashes: Mapping[str, str]) -> Mapping[str, str] | None:
    """The digests we and every installer can check, lower-case; ``None`` if one of them is malformed.

    Without its digest a file would install unverified, so a bad one costs the file, not only the digest. Algorithms
    beyond these are left out: uv rejects a page that carries a ``blake2b`` of the usual length.
    """
    if len(hashes) == 1 and len(sha256 := hashes.get("sha256", "")) == 64 and not sha256.strip(_HEX):
        return hashes  # as nearly always, and looked at without the regular expression that is twice as slow
    kept = {}
    for algorithm, digest in hashes.items():
        pattern = _DIGEST.get(algorithm)
        if pattern is not None:
            digest = digest.lower()  # noqa: PLW2901
            if not pattern.fullmatch(digest):
                return None
            kept[algorithm] = digest
    return kept


def metadata_digests(value: bool | Mapping[str, str] | None) -> Mapping[str, str] | None:
    """PEP 714: ``None`` for not offered (or offered under a digest that cannot be right), ``{}`` for offered without."""
    if value is None or value is False:
        return None
    if value is True:
        return {}
    known = digests(value)
    if known is value:
        return known
    return None if known is None else {"sha256": known["sha256"]} if "sha256" in known else {}


def provenance_url(value: str | None) -> str | None:
    """PEP 740 wants an absolute https URL; anything else is left out."""
    if value is None or not value.startswith("https://") or len(value) > 2_000:
        return None
    return value if value.isascii() and value.isprintable() and not set(value) & set("\"'<>\\ `") else None


def clean(value: str) -> str:
    """Upstream text that may stand in a page, a log line or a header: no control characters, bounded."""
    return _CONTROL.sub(" ", value)[:_MAX_TEXT]


@lru_cache(maxsize=1_024)
def text(value: str | None) -> str | None:
    """A short printable string as it is; anything else is left out."""
    return value if value and _is_text(value) else None


def _is_text(value: str) -> bool:
    return len(value) <= _MAX_TEXT and value.isprintable()


def _utc(moment: datetime | None) -> datetime | None:
    if moment is None or moment.tzinfo is None:
        return None  # without an offset it is not a moment; PEP 700 demands one
    try:
        return moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    except OverflowError:  # the last hours of the year 9999, or the first of the year 1, elsewhere
        return None
