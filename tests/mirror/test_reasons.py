"""Reasons for which a version is not mirrored: true for every way in which it can be missing, by uv's route and by a lock's."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.index import FakeIndex
from tests.support.packages import metadata, sdist_bytes, wheel_bytes, wheel_name
from wheelgate.core.errors import ProjectNotFound, ProjectWithheld, Unresolvable
from wheelgate.core.model import File, ProjectPage, RemoteFile, Withheld
from wheelgate.mirror.file_origins import MirrorFile
from wheelgate.mirror.inputs import read_input
from wheelgate.mirror.planning import Plan, Planner
from wheelgate.mirror.resolving import Resolver
from wheelgate.mirror.targets import parse_target

HERE = parse_target("3.11", "linux-x86_64")
TOO_NEW = "it was uploaded 2 hours ago, and is withheld for 3 days (policy.cooldown)"


class World:
    """An index as uv sees it, and its pages as they are known here, with what is withheld."""

    name = "index"

    def __init__(self, index: FakeIndex, folder: Path) -> None:
        self._index, self._folder = index, folder
        self._pages: dict[str, ProjectPage] = {}
        self.refused: dict[str, str] = {}
        self.asked: set[str] = set()

    def add(self, project: str, version: str, *needs: str, filename: str = "", withheld: str = "", **facts: str) -> None:
        filename = filename or wheel_name(project, version)
        page = self._pages.get(project) or ProjectPage(project=project, files=(), as_of=datetime(2026, 1, 1, tzinfo=UTC))
        if withheld:
            entry = Withheld(filename, "s", "cooldown" if "cooldown" in withheld else "deny", withheld)
            self._pages[project] = page.with_files(page.files, (*page.withheld, entry))
            self._index.projects.setdefault(project, {})
            return
        file = File(filename=filename, project=project, source="s", location=RemoteFile(f"https://x/{filename}", "s"), **facts)  # type: ignore[arg-type]
        self._pages[project] = page.with_files((*page.files, file), page.withheld)
        head = metadata(project, version, requires=needs)
        body = wheel_bytes(project, version, metadata_body=head) if filename.endswith(".whl") else sdist_bytes(project, version)
        self._index.publish(project, filename, body, metadata=head, **facts)

    async def project_names(self) -> frozenset[str]:
        return frozenset(self._pages)

    async def project_page(self, project: str) -> ProjectPage:
        self.asked.add(project)
        if project in self.refused:
            raise ProjectWithheld(self.refused[project], {})
        if project not in self._pages:
            raise ProjectNotFound(f"no source has a project {project}")
        return self._pages[project]

    async def plan(self, text: str) -> Plan:
        (self._folder / "r.txt").write_text(text)
        resolver = Resolver(
            self._index.url, self._folder, {"PATH": "/usr/bin"}, python=sys.executable, outputs=self._folder / "outputs"
        )
        planner = Planner(plan=Plan(), index=self, resolve=resolver.resolve, peek=no_peek, all_files=False)
        await planner.add(read_input(self._folder / "r.txt", {}), [HERE])
        return planner.plan

    async def fail(self, text: str) -> str:
        with pytest.raises(Unresolvable) as caught:
            await self.plan(text)
        return str(caught.value)


async def no_peek(_: MirrorFile) -> Path:
    raise AssertionError("nothing is built")


@pytest.fixture
def world(index: FakeIndex, tmp_path: Path) -> World:
    made = World(index, tmp_path)
    made.add("fresh", "1.0")
    made.add("fresh", "2.0", withheld=TOO_NEW)
    made.add("denied", "1.0", withheld="policy.deny lists it")
    made.add("yanked", "1.0", yanked="it broke")
    made.add("newer", "1.0", requires_python=">=3.12")
    made.add("patch", "1.0", requires_python="<3.11.3")
    made.add("later", "1.0", requires_python=">=3.11.60,<3.12")
    made.add("windows", "1.0", filename="windows-1.0-cp311-cp311-win_amd64.whl")
    made.add("half", "1.0", filename="half-1.0-cp311-cp311-win_amd64.whl")
    made.add("half", "1.0", filename="half-1.0.tar.gz", withheld=TOO_NEW)
    made.add("source", "1.0", filename="source-1.0.tar.gz")
    made.add("wheel-only", "1.0")
    made.add("preview", "1.0")
    made.add("preview", "2.0rc1")
    made.add("needs-fresh", "1.0", "fresh>=2")
    made.add("needs-newer", "1.0", "newer")
    return made


LATER = "Python {}, and 3.11 means 3.11.18 here: name the patch release that is meant"
WITHHELD = f"is withheld: {TOO_NEW} (rule cooldown)"
CASES = [
    ("fresh==2.0", f"fresh 2.0 {WITHHELD}"),
    ("fresh>1", f"fresh 2.0 {WITHHELD}"),
    ("needs-fresh", f"fresh 2.0 {WITHHELD}"),
    ("fresh>=3", "no source lists fresh>=3; the newest is 2.0"),
    ("fresh==1.5", "no source lists fresh==1.5; the newest is 2.0"),
    ("denied", "denied 1.0 is withheld: policy.deny lists it (rule deny)"),
    ("yanked", "yanked 1.0 was yanked: it broke (who asks for that very version gets it)"),
    ("newer", "newer 1.0 requires Python >=3.12"),
    ("newer==1.0", "newer 1.0 requires Python >=3.12"),
    ("needs-newer", "newer 1.0 requires Python >=3.12"),
    ("patch", f"patch 1.0 requires {LATER.format('<3.11.3')}"),
    ("later==1.0", f"later 1.0 requires {LATER.format('>=3.11.60,<3.12')}"),
    ("windows", "windows 1.0 has no wheel for Python 3.11 on linux-x86_64, and no sdist"),
    ("half==1.0", f"half 1.0 has no wheel for Python 3.11 on linux-x86_64, and no sdist; half-1.0.tar.gz {WITHHELD}"),
    ("--only-binary=:all:\nsource", "source 1.0 has no wheel, and --only-binary excludes what it has"),
    ("--no-binary=:all:\nwheel-only", "wheel-only 1.0 has no sdist, and --no-binary excludes what it has"),
    ("--only-final=preview\npreview>=2.0rc1", "preview 2.0rc1 is a pre-release, which --only-final excludes"),
]


@pytest.mark.parametrize(("text", "reason"), CASES, ids=[text.replace("\n", " ") for text, _ in CASES])
async def test_the_reason_is_the_true_one(text: str, reason: str, world: World) -> None:
    told = await world.fail(f"{text}\n")
    assert told.startswith(f"r.txt cannot be resolved for {HERE}: {reason} (uv: "), told
    assert "no version of" not in told
    assert "was not found" not in told
    assert world.asked <= {"needs-fresh", "needs-newer", *(await world.project_names())}


@pytest.mark.parametrize(
    ("pin", "reason"),
    [
        ("fresh==2.0", f"fresh 2.0 {WITHHELD}"),
        ("fresh==7", "no source lists a file of fresh 7"),
        ("newer==1.0", "newer 1.0 requires Python >=3.12"),
        ("windows==1.0", "windows 1.0 has no wheel for Python 3.11 on linux-x86_64, and no sdist"),
    ],
)
async def test_pins_with_hashes_have_the_same_reasons(pin: str, reason: str, world: World) -> None:
    assert await world.fail(f"{pin} --hash=sha256:{'a' * 64}\n") == reason


async def test_what_is_withheld_as_a_whole_or_conflicts_is_said_so(world: World) -> None:
    world.refused["denied"] = "denied is denied by policy.deny: ask for a waiver"
    assert "denied is denied by policy.deny: ask for a waiver" in await world.fail("denied\n")
    told = await world.fail("fresh<1\nfresh>=1\n")
    assert "no source lists fresh<1; the newest is 2.0" in told
    told = await world.fail("preview==1.0\npreview==2.0rc1\n")  # both are there
    assert told.startswith(f"r.txt cannot be resolved for {HERE}: Because you require preview")


async def test_what_is_newer_and_withheld_is_told_beside_what_is_mirrored(world: World) -> None:
    plan = await world.plan("fresh\npreview\n")
    assert set(plan.files) == {"fresh/fresh-1.0-py3-none-any.whl", "preview/preview-1.0-py3-none-any.whl"}
    assert plan.notes == [f"fresh 1.0 is mirrored: fresh 2.0 {WITHHELD}"]
    assert (await world.plan("fresh<2\n")).notes == []
