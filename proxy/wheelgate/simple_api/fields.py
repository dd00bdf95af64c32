"""Validation of the single fields of an upstream's entry: what may stand on a page of ours, and what is left out."""

from __future__ import annotations

import re
from binascii import unhexlify
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache

_DIGEST_BYTES = {"md5": 16, "sha256": 32, "sha384": 48, "sha512": 64}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_PROVENANCE = re.compile(r"https://[!#-&(-;=?-\[\]-_a-~]*")  # printable ASCII without quotes, backslash and angle brackets
_MAX_TEXT = 1_000


def digests(hashes: Mapping[str, str]) -> Mapping[str, str] | None:
    """The digests we and every installer can check, lower-case; ``None`` if one of them is malformed.

    Without its digest a file would install unverified, so a bad one costs the file, not only the digest. Algorithms
    beyond these are left out: uv rejects a page that carries a ``blake2b`` of the usual length.
    """
    kept = {}
    try:
        for algorithm, stated in hashes.items():
            if algorithm in _DIGEST_BYTES:
                digest = stated.lower()
                if len(unhexlify(digest)) != _DIGEST_BYTES[algorithm]:
                    return None
                kept[algorithm] = digest
    except ValueError:
        return None
    return kept


def metadata_digests(value: bool | Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Core metadata (PEP 714): ``None`` for not offered, or offered under a malformed digest; ``{}`` for offered without."""
    if value is None or value is False:
        return None
    if value is True:
        return {}
    known = digests(value)
    if known is None or (len(known) == 1 and "sha256" in known):
        return known
    return {"sha256": known["sha256"]} if "sha256" in known else {}


def provenance_url(value: str | None) -> str | None:
    """The absolute https URL that PEP 740 wants; anything else is left out."""
    return value if value is not None and len(value) <= 2_000 and _PROVENANCE.fullmatch(value) else None


def yank_reason(value: bool | str | None) -> str | None:
    """The reason of a yank (PEP 592): ``None`` for not yanked, ``""`` for yanked without a reason."""
    return (clean(value) if isinstance(value, str) else "") if value else None


def clean(value: str) -> str:
    """Upstream text that may stand in a page, a log line or a header: no control characters, bounded."""
    return _CONTROL.sub(" ", value)[:_MAX_TEXT]


@lru_cache(maxsize=1_024)
def text(value: str | None) -> str | None:
    """A short printable string as it is; anything else is left out."""
    return value if value and _is_text(value) else None


def _is_text(value: str) -> bool:
    return len(value) <= _MAX_TEXT and value.isprintable()


def in_utc(moment: datetime | None) -> datetime | None:
    """An aware moment in UTC; anything else is left out."""
    if moment is None or moment.tzinfo is None:
        return None  # without an offset it is not a moment; PEP 700 demands one
    try:
        return moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    except OverflowError:  # the last hours of the year 9999, or the first of the year 1, elsewhere
        return None
