"""The judge of a simulated world: what was promised to whom, and what must never be seen.

It believes no answer. What a client was told is done must be so in the store at that moment, and on every replica that reaches
the store within 6 s: the judge looks by itself, whether or not anybody else asks again.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

from tests.simulation.loop import get_now_s, pause
from tests.simulation.promises import DEAF_S, PROMPT_S, Broken
from tests.simulation.sources import FEED, FEED_FRESH_S, PUBLIC
from tests.simulation.store import Crashed
from tests.simulation.token_judge import TokenJudge
from wheelgate.core.errors import (
    FileNotListed,
    FileWithheld,
    StoreError,
    UpstreamError,
    WheelgateError,
)
from wheelgate.core.model import File, ProjectPage
from wheelgate.storage import layout

if TYPE_CHECKING:
    from tests.simulation.replica import Replica
    from tests.simulation.world import World

_ROUNDED_S = 1e-6

Key = tuple[str, str]
"""A project and a file name."""
Uploads = list[tuple[str, str, str | None]]
"""File name, beginning of the digest, and the reason of the yank of each, in order."""


class Operation:
    """One thing done to a file, from its beginning to its end."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.met: set[str] = set()
        """The kinds of others that were under way meanwhile: between these and its own either may win."""


class Judge:
    """The promises to the clients of one world."""

    def __init__(self, world: World, *, looks: bool) -> None:
        """``looks``: it reads pages and shows tokens itself while the world goes on, as far as the weather is fair."""
        self._world = world
        self.has_bad_weather = not world.weather.is_fair
        self.looks = looks and world.weather.is_fair
        self.tokens = TokenJudge(world, self)
        self._under_way: defaultdict[Key, list[Operation]] = defaultdict(list)
        self._kept: dict[Key, str] = {}
        """Digests of files that a client was told are kept, and nobody has begun to delete since."""
        self._gone: set[Key] = set()
        """Files that a client was told are deleted, and nobody has begun to upload since."""
        self._yanked: dict[Key, bool] = {}
        """What the last acknowledged yank or its undoing said, unless another has begun since."""
        self._seen: dict[Key, str] = {}
        """The digest under which an upload's name was first seen by a client."""
        self._claimed_s: dict[str, float] = {}
        """When the claim of a name reached the store; without it the name is not claimed."""
        self._unclaimed_s: dict[str, float] = {}
        """When the last claim of a name went out of the store."""
        self._released: set[str] = set()
        self._touched_s: dict[str, float] = {}
        """When anything that the page of a project shows of uploads last changed in the store."""
        self._watched: set[str] = set()
        self.healthy_since_s: defaultdict[int, float] = defaultdict(float)
        world.shared.watchers.append(self._hear)

    def _hear(self, method: str, path: str) -> None:
        """Note what becomes of the store."""
        kind, _, rest = path.partition("/")
        if kind == "claims":
            if method == "put_if_absent":
                self._claimed_s.setdefault(rest, get_now_s())
                if self.looks and any(replica.line.is_deaf for replica in self._world.replicas):
                    self._world.spawn(self._ask_the_deaf(rest))
            elif method == "delete":
                self._claimed_s.pop(rest, None)
                self._unclaimed_s[rest] = get_now_s()
        elif kind in ("packages", "tombstones"):
            project = rest.partition("/")[0]
            self._touched_s[project] = get_now_s()
            if self.looks and project not in self._watched:
                self._watched.add(project)
                self._world.spawn(self._look_when_quiet(project))

    # --- what must be known where, and when

    def must_know(self, replica: Replica, since_s: float, began_s: float) -> bool:
        """Whether a request that began at a moment must heed what happened in the store at ``since_s``."""
        line = replica.line
        if not line.weather.is_fair or line.is_cut or line.is_frozen or line.has_crashed or line.is_deaf:
            return False
        return began_s - max(since_s, replica.born_s, self.healthy_since_s[replica.number]) >= PROMPT_S - _ROUNDED_S

    def must_have_asked(self, replica: Replica, since_s: float, began_s: float) -> bool:
        """The same for what is looked up again by a replica that hears of no changes."""
        line = replica.line
        if not line.is_deaf or line.is_cut or line.is_frozen or line.has_crashed or not line.weather.is_fair:
            return self.must_know(replica, since_s, began_s)
        known_s = max(since_s, replica.born_s, replica.deaf_since_s, self.healthy_since_s[replica.number])
        return began_s - known_s >= DEAF_S + PROMPT_S - _ROUNDED_S

    # --- what is done to files

    @contextmanager
    def operation(self, kind: str, key: Key) -> Iterator[Operation]:
        """An upload, a deletion or a yank of a file, for as long as the block lasts. What it may undo is expected no more."""
        operation, others = Operation(kind), self._under_way[key]
        for other in others:
            other.met.add(kind)
            operation.met.add(other.kind)
        others.append(operation)
        if kind == "upload":
            self._gone.discard(key)
        else:
            self._yanked.pop(key, None)
        if kind == "delete":
            self._kept.pop(key, None)
        try:
            yield operation
        finally:
            others.remove(operation)

    def note_uploaded(self, replica: Replica, operation: Operation, key: Key, digest: str) -> None:
        """Note that a client was told that its upload is kept."""
        self._note_seen(key, digest, "was accepted under its name")
        replica.knows_private.setdefault(key[0], get_now_s())
        if "delete" not in operation.met:
            self._kept[key] = digest
            self._check_kept(key, digest)

    def note_deleted(self, operation: Operation, key: Key) -> None:
        """Note that a client was told that a file is deleted."""
        if "upload" not in operation.met:
            self._gone.add(key)
            self._check_gone(key)

    def note_yanked(self, operation: Operation, key: Key, *, is_yanked: bool) -> None:
        """Note that a client was told that a file is yanked, or is no longer."""
        if not operation.met:
            self._yanked[key] = is_yanked
            self._check_yanked(key)

    def _note_seen(self, key: Key, digest: str, how: str) -> None:
        if self._seen.setdefault(key, digest) != digest:
            raise Broken(f"promise 4: {key[1]} was {self._seen[key][:8]}, and {digest[:8]} {how}")

    def _check_kept(self, key: Key, digest: str) -> None:
        kept = self._world.shared.blobs.get(layout.package(*key))
        if kept is None:
            raise Broken(f"promise 5: the acknowledged upload of {key[1]} is gone")
        if compute_digest(kept[0]) != digest:
            raise Broken(f"promise 5: {key[1]} has other bytes than were acknowledged")

    def _check_gone(self, key: Key) -> None:
        if layout.package(*key) in self._world.shared.blobs:
            raise Broken(f"the acknowledged deletion of {key[1]} deleted nothing")

    def _check_yanked(self, key: Key) -> None:
        told = self._yanked[key]
        kept = self._world.shared.blobs.get(layout.package(*key))
        if kept is not None and ("yanked" in kept[1].facts) is not told:
            raise Broken(f"the acknowledged {'yank' if told else 'unyank'} of {key[1]} is lost")

    # --- what is shown

    def note_released(self, project: str) -> None:
        """Note that an operator has begun to release a name."""
        self._released.add(project)

    def check_asking(self, replica: Replica, project: str) -> None:
        """Promise 1: a private name is never asked of a public source."""
        known_s, now_s = replica.knows_private.get(project), get_now_s()
        if known_s is not None and project not in self._released and now_s - known_s >= PROMPT_S:
            raise Broken(f"promise 1: r{replica.number} asked pypi for {project}, which it knows to be private")
        claimed_s = self._claimed_s.get(project)
        if claimed_s is not None and self.must_have_asked(replica, claimed_s, now_s):
            raise Broken(f"promise 1: r{replica.number} asked pypi for {project}, claimed at {claimed_s:.3f}")
        if project in self._world.outside.published and project not in replica.told_absent:
            raise Broken(f"promise 1: r{replica.number} asked pypi for {project}, and the feed never said that it has none")

    def check_page(self, replica: Replica, page: ProjectPage, began_s: float) -> None:
        """Judge what a client was shown."""
        project = page.project
        for file in page.files:
            if file.source == PUBLIC:
                self._check_public(replica, project, began_s)
                continue
            replica.knows_private.setdefault(project, get_now_s())
            if project not in self._claimed_s and self._must_be_recorded(replica, project, began_s):
                raise Broken(f"promise 1: r{replica.number} serves {project}, and nothing records that it is private")
            if file.source != FEED:
                self._note_seen((project, file.filename), file.hashes.get("sha256", ""), "is shown now")

    def _check_public(self, replica: Replica, project: str, began_s: float) -> None:
        claimed_s, outside = self._claimed_s.get(project), self._world.outside
        if claimed_s is not None and self.must_know(replica, claimed_s, began_s):
            raise Broken(f"promise 1: r{replica.number} answered {project} from pypi; claimed at {claimed_s:.3f}")
        failing_s = outside.failing_since_s
        is_long = failing_s is not None and began_s - max(failing_s, replica.born_s) > FEED_FRESH_S + PROMPT_S
        if is_long and outside.registered_s[project] > (failing_s or 0.0) and len(set(self._world.skews_s)) == 1:
            raise Broken(f"promise 1: r{replica.number} answered {project} from pypi, registered while the feed is silent")

    def _must_be_recorded(self, replica: Replica, project: str, began_s: float) -> bool:
        unclaimed_s = self._unclaimed_s.get(project)
        return project not in self._released if unclaimed_s is None else self.must_know(replica, unclaimed_s, began_s)

    async def _look_when_quiet(self, project: str) -> None:
        """Compare the pages of all replicas with the store once nothing has touched a project for 6 s."""
        looked_s = -math.inf
        while self._touched_s[project] > looked_s:
            due_s = self._touched_s[project] + PROMPT_S
            if due_s > get_now_s():
                await pause(due_s - get_now_s())
                continue
            looked_s = get_now_s()
            await asyncio.gather(*(self._look(replica, project) for replica in self._world.replicas))
        self._watched.discard(project)

    async def _ask_the_deaf(self, project: str) -> None:
        """Ask replicas that hear nothing for a name that was claimed, once they must have looked it up."""
        await pause(PROMPT_S + DEAF_S)
        for replica in self._world.replicas:
            if replica.line.is_deaf:
                await self._read_files(replica, project)

    async def _look(self, replica: Replica, project: str) -> None:
        touched_s, began_s = self._touched_s[project], get_now_s()
        if not self.must_know(replica, touched_s, began_s):
            return
        shown = list_uploads(await self._read_files(replica, project))
        if self._touched_s[project] == touched_s and self.must_know(replica, touched_s, began_s):
            truth = self._list_truth(project)
            if shown != truth:
                raise Broken(f"r{replica.number} shows {shown} of {project} {PROMPT_S:.0f} s after it became {truth}")

    async def _read_files(self, replica: Replica, project: str) -> Sequence[File]:
        """What a replica lists, judged as by any client; nothing, if it has no page to show."""
        began_s = get_now_s()
        try:
            page = await replica.read_page(project)
        except (WheelgateError, Crashed):
            return ()
        self.check_page(replica, page, began_s)
        return tuple(page.files)

    def _list_truth(self, project: str) -> Uploads:
        """What a page has to show of uploads: what is there, less what has the name of something else that was deleted."""
        blobs, folder, truth = self._world.shared.blobs, layout.package(project, ""), []
        for path in [path for path in blobs if path.startswith(folder)]:
            filename, (body, info) = path.removeprefix(folder), blobs[path]
            digest = compute_digest(body)
            tombstone = blobs.get(layout.tombstone(project, filename))
            if tombstone is None or tombstone[0].decode() == digest:
                truth.append((filename, digest[:8], info.facts.get("yanked")))
        return sorted(truth)

    def check_download(self, replica: Replica, file: File, body: bytes | WheelgateError, began_s: float) -> None:
        """Promises 3 and 9: what is listed can be had, and has its digest."""
        if isinstance(body, bytes):
            if compute_digest(body) != file.hashes["sha256"]:
                raise Broken(f"promise 3: r{replica.number} sends other bytes as {file.filename} than it lists")
            return
        if isinstance(body, FileWithheld | FileNotListed) or not isinstance(body, StoreError | UpstreamError):
            return
        outside, shaken_s = self._world.outside, self._touched_s.get(file.project, 0.0)
        if file.source != "uploads":
            is_other = compute_digest(outside.get_body(file.source, file.project)) != file.hashes["sha256"]
            is_down = is_other or (file.source == FEED and outside.feed == "failing")
            shaken_s = math.inf if is_down else max(outside.changed_s.get(file.project, 0.0), self._world.evicted_s)
        if self.must_know(replica, shaken_s, began_s):
            raise Broken(f"promise 9: r{replica.number} lists {file.filename} and does not give it out: {body}")

    # --- the end

    async def check_end(self, projects: set[str], *, cleans_up: bool) -> None:
        """When all is quiet and well: nothing acknowledged is lost, everybody sees the same, and what is listed is there.

        ``cleans_up``: it is there also when all copies of upstream files are gone.
        """
        for key, digest in self._kept.items():
            self._check_kept(key, digest)
        for key in self._gone:
            self._check_gone(key)
        for key in self._yanked:
            self._check_yanked(key)
        for project in sorted(projects):
            await self._check_agreement(project)
        for _ in range(2 if cleans_up else 0):
            for replica in self._world.replicas:
                await self._download_all(replica, projects)
            self._world.clean_up()
            await pause(PROMPT_S)
        await self.tokens.check_end()

    async def _check_agreement(self, project: str) -> None:
        truth, shown, digests = self._list_truth(project), [], set()
        for replica in self._world.replicas:
            files = await self._read_files(replica, project)
            if (uploads := list_uploads(files)) != truth:
                raise Broken(f"replicas do not agree about {project}: r{replica.number} shows {uploads}, and there is {truth}")
            # Each remembers a public page for a while; what counts is that nobody shows other bytes.
            digests |= {file.hashes["sha256"] for file in files if file.source == PUBLIC}
            shown.append(sorted((file.filename, file.hashes["sha256"]) for file in files if file.source != PUBLIC))
        if len(digests) > 1:
            raise Broken(f"promise 4: replicas show {len(digests)} contents of the public file of {project}")
        if any(one != shown[0] for one in shown):
            raise Broken(f"replicas do not agree about {project}: {shown}")

    async def _download_all(self, replica: Replica, projects: set[str]) -> None:
        for project in sorted(projects):
            began_s = get_now_s()
            for file in await self._read_files(replica, project):
                try:
                    body: bytes | WheelgateError = await replica.download(file)
                except WheelgateError as error:
                    body = error
                self.check_download(replica, file, body, began_s)


def list_uploads(files: Sequence[File]) -> Uploads:
    """What is listed of uploads."""
    return sorted((file.filename, file.hashes["sha256"][:8], file.yanked) for file in files if file.source == "uploads")


@lru_cache(maxsize=256)
def compute_digest(body: bytes) -> str:
    """The sha256 of a body, in hexadecimal."""
    return hashlib.sha256(body).hexdigest()
