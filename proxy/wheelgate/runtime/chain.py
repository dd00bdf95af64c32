"""Chain of servers: who asks whom for the sake of one request, so that a question that comes back is answered at once.

Each server adds a mark of its own to what it asks of others that may be one like it. A server that finds its mark there is asked
by itself, by way of those named behind it. Replicas have different marks, so that a question may go round among them a few times:
no chain is longer than :data:`_MOST`.
"""

from __future__ import annotations

import re
import secrets
from contextvars import Context, ContextVar

CHAIN_HEADER = "X-Wheelgate-Chain"
_MOST = 8
_READABLE = re.compile(r"[0-9a-f]{8}(,[0-9a-f]{8}){0,63}")
_OWN = secrets.token_hex(4)
"""The mark of this process."""
_came_through: ContextVar[str] = ContextVar("chain", default="")


class RefusedForChain(Exception):
    """The base of errors that are about the way on which a question came. They say nothing of whoever was asked."""


def read_chain(header: str) -> str:
    """The marks of the servers a request came through, in their order; empty if none of them said so readably."""
    return header if _READABLE.fullmatch(header) else ""


def enter_chain(chain: str) -> str | None:
    """Work from now on for a request that came through those servers; return the chain if it is a loop, else ``None``."""
    _came_through.set(chain)
    marks = chain.split(",")
    return f"{chain},{_OWN}" if _OWN in marks or len(marks) >= _MOST else None


def get_chain() -> str:
    """The marks of the servers that this work comes from; empty: it began here."""
    return _came_through.get()


def leave_chain(context: Context) -> None:
    """Let what runs in a context work for no request."""
    context.run(_came_through.set, "")


def extend_chain() -> str:
    """The chain as the next server is to hear it."""
    chain = _came_through.get()
    return f"{chain},{_OWN}" if chain else _OWN
