"""A credential arrives where it was stored for and nowhere else, judged by what the hosts of a small world were sent.

Every host of the tables is a real server here, reached over TLS under its own name; a source may fetch from all of them. So
what is expected to be asked *without* a secret really is asked, and only its servers say what came along.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

import pytest

from tests.support.clock import FakeClock
from tests.support.lies import hang_up
from tests.support.world import World, world
from wheelgate.config import Connection
from wheelgate.core.errors import UpstreamError
from wheelgate.core.protocols import Credential
from wheelgate.credentials.connections import Connections
from wheelgate.runtime.metrics import Metrics
from wheelgate.upstream.client import SourceClient

DEVOPS = "https://pkgs.dev.azure.com"
LEGACY = "https://acme.pkgs.visualstudio.com"
ORG = f"{DEVOPS}/acme"
FEED = f"{ORG}/_packaging/team/pypi/simple"
GUID, VIEW, PROJECT = (f"{digit * 8}-0000-4000-8000-{digit * 12}" for digit in "abc")
FILE = "pypi/download/acme-lib/1/acme_lib-1.0-py3-none-any.whl"
STORAGE = "https://vsblobprodsu6weu.vsblob.vsassets.io"
GITLAB = "https://gitlab.example/api/v4/projects/1/packages/pypi"
EVIL = "https://evil.example"
HOSTS = (
    *(
        "pkgs.dev.azure.com",
        "evil-pkgs.dev.azure.com",
        "pkgs.dev.azure.com.evil.example",
        "dev.azure.com",
        "x.pkgs.dev.azure.com",
    ),
    *("acme.pkgs.visualstudio.com", "acme2.pkgs.visualstudio.com", "x.acme.pkgs.visualstudio.com", "pkgs.visualstudio.com"),
    *("acme.pkgs.visualstudio.com.evil.example", "acme-pkgs.visualstudio.com", "vsblobprodsu6weu.vsblob.vsassets.io"),
    *("gitlab.example", "x.gitlab.example", "gitlab.example.evil.example", "evil.example", "index.example"),
)
FILE_HOSTS = tuple(host + port for host in HOSTS for port in ("", ":8443"))
CODES = (301, 302, 303, 307, 308)
NEVER = "nobody is asked"

Row = tuple[str, str, str]
"""The page that a source has, the URL that it then asks, and the target whose secret arrives there (or ``""``, or NEVER)."""


def _of_organisation(asked: str, arrives: str) -> Row:
    return (FEED, asked, arrives)


# The connection is for a whole organisation.
ORGANISATION: list[Row] = [
    _of_organisation(asked, arrives)
    for arrives, urls in {
        ORG: [
            f"{FEED}/acme-lib/",
            ORG,
            f"{ORG}/",
            f"{ORG}/_packaging/other/pypi/simple/x/",
            f"{ORG}/Platform/_packaging/tools/pypi/simple/x/",
            f"{DEVOPS}/ACME/_packaging/team/pypi/simple/x/",
            f"{DEVOPS}/%61cme/x/",
            "HTTPS://PKGS.dev.Azure.COM/acme/x/",
            "https://pkgs.dev.azure.com:443/acme/x/",
            "https://pkgs.dev.azure.com:/acme/x/",
            f"{LEGACY}/_packaging/team/pypi/simple/x/",
            "https://ACME.pkgs.visualstudio.com/x/",
            f"{ORG}/_packaging/{GUID}/{FILE}",
            f"{ORG}/x/?a=b",
            f"{ORG}/x/?a=../../other",
        ],
        "": [
            f"{DEVOPS}/",
            f"{DEVOPS}/acme2/_packaging/team/pypi/simple/x/",
            f"{DEVOPS}/acm/_packaging/team/pypi/simple/x/",
            f"{DEVOPS}/acme-evil/x/",
            f"{DEVOPS}/acme;x/x/",
            f"{DEVOPS}/acme@evil/x/",
            f"{DEVOPS}/acme:x/x/",
            f"{DEVOPS}/acme%20/x/",
            f"{DEVOPS}/other/acme/x/",
            f"{DEVOPS}/?/acme/x/",
            "https://pkgs.dev.azure.com:8443/acme/x/",
            "https://evil-pkgs.dev.azure.com/acme/x/",
            "https://pkgs.dev.azure.com.evil.example/acme/x/",
            "https://x.pkgs.dev.azure.com/acme/x/",
            "https://dev.azure.com/acme/x/",
            "https://acme2.pkgs.visualstudio.com/acme/x/",
            "https://x.acme.pkgs.visualstudio.com/x/",
            "https://pkgs.visualstudio.com/acme/x/",
            "https://acme-pkgs.visualstudio.com/x/",
            "https://acme.pkgs.visualstudio.com.evil.example/x/",
            "https://acme.pkgs.visualstudio.com:8443/x/",
            f"{STORAGE}/acme/x?sig=1",
            f"{EVIL}#@pkgs.dev.azure.com/acme/",
            f"{EVIL}?@pkgs.dev.azure.com/acme/",
            f"{EVIL}/https://pkgs.dev.azure.com/acme/".replace("//pkgs", "/pkgs"),
        ],
        NEVER: [
            "http://pkgs.dev.azure.com/acme/x/",
            "http://acme.pkgs.visualstudio.com/x/",
            "https://acme@pkgs.dev.azure.com/acme/x/",
            "https://acme:x@pkgs.dev.azure.com/acme/x/",
            "https://pkgs.dev.azure.com@evil.example/acme/x/",
            "https://evil.example\\@pkgs.dev.azure.com/acme/x/",
            "https://pkgs.dev.azure.com\\@evil.example/acme/x/",
            f"{ORG}/../acme2/x/",
            f"{ORG}/..",
            f"{ORG}/./x/",
            f"{ORG}/%2e%2e/acme2/x/",
            f"{ORG}/%2E./acme2/x/",
            f"{ORG}%2f..%2facme2/x/",
            f"{ORG}%2Fx/",
            f"{ORG}%5c..%5cacme2/x/",
            f"{ORG}\\..\\acme2/x/",
            f"{DEVOPS}//acme/x/",
            f"{ORG}//x/",
            f"{ORG}/%00/x/",
            f"{ORG}/\t/x/",
            f"{ORG}/x/\nHost: evil.example",
            "https://pkgs.dev.azure.com./acme/x/",
            "https://pkgs..dev.azure.com/acme/x/",
            "https://ｐkgs.dev.azure.com/acme/x/",
            "https://pkgs。dev.azure.com/acme/x/",
            "https://рkgs.dev.azure.com/acme/x/",  # the first letter is Cyrillic
            "https://pk\u00adgs.dev.azure.com/acme/x/",
            "https://xn--kgs-jed.dev.azure.com/acme/x/",
            "https://pkgs%2edev.azure.com/acme/x/",
            "https://pkgs.dev.azure.com%00.evil.example/acme/x/",
            "https://pkgs.dev.azure.com:0443/acme/x/",
            "https://pkgs.dev.azure.com:443443/acme/x/",
            "https:///pkgs.dev.azure.com/acme/x/",
            "https:pkgs.dev.azure.com/acme/x/",
            "//pkgs.dev.azure.com/acme/x/",
            "ftp://pkgs.dev.azure.com/acme/x/",
        ],
    }.items()
    for asked in urls
]

# The connection is for one feed: it also opens the files that this feed's page links, which do not name it.
ONE_FEED: list[Row] = [
    *[
        (FEED, asked, FEED)
        for asked in (
            f"{FEED}/acme-lib/",
            f"{ORG}/_packaging/TEAM/pypi/simple/x/",
            f"{ORG}/_packaging/{GUID}/{FILE}",
            f"{ORG}/_packaging/{GUID.upper()}/{FILE}",
            f"{ORG}/{PROJECT}/_packaging/{GUID}/{FILE}",
            f"{ORG}/_packaging/{GUID}@{VIEW}/{FILE}",
            f"{ORG}/_packaging/{GUID}%40{VIEW}/{FILE}",
            f"{ORG}/{PROJECT}/_packaging/{GUID}%40{VIEW}/{FILE}",
            f"{DEVOPS}/Acme/_packaging/{GUID}/{FILE}",
            f"{LEGACY}/_packaging/{GUID}/{FILE}",
            f"{LEGACY}/_packaging/team/pypi/simple/acme-lib/",
        )
    ],
    *[
        (FEED, asked, "")
        for asked in (
            ORG,
            f"{ORG}/_packaging/other/pypi/simple/x/",
            f"{ORG}/_packaging/teamX/pypi/simple/x/",
            f"{ORG}/_packaging/team@Release/pypi/simple/x/",
            f"{ORG}/_packaging/team/{FILE}",
            f"{ORG}/_packaging/team/pypi/upload/",
            f"{DEVOPS}/other/_packaging/{GUID}/{FILE}",
            f"{DEVOPS}/other/acme/_packaging/{GUID}/{FILE}",
            f"{DEVOPS}/_packaging/{GUID}/{FILE}",
            f"https://acme2.pkgs.visualstudio.com/_packaging/{GUID}/{FILE}",
            f"https://pkgs.dev.azure.com:8443/acme/_packaging/{GUID}/{FILE}",
            f"https://evil-pkgs.dev.azure.com/acme/_packaging/{GUID}/{FILE}",
            f"{EVIL}/acme/_packaging/{GUID}/{FILE}",
            f"{ORG}/_packaging/{GUID}/pypi/simple/x/",
            f"{ORG}/_packaging/{GUID}/pypi/upload/x",
            f"{ORG}/_packaging/{GUID}/pypi/download",
            f"{ORG}/_packaging/{GUID}/pypi/downloads/x",
            f"{ORG}/_packaging/{GUID}/nuget/v3/flat2/x",
            f"{ORG}/_packaging/{GUID}@Release/{FILE}",
            f"{ORG}/_packaging/{GUID}@{VIEW}@{VIEW}/{FILE}",
            f"{ORG}/_packaging/{GUID}%2540{VIEW}/{FILE}",
            f"{ORG}/_packaging/{GUID[:-1]}/{FILE}",
            f"{ORG}/_packaging/{GUID}0/{FILE}",
            f"{ORG}/_packaging/{GUID.replace('-', '')}/{FILE}",
            f"{ORG}/Platform/_packaging/{GUID}/{FILE}",
            f"{ORG}/{PROJECT}/{PROJECT}/_packaging/{GUID}/{FILE}",
            f"{ORG}/_apis/_packaging/{GUID}/{FILE}",
        )
    ],
    (FEED, f"{ORG}/_packaging/{GUID}/../x/pypi/download/y", NEVER),
    (FEED, f"{ORG}/_packaging/{GUID}%2fpypi/download/y", NEVER),
    # Another source's page links the same files: they are none of its own.
    ("https://index.example/simple", f"{ORG}/_packaging/{GUID}/{FILE}", ""),
    (f"{ORG}/_packaging/other/pypi/simple", f"{ORG}/_packaging/{GUID}/{FILE}", ""),
    (f"{DEVOPS}/other/_packaging/team/pypi/simple", f"{ORG}/_packaging/{GUID}/{FILE}", ""),
]

# The connection is for something that is not Azure DevOps: nothing there is known to be the same place.
ELSEWHERE: list[Row] = [
    *[
        (GITLAB, asked, GITLAB)
        for asked in (GITLAB, f"{GITLAB}/simple/x/", f"{GITLAB}/files/x", GITLAB.replace("gitlab.example", "GitLab.example:443"))
    ],
    *[
        (GITLAB, asked, "")
        for asked in (
            f"{GITLAB}x/simple/",
            GITLAB.replace("/1/", "/12/"),
            GITLAB.replace("/packages/", "/Packages/"),
            GITLAB.replace("/1/", "/%31/"),
            GITLAB.removesuffix("/pypi"),
            GITLAB.replace("gitlab.example", "x.gitlab.example"),
            GITLAB.replace("gitlab.example", "gitlab.example.evil.example"),
            GITLAB.replace("gitlab.example", "gitlab.example:8443"),
            f"https://gitlab.example/acme/_packaging/{GUID}/{FILE}",
        )
    ],
]


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("world"), HOSTS) as made:
        yield made


@pytest.fixture(autouse=True)
def _unheard(everywhere: World) -> None:
    everywhere.clear()


class Stored:
    """A credential of three headers and a signature: a client that minds only Authorization lets the others through."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection.name
        self._secret = secret_of(connection.target)

    async def headers(self) -> dict[str, str]:
        pair = base64.b64encode(f"user:{self._secret}".encode()).decode()
        return {"Authorization": f"Basic {pair}", "X-Feed-Key": self._secret, "Private-Token": self._secret}

    async def sign_url(self, url: str) -> str:
        return f"{url}{'&' if '?' in url else '?'}sig={self._secret}"

    async def renew(self) -> bool:
        return True  # so that a refusal is asked again, with the credential of that very hop

    def explain_refusal(self, *_: object) -> None:
        return None


