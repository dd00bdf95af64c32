"""Answered names: yes or no for each of hundreds of thousands of names, in 25 bytes each, or one where others have it."""

from __future__ import annotations

from wheelgate.core.name_table import NameTable


class AnsweredNames:
    """Answers about names. Bounded: beyond ``most`` with one answer all of these are forgotten."""

    def __init__(self, most: int, table: NameTable | None = None) -> None:
        """``table``: keeps them, beside what others know of the same names; ``None``: nobody else does."""
        self._most = most
        table = table or NameTable()
        self._by_answer = (table.column(), table.column())
        """Those with the answer no, and those with yes."""

    def __len__(self) -> int:
        return sum(map(len, self._by_answer))

    def get(self, name: str) -> bool | None:
        """The answer; ``None``: it is not known."""
        no, yes = self._by_answer
        return True if name in yes else False if name in no else None

    def put(self, name: str, answer: bool) -> None:
        """Remember an answer."""
        others, known = self._by_answer[not answer], self._by_answer[answer]
        if len(known) >= self._most:
            known.clear()
        known.update(add=[name])
        if name in others:
            others.update(remove=[name])

    def forget(self, name: str | None) -> None:
        """Remember no answer about a name; ``None``: about any."""
        for known in self._by_answer:
            if name is None:
                known.clear()
            elif name in known:
                known.update(remove=[name])
