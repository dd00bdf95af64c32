"""Selection of files: those of a version that an installer on a target would take, out of everything a page lists."""

from __future__ import annotations

from collections.abc import Sequence

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from wheelgate.core.errors import Unresolvable
from wheelgate.core.model import File, ProjectPage
from wheelgate.core.names import same_version_key, version_of, without_sdist_ending
from wheelgate.mirror.inputs_model import NeededRelease, SelectionOptions, format_hashes
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
    key = same_version_key(need.version)
    of_version = [file for file in page.files if same_version_key(version_of(file.filename, need.project) or "") == key]
    if not of_version:
        raise Unresolvable(f"no source lists a file of {need.project} {need.version}{_describe_withheld(need, page)}")
    files = [file for file in of_version if _has_digest(file, need)]
    if not files:
        raise Unresolvable(f"{need.where}: no file of {need.project} {need.version} that a source lists has one of its hashes")
    kinds = [file for file in files if _is_wanted(file, need.project, options)]
    if all_files:
        return kinds
    fitting = [file for file in kinds if _runs_on(file, target)]
    # A yanked file is taken by those who asked for its very version, and only if there is no other.
    for among in ([file for file in fitting if file.yanked is None], fitting):
        file = _choose_best(among, target)
        if file is not None:
            return [file]
    raise Unresolvable(f"{need.project} {need.version} has no wheel and no sdist that a source lists for {target}")


def _choose_best(files: Sequence[File], target: Target) -> File | None:
    by_name = {file.filename: file for file in files}
    wheel = find_best_wheel((name for name in by_name if name.endswith(".whl")), target)
    if wheel is not None:
        return by_name[wheel]
    sdists = [file for file in files if is_sdist(file.filename)]
    return min(sdists, key=lambda file: (not file.filename.endswith(".tar.gz"), file.filename), default=None)


def is_sdist(filename: str) -> bool:
    """Say whether it is an sdist, which installers would build."""
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


def _is_wanted(file: File, project: str, options: SelectionOptions) -> bool:
    either = {project, ":all:"}
    if file.filename.endswith(".whl"):
        return not either & options.no_binary
    return is_sdist(file.filename) and not either & options.only_binary


def _runs_on(file: File, target: Target) -> bool:
    try:
        return target.version in SpecifierSet(file.requires_python or "")
    except InvalidSpecifier:  # installers disagree about these; a file too much does no harm
        return True


def _describe_withheld(need: NeededRelease, page: ProjectPage) -> str:
    key = same_version_key(need.version)
    for withheld in page.withheld:
        if same_version_key(version_of(withheld.filename, need.project) or "") == key:
            return f": {withheld.filename} is withheld: {withheld.reason}"
    return ""
