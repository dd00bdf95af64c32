"""A simulated world of replicas over one store, what clients do to them, and what must never be seen.

Everything that happens is drawn from one seed: who asks what and when, how long each call to the store takes, which are refused,
which answers are lost, who is cut off or frozen, whose clock is wrong, and who dies at which write.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import re
import tempfile
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import lru_cache
from itertools import count
from pathlib import Path

import msgspec

from tests.simulation.replica import FEED, PUBLIC, Replica
from tests.simulation.store import Crashed, SharedStore, Weather
from tests.support.packages import wheel_bytes, wheel_name
from wheelgate.core.errors import (
    FileExists,
    ProjectNotFound,
    ProjectWithheld,
    Unauthenticated,
    UpstreamUnavailable,
    WheelgateError,
)
from wheelgate.core.model import File, ProjectPage
from wheelgate.storage import layout

PROJECTS = ("acme-a", "acme-b")
VERSIONS = ("1.0", "2.0")
HEARD_WITHIN_S = 5.0
"""How soon every replica that reaches the store must know of a change."""
SETTLED_AFTER_S = 70.0
"""How long after the last change whatever was not announced must be known all the same."""
_RANDOM = re.compile(r"tokens/\w+")
_GRACE_S = 1.0
"""For a request that began before."""


class Broken(AssertionError):
    """A promise was broken; the message says which, when and how."""


class Step(msgspec.Struct, frozen=True):
    """One thing that somebody does, at a moment in virtual seconds."""

    at_s: float
    replica: int
    kind: str
    project: str = PROJECTS[0]
    version: str = VERSIONS[0]
    content: int = 0
    extra: float = 0.0


class World:
    """Three replicas, their clients, and the judge of what these see."""

    def __init__(self, seed: int, folder: Path, weather: Weather | None = None) -> None:
        """``weather``: of every line; ``None``: drawn from the seed."""
        self.chance = random.Random(seed)
        self.shared = SharedStore()
        self.folder = folder
        self.trace: list[str] = []
        self.weather = self.chance.choice(
            [Weather(), Weather(0.2), Weather(0.05, refused=0.05), Weather(0.05, lost=0.05), Weather(0.3, 0.03, 0.03)]
        )
        self.weather = weather or self.weather
        self.skews_s = [self.chance.choice([0.0, 0.0, 0.0, 30.0, -30.0, 3600.0]) for _ in range(3)]
        self.registered: set[str] = set()
        """Names that a stranger has registered in public."""
        self.published: set[str] = set()
        """Names that the private feed lists a file of."""
        self.public_digest: dict[str, str] = {}
        """Of the one public file of a name; a compromised index changes it."""
        self.claimed_s: dict[str, float] = {}
        """When the claim of a name reached the store."""
        self.released: set[str] = set()
        self.acknowledged: dict[tuple[str, str], str] = {}
        """Uploads that a client was told are kept, by project and file name, with their digest."""
        self.deleting: set[tuple[str, str]] = set()
        """Files of which somebody has begun a deletion."""
        self.seen: dict[tuple[str, str], str] = {}
        """The digest under which a file name was first seen by a client."""
        self.yanked: dict[tuple[str, str], tuple[bool | None, int]] = {}
        """What the last acknowledged yank or its undoing said (``None``: one is under way, or failed), and its number."""
        self._turns = count(1)
        self.revoked_s: dict[str, float] = {}
        self.texts: list[str] = []
        self.healthy_since_s: dict[int, float] = {}
        self.shared.watchers.append(self._watch)
        self.replicas = [Replica(self, number) for number in range(3)]
        self.tasks: set[asyncio.Task[None]] = set()
        self.failures: list[BaseException] = []
        self.is_over = False

    # --- what is noted

    @property
    def now_s(self) -> float:
        return asyncio.get_running_loop().time()

    def note(self, what: str) -> None:
        self.trace.append(f"{self.now_s:8.3f} {_RANDOM.sub('tokens/*', what)}")

    def _watch(self, method: str, path: str) -> None:
        if path.startswith(layout.CLAIMS):
            project = path.removeprefix(layout.CLAIMS)
            if method == "put_if_absent":
                self.claimed_s.setdefault(project, self.now_s)
            elif method == "delete":
                self.claimed_s.pop(project, None)

    def _has_heard(self, replica: Replica, since_s: float, began_s: float | None = None) -> bool:
        """Whether the replica must know by now of something that happened in the store at ``since_s``."""
        began_s = self.now_s if began_s is None else began_s
        lived_s = max(since_s, replica.born_s, self.healthy_since_s.get(replica.number, 0.0))
        is_away = replica.line.is_cut or replica.line.is_frozen
        return self.is_fair and not is_away and began_s - lived_s > HEARD_WITHIN_S + _GRACE_S

    @property
    def is_fair(self) -> bool:
        """Whether the lines are good enough for the promise of five seconds: a call that fails or crawls may come later."""
        return self.weather.refused == 0.0 and self.weather.lost == 0.0 and self.weather.slow_s < 0.1

    # --- the promises

    def check_asking(self, replica: Replica, project: str) -> None:
        """Promise 1: a private name is never asked of a public source."""
        known_s = replica.knows_private.get(project)
        in_question_s = HEARD_WITHIN_S  # a question that was under way when it learnt of it
        if known_s is not None and project not in self.released and self.now_s - known_s > in_question_s:
            raise Broken(f"promise 1: r{replica.number} asked pypi for {project}, which it knows to be private")
        claimed_s = self.claimed_s.get(project)
        if claimed_s is not None and self._has_heard(replica, claimed_s):
            raise Broken(f"promise 1: r{replica.number} asked pypi for {project}, claimed at {claimed_s:.3f}")

    def check_page(self, replica: Replica, page: ProjectPage, began_s: float) -> None:
        project = page.project
        for file in page.files:
            key = (project, file.filename)
            if file.source == PUBLIC:
                claimed_s = self.claimed_s.get(project)
                if claimed_s is not None and self._has_heard(replica, claimed_s, began_s):
                    raise Broken(f"promise 1: r{replica.number} answered {project} from pypi; claimed at {claimed_s:.3f}")
                continue
            replica.knows_private.setdefault(project, self.now_s)
            if file.source == FEED:
                continue
            digest = file.hashes.get("sha256", "")
            if self.seen.setdefault(key, digest) != digest:
                raise Broken(f"promise 4: {file.filename} was {self.seen[key][:8]}, and is {digest[:8]} now")

    async def check_end(self) -> None:
        """When all is quiet and well: nothing acknowledged is lost, everybody sees the same, and what is listed is there."""
        for (project, filename), digest in self.acknowledged.items():
            if (project, filename) not in self.deleting:
                self._check_kept(project, filename, digest)
        self.is_over = True
        for project in PROJECTS:
            await self._check_agreement(project)
        for text in self.revoked_s:
            for replica in self.replicas:
                await self._check_revoked(replica, text)

    def _check_kept(self, project: str, filename: str, digest: str) -> None:
        kept = self.shared.blobs.get(layout.package(project, filename))
        if kept is None:
            raise Broken(f"promise 5: the acknowledged upload of {filename} is gone")
        if hashlib.sha256(kept[0]).hexdigest() != digest:
            raise Broken(f"promise 5: {filename} has other bytes than were acknowledged")

    async def _check_agreement(self, project: str) -> None:
        shown, digests = [], set()
        for replica in self.replicas:
            began_s = self.now_s
            try:
                page = await replica.index.project_page(project)
            except (ProjectNotFound, ProjectWithheld, UpstreamUnavailable):
                shown.append([])
                continue
            self.check_page(replica, page, began_s)
            for file in page.files:
                if file.source == PUBLIC:  # each remembers its page for a while; what counts is that nobody shows other bytes
                    digests.add(file.hashes["sha256"])
            shown.append(sorted((f.filename, f.hashes["sha256"][:8], f.yanked) for f in page.files if f.source != PUBLIC))
            for file in page.files:
                if file.source == "uploads":
                    self._check_listed(project, file)
        if len(digests) > 1:
            raise Broken(f"promise 4: replicas show {len(digests)} contents of the public file of {project}")
        if any(one != shown[0] for one in shown):
            raise Broken(f"replicas do not agree about {project}: {shown}")

    async def _check_revoked(self, replica: Replica, text: str) -> None:
        with contextlib.suppress(Unauthenticated):
            await replica.tokens.authenticate(text)
            raise Broken(f"r{replica.number} still lets in a token revoked at {self.revoked_s[text]:.3f}")

    def _check_listed(self, project: str, file: File) -> None:
        kept = self.shared.blobs.get(layout.package(project, file.filename))
        if kept is None:
            raise Broken(f"promise 9: {file.filename} is listed, and not there")
        if hashlib.sha256(kept[0]).hexdigest() != file.hashes["sha256"]:
            raise Broken(f"promise 3: {file.filename} is listed under another digest than it has")
        told, _ = self.yanked.get((project, file.filename), (None, 0))
        if told is not None and (file.yanked is not None) is not told:
            raise Broken(f"the acknowledged {'yank' if told else 'unyank'} of {file.filename} is lost")

    # --- what people do

    async def run(self, steps: list[Step]) -> None:
        """Do the steps at their moments, let everything settle, and judge."""
        for step in steps:
            await asyncio.sleep(max(0.0, step.at_s - self.now_s))
            if self.failures:
                break
            task = asyncio.create_task(self._try(step))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        await self._settle()
        if self.failures:
            raise self.failures[0]
        if any(not task.done() for task in self.tasks):
            raise Broken(f"{len(self.tasks)} requests never ended")
        await self.check_end()

    async def _try(self, step: Step) -> None:
        try:
            await self._act(step)
        except (WheelgateError, Crashed, asyncio.CancelledError):  # refused, or gone with its replica
            pass
        except BaseException as error:
            self.failures.append(error)

    async def _settle(self) -> None:
        """Fair weather for as long as anything may take: whoever died starts again, and what is under way ends."""
        self.weather = Weather()
        for _ in range(3):
            for number, replica in enumerate(self.replicas):
                replica.line.weather, replica.line.crashes_at_write = self.weather, None
                self._heal(replica)
                if replica.line.has_crashed:
                    await self._restart(number)
            await asyncio.sleep(30.0)
        await asyncio.sleep(SETTLED_AFTER_S)

    async def close(self) -> None:
        for replica in self.replicas:
            await replica.end()
        for task in list(self.tasks):
            task.cancel()
            with contextlib.suppress(BaseException):
                await task

    async def _act(self, step: Step) -> None:
        replica = self.replicas[step.replica]
        if replica.line.has_crashed:
            await self._restart(step.replica)
            replica = self.replicas[step.replica]
        self.note(f"r{step.replica} {step.kind} {step.project} {step.version} {step.content}")
        await _ACTIONS[step.kind](self, replica, step)

    async def _restart(self, number: int) -> None:
        old, self.replicas[number] = self.replicas[number], Replica(self, number)
        self.note(f"r{number} starts again")
        await old.end()

    def _heal(self, replica: Replica) -> None:
        if replica.line.is_cut:
            replica.line.is_cut = False
            self.healthy_since_s[replica.number] = self.now_s

    async def upload(self, replica: Replica, step: Step) -> None:
        path, digest = wheel_for(self.folder, step.project, step.version, step.content)
        key = (step.project, wheel_name(step.project, step.version))
        try:
            await replica.uploads.accept(path, key[1], take_over=step.extra > 0.5)
        except FileExists:
            return
        if key not in self.deleting:
            self.acknowledged[key] = digest
        if self.seen.setdefault(key, digest) != digest:
            raise Broken(f"promise 4: {key[1]} was {self.seen[key][:8]}, and {digest[:8]} was accepted under its name")
        replica.knows_private.setdefault(step.project, self.now_s)
        self.note(f"r{step.replica} acknowledged {key[1]} {digest[:8]}")

    async def read(self, replica: Replica, step: Step) -> None:
        began_s = self.now_s
        page = await replica.index.project_page(step.project)
        self.note(f"r{step.replica} shows {[(file.filename, file.source) for file in page.files]}")
        self.check_page(replica, page, began_s)

    async def delete(self, replica: Replica, step: Step) -> None:
        key = (step.project, wheel_name(step.project, step.version))
        self.deleting.add(key)
        self.yanked[key] = (None, next(self._turns))
        await replica.manager.delete(key[1])

    async def yank(self, replica: Replica, step: Step) -> None:
        key = (step.project, wheel_name(step.project, step.version))
        wanted, turn = step.extra > 0.5, next(self._turns)
        alone = self.yanked.get(key, (False, 0))[0] is not None
        self.yanked[key] = (None, turn)
        await (replica.manager.yank(key[1], "broken") if wanted else replica.manager.unyank(key[1]))
        if alone and self.yanked[key] == (None, turn) and key not in self.deleting:
            self.yanked[key] = (wanted, turn)

    async def make_token(self, replica: Replica, step: Step) -> None:
        text, _ = await replica.tokens.new(("read",), timedelta(days=30))
        self.texts.append(text)

    async def revoke(self, replica: Replica, step: Step) -> None:
        if self.texts:
            text = self.texts[step.content % len(self.texts)]
            if await replica.tokens.revoke(text.split("_")[1]):
                self.revoked_s.setdefault(text, self.now_s)

    async def authenticate(self, replica: Replica, step: Step) -> None:
        if not self.texts:
            return
        text, began_s = self.texts[step.content % len(self.texts)], self.now_s
        with contextlib.suppress(Unauthenticated):
            await replica.tokens.authenticate(text)
            revoked_s = self.revoked_s.get(text)
            if revoked_s is not None and self._has_heard(replica, revoked_s, began_s):
                raise Broken(f"r{replica.number} lets in a token revoked at {revoked_s:.3f}")

    async def register(self, replica: Replica, step: Step) -> None:
        """A stranger registers the name in public, or puts other bytes under the file that is there."""
        self.registered.add(step.project)
        self.public_digest[step.project] = f"{step.content + 8}" * 64

    async def publish(self, replica: Replica, step: Step) -> None:
        """The private feed gains the name, or loses it."""
        (self.published.add if step.extra > 0.3 else self.published.discard)(step.project)

    async def release(self, replica: Replica, step: Step) -> None:
        """An operator lets public sources answer for the name again, as they may while nobody lists it privately."""
        self.released.add(step.project)
        await replica.claims.release(step.project, "it was a mistake")

    async def freeze(self, replica: Replica, step: Step) -> None:
        """The process stands still (SIGSTOP, a paused machine), wherever it is."""
        replica.line.freeze()
        await asyncio.sleep(1.0 + 60.0 * step.extra)
        replica.line.thaw()
        self.healthy_since_s[replica.number] = self.now_s

    async def cut(self, replica: Replica, step: Step) -> None:
        replica.line.is_cut = True
        await asyncio.sleep(1.0 + 10.0 * step.extra)
        self._heal(replica)

    async def die(self, replica: Replica, step: Step) -> None:
        replica.line.crashes_at_write = step.content


_Action = Callable[[World, Replica, Step], Awaitable[None]]
_ACTIONS: dict[str, _Action] = {
    "upload": World.upload,
    "read": World.read,
    "delete": World.delete,
    "yank": World.yank,
    "make_token": World.make_token,
    "revoke": World.revoke,
    "authenticate": World.authenticate,
    "register": World.register,
    "cut": World.cut,
    "freeze": World.freeze,
    "publish": World.publish,
    "release": World.release,
    "die": World.die,
}
_WEIGHTS = {
    "upload": 8,
    "read": 10,
    "delete": 3,
    "yank": 2,
    "make_token": 1,
    "revoke": 1,
    "authenticate": 3,
    "register": 1,
    "cut": 1,
    "freeze": 1,
    "publish": 2,
    "release": 1,
    "die": 2,
}


def steps_for(seed: int, without: frozenset[str] = frozenset()) -> list[Step]:
    """What happens in the world of this seed, in the order of its moments, ``without`` some kinds of steps."""
    chance = random.Random(f"steps {seed}")
    how_many, hurry_s = chance.randint(5, 40), chance.choice([0.05, 0.5, 3.0])
    at_s, steps = 0.0, []
    for kind in chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()), k=how_many):
        at_s += chance.expovariate(1.0) * hurry_s
        steps.append(
            Step(
                round(at_s, 3),
                chance.randrange(3),
                kind,
                chance.choice(PROJECTS),
                chance.choice(VERSIONS),
                chance.randrange(2) if kind != "die" else chance.randrange(6),
                round(chance.random(), 2),
            )
        )
    return [step for step in steps if step.kind not in without]


@lru_cache(maxsize=64)
def wheel_for(folder: Path, project: str, version: str, content: int) -> tuple[Path, str]:
    """A wheel on disk, with its digest; ``content`` tells two of one name apart."""
    body = wheel_bytes(project, version, extra={"content.txt": f"{content}".encode()})
    path = folder / f"{project}-{version}-{content}"
    path.write_bytes(body)
    return path, hashlib.sha256(body).hexdigest()


def new_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="simulation-"))
