"""What `wheelgate check` tries, beyond what a running command shows of it."""

from __future__ import annotations

import ast
import asyncio
import re
from pathlib import Path

import pytest

import wheelgate
from tests.support.clock import FakeClock
from tests.support.sources import FakeSource
from tests.support.stores import WatchedStore
from wheelgate.cli.checks.settings import find_duplicates
from wheelgate.cli.checks.sources import check_sources
from wheelgate.cli.checks.stored import check_layouts, check_mirrors, check_records
from wheelgate.cli.checks.subjects import Subject
from wheelgate.config import load
from wheelgate.core.errors import StillListing
from wheelgate.index.decision import Member
from wheelgate.uploads.accept import Destination


@pytest.fixture
def source(clock: FakeClock) -> FakeSource:
    return FakeSource("box", clock)


def subject(source: FakeSource, target: Destination | None = None) -> Subject:
    return Subject(member=Member(source, private=True), target=target)


async def test_a_container_for_uploads_is_written_and_left_as_it_was(source: FakeSource) -> None:
    box = WatchedStore()
    (found,) = [finding async for finding in check_sources([subject(source, Destination("box", box))])]
    assert found.ok
    assert len(box.written) == 1
    assert [info async for info in box.list("")] == []


async def test_one_that_may_only_be_read_is_found_before_the_first_upload(source: FakeSource) -> None:
    box = WatchedStore()
    box.fails = lambda method, path: method == "put_if_absent"
    (found,) = [finding async for finding in check_sources([subject(source, Destination("box", box))])]
    assert (found.what, found.ok) == ("source box (private)", False)
    (unwritten,) = [finding async for finding in check_sources([subject(source)])]
    assert unwritten.ok


async def test_a_source_that_has_to_be_listed_first_is_waited_for(source: FakeSource) -> None:
    ended = asyncio.Event()
    source.fail(StillListing("source box is still being listed (7 blobs so far)", wait=ended.wait))

    async def end() -> None:
        await asyncio.sleep(0.02)
        source.mend()
        ended.set()

    ending = asyncio.create_task(end())
    (found,) = [finding async for finding in check_sources([subject(source)])]
    assert (found.ok, found.detail) == (True, "answers")
    await ending


@pytest.mark.parametrize(("blobs", "layout", "advised"), [(5, "any", True), (4, "any", False), (5, "project", False)])
async def test_a_large_container_is_to_be_reordered(tmp_path: Path, blobs: int, layout: str, advised: bool) -> None:
    path = tmp_path / "wheelgate.toml"
    url = "https://acct.blob.core.windows.net/box"
    path.write_text(f'[[source]]\nname = "box"\ntype = "blob"\nurl = "{url}"\nlayout = "{layout}"\n')
    box = WatchedStore()
    for number in range(blobs):
        await box.put_if_absent(f"{number}", b"", {})
    found = [finding async for finding in check_layouts(load(path, environment={}), {"box": box}, large=5)]
    assert len(found) == advised
    if advised:
        assert (found[0].ok, found[0].doubtful) == (True, True)
        assert "wheelgate container reorder box" in found[0].detail
    box.down()
    assert [finding async for finding in check_layouts(load(path, environment={}), {"box": box}, large=5)] == []


FORMER = (
    b'{"wheelgate_mirror": 1, "files": [{"path": "demo/demo-1.0.tar.gz", "sha256": "'
    + b"0" * 64
    + b'", "size": 1, "source": "team", "stored": "2025-01-01T00:00:00Z"}]}'
)
MANIFEST = FORMER.replace(b": 1, ", b": 2, ", 1)
OWN, PUBLIC = (MANIFEST.replace(b'"team"', b'"team", "origin": "' + origin + b'"') for origin in (b"private", b"public"))


@pytest.mark.parametrize(
    "damage", [b"", b"[]", MANIFEST[:9], b'{"wheelgate_mirror": 3}'], ids=["empty", "other", "half", "newer"]
)
async def test_a_damaged_manifest_is_named_and_the_next_source_is_checked(tmp_path: Path, damage: bytes) -> None:
    for name, body in (("a", damage), ("b", MANIFEST)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "wheelgate-mirror.json").write_bytes(body)
    path = tmp_path / "wheelgate.toml"
    path.write_text("".join(f'[[source]]\nname = "{name}"\ntype = "directory"\nurl = "file:./{name}"\n' for name in "ab"))
    bad, good = [finding async for finding in check_mirrors(load(path, environment={}), {})]
    assert not bad.ok
    assert "a/wheelgate-mirror.json" in bad.detail
    assert (good.ok, good.what) == (True, "source b (private)")


