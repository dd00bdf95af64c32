"""Planning of the files that a mirror needs, from inputs and targets: resolve, choose, and look into what must be built."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from wheelgate.core.errors import ProjectNotFound, StoreError, Unresolvable, WheelgateError
from wheelgate.core.model import File, ProjectPage
from wheelgate.core.names import is_index_document
from wheelgate.core.protocols import Pages
from wheelgate.core.wheel_names import is_variant
from wheelgate.distfiles.build_requirements import UnknownBuildRequirements, build_requirements
from wheelgate.mirror.fetching import OF_ONE_FILE
from wheelgate.mirror.file_origins import MirrorFile
from wheelgate.mirror.inputs_model import InputRequirement, MirrorInput, NeededRelease, SelectionOptions
from wheelgate.mirror.reasons import explain_absence, files_of_version, find_newer_withheld, is_sdist
from wheelgate.mirror.requirements import parse_requirement
from wheelgate.mirror.selection import choose_files, exclude_versions, runs_there
from wheelgate.mirror.targets import Target
from wheelgate.runtime.regular_file import open_regular

_PAGES_AT_ONCE = 16
_NOT_FOUND = re.compile(r"([a-z0-9-]+) was not found in any source")
_CLAUSES = r"(?:[<>=!~]=?=?[A-Za-z0-9.*+!]+,?)"
_WANTED = re.compile(
    rf"(?:you require|depends? on|version that matches) (?!one of\b)([a-z0-9][a-z0-9-]*)(?:\[[^\]]*\])?({_CLAUSES}*)"
    rf"|and ([a-z0-9][a-z0-9-]*)({_CLAUSES}+)"
)
"""Nothing is asked of the index here that uv has not asked of it."""
_REASONS = 5


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
            needs = await self._find_all_needs(asked, target)
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

    async def _find_all_needs(self, asked: MirrorInput, target: Target) -> list[NeededRelease]:
        """Find what an input needs; where its extras and groups cannot be had together, what each of them needs."""
        try:
            return await self._find_needs(asked, target)
        except Unresolvable as error:
            if len(asked.choices) < 2:
                raise
            together = error
        needs: list[NeededRelease] = []
        for choice in asked.choices:
            needs += await self._find_needs(msgspec.structs.replace(asked, requirements=choice, choices=[]), target)
        self._add_note(
            f"each extra and group of {asked.label} is mirrored by itself, since all of them cannot be had: {together}"
        )
        return needs

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
                raise await self._explain(error, asked, target, excluded) from None
            await self._load_pages(needs)
            barred = [need.project for need in needs if not runs_there(need, self._pages[need.project], target)]
            if excluded.issuperset(barred):
                self._tell_of_newer(lines, needs)
                return needs
            excluded.update(barred)  # uv disregards an upper bound of Requires-Python; pip does not
            constraints = [exclude_versions(self._pages[project], target, asked.label) for project in barred]
            asked = msgspec.structs.replace(asked, constraints=[*asked.constraints, *constraints])

    async def _explain(self, error: Unresolvable, asked: MirrorInput, target: Target, excluded: Collection[str]) -> Unresolvable:
        """Explain an error by the pages: uv is shown neither what is withheld nor why it is, nor what we excluded ourselves."""
        why = str(error).removeprefix(before := f"{asked.label} cannot be resolved for {target}: ")
        reasons: dict[str, None] = {}
        for project, wanted in _find_wanted(why, asked, target):
            specifier = SpecifierSet() if project in excluded and "!=" in str(wanted) else wanted
            try:
                page = self._pages.get(project) or await self.index.project_page(project)
                reason = explain_absence(specifier, page, target, asked.options)
            except ProjectNotFound:
                continue
            except WheelgateError as failure:
                reason = str(failure)
            if reason is not None:
                reasons.setdefault(reason)
        if not reasons:
            return error
        told = "; ".join([*reasons][:_REASONS])
        return Unresolvable(f"{before}{told} (uv: {why})" if str(error).startswith(before) else f"{error} ({told})")

    def _tell_of_newer(self, lines: Iterable[InputRequirement], needs: Iterable[NeededRelease]) -> None:
        """Note what is withheld of the projects that were asked for, and newer than what was chosen."""
        chosen = {need.project: need.version for need in needs}
        for line in lines:
            if version := chosen.get(line.project):
                sentence = find_newer_withheld(version, line.requirement.specifier, self._pages[line.project])
                if sentence is not None:
                    self._add_note(f"{line.project} {version} is mirrored: {sentence}")

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
            if is_sdist(file.filename) and (path, label, target) not in self._planned_builds:
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
            for file in files_of_version(need.version, page):
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


def _find_wanted(why: str, asked: MirrorInput, target: Target) -> Iterator[tuple[str, SpecifierSet]]:
    """Find what uv names as wanted in its explanation: projects that are not there, lines of the input, and what others need."""
    for name in dict.fromkeys(_NOT_FOUND.findall(why)):
        yield name, SpecifierSet()
    words = set(re.findall(r"[a-z0-9-]+", why))
    for line in asked.requirements:
        if line.project in words and line.holds_for(target):
            yield line.project, line.requirement.specifier
    for one, clauses, other, more in dict.fromkeys(_WANTED.findall(why)):
        with suppress(InvalidSpecifier):
            yield one or other, SpecifierSet((clauses or more).rstrip(","))
