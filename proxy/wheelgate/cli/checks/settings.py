"""Checks of settings: secrets that containers need, and rules that say more or less than they seem to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from wheelgate.cli.checks.findings import Finding, label_source
from wheelgate.cli.checks.subjects import describe_vault
from wheelgate.config import Config, SourceSettings
from wheelgate.core.errors import UpstreamError
from wheelgate.core.urls import redact_url
from wheelgate.credentials.keyring import Keyring
from wheelgate.index.merged import Merged
from wheelgate.index.rules import Cooldown, Rules, in_words


async def drop_unreadable_containers(config: Config, keyring: Keyring) -> tuple[Config | None, list[Finding]]:
    """Remove the containers whose secret is not available, with a finding for each; ``None``: the store is one of them."""
    findings, sources = [], []
    for number, source in enumerate(config.source):
        key = f"source[{number}].account_key"
        problem = (
            await _find_secret_problem(config, keyring, source.url or "", source.account_key, key)
            if source.type == "blob"
            else None
        )
        if problem is None:
            sources.append(source)
        else:
            what = label_source(source.name, private=source.is_private)
            findings.append(Finding(what, False, problem, check="source.secret", source=source.name))
    store = config.store
    if store.is_azure:
        problem = await _find_secret_problem(config, keyring, store.url or "", store.account_key, "store.account_key")
        if problem is not None:
            return None, [Finding("store", False, problem), *findings]
    return config.model_copy(update={"source": sources}), findings


async def _find_secret_problem(config: Config, keyring: Keyring, url: str, account_key: str | None, key: str) -> str | None:
    try:
        if account_key is not None:
            await keyring.secrets.read(account_key)
        else:
            await keyring.for_container(url)
    except UpstreamError as error:
        vault = describe_vault(config)
        return f"{key}: {error}{f' ({vault})' if vault and 'key vault' in str(error) else ''}"
    return None


def find_duplicates(config: Config) -> Iterator[Finding]:
    """Warn of sources that are one place: what two of them have is one's alone, and what a private one has is no public one's."""
    first: dict[str, SourceSettings] = {}
    for number, source in enumerate(config.source):
        if source.type in ("store", "github"):
            continue
        place = str(config.find_source_place(source) or source.index_url.rstrip("/").lower())
        earlier = first.setdefault(place, source)
        if earlier is source or None not in (earlier.only, source.only):
            continue
        said = (
            f"source[{number}].url is that of source {earlier.name} too ({redact_url(source.url or source.index_url)}), and "
            "what both may hold is one's alone: remove one of them, or part their names by `only`"
        )
        what = label_source(source.name, private=source.is_private)
        yield Finding(what, True, said, doubtful=True, check="duplicate", source=source.name)


def describe_rules(index: Merged, rules: Rules, idle: Sequence[str]) -> Iterator[Finding]:
    """Explain the cool-downs, and warn of ``idle`` settings: a message each, beginning with the key path."""
    for member in index.members:
        if (cooldown := rules.cooldown_of(member.source.name, member.private)) is not None:
            what = f"cool-down of source {member.source.name}"
            yield Finding(what, True, _explain_cooldown(cooldown), check="cooldown", source=member.source.name)
    for message in idle:
        key, _, detail = message.partition(": ")
        yield Finding(key, True, detail, doubtful=True, check="policy")


def _explain_cooldown(cooldown: Cooldown) -> str:
    unknown = "the age of a file without an upload time counts from when it was first seen here"
    if isinstance(cooldown, datetime):
        return f"files uploaded before {in_words(cooldown)} are served; {unknown}"
    age = in_words(cooldown)
    return (
        f"files are served {age} after their upload; {unknown}, so a source that gives no times serves nothing for {age} after "
        "this store first saw it"
    )
