"""Upload destinations: the store's own packages, and containers that are configured as writable."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from wheelgate.core.patterns import NamePatterns
from wheelgate.core.protocols import BlobStore


class Destination(msgspec.Struct, frozen=True):
    """Source that can be written, with files at ``<prefix><project>/<filename>``."""

    source: str
    store: BlobStore
    prefix: str = ""
    """Ends with a slash, or is empty."""
    only: NamePatterns | None = None
    """Names it may hold; ``None``: every name."""

    def build_path(self, project: str, filename: str) -> str:
        """Build the path of a file in :attr:`store`."""
        return f"{self.prefix}{project}/{filename}"


def find_target(project: str, targets: Sequence[Destination]) -> Destination | None:
    """Find the first destination, in configured order, that may hold the name."""
    return next((target for target in targets if target.only is None or project in target.only), None)
