"""HTML pages (PEP 503, 592, 629, 658, 714, 740, 792) as servers of all ages write them, and as attackers do."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simple_api.pages import ORIGIN, SHA, assert_sound, links, parsed_html, parsed_json
from wheelgate.core.model import File, ProjectStatus, RemoteFile
from wheelgate.simple_api.collector import MAX_FILES, BlankPage, NotAnIndexPage
from wheelgate.simple_api.parse_html import parse_html

modestly = settings(deadline=None, max_examples=200)
HEADING = "<!DOCTYPE html><html><head><title>Links for demo</title></head><body><h1>Links for demo</h1>"
NAME = "demo-1.0-py3-none-any.whl"


def anchor(attributes: str = "", name: str = NAME, fragment: str = f"#sha256={SHA}") -> str:
    return f'<a href="/f/{name}{fragment}" {attributes}>{name}</a><br>\n'


def one_file(attributes: str) -> File:
    (file,) = parsed_html(HEADING + anchor(attributes) + "</body></html>").files
    return file


def names(body: str | bytes, charset: str = "utf-8") -> list[str]:
    return [file.filename for file in parsed_html(body, charset=charset).files]


def test_a_plain_page_of_pep_503_is_read() -> None:
    parsed = parsed_html(HEADING + anchor() + anchor(name="demo-2.0.tar.gz", fragment="") + "</body></html>")
    wheel, sdist = parsed.files
    assert wheel.filename == NAME
    assert wheel.location == RemoteFile(f"{ORIGIN}/f/{NAME}", "upstream")
    assert wheel.hashes == {"sha256": SHA}
    assert (wheel.size, wheel.upload_time, wheel.requires_python, wheel.yanked) == (None, None, None, None)
    assert (wheel.core_metadata, wheel.provenance) == (None, None)
    assert sdist.hashes == {}
    assert parsed.versions == ("1.0", "2.0")
    assert (parsed.status, parsed.dropped) == (None, 0)


@pytest.mark.parametrize(
    ("attributes", "field", "expected"),
    [
        ('data-requires-python="&gt;=3.9"', "requires_python", ">=3.9"),
        ("data-requires-python='>=3.9,<4'", "requires_python", ">=3.9,<4"),
        ('DATA-Requires-PYTHON="&gt;=3"', "requires_python", ">=3"),
        ('data-requires-python=""', "requires_python", None),
        ("data-requires-python", "requires_python", None),
        ('data-requires-python="a&#10;b"', "requires_python", "a b"),
        ("data-yanked", "yanked", ""),
        ('data-yanked=""', "yanked", ""),
        ('data-yanked="&lt;b&gt; &amp; &quot;quotes&quot; &#39;"', "yanked", '<b> & "quotes" \''),
        ('data-yanked="two\nlines"', "yanked", "two lines"),
        (f'data-core-metadata="sha256={SHA}"', "core_metadata", {"sha256": SHA}),
        (f'data-core-metadata="sha256={SHA.upper()}"', "core_metadata", {"sha256": SHA}),
        (f'data-dist-info-metadata="sha256={SHA}"', "core_metadata", {"sha256": SHA}),
        ('data-core-metadata="true"', "core_metadata", {}),
        ("data-core-metadata", "core_metadata", {}),
        ('data-core-metadata="false"', "core_metadata", None),
        ('data-core-metadata="sha256=zz"', "core_metadata", None),
        ('data-core-metadata="true" data-dist-info-metadata="false"', "core_metadata", {}),
        ('data-provenance="https://index.example.com/p?a=1&amp;b=2"', "provenance", "https://index.example.com/p?a=1&b=2"),
        ('data-provenance="http://index.example.com/p"', "provenance", None),
        ('data-provenance="javascript:alert(1)"', "provenance", None),
        ('data-gpg-sig="true"', "provenance", None),
        ('rel="internal" class=x', "yanked", None),
    ],
)
def test_an_attribute_means_what_its_pep_says(attributes: str, field: str, expected: object) -> None:
    (file,) = parsed_html(HEADING + anchor(attributes)).files
    assert getattr(file, field) == expected


@pytest.mark.parametrize(
    ("fragment", "expected"),
    [
        ("", {}),
        ("#", {}),
        (f"#sha256={SHA}", {"sha256": SHA}),
        (f"#SHA256={SHA.upper()}", {"sha256": SHA}),
        (f"#md5={'b' * 32}", {"md5": "b" * 32}),
        (f"#sha512={'b' * 128}", {"sha512": "b" * 128}),
        (f"#sha1={'b' * 40}", {"sha1": "b" * 40}),
        (f"#sha3_256={SHA}", {"sha3_256": SHA}),
        (f"#sha256-{SHA}", {"sha256": SHA}),
        (f"#sha256%3D{SHA}", {"sha256": SHA}),
        (f"#md5={'b' * 32}&sha256={SHA}", {"md5": "b" * 32, "sha256": SHA}),
        (f"#blake2b={'b' * 64}", {"blake2b_256": "b" * 64}),
        ("#version=1", {}),
        (f"#sha256={SHA}&egg=demo", {"sha256": SHA}),
        (f"#sha256={SHA}&commit={'b' * 40}", {"sha256": SHA}),
        (f"#sm3={SHA}&sha256={SHA}", {"sha256": SHA}),
        (f"#egg=demo-1.0&sha256={SHA}", {"sha256": SHA}),
        (f"#egg=demo-1.0&amp;sha256={SHA}", {"sha256": SHA}),
        ("#egg=demo-1.0", {}),
        ("#anything", {}),
    ],
)
def test_a_fragment_gives_its_digests_and_nothing_else(fragment: str, expected: dict[str, str]) -> None:
    (file,) = parsed_html(HEADING + anchor(fragment=fragment)).files
    assert file.hashes == expected
    assert isinstance(file.location, RemoteFile)
    assert file.location.url == f"{ORIGIN}/f/{NAME}"


@pytest.mark.parametrize(
    "fragment",
    [
        *("#md5=zz", "#sha256=", "#sha256=abc", f"#sha256={SHA}0", f"#sha256={SHA[:-1]}g"),
        *(f"#sha256={SHA}&sha256={'b' * 64}", f"#sm3={SHA}", f"#shake_128={SHA}", f"#md5={'b' * 32}&sm3={SHA}", f"#sm3-{SHA}"),
        *(f"#sha256={SHA}{'&' * 60}", f"#sha256={SHA}&{'x' * 2_000}", f"#{'x%26' * 60}"),
    ],
)
def test_a_file_with_a_digest_that_cannot_be_checked_is_withheld_and_its_neighbour_stays(fragment: str) -> None:
    parsed = parsed_html(HEADING + anchor(name="demo-2.0.zip", fragment=fragment) + anchor())
    assert [file.filename for file in parsed.files] == [NAME]
    assert [(entry.filename, entry.rule) for entry in parsed.withheld] == [("demo-2.0.zip", "digest")]


@pytest.mark.parametrize(
    "link",
    [
        f"<a href=/f/{NAME}>x</a>",
        f"<A HREF='/f/{NAME}'>x</A>",
        f'<a href="//index.example.com/f/{NAME}">x</a>',
        f'<a href="https://index.example.com/f/{NAME}">x</a>',
        f'<a href="../../f/{NAME}">x</a>',
        f'<a href="  /f/{NAME}\n ">x</a>',
        f'<a href="/f/{NAME}">another-9.9.zip</a>',
        f'<a href="/f/{NAME}"></a>',
        f'<a href="/f/{NAME}">never closed',
        f'<a href="&#47;f/{NAME.replace("-", "&#45;")}">x</a>',
        f'<a href="/f/{NAME.replace("-", "%2D")}">x</a>',
        f'<a href="/f/{NAME}" href="/f/other-9.9.zip">x</a>',
        f'<div><p><b><a name="x" href="/f/{NAME}">x</div>',
        f'<!-- <a href="/f/demo-9.9.zip">x</a> --><a href="/f/{NAME}">x</a>',
        f'<script>document.write(\'<a href="/f/demo-9.9.zip">x</a>\')</script><a href="/f/{NAME}">x</a>',
        f'<style>a:after {{ content: \'<a href="/f/demo-9.9.zip">\' }}</style><a href="/f/{NAME}">x</a>',
        f'<a href="https://home.example.com/demo/">home</a><a href="../">..</a><a href="/f/{NAME}">x</a>',
        f'<a>none</a><a href="">empty</a><a href="/f/{NAME}">x</a>',
        f'<a href="/f/{NAME}.asc">sig</a><a href="/f/{NAME}.metadata">m</a><a href="/f/{NAME}">x</a>',
        f'<a href="/f/demo-9.9.zip/">folder</a><a href="/f/{NAME}">x</a>',
    ],
)
def test_a_link_is_found_however_it_is_written_and_only_where_it_is_one(link: str) -> None:
    parsed = parsed_html(HEADING + link)
    assert [file.filename for file in parsed.files] == [NAME]
    assert isinstance(parsed.files[0].location, RemoteFile)
    assert parsed.files[0].location.url.replace("%2D", "-") == f"{ORIGIN}/f/{NAME}"


def test_a_query_belongs_to_the_url_and_not_to_the_name() -> None:
    (file,) = parsed_html(HEADING + f'<a href="/f/{NAME}?token=a%2Fb.zip#sha256={SHA}">x</a>').files
    assert file.filename == NAME
    assert file.location == RemoteFile(f"{ORIGIN}/f/{NAME}?token=a%2Fb.zip", "upstream")


def test_an_encoded_name_is_decoded_once() -> None:
    assert names(HEADING + '<a href="/f/demo-1.0%2Blocal.zip">x</a><a href="/f/demo-2.0%252Blocal.zip">x</a>') == [
        "demo-1.0+local.zip"
    ]


@pytest.mark.parametrize(
    "href",
    [
        "http://[::1/demo-2.0.zip",
        "javascript:alert(1)//demo-2.0.zip",
        "https://evil.invalid/demo-2.0.zip",
        "//evil.invalid/demo-2.0.zip",
        "\\\\evil.invalid\\demo-2.0.zip",
        "https://user:secret@evil.invalid/demo-2.0.zip",
        "/f/demo-2.0.zip\r\nX-Evil: 1.zip",
        "/f/%2e%2e%2fdemo-2.0.zip",
        "/f/..%5cdemo-2.0.zip",
        "/f/demo-2.0%00.zip",
        "/f/demo-2.0%0d%0a.zip",
        "/f/other-2.0.zip",
        "/f/demo-2.0%ff.zip",
        "/f/dëmo-2.0.zip",
    ],
)
def test_a_hostile_link_is_dropped_and_its_neighbour_stays(href: str) -> None:
    parsed = parsed_html(HEADING + f'<a href="{href}">x</a>' + anchor())
    assert [file.filename for file in parsed.files] == [NAME]
    assert parsed.dropped + len(parsed.withheld) == 1


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ('<base href="/mirror/">', f"{ORIGIN}/mirror/{NAME}"),
        ('<base href="../x/">', f"{ORIGIN}/simple/x/{NAME}"),
        ('<base href="/one/"><base href="/two/">', f"{ORIGIN}/one/{NAME}"),
        ('<base target="_blank"><base href="/one/">', f"{ORIGIN}/one/{NAME}"),
        ('<base href=""><base href="/one/">', f"{ORIGIN}/one/{NAME}"),
    ],
)
def test_the_first_base_counts(base: str, url: str) -> None:
    (file,) = parsed_html(f'<html><head>{base}</head><body><h1>Links for demo</h1><a href="{NAME}">x</a>').files
    assert file.location == RemoteFile(url, "upstream")


@pytest.mark.parametrize("base", ["https://evil.invalid/", "//evil.invalid/", "javascript:alert(1)", "http://[::1/"])
def test_a_base_elsewhere_takes_every_relative_link_with_it(base: str) -> None:
    parsed = parsed_html(f'<base href="{base}"><h1>Links for demo</h1><a href="{NAME}">x</a><a href="/f/demo-2.0.zip">x</a>')
    assert parsed.files == ()
    assert [entry.rule for entry in parsed.withheld] == ["link", "link"]


@pytest.mark.parametrize(
    ("metas", "expected"),
    [
        ('<meta name="pypi:project-status" content="archived">', ProjectStatus("archived")),
        (
            '<meta name="pypi:project-status" content="quarantined"><meta name="pypi:project-status-reason" content="&lt;b&gt;">',
            ProjectStatus("quarantined", "<b>"),
        ),
        ('<META NAME="PyPI:Project-Status" CONTENT="deprecated">', ProjectStatus("deprecated")),
        ('<meta name="pypi:project-status" content="unheard-of">', None),
        ('<meta name="pypi:project-status">', None),
        ('<meta name="pypi:project-status-reason" content="x">', None),
        ("<meta name><meta content><meta>", None),
    ],
)
def test_the_projects_status_stands_in_meta_tags(metas: str, expected: ProjectStatus | None) -> None:
    assert parsed_html(metas + HEADING + anchor()).status == expected


@pytest.mark.parametrize("version", ["1.0", "1.4", "1.99", "1", ""])
def test_every_minor_version_is_fine(version: str) -> None:
    assert names(f'<meta name="pypi:repository-version" content="{version}">' + anchor()) == [NAME]


@pytest.mark.parametrize("version", ["2.0", "2", "0.1", "11.0", "x"])
def test_another_major_version_is_not_guessed_at(version: str) -> None:
    with pytest.raises(NotAnIndexPage, match=r"of which only 1\.x is known"):
        parsed_html(f'<meta name="pypi:repository-version" content="{version}">' + HEADING + anchor())


@pytest.mark.parametrize(
    "body",
    [
        HEADING,
        "<title>Links for demo</title>",
        "<h1>Links for demo</h1>",
        "<h1>Index of /simple/demo/</h1><a href='../'>Parent Directory</a>",
        "<title>Simple index</title>",
        '<meta name="pypi:repository-version" content="1.0">',
        "<html><head><title>Links\nfor demo</title></head></html>".replace("\n", " "),
        "<h1>Links for <b>demo</b></h1>",
    ],
)
def test_an_empty_page_that_says_what_it_is_means_no_files(body: str) -> None:
    parsed = parsed_html(body)
    assert parsed.files == ()
    assert parsed.versions == ()


NGINX_FOLDERS = (
    "<title>Index of /</title><h1>Index of /</h1><hr><pre><a href='../'>../</a>\n<a href='demo/'>demo/</a>   01-Jan</pre>"
)
APACHE_FOLDERS = (
    "<h1>Index of /simple/demo</h1><table><tr><th><a href='?C=N;O=D'>Name</a></th></tr>"
    "<tr><td><a href='/simple/'>Parent Directory</a></td></tr><tr><td><a href='1.0/'>1.0/</a></td></tr></table>"
)


@pytest.mark.parametrize("body", [NGINX_FOLDERS, APACHE_FOLDERS, "<title>Index of /</title><a href=./dist/>dist</a>"])
def test_a_listing_of_folders_alone_is_no_page_of_a_project(body: str) -> None:
    with pytest.raises(NotAnIndexPage, match="a listing of folders, which is no page of a project"):
        parsed_html(body)
    assert names(body + anchor()) == [NAME], "but one with a file of the project is"


@pytest.mark.parametrize(
    ("body", "blank"),
    [
        ("<html></html>", True),
        ("<!DOCTYPE html>\n<html>\n<head>\n<meta charset='utf-8'>\n</head>\n<body>\n\n</body>\n</html>\n", True),
        ("", False),
        ("<html><body>Back soon</body></html>", False),
        ("<html><body><a href='/login'></a></body></html>", False),
        ("<html><body><script></script></body></html>", False),
        ("<html><body onload='go()'></body></html>", False),
        ("<html><head><meta http-equiv='refresh' content='0; url=/login'></head></html>", False),
        ("<html><body><iframe src='/login'></iframe></body></html>", False),
    ],
)
def test_a_page_that_says_nothing_at_all_is_told_from_others(body: str, blank: bool) -> None:
    with pytest.raises(NotAnIndexPage) as caught:
        parsed_html(body)
    assert isinstance(caught.value, BlankPage) is blank


@pytest.mark.parametrize(
    "body",
    [
        "",
        " ",
        "<html></html>",
        "<html><head><title>Sign in to your account</title></head><body><form><input type=password></form></body></html>",
        "<title>Welcome to the airport</title><a href='/accept'>Accept</a>",
        "<title>Sign in</title><p>Links for demo</p>",  # not a heading
        "<title>503 Service Unavailable</title>",
        "<title>Sign in</title><a href='/downloads/vpn-client.exe'>Get our client</a>",
        "<title>Sign in</title><a href='/downloads/agent-1.0.zip'>Get our agent</a>",
        "<title>Sign in</title><!-- <h1>Links for demo</h1> -->",
        '{"files": []}',
        "plain text",
        "<h2>Links for demo</h2>",
    ],
)
def test_a_sign_in_page_or_captive_portal_is_not_an_empty_index(body: str) -> None:
    with pytest.raises(NotAnIndexPage, match="not an index page"):
        parsed_html(body)


def test_a_page_of_bare_links_needs_no_heading() -> None:
    assert names(anchor()) == [NAME]


def test_one_name_with_two_contents_is_trusted_with_neither() -> None:
    parsed = parsed_html(HEADING + anchor() + anchor(fragment=f"#sha256={'b' * 64}") + anchor(name="demo-2.0.zip"))
    assert [file.filename for file in parsed.files] == ["demo-2.0.zip"]
    assert (parsed.dropped, [entry.filename for entry in parsed.withheld]) == (1, [NAME])


LONG = "".join(anchor(name=f"demo-{number}.zip") for number in range(1_000))
ODD_BYTES = b"<p>caf\xe9 \xff\xfe\x81</p>"


@pytest.mark.parametrize(
    "charset", ["utf-8", "UTF8", "ascii", "us-ascii", "iso-8859-1", "latin-1", "windows-1252", "shift_jis", "gb2312", "big5"]
)
def test_bytes_that_a_charset_lacks_cost_no_file(charset: str) -> None:
    body = HEADING.encode() + LONG.encode() + ODD_BYTES + LONG.replace("demo-", "demo-9.").encode()
    assert len(names(body, charset)) == 2_000


@pytest.mark.parametrize("charset", ["utf-16", "utf-16-le", "utf-32", "utf-7", "cp037", "iso-8859-15"])
def test_a_page_is_read_in_its_own_charset(charset: str) -> None:
    (file,) = parsed_html((HEADING + anchor('data-yanked="schön"')).encode(charset), charset=charset).files
    assert file.yanked == "schön"


def test_a_byte_order_mark_is_overlooked() -> None:
    assert names(b"\xef\xbb\xbf" + (HEADING + anchor()).encode()) == [NAME]


@pytest.mark.parametrize(
    "charset", ["unheard-of", "utf-8\0", "ü", "rot13", "hex", "zlib", "idna", "x" * 10_000, " ", "../../etc"]
)
def test_a_charset_that_gives_no_text_is_an_error(charset: str) -> None:
    with pytest.raises(NotAnIndexPage, match="an unknown character set"):
        parsed_html(HEADING + anchor(), charset=charset)


def test_a_character_split_between_two_slices_is_one_character() -> None:
    for padding in range(16 * 1024 - 200, 16 * 1024, 1):
        body = HEADING + "x" * (padding - len(HEADING)) + anchor('data-yanked="é€😀"')
        (file,) = parsed_html(body).files
        assert file.yanked == "é€😀"


def test_the_same_page_parses_the_same_in_whatever_slices_it_falls() -> None:
    whole = [file.filename for file in parsed_html(HEADING + LONG).files]
    assert whole == [f"demo-{number}.zip" for number in range(1_000)]


BOMBS = {
    "nested": "<div>" * 300_000,
    "tables": "<table><tr><td>" * 100_000,
    "fonts": "<font><b><i>" * 100_000,
    "paragraphs": "<b><p>" * 200_000,
    "anchors": "<a>" * 300_000,
    "forms": "<form><select><option>" * 100_000,
    "closing": "</p>" * 300_000,
    "angles": "<" * 3_000_000,
    "entities": "&amp;" * 1_000_000,
    "unknown entities": "&a" * 1_000_000,
    "character": "&#x110000;&#99999999999999999999;" * 20_000,
    "attributes": "<p " + " ".join(f"a{number}=1" for number in range(100_000)) + ">",
    "one attribute": '<p title="' + "x" * 11_000_000 + '">',
    "text": "x" * 11_000_000,
    "comment": "<!--" + "-" * 5_000_000 + "-->",
    "headings": "<h1>Links for</h1>" * 100_000,
    "metas": "".join(f'<meta name="a{number}">' for number in range(100_000)),
    "nulls": "\0" * 1_000_000,
    "declared entities": '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;"><!ENTITY c "&b;&b;">]>' + "&c;" * 10_000,
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
def test_a_bomb_ends_in_bounded_time_and_costs_no_file(bomb: str) -> None:
    began = time.process_time()
    found = names(HEADING + anchor(name="demo-1.zip") + bomb + anchor(name="demo-2.zip"))
    assert time.process_time() - began < 3
    assert found == ["demo-1.zip", "demo-2.zip"]


def test_more_files_than_any_project_has_are_refused() -> None:
    body = "".join(f"<a href=/demo-{number}.zip>" for number in range(MAX_FILES + 1))
    with pytest.raises(NotAnIndexPage, match="more than 200000 files"):
        parsed_html(body)


def test_no_slice_of_a_long_page_holds_the_loop_for_long() -> None:
    body = (HEADING + "".join(anchor(name=f"demo-{number}.tar.gz") for number in range(20_000))).encode()
    steps = parse_html(body, "utf-8", "demo", "upstream", links())
    slices = []
    ended = False
    while not ended:
        began = time.process_time()
        ended = next(steps, "end") == "end"
        slices.append(time.process_time() - began)
    assert len(slices) > 100
    assert slices[-1] < sum(slices) / 10  # the end does not do what the slices should have done


tags = st.sampled_from(
    [
        *(
            "<a href=",
            "'",
            '"',
            ">",
            "</a>",
            "<base href=",
            "<meta name=pypi:repository-version content=1.0>",
            "<!--",
            "-->",
            "<script>",
        ),
        *(
            "</script>",
            "<title>",
            "</title>",
            "<h1>",
            "Links for",
            "/f/demo-1.0.zip",
            "demo-2.0-py3-none-any.whl",
            "//evil.invalid/",
            "#sha256=",
        ),
        *(
            SHA,
            " data-yanked",
            "=",
            "&lt;",
            "&#0;",
            "&#xD800;",
            "\0",
            "\r\n",
            " data-requires-python=",
            "é",
            "<![CDATA[",
            "<?xml",
            "<!DOCTYPE",
        ),
        *(
            "<table>",
            "<template>",
            "<svg>",
            "<textarea>",
            "<plaintext>",
            "<frameset>",
            "%2e%2e%2f",
            "..",
            " data-core-metadata=true",
        ),
    ]
)


@settings(deadline=None, max_examples=400)
@given(st.lists(tags, max_size=25).map("".join) | st.text(max_size=60), st.booleans())
def test_arbitrary_html_is_a_sound_page_or_not_a_page(body: str, headed: bool) -> None:
    try:
        parsed = parsed_html((HEADING if headed else "") + body)
    except NotAnIndexPage:
        return
    assert_sound(parsed)


@modestly
@given(st.binary(max_size=200), st.sampled_from(["utf-8", "utf-16", "ascii", "shift_jis", "utf-7"]))
def test_arbitrary_bytes_are_a_sound_page_or_not_a_page(body: bytes, charset: str) -> None:
    with contextlib.suppress(NotAnIndexPage):
        assert_sound(parsed_html(body, charset=charset))


def test_utf_16_without_a_byte_order_mark_is_an_error() -> None:
    with pytest.raises(NotAnIndexPage, match="HTML that cannot be parsed"):
        parsed_html((HEADING + anchor()).encode("utf-16-be"), charset="utf-16")


def test_both_serialisations_are_judged_by_one_set_of_rules() -> None:
    html = parsed_html(HEADING + anchor('data-yanked="why" data-core-metadata="true" data-requires-python="&gt;=3"'))
    entry = (
        f'{{"filename":"{NAME}","url":"/f/{NAME}","hashes":{{"sha256":"{SHA}"}},'
        '"yanked":"why","core-metadata":true,"requires-python":">=3"}'
    )
    assert parsed_json(f'{{"files":[{entry}]}}'.encode()) == html


@pytest.mark.parametrize(
    ("attribute", "size"),
    [
        ("7", 7),
        ("+7", 7),
        ("007", 7),
        ("0", None),
        ("", None),
        (" 7", None),
        ("-7", None),
        ("7.5", None),
        ("7 MB", None),
        ("\u0667", None),
    ],
)
def test_a_size_is_read_as_uv_reads_it(attribute: str, size: int | None) -> None:
    assert one_file(f'data-size="{attribute}"').size == size


@pytest.mark.parametrize(
    ("attribute", "moment"),
    [
        ("2025-04-23T15:03:12Z", datetime(2025, 4, 23, 15, 3, 12, tzinfo=UTC)),
        ("2025-04-23t15:03:12z", datetime(2025, 4, 23, 15, 3, 12, tzinfo=UTC)),
        ("2025-04-23 15:03:12+02:00", datetime(2025, 4, 23, 13, 3, 12, tzinfo=UTC)),
        ("2025-04-23T15:03:12.123456789Z", datetime(2025, 4, 23, 15, 3, 12, 123456, tzinfo=UTC)),
        ("20250423T150312Z", datetime(2025, 4, 23, 15, 3, 12, tzinfo=UTC)),
        ("2025-04-23T15:03:12", None),
        ("2025-04-23", None),
        ("1745420592", None),
        ("yesterday", None),
        ("", None),
        ("9999-12-31T23:59:59-14:00", None),
        ("Z" * 100_000, None),
    ],
)
def test_an_upload_time_is_read_as_uv_reads_it(attribute: str, moment: datetime | None) -> None:
    """As PyTorch's pages have it. One without an offset is none."""
    assert one_file(f'data-upload-time="{attribute}"').upload_time == moment


def test_an_attribute_that_cannot_be_read_costs_nothing_but_itself() -> None:
    file = one_file('data-size="large" data-upload-time="yesterday" data-yanked data-requires-python="&gt;=3.9"')
    assert (file.size, file.upload_time, file.yanked, file.requires_python) == (None, None, "", ">=3.9")
