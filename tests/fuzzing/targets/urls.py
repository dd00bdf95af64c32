"""Links and URLs: what leads where, held against another parser; and whose credential goes along."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

from tests.fuzzing.target import CANARY, Target, assert_sentence
from wheelgate.config.connections import Connection
from wheelgate.core.page_links import PageLinks
from wheelgate.core.secret import Secret
from wheelgate.core.urls import (
    HostRules,
    UnsafeUrl,
    display_host,
    origin,
    parse,
    parse_scope,
    redact_url,
    without_user,
    without_user_info,
)
from wheelgate.credentials.connections import Connections

_PAGE = "https://index.example.com/simple/demo/"
_PORTS = {"http": 80, "https": 443}
_TARGETS = (
    "https://index.example.com/",
    "https://index.example.com/simple/demo",
    "https://index.example.com:8443/a/b/",
    "http://127.0.0.1:8080/",
    "https://pkgs.dev.azure.com/acme",
    "https://pkgs.dev.azure.com/acme/_packaging/team",
    "https://other.pkgs.visualstudio.com/",
    "https://[::1]/",
)
_CONNECTIONS = Connections(lambda connection: Secret(connection.target))  # type: ignore[arg-type,return-value]  # only compared
_CONNECTIONS.replace([Connection(name=f"c{number}", target=target) for number, target in enumerate(_TARGETS)])
_FEED = "https://pkgs.dev.azure.com/acme/_packaging/team/pypi/simple/"


def check(data: bytes) -> None:
    """The first line is a page's base or a file host, each other one a link on that page and a URL."""
    base, *lines = data.decode("utf-8", "surrogateescape").split("\n")[:20]
    for line in (base, *lines):
        _check_parsed(line)
        _check_credential(line)
        _check_redacted(line)
    for file_hosts in ((), ("files.example.com", "*.cdn.example.com", "other.example.com:8443")):
        rules = HostRules(parse(_PAGE), file_hosts)
        for rebased in (False, True):
            links = PageLinks(parse(_PAGE), rules)
            if rebased:
                links.rebase(base)
            for line in lines:
                _check_link(line, links, rules, rebased)


def _check_parsed(text: str) -> None:
    try:
        url = parse(text)
    except UnsafeUrl as error:
        assert_sentence(str(error))
        return
    other = urlsplit(text)
    assert origin(url)[:2] == (other.scheme, (other.hostname or "").lower())
    assert url.port == (other.port or _PORTS[other.scheme])
    assert other.username is None
    assert other.password is None
    assert (url.raw_path, url.raw_query_string) == (other.path or "/", other.query)
    assert str(parse(str(url))) == str(url)
    assert origin(parse(str(url))) == origin(url)
    shown = redact_url(url)
    assert shown == redact_url(text)
    assert urlsplit(shown).query == urlsplit(shown).fragment == ""
    display_host(url)


def _check_credential(text: str) -> None:
    for page in (_PAGE, _FEED):
        found = _CONNECTIONS.of_page(page).for_url(text)
        if found is None:
            continue
        assert isinstance(found, Secret)
        target, other = urlsplit(found.reveal()), urlsplit(text)
        assert target.scheme == other.scheme
        assert (target.port or _PORTS[target.scheme]) == (other.port or _PORTS[other.scheme])
        host, place = (other.hostname or "").lower(), [part for part in other.path.split("/") if part]
        is_devops = "pkgs.dev.azure.com" in found.reveal() or ".pkgs.visualstudio.com" in found.reveal()
        if is_devops:
            twin = host.removesuffix(".pkgs.visualstudio.com")
            place = place if host == "pkgs.dev.azure.com" else [twin, *place]
            assert host == "pkgs.dev.azure.com" or twin != host
            assert place[0].lower() == ("acme" if "acme" in found.reveal() else "other")
        else:
            assert host == target.hostname
            below = [part for part in target.path.split("/") if part]
            assert place[: len(below)] == below


def _check_redacted(text: str) -> None:
    bare, credential = without_user_info(text)
    if credential is None:
        assert bare == text
    else:
        assert CANARY not in repr(credential)
        assert f"{credential.reveal()}@" in text
    try:
        without_user(text)
    except UnsafeUrl as error:
        assert_sentence(str(error))
    try:
        assert parse_scope(text).holds(parse_scope(text))
    except UnsafeUrl as error:
        assert_sentence(str(error))


def _check_link(href: str, links: PageLinks, rules: HostRules, rebased: bool) -> None:
    found = links.absolute(href)
    assert found == links.absolute(href)
    if found is None:
        return
    url = parse(found, empty_segments=True)
    assert rules.allows(url)
    assert "#" not in found
    assert url.scheme == "https"
    if not rebased and href == href.strip():  # a client, which knows one way to join, goes to the same place
        client = urlsplit(urljoin(_PAGE, href.partition("#")[0]))
        assert (client.hostname or "").lower() == origin(url)[1]
        assert (client.port or 443) == url.port


TARGET = Target(
    check=check,
    modules=("wheelgate.core.urls", "wheelgate.credentials.connections"),
    seeds=(
        b"https://index.example.com/base/\n../../packages/demo-1.0.tar.gz#sha256=00\n/f/demo.whl?a=b\n//files.example.com/x\nhttps://a.cdn.example.com/x",
        b"https://user:" + CANARY.encode() + b"@index.example.com/x?sig=" + CANARY.encode() + b"#frag\nhttps://index.example.com:8443/a/b/c\nHTTPS://INDEX.EXAMPLE.COM:443/x",
        b"https://acme@pkgs.dev.azure.com/acme/_packaging/team/pypi/simple/demo/\nhttps://other.pkgs.visualstudio.com/x\nhttps://pkgs.dev.azure.com/ACME/x",
        b"https://pkgs.dev.azure.com/acme/0c1f7d0e-11aa-4b3c-9d5e-6f7081920a1b/_packaging/9d5e6f70-8192-4b3c-8a1b-0c1f7d0e11aa/pypi/download/acme-tool/1/a.whl",
        b"http://127.0.0.1:8080/x\nhttps://[::1]/x\nhttps://[::1]:443/y\nhttps://[::ffff:127.0.0.1]/\nhttps://0x7f.1/",
    ),
    words=(
        b"https://", b"http://", b"HTTPS:", b"https:", b"//", b"/", b"@", b":", b"#", b"?", b"\\", b"%2f", b"%2e%2e", b"..",
        b"/./", b"[", b"]", b"::1", b"index.example.com", b".index.example.com", b"index.example.com.evil.org",
        b"files.example.com", b"cdn.example.com", b"pkgs.dev.azure.com", b".pkgs.visualstudio.com", b"/acme", b"/_packaging/",
        b":443", b":0443", b":8443", b":65536", b"%00", b"\t", b" ", b"\xc2\xad", b"\xe3\x80\x82", b"\xef\xbc\x8f", b"xn--",
        b".", b"javascript:", b"data:", b"file:///", b";", b"%40", b"127.0.0.1", CANARY.encode(), b"/simple/demo",
        b"0c1f7d0e-11aa-4b3c-9d5e-6f7081920a1b",
    ),
    max_bytes=1_024,
    examples=150,
)  # fmt: skip
