"""Simple API index: pages in JSON or HTML, asked for conditionally; and Azure Artifacts, an index with habits of its own."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Sequence

import msgspec
from cachetools import LRUCache, TTLCache

from wheelgate.core.errors import (
    PageTooLarge,
    ProjectNotFound,
    RefusedByRule,
    UpstreamBadAnswer,
    UpstreamError,
    without_frames,
)
from wheelgate.core.file_list import RECENT_BYTES, FileList, page_bytes
from wheelgate.core.model import ProjectPage
from wheelgate.core.packed_names import PackedNames
from wheelgate.core.page_links import PageLinks
from wheelgate.core.protocols import Clock
from wheelgate.core.unusable import UnusableLinks
from wheelgate.core.urls import parse
from wheelgate.runtime.cooperative import Steps, in_slices
from wheelgate.runtime.deadline import Deadline
from wheelgate.runtime.metrics import Metrics
from wheelgate.simple_api import HTML, JSON, LEGACY_HTML
from wheelgate.simple_api.collector import LINK_RULE, MAX_FILES, BlankPage, NotAnIndexPage, OversizedPage, ParsedPage
from wheelgate.simple_api.parse import parse_json, split_json
from wheelgate.sources.absence import AbsenceEvidence
from wheelgate.sources.control_questions import ControlQuestions
from wheelgate.sources.known_projects import KnownProjects
from wheelgate.upstream.answers import PageAnswer, claim_memory
from wheelgate.upstream.client import SourceClient
from wheelgate.upstream.failures import find_not_saved

# Azure DevOps then says 401 instead of redirecting to its sign-in page, which a client would take for an empty index.
DEVOPS_HEADERS = {"X-TFS-FedAuthRedirect": "Suppress"}
# What it says of a feed, view or project of Azure DevOps that is missing, or hidden from us.
_NO_FEED = re.compile(rb"FeedIdNotFound|FeedNotFound|FeedViewNotFound|feed with ID|ProjectDoesNotExist|TF200016|VS800075")
_ANSWER_S = 11.0
_NO_NAMES = PackedNames()
"""For a page, and for what shows that its 404 is one: nobody waits longer in silence."""
_MANY_BYTES = 512 * 1024
_FILE_BYTES = 1_200
"""Of memory for a file as a value, with its strings."""
_FIRST_FILES = 50
_OVERSIZED, _OVERSIZED_S = 1_000, 300.0
"""Of how many pages we remember that they are too large, and for how long they are not asked for again."""
# What it says of a package that a feed lacks, with the number of the request that each answer of the service has.
_NO_PACKAGE = re.compile(
    rb"PackageNotFound|package\b[^\n]{0,300}(not found|not be found|not exist|n't exist)|find (the )?package", re.IGNORECASE
)
_SERVICE = frozenset({"X-VSS-E2EID", "ActivityId", "X-TFS-ProcessId"})
_log = logging.getLogger(__name__)
_ACCEPT = f"{JSON}, {HTML};q=0.2, {LEGACY_HTML};q=0.01"


class _IndexAnswer(msgspec.Struct):
    """Last answer for a project, which a 304 or an unchanged body confirms."""

    etag: str | None
    digest: bytes
    page: ProjectPage


class SimpleIndex:
    """A :class:`~wheelgate.core.protocols.Source` behind a Simple API URL.

    JSON is asked for first; the answer's own content type decides. An answer that has not changed, by the upstream's ETag or
    by its bytes, gives the same files again without being parsed.
    """

    def __init__(
        self,
        *,
        name: str,
        url: str,
        client: SourceClient,
        clock: Clock,
        metrics: Metrics,
        known: KnownProjects | None = None,
        only: Sequence[str] = (),
        expected: Sequence[str] = (),
        is_last: bool = False,
    ) -> None:
        """``known``, ``only``, ``expected`` and ``is_last``: see :class:`ControlQuestions`."""
        self.name = name
        self._url = url if url.endswith("/") else url + "/"
        self._client = client
        self._clock = clock
        self._metrics = metrics
        self._known: LRUCache[str, _IndexAnswer] = LRUCache(RECENT_BYTES, getsizeof=lambda known: page_bytes(known.page))
        self._oversized: TTLCache[str, str] = TTLCache(_OVERSIZED, _OVERSIZED_S, timer=clock.monotonic)
        """By project, what was wrong with its page."""
        known = known or KnownProjects(name, url=self._url)
        questions = ControlQuestions(
            source=name,
            url=self._url,
            accept=_ACCEPT,
            client=client,
            known=known,
            count_listed=self._count_listed,
            is_blank=self._is_blank,
            only=only,
            expected=expected,
            is_last=is_last,
        )
        self.absence = AbsenceEvidence(
            source=name,
            clock=clock,
            metrics=metrics,
            known=known,
            questions=questions,
            says_absent=self._says_absent,
            is_last=is_last,
        )

    async def close(self) -> None:
        """Cancel what is under way."""
        await self.absence.close()

    async def project_names(self) -> PackedNames:
        """No names: a remote index may hold a million. Those that a private one has are claimed once it lists a file of them."""
        return _NO_NAMES

    async def project_page(self, project: str) -> ProjectPage:
        oversized = self._oversized.get(project)
        if oversized is not None:
            raise PageTooLarge(f"{oversized}; it is asked for again in at most {_OVERSIZED_S / 60:.0f} minutes", source=self.name)
        try:
            return await self._ask_for_page(project)
        except UpstreamError as error:
            if isinstance(error, PageTooLarge):
                self._oversized[project] = str(error)
            raise without_frames(error) from None

    async def _ask_for_page(self, project: str) -> ProjectPage:
        latest = Deadline.within(_ANSWER_S, f"source {self.name}")
        try:
            known, answer = await self._ask(project)
            if answer.status == 404:
                await self.absence.check(project, answer, latest)
            else:
                page = await self._read(project, answer, known)
                if not _says_nothing(page) or not await self.absence.means_absence(project, answer, latest):
                    return page
        except UpstreamBadAnswer as error:
            said, error.answer = error.answer, None  # whoever keeps the error need not keep its body
            if not isinstance(said, PageAnswer) or not await self.absence.means_absence(project, said, latest):
                raise
            self._client.note_answer()
        self._known.pop(project, None)
        raise ProjectNotFound(f"source {self.name} has no project {project}")

    async def _ask(self, project: str) -> tuple[_IndexAnswer | None, PageAnswer]:
        """Ask for a project: what was known of it, and the answer, which may say that this holds."""
        known = self._known.get(project)
        answer = await self._client.page(f"{self._url}{project}/", accept=_ACCEPT, etag=known.etag if known else None, stays=True)
        return known, answer

    async def _read(self, project: str, answer: PageAnswer, known: _IndexAnswer | None) -> ProjectPage:
        """Turn an answer that is no 404 into the page, the one of before if nothing changed."""
        digest = _digest(answer)
        if known and (answer.status == 304 or known.digest == digest):
            if answer.status != 304:
                known.etag = answer.etag
            known.page = msgspec.structs.replace(known.page, as_of=self._clock.now())
            self._known[project] = known
        else:
            known = _IndexAnswer(answer.etag, digest, await self._build_page(project, answer))
            if page_bytes(known.page) <= RECENT_BYTES:
                self._known[project] = known
        if known.page.files or known.page.withheld:
            self.absence.note_page(project)
        if _says_nothing(known.page):
            known.etag = None  # whether it means that the project is not there is judged by its words, whenever it comes
        return known.page

    async def _count_listed(self, project: str) -> int | None:
        """Count the files of a project, to see if it is there; ``None``: it is not, or not as a page of an index."""
        try:
            known, answer = await self._ask(project)
            if answer.status == 404:
                return None
            page = await self._read(project, answer, known)
            return len(page.files) + len(page.withheld)
        except UpstreamBadAnswer:
            return None
        except RefusedByRule:
            return 1  # whoever has rules of its own for its names is an index

    async def _is_blank(self, project: str, answer: PageAnswer) -> bool:
        """True if an answer is a page of an index that has nothing on it for a project, or nothing at all."""
        try:
            parsed = await self._parse(project, answer, PageLinks(parse(answer.url), self._client.rules))
        except BlankPage:
            return True
        except NotAnIndexPage:
            return False
        return not (parsed.files or parsed.withheld or parsed.dropped or parsed.versions or parsed.status)

    def _says_absent(self, project: str, answer: PageAnswer) -> bool:  # noqa: ARG002 - what a feed says
        """True if a 404 says itself, beyond doubt, that a place which is there lacks the project.

        Raises:
            UpstreamBadAnswer: it says that the place itself is not there.
        """
        return False

    async def _build_page(self, project: str, answer: PageAnswer) -> ProjectPage:
        links = PageLinks(parse(answer.url), self._client.rules)
        try:
            parsed = await self._parse(project, answer, links)
        except NotAnIndexPage as error:
            kind = PageTooLarge if isinstance(error, OversizedPage) else UpstreamBadAnswer
            bad = kind(f"source {self.name}, asked for {project}, answered with {error}", source=self.name)
            bad.answer = answer if isinstance(error, BlankPage) else None
            raise bad from None
        if not parsed.files and parsed.withheld and all(entry.rule == LINK_RULE for entry in parsed.withheld):
            # A failure, so that the last good page stands in: as when a proxy before the index forgets that it is asked by https.
            first = parsed.withheld[0]
            raise UnusableLinks(
                f"source {self.name} has files of {project} and may be asked for none, such as {first.filename}: {first.reason}",
                source=self.name,
            )
        self._note_habits(parsed)
        if parsed.dropped:
            self._metrics.dropped_entries.labels(self.name).inc(parsed.dropped)
        for entry in parsed.withheld:
            self._metrics.withheld_files.labels(self.name, entry.rule).inc()
        if parsed.withheld:
            _log.warning(
                "project %s: %d files of %s are withheld, such as %s: %s",
                *(project, len(parsed.withheld), self.name, parsed.withheld[0].filename, parsed.withheld[0].reason),
            )
        return ProjectPage(
            project=project,
            files=FileList(parsed.files, claim=answer.claim),
            versions=parsed.versions,
            status=parsed.status,
            as_of=self._clock.now(),
            withheld=parsed.withheld,
            dropped=parsed.dropped,
        )

    def _note_habits(self, parsed: ParsedPage) -> None:
        """Remember what the index says of its files, by the first ones of a page."""
        if first := parsed.files[:_FIRST_FILES]:
            self.absence.known.note_manner(
                states_digests=any(file.hashes for file in first), sends_upload_times=any(file.upload_time for file in first)
            )

    async def _parse(self, project: str, answer: PageAnswer, links: PageLinks) -> ParsedPage:
        kind = answer.content_type
        is_simple = kind.startswith("application/vnd.pypi.simple.")
        is_html = kind == LEGACY_HTML or (is_simple and kind.endswith("+html"))
        if is_html:
            from wheelgate.simple_api.parse_html import parse_html  # its library takes 4 MB that most servers never need

            if len(answer.body) > _MANY_BYTES:
                await self._claim_files(answer, await in_slices(_count_files(answer.body)))
            return await in_slices(parse_html(answer.body, answer.charset, project, self.name, links))
        if is_simple and kind.endswith("+json"):
            page = split_json(answer.body)
            if len(answer.body) > _MANY_BYTES:
                await self._claim_files(answer, len(page.files))
                await asyncio.sleep(0)  # a very large one took a slice to split
            return await in_slices(parse_json(page, project, self.name, links))
        raise NotAnIndexPage(f"the content type {kind[:60] or 'none'!r}, which is not an index page's")

    async def _claim_files(self, answer: PageAnswer, files: int) -> None:
        """Claim the memory of so many files as values."""
        if answer.claim is not None:
            await claim_memory(answer.claim, len(answer.body) + files * _FILE_BYTES, self.name)


def _count_files(body: bytes | bytearray) -> Steps[int]:
    """Count what may be the entries of a page in HTML, by how they begin: each look takes 0.4 ms a megabyte."""
    files = 0
    for start in range(0, len(body), _MANY_BYTES):
        files += sum(body.count(mark, start, start + _MANY_BYTES) for mark in (b"<a ", b"<A "))
        yield
    return min(files, MAX_FILES)


def _digest(answer: PageAnswer) -> bytes:
    """Of everything that parsing looks at: the same bytes from another address link elsewhere."""
    return hashlib.sha256(f"{answer.url}\n{answer.content_type}\n{answer.charset}\n".encode() + answer.digest).digest()


def _says_nothing(page: ProjectPage) -> bool:
    return not (page.files or page.withheld or page.dropped or page.versions or page.status)


class DevopsFeed(SimpleIndex):
    """A :class:`~wheelgate.core.protocols.Source` on a feed.

    Its links are taken as they are: they name the feed by identifiers and drop zeros of versions, so that nobody could build
    them. It is never asked with HEAD, offers no core metadata, and says ``no-store`` of pages that hardly change.
    """

    def _says_absent(self, project: str, answer: PageAnswer) -> bool:
        """A 404 of the feed itself says nothing about what is in it; one that the service gives of a package says all."""
        if _NO_FEED.search(answer.body):
            raise UpstreamBadAnswer(
                f"source {self.name}, asked for {project}, answered that there is no such feed: are organisation, project, feed "
                "and view in its url right, and may the identity see them?",
                source=self.name,
            )
        if (not_saved := find_not_saved(answer.body, self.name)) is not None:
            raise not_saved
        return bool(_SERVICE.intersection(answer.marks)) and _NO_PACKAGE.search(answer.body) is not None
