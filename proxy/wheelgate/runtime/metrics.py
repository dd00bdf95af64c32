"""Prometheus metrics: one registry per process, made by the wiring and handed to whoever counts."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import Counter as Tallies
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from wheelgate.runtime.logs import AnsweredRequest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class RequestMetrics(Collector):
    """Counters of answered requests by route and status, and histograms of the time they took.

    Counted without the library's locks and labels, at a tenth of their cost: this stands in the way of every request. All
    of them are answered on one thread; an exposition reads whole numbers.
    """

    _BUCKETS_S = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0)

    def __init__(self) -> None:
        self._warm = 0
        self._statuses: Tallies[tuple[str, int]] = Tallies()
        self._buckets: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(self._BUCKETS_S) + 1))
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def count(self, answer: AnsweredRequest, *, warm: bool) -> None:
        """Count one more request; ``warm``: the fast path answered it."""
        self._warm += warm
        self._statuses[answer.route, answer.status] += 1
        self._buckets[answer.route][bisect_left(self._BUCKETS_S, answer.seconds)] += 1
        self._seconds[answer.route] += answer.seconds

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily("wheelgate_requests", "Requests answered", labels=["route", "status"])
        for (route, status), count in self._statuses.items():
            requests.add_metric([route, str(status)], count)
        yield requests
        warm = CounterMetricFamily("wheelgate_warm_requests", "Of them, those the fast path answered from memory")
        warm.add_metric([], self._warm)
        yield warm
        seconds = HistogramMetricFamily("wheelgate_request_seconds", "Time until a request was answered", labels=["route"])
        for route, counts in self._buckets.items():
            below, cumulative = 0, []
            for bound, count in zip((*map(str, self._BUCKETS_S), "+Inf"), counts, strict=True):
                below += count
                cumulative.append((bound, float(below)))
            seconds.add_metric([route], cumulative, self._seconds[route])
        yield seconds


def _count_tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # no loop runs here
        return 0


class Metrics:
    """The metrics an operator can watch. Labels are routes, sources and outcomes: few values, never a name or a URL."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = RequestMetrics()
        self._registry.register(self.requests)
        counter, gauge = partial(Counter, registry=self._registry), partial(Gauge, registry=self._registry)
        self.upstream_requests = counter("wheelgate_upstream_requests", "Requests to upstreams", ["source", "outcome"])
        self.upstream_up = gauge(
            "wheelgate_upstream_up", "0: several of the source's pages failed, and none was answered since", ["source"]
        )
        self.upstream_breaker_open = gauge(
            "wheelgate_upstream_breaker_open", "1: a host of the source is silent, and asked by one request at a time", ["source"]
        )
        self.upstream_waiting = gauge("wheelgate_upstream_waiting", "Requests that wait for a connection of ours", ["source"])
        self.upstream_paused = gauge(
            "wheelgate_upstream_paused_seconds", "How much longer a host of the source is left alone, as it asked", ["source"]
        )
        self.absence_believed = gauge(
            "wheelgate_absence_believed", '1: a 404 of the source counts as "not there"; 0: it may not be the index', ["source"]
        )
        self.upstream_budget = gauge("wheelgate_upstream_requests_left", "Requests the upstream will still answer", ["source"])
        self.connection_refused = counter(
            "wheelgate_connection_refused", "Answers that refused a connection's credential", ["connection", "host"]
        )
        self.listing_age = gauge("wheelgate_listing_age_seconds", "Age of what is known of a container or folder", ["source"])
        self.listing_seconds = gauge("wheelgate_listing_seconds", "How long its last complete listing took", ["source"])
        self.listing_blobs = gauge("wheelgate_listing_blobs", "What it had in it, of all kinds", ["source"])
        self.stale_pages = counter("wheelgate_stale_pages", "Last good pages served for a source that failed", ["source"])
        self.dropped_entries = counter("wheelgate_dropped_entries", "Upstream page entries left out as unusable", ["source"])
        self.withheld_files = counter("wheelgate_withheld_files", "Files left off a page, once per page made", ["source", "rule"])
        self.overruled_files = counter("wheelgate_overruled_files", "Files stated otherwise than observed before", ["source"])
        self.fills = counter("wheelgate_fills", "Files fetched into the store", ["source", "outcome"])
        self.fills_under_way = gauge("wheelgate_fills_under_way", "Files being fetched into the store")
        self.spool_promised_bytes = gauge("wheelgate_spool_promised_bytes", "Promised to bodies on their way, not written yet")
        self.spool_used_bytes = gauge("wheelgate_spool_used_bytes", "Written into the spool by bodies on their way")
        self.disk_free_bytes = gauge("wheelgate_disk_free_bytes", "Free on the disk of the spool and of a store in a folder")
        self.store_breaker_open = gauge("wheelgate_store_breaker_open", "1: the container is silent, and only probed", ["store"])
        self.vault_breaker_open = gauge("wheelgate_vault_breaker_open", "1: the key vault is silent, and only probed", ["vault"])
        self.entra_breaker_open = gauge("wheelgate_entra_breaker_open", "1: Entra is silent for an identity", ["identity"])
        self.store_seconds = Histogram(
            "wheelgate_store_seconds",
            "Time until a container answered one request",
            ["store", "operation"],
            registry=self._registry,
            buckets=(0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0),
        )
        self.uploads = counter("wheelgate_uploads", "Uploads received", ["outcome"])
        self._add_claims(counter, gauge)
        self.client_connections = gauge("wheelgate_client_connections", "Connections of clients that are open")
        self.client_connections_limit = gauge("wheelgate_client_connections_limit", "How many of them there may be")
        self.client_connections_ended = counter("wheelgate_client_connections_ended", "Connections that we ended", ["why"])
        self.loop_lag = gauge("wheelgate_loop_lag_seconds", "The longest that the event loop came late in the last 15 s")
        self.tasks = gauge("wheelgate_tasks", "Tasks of the event loop: one a connection, and what goes on beside them")
        self.tasks.set_function(_count_tasks)
        ProcessCollector(registry=self._registry)  # descriptors, memory and processor time, under the names that everybody uses
        self.page_memory_bytes = gauge("wheelgate_page_memory_bytes", "Memory claimed by pages being read, parsed and rendered")
        self.page_cache_bytes = gauge("wheelgate_page_cache_bytes", "Rendered pages held in memory")

    def _add_claims(self, counter: Callable[..., Counter], gauge: Callable[..., Gauge]) -> None:
        self.claims = counter(
            "wheelgate_claims", "Names claimed as private by this process, by who listed them first", ["source"]
        )
        self.passes_through = gauge(
            "wheelgate_passes_public_through", "1: a private source lists well-known public names; 0: it lacks them", ["source"]
        )
        self.unrecorded_claims = gauge("wheelgate_unrecorded_claims", "Private names that could not be recorded as private")
        self.unlisted_claims = gauge("wheelgate_unlisted_claims", "Claimed names asked for that no private source lists")

    def exposition(self) -> bytes:
        """Write all of them in the Prometheus text format."""
        return generate_latest(self._registry)
