"""Copying of `mirror`: plan with a server of our own, bring the files, and write the manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wheelgate.cli.destinations import MirrorLocation, open_mirror_store, open_spool, require_folder
from wheelgate.cli.mirror_job import (
    MirrorJob,
    MirrorResult,
    find_targets,
    format_count,
    format_size,
    open_copier,
    open_planner,
    print_note,
    read_inputs,
)
from wheelgate.cli.progress import CopyProgress, show_copying
from wheelgate.config import Config
from wheelgate.core.protocols import BodyStore
from wheelgate.mirror.copying import Copier, CopyResult
from wheelgate.mirror.file_origins import MirrorFile, list_mirror_files, read_from_index, read_from_mirror
from wheelgate.mirror.manifest import ManifestInput, add_to_manifest, read_manifest
from wheelgate.mirror.planning import Plan
from wheelgate.wiring import SystemClock, open_keyring, open_services


async def mirror_inputs(job: MirrorJob) -> MirrorResult:
    """Bring to the mirror what the inputs need."""
    inputs = read_inputs(job)
    targets = find_targets(job, inputs)
    plan = Plan()
    async with (
        open_services(_without_cache(job.config)) as services,
        open_mirror_store(job.to, job.config, services.keyring) as store,
        open_spool(store, job.config, dry_run=job.dry_run) as spool,
    ):
        manifest, _ = await read_manifest(store, job.to.name)
        with show_copying() as progress:
            origin = read_from_index(services.delivery, plan.files)
            with open_copier(job, store, spool, origin, manifest, progress) as copier:
                async with open_planner(job, services, plan, copier, progress.step) as planner:
                    for asked in inputs:
                        await planner.add(asked, targets[asked.label])
                for note in plan.notes:
                    print_note(note)
                now = SystemClock().now()
                mirrored = {label: ManifestInput([str(one) for one in which], now) for label, which in targets.items()}
                return await _copy(job, copier, plan.items(), progress, store, mirrored, plan.notes)


async def copy_mirror(job: MirrorJob, origin: MirrorLocation) -> MirrorResult:
    """Bring to the mirror what another one holds."""
    require_folder(origin, "--from")
    async with (
        open_keyring(job.config) as keyring,
        open_mirror_store(origin, job.config, keyring) as other,
        open_mirror_store(job.to, job.config, keyring) as store,
    ):
        files, brought = await list_mirror_files(other, origin.name)
        manifest, _ = await read_manifest(store, job.to.name)
        async with open_spool(store, job.config, dry_run=job.dry_run) as spool:
            with (
                show_copying() as progress,
                open_copier(job, store, spool, read_from_mirror(other), manifest, progress) as copier,
            ):
                return await _copy(job, copier, files, progress, store, brought.inputs, [])


async def _copy(
    job: MirrorJob,
    copier: Copier,
    files: Sequence[MirrorFile],
    progress: CopyProgress,
    store: BodyStore,
    inputs: Mapping[str, ManifestInput],
    notes: list[str],
) -> MirrorResult:
    if job.dry_run:
        return await _count_missing(job, copier, files, notes)
    progress.begin(len(files), sum(file.size or 0 for file in files))
    result = await copier.copy(files)
    if not result.problems:  # else it would say that inputs are served which are not
        await add_to_manifest(store, job.to.name, result.entries, inputs)
    return _summarise(job, result, len(files), notes)


async def _count_missing(job: MirrorJob, copier: Copier, files: Sequence[MirrorFile], notes: list[str]) -> MirrorResult:
    missing = [file for file in files if await copier.find_present(file, look_only=True) is None]
    size, new = sum(file.size or 0 for file in files), sum(file.size or 0 for file in missing)
    unknown = sum(file.size is None for file in missing)
    more = f", and {format_count(unknown, 'file')} of unknown size" if unknown else ""
    needed = f"{format_count(len(files), 'file')} ({format_size(size)}) needed"
    sentence = f"{needed}; {len(missing)} to be copied ({format_size(new)}{more}) to {job.to.name}"
    return MirrorResult(sentence=sentence, files=len(files), bytes=size, new=len(missing), notes=notes)


def _summarise(job: MirrorJob, result: CopyResult, needed: int, notes: list[str]) -> MirrorResult:
    there = len(result.entries)
    size = sum(entry.size for entry in result.entries)
    sentence = (
        f"{format_count(there, 'file')} ({format_size(size)}) in {job.to.name}: {result.fetched - len(result.repaired)} new "
        f"({format_size(result.fetched_bytes)} copied), {len(result.repaired)} repaired, {there - result.fetched} already there"
    )
    if result.problems:
        sentence = f"{there} of {format_count(needed, 'file')} are in {job.to.name}; run the command again to complete it"
    return MirrorResult(
        sentence=sentence,
        files=there,
        bytes=size,
        new=result.fetched,
        repaired=result.repaired,
        problems=result.problems,
        notes=notes,
    )


def _without_cache(config: Config) -> Config:
    """The same sources; what passes through to the mirror is not kept here as well."""
    sources = [
        source.model_copy(update={"delivery": "stream"}) if source.type in ("index", "devops", "github") else source
        for source in config.source
    ]
    return config.model_copy(update={"source": sources})
