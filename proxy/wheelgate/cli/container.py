"""`wheelgate container`: what is done with a container that is a source."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from wheelgate.cli.options import config_options, json_option, load_settings
from wheelgate.cli.progress import CopyProgress, show_copying
from wheelgate.config import Config, SourceSettings
from wheelgate.config.overlaps import is_inside
from wheelgate.core.names import show_any
from wheelgate.mirror.reordering import Reordered, ReorderPlan, plan_reordering, reorder

if TYPE_CHECKING:
    from wheelgate.storage.azure import AzureStore

_MOST_LINES = 20


@click.group()
def container() -> None:
    """Reorder the containers that are sources."""


@container.command(name="reorder")
@config_options
@click.argument("source")
@click.option("--apply", "is_applied", is_flag=True, help="Copy. Without it, only what would be done is said.")
@click.option("--remove", is_flag=True, help="With --apply: delete each original once its copy is proven.")
@json_option
def reorder_container(config: Path | None, data: Path | None, source: str, is_applied: bool, remove: bool, as_json: bool) -> None:
    """Copy the wheels, sdists and eggs of SOURCE, a container in any layout, to <project>/<file>, for layout = "project".

    The storage account copies by itself, and nothing is overwritten. Broken off, it goes on where it was. Exit status 1 if
    something is left to be done by hand.

    In this order: `--apply`; then set `layout = "project"` and restart every server; then `--apply --remove`.
    """
    if remove and not is_applied:
        raise click.UsageError("--remove needs --apply")
    settings = load_settings(config, data)
    number, found = _find_source(settings, source)
    with show_copying() as progress:
        plan, done = asyncio.run(_reorder(settings, number, found, progress, is_applied=is_applied, remove=remove))
    if as_json:
        print(json.dumps(_describe_as_json(source, plan, done), indent=2))
    else:
        _describe(plan, done)
    sys.exit(1 if plan.conflicts or plan.undecided or (done is not None and done.failed) else 0)


def _find_source(config: Config, name: str) -> tuple[int, SourceSettings]:
    for number, source in enumerate(config.source):
        if source.name == name:
            if source.type != "blob":
                raise click.UsageError(f"source {name} is of type {source.type}: only a container (blob) can be reordered")
            _refuse_if_others_lie_inside(config, source)
            return number, source
    raise click.UsageError(f"there is no source {name}")


def _refuse_if_others_lie_inside(config: Config, source: SourceSettings) -> None:
    """Refuse to move the files of another source out of its folder."""
    place = config.find_source_place(source)
    for other in config.source:
        inner = config.find_source_place(other)
        if place is not None and inner is not None and is_inside(inner, place):
            raise click.UsageError(
                f"source {other.name} is a folder of {source.name}, and would lose its files: reorder {other.name} alone, or "
                "give it a container of its own"
            )


async def _reorder(
    config: Config, number: int, source: SourceSettings, progress: CopyProgress, *, is_applied: bool, remove: bool
) -> tuple[ReorderPlan, Reordered | None]:
    from wheelgate.storage.open_container import open_container  # slow to import, so only once it is needed
    from wheelgate.wiring import SystemClock, open_keyring

    async with (
        open_keyring(config) as keyring,
        open_container(
            source.url or "",
            config=config,
            keyring=keyring,
            clock=SystemClock(),
            key=f"source[{number}].account_key",
            name=source.name,
            whom=f"the container of source {source.name} at {source.url}",
            account_key=source.account_key,
        ) as store,
    ):
        progress.step(f"listing the container of source {source.name}")
        plan = await plan_reordering(store.list(""))
        return plan, await _apply(plan, store, progress, remove=remove) if is_applied else None


async def _apply(plan: ReorderPlan, store: AzureStore, progress: CopyProgress, *, remove: bool) -> Reordered:
    from wheelgate.storage.server_copy import ServerCopy

    progress.step("copying within the storage account")
    progress.begin(len(plan.moves), plan.size)
    shown_bytes = 0

    def show(done: Reordered) -> None:
        nonlocal shown_bytes
        progress.bytes(done.copied_bytes - shown_bytes)
        shown_bytes = done.copied_bytes
        progress.done(None)

    return await reorder(plan, ServerCopy(store), remove=remove, show=show)


def _describe_as_json(source: str, plan: ReorderPlan, done: Reordered | None) -> dict[str, object]:
    return {
        "source": source,
        "applied": done is not None,
        "to_copy": len(plan.moves),
        "to_copy_bytes": plan.size,
        "moves": [{"path": move.blob.path, "to": move.to} for move in plan.moves],
        "in_place": plan.in_place,
        "others": plan.others,
        "conflicts": [{"to": conflict.to, "paths": conflict.paths} for conflict in plan.conflicts],
        "undecided": [{"path": left.path, "why": left.why} for left in plan.undecided],
        **({} if done is None else msgspec.structs.asdict(done)),
    }


def _describe(plan: ReorderPlan, done: Reordered | None) -> None:
    if done is None:
        print(
            f"would copy {len(plan.moves):,} blobs of {plan.size:,} bytes within the storage account, where no copy is there yet"
        )
        for move in plan.moves[:_MOST_LINES]:
            print(f"  {move.blob.path} -> {move.to}")
        _print_more(len(plan.moves))
    else:
        print(f"copied {done.copied:,} blobs of {done.copied_bytes:,} bytes; {done.there_already:,} copies were there already")
        if done.removed:
            print(f"removed {done.removed:,} originals")
    print(f"{plan.in_place:,} are in place; {plan.others:,} are no distribution files of any project, and stay where they are")
    for conflict in plan.conflicts[:_MOST_LINES]:
        print(f"cannot be told apart, so left alone: {', '.join(conflict.paths)}: delete all but one")
    _print_more(len(plan.conflicts))
    for left in plan.undecided[:_MOST_LINES]:
        print(f"left where it is: {show_any(left.path)}: {left.why}")
    _print_more(len(plan.undecided))
    for sentence in (done.failed if done is not None else [])[:_MOST_LINES]:
        print(f"failed: {sentence}")
    _print_more(0 if done is None else len(done.failed))
    if done is None and plan.moves:
        print("nothing was changed; to copy, add --apply")


def _print_more(count: int) -> None:
    if count > _MOST_LINES:
        print(f"  and {count - _MOST_LINES:,} more (--json lists all)")
