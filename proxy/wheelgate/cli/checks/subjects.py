"""Subjects of checks: each source with all that is needed to ask it, past whatever is remembered of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from wheelgate.cli.checks.findings import Finding, label_source
from wheelgate.config import NO_PROXY, Config, SourceSettings
from wheelgate.core.protocols import BlobStore, Source, find_bare
from wheelgate.core.urls import redact_url
from wheelgate.index.decision import Member
from wheelgate.sources.absence import AbsenceEvidence
from wheelgate.sources.public_names import PublicNames
from wheelgate.storage.claims import Claims
from wheelgate.storage.containers import container_place
from wheelgate.uploads.accept import Destination
from wheelgate.upstream.client import SourceClient

if TYPE_CHECKING:
    from wheelgate.services import Services


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """A source that is to be checked."""

    member: Member
    settings: SourceSettings | None = None
    key: str = ""
    """The key path of its settings; empty: they stand in no file."""
    place: str = ""
    """Its URL or folder, for people."""
    address: str = ""
    """The same, as our store remembers it by; empty: nothing is remembered of it."""
    proxy: str = ""
    """The outbound proxy on the way to it, with the setting that says so."""
    vault: str = ""
    """The key vault, with the setting that says so."""
    target: Destination | None = None
    """Given if uploads go to it."""
    store: BlobStore | None = None
    """Ours, with what is remembered of it."""
    container: BlobStore | None = None
    """Its own, if its files lie in one."""
    signs: bool = False
    """Clients are sent to its container by signed URLs."""
    client: SourceClient | None = None
    absence: AbsenceEvidence | None = None
    public_names: PublicNames | None = None
    """Given for a private source of which nobody said what it passes through."""
    claims: Claims | None = None
    ca_file: str | None = None
    """Of the authority that containers are trusted by."""
    is_covered: Callable[[str], bool] | None = None
    """Tells if a connection applies to a URL that it asks for."""

    @property
    def name(self) -> str:
        return self.member.source.name

    @property
    def source(self) -> Source:
        """The source itself, as it answers now."""
        return find_bare(self.member.source)

    @property
    def only(self) -> Sequence[str] | None:
        """The patterns of the names that it may be asked for; ``None``: any."""
        return None if self.settings is None else self.settings.only

    def setting(self, name: str) -> str:
        """Name one of its settings for a sentence."""
        return f"{self.key}.{name}" if self.key else f"its {name}"

    def find(self, check: str, detail: str, *, ok: bool = True, doubtful: bool = False) -> Finding:
        """Make a finding about it."""
        what = label_source(self.name, private=self.member.private)
        return Finding(what, ok, detail, doubtful, f"source.{check}", self.name)


def list_subjects(services: Services, config: Config, written: Config, *, remembers: bool = True) -> Iterator[Subject]:
    """List the sources of the services with what the settings say of each.

    ``written``: the settings as they stand in the file. ``remembers``: the store is the server's own.
    """
    by_name = {settings.name: settings for settings in config.source}
    numbers = {settings.name: number for number, settings in enumerate(written.source)}
    targets = {target.source: target for target in services.targets}
    for member in services.index.members:
        name = member.source.name
        settings = by_name[name]
        container = services.store if settings.type == "store" else services.containers.get(name)
        delivery = config.store.delivery if settings.type == "store" else settings.delivery or "redirect"
        yield Subject(
            member=member,
            settings=settings,
            key=f"source[{numbers[name]}]" if name in numbers else "",
            place=_describe_place(config, settings),
            address=_find_address(config, settings),
            proxy=_describe_proxy(config, settings, f"source[{numbers.get(name, 0)}]"),
            vault=describe_vault(config),
            target=targets.get(name),
            store=services.store if remembers else None,
            container=container,
            signs=container is not None and delivery == "redirect",
            client=services.clients.get(name),
            absence=services.absences.get(name),
            public_names=services.public_names.get(name),
            claims=services.claims,
            ca_file=None if config.server.ca_file is None else str(config.folder / config.server.ca_file),
            is_covered=services.keyring.of_page(settings.index_url).is_covered if settings.is_remote else None,
        )


def _describe_place(config: Config, settings: SourceSettings) -> str:
    if settings.type == "store":
        return config.store_location
    if settings.type == "directory":
        return str(config.get_source_folder(settings))
    return redact_url(settings.index_url if settings.is_remote else settings.url or "")


def _find_address(config: Config, settings: SourceSettings) -> str:
    match settings.type:
        case "store" | "github":
            return ""
        case "directory":
            return str(config.get_source_folder(settings))
        case "blob":
            place = container_place(settings.url or "")
            return f"{place.account_url}/{place.container}/{place.prefix}".rstrip("/")
    return settings.index_url


def describe_vault(config: Config) -> str:
    """Name the key vault for a sentence; empty: there is none."""
    vault = config.server.key_vault
    return "" if vault is None else f"server.key_vault = {redact_url(vault)}"


def _describe_proxy(config: Config, settings: SourceSettings, key: str) -> str:
    if not settings.is_remote or settings.outbound_proxy == NO_PROXY:
        return ""
    if settings.outbound_proxy is not None:
        return f"{key}.outbound_proxy = {redact_url(settings.outbound_proxy)}"
    proxy = config.server.outbound_proxy
    return "" if proxy is None else f"server.outbound_proxy = {redact_url(proxy)}"
