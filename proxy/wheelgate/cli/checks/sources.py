"""Checks of sources: each is asked, and those that uploads go to are written."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from itertools import takewhile

import msgspec

from wheelgate.cli.checks.findings import Finding, label_source
from wheelgate.config import SourceSettings
from wheelgate.core.errors import NotHeld, ProjectNotFound, StillListing, StoreError, UpstreamError
from wheelgate.core.model import ProjectPage, RemoteFile
from wheelgate.core.protocols import Credential
from wheelgate.core.urls import UrlScope, parse_scope
from wheelgate.index.decision import Member
from wheelgate.index.merged import Merged
from wheelgate.sources.absence import AbsenceEvidence
from wheelgate.sources.offline import HeldNowhere
from wheelgate.uploads.accept import Destination

_LISTING_S = 60.0
_PROBE = "pip"
"""A project that any index may be asked for without revealing a private name; it need not exist."""


_Remote = tuple[SourceSettings, Callable[[str], bool]]
"""Settings of a source that is asked over HTTP, and what tells if a connection applies to a URL that it asks for."""


async def check_connection(
    credential: Credential | None, index: Merged, absences: Mapping[str, AbsenceEvidence]
) -> AsyncIterator[Finding]:
    """Check a connection: its secret, then every source of an index that has only the sources it serves."""
    if credential is not None:
        try:
            await credential.headers()
            await credential.sign_url("https://example.com/")
        except UpstreamError as error:
            yield Finding("secret", False, str(error))
            return
        yield Finding("secret", True, "is available")
    if not index.members:
        yield Finding("sources", True, "no configured source is under this target; pass --url to test one")
    for member in index.members:
        yield await _check_source(member, absence=absences.get(member.source.name))


async def check_sources(
    store_location: str,
    index: Merged,
    targets: Sequence[Destination],
    remote: Mapping[str, _Remote],
    absences: Mapping[str, AbsenceEvidence],
    step: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[Finding]:
    """Check every source, after the store, which was written when it was opened."""
    yield Finding("store", True, f"{store_location} can be read and written")
    writable = {target.source: target for target in targets}
    for member in index.members:
        name = member.source.name
        step(f"source {name}")
        yield await _check_source(member, writable.get(name), remote.get(name), absences.get(name))


async def _check_source(
    member: Member,
    target: Destination | None = None,
    remote: _Remote | None = None,
    absence: AbsenceEvidence | None = None,
) -> Finding:
    finding = await _check_page(member, target, remote)
    if absence is None or not finding.ok:
        return finding
    verdict = await absence.describe()
    return msgspec.structs.replace(finding, ok=verdict.believed, detail=f"{finding.detail}; {verdict.sentence}")


async def _check_page(member: Member, target: Destination | None, remote: _Remote | None) -> Finding:
    what = label_source(member.source.name, private=member.private)
    # One of its own names, if the settings list one: its page shows where the files are.
    own = remote[0].only if remote is not None else None
    project = next((name for name in own or () if "*" not in name), _PROBE)
    try:
        if target is not None:
            await _check_writable(target)
        page = await _ask_for(project, member)
    except StillListing as error:
        return Finding(what, True, f"answers; {error}", doubtful=True)
    except (HeldNowhere, NotHeld):
        return Finding(what, True, "is offline: only what the store holds of it is served, and it is never asked")
    except ProjectNotFound:
        # Nearly every public index has it; without it, the URL may not be that of the index.
        doubt = "" if member.private else f", but has no project {project}: check that its URL is the one that installers use"
        return Finding(what, True, f"answers{doubt}")
    except (UpstreamError, StoreError) as error:
        return Finding(what, False, str(error))
    if remote is not None and (uncovered := _find_uncovered_file(page, *remote)):
        return Finding(what, False, uncovered)
    dropped = f"; {page.dropped} entries of {project} are left out as unusable" if page.dropped else ""
    withheld = f"; rules withhold {len(page.withheld)} files of {project}, and leave {len(page.files)}" if page.withheld else ""
    public = ""
    if remote is not None and remote[0].type == "devops" and member.private and project == _PROBE and page.files:
        public = (
            f"; it also answers for public names (it has {_PROBE}), which are then never asked of a public source: disable the "
            "feed's upstream sources, or list its own names with `only`"
        )
    return Finding(what, True, f"answers{dropped}{withheld}{public}", doubtful=bool(public))


async def _ask_for(project: str, member: Member) -> ProjectPage:
    """Ask a source for a page; one that has to be listed first is waited for."""
    try:
        return await member.source.project_page(project)
    except StillListing as error:
        with suppress(TimeoutError):
            await asyncio.wait_for(error.wait(), _LISTING_S)
        return await member.source.project_page(project)


async def _check_writable(target: Destination) -> None:
    """Write and delete a blob, so that missing rights show before the first upload; :class:`StoreError` if they do."""
    probe = f"state/probe-{uuid.uuid4().hex}"
    await target.store.put_if_absent(probe, b"wheelgate", {})
    await target.store.delete(probe)


def _find_uncovered_file(page: ProjectPage, source: SourceSettings, is_covered: Callable[[str], bool]) -> str | None:
    """Report a file on the host of a source with a connection that no connection applies to; ``None``: there is none."""
    if not is_covered(source.index_url):
        return None
    here = parse_scope(source.index_url)
    for file in page.files:
        if isinstance(file.location, RemoteFile) and not is_covered(file.location.url):
            there = parse_scope(file.location.url)
            if there.origin == here.origin:
                return (
                    f"its pages can be read, but its files cannot be fetched: no connection covers {file.filename}; one with "
                    f"target {_find_common_url(here, there)} would"
                )
    return None


def _find_common_url(here: UrlScope, there: UrlScope) -> str:
    """Find the longest URL that contains both."""
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(here.segments, there.segments, strict=False))
    shared = [segment for segment, _ in pairs]
    scheme, host, port = here.origin
    at = "" if port == {"https": 443, "http": 80}[scheme] else f":{port}"
    return "/".join([f"{scheme}://{host}{at}", *shared])
