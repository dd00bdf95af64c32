"""What `mirror` was told, what it tells, and what copying and proving have in common."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from wheelgate.cli.destinations import MirrorPlace
from wheelgate.cli.live import Bar
from wheelgate.config import Config
from wheelgate.mirror.copying import Copier
from wheelgate.mirror.inputs import read_input, read_projects
from wheelgate.mirror.inputs_model import Input
from wheelgate.mirror.items import Origin
from wheelgate.mirror.manifest import Manifest
from wheelgate.mirror.mirror_store import MirrorStore
from wheelgate.mirror.planning import Plan, Planner
from wheelgate.mirror.resolving import Resolver
from wheelgate.mirror.targets import Target, target, this_python
from wheelgate.storage.spool import Spool
from wheelgate.wiring import Services, SystemClock

_DEFAULT_PLATFORM = "linux-x86_64"
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT")
_TARGET = re.compile(r"Python (\S+) on (\S+)")


class MirrorJob(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was said on the command line."""

    config: Config
    environment: Mapping[str, str]
    to: MirrorPlace
    inputs: Sequence[Path]
    projects: Sequence[str]
    pythons: Sequence[str]
    platforms: Sequence[str]
    all_files: bool
    dry_run: bool
    jobs: int


class MirrorResult(msgspec.Struct, kw_only=True):
    """What there is to tell at the end."""

    sentence: str
    files: int = 0
    bytes: int = 0
    new: int = 0
    repaired: list[str] = []
    problems: list[str] = []
    notes: list[str] = []

    def as_json(self) -> dict[str, object]:
        """For scripts."""
        return {name: getattr(self, name) for name in ("files", "bytes", "new", "repaired", "problems", "notes")}


def inputs_of(job: MirrorJob) -> list[Input]:
    """Everything that was named, read.

    Raises:
        BadInput: one of them cannot be used.
    """
    inputs = [read_input(path, job.environment) for path in job.inputs]
    return [*inputs, *([read_projects(job.projects, job.environment)] if job.projects else [])]


def targets_for(job: MirrorJob, asked: Input, manifest: Manifest | None = None) -> list[Target]:
    """Those that were named; else those it was mirrored for; else the Python that the input is for, on Azure's usual platform."""
    known = manifest.inputs.get(asked.label) if manifest is not None else None
    if known is not None and not job.pythons and not job.platforms:
        return [target(*match.groups()) for match in map(_TARGET.fullmatch, known.targets) if match]
    pythons = job.pythons or (asked.python or this_python(),)
    platforms = job.platforms or (_DEFAULT_PLATFORM,)
    return sorted({target(python, platform) for python in pythons for platform in platforms})


def say_targets(job: MirrorJob, targets: Mapping[str, Sequence[Target]]) -> None:
    """Whoever named none learns which they are."""
    hint = "" if job.pythons and job.platforms else " (name others by --python and --platform)"
    alike: dict[str, list[str]] = {}
    for label, which in targets.items():
        alike.setdefault(", ".join(map(str, which)), []).append(label)
    for names, labels in alike.items():
        say(f"{join_labels(labels)}: for {names}{hint}")


@asynccontextmanager
async def new_planner(
    job: MirrorJob, gate: Services, plan: Plan, copier: Copier, step: Callable[[str], None]
) -> AsyncIterator[Planner]:
    """A planner with a server of our own for uv, and nothing of this machine's settings."""
    from wheelgate.web.server import open_private_server

    variables = {name: job.environment[name] for name in _KEPT_VARIABLES if name in job.environment}
    with tempfile.TemporaryDirectory(prefix="wheelgate-uv-") as folder:
        async with open_private_server(gate) as url:
            resolver = Resolver(url, Path(folder), variables, python=sys.executable)
            yield Planner(plan=plan, index=gate.index, resolver=resolver, peek=copier.peek, all_files=job.all_files, on_step=step)


def new_copier(job: MirrorJob, shelf: MirrorStore, spool: Spool, origin: Origin, manifest: Manifest, bar: Bar) -> Copier:
    """What brings files to a shelf, where they may lie as the manifest says."""
    return Copier(
        shelf=shelf,
        spool=spool,
        origin=origin,
        clock=SystemClock(),
        known=manifest.by_path(),
        jobs=job.jobs,
        on_bytes=bar.bytes,
        on_done=bar.done,
    )


def say(sentence: str) -> None:
    """For people, beside the result."""
    print(f"wheelgate: {sentence}", file=sys.stderr)


def format_count(count: int, what: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def join_labels(labels: Iterable[str]) -> str:
    """One after the other."""
    return ", ".join(labels)


def readable(size: int) -> str:
    """Bytes, as people read them."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"
