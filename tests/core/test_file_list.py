"""A page's files, packed or not: the same files in the same order, each under its name."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.sources import listed
from wheelgate.core.file_list import TOGETHER, FileList
from wheelgate.core.model import File, LocalFile, RemoteFile, StoredFile

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
HEX = st.sampled_from(["ab" * 32, "01" * 32])
LOCATIONS = st.one_of(
    st.builds(RemoteFile, TEXT, TEXT, st.none() | TEXT), st.builds(StoredFile, TEXT, TEXT, TEXT), st.builds(LocalFile, TEXT, TEXT)
)
FILES = st.lists(
    st.builds(
        File,
        filename=TEXT,
        project=TEXT,
        source=TEXT,
        location=LOCATIONS,
        hashes=st.dictionaries(st.sampled_from(["sha256", "md5"]), HEX),
        size=st.none() | st.integers(0, 2**53 - 1),
        upload_time=st.none() | st.datetimes(timezones=st.just(UTC)),
        requires_python=st.none() | TEXT,
        yanked=st.none() | TEXT,
        core_metadata=st.none() | st.dictionaries(st.just("sha256"), HEX),
        metadata_in_wheel=st.booleans(),
        provenance=st.none() | TEXT,
    ),
    max_size=2 * TOGETHER + 3,
    unique_by=lambda file: file.filename,
)


def many(count: int) -> list[File]:
    return [listed("demo", f"{number}.0") for number in range(count)]


def packed(files: list[File]) -> FileList:
    made = FileList(files)
    made.pack()
    return made


@given(FILES)
def test_packing_changes_nothing_of_any_file(files: list[File]) -> None:
    made = packed(files)
    assert list(made) == files
    assert made == FileList(files) == tuple(files)
    assert [made.find(file.filename) for file in files] == files
    assert made.find("another") is None or any(file.filename == "another" for file in files)


@given(st.integers(0, 3 * TOGETHER), st.slices(3 * TOGETHER), st.booleans())
def test_parts_are_those_of_a_tuple(count: int, part: slice, is_packed: bool) -> None:
    files = many(count)
    made = packed(files) if is_packed else FileList(files)
    assert len(made) == count
    assert bool(made) is bool(files)
    assert made[part] == tuple(files)[part]
    for at in (0, -1, count // 2):
        if count:
            assert made[at] == files[at]
    with pytest.raises(IndexError):
        made[count]


def test_others_are_told_apart() -> None:
    files = many(3)
    assert packed(files) != files[:2]
    assert packed(files) != [*files[:2], listed("demo", "2.0", content="other bytes")]
    assert packed(files) != "abc"
    one = FileList(files)
    assert FileList.of(one) is one
    assert FileList.of(tuple(files)) == one


def test_a_list_takes_those_along_that_it_was_made_of() -> None:
    source = FileList(many(10))
    screened = FileList(source[:5], [source])
    joined = FileList([*screened, *many(3)], [screened, tuple(many(3))])
    assert joined.list_unpacked() == [source, screened, joined]
    for files in joined.list_unpacked():
        files.pack()
    assert not joined.list_unpacked()
    assert [len(files) for files in (source, screened, joined)] == [10, 5, 8]


def test_a_list_is_whole_at_every_step_of_packing_and_packed_once() -> None:
    files = many(3 * TOGETHER)
    made = FileList(files)
    slowly, again = made.pack_stepwise(), made.pack_stepwise()
    for _ in range(3):
        next(slowly)
        assert made == files
        assert made.list_unpacked() == [made]
    next(again)
    assert list(slowly) == []
    blocks = made.pack()
    assert list(again) == [None, None]
    assert made.pack() is blocks
    assert made == files


def test_a_packed_list_lets_go_of_its_values_and_of_what_it_was_made_of() -> None:
    files = many(1)
    source = FileList(files)
    made = FileList(source, [source])
    held, lists = sys.getrefcount(files[0]), sys.getrefcount(source)
    for part in made.list_unpacked():
        part.pack()
    held_now, lists_now = sys.getrefcount(files[0]), sys.getrefcount(source)
    assert (held_now, lists_now) == (held - 2, lists - 1)


def test_packed_files_take_a_tenth_of_the_memory() -> None:
    files = [
        as_in_public(number, datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number)) for number in range(10 * TOGETHER)
    ]
    made = packed(files)
    blocks = made.pack()
    assert sum(map(len, blocks)) < 150 * len(files)


def as_in_public(number: int, uploaded: datetime) -> File:
    """A file as a public index lists it: digests are what cannot be compressed."""
    file = listed("demo", f"{number}.0", upload_time=uploaded)
    digest = file.hashes["sha256"]
    return File(
        filename=file.filename,
        project=file.project,
        source=file.source,
        location=RemoteFile(f"https://files.example.com/packages/{digest[:2]}/{digest[2:]}/{file.filename}", "pypi"),
        hashes=file.hashes,
        size=number * 997,
        upload_time=uploaded,
        requires_python=">=3.10",
        core_metadata={"sha256": digest[::-1]},
    )
