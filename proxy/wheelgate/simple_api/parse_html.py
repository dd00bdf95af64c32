"""Parser of HTML pages (PEP 503): lxml's C parser, fed in slices through a target; no tree, linear even on hostile nesting."""

from __future__ import annotations

import codecs
import encodings
import re
from collections.abc import Mapping
from datetime import datetime
from encodings import aliases, normalize_encoding
from pkgutil import iter_modules
from urllib.parse import unquote

import msgspec
from lxml import etree

from wheelgate.core.digests import read_fragment
from wheelgate.core.names import is_listable
from wheelgate.core.page_links import PageLinks
from wheelgate.runtime.cooperative import Steps
from wheelgate.simple_api.collector import (
    JUDGED_TOGETHER,
    MAX_LINK,
    BlankPage,
    Collector,
    NotAnIndexPage,
    PageEntry,
    ParsedPage,
)
from wheelgate.simple_api.parse import check_version, status_of

_SLICE_BYTES = 16 * 1024
_MAX_DEPTH = 500
_MAX_TAG_BYTES, _MAX_ATTRIBUTES = 16 * 1024 * 1024, 120_000
_BETWEEN_ATTRIBUTES = b" \t\r\n\f\"'"
_BEGINNING = 64
_HEADINGS = ("title", "h1")
# What servers of simple pages write over them; PEP 503 prescribes nothing. A page without file links must say so (or carry
# PEP 629's meta tag) to count as "this project has no files": a captive portal or sign-in page must not.
_INDEX_HEADING = re.compile(r"\b(links for|index of|simple index)\b", re.IGNORECASE)
_BLANK = frozenset({"html", "head", "body", "meta", "title", "h1", "br", "hr", "p", "pre", "div", "ul"})
"""Tags that show nothing by themselves."""
_FOLDER = re.compile(r"(\./)?[^/?#:.][^/?#:]*/")
"""A link to a folder below the page, as web servers list it."""
_SIZE = re.compile(r"\+?[0-9]{1,19}")
_MAX_MOMENT = 64
_MAX_CHARSET = 64
_NO_CHARSETS = {"idna", "punycode", "raw_unicode_escape", "undefined", "unicode_escape"}
"""Python's own encodings of text as text: no server sends them, and of some each byte takes as long as the page is long."""
_CHARSETS = frozenset({module.name for module in iter_modules(encodings.__path__)} | aliases.aliases.keys()) - _NO_CHARSETS
"""Names of character sets. Others are not even looked up: Python remembers each of those for good."""


class _Target:
    """Receiver of the parser's tags; keeps only what a simple page can mean."""

    def __init__(self, collector: Collector, links: PageLinks) -> None:
        self._collector = collector
        self._links = links
        self._based = False
        self._in_heading = False
        self._heading = ""
        self._metas: dict[str, str] = {}
        self._is_blank: bool | None = None
        """``None``: nothing came yet at all."""
        self._lists_folders = False
        self._waiting: list[PageEntry | str] = []
        """Entries that were not judged yet, and the address that those behind it are relative to."""
        self.events = 0
        """Of the parser, so far."""
        self.depth = 0
        """Of open elements."""

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """One opening tag; lxml has lowered names and decoded entities."""
        self.depth += 1
        self.events += 1
        if self._is_blank is not False:
            self._is_blank = tag in _BLANK and "http-equiv" not in attributes and "onload" not in attributes
        if tag == "a":
            href = attributes.get("href")
            if href:
                self._anchor(href, attributes)
        elif tag == "base" and not self._based and attributes.get("href"):
            self._based = True  # only the first counts (HTML, 4.2.3)
            self._waiting.append(attributes["href"])
        elif tag == "meta":
            self._metas.setdefault(attributes.get("name", "").lower(), attributes.get("content", ""))
        elif tag in _HEADINGS:
            self._in_heading = True

    def end(self, tag: str) -> None:
        """One closing tag."""
        self.depth -= 1
        self.events += 1
        if tag in _HEADINGS:
            self._in_heading = False

    def data(self, data: str) -> None:
        """Text; only headings matter, anchor text never does (installers ignore it too). A page with any is not blank."""
        self.events += 1
        if self._is_blank is not False and not data.isspace():
            self._is_blank = False
        if self._in_heading and len(self._heading) < 1_000:
            self._heading += data

    def comment(self, text: str) -> None:  # noqa: ARG002 - what lxml calls
        """One comment, which means nothing."""
        self.events += 1

    def judge(self) -> Steps[None]:
        """Judge what came, a few entries at a time: the oddest names take a millisecond each."""
        waiting, self._waiting = self._waiting, []
        for number, entry in enumerate(waiting, 1):
            if isinstance(entry, str):
                self._links.rebase(entry)
            else:
                self._collector.add(entry)
            if not number % JUDGED_TOGETHER:
                yield

    def close(self) -> None:
        """The end of the document, which the parser announces; nothing is held back."""

    def _anchor(self, href: str, attributes: Mapping[str, str]) -> None:
        if len(href) > MAX_LINK:
            self._collector.drop_unusable()
            return
        address, _, fragment = href.strip().partition("#")
        filename = unquote(address.partition("?")[0].rpartition("/")[2])
        if not is_listable(filename):
            self._lists_folders = self._lists_folders or bool(_FOLDER.fullmatch(address))
            return
        entry = PageEntry(filename, address, read_fragment(fragment))
        entry.requires_python = attributes.get("data-requires-python")
        entry.yanked = attributes["data-yanked"] or True if "data-yanked" in attributes else None
        entry.core_metadata = _attribute_digests(attributes.get("data-core-metadata"))
        entry.dist_info_metadata = _attribute_digests(attributes.get("data-dist-info-metadata"))
        entry.provenance = attributes.get("data-provenance")
        entry.size = _attribute_size(attributes.get("data-size"))
        entry.upload_time = _attribute_moment(attributes.get("data-upload-time"))
        self._waiting.append(entry)

    def result(self) -> ParsedPage:
        """The page.

        Raises:
            NotAnIndexPage: no link to a file of the project, and nothing that says this is an index.
        """
        version = self._metas.get("pypi:repository-version")
        check_version(version)
        if self._lists_folders and not self._collector and not self._collector.dropped:
            raise NotAnIndexPage("a listing of folders, which is no page of a project")
        if not self._collector and version is None and not _INDEX_HEADING.search(self._heading):
            kind = BlankPage if self._is_blank else NotAnIndexPage
            raise kind("a web page that is not an index page (a sign-in page or captive portal?)")
        status = {
            "status": self._metas.get("pypi:project-status"),
            "reason": self._metas.get("pypi:project-status-reason"),
        }
        return self._collector.page(status_of(status))


