"""Planning of the files that a mirror needs, from inputs and targets: resolve, choose, and look into what must be built.

Chosen are the files of a version that an installer on a target would take, out of everything a page lists.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, Specifier
from packaging.version import InvalidVersion, Version

from wheelgate.core.errors import ProjectNotFound, StoreError, Unresolvable, WheelgateError
from wheelgate.core.model import File, ProjectPage
from wheelgate.core.names import is_index_document, same_version_key, version_of, without_sdist_ending
from wheelgate.core.protocols import Pages
from wheelgate.core.wheel_names import is_variant
from wheelgate.distfiles.build_requirements import UnknownBuildRequirements, build_requirements
from wheelgate.mirror.fetching import OF_ONE_FILE
from wheelgate.mirror.file_origins import MirrorFile
from wheelgate.mirror.inputs_model import InputRequirement, MirrorInput, NeededRelease, SelectionOptions, format_hashes
from wheelgate.mirror.requirements import parse_requirement
from wheelgate.mirror.targets import Target, find_best_wheel
from wheelgate.runtime.regular_file import open_regular

_PAGES_AT_ONCE = 16
_NOT_FOUND = re.compile(r"([a-z0-9-]+) was not found in any source")


class Plan(msgspec.Struct):
    """A plan: the files that are to be there, by path, and notes for people."""

    files: dict[str, MirrorFile] = {}
    notes: list[str] = []


class Planner(msgspec.Struct, kw_only=True, eq=False):
    """A planner of one plan: it asks the index and uv, and changes nothing."""

    plan: Plan
    """Grows as it is worked out; ``peek`` may look into it."""
    index: Pages
    resolve: Callable[[MirrorInput, Target], Awaitable[list[NeededRelease]]]
    """Finds versions for open requirements; see :meth:`wheelgate.mirror.resolving.Resolver.resolve`."""
    peek: Callable[[MirrorFile], Awaitable[Path]]
    """Opens a verified sdist as a file, to be read."""
    all_files: bool
    """Of the versions needed every file, for whatever machine."""
    on_step: Callable[[str], None] = lambda _: None
    """Is told what takes long, in words."""
    _pages: dict[str, ProjectPage] = {}
    _sdists: dict[str, set[tuple[str, Target]]] = {}
    """Paths of sdists to be built, and for which input and target."""
    _planned_builds: set[tuple[str, str, Target]] = set()
    """Everything that was ever in it: what builds an sdist may need it itself."""

    async def add(self, asked: MirrorInput, targets: Sequence[Target], *, may_be_empty: bool = False) -> None:
        """Add everything that one input needs on these targets.

        Raises:
            BadInput, Unresolvable, UpstreamError, StoreError: it is not available.
        """
        for note in asked.notes:
            self._add_note(note)
        count = 0
        for target in targets:
            needs = await self._find_needs(asked, target)
            count += len(needs) + len(asked.builds)
            await self._take(needs, asked.label, asked.options, target)
            for build in asked.builds:
                await self._add_build(build, asked.label, target)
        if not count and not may_be_empty:
            names = "; ".join(map(str, targets))
            why = "its markers exclude every target" if asked.requirements else "it locks nothing that any target needs"
            raise Unresolvable(f"{asked.label}: {why} ({names}), so nothing is left to mirror")
        while self._sdists:
            waiting, self._sdists = self._sdists, {}
            for path, users in sorted(waiting.items()):
                await self._plan_build(self.plan.files[path], sorted(users), asked.options)

    async def _find_needs(self, asked: MirrorInput, target: Target) -> list[NeededRelease]:
        if asked.lock is not None:
            selection = asked.lock(target)
            for note in selection.notes:
                self._add_note(note)
            return selection.needs
        lines = [line for line in asked.requirements if line.holds_for(target)]
        if asked.is_locked:
            return [NeededRelease(line.project, line.pinned or "", hashes=line.hashes, where=line.where) for line in lines]
        if not lines:
            return []
        self.on_step(f"resolving {asked.label} for {target}")
        excluded: set[str] = set()
        while True:
            try:
                needs = await self.resolve(asked, target)
            except Unresolvable as error:
                raise await self._explain(error) from None
            await self._load_pages(needs)
            barred = [need.project for need in needs if not _runs_there(need, self._pages[need.project], target)]
            if excluded.issuperset(barred):
                return needs
            excluded.update(barred)  # uv disregards an upper bound of Requires-Python; pip does not
            constraints = [_exclude_versions(self._pages[project], target, asked.label) for project in barred]
            asked = msgspec.structs.replace(asked, constraints=[*asked.constraints, *constraints])

    async def _explain(self, error: Unresolvable) -> Unresolvable:
        """Explain an error by the index: to uv a name that is withheld or unreachable looks like one that is nowhere."""
        for name in dict.fromkeys(_NOT_FOUND.findall(str(error))):
            try:
                await self.index.project_page(name)
            except ProjectNotFound:
                continue
            except WheelgateError as reason:
                return Unresolvable(f"{error} ({reason})")
        return error

    async def _take(self, needs: Sequence[NeededRelease], label: str, options: SelectionOptions, target: Target) -> None:
        await self._load_pages(needs)
        problems = []
        for need in needs:
            try:
                self._choose(need, label, options, target)
            except Unresolvable as error:
                problems.append(str(error))
        if problems:
            raise Unresolvable("\n".join(problems))

    def _choose(self, need: NeededRelease, label: str, options: SelectionOptions, target: Target) -> None:
        page = self._pages[need.project]
        chosen = choose_files(need, page, target, options, all_files=False)
        for file in chosen:
            path = self._add_file(file, need, label, target)
            if _is_sdist(file.filename) and (path, label, target) not in self._planned_builds:
                self._planned_builds.add((path, label, target))
                self._sdists.setdefault(path, set()).add((label, target))
        if self.all_files:
            # A lock's hash is of one file: the others are of the same version, and verified by what the index lists.
            hashes = frozenset[str]() if need.filename else need.hashes
            version = msgspec.structs.replace(need, filename=None, hashes=hashes)
            others = choose_files(version, page, target, SelectionOptions(), all_files=True)
            for file in others:
                self._add_file(file, version, label, target)
            chosen += others
        if any(is_variant(file.filename) for file in chosen):  # without their document no installer takes one of them
            unlocked = msgspec.structs.replace(need, filename=None, hashes=frozenset())
            for file in _of_version(need, page):
                if is_index_document(file.filename):
                    self._add_file(file, unlocked, label, target)

    async def _load_pages(self, needs: Iterable[NeededRelease]) -> None:
        turns = asyncio.Semaphore(_PAGES_AT_ONCE)

        async def load(need: NeededRelease) -> None:
            async with turns:
                try:
                    self._pages[need.project] = await self.index.project_page(need.project)
                except ProjectNotFound:
                    raise Unresolvable(f"{need.where}: no source has a project {need.project}") from None

        by_project = {need.project: need for need in needs if need.project not in self._pages}
        await asyncio.gather(*map(load, by_project.values()))

    def _add_file(self, file: File, need: NeededRelease, label: str, target: Target) -> str:
        item = MirrorFile(file)
        if item.path not in self.plan.files and file.yanked is not None:
            self._add_note(f"{file.filename} was yanked{f': {file.yanked}' if file.yanked else ''}; it is needed nevertheless")
        item = self.plan.files.setdefault(item.path, item)
        item.needed_by.setdefault(label, set()).add(str(target))
        if need.hashes:
            both = need.hashes & (item.accepted or need.hashes)
            if not both:
                raise Unresolvable(f"{need.where}: allows other bytes of {file.filename} than another input does")
            item.accepted = both
        return item.path

    async def _plan_build(self, item: MirrorFile, users: Sequence[tuple[str, Target]], options: SelectionOptions) -> None:
        """Add what building an sdist takes, chosen by the same options, as pip does; where that is not known, note it."""
        filename = item.file.filename
        where = f"what builds {filename}"
        self.on_step(f"reading {where}")
        try:
            stated = await asyncio.to_thread(_read_build_requirements, await self.peek(item), filename)
        except UnknownBuildRequirements as error:
            self._add_note(f"{filename} must be built, and it {error}: mirror what it needs by --project")
            return
        except WheelgateError as error:
            if isinstance(error, StoreError) and not isinstance(error, OF_ONE_FILE):
                raise
            # Copying it fails likewise, and says so.
            self._add_note(f"{filename} must be built, and what it needs for that is not known: {error}")
            return
        self._add_note(f"{filename} must be built: no wheel fits; included for that: {', '.join(stated) or 'nothing'}")
        requirements = [parse_requirement(requirement, where) for requirement in stated]
        asked = MirrorInput(label=where, requirements=requirements, options=options)
        for label, target in users:
            try:
                await self._take(await self._find_needs(asked, target), label, options, target)
            except Unresolvable as error:
                self._add_note(f"{filename} cannot be built from this mirror: {error}")

    async def _add_build(self, build: MirrorInput, label: str, target: Target) -> None:
        """Add what builds a project of one's own, for an input of that label."""
        stated = ", ".join(str(line.requirement) for line in build.requirements)
        self._add_note(f"{label}: included is {build.label}, which no index has: {stated}")
        try:
            await self._take(await self._find_needs(build, target), label, SelectionOptions(), target)
        except Unresolvable as error:
            self._add_note(f"{build.label} is not in this mirror: {error}")

    def _add_note(self, note: str) -> None:
        if note not in self.plan.notes:
            self.plan.notes.append(note)


