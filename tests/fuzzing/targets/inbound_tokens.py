"""The text of inbound tokens, by itself and in an Authorization header: only the very text lets anybody in."""

from __future__ import annotations

import asyncio
import base64
from datetime import timedelta

from tests.fuzzing.target import Target, assert_sentence
from tests.support.clock import FakeClock
from tests.support.stores import MemoryStore
from wheelgate.core.errors import ConfigurationError, Unauthenticated
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.tokens import Tokens
from wheelgate.web.auth import parse_authorization

_GOOD = b"{GOOD}"
"""Stands for a token that is good."""


def check(data: bytes) -> None:
    asyncio.run(_check(data))


async def _check(data: bytes) -> None:
    store, clock = MemoryStore(), FakeClock()
    tokens = Tokens(store, clock, StoreChanges(store, clock))
    good, token = await tokens.new(("read", "upload:acme-*"), timedelta(days=1))
    text = data.replace(_GOOD, good.encode()).replace(b"{ID}", token.id.encode()).decode("utf-8", "surrogateescape")
    for tried in (text, parse_authorization(text)):
        if tried is not None:
            await _try(tokens, tried, good)
    parsed = parse_authorization(f"Basic {base64.b64encode(text.encode('utf-8', 'surrogateescape')).decode()}")
    user, _, password = text.partition(":")
    assert parsed in (password or user or None, None)
    try:
        await tokens.new((text,), timedelta(days=1))
    except ConfigurationError as error:
        assert error.problems
    else:
        assert all(kind in ("read", "upload") for kind in [text.partition(":")[0]])
    (known,) = [entry async for identifier, entry in tokens.all() if identifier == token.id]
    assert known == token


async def _try(tokens: Tokens, text: str, good: str) -> None:
    try:
        found = await tokens.authenticate(text)
    except Unauthenticated as error:
        assert_sentence(str(error))
        assert text != good
        assert len(text) < 8 or text not in str(error), "the sentence repeats it"
    else:
        assert text == good
        assert found.may("upload", "acme-x")
        assert not found.may("upload", "other")


TARGET = Target(
    check=check,
    modules=("wheelgate.storage.tokens", "wheelgate.web.auth"),
    seeds=(
        _GOOD,
        b"Bearer " + _GOOD,
        b"wgt_{ID}_" + b"a" * 43 + b"_000000",
        b"Basic " + base64.b64encode(b"__token__:wgt_x"),
        b"upload:acme-*",
    ),
    words=(
        _GOOD, b"{ID}", b"wgt_", b"_", b"Basic ", b"Bearer ", b"bearer\t", b"\n", b"\0", b" ", b":", b"=", b"a" * 43,
        b"0" * 6, b"read", b"upload:", b"*", b"\xff", b"\xd9\xa1", b"\xef\xbc\x91", b"__token__",
    ),
    max_bytes=512,
    examples=60,
)  # fmt: skip
