"""The public index of the soak, which is well and ill by turns, and offers a bait for every name of ours."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from tests.soak.ledger import BAIT, Record, wheel
from tests.support import lies
from tests.support.lies import Liar, Lie, Talk
from tests.support.packages import sha256, wheel_name

WARM = [f"public-warm-{number}" for number in range(12)]
"""Names that everybody has seen before the first fault: they must install in any weather."""
_COLD = "public-cold-"
_FAIR_S, _FOUL_S = (8.0, 15.0), (4.0, 24.0)  # pip tries for 8 s and more: what outlasts that proves something
_RECOVERY_S = 6.0
"""After a fault the index may still be taken for ill for so long."""


async def _wait_and_be_honest(talk: Talk) -> None:
    await asyncio.sleep(2.0)
    await _be_honest(talk)


async def _be_honest(talk: Talk) -> None:
    assert isinstance(talk.liar, PublicIndex)
    if not talk.liar.has(talk.name):
        await lies.status(talk, "404 Not Found")
    elif _is_file(talk):
        await lies.honest_file(talk)
    else:
        await talk.answer(talk.page)


async def _send_wrong_bytes(talk: Talk) -> None:
    await (lies.file_other(talk) if _is_file(talk) else _be_honest(talk))


async def _cut(talk: Talk) -> None:
    await (lies.file_cut(talk) if _is_file(talk) else lies.cut_length(talk))


def _is_file(talk: Talk) -> bool:
    return talk.asked.path.startswith("/files/")


FAULTS: dict[str, Lie] = {
    "503": partial(lies.status, line="503 Service Unavailable"),
    "freeze": lies.hang,
    "reset": lies.reset,
    "slow": _wait_and_be_honest,
    "wrong bytes": _send_wrong_bytes,
    "cut": _cut,
}


@dataclass
class PublicIndex(Liar):
    """Pages below ``/simple/``, one file a name. While ``fault`` is set every answer is of its kind."""

    fault: str | None = None
    fair_since_s: float = field(default_factory=time.monotonic)
    baits: set[str] = field(default_factory=set)

    @property
    def url_of_all(self) -> str:
        """The index as a source: not one for each name, as a liar has."""
        return f"{self.origin}/simple/"

    def has_been_fair(self, since_s: float) -> bool:
        """True if the weather was fair all the time since a moment, and for a while before it."""
        return self.fault is None and since_s - self.fair_since_s > _RECOVERY_S

    def has(self, name: str) -> bool:
        return name in WARM or name.startswith(_COLD) or name in self.baits

    def version(self, name: str) -> str:
        return BAIT if name in self.baits else "1.0"

    def body(self, name: str) -> bytes:
        return wheel(name, self.version(name))

    def page(self, name: str) -> bytes:
        body, filename = self.body(name), wheel_name(name, self.version(name))
        entry = {
            "filename": filename,
            "url": f"../../files/{name}/{filename}",
            "hashes": {"sha256": sha256(body)},
            "size": len(body),
            "upload-time": "2025-01-01T00:00:00Z",
        }
        return json.dumps({"meta": {"api-version": "1.1"}, "name": name, "files": [entry]}).encode()

    async def _lie(self, talk: Talk) -> None:
        _, _, name, *_ = [*talk.asked.path.split("/"), "", ""]
        talk.name = name
        self.asked.clear()  # a long soak asks often
        await (_be_honest if self.fault is None else FAULTS[self.fault])(talk)

    async def change(self, record: Record, dice: random.Random) -> None:
        """Fair and foul weather by turns, for ever."""
        kinds: list[str] = []
        while True:
            await asyncio.sleep(dice.uniform(*_FAIR_S))
            if not kinds:
                kinds = dice.sample(list(FAULTS), len(FAULTS))
            self.fault = kinds.pop()
            record.note(f"public index: {self.fault}")
            record.counts["fault periods"] += 1
            await asyncio.sleep(dice.uniform(*_FOUL_S))
            self.clear()
            record.note("public index: well")

    def clear(self) -> None:
        self.fault, self.fair_since_s = None, time.monotonic()


def cold_name(number: int) -> str:
    """A name that nobody has asked for yet."""
    return f"{_COLD}{number}"


@contextmanager
def public_index() -> Iterator[PublicIndex]:
    """The index on loopback, well, until the block ends."""
    index = PublicIndex()
    with lies.running(index):
        yield index