def _read_build_requirements(path: Path, filename: str) -> tuple[str, ...]:
    with open_regular(path) as sdist:
        return build_requirements(sdist, filename)


def choose_files(
    need: NeededRelease, page: ProjectPage, target: Target, options: SelectionOptions, *, all_files: bool
) -> list[File]:
    """Choose the best wheel of the version, as installers do, else its sdist; with ``all_files`` everything of the version.

    Raises:
        Unresolvable: no file of it is suitable.
    """
    if need.filename is not None:
        return [_find_locked_file(need, page)]
    of_version = _of_version(need, page)
    if not of_version:
        raise Unresolvable(f"no source lists a file of {need.project} {need.version}{_describe_withheld(need, page)}")
    files = [file for file in of_version if _has_digest(file, need)]
    if not files:
        raise Unresolvable(f"{need.where}: no file of {need.project} {need.version} that a source lists has one of its hashes")
    if options.wants_prereleases(need.project) is False and _is_prerelease(need.version):
        raise Unresolvable(f"{need.where}: {need.project} {need.version} is a pre-release, which --only-final excludes")
    kinds = [file for file in files if _is_wanted(file, need.project, options)]
    if all_files:
        return kinds
    fitting = [file for file in kinds if target.admits(file.requires_python)]
    # A yanked file is taken by those who asked for its very version, and only if there is no other.
    for among in ([file for file in fitting if file.yanked is None], fitting):
        file = _choose_best(among, target)
        if file is not None:
            return [file]
    raise Unresolvable(f"{need.project} {need.version} has no wheel and no sdist that a source lists for {target}")


