"""Parser of JSON pages (PEP 691): what is usable is kept, what is not is left out and counted.

Upstreams are not trusted to be well-formed. One bad field in one entry makes some installers reject the whole page and
others crash, so every entry is judged alone: a mistyped optional field is left out; an entry whose name, link or digest
cannot be trusted is dropped. Only an answer that is not an index page at all is an error.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from wheelgate.core.constraints import UNREADABLE
from wheelgate.core.model import ProjectStatus
from wheelgate.core.names import normalise_name
from wheelgate.core.page_links import PageLinks
from wheelgate.runtime.cooperative import Steps
from wheelgate.simple_api.collector import (
    JUDGED_TOGETHER,
    MAX_FILES,
    Collector,
    NotAnIndexPage,
    OversizedPage,
    PageEntry,
    ParsedPage,
    clean,
    text,
)

_STATUSES = {"active", "archived", "quarantined", "deprecated"}
_SLICE_FILES, _SLICE_BYTES = 250, 128 * 1024
"""Of entries that are judged in one go: of long ones fewer, since they take longer."""
_LONG_BYTES, _MAX_COMMAS = 256 * 1024, 10_000
"""Of one entry: a longer one has no more values than that."""
_BEGINNING = 64
_BOM = b"\xef\xbb\xbf"
_MAX_JSON_BYTES = 32 * 1024 * 1024  # three times the largest page of the public index
# Decoding goes by the number of values, in one go: a hundred thousand real entries take less than a million bare numbers. In a
# real page a comma comes every 70 bytes or so.
_MANY_COMMAS = 100_000
_BYTES_A_COMMA = 16
_MAX_LOOSE_BYTES = 1024 * 1024


class JsonPage(msgspec.Struct, rename="kebab", kw_only=True):
    """A page split into its entries, none of which is read yet: bytes of the answer, which they keep alive."""

    files: list[msgspec.Raw]
    name: msgspec.Raw = msgspec.Raw()
    meta: msgspec.Raw = msgspec.Raw()
    versions: msgspec.Raw = msgspec.Raw()
    project_status: msgspec.Raw = msgspec.Raw()


_page_decoder = msgspec.json.Decoder(JsonPage)
_entry_decoder = msgspec.json.Decoder(PageEntry)
_entries_decoder = msgspec.json.Decoder(list[PageEntry])


def split_json(body: bytes | bytearray) -> JsonPage:
    """Split a PEP 691 project page into its entries, in one go of half a millisecond a megabyte.

    Raises:
        NotAnIndexPage: not JSON, or no such page.
    """
    if len(body) > _MAX_JSON_BYTES:
        raise OversizedPage("more JSON than any project page is")
    if len(body) > 2 * _MANY_COMMAS and (commas := body.count(b",")) > _MANY_COMMAS and commas * _BYTES_A_COMMA > len(body):
        raise OversizedPage("JSON made of far more and smaller values than a project page")
    try:
        page = _page_decoder.decode(memoryview(body)[len(_BOM) :] if body.startswith(_BOM) else body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise NotAnIndexPage(_describe_no_json(bytes(body[:_BEGINNING]).lstrip())) from None
    if len(page.files) > MAX_FILES:
        raise OversizedPage(f"more than {MAX_FILES} files")
    return page


def _describe_no_json(beginning: bytes) -> str:
    sentence = "JSON that is cut short or is not a project page"
    if beginning.startswith(b"<"):
        return f"{sentence}: it is HTML"
    if beginning.startswith(b"\x1f\x8b"):
        return f"{sentence}: it is compressed with gzip, and no Content-Encoding says so"
    if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return f"{sentence}: it is UTF-16, where only UTF-8 may be (RFC 8259, 8.1)"
    return sentence


def parse_json(page: JsonPage, project: str, source: str, links: PageLinks) -> Steps[ParsedPage]:
    """Parse a project page that was split, in slices.

    Raises:
        NotAnIndexPage: another project's, or of a major version we do not know (PEP 629).
    """
    check_version(_get(_decode_loosely(page.meta), "api-version"))
    name = _decode_loosely(page.name)
    if isinstance(name, str) and normalise_name(name) != project:
        raise NotAnIndexPage("the page of another project")
    stated = _decode_loosely(page.versions)
    versions = stated if isinstance(stated, list) else []
    listed: list[str] = []
    for start in range(0, len(versions), _SLICE_FILES):
        listed += [v for v in versions[start : start + _SLICE_FILES] if isinstance(v, str) and text(v)]
        yield
    collector = Collector(project, source, links, listed)
    yield from collector.read_listed()
    for raws in _slice_entries(page.files):
        for number, entry in enumerate(_decode_entries(raws)):
            if entry is None:
                collector.drop_unusable()
            else:
                collector.add(entry)
            if not number % JUDGED_TOGETHER:
                yield
    return collector.page(status_of(_decode_loosely(page.project_status)))


def _slice_entries(raws: Sequence[msgspec.Raw]) -> Iterator[Sequence[msgspec.Raw]]:
    """Cut a page's entries into slices. Raises OversizedPage if one of them alone would hold everybody up."""
    start = size = 0
    for number, raw in enumerate(raws):
        length = len(memoryview(raw))
        if length > _LONG_BYTES and bytes(raw).count(b",") > _MAX_COMMAS:
            raise OversizedPage("an entry of more values than any project page has")
        size += length
        if size >= _SLICE_BYTES or number - start >= _SLICE_FILES:
            yield raws[start : number + 1]
            start, size = number + 1, 0
    if start < len(raws):
        yield raws[start:]


