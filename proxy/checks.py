"""What `wheelgate check` tries: the store, and every source with a question it can answer."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from proxy.errors import ProjectNotFound, StoreError, UpstreamError
from proxy.protocols import Credential
from proxy.sources.decision import Member
from proxy.sources.merged import Merged

_PROBE = "pip"
"""Any index may be asked for it without telling a secret name; whether it has it does not matter."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that was tried."""

    what: str
    ok: bool
    detail: str


async def findings(store_place: str, index: Merged) -> AsyncIterator[Finding]:
    """Every finding, as it is made."""
    yield Finding("store", True, f"{store_place} can be read and written")
    for member in index.members:
        yield await _source_finding(member)


async def connection_findings(credential: Credential | None, index: Merged) -> AsyncIterator[Finding]:
    """What trying a connection gives: first its secret, then every source of an index that has only those it serves."""
    if credential is not None:
        try:
            await credential.headers()
            await credential.signed("https://example.com/")
        except UpstreamError as error:
            yield Finding("secret", False, str(error))
            return
        yield Finding("secret", True, "can be had")
    if not index.members:
        yield Finding("sources", True, "none is below its target, so nobody was asked: --url tries one")
    for member in index.members:
        yield await _source_finding(member)


async def _source_finding(member: Member) -> Finding:
    what = f"source {member.source.name} ({'private' if member.private else 'public'})"
    try:
        page = await member.source.project_page(_PROBE)
    except ProjectNotFound:
        # Nearly every public index has it; without it, the URL may be one of another page.
        doubt = "" if member.private else f", but has no project {_PROBE}: is the URL the one that installers get?"
        return Finding(what, True, f"answers{doubt}")
    except (UpstreamError, StoreError) as error:
        return Finding(what, False, str(error))
    left_out = f"; {page.dropped} entries of {_PROBE} are left out as unusable" if page.dropped else ""
    return Finding(what, True, f"answers{left_out}")
