"""A simulated world of replicas over one store, and what clients, operators and bad luck do to them.

Everything that happens is drawn from one seed: who asks what and when, how long each call to the store takes, which are refused,
which answers are lost, who is cut off, deaf or frozen, whose clock is wrong, who dies at which write, and who is of the release
before.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.simulation.judge import Judge, compute_digest
from tests.simulation.loop import get_now_s, pause
from tests.simulation.promises import Broken
from tests.simulation.replica import Replica
from tests.simulation.sources import Outside
from tests.simulation.steps import UPLOADED, VERSIONS, Step, wheel_for
from tests.simulation.store import FAIR, WEATHERS, Crashed, SharedStore, Weather
from wheelgate.core.errors import FileExists, WheelgateError
from wheelgate.storage import layout
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.tokens import Tokens
from wheelgate.uploads.checks import ReceivedFile

SETTLED_AFTER_S = 16.0
"""How long after the last change whatever was not announced must be known all the same."""
_LONGEST_REQUEST_S = 60.0
_LONGEST_CALL_S = 7.0
_WITH_FORMER_RELEASE = 0.2
_TOKEN_LIFE = timedelta(days=30)


class World:
    """Three replicas, and everybody who has to do with them."""

    def __init__(self, seed: int, folder: Path, weather: Weather | None = None) -> None:
        """``weather``: of every line; ``None``: drawn from the seed."""
        self.chance = random.Random(seed)
        self.secrets = random.Random(f"secrets {seed}")
        """What the identifiers and secrets of tokens are drawn from."""
        self.shared = SharedStore()
        self.outside = Outside()
        self.folder = folder
        self._trace: list[tuple[float, str]] = []
        drawn = self.chance.choice(WEATHERS)
        self.weather = weather or drawn
        has_former = self.chance.random() < _WITH_FORMER_RELEASE and self.weather.is_fair
        self.former = self.chance.randrange(3) if has_former else None
        """The replica of the release before. It announces changes afterwards, so with it nobody is cut off, stopped or killed."""
        self.skews_s = [self.chance.choice([0.0, 0.0, 0.0, 30.0, -30.0, 3600.0]) for _ in range(3)]
        if self.chance.random() < 0.5:
            self.skews_s = [0.0] * 3
        self.evicted_s = 0.0
        self.texts: list[str] = []
        """Of tokens, in the order they were made."""
        self.tasks: set[asyncio.Task[None]] = set()
        self.failures: list[BaseException] = []
        self.judge = Judge(self, looks=self.chance.random() < 0.5)
        self.has_impatient_clients = self.chance.random() < 0.3
        """Whenever somebody announces a change, they ask for its page in the very moments in which it is made."""
        self.shared.watchers.append(self._ask_impatiently)
        self.shared.watchers.append(self._ask_for_displaced)
        self.replicas = [Replica(self, number) for number in range(3)]

    def list_trace(self) -> list[str]:
        """What happened, line by line."""
        return [f"{at_s:8.3f} {what}" for at_s, what in self._trace]

    def note(self, what: str) -> None:
        self._trace.append((get_now_s(), what))

    async def run(self, steps: list[Step]) -> None:
        """Do the steps at their moments, let everything settle, and judge."""
        for step in steps:
            if (wait_s := step.at_s - get_now_s()) > 0:
                await pause(wait_s)
            if self.failures:
                break
            self.spawn(self._act(step))
        await self._settle()
        if self.failures:
            raise self.failures[0]
        if self.tasks:
            raise Broken(f"{len(self.tasks)} requests never ended")
        await self.judge.check_end({step.project for step in steps}, cleans_up=self.chance.random() < 0.1)
        if self.failures:
            raise self.failures[0]

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something happen beside the rest. What breaks there ends the world."""
        task = asyncio.create_task(self._try(work))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _try(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except (WheelgateError, Crashed, asyncio.CancelledError):  # refused, or gone with its replica
            pass
        except BaseException as error:
            self.failures.append(error)

    async def _settle(self) -> None:
        """Fair weather for as long as anything may take: whoever died starts again, and what is under way ends."""
        await pause(0.0)  # for the last step to begin
        self.weather = self.weather if self.weather.is_fair else FAIR
        self.outside.turn_feed("well")
        for replica in self.replicas:
            if replica.line.weather is not self.weather:
                replica.line.weather = self.weather
                self.judge.healthy_since_s[replica.number] = get_now_s()
            replica.line.crashes_at_write = None
            self._heal(replica, is_deaf=replica.line.is_deaf)
        ends_s = get_now_s() + _LONGEST_REQUEST_S
        while self.tasks and get_now_s() < ends_s:
            await pause(1.0)
        for replica in self.replicas:
            self._heal(replica)
        await pause(_LONGEST_CALL_S if self.judge.has_bad_weather else 1.0)
        for number, replica in enumerate(self.replicas):
            if replica.line.has_crashed:
                await self._restart(number)
        if not self.failures:
            await pause(SETTLED_AFTER_S)

    async def close(self) -> None:
        """End whatever still runs."""
        for replica in self.replicas:
            replica.line.has_crashed = True
            replica.line.thaw()
        running = asyncio.all_tasks() - {asyncio.current_task()}
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _act(self, step: Step) -> None:
        if self.former is not None and step.kind in _UNPLUGGED:
            return
        if self.replicas[step.replica].line.has_crashed:
            await self._restart(step.replica)
        self.note(f"r{step.replica} {step.kind} {step.project} {step.version} {step.content}")
        await _ACTIONS[step.kind](self, self.replicas[step.replica], step)

    async def _restart(self, number: int) -> None:
        old, self.replicas[number] = self.replicas[number], Replica(self, number)
        self.note(f"r{number} starts again")
        await old.end()

    def _heal(self, replica: Replica, *, is_deaf: bool = False) -> None:
        """End whatever keeps a replica from the store. ``is_deaf``: it goes on hearing nothing."""
        line = replica.line
        if line.is_cut or line.is_frozen or (line.is_deaf and not is_deaf):
            self.judge.healthy_since_s[replica.number] = get_now_s()
        line.is_cut, line.is_deaf = False, is_deaf
        line.thaw()

    # --- what clients do

    async def upload(self, replica: Replica, step: Step) -> None:
        path, digest = wheel_for(self.folder, step.project, step.version, step.content)
        with self.judge.operation("upload", step.key) as operation:
            try:
                await replica.uploads.accept(ReceivedFile(path, step.key[1], digest), take_over=step.extra > 0.5)
            except FileExists:
                return
            self.judge.note_uploaded(replica, operation, step.key, digest)
        self.note(f"r{step.replica} acknowledged {step.key[1]} {digest[:8]}")

    async def read(self, replica: Replica, step: Step) -> None:
        began_s = get_now_s()
        page = await replica.read_page(step.project)
        self.note(f"r{step.replica} shows {[(file.filename, file.source) for file in page.files]}")
        self.judge.check_page(replica, page, began_s)

    def _ask_impatiently(self, method: str, path: str) -> None:
        """Have somebody read a page in the moments in which a change is made, of which a replica of before hears twice."""
        if path != layout.CHANGED or (self.former is None and not self.has_impatient_clients):
            return
        number, within_s = (self.chance.randrange(3), 1.0) if self.former is None else (self.former, 0.4)
        step = Step(0.0, number, "read", self.chance.choice(UPLOADED))
        asyncio.get_running_loop().call_later(within_s * self.chance.random(), lambda: self.spawn(self._act(step)))

    def _ask_for_displaced(self, method: str, path: str) -> None:
        """Have others come in the moment in which other bytes have the name of a file that was deleted.

        It lasts a tenth of a second, as long as their uploader lives, and hardly anybody would come by chance. Everybody reads
        the page, and somebody uploads the same bytes.
        """
        if method != "put_if_absent" or not path.startswith(layout.PACKAGES):
            return
        project, _, filename = path.removeprefix(layout.PACKAGES).partition("/")
        tombstone = self.shared.blobs.get(layout.tombstone(project, filename))
        digest = compute_digest(self.shared.blobs[path][0])
        if tombstone is None or tombstone[0].decode() == digest:
            return
        now_s = get_now_s()
        steps = [Step(now_s, number, "read", project) for number in range(3)]
        for version, content in itertools.product(VERSIONS, range(2)):
            same = Step(now_s, self.chance.randrange(3), "upload", project, version, content)
            if same.key[1] == filename and wheel_for(self.folder, project, version, content)[1] == digest:
                steps.append(same)
        for step in steps:
            if not self.replicas[step.replica].line.has_crashed:
                self.spawn(self._act(step))

    async def download(self, replica: Replica, step: Step) -> None:
        """Install: what the page lists, one of its files."""
        began_s = get_now_s()
        page = await replica.read_page(step.project)
        self.judge.check_page(replica, page, began_s)
        file = page.files[step.content % len(page.files)] if page.files else None
        if file is None:
            return
        try:
            body: bytes | WheelgateError = await replica.download(file)
        except WheelgateError as error:
            body = error
        self.note(f"r{step.replica} gives {file.filename}: {'whole' if isinstance(body, bytes) else body}")
        self.judge.check_download(replica, file, body, began_s)

    async def delete(self, replica: Replica, step: Step) -> None:
        with self.judge.operation("delete", step.key) as operation:
            await replica.manager.delete(step.key[1])
            self.judge.note_deleted(operation, step.key)

    async def yank(self, replica: Replica, step: Step) -> None:
        wanted = step.extra > 0.5
        with self.judge.operation("yank", step.key) as operation:
            await (replica.manager.yank(step.key[1], "broken") if wanted else replica.manager.unyank(step.key[1]))
            self.judge.note_yanked(operation, step.key, is_yanked=wanted)

    async def make_token(self, replica: Replica, step: Step) -> None:
        text, _ = await replica.tokens.new(("read",), _TOKEN_LIFE)
        self.texts.append(text)
        self.judge.tokens.note_minted(replica, text)

    async def guess(self, replica: Replica, step: Step) -> None:
        """A stranger tries a token that nobody has made yet: the very next one, as bad luck will have it."""
        state = self.secrets.getstate()
        text = Tokens(replica.line, replica.clock, StoreChanges(replica.line, replica.clock)).guest()
        self.secrets.setstate(state)
        await self.judge.tokens.show_token(replica, text)

    async def revoke(self, replica: Replica, step: Step) -> None:
        if self.texts:
            text = self.texts[step.content % len(self.texts)]
            self.judge.tokens.note_revoking(text)
            if await replica.tokens.revoke(text.split("_")[1]):
                self.judge.tokens.note_revoked(text)

    async def authenticate(self, replica: Replica, step: Step) -> None:
        if self.texts:
            await self.judge.tokens.show_token(replica, self.texts[step.content % len(self.texts)])

    async def release(self, replica: Replica, step: Step) -> None:
        """An operator lets public sources answer for the name again, as they may while nobody lists it privately."""
        self.judge.note_released(step.project)
        await replica.claims.release(step.project, "it was a mistake")

    # --- what happens outside

    async def register(self, replica: Replica, step: Step) -> None:
        """A stranger registers the name in public, or puts other bytes under the file that is there."""
        self.outside.register(step.project, step.content)

    async def publish(self, replica: Replica, step: Step) -> None:
        """The private feed gains the name, or loses it."""
        published = self.outside.published
        (published.add if step.extra > 0.3 else published.discard)(step.project)

    async def trouble_feed(self, replica: Replica, step: Step) -> None:
        """The private feed fails, is slow, or is well again."""
        self.outside.turn_feed("failing" if step.extra < 0.5 else "slow" if step.extra < 0.75 else "well")

    async def evict(self, replica: Replica, step: Step) -> None:
        """A rule of the storage account cleans copies of upstream files away, and tells nobody."""
        self.clean_up()

    def clean_up(self) -> None:
        """Take all copies of upstream files away."""
        self.evicted_s = get_now_s()
        for path in [path for path in self.shared.blobs if path.startswith(layout.CACHE)]:
            del self.shared.blobs[path]

    # --- what befalls replicas

    async def freeze(self, replica: Replica, step: Step) -> None:
        """The process stands still (SIGSTOP, a paused machine), wherever it is."""
        replica.line.freeze()
        self._heal_later(replica, 1.0 + 60.0 * step.extra)

    async def cut(self, replica: Replica, step: Step) -> None:
        replica.line.is_cut = True
        self._heal_later(replica, 1.0 + 20.0 * step.extra)

    async def deafen(self, replica: Replica, step: Step) -> None:
        """The store throttles the one record that all replicas ask for every two seconds."""
        if not replica.line.is_deaf:
            replica.line.is_deaf, replica.deaf_since_s = True, get_now_s()
            self._heal_later(replica, 15.0 + 45.0 * step.extra)

    def _heal_later(self, replica: Replica, after_s: float) -> None:
        asyncio.get_running_loop().call_later(after_s, self._heal, replica)

    async def die(self, replica: Replica, step: Step) -> None:
        replica.line.crashes_at_write = step.content


_Action = Callable[[World, Replica, Step], Awaitable[None]]
_ACTIONS: dict[str, _Action] = {
    "upload": World.upload,
    "read": World.read,
    "download": World.download,
    "delete": World.delete,
    "yank": World.yank,
    "make_token": World.make_token,
    "guess": World.guess,
    "revoke": World.revoke,
    "authenticate": World.authenticate,
    "register": World.register,
    "publish": World.publish,
    "feed": World.trouble_feed,
    "evict": World.evict,
    "release": World.release,
    "cut": World.cut,
    "deafen": World.deafen,
    "freeze": World.freeze,
    "die": World.die,
}
_UNPLUGGED = frozenset({"cut", "deafen", "freeze", "die"})


def new_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="simulation-"))
