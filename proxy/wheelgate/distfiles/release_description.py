"""Release description: what METADATA or PKG-INFO says for people and for tools that ask no installer's question."""

from __future__ import annotations

from email.message import Message

import msgspec
from packaging.utils import canonicalize_name
from packaging.version import Version

from wheelgate.distfiles.core_metadata import BadWheel, parse_headers, read_as_uv, read_identity

_UNKNOWN = "UNKNOWN"  # what setuptools wrote for a field that had no value, until 2022


class ReleaseDescription(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of core metadata, as written. ``None``: it does not say.

    They are somebody's text, with whatever is in it: to be shown as data alone.
    """

    author: str | None
    author_email: str | None
    classifiers: list[str]
    description_content_type: str | None
    download_url: str | None
    dynamic: list[str] | None
    home_page: str | None
    keywords: str | None
    license: str | None
    license_expression: str | None
    license_files: list[str] | None
    maintainer: str | None
    maintainer_email: str | None
    platform: str | None
    project_urls: dict[str, str] | None
    """By label."""
    provides_extra: list[str] | None
    requires_dist: list[str] | None
    requires_python: str | None
    summary: str | None


def read_release_description(body: bytes, project: str, version: Version) -> ReleaseDescription:
    """Read the fields of core metadata of at most 1 MiB, its description not counted. Takes up to a second: for a thread.

    Raises:
        BadWheel: it is of another project or version, or has more than that.
    """
    headers = parse_headers(body, "METADATA", BadWheel)
    read_as_uv(headers, version)
    read_identity(headers, "METADATA", canonicalize_name(project), version, BadWheel)
    return ReleaseDescription(
        author=_read_one(headers, "Author"),
        author_email=_read_one(headers, "Author-email"),
        classifiers=_read_all(headers, "Classifier") or [],
        description_content_type=_read_one(headers, "Description-Content-Type"),
        download_url=_read_one(headers, "Download-URL"),
        dynamic=_read_all(headers, "Dynamic"),
        home_page=_read_one(headers, "Home-page"),
        keywords=_read_one(headers, "Keywords"),
        license=_read_one(headers, "License"),
        license_expression=_read_one(headers, "License-Expression"),
        license_files=_read_all(headers, "License-File"),
        maintainer=_read_one(headers, "Maintainer"),
        maintainer_email=_read_one(headers, "Maintainer-email"),
        platform=_read_one(headers, "Platform"),
        project_urls=_read_urls(headers),
        provides_extra=_read_all(headers, "Provides-Extra"),
        requires_dist=_read_all(headers, "Requires-Dist"),
        requires_python=_read_one(headers, "Requires-Python"),
        summary=_read_one(headers, "Summary"),
    )


def _read_one(headers: Message, field: str) -> str | None:
    value = str(headers.get(field, "")).strip()
    return value if value not in ("", _UNKNOWN) else None


def _read_all(headers: Message, field: str) -> list[str] | None:
    return [str(value).strip() for value in headers.get_all(field) or ()] or None


def _read_urls(headers: Message) -> dict[str, str] | None:
    pairs = (value.partition(",") for value in _read_all(headers, "Project-URL") or ())
    return {label.strip(): url.strip() for label, _, url in pairs} or None
