"""Which of many files an installer would take."""

from __future__ import annotations

from collections.abc import Iterable

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from wheelgate.mirror.targets import Target


def best_wheel(filenames: Iterable[str], target: Target) -> str | None:
    """The wheel that fits the target best, by the order of its tags and then by build number; ``None``: none fits."""
    ranks = {tag: position for position, tag in enumerate(target.tags)}
    fitting = []
    for filename in filenames:
        try:
            _, _, build, tags = parse_wheel_filename(filename)
        except InvalidWheelFilename:
            continue
        rank = min((ranks[tag] for tag in tags if tag in ranks), default=None)
        if rank is not None:
            fitting.append((-rank, build, filename))
    return max(fitting)[2] if fitting else None
