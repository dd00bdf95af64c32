"""How much memory a page holds, near enough to bound caches by bytes."""

from __future__ import annotations

from proxy.model import ProjectPage

_FILE_BYTES = 1_000  # a File with its strings, digest table and time, measured on real pages
_VERSION_BYTES = 60


def page_bytes(page: ProjectPage) -> int:
    """An estimate of the memory behind a page."""
    return 500 + _FILE_BYTES * len(page.files) + _VERSION_BYTES * len(page.versions)
