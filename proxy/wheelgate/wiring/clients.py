"""Clients of the sources that are asked over HTTP: each with its credentials, its proxy and its certificates."""

from __future__ import annotations

from importlib.metadata import version

from wheelgate.config import NO_PROXY, PUBLIC_INDEX, SourceSettings
from wheelgate.core.devops import FeedPlace
from wheelgate.runtime.allocator import FreeMemory
from wheelgate.runtime.byte_budget import ByteBudget
from wheelgate.sources.github_releases import GITHUB_HEADERS
from wheelgate.sources.simple_index import DEVOPS_HEADERS
from wheelgate.upstream.client import SourceClient
from wheelgate.wiring.foundation import Foundation, check_certificates

_VERSION = version("wheelgate")
_HEADERS = {"devops": DEVOPS_HEADERS, "github": GITHUB_HEADERS}


class SourceClients:
    """Builds them. They share the memory that pages take on their way."""

    def __init__(self, base: Foundation) -> None:
        self._base = base
        self._page_memory = ByteBudget(on_change=self._note_page_memory)
        self._free_memory = FreeMemory()
        self.by_source: dict[str, SourceClient] = {}

    def build(self, number: int, settings: SourceSettings) -> SourceClient:
        """Build the way out to ``source[number]``.

        Raises:
            ConfigurationError: its certificates are not available.
        """
        client = self._build(number, settings, settings.name, settings.index_url, settings.all_file_hosts)
        self.by_source[settings.name] = client
        return client

    def build_for_service(self, settings: SourceSettings, place: FeedPlace) -> SourceClient:
        """Build the way out to the service that tells of a feed, with what the feed's own pages are signed in with."""
        number = [source.name for source in self._base.config.source].index(settings.name)
        return self._build(number, settings, f"{settings.name} (feed service)", place.url, ())

    def _build(self, number: int, settings: SourceSettings, name: str, url: str, file_hosts: tuple[str, ...]) -> SourceClient:
        base = self._base
        proxy = settings.outbound_proxy or base.config.server.outbound_proxy
        client = SourceClient(
            source=name,
            url=url,
            file_hosts=file_hosts,
            credentials=base.keyring.of_page(settings.index_url),
            clock=base.clock,
            metrics=base.metrics,
            user_agent=f"wheelgate/{_VERSION}",
            ca_file=check_certificates(base.config, settings.ca_file, f"source[{number}].ca_file") or base.ca_file,
            outbound_proxy=None if proxy == NO_PROXY else proxy,
            headers=_HEADERS.get(settings.type),
            page_memory=self._page_memory,
            says_chain=settings.type == "index" and settings.index_url != PUBLIC_INDEX,
            neighbours=base.config.find_neighbours(settings),
            absent_status=settings.absent_status,
        )
        return base.closing(client)

    def _note_page_memory(self, used_bytes: int) -> None:
        self._base.metrics.page_memory_bytes.set(used_bytes)
        self._free_memory.note(used_bytes)
