"""Where uploads may go: the store's own packages, and containers that the operator lets us write."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from wheelgate.core.patterns import NamePatterns
from wheelgate.core.protocols import BlobStore


class Destination(msgspec.Struct, frozen=True):
    """A source that can be written. Whatever it is, a file lies at ``<prefix><project>/<filename>`` in it."""

    source: str
    store: BlobStore
    prefix: str = ""
    """Ends with a slash, or is empty."""
    only: NamePatterns | None = None
    """The names it may hold; ``None``: every name."""

    def path_of(self, project: str, filename: str) -> str:
        """Where a file lies in :attr:`store`."""
        return f"{self.prefix}{project}/{filename}"


def target_for(project: str, targets: Sequence[Destination]) -> Destination | None:
    """The first, in the operator's order, that may hold the name."""
    return next((target for target in targets if target.only is None or project in target.only), None)
