"""Locks swapped whole: the index of each package and its file links, hashes kept, and back to the canonical addresses.

The canonical addresses stay with the lock (``canonical_addresses``). A lock that a tool wrote anew has lost them: what is
Wheelgate's then, and not named there, is said, and stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import count

import msgspec

from wheelgate.core.names import project_in
from wheelgate.core.urls import display_host, parse
from wheelgate.rewrite.canonical_addresses import (
    DIGEST,
    DIGEST_NAME,
    CanonicalAddresses,
    read_filename,
    remove_canonical,
)
from wheelgate.rewrite.classify_urls import AmbiguousUrl, UrlClassifier, UrlOwner, UrlVerdict, holds_secret
from wheelgate.rewrite.places import Edit, Place, PlaceKind, Value
from wheelgate.rewrite.settle_places import Replaced, Settlement, file_url, find_source

_PUBLIC_FILES = "https://files.pythonhosted.org/packages/"
_UNKNOWN = "Wheelgate's address, and the lock does not keep the canonical one: lock anew without Wheelgate"
_REMOVED = "removed a Wheelgate token: put it in .netrc, or in a variable that the build sets"
_ONLY_ONE = "Wheelgate serves only one of the two"
_OURS = (UrlOwner.FILE, UrlOwner.NO_FILE)
_FILE_KEYS = ("sdist", "archive", "wheels", "files")


def find_lock_places(text: str, values: Iterable[Value]) -> list[Place]:
    """Find the places of a lock: ``uv.lock``, ``pylock.toml``, ``poetry.lock``, ``pdm.lock`` or ``Pipfile.lock``."""
    values = list(values)
    by_path = {value.path: value.text for value in values}
    found = []
    for value in values:
        kind = _find_kind(value, by_path)
        if kind is not None and "://" in value.text and text[value.start : value.end] == value.text:
            package = _find_package(value.path, by_path)
            found.append(Place(kind=kind, start=value.start, end=value.end, text=value.text, package=package))
    return found


def _find_kind(value: Value, by_path: Mapping[tuple[str | int, ...], str]) -> PlaceKind | None:
    path = value.path
    if path[:1] == ("_meta",):  # Pipfile.lock
        return PlaceKind.REGISTRY if value.matches("_meta.sources.*.url") else None
    if path[0] not in ("package", "packages"):
        return PlaceKind.FILE if value.key in ("file", "path") and len(path) == 3 else None
    if value.key == "registry" or (value.key == "index" and "wheels" not in path):
        return PlaceKind.REGISTRY
    if value.key == "url":
        kind = by_path.get((*path[:-1], "type"))  # poetry: of a source
        if kind is not None:
            return {"legacy": PlaceKind.REGISTRY, "url": PlaceKind.FILE}.get(kind)
        is_direct = len(path) == 3 or (len(path) == 4 and path[2] == "source")
        return PlaceKind.FILE if is_direct or any(key in path for key in _FILE_KEYS) else None
    return None


def _find_package(path: tuple[str | int, ...], by_path: Mapping[tuple[str | int, ...], str]) -> str:
    """The nearest name above a value, with its version where one stands beside it."""
    for depth in range(len(path) - 1, 0, -1):
        name = by_path.get((*path[:depth], "name"))
        if name is not None and (*path[:depth], "url") != path and "wheels" not in path[:depth]:
            version = by_path.get((*path[:depth], "version"))
            return name if version is None else f"{name}=={version}"
    return by_path.get((*path[:3], "name"), str(path[2])) if path[0] == "_meta" else ""


def settle_lock(text: str, places: Sequence[Place], ours: UrlClassifier, gate: str) -> Settlement:
    """Swap the addresses of a lock for Wheelgate's, and keep the canonical ones in it."""
    done = Settlement()
    known, numbers = CanonicalAddresses.read(text), _number_places(places)
    judged = [(place, verdict) for place in places if (verdict := _classify(place, ours, done)) is not None]
    registries = [(place, verdict) for place, verdict in judged if place.kind is PlaceKind.REGISTRY]
    covered = {place.package for place, verdict in registries if _is_answered(verdict)}
    foreign = {place.package for place, verdict in registries if not _is_answered(verdict)}
    fragments = _tell_apart(known, registries)
    swapped: list[tuple[Place, str]] = []
    said: set[str] = set()
    for place, verdict in judged:
        is_registry = place.kind is PlaceKind.REGISTRY
        if verdict.owner is UrlOwner.GATE:
            if verdict.has_literal_credential:
                done.replace(place, verdict.plain)
                done.notes.append((place.start, _REMOVED))
        elif _is_answered(verdict) if is_registry else _is_swapped_file(place, verdict, ours, covered, foreign):
            slash, canonical = "/" if place.text.endswith("/") else "", _write_canonical(place, verdict)
            index = f"{gate}/simple{slash}{fragments.get(canonical, '')}"
            done.replace(place, index if is_registry else file_url(gate, verdict))
            swapped.append((place, canonical))
            if verdict.owner in _OURS:
                done.replaced.append(Replaced(find_source(verdict), place.start))
        elif (kept := _describe_kept(place, verdict)) and kept not in said:
            said.add(kept)
            done.notes.append((place.start, kept))
            done.kept |= {place.text} if is_registry else set()
    if swapped:
        unknown = (place for place, verdict in registries if verdict.owner is UrlOwner.GATE)
        has_unknown = any(known.find(place, numbers[place.start]) is None for place in unknown)
        _keep_canonical(text, known, swapped, fragments, numbers, done, needs_names=has_unknown)
    return done


