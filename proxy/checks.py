"""What `wheelgate check` tries: the store, and every source with a question it can answer."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence

import msgspec

from proxy.config import Config
from proxy.errors import ProjectNotFound, StoreError, UpstreamError
from proxy.protocols import Credential
from proxy.sources.decision import Member
from proxy.sources.merged import Merged
from proxy.targets import Target
from proxy.upstream.keyring import Keyring

_PROBE = "pip"
"""Any index may be asked for it without telling a secret name; whether it has it does not matter."""
_STORE = "store"


class Finding(msgspec.Struct, frozen=True):
    """One thing that was tried."""

    what: str
    ok: bool
    detail: str


async def without_missing_secrets(config: Config, keyring: Keyring) -> tuple[Config | None, list[Finding]]:
    """The settings less the containers whose secret cannot be had, with a finding for each; ``None``: it is the store's."""
    found, sources = [], []
    for number, source in enumerate(config.source):
        key = f"source[{number}].account_key"
        problem = await _secret_problem(keyring, source.url or "", source.account_key, key) if source.type == "blob" else None
        if problem is None:
            sources.append(source)
        else:
            found.append(Finding(_source(source.name, private=source.is_private), False, problem))
    store = config.store
    if store.is_azure and (problem := await _secret_problem(keyring, store.url or "", store.account_key, "store.account_key")):
        return None, [Finding(_STORE, False, problem), *found]
    return config.model_copy(update={"source": sources}), found


async def _secret_problem(keyring: Keyring, url: str, account_key: str | None, key: str) -> str | None:
    try:
        if account_key is not None:
            await keyring.secrets.read(account_key)
        else:
            await keyring.for_container(url)
    except UpstreamError as error:
        return f"{key}: {error}"
    return None


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


async def findings(store_place: str, index: Merged, targets: Sequence[Target]) -> AsyncIterator[Finding]:
    """Every finding, as it is made. The store was written when it was opened."""
    yield Finding(_STORE, True, f"{store_place} can be read and written")
    written = {target.source: target for target in targets}
    for member in index.members:
        yield await _source_finding(member, written.get(member.source.name))


def store_failed(error: StoreError) -> Finding:
    """What is left to say where there is no store to work with."""
    return Finding(_STORE, False, str(error))


def _source(name: str, *, private: bool) -> str:
    return f"source {name} ({'private' if private else 'public'})"


async def _source_finding(member: Member, target: Target | None = None) -> Finding:
    what = _source(member.source.name, private=member.private)
    try:
        if target is not None:
            await _write_to(target)
        page = await member.source.project_page(_PROBE)
    except ProjectNotFound:
        # Nearly every public index has it; without it, the URL may be one of another page.
        doubt = "" if member.private else f", but has no project {_PROBE}: is the URL the one that installers get?"
        return Finding(what, True, f"answers{doubt}")
    except (UpstreamError, StoreError) as error:
        return Finding(what, False, str(error))
    left_out = f"; {page.dropped} entries of {_PROBE} are left out as unusable" if page.dropped else ""
    return Finding(what, True, f"answers{left_out}")


async def _write_to(target: Target) -> None:
    """As an upload would: who may only read a container hears of it now.

    Raises:
        StoreError: it may not be written.
    """
    probe = f"state/probe-{uuid.uuid4().hex}"
    await target.store.put_if_absent(probe, b"wheelgate", {})
    await target.store.delete(probe)
