"""`wheelgate release`: end the claim on names."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from wheelgate.cli.claims import MOST_LINES, Doubts, find_foreign
from wheelgate.cli.options import ask_to_go_on, config_options, load_settings, parse_project, run_with_services
from wheelgate.core.patterns import NamePatterns

if TYPE_CHECKING:
    from wheelgate.services import Services
    from wheelgate.storage.claims import Claim

_TOGETHER = 100
"""Names that are released in one go."""
_EVERY_S = 1.0
"""Between two of those: replicas look every 2 s, and forget everything if more changed than the record of changes holds."""


class _Choice(msgspec.Struct, frozen=True):
    """The claims that are meant."""

    names: Sequence[str]
    """Normalised, each of which has to be claimed."""
    patterns: NamePatterns
    sources: Sequence[str]
    """Those that were the first to list a name; none: any."""
    spared: NamePatterns
    foreign: bool
    """Those alone that come from a public index, whatever the source that claimed them lists."""

    @property
    def is_by_name(self) -> bool:
        """True if no other claims need be looked at."""
        return bool(self.names) and not self.patterns

    def takes(self, claim: Claim) -> bool:
        is_named = not (self.names or self.patterns) or claim.project in self.names or claim.project in self.patterns
        return is_named and (not self.sources or claim.source in self.sources) and claim.project not in self.spared


@click.command()
@config_options
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--source", "sources", multiple=True, help="Only names that this source was the first to list. Repeatable.")
@click.option("--except", "spared", multiple=True, metavar="PATTERN", help="Not these names: acme-*. Repeatable.")
@click.option("--foreign", is_flag=True, help="Only names that come to the source that claimed them from a public index.")
@click.option("--reason", help="Why the names may be public from now on; it is kept.")
@click.option("--dry-run", is_flag=True, help="Say what would be released, and release nothing.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def release(
    config: Path | None,
    data: Path | None,
    names: tuple[str, ...],
    sources: tuple[str, ...],
    spared: tuple[str, ...],
    foreign: bool,
    reason: str | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Let public sources answer again for names that were claimed as private: by NAME, by pattern (acme-*), by --source.

    --foreign means those that their source passes through from a public index.

    Whoever owns a name in public can then put code into every build that asks for it. This is for names that were claimed by
    mistake: a source marked private that is not, or a package that moved to the public index.

    A name that a private source still lists as its own stays claimed. Exit status 1 if any that was meant does.
    """
    choice = _read_choice(names, sources, spared, foreign=foreign)
    if not dry_run and not (reason or "").strip():
        raise click.UsageError("--reason is needed: it is kept with each claim that ends")

    settings = load_settings(config, data)
    chosen, kept = run_with_services(settings, lambda services: _sort_out(services, choice))
    if dry_run:
        _print_names([f"would release {name}" for name in chosen])
        print(f"would release {len(chosen):,} names; nothing was changed")
    elif chosen:
        if not yes:
            _confirm(chosen)
        run_with_services(settings, lambda services: _release(services, chosen, reason or ""))
    sys.exit(1 if kept else 0)


def _read_choice(names: Sequence[str], sources: Sequence[str], spared: Sequence[str], *, foreign: bool) -> _Choice:
    if not names and not sources and not foreign:
        raise click.UsageError("name the projects to release, or their --source, or say --foreign")
    for pattern in (*spared, *(name for name in names if "*" in name)):
        if not NamePatterns.is_valid(pattern):
            raise click.UsageError(f"{pattern!r} is not a pattern of project names")
        if not pattern.strip("*-_.") and not (sources or foreign) and pattern in names:
            raise click.UsageError(f"{pattern!r} is every name: say whose, with --source")
    exact = tuple(dict.fromkeys(parse_project(name) for name in names if "*" not in name))
    return _Choice(exact, NamePatterns(name for name in names if "*" in name), sources, NamePatterns(spared), foreign)


async def _sort_out(services: Services, choice: _Choice) -> tuple[Sequence[str], int]:
    """Find the names that can be released, and say of the others that were meant why not; how many these are."""
    from wheelgate.index.listers import Listers

    chosen, kept, found, doubts = [], 0, set(), Doubts()
    claims = _find_claims(services, choice)
    if choice.foreign:
        claims = find_foreign(services, claims, doubts)
    async for claim, lister in Listers(services.index, spares_claimants=choice.foreign).tell(claims):
        found.add(claim.project)
        if lister.source is None and lister.silence is None:
            chosen.append(claim.project)
            continue
        kept += 1
        listed = (
            f"source {lister.source} lists {claim.project}, so the name would be claimed again at once: remove it there first"
        )
        _say_kept(kept, (lister.silence and f"{claim.project} stays claimed: {lister.silence}") or listed)
    for name in choice.names:
        if name not in found:
            kept += 1
            which = " as one that comes from a public index" if choice.foreign else ""
            _say_kept(kept, f"{name} is not claimed{_by(choice)}{which}, so there is nothing to release")
    kept += doubts.count
    if kept > MOST_LINES:
        print(f"wheelgate: and {kept - MOST_LINES:,} more", file=sys.stderr)
    if not chosen and not kept:
        print("wheelgate: nothing that is claimed matches", file=sys.stderr)
    return chosen, kept


async def _release(services: Services, chosen: Sequence[str], reason: str) -> None:
    for start in range(0, len(chosen), _TOGETHER):
        if start:
            await asyncio.sleep(_EVERY_S)
        for name in await services.claims.release_all(chosen[start : start + _TOGETHER], reason):
            print(f"released {name}")


def _by(choice: _Choice) -> str:
    return f" by {' or '.join(choice.sources)}, or is excepted" if choice.sources or choice.spared else ""


def _say_kept(number: int, sentence: str) -> None:
    if number <= MOST_LINES:
        print(f"wheelgate: {sentence}", file=sys.stderr)


async def _find_claims(services: Services, choice: _Choice) -> AsyncIterator[Claim]:
    """Find the claims that are meant: by their names, or among all."""
    if choice.is_by_name:
        for name in choice.names:
            claim = await services.claims.get(name)
            if claim is not None and choice.takes(claim):
                yield claim
        return
    async for claim in services.claims.all():
        if choice.takes(claim):
            yield claim


def _confirm(names: Sequence[str]) -> None:
    if len(names) == 1:
        if not ask_to_go_on(f"Let public sources answer for {names[0]} from now on?"):
            raise click.Abort
        return
    _print_names(names, to_stderr=True)
    if not ask_to_go_on(f"Let public sources answer for these {len(names):,} names from now on?"):
        raise click.Abort


def _print_names(lines: Sequence[str], *, to_stderr: bool = False) -> None:
    """Print some of many lines."""
    stream = sys.stderr if to_stderr else sys.stdout
    for line in lines[:MOST_LINES]:
        print(line, file=stream)
    if len(lines) > MOST_LINES:
        print(f"and {len(lines) - MOST_LINES:,} more", file=stream)
