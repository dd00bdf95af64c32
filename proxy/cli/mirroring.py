"""What `mirror` does, put together: read inputs, plan with a server of our own, copy, and write down what is there."""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from proxy.cli.live import Bar, copying
from proxy.cli.shelves import Place, must_exist, shelf_at, spool_for
from proxy.config import Config, Policy, Store
from proxy.errors import Unresolvable
from proxy.mirror.asked import Input
from proxy.mirror.copying import Copier, Outcome
from proxy.mirror.inputs import read_input, read_projects
from proxy.mirror.items import Item, Origin
from proxy.mirror.manifest import Asked, Entry, Manifest, read_manifest, write_manifest
from proxy.mirror.onward import items_of
from proxy.mirror.origins import IndexOrigin, MirrorOrigin
from proxy.mirror.planning import Plan, Planner
from proxy.mirror.resolving import Resolver
from proxy.mirror.shelf import Shelf
from proxy.mirror.targets import Target, target, this_python
from proxy.mirror.verifying import damages
from proxy.spool import Spool
from proxy.wiring import SystemClock, Wheelgate, keyring_alone, wheelgate

_DEFAULT_PLATFORM = "linux-x86_64"
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT")
_TARGET = re.compile(r"Python (\S+) on (\S+)")


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was said on the command line."""

    config: Config
    environment: Mapping[str, str]
    to: Place
    inputs: Sequence[Path]
    projects: Sequence[str]
    pythons: Sequence[str]
    platforms: Sequence[str]
    all_files: bool
    dry_run: bool
    jobs: int


class Result(msgspec.Struct, kw_only=True):
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


async def mirror_inputs(job: Job) -> Result:
    """Bring to the mirror what the inputs need."""
    inputs = _read(job)
    targets = {asked.label: _targets(job, asked) for asked in inputs}
    _say_targets(job, targets)
    plan = Plan()
    async with (
        wheelgate(_streaming(job.config)) as gate,
        shelf_at(job.to, job.config, gate.keyring) as shelf,
        _spool(job, shelf) as spool,
    ):
        manifest, etag = await read_manifest(shelf, job.to.name)
        with copying() as bar:
            origin = IndexOrigin(gate.delivery, plan.files)
            copier = _copier(job, shelf, spool, origin, manifest, bar)
            try:
                await _plan(job, gate, plan, copier, inputs, targets, bar.step)
                items = plan.items()
                for note in plan.notes:
                    _say(note)
                if job.dry_run:
                    return await _dry(job, copier, items, plan.notes)
                asked = {label: Asked([str(one) for one in which], SystemClock().now()) for label, which in targets.items()}
                outcome = await _copied(copier, items, bar, shelf, manifest, etag, asked)
            finally:
                copier.close()
    return _told(job, outcome, len(items), plan.notes)


async def copy_onward(job: Job, origin: Place) -> Result:
    """Bring to the mirror what another one holds."""
    must_exist(origin, "--from")
    async with (
        keyring_alone(job.config) as keyring,
        shelf_at(origin, job.config, keyring) as come_from,
        shelf_at(job.to, job.config, keyring) as shelf,
    ):
        items, brought = await items_of(come_from, origin.name)
        manifest, etag = await read_manifest(shelf, job.to.name)
        async with _spool(job, shelf) as spool:
            with copying() as bar:
                copier = _copier(job, shelf, spool, MirrorOrigin(come_from), manifest, bar)
                if job.dry_run:
                    return await _dry(job, copier, items, [])
                outcome = await _copied(copier, items, bar, shelf, manifest, etag, brought.inputs)
    return _told(job, outcome, len(items), [])


async def verify_inputs(job: Job) -> Result:
    """Prove that the mirror satisfies the inputs: what the manifest says is there and whole, and the inputs resolve from it."""
    must_exist(job.to, "--to")
    inputs = _read(job)
    async with keyring_alone(job.config) as keyring, shelf_at(job.to, job.config, keyring) as shelf:
        manifest, _ = await read_manifest(shelf, job.to.name)
        targets = {asked.label: _targets(job, asked, manifest) for asked in inputs}
        _say_targets(job, targets)
        entries = _entries_for(manifest, targets)
        with copying() as bar:
            bar.begin(len(entries), sum(entry.size for entry in entries))
            problems = await damages(shelf, entries, jobs=job.jobs, on_bytes=bar.bytes)
            plan = Plan()
            if not problems:
                problems = await _resolved_from_mirror(job, plan, inputs, targets, bar.step)
                rest = [entry for path, entry in manifest.by_path().items() if path in plan.files and entry not in entries]
                problems += await damages(shelf, rest, jobs=job.jobs)
                problems += [f"{path} is not in the manifest" for path in sorted(plan.files.keys() - manifest.by_path().keys())]
                entries += rest
    size = sum(entry.size for entry in entries)
    many = _many(len(entries), "file")
    sentence = (
        f"{job.to.name} lacks what was asked for: {_many(len(problems), 'problem')}; mirror again without --verify to mend it"
        if problems
        else f"{job.to.name} satisfies {_listed(targets)}: {many} ({_size(size)}) read and right"
    )
    return Result(sentence=sentence, files=len(entries), bytes=size, problems=problems, notes=plan.notes)


async def _resolved_from_mirror(
    job: Job, plan: Plan, inputs: Sequence[Input], targets: Mapping[str, Sequence[Target]], step: Callable[[str], None]
) -> list[str]:
    """What is wrong when the mirror is the only source there is."""
    problems = []
    with tempfile.TemporaryDirectory(prefix="wheelgate-") as scratch:
        alone = job.config.model_copy(
            update={
                "source": [job.to.as_source()],
                "policy": Policy(),
                "store": Store(url=f"file:{scratch}/store"),
                "data": Path(scratch),
            }
        )
        async with wheelgate(alone) as gate:
            origin = IndexOrigin(gate.delivery, plan.files)
            async with shelf_at(job.to, job.config, gate.keyring) as shelf:
                manifest, _ = await read_manifest(shelf, job.to.name)
                copier = _copier(job, shelf, gate.spool, origin, manifest, Bar())
                try:
                    async with _planner(job, gate, plan, copier, step) as planner:
                        for asked in inputs:
                            problems += await _problems_of(planner, asked, targets[asked.label])
                finally:
                    copier.close()
    return problems


async def _problems_of(planner: Planner, asked: Input, targets: Sequence[Target]) -> list[str]:
    """For each target by itself: what one lacks says nothing about the next."""
    problems = []
    for one in targets:
        try:
            await planner.add(asked, [one], may_be_empty=len(targets) > 1)
        except Unresolvable as error:
            problems += str(error).splitlines()
    return problems


def _entries_for(manifest: Manifest, targets: Mapping[str, Sequence[Target]]) -> list[Entry]:
    """The files that the manifest says these inputs need on these targets; of an input that it does not know, all."""
    if not targets.keys() <= manifest.inputs.keys():
        return list(manifest.files)
    names = {label: {str(one) for one in which} for label, which in targets.items()}
    return [
        entry
        for entry in manifest.files
        if any(names[label] & set(needed) for label, needed in entry.needed_by.items() if label in names)
    ]


async def _plan(
    job: Job,
    gate: Wheelgate,
    plan: Plan,
    copier: Copier,
    inputs: Sequence[Input],
    targets: Mapping[str, Sequence[Target]],
    step: Callable[[str], None],
) -> None:
    async with _planner(job, gate, plan, copier, step) as planner:
        for asked in inputs:
            await planner.add(asked, targets[asked.label])


@asynccontextmanager
async def _planner(job: Job, gate: Wheelgate, plan: Plan, copier: Copier, step: Callable[[str], None]) -> AsyncIterator[Planner]:
    """A planner with a server of our own for uv, and nothing of this machine's settings."""
    from proxy.cli.serving import answering_ourselves

    variables = {name: job.environment[name] for name in _KEPT_VARIABLES if name in job.environment}
    with tempfile.TemporaryDirectory(prefix="wheelgate-uv-") as folder:
        async with answering_ourselves(gate) as url:
            resolver = Resolver(url, Path(folder), variables, python=sys.executable)
            yield Planner(plan=plan, index=gate.index, resolver=resolver, peek=copier.peek, all_files=job.all_files, on_step=step)


