"""Overlaps of places in storage: a source that holds the store, or lies in it, would list and move the store's own records."""

from __future__ import annotations

import os
import re
from pathlib import Path

from wheelgate.core.urls import is_emulator_host, is_loopback_host, parse

Place = tuple[str, ...]
"""Account, container and folders; or the parts of a folder's real path."""
# Further hosts of one account: its read-only copy in another region, and its private endpoints.
_OTHER_HOSTS = re.compile(r"(?<=[a-z0-9])(?:-secondary)?(?:\.privatelink)?(?=\.(?:[a-z0-9]+\.)?blob\.)")
_REMEDY = "give each a container or a folder of its own, neither inside the other"


def parse_container_place(url: str) -> Place:
    """The place of a container, or of a folder in it; the same for every host that an account is known by.

    Raises:
        UnsafeUrl: see :func:`~wheelgate.core.urls.parse`.
    """
    parsed = parse(url)
    host = (parsed.host or "").lower()
    host = "localhost" if is_loopback_host(host) else host if is_emulator_host(host) else _OTHER_HOSTS.sub("", host, count=1)
    return (f"{host}:{parsed.port}", *(segment for segment in parsed.raw_path.split("/") if segment))


def find_folder_place(folder: Path) -> Place | None:
    """The place of a folder, links in its path followed; ``None``: nothing can have such a path."""
    try:
        return Path(os.path.realpath(folder)).parts
    except ValueError:  # a zero byte, or a character that no file name has
        return None


def is_inside(place: Place, other: Place) -> bool:
    """True if a place lies below another."""
    return place != other and place[: len(other)] == other


def describe_overlap(place: Place | None, store: Place | None, key: str) -> str | None:
    """Say how a source's place overlaps the store's, which ``key`` sets, and the remedy; ``None``: it does not."""
    if place is None or store is None:
        return None
    if place == store:
        how = f"is the place of the store ({key})"
    elif is_inside(store, place):
        how = f"holds the store ({key})"
    elif is_inside(place, store):
        how = f"lies inside the store ({key})"
    else:
        return None
    return f"{how}, whose uploads and records are no packages of this source: {_REMEDY}"