def _number_places(places: Sequence[Place]) -> dict[int, int]:
    """Number the indexes of each package in their order; by the start of each place."""
    counts: Counter[str] = Counter()
    numbers = {}
    for place in places:
        counts[place.package] += place.kind is PlaceKind.REGISTRY
        numbers[place.start] = counts[place.package]
    return numbers


def _write_canonical(place: Place, verdict: UrlVerdict) -> str:
    return f"{verdict.shown}{verdict.fragment}" if holds_secret(place.text) else place.text


def _tell_apart(known: CanonicalAddresses, registries: Sequence[tuple[Place, UrlVerdict]]) -> dict[str, str]:
    """Choose a fragment for each index, besides the most common one, that a version is locked from as well as from another.

    A lock tells the two by their indexes, and Wheelgate's is one: uv refuses a lock that has a package twice. No fragment is
    ever sent.
    """
    swapped = [(place, _write_canonical(place, verdict)) for place, verdict in registries if verdict.owner is not UrlOwner.GATE]
    by_package: dict[str, set[str]] = {}
    for place, canonical in swapped:
        if "==" in place.package:
            by_package.setdefault(place.package, set()).add(canonical)
    doubled = set[str]().union(*(canonicals for canonicals in by_package.values() if len(canonicals) > 1))
    first = known.default or _find_most_common(swapped)
    given = {canonical: name for name, canonical in known.registries.items() if name.startswith("#")}
    numbers = count(2 + len(given))
    return {canonical: given.get(canonical) or f"#{next(numbers)}" for canonical in sorted(doubled - {first})}


def _find_most_common(swapped: Sequence[tuple[Place, str]]) -> str:
    return Counter(plain for _, plain in swapped).most_common(1)[0][0] if swapped else ""


def _describe_kept(place: Place, verdict: UrlVerdict) -> str:
    """Describe an address that stays; empty: there is nothing to say."""
    if place.kind is PlaceKind.REGISTRY:
        return f"kept: Wheelgate does not answer for {verdict.shown}; make it a source"
    if verdict.owner in _OURS:
        return f"kept: {verdict.shown} is not a file of an index that Wheelgate answers for"
    if verdict.project:
        return f"kept: Wheelgate does not answer for the files of {display_host(parse(verdict.plain))}; make their index a source"
    return ""


