"""Selection of the files of a version that an installer on a target would take, out of everything a page lists."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, Specifier

from wheelgate.core.errors import Unresolvable
from wheelgate.core.model import File, ProjectPage
from wheelgate.core.names import version_of
from wheelgate.mirror.inputs_model import InputRequirement, NeededRelease, SelectionOptions, format_hashes
from wheelgate.mirror.reasons import explain_version, files_of_version, is_prerelease, is_sdist, is_wanted
from wheelgate.mirror.targets import Target, find_best_wheel


def choose_files(
    need: NeededRelease, page: ProjectPage, target: Target, options: SelectionOptions, *, all_files: bool
) -> list[File]:
    """Choose the best wheel of the version, as installers do, else its sdist; with ``all_files`` everything of the version.

    Raises:
        Unresolvable: no file of it is suitable.
    """
    if need.filename is not None:
        return [_find_locked_file(need, page)]
    of_version = files_of_version(need.version, page)
    if not of_version:
        raise Unresolvable(f"{explain_version(need.version, page, target, options)}")
    files = [file for file in of_version if _has_digest(file, need)]
    if not files:
        raise Unresolvable(f"{need.where}: no file of {need.project} {need.version} that a source lists has one of its hashes")
    kinds = [file for file in files if is_wanted(file, options)]
    if all_files:
        return kinds
    if options.wants_prereleases(need.project) is False and is_prerelease(need.version):
        raise Unresolvable(f"{need.where}: {explain_version(need.version, page, target, options)}")
    fitting = [file for file in kinds if target.admits(file.requires_python)]
    # A yanked file is taken by those who asked for its very version, and only if there is no other.
    for among in ([file for file in fitting if file.yanked is None], fitting):
        file = _choose_best(among, target)
        if file is not None:
            return [file]
    reason = explain_version(need.version, page, target, options)
    raise Unresolvable(
        reason or f"{need.project} {need.version} has no wheel and no sdist for {target} that has one of its hashes"
    )


def runs_there(need: NeededRelease, page: ProjectPage, target: Target) -> bool:
    """False if every file that is listed of the version requires another Python."""
    files = files_of_version(need.version, page)
    return not files or any(target.admits(file.requires_python) for file in files)


def exclude_versions(page: ProjectPage, target: Target, where: str) -> InputRequirement:
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
    sdists = [file for file in files if is_sdist(file.filename)]
    return min(sdists, key=lambda file: (not file.filename.endswith(".tar.gz"), file.filename), default=None)


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