def _of_version(need: NeededRelease, page: ProjectPage) -> list[File]:
    """Find everything that is listed of the version."""
    key = same_version_key(need.version)
    return [file for file in page.files if same_version_key(version_of(file.filename, need.project) or "") == key]


def _runs_there(need: NeededRelease, page: ProjectPage, target: Target) -> bool:
    """False if every file that is listed of the version requires another Python."""
    files = _of_version(need, page)
    return not files or any(target.admits(file.requires_python) for file in files)


def _exclude_versions(page: ProjectPage, target: Target, where: str) -> InputRequirement:
    """Build the constraint that excludes every version of which each file requires another Python."""
    admitted: dict[str, bool] = {}
    for file in page.files:
        if version := version_of(file.filename, page.project):
            admitted[version] = admitted.get(version, False) or target.admits(file.requires_python)
    specifiers = []
    for version in sorted(version for version, is_admitted in admitted.items() if not is_admitted):
        with suppress(InvalidSpecifier):  # no resolver knows such a version
            specifiers.append(Specifier(f"!={version}"))
    requirement = Requirement(f"{page.project}{','.join(map(str, specifiers))}")
    return InputRequirement(requirement, page.project, frozenset(), where)


def _choose_best(files: Sequence[File], target: Target) -> File | None:
    by_name = {file.filename: file for file in files}
    wheel = find_best_wheel((name for name in by_name if name.endswith(".whl")), target)
    if wheel is not None:
        return by_name[wheel]
    sdists = [file for file in files if _is_sdist(file.filename)]
    return min(sdists, key=lambda file: (not file.filename.endswith(".tar.gz"), file.filename), default=None)


def _is_sdist(filename: str) -> bool:
    return without_sdist_ending(filename) is not None


def _find_locked_file(need: NeededRelease, page: ProjectPage) -> File:
    for file in page.files:
        if file.filename == need.filename:
            if not _has_digest(file, need):
                raise Unresolvable(
                    f"{need.where}: {need.filename} is locked with another hash than source {file.source} lists: "
                    "the lock is of other bytes, or the source's were changed"
                )
            return file
    for withheld in page.withheld:
        if withheld.filename == need.filename:
            raise Unresolvable(f"{need.where}: {need.filename} is withheld: {withheld.reason}")
    raise Unresolvable(f"{need.where}: {need.filename} is locked, and no source lists it any more")


def _has_digest(file: File, need: NeededRelease) -> bool:
    """Compare its listed digests with those allowed. Where none can be compared, its bytes will be."""
    listed = format_hashes(file.hashes)
    comparable = {entry.partition(":")[0] for entry in need.hashes} & file.hashes.keys()
    return not need.hashes or not comparable or bool(listed & need.hashes)


def _is_prerelease(version: str) -> bool:
    try:
        return Version(version).is_prerelease
    except InvalidVersion:  # which pip ignores
        return False


def _is_wanted(file: File, project: str, options: SelectionOptions) -> bool:
    if file.filename.endswith(".whl"):
        return options.wants_wheel(project)
    return _is_sdist(file.filename) and options.wants_sdist(project)


def _describe_withheld(need: NeededRelease, page: ProjectPage) -> str:
    key = same_version_key(need.version)
    for withheld in page.withheld:
        if same_version_key(version_of(withheld.filename, need.project) or "") == key:
            return f": {withheld.filename} is withheld: {withheld.reason}"
    return ""
