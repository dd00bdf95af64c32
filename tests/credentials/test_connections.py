"""Which credential belongs to which URL: for any connections, pages and URLs, promise 2 of docs/architecture.md and nothing more.

The oracle below reads the parts that a URL is made of, before anything is put together or parsed, and follows the words of the
contract one by one.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from wheelgate.config import Connection
from wheelgate.config.connections import find_conflicts
from wheelgate.credentials.connections import Connections

DEVOPS = "pkgs.dev.azure.com"
GUIDS = ["aaaaaaaa-0000-4000-8000-aaaaaaaaaaaa", "BBBBBBBB-0000-4000-8000-bbbbbbbbbbbb"]
SERVICE = "feeds.dev.azure.com"
HOSTS = [
    DEVOPS,
    SERVICE,
    "acme.pkgs.visualstudio.com",
    "Acme.pkgs.visualstudio.com",
    "other.pkgs.visualstudio.com",
    "PKGS.dev.azure.com",
]
STRANGERS = [
    "index.example",
    "evil-feeds.dev.azure.com",
    "dev.azure.com",
    "x.acme.pkgs.visualstudio.com",
    "evil-pkgs.dev.azure.com",
    "pkgs.dev.azure.com.evil.example",
]
NAMES = ["acme", "ACME", "acme2", "other", "team", "Platform", "simple", "pypi", "download", "upload", "_packaging", "x-1.0.whl"]
ONE_FEED = ["team", "Team", "TEAM", "team@Release", "team%40release", "other", "%74eam", "te%61m%ff", "te%61m%fe"]
MARKED = [*GUIDS, f"{GUIDS[0]}@{GUIDS[1]}", f"{GUIDS[0]}%40{GUIDS[1]}", f"{GUIDS[0]}@Release"]
UNREADABLE = ["..", ".", "%2e%2e", "a%2fb", "a%5Cb", "", "%00"]

Parts = tuple[str, str, int | None, tuple[str, ...]]
"""Scheme, host, port as written (``None``: not), path segments."""

origins = st.tuples(
    st.sampled_from(["https", "https", "https", "http"]),
    st.sampled_from([DEVOPS, DEVOPS, *HOSTS, *STRANGERS]),
    st.sampled_from([None, None, None, 443, 8443, 80]),
)
organisations = st.sampled_from(["acme", "acme", "ACME", "acme2", "other"])
feed_files = st.builds(
    lambda project, feed, kind: (*project, "_packaging", feed, *kind, "acme-lib", "1", "acme_lib-1.0-py3-none-any.whl"),
    st.sampled_from([(), (GUIDS[1],), ("Platform",)]),
    st.sampled_from(MARKED),
    st.sampled_from([("pypi", "download"), ("pypi", "download"), ("pypi", "upload"), ("nuget", "download")]),
)


def paths(*, readable: bool) -> st.SearchStrategy[tuple[str, ...]]:
    segment = st.sampled_from(NAMES + MARKED + ([] if readable else UNREADABLE))
    home = st.sampled_from([(), (), ("Platform",), ("platform",), ("Plat%66orm",)])
    feeds = st.builds(lambda home, feed: (*home, "_packaging", feed), home, st.sampled_from(ONE_FEED))
    service = st.builds(
        lambda home, api, feed, rest: (*home, *api, feed, *rest),
        home,
        st.sampled_from(
            [("_apis", "packaging", "feeds"), ("_apis", "Packaging", "Feeds"), ("_apis", "git", "feeds"), ("_apis",)]
        ),
        st.sampled_from(ONE_FEED),
        st.sampled_from([(), (), ("packages",), ("permissions", "x")]),
    )
    inside = st.tuples(organisations, feeds | service | feed_files | st.just(())).map(lambda both: (both[0], *both[1]))
    return inside | feed_files | st.lists(segment, max_size=4).map(tuple)


def urls(*, readable: bool) -> st.SearchStrategy[Parts]:
    return st.tuples(origins, paths(readable=readable)).map(lambda both: (*both[0], both[1]))


@st.composite
def questions(draw: st.DrawFn) -> tuple[list[Parts], Parts, Parts]:
    """Connections, a page and a URL; page and URL mostly near one of the connections."""
    targets = draw(st.lists(urls(readable=True), max_size=5, unique_by=place))

    def near() -> st.SearchStrategy[Parts]:
        anywhere = urls(readable=False).filter(lambda parts: "" not in parts[3])  # `a/` and `a` are one place
        if not targets:
            return anywhere
        below = st.tuples(st.sampled_from(targets), st.lists(st.sampled_from(NAMES), max_size=2))
        return anywhere | below.map(lambda both: (*both[0][:3], (*both[0][3], *both[1])))

    page = draw(near().filter(lambda parts: not set(parts[3]) & set(UNREADABLE)))
    links = feed_files.map(lambda path: (*page[:3], (*page[3][:1], *path)))
    return targets, page, draw(near() | links)


def written(parts: Parts) -> str:
    scheme, host, number, segments = parts
    return f"{scheme}://{host}{'' if number is None else f':{number}'}/{'/'.join(segments)}"


# ---- the oracle ------------------------------------------------------------------------------------------------------------


def place(parts: Parts) -> tuple[str, ...]:
    """A flat name of the place: its origin, then its segments; the hosts of Azure DevOps as one, names as they compare there."""
    scheme, host, number, segments = parts
    host = host.lower()
    number = number or (443 if scheme == "https" else 80)
    if (scheme, number) == ("https", 443):
        if re.fullmatch(r"[a-z0-9-]+\.pkgs\.visualstudio\.com", host):
            host, segments = DEVOPS, (host.split(".")[0], *segments)
        if host == SERVICE:
            at = [part.lower() for part in segments]
            for home in (1, 2):
                if at[home : home + 3] == ["_apis", "packaging", "feeds"] and len(at) > home + 3:
                    feed, rest = segments[home + 3], segments[home + 4 :]
                    host, segments = DEVOPS, (*segments[:home], "_packaging", feed, "?service", *rest)
                    break
        if host == DEVOPS:
            segments = compared(segments)
    return (scheme, host, str(number), *segments)


def compared(segments: tuple[str, ...]) -> tuple[str, ...]:
    """Organisation, project, feed and view without case and decoded; what comes behind the feed as it is written."""
    lower = [part if "%f" in part else unquote(part).lower() for part in segments]
    names = next((at + 2 for at in range(min(3, len(lower))) if lower[at] == "_packaging"), len(lower))
    return (*lower[:names], *segments[names:])


def organisation(parts: Parts) -> str | None:
    where = place(parts)
    return where[3] if where[:3] == ("https", DEVOPS, "443") and len(where) > 3 else None


def is_file_link(parts: Parts) -> bool:
    """``/{org}[/{guid}]/_packaging/{guid}[@{guid}]/pypi/download/`` and something behind it."""
    rest = list(place(parts)[4:])
    guid = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
    if rest and re.fullmatch(guid, rest[0]):
        del rest[0]
    if len(rest) < 5 or rest[0] != "_packaging" or rest[2:4] != ["pypi", "download"]:
        return False
    return all(re.fullmatch(guid, part) for part in rest[1].split("@", 1))


def expected(targets: list[Parts], page: Parts, asked: Parts) -> Parts | None:
    if any(part in UNREADABLE for part in asked[3]):
        return None
    applying = [target for target in targets if place(asked)[: len(place(target))] == place(target)]
    is_for_the_page = is_file_link(asked) or "?service" in place(asked)
    if organisation(asked) is not None and organisation(asked) == organisation(page) and is_for_the_page:
        of_the_page = [target for target in targets if place(page)[: len(place(target))] == place(target)]
        applying += sorted(of_the_page, key=lambda target: len(place(target)))[-1:]
    return max(applying, key=lambda target: len(place(target)), default=None)


# ---- what is so for everything ---------------------------------------------------------------------------------------------


class Named:
    """A credential that is only its connection's name."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection.name


