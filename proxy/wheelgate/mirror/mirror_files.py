"""What is to be copied: one file each, everything known of it beforehand, and everything it must turn out to be."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Protocol

import msgspec

from wheelgate.core.errors import UpstreamBadAnswer


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


class FileOrigin(Protocol):
    """Where items come from: an index, or another mirror."""

    def body(self, item: MirrorFile) -> AsyncIterator[bytes]:
        """The bytes of one, from the first.

        Raises:
            UpstreamError, StoreError, FileWithheld: they cannot be had; what was handed out until then is not the whole.
        """
        ...


class Digester:
    """Digests of bytes that pass by."""

    def __init__(self, algorithms: frozenset[str]) -> None:
        self._hashes = {name: hashlib.new(name, usedforsecurity=False) for name in algorithms}
        self.size = 0

    async def add(self, chunk: bytes) -> None:
        """Some more of them."""
        self.size += len(chunk)
        await asyncio.to_thread(self._add, chunk)

    def _add(self, chunk: bytes) -> None:
        for digest in self._hashes.values():
            digest.update(chunk)

    def result(self) -> dict[str, str]:
        """Of everything so far."""
        return {name: digest.hexdigest() for name, digest in self._hashes.items()}


def mismatch(item: MirrorFile, problem: str) -> UpstreamBadAnswer:
    """The error for bytes that are not those that were promised."""
    return UpstreamBadAnswer(f"{item.filename} of source {item.source} {problem}", source=item.source)
