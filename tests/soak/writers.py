"""Those who change things: uploads, yanks, deletions, tokens. Whatever is acknowledged is handed to the judge."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import time
from dataclasses import dataclass, field
from datetime import timedelta

from uv import find_uv_bin

from tests.soak.clients import Site, run
from tests.soak.held import open_store
from tests.soak.http import Answer
from tests.soak.judge import Judge
from tests.soak.ledger import OwnFile, State
from tests.soak.weather import WARM
from tests.support.gate import WHEELGATE
from tests.support.packages import sha256
from wheelgate.core.errors import StoreError
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.tokens import Tokens
from wheelgate.wiring.foundation import SystemClock

PROJECTS = 12
_NEW_EVERY = 4
"""One upload in so many is the first of its project; its deletion leaves a name that is claimed and empty."""
_TRIES = 20
_PATIENCE_S = 90.0
_KEPT = 150
"""Files of ours beyond which old ones are deleted, so that the store holds as much at the end as in the middle."""
_REAL_EVERY = 12
"""One upload in so many is made by uv or twine."""


@dataclass
class Writers:
    """All writers. ``upload_token`` is good for every project."""

    site: Site
    judge: Judge
    upload_token: str
    store_url: str
    _versions: dict[str, int] = field(default_factory=dict)
    _uploads: int = 0

    async def upload_first(self) -> None:
        """A file of each project, one after the other."""
        for number in range(PROJECTS):
            await self._upload(f"acme-soak-{number}")

    async def upload(self) -> None:
        """Uploads, for ever: most to projects that are there, some to new ones."""
        while True:
            self._uploads += 1
            if self._uploads % _NEW_EVERY == 0:
                project = f"acme-new-{self._uploads}"
            else:
                project = f"acme-soak-{self.site.dice.randrange(PROJECTS)}"
            await self._upload(project, real=self._uploads % _REAL_EVERY == 0)
            await asyncio.sleep(self.site.dice.uniform(0.3, 1.2))

    async def _upload(self, project: str, *, real: bool = False) -> None:
        site = self.site
        number = self._versions[project] = self._versions.get(project, 0) + 1
        file = site.ledger.add(project, f"{number}.0", site.dice.choice(WARM))
        began_s = time.monotonic()
        if not await (self._publish(file) if real else self._post(file, _upload_form(file), upload=True)):
            return
        site.ledger.acknowledge(file, State.LISTED)
        site.record.time("upload", time.monotonic() - began_s)
        site.record.counts["uploads"] += 1
        site.index.baits.add(project)
        self.judge.follow(file)

    async def _post(self, file: OwnFile, form: dict[str, str], *, upload: bool = False) -> bool:
        """Send a form until it is answered for good; true if it was acknowledged."""
        began_s, answer = time.monotonic(), Answer(0, "nothing was sent")
        for tried in range(_TRIES):
            content = (file.filename, file.body) if upload else None
            answer = await self.site.http.post(f"{self.site.url}/legacy/", form, content, self.upload_token)
            gone = form[":action"] == "delete" and answer.status == 404 and tried > 0  # the answer to an earlier try was lost
            if answer.status == 200 or gone:
                return True
            if answer.status and answer.status < 500:
                break
            self.site.record.counts["writes tried again"] += 1
            if time.monotonic() - began_s > _PATIENCE_S:
                break
            await asyncio.sleep(min(4.0, 0.25 * 2**tried))
        refused = f"{form[':action']} of {file.filename} was not acknowledged: {answer}"
        self.site.record.break_(refused, since_s=began_s)
        return False

    async def _publish(self, file: OwnFile) -> bool:
        """The same by `uv publish` or twine, called again by hand when it fails, as people do."""
        folder = self.site.folder / "dist"
        folder.mkdir(exist_ok=True)
        path = folder / file.filename
        path.write_bytes(file.body)
        url, output = f"{self.site.url}/legacy/", ""
        if self.site.dice.random() < 0.7:
            command = [find_uv_bin(), "publish", "--publish-url", url, "--token", self.upload_token, str(path)]
        else:
            options = ["--non-interactive", "--disable-progress-bar", "-u", "__token__", "-p", self.upload_token]
            command = [sys.executable, "-m", "twine", "upload", *options, "--repository-url", url, str(path)]
        began_s = time.monotonic()
        while time.monotonic() - began_s < _PATIENCE_S:
            status, output = await run(command, self.site.folder, UV_NO_CONFIG="1")
            if status == 0:
                self.site.record.counts["uploads by uv and twine"] += 1
                path.unlink()
                return True
            self.site.record.counts["writes tried again"] += 1
            await asyncio.sleep(2)
        failed = f"{' '.join(command[:3])} of {file.filename} failed again and again:\n{output[-2000:]}"
        self.site.record.break_(failed, since_s=began_s)
        return False

    async def change(self) -> None:
        """Yanks and the end of yanks, a deletion now and then and whenever there are many files, for ever."""
        while True:
            await asyncio.sleep(self.site.dice.uniform(0.5, 1.5))
            is_full = sum(file.state is not State.DELETED for file in self.site.ledger.files()) > _KEPT
            done = self.site.dice.choices(["yank", "unyank", "delete"], [5, 4, 30 if is_full else 1])[0]
            match done:
                case "yank":
                    file, to = self.site.ledger.pick(self.site.dice, State.LISTED), State.YANKED
                case "unyank":
                    file, to = self.site.ledger.pick(self.site.dice, State.YANKED), State.LISTED
                case _:
                    states = (State.LISTED, State.YANKED)
                    file, to = self.site.ledger.pick(self.site.dice, *states, unread=True), State.DELETED
            if file is not None:
                await self._change(file, done, to)

    async def _change(self, file: OwnFile, done: str, to: State) -> None:
        file.changing = True
        if not await self._post(file, _form(done, file)):
            return
        self.site.ledger.acknowledge(file, to)
        self.site.record.counts[f"{done}s" if done != "delete" else "deletions"] += 1
        self.judge.follow(file)

    async def command_tokens(self) -> None:
        """Tokens made and revoked by the command line, for ever."""
        while True:
            began_s = time.monotonic()
            try:
                text = await new_token(self.site, "read")
            except AssertionError as error:
                self.site.record.break_(f"wheelgate token new fails again and again: {error}", since_s=began_s)
                continue
            await self.judge.expect_token(text, alive=True)
            began_s = time.monotonic()
            for tried in range(3):
                status, output = await _wheelgate(self.site, "token", "revoke", text.split("_")[1])
                if status == 0 or (tried and "there is no token" in output):
                    break
            else:
                self.site.record.break_(f"wheelgate token revoke ended with {status}: {output}", since_s=began_s)
                continue
            self.site.record.counts["tokens revoked by command"] += 1
            await self.judge.expect_token(text, alive=False)

    async def turn_tokens_over(self) -> None:
        """The same without starting a process for each, for ever."""
        async with open_store(self.store_url) as store:
            clock = SystemClock()
            tokens = Tokens(store, clock, StoreChanges(store, clock))
            while True:
                with contextlib.suppress(StoreError):  # an emulator that is late: the token may be there, and nobody has its text
                    text, token = await tokens.new(("read",), timedelta(days=1))
                    await self.judge.expect_token(text, alive=True)
                    await self._revoke(tokens, token.id)
                    await self.judge.expect_token(text, alive=False)
                await asyncio.sleep(self.site.dice.uniform(1, 3))

    async def _revoke(self, tokens: Tokens, identifier: str) -> None:
        began_s = time.monotonic()
        for tried in range(_TRIES):
            try:
                if not await tokens.revoke(identifier) and not tried:  # later, an earlier try may have done it
                    self.site.record.break_(f"token {identifier} was made, and cannot be revoked")
                self.site.record.counts["tokens made and revoked"] += 1
                return
            except StoreError:
                await asyncio.sleep(0.5)
        self.site.record.break_(f"token {identifier} cannot be revoked", since_s=began_s)


async def new_token(site: Site, scope: str) -> str:
    """The text of a new token, made by the command line."""
    output = ""
    for _ in range(3):  # on a busy machine the emulator may be late
        status, output = await _wheelgate(site, "token", "new", "--scope", scope, "--expires", "1d")
        match = re.search(r"wgt_\w+", output)
        if status == 0 and match is not None:
            return match[0]
    raise AssertionError(output)


async def _wheelgate(site: Site, group: str, command: str, *arguments: str) -> tuple[int | None, str]:
    where = ["-c", str(site.config), "--data", str(site.folder / "data-cli")]
    return await run([WHEELGATE, group, command, *where, *arguments], site.folder)


def _form(action: str, file: OwnFile) -> dict[str, str]:
    return {":action": action, "protocol_version": "1", "filename": file.filename}


def _upload_form(file: OwnFile) -> dict[str, str]:
    return {
        ":action": "file_upload",
        "protocol_version": "1",
        "name": file.project,
        "version": file.version,
        "filetype": "bdist_wheel",
        "pyversion": "py3",
        "metadata_version": "2.1",
        "sha256_digest": sha256(file.body),
    }
