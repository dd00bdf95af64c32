"""PyPI's JSON API, older than the Simple API: a project page by versions, rendered as ``/pypi/{project}/json`` has it. Pure.

It has the files of the page and no others, so a version of which nothing is listed is none here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

import msgspec
from packaging.version import Version

from wheelgate.core.digests import shown_digests
from wheelgate.core.model import File, ProjectPage
from wheelgate.core.names import same_version_key, version_of, without_sdist_ending
from wheelgate.core.wheel_names import python_tag_of
from wheelgate.simple_api.render import file_url

SERIAL = 1
"""The number that PyPI counts changes with, here one for every project at any time: without, bandersnatch mirrors nothing."""
_UNREADABLE = 2
_TOGETHER = 500
"""Files that are rendered at once."""
_OTHERS = {
    ".egg": "bdist_egg",
    ".exe": "bdist_wininst",
    ".msi": "bdist_msi",
    ".rpm": "bdist_rpm",
    ".dmg": "bdist_dmg",
    ".deb": "bdist_dumb",
}
_PYTHON = re.compile(r"-py(\d[\d.]*\d)", re.ASCII)
_NEVER_COUNTED = {"last_day": -1, "last_month": -1, "last_week": -1}
_NOT_KNOWN = dict.fromkeys(
    (
        *("author", "author_email", "bugtrack_url", "classifiers", "description", "description_content_type", "docs_url"),
        *("download_url", "dynamic", "home_page", "keywords", "license", "license_expression", "license_files", "maintainer"),
        *("maintainer_email", "package_url", "platform", "project_url", "project_urls", "provides_extra", "release_url"),
        *("requires_dist", "requires_python", "summary"),
    )
)
"""The keys of ``info`` that tools read without asking if they are there."""
_encode = msgspec.json.Encoder().encode


class ReleaseFiles(msgspec.Struct, frozen=True):
    """The listed files of one version."""

    version: str
    """As the name of its first file states it: canonical, where PEP 440 can read it."""
    files: list[File]

    @property
    def parsed(self) -> Version | None:
        """The version; ``None``: PEP 440 cannot read it."""
        try:
            return Version(self.version)
        except ValueError:  # InvalidVersion, or a number of thousands of digits
            return None

    @property
    def is_yanked(self) -> bool:
        """True if every file of it is."""
        return all(file.yanked is not None for file in self.files)

    @property
    def yanked_reason(self) -> str | None:
        return next((file.yanked for file in self.files if file.yanked), None) if self.is_yanked else None


class _WireRelease(msgspec.Struct, gc=False, kw_only=True):
    comment_text: None = None
    core_metadata: bool | Mapping[str, str] = msgspec.field(name="core-metadata")
    digests: Mapping[str, str]
    downloads: int = -1
    filename: str
    has_sig: bool = False
    md5_digest: str | None
    packagetype: str
    python_version: str
    requires_python: str | None
    size: int | None
    upload_time: str | None
    upload_time_iso_8601: str | None
    url: str
    yanked: bool
    yanked_reason: str | None


def group_releases(page: ProjectPage) -> list[ReleaseFiles]:
    """Group a page's files by version, the newest first. Takes some 10 us a file: for a thread."""
    releases: dict[str, ReleaseFiles] = {}
    for file in page.files:
        version = version_of(file.filename, page.project)
        if version is not None and _find_type(file.filename) is not None:
            releases.setdefault(same_version_key(version), ReleaseFiles(version, [])).files.append(file)
    for release in releases.values():
        release.files.sort(key=lambda file: file.filename)
    return [release for _, release in sorted(map(_rank, releases.values()), key=lambda ranked: ranked[0], reverse=True)]


def _rank(release: ReleaseFiles) -> tuple[tuple[bool, Version, str], ReleaseFiles]:
    parsed = release.parsed
    return (parsed is not None, parsed or Version("0"), release.version), release


def choose_release(releases: Iterable[ReleaseFiles]) -> ReleaseFiles | None:
    """Choose the version that a project is shown with, of those from the newest on, as PyPI: not yanked first, then final."""
    return min(releases, key=_find_preference, default=None)


