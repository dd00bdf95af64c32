"""``Requires-Python`` as somebody stated it, made fit for a page without any change to what it means to an installer."""

from __future__ import annotations

import re
from functools import lru_cache

MAX_CONSTRAINT = 8_000
"""Characters; the longest that are in use have some hundred."""
_SHORT = 100
UNREADABLE = "\x1f"
"""Stands for a constraint that was stated as something else than text."""
_BLANKS = re.compile(r"[\t\n\v\f\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
"""White space to every installer: to Python's as to Rust's eyes."""
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
"""Characters that may stand in no page, and that make any constraint one that no installer reads."""
_DISPUTED = re.compile(r"[\x1c-\x1f]")
"""White space to pip, but not to uv."""


class UnshowableConstraint(ValueError):
    """A constraint that no page can state; the message completes "its source states ..."."""


def read_constraint(stated: str | None) -> str | None:
    """Read a constraint, its white space folded; ``None`` where there is none.

    What it means, nobody here judges: installers read some that are no specifiers (``>=3.6.*``), and each has its own way with
    those that it cannot read. So it is handed on as it is. A character that no page may hold is replaced by one that no
    constraint has either: to every installer that is as unreadable as before.

    Raises:
        UnshowableConstraint: it cannot be shown. Without it, installers would take what does not run on their Python.
    """
    if not stated:
        return None
    if stated == UNREADABLE:
        raise UnshowableConstraint("a Requires-Python that is no text")
    if len(stated) > MAX_CONSTRAINT:
        raise UnshowableConstraint(f"a Requires-Python of {len(stated)} characters, and no page holds more than {MAX_CONSTRAINT}")
    return _read_short(stated) if len(stated) <= _SHORT else _read(stated)


def _read(stated: str) -> str | None:
    if stated.isascii() and stated.isprintable() and "  " not in stated:
        return stated.strip() or None
    if _DISPUTED.search(stated):
        raise UnshowableConstraint("a Requires-Python with a separator (U+001C to U+001F) that installers read differently")
    return _CONTROL.sub("\ufffd", _BLANKS.sub(" ", stated)).strip(" ") or None


@lru_cache(maxsize=1_024)
def _read_short(stated: str) -> str | None:
    return _read(stated)
