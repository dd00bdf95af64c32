"""Reasons for which a version is not mirrored, as its page has them. Nobody else can tell: uv is shown what is offered alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from wheelgate.core.model import File, ProjectPage, Withheld
from wheelgate.core.names import same_version_key, version_of, without_sdist_ending
from wheelgate.mirror.inputs_model import SelectionOptions
from wheelgate.mirror.targets import Target, find_best_wheel

_Entry = TypeVar("_Entry", File, Withheld)
_SHOWN = 3
_PATCHES = range(100)


def files_of_version(version: str, page: ProjectPage) -> list[File]:
    """Find everything that is listed of a version."""
    key = same_version_key(version)
    return [file for file in page.files if _key_of(file.filename, page) == key]


def is_sdist(filename: str) -> bool:
    """True of what is built before it is installed."""
    return without_sdist_ending(filename) is not None


def is_wanted(file: File, options: SelectionOptions) -> bool:
    """True of a wheel or an sdist, unless the options exclude that kind of its project."""
    if file.filename.endswith(".whl"):
        return options.wants_wheel(file.project)
    return is_sdist(file.filename) and options.wants_sdist(file.project)


def is_prerelease(version: str) -> bool:
    """True of a pre-release; of what is no version as well as of others, nothing is known."""
    try:
        return Version(version).is_prerelease
    except InvalidVersion:
        return False


def explain_version(version: str, page: ProjectPage, target: Target, options: SelectionOptions) -> str | None:
    """Explain why a version is not to be had on a target; ``None``: it is, for whoever asks for that very version."""
    key = same_version_key(version)
    withheld = [entry for entry in page.withheld if _key_of(entry.filename, page) == key]
    return _explain(f"{page.project} {version}", files_of_version(version, page), withheld, target, options)


def explain_absence(wanted: SpecifierSet, page: ProjectPage, target: Target, options: SelectionOptions) -> str | None:
    """Explain why no version that is wanted is to be had on a target; ``None``: one is, so that something else is the reason."""
    files, withheld = _by_version(page.files, page), _by_version(page.withheld, page)
    known = sorted({*files, *withheld, *_parse_versions(page.versions)}, reverse=True)
    matching = [version for version in known if wanted.contains(version, prereleases=True)]
    if not matching:
        newest = f"; the newest is {known[0]}" if known else ""
        return f"no source lists {page.project}{wanted}{newest}" if str(wanted) else f"no source lists a file of {page.project}"
    is_pinned = any(each.operator in ("==", "===") and not each.version.endswith("*") for each in wanted)
    reasons = []
    for version in matching:
        of_version = files.get(version, [])
        reason = _explain(f"{page.project} {version}", of_version, withheld.get(version, []), target, options)
        if reason is None and not is_pinned and all(file.yanked is not None for file in of_version):
            why = next((f": {file.yanked}" for file in of_version if file.yanked), "")
            reason = f"{page.project} {version} was yanked{why} (who asks for that very version gets it)"
        if reason is None:
            return None
        reasons.append(reason)
    more = len(reasons) - _SHOWN
    return "; ".join(reasons[:_SHOWN]) + (f"; and {more} older ones are not to be had, either" if more > 0 else "")


def find_newer_withheld(version: str, wanted: SpecifierSet, page: ProjectPage) -> str | None:
    """Find the newest version that would be newer, is wanted and is withheld; a sentence, or ``None`` if there is none."""
    files = _by_version(page.files, page)
    for newer, entries in sorted(_by_version(page.withheld, page).items(), reverse=True):
        if newer not in files and wanted.contains(newer) and any(newer > one for one in _parse_versions([version])):
            return _describe_withheld(f"{page.project} {newer}", entries)
    return None


def _explain(
    name: str, files: Sequence[File], withheld: Sequence[Withheld], target: Target, options: SelectionOptions
) -> str | None:
    if not files:
        return _describe_withheld(name, withheld) if withheld else f"no source lists a file of {name}"
    if options.wants_prereleases(files[0].project) is False and is_prerelease(name.partition(" ")[2]):
        return f"{name} is a pre-release, which --only-final excludes"
    kinds = [file for file in files if file.filename.endswith(".whl") or is_sdist(file.filename)]
    wanted = [file for file in kinds if is_wanted(file, options)]
    rest = f"; {_describe_withheld(withheld[0].filename, withheld)}" if withheld else ""
    if kinds and not wanted:
        is_source = is_sdist(kinds[0].filename)
        kind, option = ("no wheel", "--only-binary") if is_source else ("no sdist", "--no-binary")
        return f"{name} has {kind}, and {option} excludes what it has{rest}"
    admitted = [file for file in wanted if target.admits(file.requires_python)]
    if wanted and not admitted:
        return f"{name} {_describe_pythons(wanted, target)}{rest}"
    if find_best_wheel((file.filename for file in admitted), target) or any(is_sdist(file.filename) for file in admitted):
        return None
    excluded = "none that --only-binary allows" if any(is_sdist(file.filename) for file in kinds) else "no sdist"
    return f"{name} has no wheel for {target}, and {excluded}{rest}"


def _describe_withheld(name: str, withheld: Sequence[Withheld]) -> str:
    return f"{name} is withheld: {withheld[0].reason} (rule {withheld[0].rule})"


def _describe_pythons(files: Iterable[File], target: Target) -> str:
    """Describe which Python is required; and that another patch release would do, where none was named."""
    required = sorted({file.requires_python for file in files if file.requires_python})
    other = ""
    if target.python.count(".") == 1 and any(
        Version(f"{target.python}.{patch}") in SpecifierSet(one) for patch in _PATCHES for one in required
    ):
        other = f", and {target.python} means {target.version} here: name the patch release that is meant"
    return f"requires Python {' or '.join(required)}{other}"


def _key_of(filename: str, page: ProjectPage) -> str:
    return same_version_key(version_of(filename, page.project) or "")


def _by_version(entries: Iterable[_Entry], page: ProjectPage) -> dict[Version, list[_Entry]]:
    found: dict[Version, list[_Entry]] = {}
    for entry in entries:
        for version in _parse_versions([version_of(entry.filename, page.project) or ""]):
            found.setdefault(version, []).append(entry)
    return found


def _parse_versions(texts: Iterable[str]) -> Iterator[Version]:
    for text in texts:
        try:
            yield Version(text)
        except ValueError:  # no resolver knows such a version
            continue
