"""Pause between two listings of a container or two looks at a folder: what has come meanwhile is not known."""

from __future__ import annotations

_LENGTHS = 10.0
"""Lengths of the last one, so that a long one takes a tenth of a connection or a processor."""
_LONGEST_S = 900.0
"""However long the last one took, and whoever made it."""


def find_pause_s(took_s: float, least_s: float) -> float:
    """Find the seconds to wait after one that took so long. ``least_s``: what was asked for, be it more than ours."""
    return max(least_s, min(_LENGTHS * took_s, _LONGEST_S))
