"""Resolution of open requirements for a target: uv's answer, from our own index and nothing else."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from wheelgate.core.errors import ConfigurationError, Unresolvable
from wheelgate.core.names import normalise_name
from wheelgate.mirror.build_failures import find_failed_build
from wheelgate.mirror.inputs_model import InputRequirement, MirrorInput, NeededRelease, SelectionOptions
from wheelgate.mirror.platforms import find_platform
from wheelgate.mirror.targets import Target

_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==(\S+)")
_ANSWERED = re.compile(r"HTTP status \w+ error \(\d{3} (.+?)\) for url \(")
"""Our own server's sentence, as uv repeats it."""
_NO_VERSION = re.compile(r"there (?:is|are) no versions? of ")
"""To uv what is withheld is nowhere."""
_TOO_OLD = "unexpected argument '--prerelease-package'"
_URL = re.compile(r"`?https?://[^\s)`]+`?")
_DECORATION = re.compile("[\u2500-\u257f\u25b6\u00d7]")  # lines, arrows and crosses of a terminal
_LONGEST = 1_200
_TIMEOUT_S = 1_800.0


class Resolver(msgspec.Struct, frozen=True):
    """A resolver that asks uv. It shows uv the index and nothing of this machine: no settings, caches or credentials."""

    index_url: str
    """Of our index, with a token for it."""
    folder: Path
    """An empty one, for uv's cache and home."""
    environment: Mapping[str, str]
    """Beside that, what uv's process gets: the path to programs."""
    python: str
    """An interpreter, to build the sdists whose dependencies nobody else can tell."""
    outputs: Path
    """A folder for what builds that fail write; it need not exist."""

    async def resolve(self, asked: MirrorInput, target: Target) -> list[NeededRelease]:
        """Resolve the versions of everything that the input's requirements need there.

        Raises:
            Unresolvable: there are none; uv's own explanation.
            ConfigurationError: uv is not installed.
        """
        answer = await self._compile(asked, target)
        lines = {line.project: line for line in asked.requirements if line.hashes and line.holds_for(target)}
        found = []
        for match in filter(None, map(_PIN.match, answer.splitlines())):
            project = normalise_name(match[1]) or match[1]
            line = lines.get(project)
            hashes, where = (line.hashes, line.where) if line else (frozenset[str](), asked.label)
            found.append(NeededRelease(project, match[2], hashes=hashes, where=where))
        return found

    async def _compile(self, asked: MirrorInput, target: Target) -> str:
        platform = find_platform(target.platform)
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            folder = Path(scratch)
            await asyncio.to_thread((folder / "requirements.in").write_text, _format_requirements(asked.requirements), "utf-8")
            await asyncio.to_thread((folder / "constraints.txt").write_text, _format_requirements(asked.constraints), "utf-8")
            process = await asyncio.create_subprocess_exec(
                _find_uv(),
                *("pip", "compile", "requirements.in", "--constraints", "constraints.txt", "--quiet"),
                *("--format", "requirements.txt", "--no-header", "--no-annotate", "--no-config", "--no-progress"),
                *("--python", self.python, "--python-version", str(target.version)),
                *("--python-platform", platform.uv_name),
                *_build_options(asked.options),
                cwd=folder,
                env={
                    **self.environment,
                    **platform.uv_variables,
                    "HOME": str(self.folder),
                    "TMPDIR": str(self.folder),  # where it leaves its locks
                    "UV_DEFAULT_INDEX": self.index_url,  # not an argument: those are everybody's to read
                    "UV_CACHE_DIR": str(self.folder / "cache"),
                    "UV_PYTHON_DOWNLOADS": "never",
                    "UV_KEYRING_PROVIDER": "disabled",
                    "UV_HTTP_RETRIES": "1",  # we have tried again ourselves
                    "UV_NO_PROGRESS": "1",
                    "NO_COLOR": "1",
                },
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                process_group=0,
            )
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    out, err = await process.communicate()
            except TimeoutError:
                raise Unresolvable(f"{asked.label} for {target} could not be resolved within half an hour") from None
            finally:
                with suppress(ProcessLookupError):  # with what it runs to build sdists
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if process.returncode != 0:
            text = err.decode("utf-8", "replace")
            failed = None if _ANSWERED.search(text) else find_failed_build(_URL.sub("the index", text))
            why = _summarise_error(text) if failed is None else await asyncio.to_thread(failed.describe, self.outputs)
            raise Unresolvable(f"{asked.label} cannot be resolved for {target}: {why}")
        return out.decode("utf-8", "replace")


def _find_uv() -> str:
    try:
        from uv import find_uv_bin
    except ImportError:
        why = (
            "what is not pinned is resolved by uv, which is not installed: pip install uv, or '.[mirror]' in a clone; "
            "or give a lock file"
        )
        raise ConfigurationError([f"mirror: {why}"]) from None
    return str(find_uv_bin())


def _format_requirements(lines: Iterable[InputRequirement]) -> str:
    return "".join(f"{line.requirement}\n" for line in lines)


def _build_options(options: SelectionOptions) -> list[str]:
    names = (("--no-binary", options.no_binary), ("--only-binary", options.only_binary))
    arguments = [word for option, which in names for name in sorted(filter(_is_known_to_uv, which)) for word in (option, name)]
    for which, word in ((options.all_releases, "allow"), (options.only_final, "disallow")):
        if ":all:" in which and options.wants_prereleases(":all:") is (word == "allow"):
            arguments += ["--prerelease", word]
        for name in sorted(filter(normalise_name, which)):
            if options.wants_prereleases(name) is (word == "allow"):
                arguments += ["--prerelease-package", f"{name}={word}"]
    return arguments


def _is_known_to_uv(name: str) -> bool:
    """False of a name that no project has: pip takes note of it all the same."""
    return name == ":all:" or normalise_name(name) == name


def _summarise_error(text: str) -> str:
    """Summarise the reasons uv gives on one line, without its decoration and without our address."""
    words = _DECORATION.sub(" ", text)
    lines = [line.strip() for line in words.splitlines() if not line.strip().startswith(("warning:", "hint:"))]
    line = " ".join(" ".join(lines).split())
    if _TOO_OLD in line:
        return "this uv is too old for --all-releases or --only-final of single projects: pip install -U uv"
    if answered := _ANSWERED.search(line):
        return answered[1][:_LONGEST]
    line = re.sub(r"^error: (No solution found when resolving dependencies:? ?(cause: )?)?", "", line)
    line = line.replace("in the package registry", "in any source").replace(" cause: ", " ")
    line = _NO_VERSION.sub("no source offers a version that matches ", line)
    return _URL.sub("the index", line)[:_LONGEST].rstrip(".") or "uv gave no reason"
