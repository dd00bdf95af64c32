"""Inbound tokens: the rights to upload and, where reading is not for everybody, to read.

``wgt_<id>_<secret>_<checksum>``: a prefix that secret scanners find, an identifier to look up by, 256 random bits, and a checksum
that tells a mistyped token from a revoked one without asking anybody. Only a hash of the secret is stored. One SHA-256 is right
for a secret that nobody can guess; a slow hash would only make every request of pip expensive.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import math
import re
import secrets
import string
import zlib
from datetime import datetime, timedelta

import msgspec

from wheelgate.core.errors import BlobNotFound, ConfigurationError, StoreError, Unauthenticated
from wheelgate.core.patterns import NamePatterns
from wheelgate.core.protocols import BlobStore, Clock
from wheelgate.storage import layout

_ALPHABET = string.digits + string.ascii_letters
_FORM = re.compile(r"wgt_([0-9A-Za-z]{8})_([0-9A-Za-z]{43})_([0-9A-Za-z]{6})", re.ASCII)
_SCOPE = re.compile(r"(read|upload)(?::(.+))?")
MAX_LIFE = timedelta(days=366)
_LAST_KNOWN_S = 3600.0
"""How long the last list of tokens serves while the store cannot be read."""


class Token(msgspec.Struct, frozen=True):
    """The stored record of a token: everything but its secret."""

    id: str
    sha256: str
    """Of the secret."""
    scopes: tuple[str, ...]
    """``read``, ``upload``, each with ``:`` and a name pattern if it is not for all names."""
    created: datetime
    expires: datetime
    note: str = ""

    def may(self, action: str, project: str) -> bool:
        """True if a scope covers the action for one project; ``*``: for all of them."""
        scopes = (scope.partition(":") for scope in self.scopes)
        return any(kind == action and (not pattern or project in NamePatterns([pattern])) for kind, _, pattern in scopes)

    def may_some(self, action: str) -> bool:
        """True if a scope covers the action for any project at all."""
        return any(scope.partition(":")[0] == action for scope in self.scopes)


class Tokens:
    """The tokens of one store. All are held in memory, so that checking one costs no round trip."""

    def __init__(self, store: BlobStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._known: dict[str, Token] = {}
        self._guests: dict[str, Token] = {}
        self._loaded_s: float | None = None
        self._must_load = True
        self._loading = asyncio.Lock()
        self.generation = 0
        """Grows whenever a token may have been made or revoked."""

    def forget(self) -> None:
        """Read them again at the next question: one may have been made or revoked."""
        self._must_load = True
        self.generation += 1

    def still_known(self, token: Token, generation: int) -> bool:
        """True if a token that was authenticated in a generation would be so now, without asking anybody.

        ``False`` only means: ask :meth:`authenticated` again.
        """
        return generation == self.generation and not self._must_load and token.expires > self._clock.now()

    async def new(self, scopes: tuple[str, ...], life: timedelta, note: str = "") -> tuple[str, Token]:
        """A token's text, which nobody can show again, and what is stored of it.

        Raises :class:`ConfigurationError` if a scope or the life is not possible.
        """
        problems = [
            f"--scope: {scope!r} must be read, upload, read:PATTERN or upload:PATTERN" for scope in scopes if not _is_scope(scope)
        ]
        if not timedelta() < life <= MAX_LIFE:
            problems.append(f"--expires: must be more than nothing and at most {MAX_LIFE.days}d")
        if problems:
            raise ConfigurationError(problems)
        text, token = self._mint(scopes, life, note)
        await self._store.put_if_absent(layout.token(token.id), msgspec.json.encode(token), {})
        return text, token

    def guest(self) -> str:
        """The text of a token that may read for a day: of this process alone, stored nowhere, and gone with it."""
        text, token = self._mint(("read",), timedelta(days=1))
        self._guests[token.id] = token
        return text

    def _mint(self, scopes: tuple[str, ...], life: timedelta, note: str = "") -> tuple[str, Token]:
        identifier, secret = ("".join(secrets.choice(_ALPHABET) for _ in range(length)) for length in (8, 43))
        now = self._clock.now()
        token = Token(identifier, _digest(secret), scopes, now, now + life, note)
        return f"wgt_{identifier}_{secret}_{_checksum(identifier, secret)}", token

    async def all(self) -> list[Token]:
        """Every token that was not revoked, expired ones too, oldest first."""
        found = []
        async for info in self._store.list(layout.TOKENS):
            try:
                body, _ = await self._store.read(info.path)
            except BlobNotFound:  # revoked since it was listed
                continue
            found.append(msgspec.json.decode(body, type=Token))
        return sorted(found, key=lambda token: token.created)

    def has_expired(self, token: Token) -> bool:
        """True if it lets nobody in any more, though it was not revoked."""
        return token.expires <= self._clock.now()

    async def revoke(self, identifier: str) -> bool:
        """Make a token useless for ever; ``False`` if there is none of that identifier."""
        try:
            await self._store.info(layout.token(identifier))
        except BlobNotFound:
            return False
        await self._store.delete(layout.token(identifier))
        return True

    async def authenticate(self, text: str) -> Token:
        """The token behind a text.

        Raises:
            Unauthenticated: it is not one of ours, revoked, or expired. The sentence says which only where that tells nobody
                anything about tokens that are not theirs.
            StoreError: the tokens cannot be read, and have not been for an hour.
        """
        match = _FORM.fullmatch(text)
        if match is None or not hmac.compare_digest(_checksum(match[1], match[2]), match[3]):
            raise Unauthenticated(
                "this is not a Wheelgate token, or not a whole one: give it as the password, with any user name"
            )
        token = self._guests.get(match[1])
        if token is None:
            await self._refresh()
            token = self._known.get(match[1])
        if token is None or not hmac.compare_digest(token.sha256, _digest(match[2])):
            raise Unauthenticated("this token is not known here: it was revoked, or belongs to another server")
        if self.has_expired(token):
            raise Unauthenticated(f"this token expired on {token.expires:%Y-%m-%d}: make another with wheelgate token new")
        return token

    async def _refresh(self) -> None:
        async with self._loading:
            if not self._must_load:
                return
            self._must_load = False
            try:
                self._known = {token.id: token for token in await self.all()}
                self._loaded_s = self._clock.monotonic()
            except BaseException as error:  # cut off, too: until they have been read, what is known may be revoked
                self._must_load = True
                age_s = math.inf if self._loaded_s is None else self._clock.monotonic() - self._loaded_s
                if not isinstance(error, StoreError) or age_s > _LAST_KNOWN_S:
                    raise


def _is_scope(scope: str) -> bool:
    match = _SCOPE.fullmatch(scope)
    return match is not None and (match[2] is None or NamePatterns.is_valid(match[2]))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _checksum(identifier: str, secret: str) -> str:
    number = zlib.crc32(f"{identifier}_{secret}".encode())
    digits = ""
    for _ in range(6):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
