"""The kind of an answer about a project that is not there: who gives it, and in which words, whatever the project's name.

Two servers rarely say "not there" alike: status, type, server and words differ. What differs between two answers of one server
(the name, times, numbers of requests) is left out. Which words those are is learned from the server itself.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from itertools import combinations

import msgspec

from wheelgate.core.patterns import normalise_pattern
from wheelgate.core.urls import read
from wheelgate.upstream.answers import PageAnswer

_NOBODYS = "wheelgate-asks-for-no-project"
_NAME, _UNDERSCORED, _DOTTED = "\0", "\1", "\2"
"""Stand for the project's name, in the spellings in which a server may repeat it."""
_VARIABLE = re.compile(r"(?<![0-9a-z_+=-])[a-z_+=-]*\d[0-9a-z_+=-]*")  # times, lengths, identifiers
_SPACES = re.compile(r"\s+")
_BONES = re.compile(r"</?[a-z][a-z0-9]*|\"[a-z_$][a-z0-9_$-]{0,40}\"\s*:")  # the tags of a web page, the keys of an object
WORDS, STRUCTURE, SERVER = range(3)
"""How closely two answers of a kind agree: word for word, by tags or keys, by headers alone."""


class AnswerKind(msgspec.Struct, frozen=True):
    """An answer with blanks for what changes from one question to the next."""

    status: int
    content_type: str
    marks: tuple[str, ...]
    """Of a redirect away from the index: the origin that it leads to, too."""
    words: str
    """Lower case, with blanks for the name. Later answers have to agree with it."""
    closeness: int = WORDS
    leads_to: str = ""
    """Of a redirect away from the index: the URL that it led to."""

    @classmethod
    def of(cls, answer: PageAnswer, project: str, closeness: int = WORDS) -> AnswerKind:
        """Describe the answer about a project."""
        words = _said_in(answer)
        for name, blank in zip(_spellings(project), (_NAME, _UNDERSCORED, _DOTTED), strict=True):
            words = re.sub(rf"(?<![a-z0-9]){re.escape(name)}(?![a-z0-9])", blank, words)
        return cls(answer.status, answer.content_type, _marks_of(answer), words, closeness, answer.leads_to)

    def fits(self, answer: PageAnswer, project: str) -> bool:
        """True if an answer about a project is of this kind."""
        if (answer.status, answer.content_type, _marks_of(answer)) != (self.status, self.content_type, self.marks):
            return False
        expected = self.words
        for name, blank in zip(_spellings(project), (_NAME, _UNDERSCORED, _DOTTED), strict=True):
            expected = expected.replace(blank, name)
        return _shape(expected, self.closeness) == _shape(_said_in(answer), self.closeness)


def learn_kind(asked: Sequence[tuple[str, PageAnswer]]) -> AnswerKind | None:
    """Learn how an index says "not there", from what it says of projects that nobody can have; ``None``: it cannot be told.

    From two answers, if they agree word for word. From three, if each has words of its own: then tags, keys or headers tell. Two
    that agree and one that does not are of two servers, of which one may not be the index.
    """
    kinds = [AnswerKind.of(answer, project) for project, answer in asked]
    pairs = [kinds[first].fits(asked[second][1], asked[second][0]) for first, second in combinations(range(len(asked)), 2)]
    if all(pairs):
        return kinds[0]
    if any(pairs) or len(asked) < 3:
        return None
    for closeness in (STRUCTURE, SERVER):
        looser = msgspec.structs.replace(kinds[0], closeness=closeness)
        if all(looser.fits(answer, project) for project, answer in asked[1:]):
            return looser
    return None


def make_nobodys_name(only: Sequence[str], length: int) -> str:
    """Make up a name that was never anybody's, with so many random bytes; ``only``: patterns of what may be asked for."""
    token = f"{_NOBODYS}-{secrets.token_hex(length)}"
    made = next((pattern.replace("*", token) for pattern in only if "*" in pattern), None)
    if made is None:
        return f"{only[0]}-{token}" if only else token
    return normalise_pattern(made).strip("-")


def _said_in(answer: PageAnswer) -> str:
    return answer.leads_to.lower() or bytes(answer.body).decode("latin-1").lower()


def _marks_of(answer: PageAnswer) -> tuple[str, ...]:
    return (*answer.marks, str(read(answer.leads_to).origin())) if answer.leads_to else answer.marks


def _spellings(project: str) -> tuple[str, str, str]:
    return (project, project.replace("-", "_"), project.replace("-", "."))


def _shape(words: str, closeness: int) -> object:
    if closeness == WORDS:
        return _SPACES.sub(" ", _VARIABLE.sub("#", words)).strip()
    return _BONES.findall(words) if closeness == STRUCTURE else None
