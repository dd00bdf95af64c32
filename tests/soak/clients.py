"""Those who install: real pip and uv, and many plain clients that check every byte."""

from __future__ import annotations

import asyncio
import random
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

from uv import find_uv_bin

from tests.soak.http import JSON_PAGE, Answer, Http
from tests.soak.ledger import Kind, Ledger, OwnFile, Record, State, parse_page, wheel
from tests.soak.weather import WARM, PublicIndex, cold_name
from tests.support.gate import environment
from tests.support.packages import metadata, sha256, wheel_name

_COMMAND_S = 180.0


@dataclass
class Site:
    """Everything that clients, writers and judges share."""

    folder: Path
    config: Path
    url: str
    """The balancer's."""
    http: Http
    index: PublicIndex
    ledger: Ledger
    record: Record
    dice: random.Random


async def run(command: list[str], folder: Path, **env: str) -> tuple[int | None, str]:
    """A command of somebody else's, with nothing of this machine's settings: status and output; ``None``: it did not end."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=folder,
        env=environment(folder, **env),
    )
    try:
        async with asyncio.timeout(_COMMAND_S):
            output, _ = await process.communicate()
    except BaseException:
        if process.returncode is None:
            process.kill()
            await process.wait()
        raise
    return process.returncode, output.decode(errors="replace")


class RealInstaller:
    """pip or uv, installing one file of ours, and the public one that it needs, into an empty folder; once after another."""

    def __init__(self, site: Site, program: str) -> None:
        self._site = site
        self._program = program

    async def work(self) -> None:
        while True:
            with _reading(self._site) as file:
                if file is not None:
                    await self._install(file)
            await asyncio.sleep(0.2)

    async def _install(self, file: OwnFile) -> None:
        site, program = self._site, self._program
        target = site.folder / f"{program}-target"
        index = site.url.replace("://", f"://__token__:{site.http.token}@") + "/simple/"
        what = f"{file.project}=={file.version}"
        if program == "pip":
            install = [sys.executable, "-m", "pip", "install", "--no-cache-dir", "--no-compile", "--index-url", index]
        else:
            install = [find_uv_bin(), "pip", "install", "--no-cache", "--python", sys.executable, "--default-index", index]
        began_s = time.monotonic()
        env = {"PIP_CONFIG_FILE": "/dev/null", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "UV_NO_CONFIG": "1"}
        status, output = await run([*install, "--target", str(target), what], site.folder, **env)
        site.record.time(f"{program} install", time.monotonic() - began_s)
        site.record.counts[f"{program} installs"] += 1
        if status != 0:
            failed = f"{program} install {what} ended with {status}:\n{output[-3000:]}"
            site.record.break_(failed, kind=Kind.INSTALL, since_s=began_s)
        else:
            self._check(target, file.project, file.version)
            self._check(target, file.requires, "1.0")
        await asyncio.to_thread(shutil.rmtree, target, ignore_errors=True)

    def _check(self, target: Path, project: str, version: str) -> None:
        name = f"{project.replace('-', '_')}_padding.bin"
        installed = target / name
        whole = wheel(project, version)  # stored, not compressed: the padding stands in it as it is
        if not installed.is_file() or installed.read_bytes() not in whole:
            other = f"{self._program} installed other bytes of {project} {version}: {name}"
            self._site.record.break_(other, kind=Kind.BYTES)


class PlainInstallers:
    """Clients that ask for a page, a file's metadata and the file, and compare every byte."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._cold = 0

    async def install_own(self) -> None:
        """Files of ours, for ever."""
        while True:
            with _reading(self._site) as file:
                if file is not None:
                    await self._own(file)
            await asyncio.sleep(self._site.dice.uniform(0.02, 0.1))

    async def install_warm(self) -> None:
        """Public files that have been seen before, for ever: in any weather."""
        while True:
            await self._public(self._site.dice.choice(WARM), judged=True)
            await asyncio.sleep(self._site.dice.uniform(0.02, 0.1))

    async def install_cold(self) -> None:
        """Public files that nobody has seen, for ever: they install in fair weather, in foul never with wrong bytes."""
        while True:
            self._cold += 1
            await self._public(cold_name(self._cold), judged=False)
            await asyncio.sleep(self._site.dice.uniform(0.3, 1.0))

    async def see_warm(self) -> None:
        """See the warm names for the first time."""
        for name in WARM:
            await self._public(name, judged=True)

    async def _own(self, file: OwnFile) -> None:
        began_s = time.monotonic()
        trouble = await self.fetch(file.project, file.filename, file.body, file.metadata)
        self._site.record.counts["plain installs, ours"] += 1
        if trouble:
            note_trouble(self._site.record, trouble, began_s)

    async def _public(self, name: str, *, judged: bool) -> None:
        site, began_s = self._site, time.monotonic()
        fair = site.index.has_been_fair(began_s)
        trouble = await self.fetch(name, wheel_name(name, "1.0"), wheel(name, "1.0"), metadata(name, "1.0"))
        site.record.counts["plain installs, public, " + ("seen before" if judged else "never seen")] += 1
        fair = fair and site.index.has_been_fair(began_s)
        site.record.counts["never seen, in fair weather"] += fair and not judged
        if trouble and (judged or fair or "WRONG" in trouble):
            note_trouble(site.record, trouble + ("" if fair else f" (public index: {site.index.fault})"), began_s)
        elif trouble:
            site.record.counts["never seen and not installed in foul weather"] += 1

    async def fetch(self, project: str, filename: str, body: bytes, metadata_body: bytes) -> str | None:
        """Fetch one file as an installer does; in a sentence, what was wrong."""
        http, url = self._site.http, self._site.url
        page_url = f"{url}/simple/{project}/"
        answer = await http.get(page_url, JSON_PAGE)
        if answer.status != 200:
            return f"page of {project}: {answer}"
        entry = next((entry for entry in parse_page(answer.body)["files"] if entry["filename"] == filename), None)
        if entry is None:
            return f"page of {project} lacks {filename}"
        if entry["hashes"].get("sha256") != sha256(body):
            return f"WRONG digest of {filename} on its page: {entry['hashes']}"
        file_url = urljoin(page_url, entry["url"])
        if entry.get("core-metadata"):
            answer = await http.get(f"{file_url}.metadata")
            if answer.status != 200 or answer.body != metadata_body:
                return f"{_how(answer)} metadata of {filename}: {answer}"
        answer = await http.get(file_url)
        return None if answer.status == 200 and answer.body == body else f"{_how(answer)} {filename}: {answer}"


def note_trouble(record: Record, trouble: str, began_s: float) -> None:
    """Note that a file was not had; ``began_s``: since when it was asked for. Wrong bytes have no excuse."""
    if "WRONG" in trouble:
        record.break_(trouble, kind=Kind.BYTES)
    else:
        record.break_(trouble, kind=Kind.INSTALL, since_s=began_s)


def _how(answer: Answer) -> str:
    return "WRONG BYTES of" if answer.status == 200 else "no"


@contextmanager
def _reading(site: Site) -> Iterator[OwnFile | None]:
    """Any file of ours that is there, and stays there during the block."""
    file = site.ledger.pick(site.dice, State.LISTED, State.YANKED)
    if file is None:
        yield None
        return
    file.readers += 1
    try:
        yield file
    finally:
        file.readers -= 1
