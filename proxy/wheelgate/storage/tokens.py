"""Inbound tokens: the rights to upload and, where reading is not for everybody, to read.

``wgt_<id>_<secret>_<checksum>``: a prefix that secret scanners find, an identifier to look up by, 256 random bits, and a checksum
that tells a mistyped token from a revoked one without asking anybody. Only a hash of the secret is stored. One SHA-256 is right
for a secret that nobody can guess; a slow hash would only make every request of pip expensive.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
import secrets
import string
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta

import msgspec
from cachetools import LRUCache

from wheelgate.core.errors import BlobDamaged, BlobNotFound, Busy, ConfigurationError, StoreError, Unauthenticated
from wheelgate.core.patterns import NamePatterns
from wheelgate.core.protocols import BlobStore, Clock
from wheelgate.runtime.allowance import Allowances
from wheelgate.runtime.generations import Generation, Generations
from wheelgate.runtime.singleflight import SingleFlight
from wheelgate.runtime.together import together
from wheelgate.storage import layout
from wheelgate.storage.change_log import Change, Kind
from wheelgate.storage.changes import StoreChanges

_ALPHABET = string.digits + string.ascii_letters
_FORM = re.compile(r"wgt_([0-9A-Za-z]{8})_([0-9A-Za-z]{43})_([0-9A-Za-z]{6})", re.ASCII)
_SCOPE = re.compile(r"(read|upload)(?::(.+))?")
MAX_LIFE = timedelta(days=366)
LAST_KNOWN_S = 3600.0
"""How long a token that was looked up serves while the store is silent."""
EXPIRES = "expires"
"""The fact of a record that says in a listing when its token expires, as ISO 8601."""
_AT_ONCE = 16
"""Records that are read side by side for a list of all."""
_MAX_REMEMBERED = 20_000
_MAX_UNKNOWN = 5_000
"""Identifiers of which it is remembered that there is no such token. Apart, so that guessing drives out no valid one."""
_GUESSES, _GUESSES_PER_S = 100, 5.0
"""Identifiers that one client may have looked up in vain: so many, and so many more a second."""
_log = logging.getLogger(__name__)


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


class DamagedToken(Exception):
    """A token's record that cannot be believed: it lets nobody in, and can be revoked."""


