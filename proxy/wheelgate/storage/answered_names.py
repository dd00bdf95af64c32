"""Answered names: yes or no for each of hundreds of thousands of names, in some 25 bytes each."""

from __future__ import annotations

from wheelgate.core.packed_names import PackedNames


class AnsweredNames:
    """Answers about names. Bounded: beyond ``most`` with one answer all of these are forgotten."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._by_answer = (PackedNames(), PackedNames())
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
        known = (known if len(known) < self._most else PackedNames()).updated(add=[name])
        if name in others:
            others = others.updated(remove=[name])
        self._by_answer = (others, known) if answer else (known, others)

    def forget(self, name: str | None) -> None:
        """Remember no answer about a name; ``None``: about any."""
        if name is None:
            self._by_answer = (PackedNames(), PackedNames())
        else:
            no, yes = self._by_answer
            self._by_answer = (no.updated(remove=[name]), yes.updated(remove=[name]))
