"""PyPI's JSON API rests on the same decision as the page: whatever that lists, refuses or cannot tell, so does this."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, cast

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.index.test_merged_table import NAME, TABLE, Row, decide
from tests.support.clock import FakeClock
from tests.support.packages import metadata
from tests.support.sources import FakeSource, listed
from tests.support.stores import MemoryStore
from wheelgate.core.errors import CompanionNotFound, FileNotListed, FileWithheld, TooLarge, UpstreamUnavailable, WheelgateError
from wheelgate.core.model import File, ProjectPage, ProjectStatus
from wheelgate.core.names import same_version_key, version_of
from wheelgate.core.patterns import NamePatterns, parse_release
from wheelgate.files.metadata_files import MetadataFiles
from wheelgate.index.decision import Decision, Member, MergeRule
from wheelgate.index.merged import Merged
from wheelgate.index.rules import Rules
from wheelgate.index.screened import RuleBook, Screened
from wheelgate.runtime.metrics import Metrics
from wheelgate.simple_api import JSON
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.claims import Claims
from wheelgate.web.json_api import JsonApiHandlers
from wheelgate.web.page_cache import PageCache
from wheelgate.web.paths import ParsedPath, parse_path


class Descriptions:
    """Stands where core metadata comes from: made on the spot, or what ``answer`` does."""

    def __init__(self, answer: Callable[[File], Awaitable[bytes]] | None = None) -> None:
        self.asked: list[str] = []
        self.answer = answer

    async def body(self, file: File) -> bytes:
        self.asked.append(file.filename)
        if self.answer is not None:
            return await self.answer(file)
        return metadata(file.project, version_of(file.filename, file.project) or "0", requires=["idna>=2"])


class Asked:
    """Both interfaces over one index."""

    def __init__(self, index: object, clock: FakeClock, descriptions: Descriptions | None = None) -> None:
        self.pages = PageCache(cast("Merged", index), clock=clock, prefix="/below", metrics=Metrics())
        self.descriptions = descriptions or Descriptions()
        self.handlers = JsonApiHandlers(self.pages, cast("MetadataFiles", self.descriptions), clock, base="/below")

    async def page(self, project: str) -> dict[str, Any] | str:
        """The page, or the kind of error and its sentence."""
        try:
            rendered, _ = await self.pages.render(project, JSON)
        except WheelgateError as error:
            return f"{error.kind} {error}"
        page: dict[str, Any] = json.loads(gzip.decompress(rendered.body))
        return page

    async def json(self, project: str, version: str = "") -> dict[str, Any] | str:
        try:
            response = await self.response(ParsedPath(parse_path(f"/pypi/{project}/json", "").route, project, version=version))
        except WheelgateError as error:
            return f"{error.kind} {error}"
        told: dict[str, Any] = json.loads(cast("bytes", response.body))
        return told

    async def response(self, target: ParsedPath, headers: Mapping[str, str] | None = None) -> web.Response:
        return await self.handlers.answer(make_mocked_request("GET", "/", headers=headers), target)

    async def close(self) -> None:
        await self.handlers.close()
        await self.pages.close()


def listed_files(told: dict[str, Any]) -> list[str]:
    return sorted(entry["filename"] for entries in told["releases"].values() for entry in entries)


async def check_same(asked: Asked, project: str, versions: Sequence[str]) -> None:
    """Compare the page with what is told of the project and of each version."""
    page, told = await asked.page(project), await asked.json(project)
    if isinstance(page, str):
        assert told == page, "the same refusal, in the same words"
        for version in versions:
            assert await asked.json(project, version) == page
        return
    assert isinstance(told, dict)
    assert listed_files(told) == sorted(file["filename"] for file in page["files"])
    by_name = {entry["filename"]: entry for entries in told["releases"].values() for entry in entries}
    for file in page["files"]:
        entry = by_name[file["filename"]]
        assert (entry["url"], entry["digests"], entry["requires_python"]) == (
            file["url"],
            file["hashes"],
            file.get("requires-python"),
        )
        assert entry["yanked"] is bool(file.get("yanked", False))
        assert entry["core-metadata"] == file.get("core-metadata", False)
    for version in versions:
        alone = await asked.json(project, version)
        shown = [name for name in by_name if same_version_key(version_of(name, project) or "") == same_version_key(version)]
        if isinstance(alone, str):
            assert not shown, alone
            assert alone.startswith(("ErrorKind.WITHHELD", "ErrorKind.NOT_FOUND"))
        else:
            assert [entry["filename"] for entry in alone["urls"]] == sorted(shown)
            assert "releases" not in alone


class Decided:
    """An index whose one decision stands already."""

    def __init__(self, decision: Decision) -> None:
        self._decision = decision

    async def decide(self, project: str, *, learn: bool = True) -> Decision:
        return self._decision


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.answers} {row.settings}")
async def test_each_row_of_precedence_is_told_alike(row: Row) -> None:
    words = dict(pair.split() for pair in row.answers.split(", ")) if row.answers else {}
    _, decision = await decide(words, **row.settings)  # type: ignore[arg-type]
    asked = Asked(Decided(decision), FakeClock())
    await check_same(asked, NAME, [])
    await asked.close()


VERSIONS = ("1.0", "1.5", "2.0rc1", "2.0", "3.0")
an_entry = st.sampled_from(["demo", "other", "demo==1.0", "demo<2", "demo-2.0-py3-none-any.whl", "de*"])
some_rules = st.fixed_dictionaries(
    {},
    optional={
        "deny": st.lists(an_entry, max_size=2).map(lambda entries: [parse_release(entry) for entry in entries]),
        "allow": st.lists(an_entry, max_size=2).map(lambda entries: [parse_release(entry) for entry in entries]),
        "cooldown": st.just(timedelta(days=3)),
    },
)
some_files = st.lists(st.tuples(st.sampled_from(VERSIONS), st.booleans(), st.integers(0, 5)), max_size=4)


@settings(max_examples=40, deadline=None)
@given(
    said=some_rules,
    public=some_files,
    private=some_files,
    shared=st.booleans(),
    status=st.sampled_from([None, "quarantined", "archived"]),
    down=st.booleans(),
)
def test_whatever_the_rules_are_both_tell_the_same(
    said: dict[str, Any],
    public: list[tuple[str, bool, int]],
    private: list[tuple[str, bool, int]],
    shared: bool,
    status: str | None,
    down: bool,
) -> None:
    async def run() -> None:
        clock, metrics = FakeClock(), Metrics()
        sources = {name: FakeSource(name, clock) for name in ("team", "pypi")}
        for source, files in zip(sources.values(), (private, public), strict=True):
            for version, yanked, days in files:
                file = source.publish("demo", version, upload_time=clock.now() - timedelta(days=days))
                if yanked:
                    source.files["demo"][file.filename] = msgspec.structs.replace(file, yanked="broken")
        if status is not None and public:
            page = sources["pypi"]._answer("demo")
            sources["pypi"]._pages["demo"] = msgspec.structs.replace(page, status=ProjectStatus(status))
        if down:
            sources["team"].fail()
        book = RuleBook(Rules(**said))
        members = [
            Member(Screened(source, private=name == "team", book=book, clock=clock, metrics=metrics), name == "team")
            for name, source in sources.items()
        ]
        index = Merged(
            members,
            claims=Claims(MemoryStore(), clock, StoreChanges(MemoryStore(), clock)),
            clock=clock,
            metrics=metrics,
            reserved=NamePatterns([]),
            merges=[MergeRule(NamePatterns(["demo"]), ("team", "pypi"))] if shared else [],
        )
        asked = Asked(index, clock)
        await check_same(asked, "demo", [*VERSIONS, "9.9"])
        await asked.close()

    asyncio.run(run())


def serve(*files: File, descriptions: Descriptions | None = None, clock: FakeClock | None = None) -> Asked:
    versions = tuple(dict.fromkeys(filter(None, (version_of(file.filename, "demo") for file in files))))
    page = ProjectPage(project="demo", files=files, versions=versions, as_of=FakeClock().now())
    return Asked(Decided(Decision("demo", (), "", page=page)), clock or FakeClock(), descriptions)


async def test_what_is_in_the_metadata_stays_data() -> None:
    hostile = '</script><script>alert("1")</script>\x00\u202e'
    body = (
        f"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nSummary: one\n  {hostile}\nHome-page: javascript:alert(1)\n".encode()
    )
    body += b"Requires-Dist: evil; python_version < '3'\nProject-URL: Source, https://example.com/x,y\nAuthor: \xff\xfe\n\n"

    async def answer(_: File) -> bytes:
        return body

    asked = serve(listed("demo", "1.0", core_metadata={}), descriptions=Descriptions(answer))
    response = await asked.response(ParsedPath(parse_path("/pypi/demo/json", "").route, "demo"))
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    raw = cast("bytes", response.body)
    assert raw.count(b"\n") == 1, "a line break in a field is no line break in JSON"
    info = json.loads(raw)["info"]
    assert info["summary"] == f"one\n  {hostile}"
    assert info["requires_dist"] == ["evil; python_version < '3'"]
    assert info["project_urls"] == {"Source": "https://example.com/x,y"}
    assert info["author"] == "\ufffd\ufffd"
    await asked.close()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (metadata("other", "1.0"), "another project's"),
        (metadata("demo", "9.9"), "another version's"),
        (b"Name: demo\nVersion: 1.0\nSummary: " + b"x" * 2_000_000, "beyond the bound"),
        (b"\xff" * 100, "none at all"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_metadata_that_cannot_be_used_costs_what_it_would_have_said(body: bytes, why: str) -> None:
    async def answer(_: File) -> bytes:
        return body

    asked = serve(listed("demo", "1.0", core_metadata={}), descriptions=Descriptions(answer))
    told = await asked.json("demo")
    assert isinstance(told, dict), why
    assert (told["info"]["version"], told["info"]["summary"], told["info"]["requires_dist"]) == ("1.0", None, None)
    assert len(told["urls"]) == 1
    await asked.close()


async def test_what_cannot_be_read_now_is_null_for_a_moment_and_what_never_can_for_good() -> None:
    clock, failing = FakeClock(), True

    async def answer(file: File) -> bytes:
        if failing:
            raise UpstreamUnavailable("silent", source=file.source)
        raise CompanionNotFound("none")

    descriptions = Descriptions(answer)
    wheels = [listed("demo", "1.0", core_metadata={}, filename=f"demo-1.0-{tag}-none-any.whl") for tag in ("py2", "py3", "py4")]
    asked = serve(*wheels, descriptions=descriptions, clock=clock)
    for _ in range(3):
        told = await asked.json("demo")
        assert isinstance(told, dict)
        assert told["info"]["summary"] is None
    assert len(descriptions.asked) == 1, "an outage costs one question, not one a request"
    clock.move(6)
    failing = False
    for _ in range(3):
        await asked.json("demo")
        clock.move(100)
    assert len(descriptions.asked) == 3, "two of its wheels were looked into, once"
    await asked.close()


async def test_a_release_is_described_once_for_each_content_of_its_page() -> None:
    asked = serve(listed("demo", "1.0", core_metadata={}), listed("demo", "2.0", core_metadata={}))
    target = ParsedPath(parse_path("/pypi/demo/json", "").route, "demo")
    answers = [await asked.response(target, {"Accept-Encoding": "gzip"} if zipped else None) for zipped in (True, False, True)]
    bodies = [cast("bytes", answer.body) for answer in answers]
    assert gzip.decompress(bodies[0]) == bodies[1]
    assert answers[0].headers["ETag"].strip('"') == answers[1].headers["ETag"].strip('"') + "-gzip"
    assert asked.descriptions.asked == ["demo-2.0-py3-none-any.whl"]
    for spelling in ("1.0", "1", "1.0.0", "v1.0"):
        told = await asked.json("demo", spelling)
        assert isinstance(told, dict)
        assert (told["info"]["version"], told["info"]["summary"]) == ("1.0", "made for a test")
    assert len(asked.descriptions.asked) == 2
    held = await asked.response(target, {"If-None-Match": answers[1].headers["ETag"]})
    assert (held.status, held.body) == (304, None)
    await asked.close()


async def test_a_version_that_is_not_there_and_one_that_is_withheld() -> None:
    asked = serve(listed("demo", "1.0"))
    with pytest.raises(FileNotListed, match="project demo lists no file of a version 7"):
        await asked.response(ParsedPath(parse_path("/pypi/demo/json", "").route, "demo", version="7"))
    page = Rules(deny=[parse_release("demo==2.0")]).screen(
        ProjectPage(
            project="demo",
            files=(listed("demo", "1.0"), listed("demo", "2.0")),
            versions=("1.0", "2.0"),
            as_of=FakeClock().now(),
        ),
        "pypi",
        False,
        FakeClock().now(),
    )
    ruled = Asked(Decided(Decision("demo", (), "", page=page)), FakeClock())
    with pytest.raises(FileWithheld, match=r"demo 2\.0\.0 is withheld: policy\.deny has demo==2\.0"):
        await ruled.response(ParsedPath(parse_path("/pypi/demo/json", "").route, "demo", version="2.0.0"))
    told = await ruled.json("demo")
    assert isinstance(told, dict)
    assert list(told["releases"]) == ["1.0"], "a version of which all is withheld would look like one to go to"
    await asked.close()
    await ruled.close()


async def test_a_large_project_keeps_nobody_waiting_and_a_huge_one_is_not_shown() -> None:
    files = [listed("demo", f"1.{n // 10}", filename=f"demo-1.{n // 10}-cp3{n % 10}-none-any.whl") for n in range(15_000)]
    asked = serve(*files)
    await asked.pages.entry("demo")
    turns, done = 0, asyncio.create_task(asked.json("demo"))
    while not done.done():
        await asyncio.sleep(0)
        turns += 1
    told = done.result()
    assert isinstance(told, dict)
    assert len(told["releases"]) == 1_500
    assert turns > 20, "it is made beside the loop"
    assert asked.handlers._kept.currsize <= asked.handlers._kept.maxsize
    await asked.close()
    huge = serve(*files, *(listed("demo", "2.0", filename=f"demo-2.{n}-py3-none-any.whl") for n in range(5_001)))
    with pytest.raises(TooLarge, match="demo has 20001 files, and 20000 are shown here at most"):
        await huge.response(ParsedPath(parse_path("/pypi/demo/json", "").route, "demo"))
    await huge.close()


async def test_what_is_kept_is_bounded() -> None:
    asked = serve(*(listed("demo", f"{n}.0") for n in range(300)))
    asked.handlers = JsonApiHandlers(
        asked.pages, cast("MetadataFiles", asked.descriptions), FakeClock(), base="", max_bytes=100_000
    )
    for n in range(300):
        await asked.json("demo", f"{n}.0")
    assert asked.handlers._kept.currsize <= 100_000
    assert 0 < len(asked.handlers._kept) < 100
    await asked.close()
