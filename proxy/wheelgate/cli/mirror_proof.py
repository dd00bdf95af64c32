"""What `mirror --verify` does: read every file again, and resolve the inputs with the mirror as the only source there is."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from wheelgate.cli.destinations import must_exist, shelf_at
from wheelgate.cli.live import Bar, copying
from wheelgate.cli.mirror_job import (
    MirrorJob,
    MirrorResult,
    format_count,
    inputs_of,
    join_labels,
    new_copier,
    new_planner,
    readable,
    say_targets,
    targets_for,
)
from wheelgate.config import PolicySettings, StoreSettings
from wheelgate.core.errors import Unresolvable
from wheelgate.mirror.inputs_model import Input
from wheelgate.mirror.manifest import Manifest, ManifestEntry, read_manifest
from wheelgate.mirror.origins import IndexOrigin
from wheelgate.mirror.planning import Plan, Planner
from wheelgate.mirror.targets import Target
from wheelgate.mirror.verifying import damages
from wheelgate.wiring import open_keyring, open_services


async def verify_inputs(job: MirrorJob) -> MirrorResult:
    """Prove that the mirror satisfies the inputs: what the manifest says is there and whole, and the inputs resolve from it."""
    must_exist(job.to, "--to")
    inputs = inputs_of(job)
    async with open_keyring(job.config) as keyring, shelf_at(job.to, job.config, keyring) as shelf:
        manifest, _ = await read_manifest(shelf, job.to.name)
        targets = {asked.label: targets_for(job, asked, manifest) for asked in inputs}
        say_targets(job, targets)
        entries = _entries_for(manifest, targets)
        with copying() as bar:
            bar.begin(len(entries), sum(entry.size for entry in entries))
            problems = await damages(shelf, entries, jobs=job.jobs, on_bytes=bar.bytes)
            plan = Plan()
            if not problems:
                problems = await _resolved_from_mirror(job, plan, inputs, targets, bar.step)
                rest = [entry for path, entry in manifest.by_path().items() if path in plan.files and entry not in entries]
                problems += await damages(shelf, rest, jobs=job.jobs)
                problems += _other_bytes(plan, manifest)
                problems += [f"{path} is not in the manifest" for path in sorted(plan.files.keys() - manifest.by_path().keys())]
                entries += rest
    size = sum(entry.size for entry in entries)
    many = format_count(len(entries), "file")
    sentence = (
        f"{job.to.name} lacks what was asked for: {format_count(len(problems), 'problem')}; "
        "mirror again without --verify to mend it"
        if problems
        else f"{job.to.name} satisfies {join_labels(targets)}: {many} ({readable(size)}) read and right"
    )
    return MirrorResult(sentence=sentence, files=len(entries), bytes=size, problems=problems, notes=plan.notes)


def _other_bytes(plan: Plan, manifest: Manifest) -> list[str]:
    """Files that are as they were when they were mirrored, and not those that the input allows now."""
    known = manifest.by_path()
    found = {path: plan.item(path).problem_with({"sha256": known[path].sha256}) for path in plan.files if path in known}
    return [f"{path} {problem}" for path, problem in sorted(found.items()) if problem is not None]


async def _resolved_from_mirror(
    job: MirrorJob, plan: Plan, inputs: Sequence[Input], targets: Mapping[str, Sequence[Target]], step: Callable[[str], None]
) -> list[str]:
    """What is wrong when the mirror is the only source there is."""
    problems = []
    with tempfile.TemporaryDirectory(prefix="wheelgate-") as scratch:
        alone = job.config.model_copy(
            update={
                "source": [job.to.as_source()],
                "policy": PolicySettings(),
                "store": StoreSettings(url=f"file:{scratch}/store"),
                "data": Path(scratch),
            }
        )
        async with open_services(alone) as gate:
            origin = IndexOrigin(gate.delivery, plan.files)
            async with shelf_at(job.to, job.config, gate.keyring) as shelf:
                manifest, _ = await read_manifest(shelf, job.to.name)
                copier = new_copier(job, shelf, gate.spool, origin, manifest, Bar())
                try:
                    async with new_planner(job, gate, plan, copier, step) as planner:
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


def _entries_for(manifest: Manifest, targets: Mapping[str, Sequence[Target]]) -> list[ManifestEntry]:
    """The files that the manifest says these inputs need on these targets; of an input that it does not know, all."""
    if not targets.keys() <= manifest.inputs.keys():
        return list(manifest.files)
    names = {label: {str(one) for one in which} for label, which in targets.items()}
    return [
        entry
        for entry in manifest.files
        if any(names[label] & set(needed) for label, needed in entry.needed_by.items() if label in names)
    ]