def secret_of(target: str) -> str:
    return f"canary-{target.encode().hex()}-canary"


def connections_for(targets: Sequence[str], makes: type[Credential] = Stored) -> Connections:
    table = Connections(lambda connection: makes(connection) if connection.auth_type != "None" else None)
    table.replace(
        [
            Connection(name=f"c{number}", target=target, auth_type="ManagedIdentity", scope="api://x/.default")
            for number, target in enumerate(targets)
        ]
    )
    return table


@asynccontextmanager
async def asking(everywhere: World, page: str, table: Connections) -> AsyncIterator[SourceClient]:
    client = SourceClient(
        source="team-feed",
        url=page,
        file_hosts=FILE_HOSTS,
        credentials=table.of_page(page),
        clock=FakeClock(),
        metrics=Metrics(),
        user_agent="test",
        ca_file=str(everywhere.ca_file),
        outbound_proxy=everywhere.proxy.url,
    )
    try:
        yield client
    finally:
        await client.close()
        await hang_up()


async def ask(client: SourceClient, url: str) -> None:
    try:
        await client.page(url, accept="application/vnd.pypi.simple.v1+json")
    except UpstreamError as error:
        assert "canary" not in repr(error)


def arrived(everywhere: World, targets: Sequence[str]) -> list[tuple[str, set[str]]]:
    """Each URL that was asked, in order, and the targets whose secret came along in any form, anywhere in the request."""
    found = []
    for heard in everywhere.heard:
        forms = {
            target: (secret_of(target), base64.b64encode(f"user:{secret_of(target)}".encode()).decode()) for target in targets
        }
        came = {target for target, said in forms.items() if any(form.encode() in heard.head for form in said)}
        assert not came or all(form.encode() in heard.head for target in came for form in forms[target]), "a half credential"
        found.append((heard.url.partition("?")[0], came))
    return found


