"""What clients, operators and bad luck do in the world of a seed, and when."""

from __future__ import annotations

import random
from functools import lru_cache
from pathlib import Path

import msgspec

from tests.simulation.judge import compute_digest
from tests.support.packages import wheel_bytes, wheel_name

PROJECTS = ("acme-a", "acme-b", "acme-c")
UPLOADED = PROJECTS[:2]
"""The names of uploads; of the third only sources outside know."""
VERSIONS = ("1.0", "2.0")
_ABOUT_UPLOADS = frozenset({"upload", "delete", "yank"})
_SAME_FILE = 0.4
"""How often a step is about the same file as the one before it: who is alone meets nobody."""
_WEIGHTS = {
    "upload": 8,
    "read": 8,
    "download": 3,
    "delete": 3,
    "yank": 2,
    "make_token": 1,
    "guess": 1,
    "revoke": 1,
    "authenticate": 3,
    "register": 1,
    "publish": 2,
    "feed": 1,
    "evict": 1,
    "release": 1,
    "cut": 1,
    "deafen": 1,
    "freeze": 1,
    "die": 2,
}


class Step(msgspec.Struct, frozen=True):
    """One thing that somebody does, at a moment in virtual seconds."""

    at_s: float
    replica: int
    kind: str
    project: str = PROJECTS[0]
    version: str = VERSIONS[0]
    content: int = 0
    extra: float = 0.0

    @property
    def key(self) -> tuple[str, str]:
        """Of the file that it is about."""
        return self.project, wheel_name(self.project, self.version)


def steps_for(seed: int) -> list[Step]:
    """What happens in the world of this seed, in the order of its moments."""
    chance = random.Random(f"steps {seed}")
    how_many, hurry_s = chance.randint(5, 40), chance.choice([0.05, 0.5, 3.0])
    at_s, steps = 0.0, []
    for kind in chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()), k=how_many):
        at_s += chance.expovariate(1.0) * hurry_s
        step = Step(
            round(at_s, 3),
            chance.randrange(3),
            kind,
            chance.choice(UPLOADED if kind in _ABOUT_UPLOADS else PROJECTS),
            chance.choice(VERSIONS),
            chance.randrange(2) if kind != "die" else chance.randrange(6),
            round(chance.random(), 2),
        )
        if kind in _ABOUT_UPLOADS and chance.random() < _SAME_FILE and (rival := _find_upload(steps)) is not None:
            step = msgspec.structs.replace(step, project=rival.project, version=rival.version)
        steps.append(step)
    return steps


def _find_upload(steps: list[Step]) -> Step | None:
    """The last step that is about an uploaded file."""
    return next((step for step in reversed(steps) if step.kind in _ABOUT_UPLOADS), None)


@lru_cache(maxsize=64)
def wheel_for(folder: Path, project: str, version: str, content: int) -> tuple[Path, str]:
    """A wheel on disk, with its digest; ``content`` tells two of one name apart."""
    body = wheel_bytes(project, version, extra={"content.txt": f"{content}".encode()})
    path = folder / f"{project}-{version}-{content}"
    path.write_bytes(body)
    return path, compute_digest(body)