def _classify(place: Place, ours: UrlClassifier, done: Settlement) -> UrlVerdict | None:
    try:
        verdict = ours.classify(place.text)
    except AmbiguousUrl:
        done.left.append((place.start, "the address of a private source could be read in two ways: lock anew from a plain one"))
        return None
    project = project_in(verdict.filename)
    if place.kind is PlaceKind.FILE and project is not None and not verdict.project:
        return msgspec.structs.replace(verdict, project=project)
    return verdict


def _is_answered(verdict: UrlVerdict) -> bool:
    return verdict.owner in (*_OURS, UrlOwner.PUBLIC, UrlOwner.GATE)


def _is_swapped_file(place: Place, verdict: UrlVerdict, ours: UrlClassifier, covered: set[str], foreign: set[str]) -> bool:
    """Say whether Wheelgate serves the file: its own link says so, or the index that the package is locked to."""
    if not verdict.project or verdict.owner is UrlOwner.GATE or place.package in foreign:
        return False
    is_public = place.text.startswith(_PUBLIC_FILES) and ours.has_public
    is_listed = place.kind is PlaceKind.FILE and ours.may_link(place.text)
    return verdict.owner is UrlOwner.FILE or is_public or is_listed or place.package in covered


def _keep_canonical(
    text: str,
    known: CanonicalAddresses,
    swapped: Sequence[tuple[Place, str]],
    fragments: Mapping[str, str],
    numbers: Mapping[int, int],
    done: Settlement,
    *,
    needs_names: bool,
) -> None:
    """Keep the addresses in comments, those with a fragment under it, those of a package with several one by one.

    ``needs_names``: of some package nothing is known, so no index may stand for all.
    """
    registries = [(place, plain) for place, plain in swapped if place.kind is PlaceKind.REGISTRY]
    default = known.default or ("" if needs_names else _find_most_common(registries))
    addresses = Counter(package for package, _ in {(place.package, plain) for place, plain in registries})
    several = {package for package, many in addresses.items() if many > 1}
    kept = CanonicalAddresses(default, dict(known.registries), dict(known.files))
    for place, plain in swapped:
        if place.kind is PlaceKind.FILE:
            if kept.files.setdefault(read_filename(plain), plain) != plain:
                done.refusals.append(
                    (place.start, f"{read_filename(plain)} is locked from two addresses, of which only one can be Wheelgate's")
                )
        elif plain in fragments:
            kept.registries[fragments[plain]] = plain
        elif place.package in several:
            kept.registries[f"{place.package}#{numbers[place.start]}"] = plain
        elif plain != default and kept.registries.setdefault(place.package, plain) != plain:
            done.refusals.append((place.start, f"{place.package} is locked from two indexes: {_ONLY_ONE}"))
    done.edits.append(kept.edit(text))


def restore_lock(text: str, places: Sequence[Place], ours: UrlClassifier) -> Settlement:
    """Swap Wheelgate's addresses in a lock for the canonical ones that it keeps; what they do not name is said."""
    done = Settlement()
    known, numbers = CanonicalAddresses.read(text), _number_places(places)
    for place in places:
        try:
            is_gate = ours.classify(place.text).owner is UrlOwner.GATE
        except AmbiguousUrl:
            continue
        canonical = known.find(place, numbers[place.start]) if is_gate else None
        if canonical is not None:
            done.replace(place, canonical)
        elif is_gate:
            done.left.append((place.start, _UNKNOWN))
    digest = DIGEST.search(text)
    if digest is not None and DIGEST_NAME in known.registries:
        group = "digest" if digest["digest"] else "inline"
        done.edits.append(Edit(*digest.span(group), known.registries[DIGEST_NAME]))
    if not done.left:
        done.edits += remove_canonical(text)
    return done