async def check(everywhere: World, targets: Sequence[str], row: Row) -> None:
    page, asked, arrives = row
    async with asking(everywhere, page, connections_for(targets)) as client:
        await ask(client, asked)
    came = arrived(everywhere, targets)
    if arrives == NEVER:
        assert came == []
    else:
        assert [secrets for _, secrets in came] == [{arrives} - {""}]


@pytest.mark.parametrize("row", ORGANISATION, ids=lambda row: row[1])
@pytest.mark.parametrize("target", [ORG, LEGACY, f"{DEVOPS}/ACME"])
async def test_a_credential_of_an_organisation(everywhere: World, target: str, row: Row) -> None:
    page, asked, arrives = row
    await check(everywhere, [target], (page, asked, target if arrives == ORG else arrives))


@pytest.mark.parametrize("row", ONE_FEED, ids=lambda row: f"{row[1]} by {row[0]}")
async def test_a_credential_of_one_feed(everywhere: World, row: Row) -> None:
    await check(everywhere, [FEED], row)


@pytest.mark.parametrize("row", ELSEWHERE, ids=lambda row: row[1])
async def test_a_credential_of_another_index(everywhere: World, row: Row) -> None:
    await check(everywhere, [GITLAB], row)


MANY = [ORG, FEED, f"{ORG}/Platform", f"{DEVOPS}/other", EVIL, "https://index.example/simple"]


