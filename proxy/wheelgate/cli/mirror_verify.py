"""Verification of a mirror (`mirror --verify`): read every file again, and resolve the inputs from the mirror alone."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from wheelgate.cli.destinations import open_mirror_store, require_folder
from wheelgate.cli.mirror_job import (
    MirrorJob,
    MirrorResult,
    build_copier,
    find_targets,
    format_count,
    format_size,
    open_planner,
    read_inputs,
)
from wheelgate.cli.progress import CopyProgress, show_copying
from wheelgate.config import PolicySettings, StoreSettings
from wheelgate.core.errors import Unresolvable
from wheelgate.mirror.file_origins import read_from_index
from wheelgate.mirror.inputs_model import MirrorInput
from wheelgate.mirror.manifest import Manifest, ManifestEntry, find_damage, read_manifest
from wheelgate.mirror.planning import Plan
from wheelgate.mirror.targets import Target
from wheelgate.wiring import open_keyring, open_services


async def verify_inputs(job: MirrorJob) -> MirrorResult:
    """Prove that the mirror satisfies the inputs: its files are there and whole, and the inputs resolve from it."""
    require_folder(job.to, "--to")
    inputs = read_inputs(job)
    plan = Plan()
    async with open_keyring(job.config) as keyring, open_mirror_store(job.to, job.config, keyring) as store:
        manifest, _ = await read_manifest(store, job.to.name)
        targets = find_targets(job, inputs, manifest)
        entries = _find_entries(manifest, targets)
        with show_copying() as progress:
            progress.begin(len(entries), sum(entry.size for entry in entries))
            problems = await find_damage(store, entries, jobs=job.jobs, on_bytes=progress.bytes)
            if not problems:
                problems = await _resolve_from_mirror(job, plan, inputs, targets, progress.step)
                known = manifest.by_path()
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
    many = format_count(len(entries), "file")
    sentence = (
        f"{job.to.name} lacks what was asked for: {format_count(len(problems), 'problem')}; "
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
            with closing(await build_copier(job, store, services.spool, origin, CopyProgress())) as copier:
                async with open_planner(job, services, plan, copier, step) as planner:
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
