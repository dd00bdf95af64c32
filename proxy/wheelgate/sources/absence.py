"""Evidence that a 404 of an index means "not there" (promise 12 in docs/architecture.md).

A load balancer without a back end, an application that is starting, a renamed repository and a mistyped URL answer 404 to
everything. Were that believed of a source that is asked before others, the next one would be asked for its names. So a 404
counts only if

* it is of the kind that this index answers for a name that nobody can have, which it is asked for now and then, and
* the index was seen to be one lately: a project that it has answered as a page, or its root as a list of projects.

Both come with the traffic, or cost a few questions to this same index: when a 404 is of another kind than those before, and at
most once a minute otherwise. What cannot be told is a failure of the source.

The last source of all, if it is public, is not asked for such a name: nobody is asked after it. There, a kind of 404 counts
once it was given while the index was seen to be one.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from typing import TypeVar

import msgspec

from wheelgate.core.errors import Busy, UpstreamBadAnswer, UpstreamError, UpstreamUnavailable, without_frames
from wheelgate.core.protocols import Clock
from wheelgate.runtime.asker import set_asker
from wheelgate.runtime.background import cancel_all
from wheelgate.runtime.chain import enter_chain
from wheelgate.runtime.deadline import Deadline
from wheelgate.runtime.metrics import Metrics
from wheelgate.runtime.singleflight import SingleFlight
from wheelgate.sources.answer_kind import AnswerKind
from wheelgate.sources.control_questions import ControlQuestions
from wheelgate.sources.known_projects import KnownProjects
from wheelgate.sources.manner import ABSENCE_HABITS
from wheelgate.upstream.answers import PageAnswer

SEEN_S = 60.0
"""Time for which an index that was seen to be one is taken to be one still."""
KIND_S = 3600.0
"""Time for which a kind of 404 is known, once the index was asked for a name that nobody can have."""
_RETRY_S = 5.0
_FLIGHT_S = 30.0
"""All questions together, also where nobody waits for them any more."""
_WAIT_S = 6.0
"""For which a caller waits for them at most."""
_BUSY_S = 2.0
_MOST_KINDS = 16
_log = logging.getLogger(__name__)
T = TypeVar("T")


class Verdict(msgspec.Struct, frozen=True):
    """The answer to what a 404 of an index is worth, for people."""

    believed: bool
    sentence: str  # completes "source team ..."


class AbsenceEvidence:
    """The judge of one index's 404s."""

    def __init__(
        self,
        *,
        source: str,
        clock: Clock,
        metrics: Metrics,
        known: KnownProjects,
        questions: ControlQuestions,
        says_absent: Callable[[str, PageAnswer], bool],
        is_last: bool = False,
    ) -> None:
        """A judge that knows nothing yet.

        Args:
            source: the operator's name for the index.
            clock: the age of what was seen.
            metrics: tell whether a 404 counts.
            known: projects that the index was seen to have.
            questions: ask the index, and nobody else.
            says_absent: tells a 404 that needs no further evidence, or raises for one that says that there is no such index.
            is_last: no other source is asked after it, and its names are public.
        """
        self._source = source
        self._clock = clock
        self._metrics = metrics
        self.known = known
        """Projects that the index was seen to have, and its manner."""
        self._questions = questions
        self._host = questions.host
        self._says_absent = says_absent
        self._is_last = is_last
        self.forget()
        self._proof = ""
        self._doubt: UpstreamError | None = None
        self._retry_at_s = -math.inf
        self._flights: SingleFlight[UpstreamError | None] = SingleFlight()

    def forget(self) -> None:
        """Forget what was learned and seen, as at the start."""
        self._kinds: tuple[AnswerKind, ...] = ()
        """Of the last source, which is not asked for them: kinds of 404 that came while it was seen to be an index."""
        self._learned: AnswerKind | None = None
        self._learned_s = self._asked_s = self._seen_s = self._page_s = -math.inf

    async def close(self) -> None:
        """Stop asking."""
        await self._flights.close()
        await self.known.close()

    def note_page(self, project: str) -> None:
        """The index just answered with a page of a project that has files: what was in doubt may be asked anew at once."""
        self._seen_s = self._page_s = self._clock.monotonic()
        self._retry_at_s = -math.inf
        self._proof = f"it has {project}"
        self.known.note(project)

    async def check(self, project: str, answer: PageAnswer, latest: Deadline) -> None:
        """Let a 404 pass that says that the index has no such project. Nobody waits for evidence beyond ``latest``.

        Raises:
            Busy: that is still being found out.
            UpstreamError: it may have it.
            StoreError: what was known of the index cannot be read.
        """
        if answer.status == 404 and self._says_absent(project, answer):
            self.known.forget(project)
            return
        if (doubt := await self._weigh(project, answer, latest)) is not None:
            raise without_frames(doubt)
        if self._is_last and answer.status == 404 and not self._fits(project, answer):
            self._kinds = (*self._kinds[1 - _MOST_KINDS :], AnswerKind.of(answer, project))
        if not self._fits(project, answer):
            raise UpstreamBadAnswer(
                f"source {self._source} answered {answer.status} for {project}, in other words than {self._host} has for a name "
                "that nobody can have: something before the index answered in its place",
                source=self._source,
            )
        self.known.forget(project)

    async def means_absence(self, project: str, answer: PageAnswer, latest: Deadline) -> bool:
        """True if an answer that is no 404 says that the index has no such project, as :meth:`check` does of a 404.

        It does if names that nobody can have are answered likewise, word for word, while a project of the index has files.
        Nothing less will do, and that is asked for again every minute. Raises as :meth:`check`: it may say so, or may not.
        """
        if self._questions.is_plain(answer):
            await self.check(project, answer, latest)
            return True
        if not self._questions.may_say_absent(answer) or (answer.status == 200 and self._is_last):
            return False
        doubt = await self._weigh(project, answer, latest)
        if doubt is not None and (answer.status != 403 or isinstance(doubt, Busy)):
            raise without_frames(doubt)
        if doubt is not None or not self._fits(project, answer):
            return False
        self.known.forget(project)
        return True

    async def _weigh(self, project: str, answer: PageAnswer, latest: Deadline) -> UpstreamError | None:
        """Find why an answer that may say "not there" is to be believed of nobody; ``None``: it is, if it is of a known kind."""
        had_it = project in await self.known.names()
        fits, now_s = self._fits(project, answer), self._clock.monotonic()
        is_plain = self._questions.is_plain(answer)
        if not had_it and fits and self._doubt is None and now_s - (self._seen_s if is_plain else self._page_s) < SEEN_S:
            return None
        if self._doubt is not None and now_s < self._retry_at_s:
            return self._doubt
        if not is_plain and not fits and now_s - self._asked_s < SEEN_S:
            return None  # a moment ago it was none of the index's ways to say so
        # Joined by whoever asks meanwhile. One that began before a known project was missed says nothing of that.
        return await self._join_flight((project if had_it else "", 0 if is_plain else answer.status), project, answer, latest)

    async def describe(self) -> Verdict:
        """Ask the index what shows that it is one, and, but for the last of all, what it does for a name that nobody can have."""
        if not self._is_last and (verdict := await self._describe_words()) is not None:
            return verdict
        if (doubt := await self._flights.run(("", 0), lambda: self._verify("", None))) is not None:
            return Verdict(believed=False, sentence=self._without_name(doubt))
        says_404 = self._learned is None or self._learned.status == 404  # else its manner has a sentence of its own
        how = (
            'a 404 for a name that it lacks counts as "not there"'
            if says_404
            else "what it says of names that it lacks is believed"
        )
        return Verdict(believed=True, sentence=f"{how}: {self._host} is an index ({self._proof})")

    async def _describe_words(self) -> Verdict | None:
        """Tell what its own words are worth; ``None``: they need further evidence."""
        try:
            name, answer = await self._questions.probe_nobody(6)
            if answer.status == 404 and self._says_absent(name, answer):
                return Verdict(believed=True, sentence=f"{self._host} says itself which names it lacks, and that is believed")
        except UpstreamError as error:
            return Verdict(believed=False, sentence=self._without_name(error))
        return None

    def _without_name(self, error: UpstreamError) -> str:
        return str(error).removeprefix(f"source {self._source} ")

    def _fits(self, project: str, answer: PageAnswer) -> bool:
        age_s = self._clock.monotonic() - self._learned_s
        is_plain = self._questions.is_plain(answer)
        if self._learned is not None and age_s < (KIND_S if is_plain else SEEN_S) and self._learned.fits(answer, project):
            return True
        return any(kind.fits(answer, project) for kind in self._kinds)

    async def _join_flight(
        self, key: tuple[str, int], project: str, answer: PageAnswer, latest: Deadline
    ) -> UpstreamError | None:
        """Wait for what is asked now; it goes on without whoever leaves, so that the next one finds it answered."""
        try:
            async with asyncio.timeout(min(_WAIT_S, max(latest.left_s(), 0.0))):
                return await self._flights.run(key, lambda: self._verify(project, answer))
        except TimeoutError:
            raise Busy(
                f"source {self._source} answered {answer.status}, and {self._host} is still being asked what its {answer.status} "
                "is worth: try again",
                source=self._source,
                retry_after_s=_BUSY_S,
            ) from None

    async def _verify(self, project: str, answer: PageAnswer | None) -> UpstreamError | None:
        """Ask what has to be known now. Seen a moment ago is not enough: another kind of answer may mean another server since."""
        began_s = self._clock.monotonic()
        set_asker(f"evidence of {self._source}")  # a client of its own: who waits for it may have thousands of names in line
        enter_chain("")  # and may have come by a way that is refused
        is_plain = answer is None or self._questions.is_plain(answer)
        is_spared = self._is_last and (answer is None or answer.status == 404)
        learns = not is_spared and (answer is None or not self._fits(project, answer))
        proof, kind = await self._ask(project, answer, by_page=not is_plain, learns=learns)
        if answer is None and isinstance(kind, AnswerKind) and not self._questions.is_plain(kind):
            proof, _ = await self._ask(project, answer, by_page=True, learns=False)
        if isinstance(kind, AnswerKind) and isinstance(proof, str):
            manner = self._questions.describe_manner(kind)
            self.known.note_manner(**{habit: getattr(manner, habit) for habit in ABSENCE_HABITS})
        if answer is None and isinstance(kind, AnswerKind):
            kind = self._questions.find_fault(kind) or kind
        doubts = [found for found in (proof, kind) if isinstance(found, UpstreamError)]
        doubts.sort(key=lambda doubt: (isinstance(doubt, UpstreamUnavailable), isinstance(doubt, Busy)))
        if doubts and isinstance(doubts[0], Busy):  # that says nothing of the index: whoever waited may ask again
            raise doubts[0]
        if answer is not None and not is_plain and learns and not isinstance(kind, UpstreamUnavailable):
            self._asked_s = began_s
            if not (isinstance(kind, AnswerKind) and kind.fits(answer, project)):
                # Not how the index says so, whatever else there is to doubt: the answer is what it seems.
                self._learned, self._learned_s = kind if isinstance(kind, AnswerKind) and not doubts else None, began_s
                return None
        if isinstance(proof, str) and not doubts:
            if self._doubt is not None and self._retry_at_s - _RETRY_S > began_s:
                return self._doubt  # which came up since
            self._proof, self._seen_s = proof, max(self._seen_s, began_s)
            self._page_s = self._page_s if is_plain else max(self._page_s, began_s)
        self._conclude(doubts[0] if doubts else None, began_s)
        if isinstance(kind, AnswerKind) and all(isinstance(doubt, UpstreamUnavailable) for doubt in doubts):
            # Without proof it is kept for the next flight, which has to come within the time that proof is good for.
            self._learned, self._learned_s = kind, began_s - (KIND_S - SEEN_S if doubts and is_plain else 0.0)
        return self._doubt

    async def _ask(
        self, project: str, answer: PageAnswer | None, *, by_page: bool, learns: bool
    ) -> tuple[str | UpstreamError, AnswerKind | UpstreamError | None]:
        """Ask what shows an index, and, if it ``learns``, how it says "not there"; what failed instead of what was not found."""
        how = "answers 404" if answer is None else self._questions.describe_answer(answer)
        proving = asyncio.create_task(self._questions.prove(project, how, by_page=by_page))
        learning = asyncio.create_task(self._questions.learn()) if learns else None
        tasks: list[asyncio.Task[str] | asyncio.Task[AnswerKind]] = [proving, *([learning] if learning else [])]
        try:
            await asyncio.wait(tasks, timeout=_FLIGHT_S)
        finally:
            await cancel_all(tasks)
        return self._result_of(proving), None if learning is None else self._result_of(learning)

    def _result_of(self, task: asyncio.Task[T]) -> T | UpstreamError:
        """The result of a question, or why there is none. Raises what is no failure of the source."""
        if task.cancelled():
            return UpstreamUnavailable(f"source {self._source} did not show in time that it is an index", source=self._source)
        error = task.exception()
        if error is not None and not isinstance(error, UpstreamError):
            raise error
        return task.result() if error is None else without_frames(error)

    def _conclude(self, doubt: UpstreamError | None, began_s: float) -> None:
        was, self._doubt = self._doubt, doubt
        self._metrics.absence_believed.labels(self._source).set(doubt is None)
        if doubt is None:
            if was is not None:
                _log.info('source %s: a 404 counts as "not there" again (%s)', self._source, self._proof)
            return
        has_paged_since = self._page_s >= began_s
        self.forget()
        self._retry_at_s = -math.inf if has_paged_since else self._clock.monotonic() + _RETRY_S
        if was is None:
            _log.warning('a 404 of source %s does not count as "not there": %s', self._source, doubt)
