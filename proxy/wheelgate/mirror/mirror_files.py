"""Files to be copied: everything known of one beforehand, and everything it must turn out to be."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime

import msgspec


class MirrorFile(msgspec.Struct, frozen=True, kw_only=True):
    """One distribution file that a mirror should hold."""

    project: str
    filename: str
    source: str
    listed: Mapping[str, str] = {}
    """Digests by algorithm, all of which it must have: what the index says."""
    accepted: frozenset[str] = frozenset()
    """``sha256:...``; it must have one of these: what the input says. Empty: it says nothing."""
    size: int | None = None
    upload_time: datetime | None = None
    requires_python: str | None = None
    yanked: str | None = None
    needed_by: Mapping[str, tuple[str, ...]] = {}
    """Input label to targets."""

    @property
    def path(self) -> str:
        """Where it lies in a mirror."""
        return f"{self.project}/{self.filename}"

    @property
    def algorithms(self) -> frozenset[str]:
        """What it must be digested with."""
        accepted = {entry.partition(":")[0] for entry in self.accepted} & hashlib.algorithms_guaranteed
        return frozenset({"sha256", *self.listed, *accepted})

    def problem_with(self, digests: Mapping[str, str]) -> str | None:
        """What is wrong with bytes of these digests, or ``None``; completes "it ..."."""
        for algorithm, digest in self.listed.items():
            if algorithm in digests and digests[algorithm] != digest:
                return f"has the {algorithm} {digests[algorithm]}, where {digest} is listed"
        if self.accepted and not any(f"{name}:{digest}" in self.accepted for name, digest in digests.items()):
            return f"has the sha256 {digests['sha256']}, which is none of those that the input allows"
        return None


FileOrigin = Callable[[MirrorFile], AsyncIterator[bytes]]
"""Reads the bytes of a file, from the first.

Raises:
    UpstreamError, StoreError, FileWithheld: they are not available; what was handed out until then is not the whole.
"""
