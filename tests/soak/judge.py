"""The judge: asks every live replica directly, again and again, and compares with what was acknowledged."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tests.soak.clients import Site
from tests.soak.http import JSON_PAGE, Answer
from tests.soak.ledger import SEEN_WITHIN_S, Kind, OwnFile, State, find_differences, parse_page
from tests.soak.replicas import Fleet, Replica
from tests.soak.weather import WARM

_LOOK_EVERY_S = 0.25
_DEAD_ASKED_AT_ONCE = 3
FIRST_PROJECT = "acme-soak-0"
"""One of ours, which no weather delays."""


@dataclass
class Judge:
    """Whoever finds that something is not as it was promised."""

    site: Site
    fleet: Fleet
    group: asyncio.TaskGroup
    dead_tokens: list[str] = field(default_factory=list)

    # ---- changes, each followed to every replica ------------------------------------------------------------------------

    def follow(self, file: OwnFile) -> None:
        """Demand that a change that has just been acknowledged is seen on every live replica within 5 s."""
        self.group.create_task(self._follow(file))

    async def _follow(self, file: OwnFile) -> None:
        since_s, state = file.since_s, file.state

        async def is_seen(replica: Replica) -> bool | None:
            answer = await self._page(replica, file.project)
            if file.changing or file.since_s != since_s:
                return None  # something else is being done to it
            page = parse_page(answer.body) if answer.status == 200 else None
            if page is None and answer.status not in (404, 403):
                return False
            entry = None if page is None else next((e for e in page["files"] if e["filename"] == file.filename), None)
            if entry is None:
                return state is State.DELETED
            return state is not State.DELETED and (entry.get("yanked", False) is not False) is (state is State.YANKED)

        await self._everywhere(f"{file.filename} is {state}", since_s, is_seen, "seen: " + state)

    async def expect_token(self, text: str, *, alive: bool) -> None:
        """Demand that a token is good, or no longer good, on every live replica within 5 s."""

        async def is_seen(replica: Replica) -> bool:
            answer = await self._page(replica, FIRST_PROJECT, token=text)
            return answer.status == (200 if alive else 401)

        what = "made" if alive else "revoked"
        identifier = text.split("_")[1]
        await self._everywhere(f"token {identifier} was {what}", time.monotonic(), is_seen, f"seen: token {what}")
        if not alive:
            self.dead_tokens.append(text)

    async def _everywhere(
        self, what: str, since_s: float, is_seen: Callable[[Replica], Awaitable[bool | None]], measured: str
    ) -> None:
        async with asyncio.TaskGroup() as group:
            for replica in self.fleet.ready:
                group.create_task(self._until(what, since_s, is_seen, measured, replica))

    async def _until(
        self, what: str, since_s: float, is_seen: Callable[[Replica], Awaitable[bool | None]], measured: str, replica: Replica
    ) -> None:
        life = replica.life
        while True:
            asked_s = time.monotonic()
            seen = await is_seen(replica)
            if not replica.is_ready or replica.life != life or seen is None:
                return  # it went away; whoever comes in its place is looked at by `watch`
            if seen:
                self.site.record.time(measured, time.monotonic() - since_s)
                return
            if asked_s - since_s > SEEN_WITHIN_S:
                late = f"{what}, and that is not seen after {asked_s - since_s:.1f} s"
                self.site.record.break_(late, replica.name, kind=Kind.LATE, since_s=since_s)
                return
            await asyncio.sleep(_LOOK_EVERY_S)

    # ---- everything, over and over --------------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Look at one project after another on all replicas, and at tokens that must be dead, for ever."""
        while True:
            for project in [*self.site.ledger.projects]:
                await self._look_at(project)
                await self._look_at_public(self.site.dice.choice(WARM))
                await self._look_at_dead_tokens()
                await asyncio.sleep(0.3)

    async def _look_at(self, project: str, *, is_last: bool = False) -> None:
        files = self.site.ledger.projects[project]
        lives = {replica.number: (replica, replica.life) for replica in self.fleet.ready}
        before = self._states(project)
        asked_s = time.monotonic()
        answers = await asyncio.gather(*(self._page(replica, project) for replica, _ in lives.values()))
        if self._states(project) != before:
            return  # something was done meanwhile; next time
        pages: dict[str, str] = {}
        for (replica, life), answer in zip(lives.values(), answers, strict=True):
            if not replica.is_ready or replica.life != life:
                continue
            self.site.record.counts["pages compared"] += 1
            if answer.status not in (200, 404, 403):
                if not any(file.settled(asked_s) for file in files.values()):
                    continue  # not ours yet, and the public index is asked, which may be ill
                self.site.record.break_(f"page of {project}: {answer}", replica.name, since_s=asked_s)
                continue
            page = parse_page(answer.body) if answer.status == 200 else None
            for wrong in find_differences(files, page, asked_s):
                self._note_difference(wrong, replica, asked_s, is_last=is_last)
            entries = [] if page is None else page["files"]
            settled = [entry for entry in entries if entry["filename"] in files and files[entry["filename"]].settled(asked_s)]
            pages.setdefault(json.dumps(settled), replica.name)
        if len(pages) > 1:
            differ = f"pages of {project} differ: {' | '.join(pages)}"
            since_s = None if is_last else asked_s
            self.site.record.break_(differ, "; ".join(pages.values()), kind=Kind.LATE, since_s=since_s)

    def _note_difference(self, wrong: str, replica: Replica, asked_s: float, *, is_last: bool) -> None:
        """Note what a page has otherwise than was acknowledged. Only that it is late may be the store's fault."""
        if "another digest" in wrong or "never ours" in wrong:
            self.site.record.break_(wrong, replica.name, kind=Kind.BYTES)
        elif is_last:
            self.site.record.break_(wrong, replica.name, kind=Kind.LOST if "is not listed" in wrong else Kind.LATE)
        else:
            self.site.record.break_(wrong, replica.name, kind=Kind.LATE, since_s=asked_s)

    def _states(self, project: str) -> list[tuple[str, State, float, bool]]:
        return [(f.filename, f.state, f.since_s, f.changing) for f in self.site.ledger.projects[project].values()]

    async def _look_at_public(self, project: str) -> None:
        """A public page: the same files with the same digests everywhere."""
        ready, asked_s = [(replica, replica.life) for replica in self.fleet.ready], time.monotonic()
        answers = await asyncio.gather(*(self._page(replica, project) for replica, _ in ready))
        seen = {}
        for (replica, life), answer in zip(ready, answers, strict=True):
            if not replica.is_ready or replica.life != life:
                continue
            self.site.record.counts["pages compared"] += 1
            if answer.status != 200:
                self.site.record.break_(f"page of {project}, seen before: {answer}", replica.name, since_s=asked_s)
                continue
            seen[str([(entry["filename"], entry["hashes"]) for entry in parse_page(answer.body)["files"]])] = replica.name
        if len(seen) > 1:
            differ = f"pages of {project} differ: {' | '.join(seen)}"
            self.site.record.break_(differ, "; ".join(seen.values()), kind=Kind.LATE)

    async def _look_at_dead_tokens(self) -> None:
        for replica in self.fleet.ready:
            count = min(_DEAD_ASKED_AT_ONCE, len(self.dead_tokens))
            for text in self.site.dice.sample(self.dead_tokens, count):
                asked_s, answer = time.monotonic(), await self._page(replica, FIRST_PROJECT, token=text)
                self.site.record.counts["revoked tokens tried"] += 1
                if answer.status == 200:
                    let_in = f"revoked token {text.split('_')[1]} is let in"
                    self.site.record.break_(let_in, replica.name, kind=Kind.LATE, since_s=asked_s)

    async def _page(self, replica: Replica, project: str, token: str | None = None) -> Answer:
        return await self.site.http.once(f"{replica.url}/simple/{project}/", JSON_PAGE, token=token)

    # ---- at the end ---------------------------------------------------------------------------------------------------------

    async def look_at_everything(self) -> None:
        """With all replicas up and nothing going on: every page, the bytes of every file that must be there, all tokens."""
        await asyncio.sleep(SEEN_WITHIN_S + 1)
        for project in self.site.ledger.projects:
            await self._look_at(project, is_last=True)
        for name in WARM:
            await self._look_at_public(name)
        await self._fetch_every_file()
        for text, replica in itertools.product(self.dead_tokens, self.fleet.replicas):
            # 503: of tokens that nobody knows a client may try a hundred, then five a second. One that is let in costs none.
            if (await self._page(replica, FIRST_PROJECT, token=text)).status not in (401, 503):
                let_in = f"revoked token {text.split('_')[1]} is let in at the end"
                self.site.record.break_(let_in, replica.name, kind=Kind.LATE)
        for replica in self.fleet.replicas:
            if count := replica.tracebacks():
                self.site.record.break_(f"{count} tracebacks in its logs", replica.name)

    async def _fetch_every_file(self) -> None:
        for number, file in enumerate(self.site.ledger.files()):
            if file.changing or file.state is State.DELETED:
                continue
            replica = self.fleet.replicas[number % len(self.fleet.replicas)]
            answer = await self.site.http.get(f"{replica.url}/files/{file.project}/{file.filename}")
            self.site.record.counts["acknowledged files fetched at the end"] += 1
            if answer.status != 200 or answer.body != file.body:
                kind = Kind.BYTES if answer.status == 200 else Kind.LOST
                self.site.record.break_(f"acknowledged {file.filename} at the end: {answer}", replica.name, kind=kind)
