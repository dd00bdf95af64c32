"""Feeds of Azure DevOps with what their service tells of them: whose each project is, and when its versions came."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping

from wheelgate.config import SourceSettings
from wheelgate.core.devops import find_feed
from wheelgate.core.protocols import OwnershipJudge, Source
from wheelgate.core.urls import parse
from wheelgate.feeds.facts import DatedFeed
from wheelgate.feeds.judge import FeedJudge
from wheelgate.feeds.kept_judge import KeptJudge
from wheelgate.feeds.service import FeedService
from wheelgate.sources.offline import OfflineSource
from wheelgate.wiring.clients import SourceClients
from wheelgate.wiring.foundation import Foundation


def build_dated_feed(
    base: Foundation,
    settings: SourceSettings,
    pages: Source,
    clients: SourceClients,
    find_judge: Callable[[], OwnershipJudge | None],
) -> tuple[DatedFeed, FeedJudge | None]:
    """Build a feed around its pages, and the judge that asks its service; ``None``: there is no such service.

    ``find_judge``: finds who decides whose its projects are, once that is settled.
    """
    place = find_feed(parse(settings.index_url))
    if place is None:
        return DatedFeed(pages, facts=None, find_judge=find_judge), None
    service = FeedService(settings.name, clients.build_for_service(settings, place))
    judge = FeedJudge(
        settings.name,
        place=place,
        service=service,
        clock=base.clock,
        fresh_s=settings.fresh_s,
        absent_s=settings.absent,
        store=base.store,
    )
    return DatedFeed(pages, facts=base.closing(judge), find_judge=find_judge), judge


def build_kept_feed(
    base: Foundation, settings: SourceSettings, copies: OfflineSource, judges: MutableMapping[str, OwnershipJudge]
) -> Source:
    """Build a feed that is offline around the copies of its files, and add its judge to the others."""
    place = find_feed(parse(settings.index_url))
    if place is None:
        return copies
    alone = base.config.server.offline
    judge = KeptJudge(settings.name, place=place, clock=base.clock, store=base.store, alone=alone)
    judges[settings.name] = judge
    return DatedFeed(copies, facts=judge, find_judge=lambda: judges.get(settings.name))
