"""From inputs to files: what several inputs and targets need together, and what must be built."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.packages import sdist_bytes
from wheelgate.core.errors import BlobDamaged, FileWithheld, ProjectNotFound, Unresolvable, UpstreamBadAnswer, WheelgateError
from wheelgate.core.model import File, ProjectPage, RemoteFile
from wheelgate.mirror.file_origins import MirrorFile
from wheelgate.mirror.inputs import read_input, read_projects
from wheelgate.mirror.inputs_model import LockSelection, MirrorInput, NeededRelease
from wheelgate.mirror.planning import Plan, Planner
from wheelgate.mirror.targets import Target, parse_target

LINUX, WINDOWS = parse_target("3.11", "linux-x86_64"), parse_target("3.11", "windows-x86_64")


class Listing:
    """A Source with these files; names in ``withheld`` are refused."""

    name = "index"

    def __init__(self, files: Mapping[str, list[str]], **facts: object) -> None:
        self._files = files
        self._facts = facts

    async def project_names(self) -> frozenset[str]:
        return frozenset(self._files)

    async def project_page(self, project: str) -> ProjectPage:
        if project == "forbidden":
            raise FileWithheld("forbidden is denied by a rule: ask for a waiver")
        if project not in self._files:
            raise ProjectNotFound(f"no source has a project {project}")
        files = [
            File(filename=name, project=project, source="s", location=RemoteFile(f"https://x/{name}", "s"), **self._facts)  # type: ignore[arg-type]
            for name in self._files[project]
        ]
        return ProjectPage(project=project, files=tuple(files), as_of=datetime(2026, 1, 1, tzinfo=UTC))


class Answers:
    """A resolver that gives, for each project asked, that project at the version it was told."""

    def __init__(self, versions: Mapping[str, str]) -> None:
        self._versions = versions
        self.asked: list[tuple[str, Target]] = []

    async def needs(self, asked: MirrorInput, target: Target) -> list[NeededRelease]:
        self.asked.append((asked.label, target))
        lines = [line for line in asked.requirements if line.holds_for(target)]
        for line in lines:
            if line.project not in self._versions:
                raise Unresolvable(f"{asked.label}: {line.project} was not found in any source")
        return [NeededRelease(line.project, self._versions[line.project], where=line.where) for line in lines]


class World:
    def __init__(self, folder: Path, files: Mapping[str, list[str]], *, all_files: bool = False, **facts: object) -> None:
        self.plan = Plan()
        self.resolver = Answers(dict.fromkeys(files, "1.0"))
        self.folder = folder
        self.planner = Planner(
            plan=self.plan, index=Listing(files, **facts), resolve=self.resolver.needs, peek=self.peek, all_files=all_files
        )

    async def peek(self, item: MirrorFile) -> Path:
        path = self.folder / item.file.filename
        if not path.exists():
            path.write_bytes(sdist_bytes(item.file.project, "1.0"))
        return path


PURE = {"demo": ["demo-1.0-py3-none-any.whl"]}


async def test_inputs_and_targets_share_files(tmp_path: Path) -> None:
    world = World(tmp_path, PURE)
    (tmp_path / "a.txt").write_text("demo\n")
    first, second = read_input(tmp_path / "a.txt", {}), read_projects(["demo; sys_platform == 'win32'"], {})
    await world.planner.add(first, [LINUX, WINDOWS])
    await world.planner.add(second, [LINUX, WINDOWS])
    (item,) = world.plan.files.values()
    assert item.needed_by == {"a.txt": {str(LINUX), str(WINDOWS)}, "the projects named": {str(WINDOWS)}}
    assert [where for _, where in world.resolver.asked] == [LINUX, WINDOWS, WINDOWS]  # nothing to resolve on Linux


async def test_what_cannot_be_had_together_is_resolved_one_by_one(tmp_path: Path) -> None:
    class Torn(Answers):
        async def needs(self, asked: MirrorInput, target: Target) -> list[NeededRelease]:
            if {line.project for line in asked.requirements} >= {"cpu", "gpu"}:
                raise Unresolvable("cpu and gpu exclude each other")
            return await super().needs(asked, target)

    listed = {name: [f"{name}-1.0-py3-none-any.whl"] for name in ("base", "cpu", "gpu")}
    world = World(tmp_path, listed)
    world.planner.resolve = Torn(dict.fromkeys(listed, "1.0")).needs
    path = tmp_path / "pyproject.toml"
    extras = '[project.optional-dependencies]\ncpu = ["cpu"]\ngpu = ["gpu"]\n'
    path.write_text(f'[project]\nname = "own"\nversion = "0"\ndependencies = ["base"]\n{extras}')
    await world.planner.add(read_input(path, {}), [LINUX])
    assert set(world.plan.files) == {f"{name}/{name}-1.0-py3-none-any.whl" for name in listed}
    (note,) = world.plan.notes
    assert "each extra and group of pyproject.toml is mirrored by itself" in note
    path.write_text('[project]\nname = "own"\nversion = "0"\ndependencies = ["cpu", "gpu"]\n')
    with pytest.raises(Unresolvable, match="cpu and gpu exclude each other"):
        await world.planner.add(read_input(path, {}), [LINUX])


async def test_a_project_of_ones_own_brings_what_builds_it(tmp_path: Path) -> None:
    world = World(tmp_path, {"setuptools": ["setuptools-1.0-py3-none-any.whl"]})
    for folder, backend in (("a", "setuptools"), ("b", "unheard-of")):
        (tmp_path / folder).mkdir()
        lock = f'version = 1\n[[package]]\nname = "{folder}"\nversion = "1"\nsource = {{ editable = "." }}\n'
        (tmp_path / folder / "uv.lock").write_text(lock)
        (tmp_path / folder / "pyproject.toml").write_text(f'[build-system]\nrequires = ["{backend}"]\n')
        await world.planner.add(read_input(tmp_path / folder / "uv.lock", {}), [LINUX])
    assert set(world.plan.files) == {"setuptools/setuptools-1.0-py3-none-any.whl"}
    assert world.plan.notes[0] == "uv.lock: included is what builds a, which no index has: setuptools"
    assert world.plan.notes[2].startswith("what builds b is not in this mirror: ")


async def test_an_sdist_brings_what_builds_it_and_that_too(tmp_path: Path) -> None:
    world = World(tmp_path, {"demo": ["demo-1.0.tar.gz"], "setuptools": ["setuptools-1.0.tar.gz"]})
    await world.planner.add(read_projects(["demo"], {}), [LINUX])
    assert set(world.plan.files) == {"demo/demo-1.0.tar.gz", "setuptools/setuptools-1.0.tar.gz"}
    assert [note.partition(";")[0] for note in world.plan.notes] == [
        "demo-1.0.tar.gz must be built: no wheel fits",
        "setuptools-1.0.tar.gz must be built: no wheel fits",  # which needs setuptools: it does not go round for ever
    ]


async def test_what_builds_an_sdist_is_chosen_by_the_same_options(tmp_path: Path) -> None:
    files = {"demo": ["demo-1.0.tar.gz"], "setuptools": ["setuptools-1.0.tar.gz", "setuptools-1.0-py3-none-any.whl"]}
    for text, built_by in (("demo", ".tar.gz"), ("--only-binary=:all: --no-binary=demo\ndemo", "-py3-none-any.whl")):
        world = World(tmp_path, files)
        (tmp_path / "r.txt").write_text(f"--no-binary=:all:\n{text}\n")
        await world.planner.add(read_input(tmp_path / "r.txt", {}), [LINUX])
        assert set(world.plan.files) == {"demo/demo-1.0.tar.gz", f"setuptools/setuptools-1.0{built_by}"}


async def test_what_a_build_needs_is_named_where_it_cannot_be_had(tmp_path: Path) -> None:
    world = World(tmp_path, {"demo": ["demo-1.0.tar.gz"]})
    await world.planner.add(read_projects(["demo"], {}), [LINUX])
    assert "demo-1.0.tar.gz cannot be built from this mirror: " in world.plan.notes[-1]
    assert "setuptools was not found" in world.plan.notes[-1]
    (tmp_path / "odd-1.0.tar.gz").write_bytes(b"no archive")
    world = World(tmp_path, {"odd": ["odd-1.0.tar.gz"]})
    await world.planner.add(read_projects(["odd"], {}), [LINUX])
    (note,) = world.plan.notes
    assert note == "odd-1.0.tar.gz must be built, and it is not a whole gzip file: mirror what it needs by --project"


@pytest.mark.parametrize("error", [UpstreamBadAnswer("it sent nonsense"), BlobDamaged("it is too large")])
async def test_an_sdist_that_cannot_be_had_keeps_no_other_from_being_planned(tmp_path: Path, error: WheelgateError) -> None:
    async def peek(_: MirrorFile) -> Path:
        raise error

    world = World(tmp_path, {"demo": ["demo-1.0.tar.gz"], "other": ["other-1.0-py3-none-any.whl"]})
    world.planner.peek = peek
    await world.planner.add(read_projects(["demo", "other"], {}), [LINUX])
    assert set(world.plan.files) == {"demo/demo-1.0.tar.gz", "other/other-1.0-py3-none-any.whl"}
    assert world.plan.notes == [f"demo-1.0.tar.gz must be built, and what it needs for that is not known: {error}"]


async def test_an_sdist_that_is_only_taken_along_is_not_looked_into(tmp_path: Path) -> None:
    world = World(tmp_path, {"demo": ["demo-1.0-py3-none-any.whl", "demo-1.0.tar.gz"]}, all_files=True)
    await world.planner.add(read_projects(["demo"], {}), [LINUX])
    assert set(world.plan.files) == {"demo/demo-1.0-py3-none-any.whl", "demo/demo-1.0.tar.gz"}
    assert world.plan.notes == []


async def test_hashes_of_several_inputs_must_agree(tmp_path: Path) -> None:
    world = World(tmp_path, PURE)
    one, two, three = "a" * 64, "b" * 64, "c" * 64
    await world.planner.add(read_projects([f"demo==1.0 --hash=sha256:{one} --hash=sha256:{two}"], {}), [LINUX])
    await world.planner.add(read_projects([f"demo==1.0 --hash=sha256:{two} --hash=sha256:{three}"], {}), [LINUX])
    assert next(iter(world.plan.files.values())).accepted == {f"sha256:{two}"}
    assert world.resolver.asked == []  # locked
    with pytest.raises(Unresolvable, match="allows other bytes of demo-1.0-py3-none-any.whl than another input"):
        await world.planner.add(read_projects([f"demo==1.0 --hash=sha256:{three}"], {}), [LINUX])


async def test_what_excludes_every_target_is_an_error(tmp_path: Path) -> None:
    world = World(tmp_path, PURE)
    asked = read_projects(["demo; sys_platform == 'darwin'"], {})
    with pytest.raises(Unresolvable, match="its markers exclude every target"):
        await world.planner.add(asked, [LINUX, WINDOWS])
    await world.planner.add(asked, [LINUX], may_be_empty=True)


async def test_a_rule_is_told_where_uv_only_says_not_found(tmp_path: Path) -> None:
    world = World(tmp_path, PURE)
    with pytest.raises(Unresolvable, match=r"forbidden was not found in any source \(forbidden is denied by a rule"):
        await world.planner.add(read_projects(["forbidden"], {}), [LINUX])


async def test_all_that_is_wrong_with_a_lock_is_said_at_once(tmp_path: Path) -> None:
    world = World(
        tmp_path, {"demo": ["demo-1.0-py3-none-any.whl"], "other": ["other-1.0-py3-none-any.whl"]}, hashes={"sha256": "f" * 64}
    )
    lines = "".join(f"{name}==1.0 --hash=sha256:{'a' * 64}\n" for name in ("demo", "other"))
    (tmp_path / "r.txt").write_text(lines)
    with pytest.raises(Unresolvable) as error:
        await world.planner.add(read_input(tmp_path / "r.txt", {}), [LINUX])
    assert len(str(error.value).splitlines()) == 2


async def test_yanked_files_are_mentioned(tmp_path: Path) -> None:
    world = World(tmp_path, PURE, yanked="broken")
    await world.planner.add(read_projects(["demo"], {}), [LINUX])
    assert world.plan.notes == ["demo-1.0-py3-none-any.whl was yanked: broken; it is needed nevertheless"]


VARIANTS = {
    "demo": [
        "demo-1.0-py3-none-any.whl",
        "demo-1.0-py3-none-any-cu128.whl",
        "demo-1.0-variants.json",
        "demo-2.0-py3-none-any-cu128.whl",
        "demo-2.0-variants.json",
    ]
}


async def test_variants_come_with_the_document_that_installers_choose_by(tmp_path: Path) -> None:
    world = World(tmp_path, VARIANTS, all_files=True)
    await world.planner.add(read_projects(["demo"], {}), [LINUX])
    assert set(world.plan.files) == {f"demo/{name}" for name in VARIANTS["demo"][:3]}
    plain = World(tmp_path, VARIANTS)
    await plain.planner.add(read_projects(["demo"], {}), [LINUX])
    assert set(plain.plan.files) == {"demo/demo-1.0-py3-none-any.whl"}, (
        "nobody chooses a variant for an installer that knows none"
    )


async def test_a_lock_of_a_variant_brings_its_document_whatever_its_hashes(tmp_path: Path) -> None:
    world = World(tmp_path, VARIANTS)
    locked = NeededRelease(
        "demo", "1.0", filename=VARIANTS["demo"][1], hashes=frozenset({f"sha256:{'1' * 64}"}), where="pylock.toml"
    )
    await world.planner.add(MirrorInput(label="pylock.toml", lock=lambda _: LockSelection([locked])), [LINUX])
    assert set(world.plan.files) == {"demo/demo-1.0-py3-none-any-cu128.whl", "demo/demo-1.0-variants.json"}
    assert not world.plan.files["demo/demo-1.0-variants.json"].accepted, "the lock's hashes are the wheel's"