async def _copied(
    copier: Copier,
    items: Sequence[Item],
    bar: Bar,
    shelf: Shelf,
    manifest: Manifest,
    etag: str | None,
    asked: Mapping[str, Asked],
) -> Outcome:
    bar.begin(len(items), sum(item.size or 0 for item in items))
    outcome = await copier.copy(items)
    if not outcome.problems:  # else it would say that inputs are served which are not
        await write_manifest(shelf, manifest.with_(outcome.entries, asked), etag)
    return outcome


async def _dry(job: Job, copier: Copier, items: Sequence[Item], notes: list[str]) -> Result:
    missing = [item for item in items if await copier.kept(item, look_only=True) is None]
    size, new = sum(item.size or 0 for item in items), sum(item.size or 0 for item in missing)
    unknown = sum(item.size is None for item in missing)
    more = f", and {_many(unknown, 'file')} of unknown size" if unknown else ""
    sentence = (
        f"{_many(len(items), 'file')} ({_size(size)}) needed; {len(missing)} to be copied ({_size(new)}{more}) to {job.to.name}"
    )
    return Result(sentence=sentence, files=len(items), bytes=size, new=len(missing), notes=notes)


def _told(job: Job, outcome: Outcome, needed: int, notes: list[str]) -> Result:
    there = len(outcome.entries)
    size = sum(entry.size for entry in outcome.entries)
    if outcome.problems:
        sentence = f"{there} of {_many(needed, 'file')} are in {job.to.name}; run it again to complete it"
    else:
        sentence = (
            f"{_many(there, 'file')} ({_size(size)}) in {job.to.name}: {outcome.fetched - len(outcome.repaired)} new "
            f"({_size(outcome.fetched_bytes)} copied), {len(outcome.repaired)} repaired, {there - outcome.fetched} were there"
        )
    return Result(
        sentence=sentence,
        files=there,
        bytes=size,
        new=outcome.fetched,
        repaired=outcome.repaired,
        problems=outcome.problems,
        notes=notes,
    )


