"""What Wheelgate must not be: an index that asks every source and joins what comes. Attacks are shown to succeed against it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web

from tests.support.gate import fetch
from tests.support.index import SIMPLE_JSON, FakeIndex


@dataclass
class NaiveMerge:
    """Joins the pages of several indexes, as ``--extra-index-url`` does: a source that fails or is empty is passed over."""

    sources: Sequence[FakeIndex]
    url: str = ""
    origin: str = ""

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        match request.rel_url.raw_path.strip("/").split("/"):
            case ["simple", project]:
                return await self._page(project)
            case ["files", project, name]:
                return await self._file(project, name)
        return web.Response(status=404)

    async def _page(self, project: str) -> web.Response:
        files: dict[str, dict[str, object]] = {}
        for source in self.sources:
            answer = await asyncio.to_thread(fetch, f"{source.url}{project}/", {"Accept": SIMPLE_JSON})
            if answer.status == 200:
                for entry in json.loads(answer.body)["files"]:
                    files.setdefault(entry["filename"], {**entry, "url": f"/files/{project}/{entry['filename']}"})
        if not files:
            return web.Response(status=404)
        page = {"meta": {"api-version": "1.1"}, "name": project, "files": list(files.values())}
        return web.Response(body=json.dumps(page).encode(), headers={"Content-Type": SIMPLE_JSON})

    async def _file(self, project: str, name: str) -> web.Response:
        for source in self.sources:
            answer = await asyncio.to_thread(fetch, f"{source.origin}/packages/{project}/{name}")
            if answer.status == 200:
                return web.Response(body=answer.body)
        return web.Response(status=404)
