"""The check of an uploaded wheel: what passes, pip and uv install, and what it says of itself is true.

What indexes list is read by :mod:`~wheelgate.distfiles.core_metadata`, which asks for no more than an installer needs.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import Executor
from email.message import Message
from functools import partial
from typing import IO

import msgspec
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, canonicalize_name
from packaging.version import Version

from wheelgate.core.wheel_names import parse_wheel_name, split_label
from wheelgate.distfiles.core_metadata import (
    MAX_METADATA_BYTES,
    STATED_ONCE,
    BadWheel,
    CoreMetadata,
    check_stated_once,
    check_text,
    parse_headers,
    read_fields,
    read_identity,
)
from wheelgate.distfiles.entry_points import MAX_ENTRY_POINTS_BYTES, check_entry_points, check_script_name
from wheelgate.distfiles.member_names import show_name
from wheelgate.distfiles.wheel_record import RecordRow, read_record
from wheelgate.distfiles.zip_directory import Entry
from wheelgate.distfiles.zip_reading import ZipReader

_MAX_WHEEL_BYTES = 128 * 1024
_MAX_VARIANT_BYTES = 1024 * 1024
_MAX_EGG_INFOS = 100
"""Each may take tens of milliseconds to read."""
_MAX_REQUIREMENTS = 2_000
_MAX_REQUIREMENT_CHARACTERS = 4_096
_MAX_REQUIREMENTS_CHARACTERS = 256 * 1024
"""Of all together: reading them takes some microseconds a character, in which nobody else has the interpreter."""
_MAX_RECORD_BYTES = 32 * 1024 * 1024
_TAGS = re.compile(r"[a-z0-9_.]+-[a-z0-9_.]+-[a-z0-9_.]+", re.ASCII)
_WHEEL_VERSION = re.compile(r"1\.[0-9]+|0\.1", re.ASCII)
_EGG_INFO = re.compile(r"[^/]+\.egg-info(/PKG-INFO)?")
_STAR = re.compile(r"([<>]=?\s*[0-9.]+)\.\*")
_JOINED = re.compile(r"([0-9*])\s*([<>=!~]=?)")
_SCHEMES = ("data", "headers", "platlib", "purelib", "scripts")
_FOLDS_NO_CASE = re.compile(r"(many|musl)?linux", re.ASCII)
_LINUX = re.compile(r"(?:many|musl)?linux(?:\d+|_\d+_\d+)?_(.+)", re.ASCII)
_MACOS = re.compile(r"macosx_\d+_\d+_(.+)", re.ASCII)
_FAT = frozenset({"universal2", "universal", "intel", "fat", "fat3", "fat32", "fat64"})


class _VariantJson(msgspec.Struct):
    variants: dict[str, dict[str, dict[str, list[str]]]]
    """Label to namespace to feature to values."""


_decode_variants = msgspec.json.Decoder(_VariantJson).decode


def check_wheel(file: IO[bytes], filename: str, helpers: Executor | None = None) -> CoreMetadata:
    """Check a whole wheel by reading it once from end to end; its metadata. ``helpers`` inflate parts of it.

    Raises:
        BadWheel: its message names the entry and the rule that it breaks.
    """
    try:
        wheel, (plain, label) = parse_wheel_name(filename), split_label(filename)
    except InvalidWheelFilename:
        raise BadWheel("has a name that no installer reads") from None
    stem_tags = "-".join(plain.removesuffix(".whl").split("-")[-3:])
    if not _TAGS.fullmatch(stem_tags.lower()):
        raise BadWheel(f"has tags in its name that no installer knows ({stem_tags!r}): give it back the name it was built with")
    archive = ZipReader(file, BadWheel)
    archive.check_names(folds_case=not all(_FOLDS_NO_CASE.match(tag.platform) for tag in wheel.tags))
    folder = _find_folder(archive)
    metadata = read_fields(_read(archive, folder, "METADATA", MAX_METADATA_BYTES), filename)
    _check_folder(folder, wheel.project, wheel.version)
    headers = parse_headers(metadata.body, "METADATA", BadWheel)
    read_identity(headers, "METADATA", wheel.project, wheel.version, BadWheel)
    check_text(metadata.body, "METADATA", BadWheel)
    check_stated_once(headers, "METADATA", STATED_ONCE, BadWheel)
    _check_python(str(headers.get("Requires-Python", "")))
    _check_requirements(headers)
    body = _read(archive, folder, "WHEEL", _MAX_WHEEL_BYTES)
    headers = parse_headers(body, "WHEEL", BadWheel)
    check_text(body, "WHEEL", BadWheel)
    check_stated_once(headers, "WHEEL", ("Wheel-Version", "Root-Is-Purelib", "Build"), BadWheel)
    _check_tags(headers, plain, wheel.tags)
    if label is not None:
        _check_variant(archive, folder, label)
    _check_data(archive.by_name, folder)
    _check_egg_infos(archive)
    entry_points = archive.read(f"{folder}/entry_points.txt", MAX_ENTRY_POINTS_BYTES)
    if entry_points is not None:
        check_entry_points(entry_points, BadWheel)
    rows = read_record(_read(archive, folder, "RECORD", _MAX_RECORD_BYTES), folder, archive.by_name, BadWheel)
    archive.check_contents(partial(_check_against, rows), helpers)
    return metadata


def _check_against(rows: dict[str, RecordRow], entry: Entry, pieces: Iterator[bytes]) -> None:
    """Check the content of an entry against its row of RECORD."""
    row = rows.get(entry.name)
    if row is None:
        return
    if row.size_bytes not in (None, entry.size_bytes):
        raise BadWheel(f"has a RECORD that states another size than that of {show_name(entry.name)}")
    digest = hashlib.new(row.algorithm)
    for piece in pieces:
        digest.update(piece)
    if digest.digest() != row.digest:
        raise BadWheel(f"has a RECORD that states another {row.algorithm} than that of {show_name(entry.name)}")


def _find_folder(archive: ZipReader) -> str:
    """Find the one ``.dist-info``."""
    folders = sorted({top for name in archive.by_name if (top := name.partition("/")[0]).endswith(".dist-info")})
    if not folders:
        raise BadWheel("has no .dist-info folder, and so no METADATA")
    if len(folders) > 1:
        raise BadWheel(f"has more than one .dist-info folder: {', '.join(map(show_name, folders[:3]))}")
    return folders[0]


def _check_folder(folder: str, project: str, version: Version) -> None:
    """Check that the ``.dist-info`` is named for this project and version."""
    name, _, stated = folder.removesuffix(".dist-info").rpartition("-")
    if canonicalize_name(name) != project:
        raise BadWheel(f"is named for {project}, but its METADATA lies in {show_name(folder)}")
    try:
        is_same = Version(stated.replace("_", "-")) == version
    except ValueError:
        is_same = False
    if not is_same:
        raise BadWheel(f"is named for version {version}, but its METADATA lies in {show_name(folder)}")


def _check_egg_infos(archive: ZipReader) -> None:
    """Check that pip, which takes each for an installed distribution, finds its name and version."""
    names = list(filter(_EGG_INFO.fullmatch, archive.by_name))
    if len(names) > _MAX_EGG_INFOS:
        raise BadWheel(f"has more than {_MAX_EGG_INFOS} .egg-info entries, each a distribution to pip")
    for name in names:
        headers = parse_headers(archive.read(name, MAX_METADATA_BYTES) or b"", show_name(name), BadWheel)
        try:
            Version(str(headers.get("Version", "")).strip())
        except ValueError:
            raise BadWheel(f"has {show_name(name)} without a version, at which pip stops") from None


def _read(archive: ZipReader, folder: str, name: str, max_bytes: int) -> bytes:
    body = archive.read(f"{folder}/{name}", max_bytes)
    if body is None:
        raise BadWheel(f"has no {name}, without which no installer takes it")
    return body


def _check_python(stated: str) -> None:
    """Check that uv, which mends some that are not right, understands Requires-Python; else it takes the file for none of its."""
    mended = _STAR.sub(r"\1", _JOINED.sub(r"\1,\2", stated.replace("'", "").replace('"', ""))).strip(" ,")
    try:
        SpecifierSet(mended)
    except ValueError:
        raise BadWheel(f"has a METADATA whose Requires-Python uv does not understand: {show_name(stated)}") from None


def _check_requirements(headers: Message) -> None:
    requirements = [str(stated) for stated in headers.get_all("Requires-Dist") or ()]
    if len(requirements) > _MAX_REQUIREMENTS:
        raise BadWheel(f"has a METADATA with more than {_MAX_REQUIREMENTS} Requires-Dist")
    for stated in requirements:
        if len(stated) > _MAX_REQUIREMENT_CHARACTERS:
            raise BadWheel(
                f"has a METADATA with a Requires-Dist longer than {_MAX_REQUIREMENT_CHARACTERS} characters: {show_name(stated)}"
            )
    if sum(map(len, requirements)) > _MAX_REQUIREMENTS_CHARACTERS:
        raise BadWheel(f"has a METADATA whose Requires-Dist are longer than {_MAX_REQUIREMENTS_CHARACTERS} characters together")
    for stated in requirements:
        try:
            Requirement(stated)
        except (ValueError, RecursionError):  # InvalidRequirement, a number of thousands of digits, or parentheses without end
            raise BadWheel(f"has a METADATA with a Requires-Dist that pip refuses: {show_name(stated)}") from None


def _check_tags(headers: Message, filename: str, tags: Iterable[Tag]) -> None:
    """Check WHEEL: its format's version, its build number, and that the name claims no platform that it does not state.

    Installers go by the name alone, and well-known wheels state another interpreter, an older name of the platform, ``any``
    or nothing. So what is refused is a name for another system or processor.
    """
    version = str(headers.get("Wheel-Version", "")).strip()
    if not _WHEEL_VERSION.fullmatch(version):
        raise BadWheel(f"has a WHEEL of version {version[:40]!r}, which not every installer reads (1.0 is the current one)")
    fields = filename.split("-")
    named, built = fields[2] if len(fields) == 6 else "", str(headers.get("Build", "")).strip()
    if built and built != named:
        raise BadWheel(f"is named for build {named or 'none'}, but its WHEEL says {built[:40]!r}")
    lines = [str(line).strip() for line in headers.get_all("Tag") or ()]
    platforms = {name for line in lines if line.count("-") == 2 for name in line.rpartition("-")[2].lower().split(".")}
    stated = set(map(_platform_family, platforms))
    if not stated or "any" in stated:
        return
    for tag in tags:
        family = _platform_family(tag.platform)
        if family not in stated and not ("macosx" in stated and family.startswith("macosx")):
            raise BadWheel(f"is named for the platform {tag.platform}, which its WHEEL does not state")


def _platform_family(platform: str) -> str:
    """The system and processor of a platform tag; one of macOS for several processors is for any of them."""
    linux, macos = _LINUX.fullmatch(platform), _MACOS.fullmatch(platform)
    if linux:
        return f"linux_{linux[1]}"
    if macos:
        return "macosx" if macos[1] in _FAT else f"macosx_{macos[1]}"
    return platform


def _check_variant(archive: ZipReader, folder: str, label: str) -> None:
    """Check that a variant wheel says what its label stands for (PEP 825): an index document is made of that."""
    try:
        variants = _decode_variants(_read(archive, folder, "variant.json", _MAX_VARIANT_BYTES)).variants
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise BadWheel("has a variant.json that is not the JSON of PEP 825") from None
    if variants.keys() != {label}:
        named = ", ".join(sorted(map(show_name, variants))[:3]) or "none"
        raise BadWheel(f"is named for the variant {label}, but its variant.json has {named}")


def _check_data(names: Collection[str], folder: str) -> None:
    """Check what lies in folders named ``.data``, which are spread over the environment."""
    own = folder.removesuffix(".dist-info") + ".data"
    seen = set(names)
    for name in names:
        top, _, inside = name.partition("/")
        if not top.endswith(".data") or not inside or name.endswith("/"):
            continue
        scheme, _, path = inside.partition("/")
        if scheme not in _SCHEMES or not path:
            raise BadWheel(f"has a .data entry in none of the folders {', '.join(_SCHEMES)}: {show_name(name)}")
        if top != own:
            raise BadWheel(f"has a .data entry that is not in {show_name(own)}, where uv looks: {show_name(name)}")
        if scheme in ("purelib", "platlib"):
            _check_library(name, path, seen)
        elif scheme == "scripts":
            if "/" in path:
                raise BadWheel(f"has a script in a folder, which uv refuses: {show_name(name)}")
            check_script_name(path, BadWheel)


def _check_library(name: str, path: str, seen: set[str]) -> None:
    """Check that an entry of ``.data`` that goes beside the modules takes the place of none, and is no other distribution."""
    if path in seen:
        raise BadWheel(f"has two entries for one place: {show_name(path)} and {show_name(name)}")
    if path.partition("/")[0].endswith(".dist-info"):
        raise BadWheel(f"has more than one .dist-info folder: {show_name(name)}")
    seen.add(path)
