"""One door for the entries of a page: each is judged by itself, whatever stands beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.simple_api.pages import ORIGIN, SHA, assert_sound, filenames, links
from wheelgate.core.names import same_version_key, version_of
from wheelgate.core.page_links import PageLinks
from wheelgate.core.urls import HostRules, parse
from wheelgate.simple_api.collector import Collector, PageEntry, ParsedPage, metadata_digests

often = settings(deadline=None, max_examples=400)
names = filenames | st.sampled_from(
    [
        "demo-1.0.tar.gz",
        "demo-1.0-py3-none-any.whl",
        "demo-1.0-py2-none-any.whl",
        "Demo-1.0-py3-none-any.whl",
        "demo-1.0-1.tar.gz",
        "demo-1.0-short.whl",
        "demo-1.0_1-py3-none-any.whl",
        "demo-1.0_1.tar.gz",
        "demo-1.tar.gz",
        "demo-v1.0.zip",
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


def collected(entries: Sequence[PageEntry], versions: Sequence[str] = (), project: str = "demo") -> ParsedPage:
    collector = Collector(project, "upstream", links(project), versions)
    for entry in entries:
        collector.add(entry)
    return collector.page(None)


@often
@given(
    st.lists(entries, max_size=5, unique_by=lambda entry: entry.filename)
    | st.lists(plain, max_size=8, unique_by=lambda entry: entry.filename),
    st.sampled_from([(), ("1.0",), ("1.0", "2.0"), ("1.0.0",), ("1.0_1",), ("1.0.post1",), ("v1",)]),
)
@example([PageEntry("demo-1.0_1-py3-none-any.whl", "/f/a.whl", {"sha256": SHA})], ("1.0_1",))
@example(
    [PageEntry("demo-1.0-py3-none-any.whl", "/f/a.whl", {"sha256": SHA}), PageEntry("demo-1.0.tar.gz", "/f/", {"sha256": SHA})],
    (),
)
def test_an_entry_is_judged_as_if_it_stood_alone(entries: list[PageEntry], versions: tuple[str, ...]) -> None:
    """Whatever is remembered of the entries before it."""
    page = collected(entries, versions)
    assert list(page.files) == [file for entry in entries for file in collected([entry]).files]
    assert page.dropped + len(page.withheld) == len(entries) - len(page.files)
    if page.withheld:  # theirs stand between the others'
        assert set(map(same_version_key, page.versions)) == set(map(same_version_key, covering(page, versions)))
    else:
        assert list(page.versions) == covering(page, versions)
    assert_sound(page)


def covering(page: ParsedPage, listed: Sequence[str]) -> list[str]:
    """The versions of a page as they follow from the whole of each file name."""
    found = {same_version_key(version): version for version in listed}
    for file in (*page.files, *page.withheld):
        if (version := version_of(file.filename, "demo")) is not None:
            found.setdefault(same_version_key(version), version)
    return list(found.values())


@often
@given(st.lists(entries, max_size=8), st.sampled_from([(), ("1.0",)]))
def test_whatever_is_on_a_page_what_is_made_of_it_is_sound(entries: list[PageEntry], versions: tuple[str, ...]) -> None:
    assert_sound(collected(entries, versions))


def test_a_wheel_behind_an_sdist_whose_name_has_dashes_is_judged_by_its_own_name() -> None:
    """``my-demo-1.0-...`` is how the sdists of a version begin, and no wheel of ``my-demo``."""
    files = ["my-demo-1.0.tar.gz", "my-demo-1.0-py3-none-any.whl", "my_demo-1.0-py3-none-any.whl"]
    together = collected([PageEntry(name, "/f/a.whl", {"sha256": SHA}) for name in files], ["1.0"], "my-demo")
    alone = [collected([PageEntry(name, "/f/a.whl", {"sha256": SHA})], ["1.0"], "my-demo").files for name in files]
    assert list(together.files) == [file for files in alone for file in files]


def test_a_wheel_of_another_project_does_not_follow_an_odd_one_that_begins_as_it_does() -> None:
    """``x`` is no build tag, so the first is taken by how it begins; the second is ``a``'s, version 1, build 2.0."""
    files = ["a-1-x-py3-none-any.whl", "a-1-2.0-py3-none-any.whl"]
    page = collected([PageEntry(name, "/f/a.whl", {"sha256": SHA}) for name in files], (), "a-1")
    assert [file.filename for file in page.files] == files[:1]


@pytest.mark.parametrize("folder", ["/f/aa", f"{ORIGIN}/f/aa", "https://files.example.com/f/aa"])
@pytest.mark.parametrize("versions", [(), ("1.0", "1.1")])
def test_the_entries_of_a_page_as_nearly_every_index_sends_it(folder: str, versions: tuple[str, ...]) -> None:
    allowed = PageLinks(parse(f"{ORIGIN}/simple/demo/"), HostRules(parse(ORIGIN), ["files.example.com"]))
    collector = Collector("demo", "upstream", allowed, versions)
    files = [
        f"demo-{version}{end}" for version in ("1.0", "1.1") for end in (".tar.gz", "-py3-none-any.whl", "-cp314-abi3-win32.whl")
    ]
    metadata: list[bool | dict[str, str] | None] = [None, {"sha256": SHA}, True]
    for number, name in enumerate(files):
        stated = metadata[number % 3]
        collector.add(PageEntry(name, f"{folder}/{name}", {"sha256": SHA}, core_metadata=stated, requires_python=">=3.9"))
    page = collector.page(None)
    assert [file.filename for file in page.files] == files
    assert page.versions == ("1.0", "1.1")
    assert [file.core_metadata for file in page.files[:3]] == [None, {"sha256": SHA}, {}]


@often
@given(tables)
def test_core_metadata_is_offered_under_a_digest_that_is_compared_or_without_one(table: dict[str, str]) -> None:
    sha256 = table.get("sha256", "").lower()
    well_formed = re.fullmatch("[0-9a-f]{64}", sha256) is not None
    assert metadata_digests(table) == ({"sha256": sha256} if well_formed else None if table else {})
