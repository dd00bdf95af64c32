"""Errors of sources that have files of a project and can offer none: the project is theirs all the same."""

from __future__ import annotations

from wheelgate.core.errors import StoreError, UpstreamBadAnswer, WheelgateError


class HoldsProject(WheelgateError):
    """A failure of a source that has files of the project, none of which can be offered. So the project is its own."""


class UnusableLinks(UpstreamBadAnswer, HoldsProject):
    """A page of files, none of which its source may be asked for."""


class UnusableBlobs(StoreError, HoldsProject):
    """A project of which every blob is damaged."""
