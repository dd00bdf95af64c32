"""The shortest way through everything."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.gate import Gate
from tests.support.index import FakeIndex
from tests.support.packages import wheel_bytes, wheel_name


def config_for(index: FakeIndex) -> str:
    return f"""
[[source]]
name = "uploads"
type = "store"

[[source]]
name = "public"
type = "index"
url = "{index.url}"
"""


def test_a_page_and_its_file(start_gate: Callable[..., Gate], index: FakeIndex) -> None:
    body = wheel_bytes("demo", "1.0")
    index.publish("demo", wheel_name("demo", "1.0"), body)
    gate = start_gate(config_for(index))
    (entry,) = gate.page("demo")["files"]
    assert entry["url"] == "/files/demo/demo-1.0-py3-none-any.whl"
    assert gate.get(entry["url"]).body == body
    assert index.count("/packages/demo/demo-1.0-py3-none-any.whl") == 1
    assert gate.get(entry["url"]).body == body
    assert index.count("/packages/demo/demo-1.0-py3-none-any.whl") == 1
