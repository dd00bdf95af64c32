"""Digests as indexes state them: which algorithms are known, how a stated one is read, and which are shown to clients."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Annotated, Protocol
from urllib.parse import unquote

import msgspec

SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
"""To be matched in full. So is a sha256 stored and compared everywhere: lower-case, and nothing after it."""
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
"""The same, as a field of a record."""

SHOWN = ("sha256", "sha512", "sha384", "md5")
"""The algorithms that every release of uv takes, the one first that a page in HTML states. uv refuses a whole page in HTML for
any other, and one in JSON for the ``blake2b`` of the usual length."""
_ALL_SHOWN = frozenset(SHOWN)
_DIGEST_BYTES = {
    "md5": 16,
    "sha1": 20,
    "sha224": 28,
    "sha256": 32,
    "sha384": 48,
    "sha512": 64,
    "sha3_224": 28,
    "sha3_256": 32,
    "sha3_384": 48,
    "sha3_512": 64,
}
"""Of all that ``hashlib`` has everywhere and whose digests have one length."""
_LONGEST_BYTES = {"blake2b": 64, "blake2s": 32}
"""Of those whose digests may be shorter; each length is an algorithm of its own: ``blake2b_256`` is no part of ``blake2b``."""
_LEAST_BYTES = 16
_STRONG_BYTES = 28
"""Shorter ones, md5 and sha1 among them, give way to whoever tries: they do not stand for another one."""
_NAMES = {name.replace("_", ""): name for name in (*_DIGEST_BYTES, *_LONGEST_BYTES)} | {
    "blake2b256": "blake2b",
    "blake2256": "blake2b",  # as upload tools call it
}
_SEPARATORS = re.compile(r"[-_]")
_HEX = b"0123456789abcdef"
_HEX_DIGITS = re.compile(r"[0-9a-f]+", re.ASCII | re.IGNORECASE)
_FORGEJO_FIELD = re.compile(r"([a-z0-9_]{2,20})[-:]([0-9a-f]{32,})", re.ASCII | re.IGNORECASE)
_MAX_QUOTED = 40
_MAX_STATED, _MAX_NAME, _MAX_FRAGMENT = 50, 40, 2_000
"""Digests of one file, characters of an algorithm's name, and of a fragment: no more are looked at, as each takes its time."""


class Hash(Protocol):
    """A digest under way, of any algorithm."""

    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


class UnusableDigest(ValueError):
    """A stated digest that nothing can be compared with; the message completes "its source states ..."."""


class UnknownAlgorithm(UnusableDigest):
    """A stated digest by an algorithm that is not known here."""


def read_digests(stated: Mapping[str, str]) -> Mapping[str, str]:
    """Read the digests that are stated of one file: by algorithm as :func:`new_hash` knows it, in lower case.

    All of them are to be checked. One that cannot be is no reason to go without: whoever stated it meant it to be compared. But
    beside a strong one an unknown one is left out, as uv does: an index may add what is yet to come to what it has.

    Raises:
        UnusableDigest: one is malformed, or of an algorithm that is not known, and none beside it is strong.
    """
    sha256 = stated.get("sha256") if len(stated) == 1 else None
    if sha256 is not None and len(sha256) == 64 and sha256.isascii() and not sha256.encode().translate(None, _HEX):
        return stated  # as nearly always: as it is
    if len(stated) > _MAX_STATED:
        raise UnusableDigest(f"{len(stated)} digests of one file")
    found: dict[str, str] = {}
    unknown: UnknownAlgorithm | None = None
    for name, digest in stated.items():
        try:
            algorithm = name_algorithm(name, digest)
        except UnknownAlgorithm as error:
            unknown = error
            continue
        if found.setdefault(algorithm, digest.lower()) != digest.lower():
            raise UnusableDigest(f"two different digests of {algorithm}")
    if unknown is not None and not any(len(digest) >= 2 * _STRONG_BYTES for digest in found.values()):
        raise unknown
    return found


