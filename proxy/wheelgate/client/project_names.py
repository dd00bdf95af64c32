"""Project names out of another server's list, in JSON, which may be of any length: read a piece at a time."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import IO

from wheelgate.core.names import is_normalised

_PIECE = 64 * 1024
"""Bytes that are read at a time; no entry is as long."""
_BEGIN = re.compile(r'"projects"\s*:\s*\[')
_BETWEEN = re.compile(r"[\s,]*")
_decode = json.JSONDecoder().raw_decode


def read_names(body: IO[bytes]) -> Iterator[str]:
    """Read the normalised names in a list of projects (PEP 691), in the order in which they stand there.

    Raises:
        ValueError: it is no such list, or not whole.
    """
    decode = codecs.getincrementaldecoder("utf-8")().decode
    try:
        held = decode(body.read(_PIECE))
        found = _BEGIN.search(held)
        if found is None:
            raise ValueError("it lists no projects")
        at = found.end()
        while True:
            if len(held) - at < _PIECE:
                held, at = held[at:] + decode(body.read(_PIECE)), 0
            at = _BETWEEN.match(held, at).end()  # type: ignore[union-attr]  # it matches nothing, too
            if held[at : at + 1] == "]":
                return
            entry, at = _decode(held, at)
            name = entry.get("name") if isinstance(entry, dict) else None
            if isinstance(name, str) and is_normalised(name):
                yield name
    except RecursionError:
        raise ValueError("it nests too deeply") from None
