"""Memory cost of pages, near enough to bound caches by bytes."""

from __future__ import annotations

from collections.abc import Sequence

from wheelgate.core.model import File, ProjectPage

RECENT_BYTES = 12 * 1024 * 1024
"""Bound of the pages seen last that each layer between a source and the rendered page remembers, so that an answer that has not
changed need not be parsed, judged and rendered again. Nearly all of it are the same objects."""
_FILE_BYTES = 150  # in a FileList, which is packed as soon as the page has been answered with
_VERSION_BYTES, _WITHHELD_BYTES = 60, 300


def page_bytes(page: ProjectPage) -> int:
    """Estimate the memory behind a page."""
    return 500 + files_bytes(page.files) + _VERSION_BYTES * len(page.versions) + _WITHHELD_BYTES * len(page.withheld)


def files_bytes(files: Sequence[File]) -> int:
    """Estimate the memory behind its files."""
    return _FILE_BYTES * len(files)