async def test_damaged_records_are_named_and_many_of_them_counted() -> None:
    store = WatchedStore()
    assert await check_records(store) == []
    for number in range(25):
        await store.put_if_absent(f"records/team/p{number}", b"half", {})
    findings = await check_records(store)
    assert len(findings) == 21
    assert all(not finding.ok and finding.what == "store" for finding in findings)
    assert findings[0].detail.startswith("records/team/p")
    assert findings[-1].detail == "5 more blobs are damaged"


@pytest.mark.parametrize(
    ("said", "mirror", "warned"),
    [
        ("", FORMER, "does not say whose demo is, so it is claimed as yours permanently"),
        ("", MANIFEST, "set private = false if they are public"),
        ("", None, ""),
        ("", OWN, ""),
        ("", PUBLIC, ""),
        ("private = false\n", FORMER, ""),
        ("private = false\n", PUBLIC, ""),
        (
            "private = false\n",
            OWN,
            "mirrors demo from a private source, which private = false serves as public: leave private out",
        ),
        ("private = true\n", OWN, ""),
        (
            "private = true\n",
            PUBLIC,
            "mirrors demo from a public source, which private = true claims as yours: leave private out",
        ),
        ('only = ["acme-*"]\n', FORMER, ""),
    ],
)
async def test_a_mirror_of_which_settings_say_otherwise_or_nobody_says_whose_names_it_has(
    tmp_path: Path, said: str, mirror: bytes | None, warned: str
) -> None:
    """Served as it is by default, private, one of which nobody says it would claim public names for ever."""
    (tmp_path / "folder").mkdir()
    box = WatchedStore()
    if mirror is not None:
        (tmp_path / "folder" / "wheelgate-mirror.json").write_bytes(mirror)
        await box.put_if_absent("wheelgate-mirror.json", mirror, {})
    path = tmp_path / "wheelgate.toml"
    path.write_text(
        f'[[source]]\nname = "box"\ntype = "blob"\nurl = "https://acct.blob.core.windows.net/box"\n{said}'
        f'[[source]]\nname = "folder"\ntype = "directory"\nurl = "file:./folder"\n{said}'
        '[[source]]\nname = "gone"\ntype = "directory"\nurl = "file:./gone"\n'
    )
    found = [finding async for finding in check_mirrors(load(path, environment={}), {"box": box})]
    side = "public" if "false" in said else "private"
    assert [finding.what for finding in found] == [f"source {name} ({side})" for name in ("box", "folder") if warned]
    assert all(finding.ok and finding.doubtful and warned in finding.detail for finding in found)


def test_every_kind_of_check_is_documented_and_no_other() -> None:
    """The keys are for scripts, which go by them for years."""
    folder = Path(wheelgate.__file__).parent / "cli" / "checks"
    used = set()
    for node in (node for path in folder.glob("*.py") for node in ast.walk(ast.parse(path.read_text()))):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id == "Finding":
            named = [keyword.value for keyword in node.keywords if keyword.arg == "check"]
            used |= {each.value for each in [*named, *node.args[4:5]] if isinstance(each, ast.Constant)}
        if isinstance(node.func, ast.Attribute) and node.func.attr == "find" and isinstance(node.args[0], ast.Constant):
            used.add(f"source.{node.args[0].value}")
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text().partition("\n## What check says")[2]
    listed = re.findall(r"^\| `([a-z.]+)` \|", page.partition("\n## ")[0], re.MULTILINE)
    assert set(listed) == used | {"store"}
    assert len(set(listed)) == len(listed)


def test_only_places_that_are_stated_are_compared(tmp_path: Path) -> None:
    """The store is no index, and so nobody's neighbour at the default upstream."""
    config = tmp_path / "wheelgate.toml"
    config.write_text("")
    assert list(find_duplicates(load(config))) == []
    public = '[[source]]\nname = "{}"\ntype = "index"\n'
    config.write_text("".join(public.format(name) for name in ("pypi", "again")))
    (finding,) = find_duplicates(load(config))
    assert "source[1].url is that of source pypi too" in finding.detail
