"""The server that `mirror` runs for uv: open to who has its URL, and to nobody else on the machine."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from pathlib import Path
from urllib.parse import urlsplit

from tests.acceptance.configs import index_source
from tests.support.gate import fetch
from tests.support.index import FakeIndex
from tests.support.packages import wheel_bytes, wheel_name
from wheelgate.config import load
from wheelgate.web.server import open_private_server
from wheelgate.wiring import open_services


async def test_only_who_has_the_token_reads(index: FakeIndex, tmp_path: Path) -> None:
    index.publish("demo", wheel_name("demo", "1.0"), wheel_bytes("demo", "1.0"))
    (tmp_path / "wheelgate.toml").write_text(index_source(index))
    config = load(tmp_path / "wheelgate.toml", flags={"data": tmp_path / "data"}, environment={})
    async with open_services(config) as gate, open_private_server(gate) as url:
        parts = urlsplit(url)
        assert parts.hostname == "127.0.0.1"
        page = f"http://127.0.0.1:{parts.port}/simple/demo/"
        assert (await asyncio.to_thread(fetch, page)).status == 401
        assert index.asked == []
        basic = b64encode(f"{parts.username}:{parts.password}".encode()).decode()
        assert (await asyncio.to_thread(fetch, page, {"Authorization": f"Basic {basic}"})).status == 200