@pytest.mark.parametrize(
    ("page", "asked", "arrives"),
    [
        (FEED, f"{FEED}/x/", FEED),
        (FEED, f"{ORG}/_packaging/team2/pypi/simple/x/", ORG),
        (FEED, f"{ORG}/Platform/_packaging/t/pypi/simple/x/", f"{ORG}/Platform"),
        (FEED, f"{ORG}/platform/_packaging/t/pypi/simple/x/", f"{ORG}/Platform"),
        (FEED, f"{ORG}/_packaging/{GUID}/{FILE}", FEED),
        (f"{ORG}/_packaging/team2/pypi/simple", f"{ORG}/_packaging/{GUID}/{FILE}", ORG),
        ("https://index.example/simple", f"{ORG}/_packaging/{GUID}/{FILE}", ORG),
        ("https://index.example/simple", "https://index.example/simple/x/", "https://index.example/simple"),
        (FEED, f"{DEVOPS}/other/_packaging/{GUID}/{FILE}", f"{DEVOPS}/other"),
        (FEED, f"{EVIL}/acme/_packaging/{GUID}/{FILE}", EVIL),
        (FEED, f"{STORAGE}/x", ""),
    ],
)
async def test_of_many_the_longest_wins(everywhere: World, page: str, asked: str, arrives: str) -> None:
    await check(everywhere, MANY, (page, asked, arrives))