def _find_preference(release: ReleaseFiles) -> tuple[bool, int]:
    parsed = release.parsed
    return release.is_yanked, _UNREADABLE if parsed is None else parsed.is_prerelease


def find_release(releases: Iterable[ReleaseFiles], version: str) -> ReleaseFiles | None:
    """Find the files of a version in any spelling; ``None``: none is listed."""
    key = same_version_key(version)
    return next((release for release in releases if same_version_key(release.version) == key), None)


def render_releases(
    page: ProjectPage,
    shown: ReleaseFiles | None,
    described: Mapping[str, object] | None,
    releases: Sequence[ReleaseFiles] | None,
    base: str,
) -> Iterator[bytes]:
    """Render one answer, part by part.

    Args:
        page: the project's.
        shown: the release that it is about; ``None``: the page lists none.
        described: what the release says of itself, by key of ``info``; ``None``: that is not known.
        releases: all of them, for the answer about the project; ``None``: it is about ``shown`` alone.
        base: what stands before ``/files/``.
    """
    info = {**_NOT_KNOWN, **(described or {}), "downloads": _NEVER_COUNTED, "name": page.project}
    files: Sequence[File] = ()
    if shown is not None:
        files = shown.files
        python = next((file.requires_python for file in files if file.requires_python is not None), info["requires_python"])
        info |= {"version": shown.version, "requires_python": python}
        info |= {"yanked": shown.is_yanked, "yanked_reason": shown.yanked_reason}
    else:
        info |= {"version": None, "yanked": False, "yanked_reason": None}
    head = {"info": dict(sorted(info.items())), "last_serial": SERIAL, "ownership": {"organization": None, "roles": []}}
    yield _encode(head)[:-1]
    if releases is not None:
        before = b',"releases":{'
        for release in releases:
            yield before + _encode(release.version) + b":"
            yield from _render_files(release.files, base)
            before = b","
        yield (b"" if releases else before) + b"}"
    yield b',"urls":'
    yield from _render_files(files, base)
    yield b',"vulnerabilities":[]}\n'


def _render_files(files: Sequence[File], base: str) -> Iterator[bytes]:
    """Render a list of files, some at a time: of 20,000 at once nothing else would go on for 25 ms."""
    before = b"["
    for start in range(0, len(files), _TOGETHER):
        yield before + _encode([_build_entry(file, base) for file in files[start : start + _TOGETHER]])[1:-1]
        before = b","
    yield b"]" if files else b"[]"


def _build_entry(file: File, base: str) -> _WireRelease:
    moment = file.upload_time
    return _WireRelease(
        core_metadata=False if file.core_metadata is None else file.core_metadata or True,
        digests=shown_digests(file.hashes),
        filename=file.filename,
        md5_digest=file.hashes.get("md5"),
        packagetype=_find_type(file.filename) or "",
        python_version=_find_python(file.filename),
        requires_python=file.requires_python,
        size=file.size,
        upload_time=None if moment is None else _format(moment, "seconds"),
        upload_time_iso_8601=None if moment is None else f"{_format(moment)}Z",
        url=file_url(base, file.project, file.filename),
        yanked=file.yanked is not None,
        yanked_reason=file.yanked or None,
    )


def _format(moment: datetime, timespec: str = "auto") -> str:
    return moment.replace(tzinfo=None).isoformat(timespec=timespec)  # it is UTC


def _find_type(filename: str) -> str | None:
    """Find the type of a distribution file by its name; ``None``: it is none."""
    if filename.endswith(".whl"):
        return "bdist_wheel"
    if without_sdist_ending(filename) is not None:
        return "sdist"
    return _OTHERS.get(filename[filename.rfind(".") :].lower())


def _find_python(filename: str) -> str:
    """Find the Python that a file is for: the tag of a wheel, ``source``, or what stands in the name of an older kind."""
    if filename.endswith(".whl"):
        return python_tag_of(filename) or "any"
    if without_sdist_ending(filename) is not None:
        return "source"
    found = _PYTHON.search(filename)
    return found[1] if found else "any"