def _decode_entries(raws: Sequence[msgspec.Raw]) -> Iterable[PageEntry | None]:
    """Decode some of a page's entries; ``None`` for one that is none at all."""
    try:
        return _entries_decoder.decode(b"[%b]" % b",".join(raws))  # together: asking the decoder for each costs as much again
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return map(_decode_entry, raws)


def _decode_entry(raw: msgspec.Raw) -> PageEntry | None:
    try:
        return _entry_decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _repair(_decode_loosely(raw))


def _repair(entry: object) -> PageEntry | None:
    """Keep the usable fields of an entry with a mistyped one; ``None`` if it has no name, link or digest table to trust.

    What limits the file, a yank mark or a constraint, is not left out: pip takes anything but false for a mark.
    """
    if not isinstance(entry, dict):
        return None
    kept: dict[str, Any] = {}
    for field in msgspec.structs.fields(PageEntry):
        if field.encode_name in entry:
            try:
                kept[field.name] = msgspec.convert(entry[field.encode_name], field.type)
            except msgspec.ValidationError:
                if field.required:
                    return None
                if field.name == "requires_python":
                    kept[field.name] = UNREADABLE
                elif field.name == "yanked":
                    kept[field.name] = bool(entry[field.encode_name])
    if kept.keys() >= {"filename", "url", "hashes"}:
        return PageEntry(**kept)
    return None


def _decode_loosely(raw: msgspec.Raw) -> object:
    """Decode any value, ``None`` if it is damaged or missing; never one so large that it holds up the event loop."""
    if len(memoryview(raw)) > _MAX_LOOSE_BYTES:
        raise OversizedPage("a value larger than any project page has")
    try:
        value: object = msgspec.json.decode(raw) if raw else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return value


def _get(value: object, key: str) -> object:
    return value.get(key) if isinstance(value, dict) else None


def check_version(version: object) -> None:
    """Check the API version (PEP 629): none means 1.0; another minor one is fine; another major one is not for us to guess at.

    Raises:
        NotAnIndexPage: the major version is not 1.
    """
    stated = str(version) if isinstance(version, str | int | float) else ""
    if stated.partition(".")[0].strip() not in ("1", ""):
        raise NotAnIndexPage(f"Simple API version {clean(stated)[:20]}, of which only 1.x is known")


def status_of(value: object) -> ProjectStatus | None:
    """The project's status (PEP 792) in the object or (in HTML) the pair of meta tags; an undefined one is left out."""
    status, reason = _get(value, "status"), _get(value, "reason")
    if not isinstance(status, str) or status not in _STATUSES:
        return None
    return ProjectStatus(status, clean(reason) if isinstance(reason, str) else None)
