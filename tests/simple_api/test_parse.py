"""JSON pages (PEP 691, 700, 714, 740, 792) of upstreams that are careless, broken or hostile."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simple_api.pages import ORIGIN, SHA, assert_sound, filenames, links, parsed_json
from tests.support.steps import straight
from wheelgate.core.model import ProjectStatus, RemoteFile
from wheelgate.simple_api.collector import NotAnIndexPage
from wheelgate.simple_api.parse import parse_json, split_json

modestly = settings(deadline=None, max_examples=200)

GOOD = {"filename": "demo-1.0-py3-none-any.whl", "url": "/f/demo-1.0-py3-none-any.whl", "hashes": {"sha256": SHA}}
FULL = {
    "filename": "demo-2.0.tar.gz",
    "url": "/f/demo-2.0.tar.gz",
    "hashes": {"sha256": "b" * 64, "md5": "c" * 32},
    "size": 1234,
    "upload-time": "2025-01-02T03:04:05.123456Z",
    "requires-python": ">=3.9,<4",
    "yanked": "broken on Tuesdays",
    "core-metadata": {"sha256": "d" * 64},
    "provenance": "https://index.example.com/integrity/demo",
}
MISSING: Any = object()


def page(*files: object, **more: object) -> dict[str, object]:
    return {"meta": {"api-version": "1.4"}, "name": "demo", "files": list(files), **more}


def test_every_field_of_an_entry_is_read() -> None:
    parsed = parsed_json(page(FULL))
    (file,) = parsed.files
    assert (file.filename, file.project, file.source) == ("demo-2.0.tar.gz", "demo", "upstream")
    assert file.location == RemoteFile(f"{ORIGIN}/f/demo-2.0.tar.gz", "upstream")
    assert file.hashes == FULL["hashes"]
    assert file.size == 1234
    assert file.upload_time == datetime(2025, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)
    assert file.requires_python == ">=3.9,<4"
    assert file.yanked == "broken on Tuesdays"
    assert file.core_metadata == {"sha256": "d" * 64}
    assert file.provenance == "https://index.example.com/integrity/demo"
    assert parsed.dropped == 0


def test_an_entry_that_says_little_is_not_made_to_say_more() -> None:
    (file,) = parsed_json(page(GOOD)).files
    assert file.size is None
    assert file.upload_time is None
    assert file.requires_python is None
    assert file.yanked is None
    assert file.core_metadata is None
    assert file.provenance is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("filename", MISSING),
        ("filename", None),
        ("filename", 5),
        ("filename", ""),
        ("filename", "../demo-2.0.tar.gz"),
        ("filename", "demo-2.0.tar.gz\n"),
        ("filename", "other-2.0.tar.gz"),
        ("filename", "demo-2.0.tar.gz.metadata"),
        ("url", MISSING),
        ("url", None),
        ("url", 5),
        ("url", ""),
        ("url", "http://[::1/x"),
        ("url", "javascript:alert(1)"),
        ("url", "https://evil.invalid/demo-2.0.tar.gz"),
        ("url", "https://user:secret@index.example.com\\@evil.invalid/demo-2.0.tar.gz"),
        ("url", "/f/x\r\nX-Evil: 1"),
        ("hashes", MISSING),
        ("hashes", None),
        ("hashes", "sha256"),
        ("hashes", ["sha256"]),
        ("hashes", {"sha256": None}),
        ("hashes", {"sha256": 5}),
    ],
)
def test_an_entry_without_a_name_link_or_digest_to_trust_is_dropped_and_its_neighbour_stays(field: str, value: object) -> None:
    bad = {**FULL, field: value}
    if value is MISSING:
        del bad[field]
    parsed = parsed_json(page(bad, GOOD))
    assert parsed.files == parsed_json(page(GOOD)).files
    assert parsed.dropped + len(parsed.withheld) == 1
    assert all(entry.rule == "link" and field == "url" for entry in parsed.withheld)


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("https://user:secret@index.example.com/demo-2.0.tar.gz", "https://index.example.com/demo-2.0.tar.gz"),
        ("/f//demo-2.0.tar.gz", "https://index.example.com/f//demo-2.0.tar.gz"),
    ],
)
def test_a_link_as_installers_follow_it_is_read_without_its_user_information(url: str, read: str) -> None:
    (file,) = parsed_json(page({**FULL, "url": url})).files
    assert file.location == RemoteFile(read, "upstream")


@pytest.mark.parametrize(("stated", "size"), [(0, None), (-1, None), (1, 1), (2**40, 2**40), (2**40 + 1, None), (10**30, None)])
def test_a_size_that_no_file_has_is_left_out(stated: int, size: int | None) -> None:
    (file,) = parsed_json(page({**FULL, "size": stated})).files
    assert file.size == size


def test_of_two_entries_of_one_name_the_one_that_may_be_followed_counts() -> None:
    refused = {**FULL, "url": "https://evil.invalid/demo-2.0.tar.gz"}
    for entries in ((refused, FULL), (FULL, refused)):
        parsed = parsed_json(page(*entries))
        assert (parsed.files, parsed.withheld, parsed.dropped) == (parsed_json(page(FULL)).files, (), 1)


def test_so_many_refused_entries_are_named_and_the_rest_counted() -> None:
    entries = [{**FULL, "filename": f"demo-{number}.0.tar.gz", "url": "https://evil.invalid/x"} for number in range(105)]
    parsed = parsed_json(page(*entries))
    assert (len(parsed.withheld), parsed.dropped) == (100, 5)


@pytest.mark.parametrize(
    ("field", "value", "rule", "said"),
    [
        ("hashes", {"sha256": "abc"}, "digest", "a sha256 that is none ('abc')"),
        ("hashes", {"sha256": "z" * 64}, "digest", "a sha256 that is none"),
        ("hashes", {"sha256": ""}, "digest", "a sha256 that is none ('')"),
        ("hashes", {"sha256": SHA, "md5": "zz"}, "digest", "a md5 that is none"),
        ("hashes", {"sha256": SHA, "md5": SHA}, "digest", "a md5 of 64 digits"),
        ("hashes", {"md5": "0" * 32, "unheard-of": "x"}, "digest", "a digest by 'unheard-of', which is not known here"),
        ("hashes", {"unheard-of": "x", "sha1": "0" * 40}, "digest", "a digest by 'unheard-of', which is not known here"),
        ("hashes", {"sha256": "abc", "unheard-of": "x"}, "digest", "a sha256 that is none ('abc')"),
        ("hashes", {"shake_128": SHA}, "digest", "'shake_128'"),
        ("hashes", {"sha256": SHA, "SHA256": "c" * 64}, "digest", "two different digests of sha256"),
        ("hashes", {"blake2s": "0" * 66}, "digest", "a blake2s of 66 digits"),
        ("url", f"/f/demo-2.0.tar.gz#sha256={'c' * 64}", "digest", "one digest in its link and another beside it"),
        ("url", "/f/demo-2.0.tar.gz#sha1=0", "digest", "a sha1 that is none"),
        ("requires-python", 3, "requires-python", "a Requires-Python that is no text"),
        ("requires-python", [], "requires-python", "a Requires-Python that is no text"),
        ("requires-python", ">=3,\x1c<4", "requires-python", "U+001C"),
        ("requires-python", ">=3" * 3_000, "requires-python", "of 9000 characters"),
    ],
)
def test_a_file_whose_digest_or_constraint_cannot_be_gone_by_is_withheld_for_a_reason(
    field: str, value: object, rule: str, said: str
) -> None:
    parsed = parsed_json(page({**FULL, field: value}, GOOD))
    assert parsed.files == parsed_json(page(GOOD)).files
    assert parsed.dropped == 0
    (entry,) = parsed.withheld
    assert (entry.filename, entry.source, entry.rule) == (FULL["filename"], "upstream", rule)
    assert said in entry.reason
    assert entry.reason.isprintable()
    assert parsed.versions == parsed_json(page(FULL, GOOD)).versions


@pytest.mark.parametrize("unknown", [{"blake3": SHA}, {"unheard-of": "x"}, {"": ""}, {"commit": "0" * 40, "sm3": SHA}])
@pytest.mark.parametrize("strong", [{"sha256": SHA}, {"sha224": "0" * 56, "md5": "0" * 32}, {"blake2b": SHA}])
def test_what_an_index_adds_to_a_strong_digest_costs_nothing(strong: dict[str, str], unknown: dict[str, str]) -> None:
    parsed = parsed_json(page({**FULL, "hashes": {**unknown, **strong}, "core-metadata": {**unknown, "sha256": SHA}}))
    assert parsed.withheld == ()
    assert parsed.files == parsed_json(page({**FULL, "hashes": strong, "core-metadata": {"sha256": SHA}})).files


@pytest.mark.parametrize(
    ("stated", "shown"),
    [
        (">=3\r\nX-Evil: 1", ">=3 X-Evil: 1"),
        (" >=3.8 ,\n\t<4 ", ">=3.8 , <4"),
        (">=3.8\u00a0", ">=3.8"),
        (">=3.8\u2028,<4", ">=3.8 ,<4"),
        (">=3.\x008", ">=3.\ufffd8"),
        (">=3.8\x9f", ">=3.8\ufffd"),
        (">=3.8\u200b", ">=3.8\u200b"),
        (">=3.6.*", ">=3.6.*"),
        ("3.8 or later", "3.8 or later"),
        (">=3," * 1_500 + ">=3", ">=3," * 1_500 + ">=3"),
        (" \n", None),
    ],
)
def test_a_constraint_is_shown_as_it_is_but_for_its_white_space(stated: str, shown: str | None) -> None:
    (file,) = parsed_json(page({**GOOD, "requires-python": stated})).files
    assert file.requires_python == shown


@pytest.mark.parametrize("yanked", [1, {"reason": "x"}, [0], 0.5])
def test_whatever_is_not_false_is_a_yank_mark(yanked: object) -> None:
    (file,) = parsed_json(page({**GOOD, "yanked": yanked})).files
    assert file.yanked == ""


@pytest.mark.parametrize(
    ("field", "value", "attribute"),
    [
        ("size", None, "size"),
        ("size", "1234", "size"),
        ("size", 12.5, "size"),
        ("size", -1, "size"),
        ("size", 2**53, "size"),
        ("size", 2**64, "size"),
        ("size", True, "size"),
        ("size", [], "size"),
        ("upload-time", None, "upload_time"),
        ("upload-time", "", "upload_time"),
        ("upload-time", "2025-01-02T03:04:05", "upload_time"),
        ("upload-time", "yesterday", "upload_time"),
        ("upload-time", 1735787045, "upload_time"),
        ("upload-time", "2016-12-31T23:59:60Z", "upload_time"),
        ("upload-time", "2025-13-01T00:00:00Z", "upload_time"),
        ("upload-time", "0001-01-01T00:00:00+14:00", "upload_time"),
        ("upload-time", "9999-12-31T23:59:59-14:00", "upload_time"),
        ("requires-python", None, "requires_python"),
        ("requires-python", "", "requires_python"),
        ("yanked", None, "yanked"),
        ("yanked", False, "yanked"),
        ("yanked", "", "yanked"),
        ("yanked", {}, "yanked"),
        ("core-metadata", None, "core_metadata"),
        ("core-metadata", False, "core_metadata"),
        ("core-metadata", "true", "core_metadata"),
        ("core-metadata", 1, "core_metadata"),
        ("core-metadata", {"sha256": "bad"}, "core_metadata"),
        ("core-metadata", {"sha256": None}, "core_metadata"),
        ("provenance", None, "provenance"),
        ("provenance", "/integrity/demo", "provenance"),
        ("provenance", "http://index.example.com/integrity/demo", "provenance"),
        ("provenance", "javascript:alert(1)", "provenance"),
        ("provenance", 'https://index.example.com/"><script>', "provenance"),
        ("provenance", "https://index.example.com/" + "x" * 2_000, "provenance"),
        ("provenance", 5, "provenance"),
    ],
)
def test_a_mistyped_optional_field_is_left_out_and_the_rest_of_the_entry_stays(field: str, value: object, attribute: str) -> None:
    parsed = parsed_json(page({**FULL, field: value}, GOOD))
    whole = parsed_json(page(FULL, GOOD))
    expected = {name: getattr(whole.files[0], name) for name in whole.files[0].__struct_fields__}
    found = {name: getattr(parsed.files[0], name) for name in parsed.files[0].__struct_fields__}
    assert found == {**expected, attribute: None}
    assert parsed.files[1] == whole.files[1]
    assert parsed.dropped == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("gpg-sig", None),
        ("gpg-sig", True),
        ("_private", {"anything": [1, None]}),
        ("unheard-of", "x"),
        ("dist-info-metadata", None),
        ("data-dist-info-metadata", {"sha256": SHA}),
    ],
)
def test_keys_nobody_needs_change_nothing(field: str, value: object) -> None:
    assert parsed_json(page({**FULL, field: value})) == parsed_json(page(FULL))


@pytest.mark.parametrize("entry", [None, 5, "x", [], [FULL], True, {}])
def test_an_entry_that_is_no_object_is_dropped(entry: object) -> None:
    parsed = parsed_json(page(entry, GOOD))
    assert [file.filename for file in parsed.files] == [GOOD["filename"]]
    assert parsed.dropped == 1


@pytest.mark.parametrize(
    ("hashes", "kept"),
    [
        ({}, {}),
        ({"sha256": "A" * 64}, {"sha256": SHA}),
        ({"sha256": SHA, "blake2b": "0" * 128}, {"sha256": SHA, "blake2b": "0" * 128}),
        ({"blake2b": "0" * 64}, {"blake2b_256": "0" * 64}),
        ({"blake2b_256": "0" * 64}, {"blake2b_256": "0" * 64}),
        ({"SHA-256": "A" * 64}, {"sha256": SHA}),
        ({"sha3-256": SHA}, {"sha3_256": SHA}),
        ({"sha1": "0" * 40}, {"sha1": "0" * 40}),
        ({"sha512": "1" * 128, "sha384": "2" * 96, "md5": "3" * 32}, {"sha512": "1" * 128, "sha384": "2" * 96, "md5": "3" * 32}),
    ],
)
def test_every_digest_that_can_be_checked_is_kept(hashes: dict[str, str], kept: dict[str, str]) -> None:
    (file,) = parsed_json(page({**GOOD, "hashes": hashes})).files
    assert file.hashes == kept


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"core-metadata": True}, {}),
        ({"core-metadata": {}}, {}),
        ({"core-metadata": {"sha512": "0" * 128}}, None),
        ({"core-metadata": {"sha256": "D" * 64}}, {"sha256": "d" * 64}),
        ({"dist-info-metadata": {"sha256": SHA}}, {"sha256": SHA}),
        ({"dist-info-metadata": True}, {}),
        ({"core-metadata": False, "dist-info-metadata": True}, None),
        ({"core-metadata": None, "dist-info-metadata": True}, {}),
        ({"core-metadata": "true", "dist-info-metadata": {"sha256": SHA}}, {"sha256": SHA}),
    ],
)
def test_core_metadata_is_read_under_both_its_names(fields: dict[str, object], expected: object) -> None:
    (file,) = parsed_json(page({**GOOD, **fields})).files
    assert file.core_metadata == expected


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("2025-01-02T03:04:05Z", datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2025-01-02T03:04:05.5Z", datetime(2025, 1, 2, 3, 4, 5, 500_000, tzinfo=UTC)),
        ("2025-01-02T03:04:05+02:00", datetime(2025, 1, 2, 1, 4, 5, tzinfo=UTC)),
        ("2025-01-02T03:04:05.1234567Z", datetime(2025, 1, 2, 3, 4, 5, 123_457, tzinfo=UTC)),
    ],
)
def test_upload_times_are_moments_in_utc(stated: str, expected: datetime) -> None:
    (file,) = parsed_json(page({**GOOD, "upload-time": stated})).files
    assert file.upload_time == expected
    assert file.upload_time is not None
    assert file.upload_time.tzinfo is UTC


@pytest.mark.parametrize(
    ("yanked", "expected"), [(True, ""), ("a reason", "a reason"), ("two\nlines\0", "two lines "), ("x" * 2_000, "x" * 1_000)]
)
def test_a_yank_keeps_its_reason_on_one_bounded_line(yanked: object, expected: str) -> None:
    (file,) = parsed_json(page({**GOOD, "yanked": yanked})).files
    assert file.yanked == expected


def test_the_same_entry_twice_is_one_file() -> None:
    parsed = parsed_json(page(GOOD, GOOD, FULL))
    assert [file.filename for file in parsed.files] == [GOOD["filename"], FULL["filename"]]
    assert parsed.dropped == 1


@pytest.mark.parametrize("times", [2, 3])
def test_one_name_with_two_contents_is_trusted_with_neither(times: int) -> None:
    others = [{**GOOD, "hashes": {"sha256": str(number) * 64}} for number in range(times - 1)]
    parsed = parsed_json(page(GOOD, *others, FULL))
    assert [file.filename for file in parsed.files] == [FULL["filename"]]
    assert parsed.dropped == times - 1
    assert [entry.reason for entry in parsed.withheld] == [
        "source upstream states two files of this name: have it corrected there"
    ]


def test_one_name_under_two_digests_must_have_both() -> None:
    """Nobody can tell that they are of different bytes; the bytes will."""
    other = {**GOOD, "hashes": {"sha1": "0" * 40}}
    (file,) = parsed_json(page(GOOD, other)).files
    assert file.hashes == {**GOOD["hashes"], "sha1": "0" * 40}


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        (MISSING, ("1.0", "2.0")),
        (None, ("1.0", "2.0")),
        ("1.0", ("1.0", "2.0")),
        (["0.9", "1.0", "2.0", "latest"], ("0.9", "1.0", "2.0", "latest")),  # an order of its own, and versions without files
        (["2.0", "1.0", "2.0"], ("2.0", "1.0")),
        (["1.0"], ("1.0", "2.0")),  # PEP 700: they must cover every file
        (["v1.0.0", "2"], ("v1.0.0", "2")),
        ([], ("1.0", "2.0")),
        (["1.0", None, 5, "", "a\nb", "x" * 2_000, "2.0"], ("1.0", "2.0")),
    ],
)
def test_the_versions_are_the_upstreams_and_cover_every_file(listed: object, expected: tuple[str, ...]) -> None:
    more = {} if listed is MISSING else {"versions": listed}
    assert parsed_json(page(GOOD, FULL, **more)).versions == expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"status": "archived"}, ProjectStatus("archived")),
        ({"status": "quarantined", "reason": "it is\nmalware"}, ProjectStatus("quarantined", "it is malware")),
        ({"status": "deprecated", "reason": 5}, ProjectStatus("deprecated")),
        ({"status": "active", "reason": None}, ProjectStatus("active")),
        ({"status": "unheard-of"}, None),
        ({"status": None}, None),
        ({"status": ["archived"]}, None),
        ({"status": {}}, None),
        ({"reason": "x"}, None),
        ("archived", None),
        (None, None),
        ([], None),
    ],
)
def test_a_projects_status_is_one_of_four_or_not_there(status: object, expected: ProjectStatus | None) -> None:
    parsed = parsed_json(page(GOOD, **{"project-status": status}))
    assert parsed.status == expected
    assert len(parsed.files) == 1


@pytest.mark.parametrize(
    "meta", [MISSING, None, {}, [], "1.0", {"api-version": None}, *({"api-version": v} for v in ("1.0", "1.4", "1.99", 1))]
)
def test_every_minor_version_and_none_at_all_is_fine(meta: object) -> None:
    body = page(GOOD)
    if meta is MISSING:
        del body["meta"]
    else:
        body["meta"] = meta
    assert len(parsed_json(body).files) == 1


@pytest.mark.parametrize("version", ["2.0", "2", "0.9", "10.1", "1x", "two", 2, 2.0, "2.0\r\nX-Evil: 1" + "x" * 100])
def test_another_major_version_is_not_guessed_at(version: object) -> None:
    with pytest.raises(NotAnIndexPage, match=r"of which only 1\.x is known") as caught:
        parsed_json(page(GOOD, meta={"api-version": version}))
    assert len(str(caught.value)) < 100
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["other", "demo-utils", "", "../demo"])
def test_the_page_of_another_project_is_refused(name: str) -> None:
    with pytest.raises(NotAnIndexPage, match="another project"):
        parsed_json(page(GOOD, name=name))


@pytest.mark.parametrize("name", ["Demo", "DEMO", None, 5])
def test_a_name_in_another_spelling_or_none_at_all_is_fine(name: object) -> None:
    assert len(parsed_json(page(GOOD, name=name)).files) == 1


def test_a_byte_order_mark_is_overlooked() -> None:
    assert len(parsed_json(b"\xef\xbb\xbf" + json.dumps(page(GOOD)).encode()).files) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xef\xbb\xbf",
        b"null",
        b"[]",
        b"5",
        b'"files"',
        b"{}",
        b'{"files": null}',
        b'{"files": {}}',
        b'{"files": [}',
        b'{"projects": []}',
        b"<html>sign in</html>",
        json.dumps(page(FULL)).encode()[:-1],
        json.dumps(page(FULL)).encode()[:100],
        json.dumps(page(FULL)).encode() + b"x",
        json.dumps(page(FULL)).encode("utf-16"),
        b'{"files": []' + b"\0" * 10 + b"}",
        b'{"files": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"files": [], "meta": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
        b'{"files": [' + b'{"x":[' * 50_000 + b"]}" * 50_000 + b"]}",
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_is_not_such_a_page_is_an_error_and_never_an_empty_page(body: bytes) -> None:
    with pytest.raises(NotAnIndexPage, match="JSON that is cut short or is not a project page"):
        parsed_json(body)


@pytest.mark.parametrize("depths", [(100, 500), range(750, 1_000), (1_000, 1_100)])
def test_nesting_around_the_recursion_limit_is_borne_or_refused(depths: Sequence[int]) -> None:
    """An entry is read with more on the stack than when it was split off."""
    for depth in depths:
        nested = b"[" * depth + b"]" * depth
        body = b'{"files": [%s], "meta": %s, "name": %s}' % (
            json.dumps({**FULL, "x": 1}).encode().replace(b"1}", nested + b"}"),
            nested,
            nested,
        )
        try:
            assert_sound(parsed_json(body))
        except NotAnIndexPage:
            assert depth > 750


def test_an_entry_that_is_not_utf_8_is_an_error_or_dropped() -> None:
    body = json.dumps(page(FULL, GOOD)).encode().replace(b"Tuesdays", b"\xff\xfe")
    try:
        parsed = parsed_json(body)
    except NotAnIndexPage:
        return
    assert [file.filename for file in parsed.files] == [GOOD["filename"]]


def test_a_number_of_ten_thousand_digits_costs_its_entry_at_most() -> None:
    body = json.dumps(page({**FULL, "size": 7}, GOOD)).encode().replace(b'"size": 7', b'"size": ' + b"9" * 10_000)
    assert GOOD["filename"] in [file.filename for file in parsed_json(body).files]


def test_a_long_page_is_parsed_in_short_slices() -> None:
    files = [{**FULL, "filename": f"demo-{number}.tar.gz"} for number in range(5_000)]
    steps = parse_json(split_json(json.dumps(page(*files)).encode()), "demo", "upstream", links())
    assert sum(1 for _ in steps) >= 5_000 // 250


@pytest.mark.parametrize(
    "more",
    [
        {"url": "/f/demo-1.0.tar.gz#" + "a&" * 3_900},
        {"url": "/f/demo-1.0.tar.gz#" + "%26" * 2_600},
        {"hashes": {"s_h-a" * 1_500: "a", "sha256": SHA}},
        {"hashes": {f"{'x' * 150}{number}": "a" for number in range(49)} | {"sha256": SHA}},
        {"requires-python": "\x7f>" * 3_900},
    ],
    ids=["fields", "quoted fields", "long names", "many names", "constraint"],
)
def test_long_entries_are_judged_in_short_slices(more: dict[str, Any]) -> None:
    files = [{**GOOD, **more, "filename": f"demo-1.{number}.tar.gz"} for number in range(500)]
    body = json.dumps(page(*files)).encode()
    took, began = [], time.process_time()
    for _ in parse_json(split_json(body), "demo", "upstream", links()):
        took.append(time.process_time() - began)
        began = time.process_time()
    assert len(took) >= len(body) // (256 * 1024)
    assert min(took[:-1]) < 0.02, "each of them; the quickest, since this machine may be busy"


@pytest.mark.parametrize(
    "more",
    [{"url": "/f/x#" + "&" * 3_000_000}, {"hashes": {"s_" * 8_000_000: "a"}}, {"url": "/f/x#" + "%26" * 2_000_000}],
    ids=["fields", "a name", "quoted fields"],
)
def test_one_entry_however_long_holds_nobody_up(more: dict[str, Any]) -> None:
    steps = parse_json(split_json(json.dumps(page({**FULL, **more}, GOOD)).encode()), "demo", "upstream", links())
    began = time.process_time()
    parsed = straight(steps)
    assert time.process_time() - began < 0.3
    assert [file.filename for file in parsed.files] == [GOOD["filename"]]


def test_an_entry_of_more_values_than_any_is_no_page() -> None:
    hashes = {f"{number:018d}": "a" for number in range(200_000)}
    with pytest.raises(NotAnIndexPage, match="more values"):
        parsed_json(page({**FULL, "hashes": hashes}))


def test_of_very_many_digests_none_is_looked_at() -> None:
    (entry,) = parsed_json(page({**FULL, "hashes": {"sha256": SHA} | {f"x{number}": "a" for number in range(50)}})).withheld
    assert "51 digests of one file" in entry.reason


def test_hostile_text_is_judged_in_linear_time() -> None:
    began = time.process_time()
    for text in ("a" * 1_000_000, "-" * 1_000_000, "../" * 300_000, "%2e" * 300_000, "1." * 500_000, "[" * 1_000_000):
        parsed_json(page({**FULL, "filename": "demo-" + text}, {**FULL, "url": text}, {**FULL, "requires-python": text}))
        parsed_json(page({**FULL, "provenance": "https://" + text, "yanked": text}, versions=[text]))
    assert time.process_time() - began < 5


junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from([SHA, "/f/x.whl", "1.0", "demo", "archived"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["sha256", "status", "x"]) | st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
OPTIONAL = ("size", "upload-time", "requires-python", "yanked", "core-metadata", "dist-info-metadata", "provenance")
entries = st.fixed_dictionaries(
    {},
    optional={
        "filename": filenames | junk,
        "url": st.sampled_from(["/f/x.whl", "x.whl", "//evil.invalid/x"]) | junk,
        "hashes": st.just({"sha256": SHA}) | junk,
        **dict.fromkeys(OPTIONAL, junk),
    },
)
anything = st.fixed_dictionaries(
    {"files": st.lists(entries | junk, max_size=5) | junk},
    optional={
        "meta": junk | st.just({"api-version": "1.1"}),
        "name": junk,
        "versions": junk | st.lists(junk),
        "project-status": junk,
    },
)


@settings(deadline=None, max_examples=400)
@given(anything | junk)
def test_arbitrary_json_is_a_sound_page_or_not_a_page(value: object) -> None:
    try:
        parsed = parsed_json(json.dumps(value).encode())
    except NotAnIndexPage:
        return
    assert_sound(parsed)


@modestly
@given(st.lists(entries | junk, max_size=4))
def test_a_small_page_is_read_as_a_large_one_is(listed: list[object]) -> None:
    body = json.dumps(page(*listed, GOOD)).encode()
    assert parsed_json(body) == parsed_json(body + b" " * 300_000)


@modestly
@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_not_a_page(body: bytes) -> None:
    with pytest.raises(NotAnIndexPage):
        parsed_json(body)


@modestly
@given(entries | junk)
def test_no_entry_harms_its_neighbour(entry: object) -> None:
    if isinstance(entry, dict) and entry.get("filename") == GOOD["filename"]:
        return
    parsed = parsed_json(page(entry, GOOD))
    assert parsed.files[-1] == parsed_json(page(GOOD)).files[0]
    assert_sound(parsed)


def test_a_long_text_is_left_out_and_not_remembered() -> None:
    """What is remembered lives as long as the process: a thousand megabytes, if pages decided."""
    tracemalloc.start()
    try:
        for number in range(40):
            long = f"{number}>" + "x" * 1_000_000
            assert not parsed_json(page({**GOOD, "requires-python": long})).files
        del long
        assert tracemalloc.get_traced_memory()[0] < 10_000_000
    finally:
        tracemalloc.stop()