def _copier(job: Job, shelf: Shelf, spool: Spool, origin: Origin, manifest: Manifest, bar: Bar) -> Copier:
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


def _read(job: Job) -> list[Input]:
    inputs = [read_input(path, job.environment) for path in job.inputs]
    return [*inputs, *([read_projects(job.projects, job.environment)] if job.projects else [])]


def _targets(job: Job, asked: Input, manifest: Manifest | None = None) -> list[Target]:
    """Those that were named; else those it was mirrored for; else the Python that the input is for, on Azure's usual platform."""
    known = manifest.inputs.get(asked.label) if manifest is not None else None
    if known is not None and not job.pythons and not job.platforms:
        return [target(*match.groups()) for match in map(_TARGET.fullmatch, known.targets) if match]
    pythons = job.pythons or (asked.python or this_python(),)
    platforms = job.platforms or (_DEFAULT_PLATFORM,)
    return sorted({target(python, platform) for python in pythons for platform in platforms})


def _say_targets(job: Job, targets: Mapping[str, Sequence[Target]]) -> None:
    hint = "" if job.pythons and job.platforms else " (name others by --python and --platform)"
    alike: dict[str, list[str]] = {}
    for label, which in targets.items():
        alike.setdefault(", ".join(map(str, which)), []).append(label)
    for names, labels in alike.items():
        _say(f"{_listed(labels)}: for {names}{hint}")


def _streaming(config: Config) -> Config:
    """The same sources; what passes through to the mirror is not kept here as well."""
    sources = [
        source.model_copy(update={"delivery": "stream"}) if source.type in ("index", "devops", "github") else source
        for source in config.source
    ]
    return config.model_copy(update={"source": sources})


@asynccontextmanager
async def _spool(job: Job, shelf: Shelf) -> AsyncIterator[Spool]:
    """Where bodies wait. Who only looks writes nothing where the mirror is."""
    if not job.dry_run:
        async with spool_for(shelf, job.config) as spool:
            yield spool
        return
    with tempfile.TemporaryDirectory(prefix="wheelgate-") as folder:
        spool = Spool(Path(folder))
        await asyncio.to_thread(spool.prepare)
        try:
            yield spool
        finally:
            spool.close()


def _say(sentence: str) -> None:
    print(f"wheelgate: {sentence}", file=sys.stderr)


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _listed(labels: Iterable[str]) -> str:
    return ", ".join(labels)


def _size(size: int) -> str:
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"