async def test_a_connection_that_says_none_takes_its_place_out_of_the_one_above(everywhere: World) -> None:
    table = Connections(lambda connection: Stored(connection) if connection.auth_type != "None" else None)
    whole = Connection(name="all", target=ORG, auth_type="ManagedIdentity")
    table.replace([whole, Connection(name="open", target=f"{ORG}/Public", auth_type="None")])
    async with asking(everywhere, FEED, table) as client:
        await ask(client, f"{ORG}/Public/_packaging/p/pypi/simple/x/")
        await ask(client, f"{ORG}/Public2/_packaging/p/pypi/simple/x/")
    assert [came for _, came in arrived(everywhere, [ORG])] == [set(), {ORG}]


# Where a page that belongs to the connection redirects to, and whose secret arrives there.
REDIRECTS: list[tuple[str, str, str]] = [
    ("the same place", f"{FEED}/other/", ORG),
    ("a relative path", "../other/", ORG),
    ("the other host of the place", f"{LEGACY}/_packaging/team/pypi/simple/other/", ORG),
    ("a file of the feed", f"{ORG}/_packaging/{GUID}/{FILE}", ORG),
    ("storage", f"{STORAGE}/x.blob?sig=theirs", ""),
    ("another host", f"{EVIL}/acme/x/", ""),
    ("another host without scheme", "//evil.example/acme/x/", ""),
    ("another port", "https://pkgs.dev.azure.com:8443/acme/x/", ""),
    ("another organisation", f"{DEVOPS}/acme2/x/", ""),
    ("another organisation by path", "/acme2/x/", ""),
    ("no encryption", "http://pkgs.dev.azure.com/acme/x/", NEVER),
    ("a user in it", "https://acme@pkgs.dev.azure.com/acme/x/", NEVER),
    ("a password in it", "https://acme:x@evil.example/acme/x/", NEVER),
    ("an encoded climb", f"{ORG}/%2e%2e/acme2/x/", NEVER),
    ("an encoded slash", f"{ORG}%2f..%2facme2/x/", NEVER),
    ("a backslash", "https://evil.example\\@pkgs.dev.azure.com/acme/", NEVER),
    ("a host nobody listed", "https://stranger.example/acme/x/", NEVER),
    ("an address of the machine", "http://169.254.169.254/metadata/instance", NEVER),
]


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(("to", "arrives"), [pytest.param(to, arrives, id=name) for name, to, arrives in REDIRECTS])
async def test_a_redirect_takes_no_secret_along(everywhere: World, to: str, arrives: str, code: int) -> None:
    start = f"{FEED}/acme-lib/"
    everywhere.redirect(start, to, code)
    async with asking(everywhere, FEED, connections_for([ORG])) as client:
        await ask(client, start)
    came = arrived(everywhere, [ORG])
    assert came[0] == (start, {ORG})
    assert [secrets for _, secrets in came[1:]] == ([] if arrives == NEVER else [{arrives} - {""}])


@pytest.mark.parametrize("code", CODES)
async def test_who_is_sent_away_and_back_again_is_asked_with_the_secret_only_at_home(everywhere: World, code: int) -> None:
    start, away, back = f"{FEED}/acme-lib/", f"{EVIL}/there/", f"{FEED}/again/"
    everywhere.redirect(start, away, code)
    everywhere.redirect(away, back, code)
    async with asking(everywhere, FEED, connections_for([ORG])) as client:
        await ask(client, start)
    assert arrived(everywhere, [ORG]) == [(start, {ORG}), (away, set()), (back, {ORG})]


@pytest.mark.parametrize("code", CODES)
async def test_a_refusal_elsewhere_is_not_answered_with_a_secret_from_home(everywhere: World, code: int) -> None:
    """401 and its kin make us look for another secret: that of the hop which refused, and it has none."""
    start, away = f"{FEED}/acme-lib/", f"{EVIL}/there/"
    everywhere.redirect(start, away, code)
    everywhere.answers[away] = (
        b'HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'
    )
    async with asking(everywhere, FEED, connections_for([ORG])) as client:
        await ask(client, start)
    assert arrived(everywhere, [ORG]) == [(start, {ORG}), (away, set())]


async def test_nothing_that_the_proxy_can_read_has_a_secret_in_it(everywhere: World) -> None:
    everywhere.proxy.seen.clear()
    async with asking(everywhere, FEED, connections_for([ORG])) as client:
        await ask(client, f"{FEED}/acme-lib/")
    assert everywhere.heard
    assert b"CONNECT pkgs.dev.azure.com:443" in everywhere.proxy.seen
    assert b"canary" not in everywhere.proxy.seen
