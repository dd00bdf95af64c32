"""What `wheelgate check` tries: the store, and every source with a question it can answer."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import datetime

import msgspec

from wheelgate.config import Config
from wheelgate.core.errors import BlobNotFound, NotHeld, ProjectNotFound, StoreError, UpstreamError
from wheelgate.core.model import ProjectPage, RemoteFile
from wheelgate.core.protocols import BlobStore, Credential
from wheelgate.core.url_scope import UrlScope, parse_scope
from wheelgate.credentials.keyring import Keyring
from wheelgate.index.decision import Member
from wheelgate.index.merged import Merged
from wheelgate.index.rules import Cooldown, Rules, in_words
from wheelgate.mirror.manifest import NAME as MANIFEST
from wheelgate.mirror.mirror_store import MirrorStore
from wheelgate.sources.offline import HeldNowhere
from wheelgate.storage.folder import FolderStore
from wheelgate.uploads.destinations import Destination

_PROBE = "pip"
"""Any index may be asked for it without telling a secret name; whether it has it does not matter."""
_STORE = "store"


class Finding(msgspec.Struct, frozen=True):
    """One thing that was tried."""

    what: str
    ok: bool
    detail: str
    doubtful: bool = False
    """It works, but perhaps not as it is meant."""


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


def rule_findings(index: Merged, rules: Rules, doubts: Sequence[str]) -> Iterator[Finding]:
    """What the cool-downs mean, and ``doubts``: settings that are certainly without effect, a sentence each."""
    for member in index.members:
        if (cooldown := rules.cooldown_of(member.source.name, member.private)) is not None:
            yield Finding(f"cool-down of source {member.source.name}", True, _meaning(cooldown))
    for doubt in doubts:
        key, _, sentence = doubt.partition(": ")
        yield Finding(key, True, sentence, doubtful=True)


def _meaning(cooldown: Cooldown) -> str:
    since = "a file without a time counts from when it was first seen here"
    if isinstance(cooldown, datetime):
        return f"files uploaded before {in_words(cooldown)} are served; {since}"
    lag = f"so that of a source which gives no times nothing is served for {in_words(cooldown)} after this store first saw it"
    return f"files are served {in_words(cooldown)} after their upload; {since}, {lag}"


class RemoteSource(msgspec.Struct, frozen=True):
    """What the settings say of a source that is asked over HTTP."""

    url: str
    is_feed: bool
    """Of Azure DevOps."""
    is_covered: Callable[[str], bool]
    """Whether some connection belongs to a URL, when this source asks for it."""
    project: str = _PROBE
    """One that may be asked for."""


def remotes(config: Config, keyring: Keyring) -> dict[str, RemoteSource]:
    """What the settings say of the sources that are asked over HTTP, by name."""
    return {
        source.name: RemoteSource(
            source.index_url,
            source.type == "devops",
            keyring.of_page(source.index_url).is_covered,
            # One of its own names, where the settings tell one: its page shows where the files are.
            next((name for name in source.only or () if "*" not in name), _PROBE),
        )
        for source in config.source
        if source.is_remote
    }


async def connection_findings(credential: Credential | None, index: Merged) -> AsyncIterator[Finding]:
    """What trying a connection gives: first its secret, then every source of an index that has only those it serves."""
    if credential is not None:
        try:
            await credential.headers()
            await credential.sign_url("https://example.com/")
        except UpstreamError as error:
            yield Finding("secret", False, str(error))
            return
        yield Finding("secret", True, "can be had")
    if not index.members:
        yield Finding("sources", True, "none is below its target, so nobody was asked: --url tries one")
    for member in index.members:
        yield await _source_finding(member)


async def findings(
    store_location: str, index: Merged, targets: Sequence[Destination], asked: Mapping[str, RemoteSource] | None = None
) -> AsyncIterator[Finding]:
    """Every finding, as it is made. The store was written when it was opened. ``asked``: see :func:`remotes`."""
    yield Finding(_STORE, True, f"{store_location} can be read and written")
    written = {target.source: target for target in targets}
    for member in index.members:
        yield await _source_finding(member, written.get(member.source.name), (asked or {}).get(member.source.name))


async def mirror_findings(config: Config, containers: Mapping[str, BlobStore]) -> AsyncIterator[Finding]:
    """Mirrors of which nobody said whose names they have: what `wheelgate mirror` wrote there tells that they are some."""
    for source in config.source:
        if source.type not in ("blob", "directory") or source.private is not None or source.only is not None:
            continue
        is_blob = source.type == "blob"
        shelf: MirrorStore = containers[source.name] if is_blob else FolderStore(config.get_source_folder(source))
        try:
            await shelf.info(MANIFEST)
        except (StoreError, BlobNotFound):
            continue  # it is none; or it cannot be read, which its own finding says
        sentence = (
            f"is a mirror of other sources ({MANIFEST}), and every name it holds is claimed as yours for ever: say "
            "private = false if they are public names, private = true if they are not"
        )
        yield Finding(_source(source.name, private=True), True, sentence, doubtful=True)


def store_failed(error: StoreError) -> Finding:
    """What is left to say where there is no store to work with."""
    return Finding(_STORE, False, str(error))


def _source(name: str, *, private: bool) -> str:
    return f"source {name} ({'private' if private else 'public'})"


async def _source_finding(member: Member, target: Destination | None = None, remote: RemoteSource | None = None) -> Finding:
    what = _source(member.source.name, private=member.private)
    project = remote.project if remote is not None else _PROBE
    try:
        if target is not None:
            await _write_to(target)
        page = await member.source.project_page(project)
    except (HeldNowhere, NotHeld):
        return Finding(what, True, "is offline: what the store holds of it is served, and nothing is asked of it")
    except ProjectNotFound:
        # Nearly every public index has it; without it, the URL may be one of another page.
        doubt = "" if member.private else f", but has no project {project}: is the URL the one that installers get?"
        return Finding(what, True, f"answers{doubt}")
    except (UpstreamError, StoreError) as error:
        return Finding(what, False, str(error))
    if remote is not None and (uncovered := _uncovered(page, remote)):
        return Finding(what, False, uncovered)
    left_out = f"; {page.dropped} entries of {project} are left out as unusable" if page.dropped else ""
    withheld = f"; rules withhold {len(page.withheld)} files of {project}, and leave {len(page.files)}" if page.withheld else ""
    public = ""
    if remote is not None and remote.is_feed and member.private and project == _PROBE and page.files:
        public = (
            f"; it answers for public names too (it has {_PROBE}), and no public source is asked for those: switch the feed's "
            "upstream sources off, or say with `only` which names are its own"
        )
    return Finding(what, True, f"answers{left_out}{withheld}{public}", doubtful=bool(public))


async def _write_to(target: Destination) -> None:
    """As an upload would: who may only read a container hears of it now.

    Raises:
        StoreError: it may not be written.
    """
    probe = f"state/probe-{uuid.uuid4().hex}"
    await target.store.put_if_absent(probe, b"wheelgate", {})
    await target.store.delete(probe)


def _uncovered(page: ProjectPage, remote: RemoteSource) -> str | None:
    """Of a source that a connection serves: which of its files, on the same host, no connection belongs to."""
    if not remote.is_covered(remote.url):
        return None
    here = parse_scope(remote.url)
    for file in page.files:
        if isinstance(file.location, RemoteFile) and not remote.is_covered(file.location.url):
            there = parse_scope(file.location.url)
            if there.origin == here.origin:
                return (
                    f"its pages can be read, but its files cannot be fetched: no connection covers {file.filename}, one with "
                    f"target {_nearest(here, there)} would"
                )
    return None


def _nearest(here: UrlScope, there: UrlScope) -> str:
    """The smallest place that holds both."""
    shared = []
    for one, other in zip(here.segments, there.segments, strict=False):
        if one != other:
            break
        shared.append(one)
    scheme, host, port = here.origin
    at = "" if port == {"https": 443, "http": 80}[scheme] else f":{port}"
    return "/".join([f"{scheme}://{host}{at}", *shared])