def name_algorithm(stated: str, digest: str) -> str:
    """Find the algorithm of a stated digest: one that :func:`new_hash` knows, and whose digests have this length.

    Raises:
        UnknownAlgorithm: nothing is known by this name.
        UnusableDigest: it has another length, or is none.
    """
    name = _NAMES.get(_SEPARATORS.sub("", stated.lower())) if len(stated) <= _MAX_NAME else None
    if name is None:
        raise UnknownAlgorithm(f"a digest by {_quote(stated)}, which is not known here")
    size, odd = divmod(len(digest), 2)
    if size > max(_DIGEST_BYTES.values()):
        raise UnusableDigest(f"a {name} of {len(digest)} digits, which none has")
    if odd or not _HEX_DIGITS.fullmatch(digest):
        raise UnusableDigest(f"a {name} that is none ({_quote(digest)})")
    longest = _LONGEST_BYTES.get(name)
    if longest is None and size == _DIGEST_BYTES[name]:
        return name
    if longest is not None and _LEAST_BYTES <= size <= longest:
        return name if size == longest else f"{name}_{size * 8}"
    raise UnusableDigest(f"a {name} of {len(digest)} digits, which none has")


def is_known(algorithm: str) -> bool:
    """Tell whether :func:`new_hash` knows an algorithm by this name."""
    name, _, bits = algorithm.partition("_")
    if algorithm in _DIGEST_BYTES or name not in _LONGEST_BYTES:
        return algorithm in _DIGEST_BYTES
    return algorithm == name or bits in {str(8 * size) for size in range(_LEAST_BYTES, _LONGEST_BYTES[name] + 1)}


def new_hash(algorithm: str) -> Hash:
    """Begin a digest that is compared with a listed one, or one that upload tools announce (``blake2_256``)."""
    if algorithm.startswith("blake2"):
        name, _, bits = algorithm.partition("_")
        if bits:
            begin = hashlib.blake2s if name == "blake2s" else hashlib.blake2b
            return begin(digest_size=int(bits) // 8, usedforsecurity=False)
    return hashlib.new(algorithm, usedforsecurity=False)


def shown_digests(hashes: Mapping[str, str]) -> Mapping[str, str]:
    """Those of a file's digests that clients are shown; the same object where that is all of them."""
    if hashes.keys() <= _ALL_SHOWN:
        return hashes
    return {name: hashes[name] for name in SHOWN if name in hashes}


def are_for_us_alone(hashes: Mapping[str, str]) -> bool:
    """Tell whether there are digests, none of which clients are shown: what they say, only we can check."""
    return bool(hashes) and not any(name in hashes for name in SHOWN)


def read_fragment(fragment: str) -> dict[str, str]:
    """Read the digests in a link's fragment, as stated (PEP 503: ``#sha256=...``; there may be several, and other fields).

    A field counts as a digest if its name is that of an algorithm, or its value looks like one.
    """
    if fragment.startswith("sha256=") and "&" not in fragment:
        return {"sha256": fragment[7:]}
    fields = (fragment if "=" in fragment else unquote(fragment[:_MAX_FRAGMENT])).split("&", _MAX_STATED)
    if len(fields) > _MAX_STATED or len(fragment) > _MAX_FRAGMENT:
        return {"a fragment longer than any": ""}  # no algorithm, and no digest: anything in it may be one
    found: dict[str, str] = {}
    for field in fields:
        name, equals, value = field.partition("=")
        if not equals and (match := _FORGEJO_FIELD.fullmatch(field)):  # #sha256-...
            name, value = match[1], match[2]
        is_known = bool(equals) and _SEPARATORS.sub("", name.lower()) in _NAMES
        if is_known or (len(value) >= 2 * _LEAST_BYTES and _HEX_DIGITS.fullmatch(value)):
            found[name] = value if found.get(name, value) == value else f"{found[name]} and {value}"
    return found


def _quote(text: str) -> str:
    """Quote somebody else's words within a sentence: one line of plain characters, bounded."""
    return repr(text[:_MAX_QUOTED])
