"""Stand-ins for a source that is broken: the pages of better days that clients get meanwhile, and the names that stay private."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, suppress

from wheelgate.cli.checks.findings import Finding
from wheelgate.cli.checks.subjects import Subject
from wheelgate.core.errors import StoreError, WheelgateError
from wheelgate.core.model import ProjectPage
from wheelgate.core.names import is_normalised
from wheelgate.sources.known_projects import KnownProjects
from wheelgate.storage import layout
from wheelgate.storage.claims import Claims

_TRIED = 8
_PATIENCE_S = 12.0
_COUNTED, _COUNT_S = 20_000, 10.0


async def describe_meanwhile(subject: Subject) -> AsyncIterator[Finding]:
    """Say what stands in for a source, as clients get it now: a sentence about pages, and one about claims."""
    if subject.store is None or subject.settings is None or subject.settings.type == "store":
        return
    answered = await _ask_for_kept(subject)
    pages = [page for page in answered if page.stale]
    if pages:
        newest = max(pages, key=lambda page: page.as_of)
        more = f" and at least {len(pages) - 1} more" if len(pages) > 1 else ""
        until = "pages stand in for 24 hours"
        said = f"meanwhile its last good page of {newest.project} stands in, of {newest.as_of:%Y-%m-%d %H:%M}Z{more}: {until}"
    elif answered:
        said = f"meanwhile its page of {answered[0].project} is served"
    else:
        said = "meanwhile nothing stands in: no page of it is known of the last 24 hours"
    yield subject.find("meanwhile", said)
    if subject.claims is not None and subject.member.private and (count := await _count_claims(subject.claims, subject.name)):
        yield subject.find("meanwhile", f"the names that it was the first to list stay private ({count})")


async def _ask_for_kept(subject: Subject) -> list[ProjectPage]:
    """Ask for some of what it had, as a client would."""
    names = await _recall_some(subject)
    try:
        async with asyncio.timeout(_PATIENCE_S):
            found = await asyncio.gather(*(subject.member.source.project_page(name) for name in names), return_exceptions=True)
    except TimeoutError:
        return []
    for each in found:
        if isinstance(each, BaseException) and not isinstance(each, WheelgateError):
            raise each
    return [page for page in found if not isinstance(page, BaseException)]


async def _recall_some(subject: Subject) -> list[str]:
    """Recall names that it had: those that it is known by, and the first of which something is remembered."""
    names = [*await recall_names(subject)]
    if subject.store is not None:
        with suppress(StoreError):
            async with aclosing(subject.store.list_folder(layout.record(subject.name, ""))) as listed:
                names += [name for name in await anext(listed, ()) if is_normalised(name)]
    return [name for name in dict.fromkeys(names) if subject.member.may_hold(name)][:_TRIED]


async def recall_names(subject: Subject) -> Sequence[str]:
    """Recall a few names that a source had, as our store knows; none if it knows none, or cannot be read."""
    if subject.store is None or not subject.address:
        return ()
    known = KnownProjects(subject.name, url=subject.address, store=subject.store)
    try:
        return await known.names()
    except StoreError:
        return ()
    finally:
        await known.close()


async def _count_claims(claims: Claims, source: str) -> str:
    """Count the claims that name a source, in words; of very many claims not all are looked at. Empty: none was found."""
    count, looked = 0, 0
    try:
        async with asyncio.timeout(_COUNT_S):
            async for claim in claims.all():
                looked += 1
                count += claim.source == source
                if looked >= _COUNTED:
                    break
    except (TimeoutError, StoreError):
        looked = _COUNTED
    more = looked >= _COUNTED
    return f"{'at least ' if more else ''}{count:,}" if count else ""
