"""Azure DevOps by its addresses: where a feed is told of, and where feeds are for those who write another of its hosts."""

from __future__ import annotations

import pytest
from yarl import URL

from wheelgate.core.devops import find_feed, suggest_feeds_url

SERVICE = "https://feeds.dev.azure.com"


@pytest.mark.parametrize(
    ("pages", "asked"),
    {
        "https://pkgs.dev.azure.com/acme/_packaging/team/pypi/simple/": f"{SERVICE}/acme/_apis/packaging/feeds/team",
        "https://pkgs.dev.azure.com/acme/Plat%20form/_packaging/Te%20am/pypi/simple": (
            f"{SERVICE}/acme/Plat%20form/_apis/packaging/feeds/Te%20am"
        ),
        "https://acme.pkgs.visualstudio.com/_packaging/team/pypi/simple/": f"{SERVICE}/acme/_apis/packaging/feeds/team",
        "https://Acme.pkgs.visualstudio.com/P/_packaging/team/pypi/simple/": f"{SERVICE}/acme/P/_apis/packaging/feeds/team",
        "https://pkgs.dev.azure.com/acme/_packaging/team@Release/pypi/simple/": f"{SERVICE}/acme/_apis/packaging/feeds/team",
        "https://pkgs.dev.azure.com/acme/_packaging/team%40Release/pypi/simple/": f"{SERVICE}/acme/_apis/packaging/feeds/team",
        "https://tfs.acme.example/tfs/Coll/Proj/_packaging/team/pypi/simple/": (
            "https://tfs.acme.example/tfs/Coll/Proj/_apis/packaging/feeds/team"
        ),
        "http://tfs:8080/tfs/Coll/_packaging/team/pypi/simple/": "http://tfs:8080/tfs/Coll/_apis/packaging/feeds/team",
        "https://pkgs.dev.azure.com/acme/_packaging/team/npm/registry/": None,
        "https://index.example.com/simple/": None,
    }.items(),
)
def test_a_feed_is_told_of_beside_its_pages(pages: str, asked: str | None) -> None:
    found = find_feed(URL(pages, encoded=True))
    assert (found and found.url) == asked


@pytest.mark.parametrize(
    ("written", "meant"),
    {
        "https://dev.azure.com/acme": "https://pkgs.dev.azure.com/acme",
        "https://dev.azure.com/acme/Platform/_artifacts/feed/team": "https://pkgs.dev.azure.com/acme",
        "https://dev.azure.com": "https://pkgs.dev.azure.com/ORGANISATION",
        "https://acme.visualstudio.com/": "https://pkgs.dev.azure.com/acme",
        "https://acme.visualstudio.com/DefaultCollection": "https://pkgs.dev.azure.com/acme",
        "https://feeds.dev.azure.com/acme/_apis/packaging/feeds/team": "https://pkgs.dev.azure.com/acme",
        "https://acme.feeds.visualstudio.com": "https://pkgs.dev.azure.com/acme",
        "https://vssps.dev.azure.com/acme": "https://pkgs.dev.azure.com/acme",
        "https://pkgs.dev.azure.com/acme": None,
        "https://acme.pkgs.visualstudio.com": None,
        "https://evil-dev.azure.com/acme": None,
        "https://dev.azure.com.example/acme": None,
        "https://tfs.acme.example/tfs/Coll": None,
    }.items(),
)
def test_another_host_of_azure_devops_is_known_by_the_one_that_was_meant(written: str, meant: str | None) -> None:
    assert suggest_feeds_url(URL(written)) == meant
