"""Checks of settings: secrets that containers need, and rules that say more or less than they seem to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from wheelgate.cli.checks.findings import Finding, label_source
from wheelgate.config import Config
from wheelgate.core.errors import UpstreamError
from wheelgate.credentials.keyring import Keyring
from wheelgate.index.merged import Merged
from wheelgate.index.rules import Cooldown, Rules, in_words


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
            findings.append(Finding(label_source(source.name, private=source.is_private), False, problem))
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
