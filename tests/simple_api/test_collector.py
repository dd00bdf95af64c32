"""Entries that are judged together give what they give one by one, and are judged together where they can be."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.simple_api.pages import ORIGIN, SHA, assert_sound, filenames, links
from wheelgate.core.names import are_plain_filenames, is_safe_filename
from wheelgate.core.urls import HostRules, PageLinks, parse
from wheelgate.simple_api.collector import Collector, PageEntry, ParsedPage
from wheelgate.simple_api.fields import are_plain, digests, metadata_digests

often = settings(deadline=None, max_examples=400)
names = filenames | st.sampled_from(
    [
        "demo-1.0.tar.gz",
        "demo-1.0-py3-none-any.whl",
        "demo-1.0-py2-none-any.whl",
        "Demo-1.0-py3-none-any.whl",
        "demo-1.0-1.tar.gz",
        "demo-1.0-short.whl",
        "demo-1.0.0-py3-none-any.whl",
        "demo-demo-1.0-py3-none-any.whl",
        "demo_more-1.0.tar.gz",
        "demo-1.0.tar.gz.metadata",
        "demo-1..0.tar.gz",
        "demo-1.0 (1).zip",
        "demo.tar.gz",
        "other-1.0-py3-none-any.whl",
        ".demo-1.0.tar.gz",
        "demo-é.tar.gz",
        "",
    ]
)
hrefs = st.builds("/f/{}".format, filenames) | st.sampled_from(
    [
        f"{ORIGIN}/f/a.whl",
        "https://evil.invalid/f/a.whl",
        f"{ORIGIN}:443/f/a.whl",
        "//evil.invalid/a.whl",
        "/f/../a.whl",
        "/f/.a.whl",
        "/f//a.whl",
        "/f/",
        "/",
        "f/a.whl",
        "/f/%2e/a.whl",
        "/f/a b.whl",
        "/f/é.whl",
        "",
    ]
)
tables = st.sampled_from(
    [{"sha256": SHA}, {"sha256": "b" * 64}, {"sha256": "A" * 64}, {"sha256": "a" * 63}, {"sha256": "g" * 64}]
) | st.sampled_from([{}, {"md5": "c" * 32}, {"sha256": SHA, "md5": "c" * 32}, {"blake2b": "d" * 64}, {"sha256": "é" * 64}])
mostly_plain = {"url": "/f/a.whl", "hashes": {"sha256": SHA}}
entries = st.builds(
    PageEntry,
    filename=names,
    url=st.just("/f/a.whl") | hrefs,
    hashes=st.just({"sha256": SHA}) | tables,
    requires_python=st.sampled_from([None, "", ">=3.9", "a\nb", "x" * 2_000]),
    size=st.sampled_from([None, 0, 7, -1, 2**53, 2**60]),
    upload_time=st.sampled_from(
        [
            None,
            datetime(2025, 1, 1, tzinfo=UTC),
            datetime(2025, 1, 1),  # noqa: DTZ001 - as an upstream may write it
            datetime(2025, 1, 1, tzinfo=timezone(timedelta(hours=5))),
            datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=5))),
        ]
    ),
    yanked=st.sampled_from([None, False, True, "", "a\x00b"]),
    core_metadata=st.none() | st.booleans() | tables,
    dist_info_metadata=st.none() | st.booleans() | tables,
    provenance=st.sampled_from([None, "", "https://index.example.com/p", "http://x", "https://x/'", "https://" + "x" * 2_000]),
)
plain = st.builds(PageEntry, filename=names, url=st.just("/f/a.whl"), hashes=st.just({"sha256": SHA}))


def judged(entries: Sequence[PageEntry], versions: Sequence[str], *, together: bool) -> ParsedPage:
    collector = Collector("demo", "upstream", links(), versions)
    if together:
        collector.add_all(entries)
    else:
        for entry in entries:
            collector.add_entry(entry)
    return collector.page(None)


@often
@given(
    st.lists(entries, max_size=5) | st.lists(plain, max_size=8, unique_by=lambda entry: entry.filename),
    st.sampled_from([(), ("1.0",), ("1.0", "2.0"), ("1.0.0",)]),
)
@example(
    [PageEntry("demo-1.0-py3-none-any.whl", "/f/a.whl", {"sha256": SHA}), PageEntry("demo-1.0.tar.gz", "/f/", {"sha256": SHA})],
    (),
)
def test_entries_judged_together_are_judged_as_each_alone_is(entries: list[PageEntry], versions: tuple[str, ...]) -> None:
    together = judged(entries, versions, together=True)
    assert together == judged(entries, versions, together=False)
    assert_sound(together)


def test_a_wheel_behind_an_sdist_whose_name_has_dashes_is_judged_by_its_own_name() -> None:
    """``my-demo-1.0-...`` is how the sdists of a version begin, and no wheel of ``my-demo``."""
    files = ["my-demo-1.0.tar.gz", "my-demo-1.0-py3-none-any.whl", "my_demo-1.0-py3-none-any.whl"]
    both = []
    for together in (True, False):
        collector = Collector("my-demo", "upstream", links("my-demo"), ["1.0"])
        some = [PageEntry(name, "/f/a.whl", {"sha256": SHA}) for name in files]
        if together:
            collector.add_all(some)
        else:
            for entry in some:
                collector.add_entry(entry)
        both.append(collector.page(None))
    assert both[0] == both[1]


class Counted(PageLinks):
    """Links that count how many were looked at one by one."""

    def __init__(self, *file_hosts: str) -> None:
        super().__init__(parse(f"{ORIGIN}/simple/demo/"), HostRules(parse(ORIGIN), file_hosts))
        self.alone = 0

    def absolute(self, href: str) -> str | None:
        self.alone += 1
        return super().absolute(href)


@pytest.mark.parametrize("folder", ["/f/aa", f"{ORIGIN}/f/aa", "https://files.example.com/f/aa"])
@pytest.mark.parametrize("versions", [(), ("1.0", "1.1")])
def test_plain_entries_are_judged_together(folder: str, versions: tuple[str, ...]) -> None:
    """A page as nearly every index sends it must never fall back to the path that takes twice as long."""
    counted = Counted("files.example.com")
    collector = Collector("demo", "upstream", counted, versions)
    files = [
        f"demo-{version}{end}" for version in ("1.0", "1.1") for end in (".tar.gz", "-py3-none-any.whl", "-cp314-abi3-win32.whl")
    ]
    metadata: list[bool | dict[str, str] | None] = [None, {"sha256": SHA}, True]
    collector.add_all(
        [
            PageEntry(name, f"{folder}/{name}", {"sha256": SHA}, core_metadata=metadata[number % 3], requires_python=">=3.9")
            for number, name in enumerate(files)
        ]
    )
    assert counted.alone == 1
    page = collector.page(None)
    assert [file.filename for file in page.files] == files
    assert page.versions == ("1.0", "1.1")
    assert [file.core_metadata for file in page.files[:3]] == [None, {"sha256": SHA}, {}]


@often
@given(st.lists(names | st.text(st.sampled_from("aZ0_.-+/ %\né"), max_size=4), max_size=4))
@example(["a" * 256])
@example(["demo-1.0.tar.gz", "demo.METADATA"])
def test_plain_file_names_are_safe_ones(names: list[str]) -> None:
    if are_plain_filenames(names):
        assert all(map(is_safe_filename, names))


def test_the_file_names_of_wheels_and_sdists_are_plain() -> None:
    assert are_plain_filenames(
        ["demo-1.0.tar.gz", "Demo_x-1.0+local.1-cp314-cp314-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"]
    )


@often
@given(st.lists(tables, max_size=4))
def test_plain_digest_tables_are_what_they_are_judged_to_be(tables: list[dict[str, str]]) -> None:
    if are_plain(tables):
        assert all(digests(table) is table and metadata_digests(table) is table for table in tables)
    assert are_plain([{"sha256": SHA}, {"sha256": "b" * 64}])


@often
@given(st.lists(hrefs | st.text(st.sampled_from("/.:@aé%# \\"), max_size=5), max_size=4))
@example(["/a/", "/b"])
@example([f"{ORIGIN}:443/a", f"{ORIGIN}:443/b"])
@example([f"{ORIGIN}/a", f"{ORIGIN}.evil.invalid/a"])
def test_plain_links_lead_where_each_leads_alone(hrefs: list[str]) -> None:
    together = links().plain(hrefs)
    if together is not None:
        assert list(together) == [links().absolute(href) for href in hrefs]
