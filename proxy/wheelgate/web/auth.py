"""Authentication of clients: tokens in ``Authorization``, as Bearer or as Basic password of any user (all that pip can send)."""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import partial

from aiohttp import web

from wheelgate.core.errors import Forbidden, Unauthenticated
from wheelgate.runtime.asker import set_asker
from wheelgate.runtime.generations import Generation
from wheelgate.storage.tokens import Token, Tokens
from wheelgate.web.open_connections import find_holder

Permission = Callable[[], bool]
"""Tells whether a request that was let through would be so now, with the very same bytes. ``False`` only means that it has to be
asked: tokens were made or revoked since, or this one expired."""


def permit_everybody() -> bool:
    """The permission of a server on which everybody may read."""
    return True


class Authentication:
    """Gate for requests, before anything is looked up: an unknown name and a private one look alike.

    It also says for whom all work on a request is done, so that clients share fairly what they share: one by its address (IPv6:
    the network, of which a machine has as many addresses as it likes), and by its token where it has to show one.
    """

    def __init__(self, tokens: Tokens, *, anonymous_read: bool) -> None:
        self._tokens = tokens
        self._anonymous_read = anonymous_read

    async def check_read(self, request: web.BaseRequest, project: str) -> Permission:
        """Return if the caller may read the project's pages and files (``*``: every project's).

        Raises:
            Unauthenticated: no token, or none that is valid.
            Forbidden: a valid one without the right.
            Busy: this client has shown too many that are not known.
        """
        if self._anonymous_read:
            set_asker(find_holder(request.remote or "unknown"))
            return permit_everybody
        token, generation = await self._authenticate(request)
        if not token.may("read", project):
            raise Forbidden(f"token {token.id} may not read {'the list of projects' if project == '*' else project}")
        return partial(self._tokens.still_known, token, generation)

    async def authenticate_uploader(self, request: web.BaseRequest) -> Token:
        """Return the caller's token, which may upload something; the project is still to be checked. Never anonymous.

        Raises:
            Unauthenticated, Forbidden: as above.
        """
        token, _ = await self._authenticate(request)
        if not token.may_some("upload"):
            raise Forbidden(f"token {token.id} may read, not upload")
        return token

    async def _authenticate(self, request: web.BaseRequest) -> tuple[Token, Generation]:
        text = parse_authorization(request.headers.get("Authorization"))
        if text is None:
            raise Unauthenticated("a token is required: send it as the password, with any user name")
        client = find_holder(request.remote or "unknown")
        token, generation = await self._tokens.authenticate_with_generation(text, client)
        set_asker(f"{token.id} at {client}")
        return token, generation


def parse_authorization(header: str | None) -> str | None:
    """Return the secret in an ``Authorization`` header, or ``None`` without one that could hold it."""
    scheme, _, value = (header or "").partition(" ")
    value = value.strip()
    if scheme.lower() == "bearer":
        return value or None
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(value, validate=True).decode("utf-8").partition(":")
    except ValueError:  # not base64, not ASCII, not UTF-8
        return None
    return password or user or None  # `https://TOKEN@host/` arrives as a user name with an empty password
