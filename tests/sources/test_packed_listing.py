"""Packed listings: whatever is added is found again, in few bytes, and what has not changed is shared."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from zlib import crc32

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.core.test_belonging import file_names
from tests.support.fake_container import path_of, project_of
from tests.support.packages import sha256
from tests.support.steps import straight
from wheelgate.core.belonging import explain_nobodys, read_belonging
from wheelgate.core.protocols import BlobInfo
from wheelgate.sources.kept_listing import _VERSION
from wheelgate.sources.packed_listing import Block, ListingBuilder, PackedListing, assemble, find_keys

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = [
    *("acme_lib-1.0-py3-none-any.whl", "Acme.Lib-2.0.tar.gz", "acme__lib-3.0.zip", "acme-4.0.tar.gz", "acme_lib_more-1.0.tar.gz"),
    *("README.md", "x.whl", "-a-1.0.tar.gz", "other-1.0.tar.gz", "acme-1.0-py3.9.egg", "acme-5.0-py3-none-any.WHL"),
    *("acme_lib-1.0-2.zip", "acme-lib-1.0-py3-none-any.whl"),
]


def pack(files: Iterable[BlobInfo], earlier: PackedListing | None = None) -> tuple[PackedListing, frozenset[str] | None]:
    builder = ListingBuilder(earlier)
    for file in files:
        builder.add(file)
    return straight(builder.finish()), builder.changed


def big(count: int, *, facts: bool = False) -> list[BlobInfo]:
    """As a container lists them: in the order of their paths."""
    return sorted(
        (
            BlobInfo(
                path=path_of(number),
                size=(number * 7919) % 10**8,
                etag=f"0x8D{int(sha256(b'%d' % number)[:13], 16):X}",
                created=NOW + timedelta(seconds=(number * 104_729) % 10**8),
                facts={"sha256": sha256(b"%d" % number)} if facts else {},
            )
            for number in range(count)
        ),
        key=lambda info: info.path,
    )


INFOS = st.builds(
    BlobInfo,
    path=st.builds(lambda folder, name: f"{folder}/{name}", st.text("ab/", max_size=4), st.sampled_from(NAMES)),
    size=st.integers(0, 2**40),
    etag=st.one_of(st.from_regex(r"0x[0-9A-Fa-f]{0,16}", fullmatch=True), st.text(max_size=8)),
    created=st.timedeltas(timedelta(days=-3_000), timedelta(days=60_000)).map(lambda since: NOW + since),
    facts=st.dictionaries(
        st.sampled_from(["sha256", "yanked"]), st.one_of(st.just("ab" * 32), st.just("AB" * 32), st.text(max_size=5))
    ),
    damage=st.none() | st.text(max_size=5),
)


@given(st.lists(INFOS, max_size=200, unique_by=lambda info: info.path))
def test_what_was_added_is_found_by_project_as_it_was(files: list[BlobInfo]) -> None:
    listing, changed = pack(files)
    expected: dict[str, list[BlobInfo]] = {}
    for file in files:
        for project in read_belonging(file.path.rpartition("/")[2]).projects:
            expected.setdefault(project, []).append(file)
    assert set().union(*listing.names()) == expected.keys()
    for project in ("acme-lib", "acme", "acme-lib-more", "acme-lib-1-0", "other", "absent"):
        assert listing.find(project) == expected.get(project, [])
    assert changed is None
    assert set(listing.sample(2)) <= expected.keys()


@given(st.lists(INFOS, max_size=120, unique_by=lambda info: info.path), st.lists(INFOS, max_size=6), st.data())
def test_what_has_changed_is_told_by_project(files: list[BlobInfo], added: list[BlobInfo], data: st.DataObject) -> None:
    gone = data.draw(st.lists(st.sampled_from(files), max_size=3)) if files else []
    before, _ = pack(sorted(files, key=lambda file: file.path))
    by_path = {file.path: file for file in [*(file for file in files if file not in gone), *added]}
    after, changed = pack(sorted(by_path.values(), key=lambda file: file.path), before)
    projects = set().union(*before.names()) | set().union(*after.names())
    assert changed is not None
    # Of one name in two folders only one shows: more may be told than shows, never less.
    assert changed >= {project for project in projects if before.find(project) != after.find(project)}


@given(
    st.from_regex(
        r"[A-Za-z0-9._-]{1,12}(_{200})?[A-Za-z0-9]-[0-9]{1,3}(\.[0-9]|-1|a1|\.post1)?(-py3-none-any)?\.(whl|tar\.gz|zip|egg)",
        fullmatch=True,
    )
)
def test_whatever_has_a_project_is_looked_for_under_its_key(filename: str) -> None:
    assert set(find_keys(f"a/{filename}")) == {crc32(project.encode()) for project in read_belonging(filename).projects}


@settings(deadline=None, max_examples=300)
@given(file_names() | st.from_regex(r"a[a_.-]{0,3}-1(-1_?a?)?(-a[._]{0,3}){3}(_{250})?\.(whl|zip)", fullmatch=True))
@example("acme_-1.0-py3-none-any.whl")
@example("acme__lib-1.0-py3-none-any.whl")
@example("acme-1.0-py3-none-any..whl")
def test_a_listing_and_the_one_reader_of_names_say_the_same_of_a_file(filename: str) -> None:
    read = read_belonging(filename)
    listing, _ = pack([BlobInfo(f"x/{filename}", 1, "0x1", NOW, {})])
    assert set().union(*listing.names()) == set(read.projects)
    for project in read.projects:
        assert [file.path for file in listing.find(project)] == [f"x/{filename}"]
    assert listing.find_obstacle(f"x/{filename}") == (read.obstacle if read.projects else explain_nobodys(filename))


@pytest.mark.parametrize("filename", [f"a{'_' * 210}b-1.0.tar.gz", f"a{'-' * 210}b-1.0.zip"])
def test_a_name_of_many_separators_is_found(filename: str) -> None:
    listing, _ = pack([BlobInfo(f"x/{filename}", 1, "0x1", NOW, {})])
    assert set().union(*listing.names()) == {"a-b"}
    assert [file.path for file in listing.find("a-b")] == [f"x/{filename}"]


@pytest.mark.parametrize("filename", ["acme.-1.0.zip", "acme_-1.0.tar.gz", "acme_.-1.0.zip"])
def test_a_name_that_is_guessed_at_is_found(filename: str) -> None:
    """Were it listed and not found, a public source would be asked for it."""
    listing, _ = pack([BlobInfo(f"x/{filename}", 1, "0x1", NOW, {})])
    assert set().union(*listing.names()) == {"acme"}
    assert [file.path for file in listing.find("acme")] == [f"x/{filename}"]


SOME_ENDINGS = [
    "-1.0.tar.gz",
    "-1.0.zip",
    "-1.0-py3-none-any.whl",
    "_-1-py3-none-any.whl",
    "-1.0.linux-x86_64.tar.gz",
    "-1.0.tgz",
    "-1.0-py3.11.egg",
    "-1.0-1.tar.gz",
    "-1.0-variants.json",
    ".whl",
    "",
]
SOME_HEADS = [
    "acme",
    "Acme.Lib",
    "acme__lib",
    "a-b",
    "-a",
    "a-",
    "a_",
    "a b",
    "é",
    "",
    f"a{'_' * 210}b",
    "x" * 200,
    "x" * 201,
    "1",
    "a+b",
]


def test_keys_that_were_kept_are_those_of_this_release() -> None:
    """They are taken over as they are. Where this fails, raise the version of kept listings, and write down both."""
    keys = repr([find_keys(head + ending) for head in SOME_HEADS for ending in SOME_ENDINGS])
    assert (_VERSION, sha256(keys.encode())) == (6, "236c6254c2d26819a1f0121c263a32655cfdd74ec45d37f28aaf36eeb059c52a")


def test_one_change_among_many_is_one_block_and_one_project() -> None:
    files = big(5_000)
    before, _ = pack(files)
    same, changed = pack(files, before)
    assert changed == frozenset()
    assert all(a is b for a, b in zip(before.blocks, same.blocks, strict=True))
    del files[2_500]
    after, changed = pack(files, before)
    assert changed == set(read_belonging(big(5_000)[2_500].path.rpartition("/")[2]).projects)
    kept = {id(block) for block in before.blocks}
    assert sum(id(block) not in kept for block in after.blocks) <= 2


def test_after_many_changes_everything_counts_as_changed() -> None:
    files = big(20_000)
    before, _ = pack(files)
    _, changed = pack([msgspec.structs.replace(file, size=1) for file in files], before)
    assert changed is None


@pytest.mark.parametrize("facts", [False, True], ids=["bare", "with digests"])
def test_a_file_takes_sixty_bytes(facts: bool) -> None:
    files = big(20_000, facts=facts)
    listing, _ = pack(files)
    blocks = sum(
        map(sys.getsizeof, (item for block in listing.blocks for item in (block, block.files, block.digests, block.keys)))
    )
    index = sum(map(sys.getsizeof, listing._index._parts))
    assert (blocks + index) / len(files) < 60, (blocks + index) / len(files)
    assert listing.count == len(files)


class CountedBlocks(tuple[Block, ...]):
    """Blocks that count how often one is taken."""

    __slots__ = ()
    taken: ClassVar[int] = 0

    def __getitem__(self, at: Any) -> Any:
        type(self).taken += 1
        return super().__getitem__(at)


def test_a_look_up_unpacks_what_was_asked_for_and_no_more() -> None:
    listing, _ = pack(big(20_000))
    counted = PackedListing(CountedBlocks(listing.blocks), listing._index)
    assert len(counted.find(project_of(10_000))) == 10
    assert counted.find("absent") == []
    assert CountedBlocks.taken <= 3


def _damaged(blocks: Sequence[Block]) -> list[Block]:
    (block,) = blocks
    bodies = [b"", block.files[:-1], block.files + b"x", b"\x00" * 20]
    return [msgspec.structs.replace(block, files=body) for body in bodies]


def test_a_damaged_block_is_an_error_and_never_an_absence() -> None:
    listing, _ = pack(big(20))
    for block in _damaged(listing.blocks):
        damaged = straight(assemble([block]))
        with pytest.raises(ValueError, match="inflate|damaged"):
            damaged.find(project_of(3))
