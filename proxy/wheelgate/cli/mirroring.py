"""What `mirror` does to copy: plan with a server of our own, bring the files, and write down what is there."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from wheelgate.cli.destinations import MirrorPlace, must_exist, shelf_at, spool_for
from wheelgate.cli.live import Bar, copying
from wheelgate.cli.mirror_job import (
    MirrorJob,
    MirrorResult,
    format_count,
    inputs_of,
    new_copier,
    new_planner,
    readable,
    say,
    say_targets,
    targets_for,
)
from wheelgate.config import Config
from wheelgate.mirror.copying import Copier, CopyResult
from wheelgate.mirror.from_mirror import items_of
from wheelgate.mirror.inputs_model import Input
from wheelgate.mirror.items import Item
from wheelgate.mirror.manifest import ManifestInput, add_to_manifest, read_manifest
from wheelgate.mirror.mirror_store import MirrorStore
from wheelgate.mirror.origins import IndexOrigin, MirrorOrigin
from wheelgate.mirror.planning import Plan
from wheelgate.mirror.targets import Target
from wheelgate.storage.spool import Spool
from wheelgate.wiring import Services, SystemClock, open_keyring, open_services


async def mirror_inputs(job: MirrorJob) -> MirrorResult:
    """Bring to the mirror what the inputs need."""
    inputs = inputs_of(job)
    targets = {asked.label: targets_for(job, asked) for asked in inputs}
    say_targets(job, targets)
    plan = Plan()
    async with (
        open_services(_streaming(job.config)) as gate,
        shelf_at(job.to, job.config, gate.keyring) as shelf,
        _spool(job, shelf) as spool,
    ):
        manifest, _ = await read_manifest(shelf, job.to.name)
        with copying() as bar:
            origin = IndexOrigin(gate.delivery, plan.files)
            copier = new_copier(job, shelf, spool, origin, manifest, bar)
            try:
                await _plan(job, gate, plan, copier, inputs, targets, bar.step)
                items = plan.items()
                for note in plan.notes:
                    say(note)
                if job.dry_run:
                    return await _dry(job, copier, items, plan.notes)
                asked = {
                    label: ManifestInput([str(one) for one in which], SystemClock().now()) for label, which in targets.items()
                }
                outcome = await _copied(job, copier, items, bar, shelf, asked)
            finally:
                copier.close()
    return _told(job, outcome, len(items), plan.notes)


async def copy_onward(job: MirrorJob, origin: MirrorPlace) -> MirrorResult:
    """Bring to the mirror what another one holds."""
    must_exist(origin, "--from")
    async with (
        open_keyring(job.config) as keyring,
        shelf_at(origin, job.config, keyring) as come_from,
        shelf_at(job.to, job.config, keyring) as shelf,
    ):
        items, brought = await items_of(come_from, origin.name)
        manifest, _ = await read_manifest(shelf, job.to.name)
        async with _spool(job, shelf) as spool:
            with copying() as bar:
                copier = new_copier(job, shelf, spool, MirrorOrigin(come_from), manifest, bar)
                if job.dry_run:
                    return await _dry(job, copier, items, [])
                outcome = await _copied(job, copier, items, bar, shelf, brought.inputs)
    return _told(job, outcome, len(items), [])


async def _plan(
    job: MirrorJob,
    gate: Services,
    plan: Plan,
    copier: Copier,
    inputs: Sequence[Input],
    targets: Mapping[str, Sequence[Target]],
    step: Callable[[str], None],
) -> None:
    async with new_planner(job, gate, plan, copier, step) as planner:
        for asked in inputs:
            await planner.add(asked, targets[asked.label])


async def _copied(
    job: MirrorJob, copier: Copier, items: Sequence[Item], bar: Bar, shelf: MirrorStore, asked: Mapping[str, ManifestInput]
) -> CopyResult:
    bar.begin(len(items), sum(item.size or 0 for item in items))
    outcome = await copier.copy(items)
    if not outcome.problems:  # else it would say that inputs are served which are not
        await add_to_manifest(shelf, job.to.name, outcome.entries, asked)
    return outcome


async def _dry(job: MirrorJob, copier: Copier, items: Sequence[Item], notes: list[str]) -> MirrorResult:
    missing = [item for item in items if await copier.find_present(item, look_only=True) is None]
    size, new = sum(item.size or 0 for item in items), sum(item.size or 0 for item in missing)
    unknown = sum(item.size is None for item in missing)
    more = f", and {format_count(unknown, 'file')} of unknown size" if unknown else ""
    needed = f"{format_count(len(items), 'file')} ({readable(size)}) needed"
    sentence = f"{needed}; {len(missing)} to be copied ({readable(new)}{more}) to {job.to.name}"
    return MirrorResult(sentence=sentence, files=len(items), bytes=size, new=len(missing), notes=notes)


def _told(job: MirrorJob, outcome: CopyResult, needed: int, notes: list[str]) -> MirrorResult:
    there = len(outcome.entries)
    size = sum(entry.size for entry in outcome.entries)
    if outcome.problems:
        sentence = f"{there} of {format_count(needed, 'file')} are in {job.to.name}; run it again to complete it"
    else:
        sentence = (
            f"{format_count(there, 'file')} ({readable(size)}) in {job.to.name}: {outcome.fetched - len(outcome.repaired)} new "
            f"({readable(outcome.fetched_bytes)} copied), {len(outcome.repaired)} repaired, {there - outcome.fetched} were there"
        )
    return MirrorResult(
        sentence=sentence,
        files=there,
        bytes=size,
        new=outcome.fetched,
        repaired=outcome.repaired,
        problems=outcome.problems,
        notes=notes,
    )


def _streaming(config: Config) -> Config:
    """The same sources; what passes through to the mirror is not kept here as well."""
    sources = [
        source.model_copy(update={"delivery": "stream"}) if source.type in ("index", "devops", "github") else source
        for source in config.source
    ]
    return config.model_copy(update={"source": sources})


@asynccontextmanager
async def _spool(job: MirrorJob, shelf: MirrorStore) -> AsyncIterator[Spool]:
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
