"""The feed service of Azure DevOps, as its public REST reference (7.1) has it: what a feed is, and what is in it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from tests.support.devops import Feed, Origin, Upstream

HOST = "feeds.dev.azure.com"
_MOST = 1_000


def description(feed: Feed, organisation: str) -> web.Response:
    """``GET .../_apis/packaging/feeds/{feed}``."""
    return web.json_response(
        {
            "id": feed.id,
            "name": feed.name,
            "fullyQualifiedName": feed.name,
            "fullyQualifiedId": feed.id,
            "capabilities": "defaultCapabilities, upstreamV2",
            "upstreamEnabled": bool(feed.upstreams),
            "hideDeletedPackageVersions": True,
            "upstreamSources": [_upstream(upstream, organisation) for upstream in feed.upstreams],
            "project": {"id": feed.project_id, "name": feed.project} if feed.project else None,
            "_links": {},
        }
    )


def _upstream(upstream: Upstream, organisation: str) -> dict[str, Any]:
    said: dict[str, Any] = {
        "id": upstream.id,
        "name": upstream.name,
        "protocol": upstream.protocol,
        "location": upstream.location,
        "displayLocation": upstream.location,
        "upstreamSourceType": upstream.kind,
        "status": "ok",
    }
    if upstream.removed:
        said["deletedDate"] = "2026-01-01T00:00:00Z"
    if (inner := upstream.feed) is not None:
        home = f"{organisation}/{inner.project}" if inner.project else organisation
        said |= {
            "location": f"azure-feed://{home}/{inner.name}@Local",
            "internalUpstreamFeedId": inner.id,
            "internalUpstreamViewId": str(uuid.uuid4()),
            "internalUpstreamCollectionId": str(uuid.uuid5(uuid.NAMESPACE_DNS, organisation)),
        }
        if inner.project:
            said["internalUpstreamProjectId"] = inner.project_id
    return said


def packages(feed: Feed, query: Mapping[str, str], *, filters: bool) -> web.Response:
    """``GET .../feeds/{feed}/packages``: what was published or saved, and nothing that only an upstream has."""
    top, skip = int(query.get("$top", _MOST)), int(query.get("$skip", 0))
    wanted = query.get("normalizedPackageName") if filters else None
    names = sorted(name for name in feed.origins if wanted in (None, name))
    if query.get("protocolType", "pypi").lower() != "pypi":
        names = []
    shown = [_package(name, feed.origins[name]) for name in names[skip : skip + min(top, _MOST)]]
    return web.json_response({"count": len(shown), "value": shown})


def _package(name: str, versions: Mapping[str, Origin]) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_DNS, name)),
        "name": name.title().replace("-", "_"),
        "normalizedName": name,
        "protocolType": "PyPI",
        "url": "",
        "versions": [
            {
                "id": str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}=={origin.version}")),
                "normalizedVersion": origin.version,
                "version": origin.version,
                "isLatest": False,
                "isListed": True,
                "isDeleted": origin.deleted,
                "isCachedVersion": False,
                "storageId": "0",
                "views": [],
                "publishDate": f"{origin.at:%Y-%m-%dT%H:%M:%S.%f}0Z",
                **({"directUpstreamSourceId": origin.upstream} if origin.upstream else {}),
            }
            for origin in versions.values()
        ],
    }
