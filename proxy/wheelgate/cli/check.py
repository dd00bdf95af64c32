"""`wheelgate check` and the diagnostics behind it and `connection test`: the store, every source, every rule."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import NoReturn

import click
import msgspec

from wheelgate.cli.options import config_options, json_option, load_settings, load_tls, run_to_end
from wheelgate.cli.progress import Activity
from wheelgate.config import Config, SourceSettings
from wheelgate.core.errors import BadInput, NotHeld, ProjectNotFound, StillListing, StoreError, UpstreamError
from wheelgate.core.model import ProjectPage, RemoteFile
from wheelgate.core.protocols import BlobStore, BodyStore, Credential
from wheelgate.core.urls import UrlScope, parse_scope
from wheelgate.credentials.keyring import Keyring
from wheelgate.enrich.inspection import find_damaged_records
from wheelgate.index.decision import Member
from wheelgate.index.merged import Merged
from wheelgate.index.rules import Cooldown, Rules, in_words
from wheelgate.mirror.manifest import NAME as MANIFEST
from wheelgate.mirror.manifest import read_manifest
from wheelgate.sources.absence import AbsenceEvidence
from wheelgate.sources.offline import HeldNowhere
from wheelgate.storage.folder import FolderStore
from wheelgate.uploads.accept import Destination

_MOST_DAMAGE = 20
_LARGE_CONTAINER = 20_000
_LISTING_S = 60.0
_PROBE = "pip"
"""A project that any index may be asked for without revealing a private name; it need not exist."""


@click.command()
@config_options
@json_option
def check(config: Path | None, data: Path | None, as_json: bool) -> None:
    """Validate the settings, and test the store and every source. Exit status 1 if something does not work."""
    logging.getLogger().addHandler(logging.NullHandler())  # the findings say what a log would say
    settings = load_settings(config, data)
    load_tls(settings)  # a missing certificate is found here, not at the next start
    activity = Activity("the connections")
    report(run_to_end(_run_checks(settings, activity.step), activity.describe), as_json=as_json)


async def _run_checks(config: Config, step: Callable[[str], None]) -> list[Finding]:
    from wheelgate.wiring import open_keyring, open_services

    async with open_keyring(config) as keyring:
        usable, unusable = await drop_unreadable_containers(config, keyring)
    if usable is None:
        return unusable
    try:
        async with open_services(usable) as services:
            remote = {
                one.name: (one, services.keyring.of_page(one.index_url).is_covered) for one in usable.source if one.is_remote
            }
            checks = check_sources(usable.store_location, services.index, services.targets, remote, services.absences, step)
            findings = [_tell_place(finding, usable) async for finding in checks]
            if problem := services.spool.problem():
                findings[0] = Finding("store", False, f"{usable.store_location} can be read, but {problem}")
            step("mirrors, containers and records")
            findings += [finding async for finding in check_mirrors(usable, services.containers)]
            findings += [finding async for finding in check_layouts(usable, services.containers)]
            findings += await check_records(services.store)
            idle = [f"policy.{message}" for message in config.find_idle_policy(services.clock.now())]
            findings += describe_rules(services.index, services.rules.rules, idle)
    except StoreError as error:
        findings = [Finding("store", False, str(error))]
    return [*findings, *unusable]


class Finding(msgspec.Struct, frozen=True):
    """Result of one check."""

    what: str
    ok: bool
    detail: str
    doubtful: bool = False
    """It works, but perhaps not as intended."""


def report(findings: Sequence[Finding], *, as_json: bool) -> NoReturn:
    """Print the findings and exit, with status 1 if something does not work."""
    if as_json:
        print(json.dumps([msgspec.structs.asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            print(f"{'warn' if finding.doubtful else 'ok  ' if finding.ok else 'FAIL'}  {finding.what}: {finding.detail}")
    sys.exit(0 if all(finding.ok for finding in findings) else 1)


async def drop_unreadable_containers(config: Config, keyring: Keyring) -> tuple[Config | None, list[Finding]]:
    """Remove the containers whose secret is not available, with a finding for each; ``None``: the store is one of them."""
    findings, sources = [], []
    for number, source in enumerate(config.source):
        key = f"source[{number}].account_key"
        problem = (
            await _find_secret_problem(keyring, source.url or "", source.account_key, key) if source.type == "blob" else None
        )
        if problem is None:
            sources.append(source)
        else:
            findings.append(Finding(_label(source.name, private=source.is_private), False, problem))
    store = config.store
    if store.is_azure:
        problem = await _find_secret_problem(keyring, store.url or "", store.account_key, "store.account_key")
        if problem is not None:
            return None, [Finding("store", False, problem), *findings]
    return config.model_copy(update={"source": sources}), findings


async def _find_secret_problem(keyring: Keyring, url: str, account_key: str | None, key: str) -> str | None:
    try:
        if account_key is not None:
            await keyring.secrets.read(account_key)
        else:
            await keyring.for_container(url)
    except UpstreamError as error:
        return f"{key}: {error}"
    return None


def describe_rules(index: Merged, rules: Rules, idle: Sequence[str]) -> Iterator[Finding]:
    """Explain the cool-downs, and warn of ``idle`` settings: a message each, beginning with the key path."""
    for member in index.members:
        if (cooldown := rules.cooldown_of(member.source.name, member.private)) is not None:
            yield Finding(f"cool-down of source {member.source.name}", True, _explain_cooldown(cooldown))
    for message in idle:
        key, _, detail = message.partition(": ")
        yield Finding(key, True, detail, doubtful=True)


def _explain_cooldown(cooldown: Cooldown) -> str:
    unknown = "the age of a file without an upload time counts from when it was first seen here"
    if isinstance(cooldown, datetime):
        return f"files uploaded before {in_words(cooldown)} are served; {unknown}"
    age = in_words(cooldown)
    return (
        f"files are served {age} after their upload; {unknown}, so a source that gives no times serves nothing for {age} after "
        "this store first saw it"
    )


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


async def check_records(store: BlobStore) -> list[Finding]:
    """Name what is damaged in the store. The server goes on without it, so that nobody else would tell."""
    damaged = [sentence async for sentence in find_damaged_records(store)]
    findings = [Finding("store", False, sentence) for sentence in damaged[:_MOST_DAMAGE]]
    more = len(damaged) - _MOST_DAMAGE
    return [*findings, Finding("store", False, f"{more} more blobs are damaged")] if more > 0 else findings


async def check_mirrors(config: Config, containers: Mapping[str, BlobStore]) -> AsyncIterator[Finding]:
    """Warn of mirrors whose settings do not say if their names are private; the manifest of `wheelgate mirror` shows them."""
    for source in config.source:
        if source.type not in ("blob", "directory"):
            continue
        is_blob = source.type == "blob"
        store: BodyStore = containers[source.name] if is_blob else FolderStore(config.get_source_folder(source))
        try:
            _, etag = await read_manifest(store, source.name)
        except BadInput as error:
            yield Finding(_label(source.name, private=True), False, str(error))
            continue
        except StoreError:
            continue  # not readable, which its own finding says
        if etag is None or source.private is not None or source.only is not None:
            continue
        detail = (
            f"is a mirror of other sources ({MANIFEST}), so all its names are claimed as yours permanently: set private = false "
            "if they are public, private = true if they are not"
        )
        yield Finding(_label(source.name, private=True), True, detail, doubtful=True)


async def check_layouts(
    config: Config, containers: Mapping[str, BlobStore], large: int = _LARGE_CONTAINER
) -> AsyncIterator[Finding]:
    """Advise the other layout for containers of so many blobs that listing them whole takes long."""
    for source in config.source:
        if source.type != "blob" or source.layout != "any":
            continue
        if not await _has_more_than(large - 1, containers[source.name]):
            continue
        detail = (
            f"has {large:,} blobs or more, which are all listed again and again: new files show late, and a new server "
            f'waits for the first listing; wheelgate container reorder {source.name} prepares it for layout = "project"'
        )
        yield Finding(_label(source.name, private=source.is_private), True, detail, doubtful=True)


async def _has_more_than(most: int, store: BlobStore) -> bool:
    count = 0
    with suppress(StoreError):  # not readable, which its own finding says
        async for _ in store.list(""):
            count += 1
            if count > most:
                return True
    return False


def _label(source: str, *, private: bool) -> str:
    return f"source {source} ({'private' if private else 'public'})"


def _tell_place(finding: Finding, config: Config) -> Finding:
    """Add to what a container failed at where it is: the sentence itself, which clients hear too, does not say."""
    urls = {_label(source.name, private=source.is_private): source.url for source in config.source if source.type == "blob"}
    url = urls.get(finding.what)
    if finding.ok or url is None or url in finding.detail:
        return finding
    return msgspec.structs.replace(finding, detail=f"{finding.detail} ({url})")


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
    what = _label(member.source.name, private=member.private)
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