def made(targets: list[Parts]) -> list[Connection]:
    # A signature is for any host and any scheme: the rules about those are not what is tested here.
    return [
        Connection(name=f"c{number}", category="Git", target=written(target), auth_type="SAS", value="env:X", allow_http=True)
        for number, target in enumerate(targets)
    ]


def _at(*segments: str) -> Parts:
    return ("https", DEVOPS, None, segments)


_ASKED = ("https", SERVICE, None, ("ACME", "_apis", "packaging", "Feeds", "team", "packages"))
_FEED, _LINK = _at("acme", "_packaging", "team"), ("_packaging", GUIDS[0], "pypi", "download", "x")


@settings(max_examples=300, deadline=None)
@given(questions())
@example(([_FEED], _FEED, _at("acme", *_LINK)))
@example(([_FEED], _FEED, _at("other", *_LINK)))
@example(([_FEED], _FEED, _ASKED))
@example(([_at("acme", "_packaging", "Team", "pypi", "simple")], _at("acme", "_packaging", "team", "pypi", "simple"), _ASKED))
@example(([_FEED], _FEED, ("https", SERVICE, None, ("acme", "_apis", "packaging", "changes"))))
@example(([_FEED], _FEED, ("https", SERVICE, None, ("other", "_apis", "packaging", "feeds", "team"))))
@example(([_at("acme", "team")], _FEED, ("https", SERVICE, None, ("acme", "team"))))
@example(([_FEED], _FEED, ("https", SERVICE, 8443, ("acme", "_apis", "packaging", "feeds", "team"))))
@example(([_FEED], _FEED, ("http", SERVICE, None, ("acme", "_apis", "packaging", "feeds", "team"))))
@example(([_at("acme", "_packaging", "team%40Release")], _FEED, _at("acme", "_packaging", "TEAM@release", "pypi", "simple")))
@example(([_FEED], _FEED, _at("acme", "_packaging", "team-two")))
@example(([_FEED], _FEED, _at("acme", "_packaging", GUIDS[0], "pypi", "upload", "x")))
@example(([_FEED], ("https", "index.example", None, ("simple",)), _at("acme", *_LINK)))
@example(([_FEED, _at("acme", "_packaging", GUIDS[0], "pypi")], _FEED, _at("acme", *_LINK)))
@example(([_FEED, _at("acme")], _FEED, _at("acme", *_LINK)))
def test_a_credential_is_given_exactly_where_the_contract_says(question: tuple[list[Parts], Parts, Parts]) -> None:
    targets, page, asked = question
    table = Connections(Named)  # type: ignore[arg-type]
    table.replace(made(targets))
    wanted = expected(targets, page, asked)
    found = table.of_page(written(page)).for_url(written(asked))
    assert (found.connection if found else None) == (f"c{targets.index(wanted)}" if wanted else None)
    assert table.of_page(written(page)).is_covered(written(asked)) is (wanted is not None)


