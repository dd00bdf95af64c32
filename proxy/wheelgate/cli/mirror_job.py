"""Jobs of `mirror`: plan with a server of our own, bring the files, and write the manifest; or verify what is there."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from itertools import chain
from pathlib import Path

import msgspec

from wheelgate.cli import make_printable
from wheelgate.cli.destinations import MirrorLocation, open_mirror_store, open_spool, require_folder
from wheelgate.cli.progress import CopyProgress, format_size, show_copying
from wheelgate.config import Config
from wheelgate.config.policy import PolicySettings
from wheelgate.config.settings import StoreSettings
from wheelgate.core.errors import FileWithheld, Unresolvable
from wheelgate.core.protocols import BodyStore, Pages
from wheelgate.mirror.allowed_pythons import choose_pythons
from wheelgate.mirror.copying import Copier
from wheelgate.mirror.fetching import Fetcher
from wheelgate.mirror.file_origins import FileOrigin, MirrorFile, list_mirror_files, read_from_index, read_from_mirror
from wheelgate.mirror.input_labels import choose_labels, find_place, keep_apart, label_inputs, recognise
from wheelgate.mirror.inputs import read_input, read_projects
from wheelgate.mirror.inputs_model import MirrorInput
from wheelgate.mirror.manifest import Manifest, ManifestEntry, ManifestInput, Sighting
from wheelgate.mirror.manifest_file import ManifestFile, read_manifest
from wheelgate.mirror.planning import Plan, Planner
from wheelgate.mirror.provenance import find_by_index, find_in_mirror
from wheelgate.mirror.resolving import Resolver
from wheelgate.mirror.targets import Target, parse_target, require_possible, this_python
from wheelgate.mirror.told_origins import ToldOrigins
from wheelgate.mirror.verifying import find_damage
from wheelgate.storage.spool import Spool
from wheelgate.wiring import Services, SystemClock, open_keyring, open_services

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
    refused: list[str] = []
    problems: list[str] = []
    notes: list[str] = []


async def mirror_inputs(job: MirrorJob) -> MirrorResult:
    """Bring to the mirror what the inputs need."""
    inputs = _read_inputs(job)
    targets = _find_targets(job, inputs)
    plan = Plan()
    async with (
        open_services(_without_cache(job.config)) as services,
        open_mirror_store(job.to, job.config, services.keyring) as store,
        open_spool(store, job.config, dry_run=job.dry_run) as spool,
    ):
        labels = keep_apart(inputs, (await read_manifest(store, job.to.name))[0].places())
        targets = {labels[label]: which for label, which in targets.items()}
        for former, label in labels.items():
            if label != former:
                _print_note(f"{former} is kept apart from another file of that name: here it is {label}")
        with show_copying() as progress:
            origin, index = read_from_index(services.delivery), ToldOrigins(services.index)
            with closing(await _build_copier(job, store, spool, origin, progress)) as copier:
                copier.find_provenance = find_by_index(services.delivery, services.clients)
                async with _open_planner(job, services, index, plan, copier, progress.step) as planner:
                    for asked in inputs:
                        await planner.add(asked, targets[asked.label])
                for note in plan.notes:
                    _print_note(note)
                now = SystemClock().now()
                places = {asked.label: find_place(asked.path) for asked in inputs if asked.path is not None}
                mirrored = {
                    label: ManifestInput([str(one) for one in which], now, places.get(label)) for label, which in targets.items()
                }
                items = [plan.files[path] for path in sorted(plan.files)]
                for item in items:
                    item.origin = index.find(item.file)
                return msgspec.structs.replace(await _copy(job, copier, items, progress, mirrored), notes=plan.notes)


async def copy_mirror(job: MirrorJob, origin: MirrorLocation) -> MirrorResult:
    """Bring to the mirror what another one holds."""
    require_folder(origin, "--from")
    async with (
        open_keyring(job.config) as keyring,
        open_mirror_store(origin, job.config, keyring) as other,
        open_mirror_store(job.to, job.config, keyring) as store,
    ):
        items, brought = await list_mirror_files(other, origin.name)
        labels = choose_labels(brought.places(), (await read_manifest(store, job.to.name))[0].places())
        inputs = {labels[label]: one for label, one in brought.inputs.items()}
        for item in items:
            item.needed_by = {labels.get(label, label): targets for label, targets in item.needed_by.items()}
        async with open_spool(store, job.config, dry_run=job.dry_run) as spool:
            with show_copying() as progress:
                copier = await _build_copier(job, store, spool, read_from_mirror(other), progress)
                copier.find_provenance = find_in_mirror(other)
                with closing(copier):
                    return await _copy(job, copier, items, progress, inputs, brought.seen)


async def _copy(
    job: MirrorJob,
    copier: Copier,
    items: Sequence[MirrorFile],
    progress: CopyProgress,
    inputs: Mapping[str, ManifestInput],
    seen: Sequence[Sighting] | None = None,
) -> MirrorResult:
    """Copy files, and write down who needs them. ``seen``: what a bundle has seen, which says all of its inputs."""
    size = sum(item.file.size or 0 for item in items)
    if job.dry_run:
        missing, refused = [], []
        for item in items:
            try:
                if await copier.find_present(item, look_only=True) is None:
                    missing.append(item.file.size)
            except FileWithheld as error:
                refused.append((item.path, str(error)))
        more = f", and {_format_count(missing.count(None), 'file')} of unknown size" if None in missing else ""
        new = format_size(sum(size or 0 for size in missing))
        needed = f"{_format_count(len(items), 'file')} ({format_size(size)}) needed"
        sentence = f"{needed}; {len(missing)} to be copied ({new}{more}) to {job.to.name}"
        return MirrorResult(
            sentence=sentence,
            files=len(items),
            bytes=size,
            new=len(missing),
            refused=[path for path, _ in refused],
            problems=[problem for _, problem in refused],
        )
    progress.begin(len(items), size)
    result = await copier.copy(items, seen or ())
    complete = not result.problems  # else it would say that inputs are served which are not
    for path, sentence in (await copier.manifest.add(result.entries, inputs, complete=complete, whole=seen is not None)).items():
        result.refuse(path, sentence)
    for note in result.notes:
        _print_note(note)
    there, size = len(result.entries), sum(entry.size for entry in result.entries)
    sentence = (
        f"{_format_count(there, 'file')} ({format_size(size)}) in {job.to.name}: {result.fetched - len(result.repaired)} new "
        f"({format_size(result.fetched_bytes)} copied), {len(result.repaired)} repaired, {there - result.fetched} already there"
    )
    if result.problems:
        sentence = f"{there} of {_format_count(len(items), 'file')} are in {job.to.name}; run the command again to complete it"
    return MirrorResult(
        sentence=sentence,
        files=there,
        bytes=size,
        new=result.fetched,
        repaired=result.repaired,
        refused=result.refused,
        problems=result.problems,
    )


async def verify_inputs(job: MirrorJob) -> MirrorResult:
    """Prove that the mirror satisfies the inputs: its files are there and whole, and the inputs resolve from it."""
    require_folder(job.to, "--to")
    inputs = _read_inputs(job)
    plan = Plan()
    async with open_keyring(job.config) as keyring, open_mirror_store(job.to, job.config, keyring) as store:
        manifest, _ = await read_manifest(store, job.to.name)
        recognise(inputs, manifest.places())
        targets = _find_targets(job, inputs, manifest)
        entries = _find_entries(manifest, targets)
        with show_copying() as progress:
            progress.begin(len(entries), sum(entry.size for entry in entries))
            progress.activity.step("reading every file again")
            problems = await find_damage(store, entries, jobs=job.jobs, on_bytes=progress.bytes, on_done=progress.done)
            if not problems:
                problems = await _resolve_from_mirror(job, plan, inputs, targets, progress.step)
                known = manifest.by_path()
                progress.step("reading what the inputs need now")
                rest = [entry for path, entry in known.items() if path in plan.files and entry not in entries]
                problems += await find_damage(store, rest, jobs=job.jobs)
                # Files that are as they were when they were mirrored, and not those that the input allows now.
                allowed = {
                    path: plan.files[path].problem_with({"sha256": known[path].sha256})
                    for path in plan.files.keys() & known.keys()
                }
                problems += [f"{path} {problem}" for path, problem in sorted(allowed.items()) if problem is not None]
                problems += [f"{path} is not in the manifest" for path in sorted(plan.files.keys() - known.keys())]
                entries += rest
    size = sum(entry.size for entry in entries)
    many = _format_count(len(entries), "file")
    sentence = (
        f"{job.to.name} lacks what was asked for: {_format_count(len(problems), 'problem')}; "
        "mirror again without --verify to fix it"
        if problems
        else f"{job.to.name} satisfies {', '.join(targets)}: {many} ({format_size(size)}) read and verified"
    )
    return MirrorResult(sentence=sentence, files=len(entries), bytes=size, problems=problems, notes=plan.notes)


async def _resolve_from_mirror(
    job: MirrorJob,
    plan: Plan,
    inputs: Sequence[MirrorInput],
    targets: Mapping[str, Sequence[Target]],
    step: Callable[[str], None],
) -> list[str]:
    """Resolve with the mirror as the only source, each target by itself: what one lacks says nothing about the next."""
    problems: list[str] = []
    with tempfile.TemporaryDirectory(prefix="wheelgate-") as scratch:
        alone = job.config.model_copy(
            update={
                "source": [job.to.as_source()],
                "policy": PolicySettings(),
                "store": StoreSettings(url=f"file:{scratch}/store"),
                "data": Path(scratch),
            }
        )
        async with open_services(alone) as services, open_mirror_store(job.to, job.config, services.keyring) as store:
            origin = read_from_index(services.delivery)
            with (
                show_copying(quiet=True) as progress,
                closing(await _build_copier(job, store, services.spool, origin, progress)) as copier,
            ):
                async with _open_planner(job, services, services.index, plan, copier, step) as planner:
                    for asked in inputs:
                        for one in targets[asked.label]:
                            try:
                                await planner.add(asked, [one], may_be_empty=len(targets[asked.label]) > 1)
                            except Unresolvable as error:
                                problems += str(error).splitlines()
    return problems


def _find_entries(manifest: Manifest, targets: Mapping[str, Sequence[Target]]) -> list[ManifestEntry]:
    """Find the files that the manifest says these inputs need on these targets; of an input that it does not know, all."""
    if not targets.keys() <= manifest.inputs.keys():
        return list(manifest.files)
    names = {label: {str(one) for one in which} for label, which in targets.items()}
    return [
        entry
        for entry in manifest.files
        if any(names[label] & set(needed) for label, needed in entry.needed_by.items() if label in names)
    ]


def _without_cache(config: Config) -> Config:
    """The same sources; what passes through to the mirror is not kept here as well."""
    sources = [source.model_copy(update={"delivery": "stream"}) if source.is_remote else source for source in config.source]
    # Without an address of its own a store offers no provenance of its uploads.
    server = config.server.model_copy(update={"public_url": config.server.public_url or "https://mirror.invalid"})
    return config.model_copy(update={"source": sources, "server": server})


def _read_inputs(job: MirrorJob) -> list[MirrorInput]:
    inputs = []
    for path in job.inputs:
        inputs.append(read_input(path, job.environment))
        inputs[-1].path = path
    return label_inputs([*inputs, *([read_projects(job.projects, job.environment)] if job.projects else [])])


def _find_targets(job: MirrorJob, inputs: Iterable[MirrorInput], manifest: Manifest | None = None) -> dict[str, Sequence[Target]]:
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
            pythons = choose_pythons(asked.label, asked.python, job.pythons, this_python())
            platforms = job.platforms or (_DEFAULT_PLATFORM,)
            found[asked.label] = sorted({parse_target(python, platform) for python in pythons for platform in platforms})
    for target in chain(*found.values()):
        require_possible(target, SystemClock().now().date())
    hint = "" if job.pythons and job.platforms else " (choose others with --python and --platform)"
    labels: dict[str, list[str]] = {}
    for label, targets in found.items():
        labels.setdefault(", ".join(map(str, targets)), []).append(label)
    for names, alike in labels.items():
        _print_note(f"{', '.join(alike)}: for {names}{hint}")
    return found


@asynccontextmanager
async def _open_planner(
    job: MirrorJob, services: Services, index: Pages, plan: Plan, copier: Copier, step: Callable[[str], None]
) -> AsyncIterator[Planner]:
    """Open a planner with a server of our own for uv, and nothing of this machine's settings."""
    from wheelgate.web.server import open_private_server

    variables = {name: job.environment[name] for name in _KEPT_VARIABLES if name in job.environment}
    with tempfile.TemporaryDirectory(prefix="wheelgate-uv-") as folder:
        async with open_private_server(services) as url:
            resolver = Resolver(url, Path(folder), variables, python=sys.executable, outputs=job.config.data / "builds")
            yield Planner(
                plan=plan, index=index, resolve=resolver.resolve, peek=copier.peek, all_files=job.all_files, on_step=step
            )


async def _build_copier(job: MirrorJob, store: BodyStore, spool: Spool, origin: FileOrigin, progress: CopyProgress) -> Copier:
    """Build what brings files to a mirror, where they may be already as the manifest says."""
    manifest = ManifestFile(store, job.to.name)
    await manifest.read()
    copier = Copier(
        store=store,
        fetcher=Fetcher(spool=spool, origin=origin, on_bytes=progress.bytes),
        clock=SystemClock(),
        manifest=manifest,
        jobs=job.jobs,
        on_bytes=progress.bytes,
        on_done=progress.done,
    )
    progress.activity.watch(copier.under_way)
    return copier


def _print_note(sentence: str) -> None:
    print(f"wheelgate: {make_printable(sentence)}", file=sys.stderr)


def _format_count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
