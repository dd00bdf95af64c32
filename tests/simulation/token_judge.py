"""The judge of tokens: who must be let in, who must be refused, and from when on."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tests.simulation.loop import get_now_s, pause
from tests.simulation.promises import DEAF_S, PROMPT_S, Broken
from tests.simulation.store import Crashed
from wheelgate.core.errors import StoreError, Unauthenticated
from wheelgate.storage import layout

if TYPE_CHECKING:
    from tests.simulation.judge import Judge
    from tests.simulation.replica import Replica
    from tests.simulation.world import World


class TokenFate:
    """The life of one token, as its holder knows it."""

    def __init__(self, maker: int) -> None:
        self.maker = maker
        self.minted_s = get_now_s()
        self.is_ending = False
        """Somebody has begun to revoke it."""
        self.revoked_s: float | None = None


class TokenJudge:
    """What the holders of tokens were promised."""

    def __init__(self, world: World, judge: Judge) -> None:
        self._world = world
        self._judge = judge
        self._tokens: dict[str, TokenFate] = {}

    def note_minted(self, replica: Replica, text: str) -> None:
        """Note that somebody was given a token."""
        self._tokens[text] = TokenFate(replica.number)
        if layout.token(text.split("_")[1]) not in self._world.shared.blobs:
            raise Broken("an acknowledged token is not stored")
        if self._judge.looks:
            self._world.spawn(self._show_later(text))

    def note_revoking(self, text: str) -> None:
        """Note that somebody has begun to revoke a token: from now on it may be refused."""
        self._tokens[text].is_ending = True

    def note_revoked(self, text: str) -> None:
        """Note that an operator was told that a token lets nobody in any more."""
        fate = self._tokens[text]
        if layout.token(text.split("_")[1]) in self._world.shared.blobs:
            raise Broken("an acknowledged revocation revoked nothing")
        if fate.revoked_s is None:
            fate.revoked_s = get_now_s()
            if self._judge.looks:
                self._world.spawn(self._show_later(text))

    async def _show_later(self, text: str) -> None:
        """Show a token to all once they must know of it, and to those that hear nothing once they must have asked."""
        for wait_s in (PROMPT_S, DEAF_S):
            await pause(wait_s)
            for replica in self._world.replicas:
                if wait_s == PROMPT_S or replica.line.is_deaf:
                    with contextlib.suppress(StoreError, Crashed):
                        await self.show_token(replica, text)

    async def show_token(self, replica: Replica, text: str) -> None:
        """Show a token to a replica, and judge if it may let its holder in, or refuse."""
        began_s = get_now_s()
        try:
            await replica.let_in(text)
        except Unauthenticated:
            fate = self._tokens.get(text)
            is_due = fate is not None and (
                fate.maker == replica.number or self._judge.must_have_asked(replica, fate.minted_s, began_s)
            )
            if is_due and fate is not None and not fate.is_ending:
                raise Broken(f"r{replica.number} refuses a valid token made at {fate.minted_s:.3f}") from None
            return
        fate = self._tokens.get(text)
        if fate is not None and fate.revoked_s is not None and self._judge.must_have_asked(replica, fate.revoked_s, began_s):
            raise Broken(f"r{replica.number} lets in a token revoked at {fate.revoked_s:.3f}")

    async def check_end(self) -> None:
        """Show every token that there was to every replica."""
        for text in self._tokens:
            for replica in self._world.replicas:
                await self.show_token(replica, text)
