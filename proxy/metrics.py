"""Prometheus metrics: one registry per process, made by the wiring and handed to whoever counts."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Everything an operator can watch. Labels are routes, sources and outcomes: few values, never a name or a URL."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter("wheelgate_requests", "Requests answered", ["route", "status"], registry=registry)
        self.request_seconds = Histogram(
            "wheelgate_request_seconds",
            "Time until a request was answered",
            ["route"],
            buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60),
            registry=registry,
        )
        self.upstream_requests = Counter(
            "wheelgate_upstream_requests", "Requests to upstreams", ["source", "outcome"], registry=registry
        )
        self.upstream_up = Gauge(
            "wheelgate_upstream_up", "1: the source answered as an index when last asked", ["source"], registry=registry
        )
        self.upstream_paused = Gauge(
            "wheelgate_upstream_paused_seconds", "How long the source asked us to wait", ["source"], registry=registry
        )
        self.upstream_budget = Gauge(
            "wheelgate_upstream_requests_left",
            "How many more requests the upstream will answer for now",
            ["source"],
            registry=registry,
        )
        self.connection_refused = Counter(
            "wheelgate_connection_refused",
            "Answers that refused a connection's credential",
            ["connection", "host"],
            registry=registry,
        )
        self.stale_pages = Counter(
            "wheelgate_stale_pages", "Last good pages served for a source that failed", ["source"], registry=registry
        )
        self.dropped_entries = Counter(
            "wheelgate_dropped_entries", "Upstream page entries left out as unusable", ["source"], registry=registry
        )
        self.withheld_files = Counter(
            "wheelgate_withheld_files", "Files left off a page, once per page made", ["source", "rule"], registry=registry
        )
        self.fills = Counter("wheelgate_fills", "Files fetched into the store", ["source", "outcome"], registry=registry)
        self.uploads = Counter("wheelgate_uploads", "Uploads received", ["outcome"], registry=registry)
        self.page_cache_bytes = Gauge("wheelgate_page_cache_bytes", "Rendered pages held in memory", registry=registry)

    def exposition(self) -> bytes:
        """All of them in the Prometheus text format."""
        return generate_latest(self._registry)