class Tokens:
    """The tokens of one store. Each is looked up once, and remembered until somebody announces that it changed."""

    def __init__(self, store: BlobStore, clock: Clock, changes: StoreChanges) -> None:
        self._store = store
        self._clock = clock
        self._changes = changes
        self._known: LRUCache[str, Token] = LRUCache(_MAX_REMEMBERED)
        self._unknown: LRUCache[str, None] = LRUCache(_MAX_UNKNOWN)
        self._guests: dict[str, Token] = {}
        self._generations = Generations()
        self._lookups: SingleFlight[Token | None] = SingleFlight()
        self._guesses = Allowances(clock.monotonic, most=_GUESSES, per_s=_GUESSES_PER_S)
        changes.subscribe(Kind.TOKEN, self._forget)

    def _forget(self, identifier: str | None) -> None:
        self._generations.advance(identifier)
        for remembered in (self._known, self._unknown):
            if identifier is None:
                remembered.clear()
            else:
                remembered.pop(identifier, None)

    def still_known(self, token: Token, generation: Generation) -> bool:
        """True if a token that was authenticated in a generation would be so now, without asking anybody.

        ``False`` only means: ask :meth:`authenticate` again.
        """
        if generation != self._generations.of(token.id) or self.has_expired(token):
            return False
        return token.id in self._guests or self._changes.is_heard

    def _may_rely(self) -> bool:
        return self._changes.silent_s < LAST_KNOWN_S

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
        async with self._changes.changing(Change(Kind.TOKEN, token.id)):
            await self._store.put_if_absent(
                layout.token(token.id), msgspec.json.encode(token), {EXPIRES: token.expires.isoformat()}
            )
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

    async def all(self) -> AsyncIterator[tuple[str, Token | None]]:
        """Every token that was not revoked, expired ones too, by its identifier; ``None``: its record is damaged."""
        identifiers = []
        async for info in self._store.list(layout.TOKENS):
            identifiers.append(info.path.removeprefix(layout.TOKENS))
            if len(identifiers) == _AT_ONCE:
                for row in await self._read_rows(identifiers):
                    yield row
                identifiers.clear()
        for row in await self._read_rows(identifiers):
            yield row

    async def _read_rows(self, identifiers: Sequence[str]) -> list[tuple[str, Token | None]]:
        found = await asyncio.gather(*map(self.read, identifiers), return_exceptions=True)
        for problem in found:
            if isinstance(problem, BaseException) and not isinstance(problem, BlobNotFound | DamagedToken):
                raise problem
        rows = zip(identifiers, found, strict=True)
        return [
            (identifier, token if isinstance(token, Token) else None)
            for identifier, token in rows
            if not isinstance(token, BlobNotFound)  # revoked since it was listed
        ]

    def has_expired(self, token: Token) -> bool:
        """True if it lets nobody in any more, though it was not revoked."""
        return token.expires <= self._clock.now()

    async def revoke(self, identifier: str) -> bool:
        """Make a token useless for ever; ``False`` if there is none of that identifier."""
        async with AsyncExitStack() as stack:
            announcing = stack.enter_async_context(self._changes.changing(Change(Kind.TOKEN, identifier)))
            is_stored, _ = await together(self._is_stored(identifier), announcing)
            if is_stored:
                await self._store.delete(layout.token(identifier))
        return bool(is_stored)

    async def _is_stored(self, identifier: str) -> bool:
        try:
            await self._store.info(layout.token(identifier))
        except BlobNotFound:
            return False
        except BlobDamaged:
            pass
        return True

    async def authenticate(self, text: str, client: str = "") -> Token:
        """The token behind a text. ``client``: who shows it, since each may guess only so many.

        Raises:
            Unauthenticated: it is not one of ours, revoked, or expired. The sentence says which only where that tells nobody
                anything about tokens that are not theirs.
            Busy: it has to be looked up, and this client has had too many looked up in vain.
            StoreError: the token cannot be looked up, and has not been heard of for an hour.
        """
        return (await self.authenticate_with_generation(text, client))[0]

    async def authenticate_with_generation(self, text: str, client: str = "") -> tuple[Token, Generation]:
        """The same, and for :meth:`still_known` the token's generation of before the check: a revocation meanwhile ends it."""
        match = _FORM.fullmatch(text)
        if match is None or not hmac.compare_digest(_checksum(match[1], match[2]), match[3]):
            raise Unauthenticated(
                "this is not a Wheelgate token, or not a whole one: give it as the password, with any user name"
            )
        generation = self._generations.of(match[1])
        token = self._guests.get(match[1]) or await self._find(match[1], client)
        if token is None or not hmac.compare_digest(token.sha256, _digest(match[2])):
            raise Unauthenticated("this token is not known here: it was revoked, or belongs to another server")
        if self.has_expired(token):
            raise Unauthenticated(f"this token expired on {token.expires:%Y-%m-%d}: make another with wheelgate token new")
        return token, generation

    async def _find(self, identifier: str, client: str) -> Token | None:
        """The token of an identifier; ``None``: there is none that could be believed."""
        if self._changes.is_heard and identifier in self._unknown:
            return None
        token = self._known.get(identifier)
        if token is not None and self._changes.is_heard:
            return token
        generation = self._generations.of(identifier)
        try:
            key = (identifier, generation, client)
            return await self._lookups.run(key, lambda: self._look_up(*key))
        except (StoreError, Busy):
            if token is None or not self._may_rely():
                raise
            return token

    async def _look_up(self, identifier: str, generation: Generation, client: str) -> Token | None:
        if wait_s := self._guesses.spend(client):
            raise Busy("too many tokens that are not known here came from your address: try again", retry_after_s=wait_s)
        is_in_vain = False
        try:
            token = await self.read(identifier)
        except BlobNotFound:
            token, is_in_vain = None, True
        except DamagedToken as error:
            _log.error("%s", error)
            token = None
        finally:
            if not is_in_vain:
                self._guesses.refund(client)
        if generation == self._generations.of(identifier):
            if token is None:
                self._unknown[identifier] = None
            else:
                self._known[identifier] = token
        return token

    async def read(self, identifier: str) -> Token:
        """The stored record; :class:`BlobNotFound` if there is none, :class:`DamagedToken` if it cannot be believed."""
        path = layout.token(identifier)
        try:
            body, _ = await self._store.read(path)
            token = msgspec.json.decode(body, type=Token)
            if token.id == identifier and token.created.tzinfo is not None and token.expires.tzinfo is not None:
                return token  # else it is another token's record, or none of ours
        except (BlobDamaged, msgspec.MsgspecError, UnicodeDecodeError):
            pass
        raise DamagedToken(f"the store's record {path} is damaged, so it lets nobody in: wheelgate token revoke {identifier}")


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
