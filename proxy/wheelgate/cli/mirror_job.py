"""The job that `mirror` was given, the result it prints, and the steps that copying and verifying share."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import msgspec

from wheelgate.cli.destinations import MirrorLocation
from wheelgate.cli.progress import CopyProgress
from wheelgate.config import Config
from wheelgate.core.protocols import BodyStore
from wheelgate.mirror.copying import Copier
from wheelgate.mirror.file_origins import FileOrigin
from wheelgate.mirror.inputs import read_input, read_projects
from wheelgate.mirror.inputs_model import MirrorInput
from wheelgate.mirror.manifest import Manifest
from wheelgate.mirror.planning import Plan, Planner
from wheelgate.mirror.resolving import Resolver
from wheelgate.mirror.targets import Target, parse_target, this_python
from wheelgate.storage.spool import Spool
from wheelgate.wiring import Services, SystemClock

_DEFAULT_PLATFORM = "linux-x86_64"
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT")
_TARGET = re.compile(r"Python (\S+) on (\S+)")


class MirrorJob(msgspec.Struct, frozen=True, kw_only=True):
    """The job of one command: its arguments, options and settings."""

    config: Config
    environment: Mapping[str, str]
    to: MirrorLocation
    inputs: Sequence[Path]
    projects: Sequence[str]
    pythons: Sequence[str]
    platforms: Sequence[str]
    all_files: bool
    dry_run: bool
    jobs: int


class MirrorResult(msgspec.Struct, kw_only=True):
    """The result of a job: a sentence for people, the rest for scripts."""

    sentence: str
    files: int = 0
    bytes: int = 0
    new: int = 0
    repaired: list[str] = []
    problems: list[str] = []
    notes: list[str] = []

    def as_json(self) -> dict[str, object]:
        """Return it without the sentence, for scripts."""
        return {name: value for name, value in msgspec.structs.asdict(self).items() if name != "sentence"}


def read_inputs(job: MirrorJob) -> list[MirrorInput]:
    """Read everything that was named.

    Raises:
        BadInput: one of them cannot be used.
    """
    inputs = [read_input(path, job.environment) for path in job.inputs]
    return [*inputs, *([read_projects(job.projects, job.environment)] if job.projects else [])]


def find_targets(job: MirrorJob, inputs: Iterable[MirrorInput], manifest: Manifest | None = None) -> dict[str, Sequence[Target]]:
    """Find the targets of each input, by its label, and print them for whoever named none.

    They are those that were named; else those that the input was mirrored for; else the Python that it says it is for, on Azure's
    usual platform.
    """
    found: dict[str, Sequence[Target]] = {}
    for asked in inputs:
        known = manifest.inputs.get(asked.label) if manifest is not None else None
        if known is not None and not job.pythons and not job.platforms:
            found[asked.label] = [parse_target(*match.groups()) for match in map(_TARGET.fullmatch, known.targets) if match]
        else:
            pythons, platforms = job.pythons or (asked.python or this_python(),), job.platforms or (_DEFAULT_PLATFORM,)
            found[asked.label] = sorted({parse_target(python, platform) for python in pythons for platform in platforms})
    hint = "" if job.pythons and job.platforms else " (choose others with --python and --platform)"
    labels: dict[str, list[str]] = {}
    for label, targets in found.items():
        labels.setdefault(", ".join(map(str, targets)), []).append(label)
    for names, alike in labels.items():
        print_note(f"{', '.join(alike)}: for {names}{hint}")
    return found


@asynccontextmanager
async def open_planner(
    job: MirrorJob, services: Services, plan: Plan, copier: Copier, step: Callable[[str], None]
) -> AsyncIterator[Planner]:
    """Open a planner with a server of our own for uv, and nothing of this machine's settings."""
    from wheelgate.web.server import open_private_server

    variables = {name: job.environment[name] for name in _KEPT_VARIABLES if name in job.environment}
    with tempfile.TemporaryDirectory(prefix="wheelgate-uv-") as folder:
        async with open_private_server(services) as url:
            resolver = Resolver(url, Path(folder), variables, python=sys.executable)
            yield Planner(
                plan=plan, index=services.index, resolve=resolver.resolve, peek=copier.peek, all_files=job.all_files, on_step=step
            )


@contextmanager
def open_copier(
    job: MirrorJob, store: BodyStore, spool: Spool, origin: FileOrigin, manifest: Manifest, progress: CopyProgress
) -> Iterator[Copier]:
    """Open what brings files to a mirror, where they may be already as the manifest says."""
    copier = Copier(
        store=store,
        spool=spool,
        origin=origin,
        clock=SystemClock(),
        known=manifest.by_path(),
        jobs=job.jobs,
        on_bytes=progress.bytes,
        on_done=progress.done,
    )
    with closing(copier):
        yield copier


def print_note(sentence: str) -> None:
    """Print a sentence for people, beside the result."""
    print(f"wheelgate: {sentence}", file=sys.stderr)


def format_count(count: int, what: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def format_size(size: int) -> str:
    """Bytes, as people read them."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"