class _Unread(msgspec.Struct, frozen=True):
    """Slices that the parser took in without a word: of one tag or comment, which it reads in one go once it ends."""

    size: int = 0
    attributes: int = 0
    """As many as they may be of."""

    def add(self, piece: bytes) -> _Unread:
        """Add a slice. Raises NotAnIndexPage if a tag of all that would hold everybody up."""
        more = len(piece) - len(piece.translate(None, _BETWEEN_ATTRIBUTES))
        unread = _Unread(self.size + len(piece), self.attributes + more)
        if unread.size > _MAX_TAG_BYTES or unread.attributes > _MAX_ATTRIBUTES:
            raise NotAnIndexPage("HTML with a tag of more bytes or attributes than any has")
        return unread


def parse_html(body: bytes | bytearray, charset: str, project: str, source: str, links: PageLinks) -> Steps[ParsedPage]:
    """Parse a PEP 503 project page, in slices.

    Raises:
        NotAnIndexPage: not such a page, or of a major version we do not know (PEP 629).
    """
    target = _Target(Collector(project, source, links), links)
    decoder = _decoder(charset, body)
    parser = etree.HTMLParser(target=target, encoding="utf-8", no_network=True, huge_tree=False)
    events, unread = 0, _Unread()
    try:
        for start in range(0, len(body), _SLICE_BYTES):
            piece = decoder.decode(body[start : start + _SLICE_BYTES]).encode("utf-8", "replace")
            parser.feed(piece)
            yield
            yield from target.judge()
            unread = unread.add(piece) if events == target.events else _Unread()
            events = target.events
        if body and target.depth < _MAX_DEPTH:  # it closes what is open in one go: millions would hold everybody up
            parser.close()
            yield from target.judge()
    except (etree.LxmlError, UnicodeError):  # utf-16 wants a byte-order mark
        raise NotAnIndexPage("HTML that cannot be parsed") from None
    try:
        return target.result()
    except NotAnIndexPage:
        if body[:_BEGINNING].lstrip().startswith(b"{"):
            raise NotAnIndexPage("what it calls HTML and is JSON, not an index page") from None
        raise


def _decoder(charset: str, body: bytes | bytearray) -> codecs.IncrementalDecoder:
    """The decoder of a charset. libxml2's own drops the rest of a page without a word at a byte that its charset lacks."""
    try:
        if _name_charset(charset) not in _CHARSETS:
            raise LookupError
        b"a".decode(charset, "replace")  # refuses, as the codecs module does not, what does not give text (zlib, rot13)
        if codecs.lookup(charset).name == "utf-16" and body.startswith(b"<\0"):
            charset = "utf-16-le"  # as pip reads it where no mark says which
        return codecs.getincrementaldecoder(charset)("replace")
    except (LookupError, ValueError):
        raise NotAnIndexPage(f"an unknown character set ({charset[:20]!r})") from None


def _name_charset(charset: str) -> str:
    return normalize_encoding(charset[:_MAX_CHARSET]).lower()


def _attribute_digests(value: str | None) -> bool | dict[str, str] | None:
    """Core metadata in an attribute (PEP 714): ``true``, ``false`` or ``sha256=...``."""
    if value is None or value == "false":
        return None if value is None else False
    algorithm, equals, digest = value.partition("=")
    return {algorithm: digest} if equals else True


def _attribute_size(value: str | None) -> int | None:
    """A size in an attribute that no standard names and uv reads; what cannot be the size of a file is left out."""
    return int(value) or None if value is not None and _SIZE.fullmatch(value) else None


def _attribute_moment(value: str | None) -> datetime | None:
    """An upload time in an attribute that no standard names and uv reads, as pages of PyTorch have it; else it is left out.

    :func:`~wheelgate.simple_api.collector.in_utc` leaves out one without an offset, which is no moment, as uv does.
    """
    if value is None or len(value) > _MAX_MOMENT:
        return None
    try:
        return datetime.fromisoformat(value.upper())
    except ValueError:
        return None
