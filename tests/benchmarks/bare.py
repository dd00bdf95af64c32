"""The yardstick: a bare aiohttp application that answers with finished bytes from memory, and knows nothing else."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from aiohttp import web


def _application(folder: Path) -> web.Application:
    pages = {path.name: path.read_bytes() for path in folder.iterdir()}
    headers = {
        "Content-Type": "application/vnd.pypi.simple.v1+json",
        "Content-Encoding": "gzip",
        "Cache-Control": "no-cache",
        "Vary": "Accept, Accept-Encoding",
        "ETag": '"the-same"',
    }

    async def page(request: web.Request) -> web.Response:
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers)
        return web.Response(body=pages[request.match_info["project"]], headers=headers)

    async def redirect(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": f"https://account.example/{request.match_info['name']}?sig=0"})

    application = web.Application()
    application.router.add_get("/simple/{project}/", page)
    application.router.add_get("/files/{project}/{name}", redirect)
    return application


async def _serve(folder: Path, port: int) -> None:
    runner = web.AppRunner(_application(folder), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("port", type=int)
    given = arguments.parse_args()
    asyncio.run(_serve(given.folder, given.port))
