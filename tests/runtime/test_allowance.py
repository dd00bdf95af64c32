"""Each client has its own tries, which grow back."""

from __future__ import annotations

import pytest

from tests.support.clock import FakeClock
from wheelgate.runtime import allowance
from wheelgate.runtime.allowance import Allowances


def test_what_one_spends_is_taken_from_no_other_and_grows_back(clock: FakeClock) -> None:
    tries = Allowances(clock.monotonic, most=10, per_s=2.0)
    assert [tries.spend("a") for _ in range(10)] == [0.0] * 10
    assert tries.spend("a") == pytest.approx(0.5)
    assert tries.spend("a") == pytest.approx(0.5), "a refusal costs nothing"
    assert tries.spend("b") == 0.0
    clock.move(0.5)
    assert tries.spend("a") == 0.0
    assert tries.spend("a") > 0
    tries.refund("a")
    assert tries.spend("a") == 0.0
    clock.move(1_000)
    assert [tries.spend("a") > 0 for _ in range(11)] == [False] * 10 + [True], "no more than at first"


def test_clients_are_remembered_within_bounds(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowance, "_MAX_CLIENTS", 10)
    tries = Allowances(clock.monotonic, most=1, per_s=1.0)
    for number in range(100):
        assert tries.spend(str(number)) == 0.0
    assert len(tries._whole_at_s) == 10
    tries.refund("never seen")
