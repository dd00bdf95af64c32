"""Control questions to an index: how it says "not there", and what shows that it is one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import islice

from wheelgate.core.errors import Busy, UpstreamBadAnswer, UpstreamUnavailable, without_frames
from wheelgate.core.patterns import NamePatterns, normalise_pattern
from wheelgate.core.urls import display_host, parse
from wheelgate.sources.answer_kind import SERVER, STRUCTURE, WORDS, AnswerKind, learn_kind, make_nobodys_name
from wheelgate.sources.index_root import ROOT_ACCEPT, read_root
from wheelgate.sources.known_projects import KnownProjects
from wheelgate.sources.manner import Manner
from wheelgate.upstream.answers import PageAnswer
from wheelgate.upstream.client import SourceClient

_TRIED = 3
_CLOSEST = {404: SERVER, 403: STRUCTURE}
"""How closely answers for names that nobody can have must agree at least, by status; of any other: word for word."""


class ControlQuestions:
    """Questions whose answers are known beforehand, if an index answers: a name that nobody can have, projects, the root."""

    def __init__(
        self,
        *,
        source: str,
        url: str,
        accept: str,
        client: SourceClient,
        known: KnownProjects,
        count_listed: Callable[[str], Awaitable[int | None]],
        is_blank: Callable[[str, PageAnswer], Awaitable[bool]],
        only: Sequence[str] = (),
        expected: Sequence[str] = (),
        is_last: bool = False,
    ) -> None:
        """Questions to one index.

        Args:
            source: the operator's name for the index.
            url: its root, which ends with a slash.
            accept: what its pages are asked with.
            client: asks the index, and nobody else.
            known: projects that it was seen to have.
            count_listed: asks the index for a project; ``None``: that is not there, or what is there is no page of an index.
            is_blank: tells a page of an index that has nothing on it for a project.
            only: patterns of the names that it may be asked for; none: any.
            expected: projects that it has, as everybody knows.
            is_last: no other source is asked after it, and its names are public.
        """
        self._source = source
        self._url = url
        self.host = display_host(parse(url))
        self._accept = accept
        self._client = client
        self._known = known
        self._count_listed = count_listed
        self._is_blank = is_blank
        self._only = tuple(map(normalise_pattern, only))
        self._expected = expected
        self._is_last = is_last

    async def probe_nobody(self, length: int) -> tuple[str, PageAnswer]:
        """Ask for a name that was never anybody's, with so many random bytes. Raises as :meth:`SourceClient.probe`."""
        name = make_nobodys_name(self._only, length)
        return name, await self._client.probe(f"{self._url}{name}/", accept=self._accept)

    def is_plain(self, answer: PageAnswer | AnswerKind) -> bool:
        """True if its status alone says "not there", as far as the index is one: 404, and what the operator knows to be."""
        return answer.status == 404 or answer.status in self._client.absent_status

    def may_say_absent(self, answer: PageAnswer | AnswerKind) -> bool:
        """True if an index that lacks a project may answer so. Whether a page has anything on it is not looked at here.

        A redirect is such an answer where another source is, 403 where nobody signed in, or the operator knows it to be one.
        """
        if answer.leads_to:
            return self.find_neighbour(answer) is not None
        if answer.status == 403:
            return self.is_plain(answer) or not self._client.signs_in(self._url)
        return answer.status == 200 or self.is_plain(answer)

    def find_neighbour(self, answer: PageAnswer | AnswerKind) -> str | None:
        """Find the source that a redirect leads to; ``None``: it leads to none."""
        return self._client.rules.find_neighbour(parse(answer.leads_to)) if answer.leads_to else None

    def describe_manner(self, kind: AnswerKind) -> Manner:
        """The manner of an index that answers so to names that nobody can have; of its other habits nothing is said."""
        return Manner(
            answers_every_name=kind.status == 200,
            redirects_to=display_host(parse(kind.leads_to)) if kind.leads_to else "",
            redirects_to_source=self.find_neighbour(kind) or "",
            refuses_unknown=kind.status == 403,
        )

    def describe_answer(self, answer: PageAnswer) -> str:
        """Tell how it answered, for the sentence."""
        if answer.leads_to:
            return f"redirects to {display_host(parse(answer.leads_to))}"
        return "answers with an empty page" if answer.status == 200 else f"answers {answer.status}"

    def find_fault(self, kind: AnswerKind) -> UpstreamBadAnswer | None:
        """Find why no answer of this kind is ever "not there"; ``None``: with evidence it is."""
        if self.may_say_absent(kind):
            return None
        return UpstreamBadAnswer(f"source {self._source} {self.describe_manner(kind).sentences()[0]}", source=self._source)

    async def learn(self) -> AnswerKind:
        """Learn how the index says "not there", from names that nobody can have."""
        both = await asyncio.gather(self._ask_for_nobody(4), self._ask_for_nobody(8), return_exceptions=True)
        asked: list[tuple[str, PageAnswer]] = []
        for found in both:
            if isinstance(found, BaseException):
                raise found
            asked.append(found)
        kind = learn_kind(asked) or learn_kind([*asked, await self._ask_for_nobody(6)])
        if kind is None or kind.closeness > _CLOSEST.get(kind.status, WORDS):
            said = "answers 404" if asked[0][1].status == 404 else "answers"
            raise self._bad(f"{said} in two ways for names that nobody can have, as if another server answered in between")
        return kind

    async def _ask_for_nobody(self, length: int) -> tuple[str, PageAnswer]:
        name, answer = await self.probe_nobody(length)
        if answer.leads_to or (self.may_say_absent(answer) and (answer.status != 200 or await self._is_blank(name, answer))):
            return name, answer
        what = f"answered {answer.status} for a name that nobody can have ({name}), so its {{}} says nothing"
        if answer.status != 403:
            raise self._bad(what.format("404"))
        remedy = "if that is how it answers for names that it does not have, say so by absent_status = [403]"
        raise self._bad(f"{what.format('403')}: {remedy}")

    async def prove(self, project: str, answers: str = "answers 404", *, by_page: bool = False) -> str:
        """Find what shows that an index answers: a project that it has, or a list of projects at its root.

        Args:
            project: not to be asked for.
            answers: how the index answered, for the sentence.
            by_page: only a project with files will do.

        Raises:
            UpstreamError: nothing does.
        """
        ever_had = await self._known.ever_had()
        had = [name for name in ever_had if name != project]
        own = [name for name in self._only if "*" not in name and name != project]
        first = [*had[:_TRIED], *own, *self._expected]
        unheard: list[UpstreamUnavailable] = []
        missing = ""
        if (proof := await self._find_project(first, unheard)) is None:
            try:
                proof, missing = await self._read_root(project, ever_had, by_page=by_page)
            except Busy:
                raise
            except UpstreamUnavailable as error:
                unheard.append(error)
        if proof is None:
            proof = await self._find_project(had[_TRIED:], unheard)
        if proof is None and unheard:
            raise without_frames(unheard[-1])
        if proof is None:
            raise self._bad(
                f"{answers}, but nothing shows that an index answers there: {missing}. Check that its url ({self._url}) is the "
                "one that installers use, and that the index is up"
            )
        return proof

    async def _find_project(self, names: Iterable[str], unheard: list[UpstreamUnavailable]) -> str | None:
        """Ask for projects until one is there; those that are gone from an index that is there are asked for no more."""
        gone: list[str] = []
        for name in dict.fromkeys(names):
            try:
                if await self._count_listed(name):
                    for other in gone:
                        self._known.forget(other)
                    return f"it has {name}"
                gone.append(name)
            except Busy:
                raise
            except UpstreamUnavailable as error:
                unheard.append(error)
        return None

    async def _read_root(self, project: str, ever_had: Sequence[str], *, by_page: bool) -> tuple[str | None, str]:
        """Find what the root shows; or why it shows nothing. ``ever_had``: projects, the one that is asked for among them."""
        try:
            answer = await self._client.probe(self._url, accept=ROOT_ACCEPT)
        except UpstreamBadAnswer as error:
            return None, f"its root cannot be read ({error})"
        root = read_root(answer)
        if root is None:
            said = "is not a list of projects" if answer.status == 200 else f"answered {answer.status}"
            before = ", and none of the projects that it had is there" if ever_had else ""
            by_one = "an index that lists no projects is known by one that it has: ask this server for one of them, once"
            return None, f"its root {said}{before} ({by_one})"
        if root.declared and not root.names:
            lost = "its root lists nothing any more, and none of the projects that it had is there: has it lost its packages?"
            return (None, lost) if ever_had or by_page else ("its root is that of an index without projects", "")
        listed = [name for name in root.names if not self._only or name in NamePatterns(self._only)]
        if root.declared and not listed and not by_page:
            return "its root lists the projects of others", ""
        for name in islice((name for name in listed if name != project), _TRIED):
            count = await self._count_listed(name)
            # One that lists what it lacks, or has a page for everything, shows nothing.
            if count or (count is not None and root.declared and not self._is_last and not by_page):
                return f"its root lists {name}", ""
        return None, "its root lists projects, and has no page of an index for them"

    def _bad(self, what: str) -> UpstreamBadAnswer:
        return UpstreamBadAnswer(f"source {self._source} at {self.host} {what}", source=self._source)
