"""Upstream URLs: what is refused, what counts as the same place, and where a page's links may lead."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from yarl import URL

from wheelgate.core.page_links import PageLinks
from wheelgate.core.urls import HostRules, UnsafeUrl, origin, parse, parse_scope, redact_url, without_user_info

OWN = "https://index.example.com/org/feed/simple/"
PAGE = OWN + "demo/"
HERE = "https://index.example.com"
modestly = settings(deadline=None, max_examples=400)


def links(page: str = PAGE, *file_hosts: str, own: str = OWN) -> PageLinks:
    return PageLinks(parse(page), HostRules(parse(own), file_hosts))


@pytest.mark.parametrize(
    "url",
    [
        "https://index.example.com@evil.invalid/",
        "https://index.example.com:x@evil.invalid/",
        "https://@index.example.com/",
        "https://:@index.example.com/",
        "https://evil.invalid\\@index.example.com/",
        "https://index.example.com\\.evil.invalid/",
        "https://index%2eexample.com/",
        "https://index.example.com%00.evil.invalid/",
        "https:///index.example.com/",
        "https:index.example.com/",
        "https:/index.example.com/",
        "//evil.invalid/",
        "/path",
        "",
        "https://",
        "https://\uff49ndex.example.com/",
        "https://index.example。com/",
        "https://index.example.com。/",
        "https://index.example.com./",
        "https://169.254.169.254./",
        "https://index.example.com:0443/",
        "https://index.example.com:+443/",
        "https://index.example.com:0/",
        "https://index.example.com:65536/",
        "https://index.example.com:4\uff143/",
        "https://index.example.com/org/feed/../other",
        "https://index.example.com/org/./feed",
        "https://index.example.com/..",
        "https://index.example.com/%2e%2e/",
        "https://index.example.com/.%2E/",
        "https://index.example.com/a%2f..%2fb",
        "https://index.example.com/a%5Cb",
        "https://index.example.com/a%00b",
        "https://index.example.com/a%0d%0ab",
        "https://index.example.com/a%7fb",
        "https://index.example.com//org/feed",
        "https://index.example.com/org//feed",
        "https://index.example.com/a b",
        "https://index\t.example.com/",
        "https://index.example.com/a\nb",
        "https://index.example.com/a\r\nX-Evil: 1",
        " https://index.example.com/",
        "https://index.example.com/\0",
        "https://index.\u00adexample.com/",
        "https://index.ex\u0430mple.com/",
        "https://xn--index-.example.com/",
        "https://index..example.com/",
        "https://-index.example.com/",
        "http://[::1/x",
        "http://[::1]x/",
        "http://[fe80::1%25eth0]/",
        "http://[v1.fe]/",
        "javascript:alert(1)",
        "javascript://index.example.com/%0aalert(1)",
        "file:///etc/passwd",
        "ftp://index.example.com/",
        "data:text/html,x",
        "about:blank",
    ],
)
def test_a_url_that_could_be_read_in_two_ways_is_refused(url: str) -> None:
    with pytest.raises(UnsafeUrl):
        parse(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://INDEX.example.com/x",
        "https://index.example.com:443/x",
        "https://index.example.com:/x",
        "HTTPS://index.example.com/x",
        "https://index.example.com",
        "https://index.example.com/org/feed;x",
        "https://index.example.com/Org/Feed",
        "https://index.example.com?x=/../",
    ],
)
def test_spellings_of_one_place_have_one_origin(url: str) -> None:
    assert origin(parse(url)) == ("https", "index.example.com", 443)


@pytest.mark.parametrize(
    ("url", "elsewhere"),
    [
        ("https://evil.invalid#@index.example.com/", ("https", "evil.invalid", 443)),
        ("https://evil.invalid?@index.example.com/", ("https", "evil.invalid", 443)),
        ("https://index.example.com.evil.invalid/", ("https", "index.example.com.evil.invalid", 443)),
        ("https://index.example.com:444/", ("https", "index.example.com", 444)),
        ("http://index.example.com/", ("http", "index.example.com", 80)),
        ("http://index.example.com:443/", ("http", "index.example.com", 443)),
        ("https://127.1/", ("https", "127.1", 443)),
        ("https://2130706433/", ("https", "2130706433", 443)),
        ("https://[::ffff:169.254.169.254]/", ("https", "::ffff:169.254.169.254", 443)),
    ],
)
def test_what_looks_like_our_host_is_another_place(url: str, elsewhere: tuple[str, str, int]) -> None:
    parsed = parse(url)
    assert origin(parsed) == elsewhere
    assert not HostRules(parse(OWN)).allows(parsed)


def test_a_path_stays_as_it_was_written() -> None:
    assert str(parse("https://index.example.com/a%2Bb/c%41+d;x?q=%2f")) == "https://index.example.com/a%2Bb/c%41+d;x?q=%2f"


def test_a_url_is_shown_without_secrets() -> None:
    assert redact_url("https://user:secret@index.example.com:444/x?sig=secret#secret") == "https://index.example.com:444/x"
    assert redact_url(parse("https://index.example.com/x?sig=secret")) == "https://index.example.com/x"


@pytest.mark.parametrize(
    ("own", "file_hosts", "url", "allowed"),
    [
        (OWN, (), "https://index.example.com/anything", True),
        (OWN, (), "https://other.example.com/", False),
        (OWN, (), "http://index.example.com/", False),
        (OWN, (), "https://index.example.com:8443/", False),
        ("https://index.example.com:8443/", (), "https://index.example.com/", False),
        ("http://index.example.com/", (), "https://index.example.com/", True),
        ("http://index.example.com:8080/", (), "https://index.example.com/", True),
        ("http://index.example.com:8080/", (), "http://index.example.com/", False),
        (OWN, ("files.example.com",), "https://files.example.com/x", True),
        (OWN, ("FILES.example.com",), "https://Files.Example.com/x", True),
        (OWN, ("files.example.com",), "http://files.example.com/x", False),
        ("http://index.example.com/", ("files.example.com",), "http://files.example.com/x", True),
        (OWN, ("files.example.com",), "https://files.example.com:8443/x", False),
        (OWN, ("files.example.com:8443",), "https://files.example.com:8443/x", True),
        (OWN, ("files.example.com:8443",), "https://files.example.com/x", False),
        (OWN, ("files.example.com",), "https://files.example.com.evil.invalid/x", False),
        (OWN, ("files.example.com",), "https://evil-files.example.com/x", False),
        (OWN, ("*.example.net",), "https://a.example.net/", True),
        (OWN, ("*.example.net",), "https://a.b.example.net/", True),
        (OWN, ("*.example.net",), "https://example.net/", False),
        (OWN, ("*.example.net",), "https://evilexample.net/", False),
        (OWN, ("*.example.net",), "https://a.example.net.evil.invalid/", False),
        (OWN, ("*.example.net",), "https://a.example.net:8443/", False),
        (OWN, ("*.example.net",), "http://a.example.net/", False),
    ],
)
def test_a_source_asks_its_own_origin_and_its_file_hosts(own: str, file_hosts: tuple[str, ...], url: str, allowed: bool) -> None:
    assert HostRules(parse(own), file_hosts).allows(parse(url)) is allowed


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("https://index.example.com/", True),
        ("https://INDEX.example.com:9/", True),
        ("https://files.example.com/", True),
        ("https://near.example.com:8443/", True),
        ("https://near.example.com/", False),
        ("https://a.example.net/", False),
        ("https://other.invalid/", False),
    ],
)
def test_only_a_host_that_the_operator_wrote_out_counts_as_named(url: str, named: bool) -> None:
    rules = HostRules(parse(OWN), ("files.example.com", "near.example.com:8443", "*.example.net"))
    assert rules.names(parse(url)) is named


@pytest.mark.parametrize(
    ("href", "expected"),
    [
        ("demo-1.0.tar.gz", PAGE + "demo-1.0.tar.gz"),
        ("../../files/x.whl", HERE + "/org/feed/files/x.whl"),
        ("../../../../../../x.whl", HERE + "/x.whl"),
        ("/files/x.whl", HERE + "/files/x.whl"),
        ("/files/x.whl#sha256=00", HERE + "/files/x.whl"),
        ("/files/x.whl?token=1#sha256=00", HERE + "/files/x.whl?token=1"),
        ("https://index.example.com/files/x.whl", HERE + "/files/x.whl"),
        ("https://INDEX.example.com/files/x.whl", "https://INDEX.example.com/files/x.whl"),
        ("https://index.example.com:443/files/x.whl", HERE + "/files/x.whl"),
        ("//index.example.com/files/x.whl", HERE + "/files/x.whl"),
        ("/files/a b.whl", HERE + "/files/a%20b.whl"),
        ("/files/a%20b+c%2B.whl", HERE + "/files/a%20b+c%2B.whl"),
        ("/files/é.whl", HERE + "/files/%C3%A9.whl"),
        ("https://index.example.com/files/a b.whl", HERE + "/files/a%20b.whl"),
        ("https://index.example.com/files/é.whl", HERE + "/files/%C3%A9.whl"),
        (" https://index.example.com/files/x.whl ", HERE + "/files/x.whl"),
        ("https://index.example.com/a/../files/./x.whl", HERE + "/files/x.whl"),
        ("https://index.example.com/../../x.whl", HERE + "/x.whl"),
        ("/a/b/..", HERE + "/a/"),
        ("https://user@index.example.com/x.whl", HERE + "/x.whl"),
        ("https://us:er:se@cret@index.example.com/x.whl", HERE + "/x.whl"),
        ("https://@index.example.com/x.whl", HERE + "/x.whl"),
        ("//user:secret@index.example.com/x.whl", HERE + "/x.whl"),
        ("/a//x.whl", HERE + "/a//x.whl"),
        ("https://index.example.com//x.whl", HERE + "//x.whl"),
        ("..//files//x.whl", HERE + "/org/feed/simple//files//x.whl"),
        ("/a//../x.whl", HERE + "/a/x.whl"),
        ("x.whl?a=//../b", PAGE + "x.whl?a=//../b"),
        ("?x", PAGE + "?x"),
    ],
)
def test_a_link_is_resolved_against_its_page(href: str, expected: str) -> None:
    assert links().absolute(href) == expected


@pytest.mark.parametrize(
    "href",
    [
        "",
        "#sha256=00",
        "//evil.invalid/x.whl",
        "https://evil.invalid/x.whl",
        "http://index.example.com/x.whl",
        "https://index.example.com:444/x.whl",
        "https://index.example.com@evil.invalid/x.whl",
        "https://index.example.com:x@evil.invalid/x.whl",
        "//index.example.com@evil.invalid/x.whl",
        "https://a@index.example.com@evil.invalid/x.whl",
        "https://index.example.com\\@evil.invalid/x.whl",
        "https://@/x.whl",
        "\\\\evil.invalid\\x.whl",
        "/\\evil.invalid/x.whl",
        "https:\\\\evil.invalid/x.whl",
        "https:x.whl",
        "https:/x.whl",
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "http://[::1/x.whl",
        "http://[::1",
        "//[::1/x.whl",
        "https://\uff49ndex.example.com/x.whl",
        "//\uff49ndex.example.com/x.whl",
        "https://index.example.com./x.whl",
        "//index.example.com./x.whl",
        "/a/%2e%2e/x.whl",
        "/a/..%2fx.whl",
        "/a%5c..%5cx.whl",
        "/a//../../..//evil.invalid/%2e%2e//x.whl",
        "https://index.example.com/a/%2e%2e/x.whl",
        "https://index.example.com/a//..%2fx.whl",
        "/x.whl\r\nX-Evil: 1",
        "/x.whl\n",
        "\t/x.whl",
        "/x%0d%0aX-Evil:%201",
        "/x\0.whl",
        "/x\ud800.whl",
        "http://169.254.169.254/metadata/identity",
        "https://[::ffff:169.254.169.254]/x.whl",
        "https://168.63.129.16/x.whl",
    ],
)
def test_a_hostile_link_leads_nowhere(href: str) -> None:
    assert links().absolute(href) is None


@pytest.mark.parametrize(
    ("base", "href", "expected"),
    [
        ("/mirror/", "x.whl", HERE + "/mirror/x.whl"),
        ("../files/", "x.whl", HERE + "/org/feed/simple/files/x.whl"),
        ("https://index.example.com/mirror/", "x.whl", HERE + "/mirror/x.whl"),
        ("  /mirror/  ", "x.whl", HERE + "/mirror/x.whl"),
        ("https://evil.invalid/", "x.whl", None),
        ("https://evil.invalid/", "/x.whl", None),
        ("//evil.invalid/", "/x.whl", None),
        ("https://user:secret@index.example.com/", "/x.whl", HERE + "/x.whl"),
        ("https://user:secret@evil.invalid/", "/x.whl", None),
        ("javascript:alert(1)", "/x.whl", None),
        ("http://[::1/", "/x.whl", None),
        ("http://[::1/", "x.whl", None),
        ("https://evil.invalid/", HERE + "/x.whl", HERE + "/x.whl"),
        ("http://[::1/", HERE + "/x.whl", HERE + "/x.whl"),
    ],
)
def test_a_base_href_moves_relative_links_and_no_permission(base: str, href: str, expected: str | None) -> None:
    resolved = links()
    assert resolved.absolute("/first.whl") == HERE + "/first.whl"
    resolved.rebase(base)
    assert resolved.absolute(href) == expected


def test_links_lead_to_file_hosts() -> None:
    resolved = links(PAGE, "files.example.net")
    assert resolved.absolute("https://files.example.net/x.whl") == "https://files.example.net/x.whl"
    resolved.rebase("https://files.example.net/a/")
    assert resolved.absolute("x.whl") == "https://files.example.net/a/x.whl"


pieces = st.sampled_from(
    [
        *(
            "https://",
            "http://",
            "HTTPS://",
            "//",
            "/",
            "\\",
            ":",
            "@",
            "#",
            "?",
            "[",
            "]",
            ".",
            "..",
            "./",
            "../",
            ";",
            "%",
            " ",
        ),
        *(
            "index.example.com",
            "INDEX.example.com",
            "files.example.net",
            "evil.invalid",
            "xn--",
            "127.0.0.1",
            "[::1]",
            "user:pw@",
        ),
        *("%2e", "%2F", "%5c", "%00", "%41", "\t", "\r\n", "\uff49ndex", "。", "é", "\u00ad"),
        *(":443", ":0443", ":8443", ":", "x.whl"),
        *("a", "-", "_", "~", "+", "=", "simple", "demo-1.0.tar.gz", "javascript:", "https:"),
    ]
)
hrefs = st.one_of(st.lists(pieces, max_size=8).map("".join), st.text(max_size=20))
pages = st.sampled_from(
    [PAGE, "https://index.example.com:443/simple/demo/", "https://INDEX.example.com/s/?q", "http://[::1]:8080/s/"]
)


@modestly
@given(hrefs, pages, st.none() | hrefs)
@example("https://index.example.com:443/x.whl", PAGE, None)
@example("/x.whl", PAGE, "https://index.example.com:443")
def test_whatever_a_link_becomes_is_an_allowed_url_by_one_reading(href: str, page: str, base: str | None) -> None:
    rules = HostRules(parse(page), ("files.example.net",))
    resolved = PageLinks(parse(page), rules)
    if base is not None:
        resolved.rebase(base)
    url = resolved.absolute(href)
    assert url == resolved._judge(href)  # the way without a parser and the one with it agree
    if url is not None:
        assert rules.allows(parse(url, empty_segments=True))
        assert origin(URL(url)) == origin(parse(url, empty_segments=True))  # also as yarl reads it with all its repairs
        assert "#" not in url
        assert url.isascii()
        assert url.isprintable()


@modestly
@given(hrefs)
@example("https://index.example.com:443")
def test_a_url_is_parsed_or_refused_and_parses_to_itself(text: str) -> None:
    try:
        url = parse(text)
    except UnsafeUrl:
        return
    again = parse(str(url))
    assert str(again) == str(url)  # a port that is the scheme's own is not written, and yarl then takes them for two
    assert origin(again) == origin(url)
    assert origin(URL(text)) == origin(url)


@pytest.mark.parametrize(
    ("text", "plain", "credential"),
    [
        ("https://user:token@index.example.com/s/", "https://index.example.com/s/", "user:token"),
        ("https://token@index.example.com", "https://index.example.com", "token"),
        ("https://@index.example.com/s/", "https://index.example.com/s/", ""),
        ("https://a@b:c@index.example.com/s/", "https://index.example.com/s/", "a@b:c"),
        ("git+https://${TOKEN}@github.com/a/b.git@v1", "git+https://github.com/a/b.git@v1", "${TOKEN}"),
        ("https://index.example.com/team@Release/s/", "https://index.example.com/team@Release/s/", None),
        ("https://index.example.com?to=a@b", "https://index.example.com?to=a@b", None),
        ("https://index.example.com#a@b", "https://index.example.com#a@b", None),
        ("no url at all @ all", "no url at all @ all", None),
    ],
)
def test_a_credential_is_split_off_where_every_client_splits_it(text: str, plain: str, credential: str | None) -> None:
    rest, found = without_user_info(text)
    assert rest == plain
    assert (found.reveal() if found else None) == credential
    assert "token" not in repr(found)


@pytest.mark.parametrize(
    "text",
    [
        "https://good.example\\@evil.example/s/",
        "https://user:p w@h.example/",
        "https://a:b@h.example\\@x/",
        "https://a\n@h.example/",
    ],
)
def test_what_readers_split_differently_is_refused(text: str) -> None:
    rest, _ = without_user_info(text)
    with pytest.raises(UnsafeUrl):
        parse(rest)


@modestly
@given(hrefs, hrefs)
def test_after_the_split_no_user_information_is_left(user: str, text: str) -> None:
    plain, _ = without_user_info(f"https://{user}@{text}")
    with suppress(UnsafeUrl):
        assert parse(plain).raw_user is None


NEIGHBOURS = {
    "pypi": "https://pypi.org/simple/",
    "sibling": "https://index.example.com/other/simple/",
    "twin": "https://index.example.com/team/simple/",
    "port": "https://near.example.com:8443/simple/",
}


@pytest.mark.parametrize(
    ("url", "neighbour", "inside"),
    [
        ("https://index.example.com/team/simple/demo/", None, True),
        ("https://index.example.com/elsewhere", None, True),
        ("https://index.example.com/other/simple/demo/", "sibling", False),
        ("https://index.example.com/other/simple", "sibling", False),
        ("https://index.example.com/other/simple2/demo/", None, True),
        ("https://pypi.org/simple/demo/", "pypi", False),
        ("https://pypi.org/maintenance", "pypi", False),
        ("http://pypi.org/simple/demo/", None, False),
        ("https://pypi.org:8443/simple/demo/", None, False),
        ("https://near.example.com:8443/", "port", False),
        ("https://near.example.com/", None, False),
        ("https://files.example.com/simple/demo/", None, False),
    ],
)
def test_a_redirect_leads_to_another_source_by_its_origin_and_at_our_own_by_its_path(
    url: str, neighbour: str | None, inside: bool
) -> None:
    rules = HostRules(parse("https://index.example.com/team/simple/"), ("files.example.com",), NEIGHBOURS)
    assert rules.find_neighbour(parse(url)) == neighbour
    assert rules.is_inside(parse(url)) is inside


@pytest.mark.parametrize(
    ("own", "href", "said"),
    [
        (
            OWN,
            "https://files.example.org/x.whl",
            "at https://files.example.org:443, which is not among its file_hosts: list",
        ),
        (
            OWN,
            "https://127.0.0.1:9102/x.whl",
            "at https://127.0.0.1:9102, which is not among its file_hosts: list",
        ),
        (OWN, "https://user:secret@files.example.org/x.whl", "at https://files.example.org:443, which is not"),
        (
            OWN,
            "http://index.example.com/x.whl",
            "at http://index.example.com:80, without TLS: its proxy must send X-Forwarded-Proto",
        ),
        (OWN, "http://index.example.com:443/x.whl", "at http://index.example.com:443, without TLS: its proxy must send"),
        (OWN, "http://files.example.org/x.whl", "at http://files.example.org:80, without TLS, which no setting allows"),
        (
            OWN,
            "https://index.example.com:8443/x.whl",
            "at https://index.example.com:8443, another port than its own, 443: its proxy",
        ),
        ("http://[::1]:8080/", "http://[::1]/x.whl", "at http://[::1]:80, another port than its own, 8080: its proxy must send"),
        (
            OWN,
            "https://files.pythonhosted.org/x.whl",
            "at https://files.pythonhosted.org:443, which is not among its file_hosts: list",
        ),
        (OWN, "javascript:alert(1)", "in a way that is not followed: it is not an absolute http(s) URL"),
        (OWN, "https:x.whl", "in a way that is not followed: it is not an absolute http(s) URL"),
        (OWN, "/a/%2e%2e/x.whl", "in a way that is not followed: its path could be read in two ways"),
        (OWN, "https://index.example.com./x.whl", "in a way that is not followed: its host is not written plainly"),
        (OWN, "/x.whl\n", "in a way that is not followed: it is malformed"),
        (OWN, "/x\ud800.whl", "in a way that is not followed: it is malformed"),
    ],
)
def test_a_refused_link_is_named_with_its_place_and_what_would_mend_it(own: str, href: str, said: str) -> None:
    found = links(f"{own}demo/", own=own)
    assert found.absolute(href) is None
    reason = found.explain(href)
    assert reason.startswith(said)
    assert "secret" not in reason


@pytest.mark.parametrize(
    "href", ["https://files.example.org/x.whl", "https://127.0.0.1:9102/x.whl", "https://index.example.com:8443/x.whl"]
)
def test_the_entry_that_is_named_is_the_one_that_allows_the_link(href: str) -> None:
    host = links().explain(href).partition('"')[2].partition('"')[0]
    assert links(PAGE, host).absolute(href) == href


@pytest.mark.parametrize(
    ("target", "url", "held"),
    [
        ("https://index.example.com/team", "https://index.example.com/team//x.whl", True),
        ("https://index.example.com/", "https://index.example.com//team/x.whl", True),
        ("https://index.example.com/team", "https://index.example.com//team/x.whl", False),
        ("https://index.example.com/team/a", "https://index.example.com/team//a/x.whl", False),
        ("https://index.example.com/team", "https://index.example.com/teams//team/x.whl", False),
    ],
)
def test_empty_segments_bring_no_url_below_a_credential(target: str, url: str, held: bool) -> None:
    assert parse_scope(target).holds(parse_scope(url)) is held
