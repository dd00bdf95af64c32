"""Checks of what sources hold and do not offer: misnamed files, links, one name with two bodies."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from wheelgate.cli.checks.findings import Finding, label_source
from wheelgate.core.errors import StoreError, UpstreamError
from wheelgate.core.protocols import find_bare
from wheelgate.index.decision import Member
from wheelgate.sources.holdings import Holder

_MOST = 10


async def check_unoffered(members: Sequence[Member]) -> AsyncIterator[Finding]:
    """Name some of the files of each source that are not offered, and why: the server says so only to whoever asks for them."""
    for member in members:
        holder, name = find_bare(member.source), member.source.name
        if not isinstance(holder, Holder):
            continue
        try:
            found = await holder.find_unoffered(_MOST)
        except (StoreError, UpstreamError):
            continue  # not readable, which its own finding says
        told = [entry.reason for entry in found.named]
        if found.total > len(told):
            told.append(f"holds {found.total - len(told):,} more files that are not offered")
        label = label_source(name, private=member.private)
        for detail in told:
            yield Finding(label, True, detail, doubtful=True, check="unoffered", source=name)
