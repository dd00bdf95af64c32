"""The pause between two listings: long after a long one, and never so long that what has come is unknown for an hour."""

from __future__ import annotations

import pytest

from wheelgate.sources.listing_pause import find_pause_s


@pytest.mark.parametrize(
    ("took_s", "least_s", "pause_s"),
    [(0.0, 60, 60), (6.0, 60, 60), (40.0, 60, 400), (400.0, 60, 900), (1e300, 60, 900), (400.0, 3_600, 3_600), (0.5, 2, 5)],
)
def test_ten_times_as_long_as_one_took_and_a_quarter_of_an_hour_at_most(took_s: float, least_s: float, pause_s: float) -> None:
    assert find_pause_s(took_s, least_s) == pause_s
