"""Who asks: each client is known by its address, and by its token where it has to show one."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from tests.support.clock import FakeClock
from tests.support.stores import MemoryStore
from wheelgate.runtime.asker import BACKGROUND, get_askers
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.tokens import Tokens
from wheelgate.web.auth import Authentication


def request_from(address: str | None, **headers: str) -> Any:
    request = make_mocked_request("GET", "/simple/x/", headers=headers)
    return request.clone(remote=address)


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.8", "192.0.2.8"),
        ("::ffff:192.0.2.7", "192.0.2.7"),  # of a listener for both families
        ("::ffff:192.0.2.8", "192.0.2.8"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
    ],
)
async def test_a_client_without_a_token_is_its_address(clock: FakeClock, address: str, client: str) -> None:
    store = MemoryStore()
    authentication = Authentication(Tokens(store, clock, StoreChanges(store, clock)), anonymous_read=True)
    assert get_askers().names == [BACKGROUND]
    await authentication.check_read(request_from(address), "x")
    assert get_askers().names == [client]


async def test_a_client_with_a_token_is_both(clock: FakeClock) -> None:
    store = MemoryStore()
    tokens = Tokens(store, clock, StoreChanges(store, clock))
    authentication = Authentication(tokens, anonymous_read=False)
    await authentication.check_read(request_from("192.0.2.7", Authorization=f"Bearer {tokens.guest()}"), "x")
    (name,) = get_askers().names
    assert name.endswith(" at 192.0.2.7")
    assert len(name) > len(" at 192.0.2.7")