@settings(max_examples=150, deadline=None)
@given(st.lists(urls(readable=True), min_size=2, max_size=5))
def test_two_connections_for_one_place_are_refused_however_they_are_spelt(targets: list[Parts]) -> None:
    places = [place(target) for target in targets]
    assert bool(find_conflicts(made(targets))) is (len(set(places)) < len(places))


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60), urls(readable=True))
def test_no_text_gets_a_credential_that_could_be_read_in_two_ways(noise: str, target: Parts) -> None:
    """Whatever stands before, in and behind a URL: if a credential is given, the plain reading leads below the target."""
    table = Connections(Named)  # type: ignore[arg-type]
    table.replace(made([target]))
    credentials = table.of_page("https://index.example/simple/")
    for text in (noise, noise + written(target), written(target) + noise, written(target).replace("/", noise, 1)):
        if credentials.for_url(text) is not None:
            plain = re.match(r"(?i)(https?)://([a-z0-9.-]+)(?::(\d*))?(/[^?#]*)?([?#]|$)", text)
            assert plain is not None
            assert not re.search(r"\\|//|/\.\.?(/|$)|%2e|%2f|%5c", plain[4] or "", re.IGNORECASE)
            segments = tuple(part for part in (plain[4] or "").split("/") if part)
            read = (plain[1].lower(), plain[2], int(plain[3]) if plain[3] else None, segments)
            assert place(read)[: len(place(target))] == place(target)


@pytest.mark.parametrize("host", [DEVOPS, DEVOPS.upper()])
@pytest.mark.parametrize("auth_type", ["PAT", "UsernamePassword", "Bearer"])
def test_a_token_for_all_organisations_is_refused(host: str, auth_type: str) -> None:
    more = {"username": "me"} if auth_type == "UsernamePassword" else {}
    with pytest.raises(ValidationError, match="contradictions"):
        Connection(name="all", target=f"https://{host}/", auth_type=auth_type, value="env:X", **more)


@pytest.mark.parametrize("target", [f"https://{DEVOPS}", f"https://{DEVOPS}/"])
def test_an_identity_may_be_for_all_organisations(target: str) -> None:
    """Its tokens are for Azure DevOps as a whole, and each organisation knows whom it let in."""
    assert Connection(name="all", target=target, auth_type="ManagedIdentity").entra_scope


def test_what_did_not_change_keeps_the_secret_it_knows() -> None:
    table = Connections(Named)  # type: ignore[arg-type]
    one, two = made([("https", "index.example", None, ("a",)), ("https", "index.example", None, ("b",))])
    table.replace([one, two])
    credentials = table.of_page("https://index.example/a")
    before = credentials.for_url("https://index.example/a")
    table.replace([one])
    assert credentials.for_url("https://index.example/a") is before
    assert credentials.for_url("https://index.example/b") is None
