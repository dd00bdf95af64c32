"""`wheelgate claims`: who owns which names."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wheelgate.cli.json_rows import printing_rows
from wheelgate.cli.options import config_options, json_option, load_settings, run_with_services

if TYPE_CHECKING:
    from wheelgate.services import Services
    from wheelgate.storage.claims import Claim

MOST_LINES = 20
"""Names that are said one by one where there may be very many."""


@click.command()
@config_options
@click.option("--source", "sources", multiple=True, help="Only names that this source was the first to list. Repeatable.")
@click.option("--empty", is_flag=True, help="Only names that no private source lists now: each of them is asked.")
@click.option("--foreign", is_flag=True, help="Only names that come to the source that claimed them from a public index.")
@json_option
def claims(config: Path | None, data: Path | None, sources: tuple[str, ...], empty: bool, foreign: bool, as_json: bool) -> None:
    """List the names that are claimed as private, by name: which source was the first to list a file of each, and since when.

    `wheelgate release` ends a claim. Exit status 1 if of some names it cannot be told who lists them, or whose they are.
    """
    if empty and foreign:
        raise click.UsageError("--empty and --foreign exclude each other: what comes from a public index is listed")
    doubts, looked = Doubts(), Looked()

    async def print_all(services: Services) -> int:
        found = _find_claims(looked.watch(services.claims.all()), services, sources, doubts if empty else None)
        if foreign:
            found = find_foreign(services, found, doubts)
        count = 0
        if as_json:
            with printing_rows() as rows:
                async for claim in found:
                    rows.print({"project": claim.project, "source": claim.source, "since": claim.since.isoformat()})
                    count += 1
            return count
        async for claim in found:
            print(f"{claim.project}  {claim.source}  since {claim.since:%Y-%m-%d %H:%M}Z")
            count += 1
        return count

    count = run_with_services(load_settings(config, data), print_all, to_read=True, describe=looked.describe)
    if not count and not as_json:
        of = f" of source {' or '.join(sources)}" if sources else ""
        which = " that no source lists" if empty else " that come from a public index" if foreign else ""
        print(f"wheelgate: no claims{of}{which}", file=sys.stderr)
    if doubts.count:
        what = "whose they are" if foreign else "whether a source lists them"
        print(f"wheelgate: names of which it cannot be told {what}: {doubts.count:,}", file=sys.stderr)
        sys.exit(1)


class Looked:
    """Progress of going through the claims."""

    def __init__(self) -> None:
        self.count = 0

    async def watch(self, claims: AsyncIterable[Claim]) -> AsyncIterator[Claim]:
        """Count those that go by."""
        async for claim in claims:
            self.count += 1
            yield claim

    def describe(self) -> str:
        """Return it as a sentence."""
        return f"{self.count:,} claims so far"


class Doubts:
    """Names of which nobody can tell what was asked of them: the first are said, and all are counted."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, project: str, why: str) -> None:
        self.count += 1
        if self.count <= MOST_LINES:
            print(f"wheelgate: {project}: {why}", file=sys.stderr)


async def _find_claims(
    claims: AsyncIterable[Claim], services: Services, sources: tuple[str, ...], doubts: Doubts | None
) -> AsyncIterator[Claim]:
    """Find those of some sources, or all. ``doubts``: only those that nobody lists."""
    from wheelgate.index.listers import Listers

    chosen = (claim async for claim in claims if not sources or claim.source in sources)
    if doubts is None:
        async for claim in chosen:
            yield claim
        return
    async for claim, lister in Listers(services.index).tell(chosen):
        if lister.silence is not None:
            doubts.add(claim.project, lister.silence)
        elif lister.source is None:
            yield claim


def find_foreign(services: Services, claims: AsyncIterator[Claim], doubts: Doubts) -> AsyncIterator[Claim]:
    """Find the claims of names that come from a public index.

    Raises:
        ConfigurationError: no source can tell.
    """
    from wheelgate.core.errors import ConfigurationError
    from wheelgate.index.foreign_claims import NOBODY_TELLS, ForeignClaims

    foreign = ForeignClaims(services.index, doubts.add)
    if not foreign.anybody_tells:
        raise ConfigurationError([NOBODY_TELLS])
    return foreign.find(claims)
