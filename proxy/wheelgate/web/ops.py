"""Operations: liveness, readiness, metrics, and the explanation of a decision."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import msgspec
from aiohttp import web

from wheelgate.core.errors import BlobDamaged, BlobNotFound, StoreError
from wheelgate.core.model import STALE_IF_ERROR_S
from wheelgate.index.explain import explain_decision
from wheelgate.runtime.cooperative import in_slices
from wheelgate.runtime.metrics import CONTENT_TYPE
from wheelgate.services import Services
from wheelgate.storage import layout
from wheelgate.web.page_cache import PageCache
from wheelgate.web.paths import ParsedPath, find_parameter

_log = logging.getLogger(__name__)
_FRESH = {"Cache-Control": "no-store"}
_PATIENCE_S = 0.8
"""Time for the store to answer: orchestrators give a probe one second."""


class OpsHandlers:
    """Handlers for whoever runs the server."""

    def __init__(self, services: Services, pages: PageCache, *, known_stands_in_s: float = STALE_IF_ERROR_S) -> None:
        """``known_stands_in_s``: how long what is known here serves while the store is silent."""
        self._services = services
        self._known_stands_in_s = known_stands_in_s
        self._pages = pages
        self._said: dict[str, str | None] = {}
        self.draining = False
        """Whether the server is stopping, so that new requests should go elsewhere."""

    async def home(self, prefix: str) -> web.Response:
        """Tell a person where the index is."""
        return web.Response(text=f"This is a Python package index. Its URL for installers: {prefix}/simple/\n")

    async def livez(self) -> web.Response:
        """Answer that the event loop turns. Says nothing of upstreams: a restart would not fix them."""
        return web.json_response({"status": "alive"}, headers=_FRESH)

    async def readyz(self) -> web.Response:
        """Answer whether new requests should come here: whether anything that people install can be served.

        While the store is away, pages and files that were seen go on being served, and no other replica has a better one. A spool
        that takes nothing in fails uploads alone.
        """
        if self.draining:
            return web.json_response({"status": "stopping"}, status=503, headers=_FRESH)
        reason = await self._find_store_problem()
        self._say_once("degraded", reason)
        scans = ", ".join(scan.name for scan in self._services.scans if scan.holds_up_all)
        self._say_once("not ready yet", f"listing {scans} for the first time" if scans else None)
        if scans:  # until then every request waits, for what another replica may know
            reason = "a container is being listed for the first time; the server's log says which"
            return web.json_response({"status": "starting", "reason": reason}, status=503, headers=_FRESH)
        state = {"status": "ready"}
        if reason is not None:
            # Of which anybody may learn no more than that.
            state = {"status": "degraded", "reason": "the store cannot be used; the server's log says why"}
            if self._services.changes.silent_s > self._known_stands_in_s:
                return web.json_response(state, status=503, headers=_FRESH)
        problem = await asyncio.to_thread(self._services.spool.problem)
        self._say_once("uploads fail", problem)
        if problem is not None:
            state["uploads"] = "fail: the spool takes nothing in; the server's log says why"
        if unrecorded := self._services.claims.unrecorded:
            state["claims"] = f"fail: {unrecorded} private names could not be recorded as such, so they are not served"
        return web.json_response(state, headers=_FRESH)

    def _say_once(self, what: str, reason: str | None) -> None:
        if reason is not None and reason != self._said.get(what):
            _log.warning("%s: %s", what, reason)
        self._said[what] = reason

    async def _find_store_problem(self) -> str | None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._services.store.info(layout.CHANGED)
        except (BlobNotFound, BlobDamaged):  # the store answers
            pass
        except StoreError as error:
            return str(error)
        except TimeoutError:
            return "the store takes long to answer"
        return None

    async def metrics(self) -> web.Response:
        """Answer with Prometheus text."""
        services = self._services
        metrics, room = services.metrics, services.spool.room
        metrics.unrecorded_claims.set(services.claims.unrecorded)
        metrics.fills_under_way.set(services.delivery.fills_under_way)
        metrics.spool_promised_bytes.set(room.promised_bytes)
        metrics.spool_used_bytes.set(room.used_bytes)
        with suppress(StoreError):  # of a disk that cannot be asked the last figure stands
            metrics.disk_free_bytes.set(await asyncio.to_thread(services.spool.free_bytes))
        return web.Response(body=metrics.exposition(), headers={"Content-Type": CONTENT_TYPE, **_FRESH})

    async def explain(self, request: web.BaseRequest, target: ParsedPath) -> web.Response:
        """Explain who answers for a name, who was asked, what is withheld, and why; ``?version=``: of that version's files."""
        project = target.project
        decision = await self._services.index.decide(project, learn=False)
        self._pages.forget(project)  # what is explained is what is served next
        claim = await self._services.claims.get(project)
        waivers = self._services.rules.rules.waivers_for(project, self._services.clock.now())
        version = find_parameter(request.rel_url.raw_query_string, "version")
        manners = {name: absence.known.manner.sentences() for name, absence in self._services.absences.items()}
        explanation = await in_slices(explain_decision(decision, claim, waivers, version, manners))
        return web.Response(
            body=msgspec.json.encode(explanation), content_type="application/json", charset="utf-8", headers=_FRESH
        )
