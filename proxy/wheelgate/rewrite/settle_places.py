"""The decision on places: one index, Wheelgate, for all that it answers for in a scope, and files by their URL there."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from urllib.parse import quote

import msgspec

from wheelgate.rewrite.classify_urls import AmbiguousUrl, UrlClassifier, UrlOwner, UrlVerdict
from wheelgate.rewrite.places import Edit, Place, PlaceKind

_FOR_FILES = "!+~=,@()"
_OURS = (UrlOwner.FILE, UrlOwner.NO_FILE)
_INDEXES = (PlaceKind.INDEX, PlaceKind.EXTRA, PlaceKind.LINKS)
_SECOND = "the installer still asks its default index besides Wheelgate: make Wheelgate the only one"
_Judged = tuple[Place, UrlVerdict]


class Replaced(msgspec.Struct, frozen=True, order=True):
    """A private place that a text named, and that Wheelgate has to have as a source from now on."""

    source: str
    """Its address, or that of the container or feed it lies in."""
    offset: int


class Settlement(msgspec.Struct):
    """Edits, refusals and remarks for a text, by place."""

    edits: list[Edit] = msgspec.field(default_factory=list)
    refusals: list[tuple[int, str]] = msgspec.field(default_factory=list)
    notes: list[tuple[int, str]] = msgspec.field(default_factory=list)
    replaced: list[Replaced] = msgspec.field(default_factory=list)
    kept: set[str] = msgspec.field(default_factory=set)
    """Addresses of which it was decided, and said where needed, that they stay."""
    left: list[tuple[int, str]] = msgspec.field(default_factory=list)
    """The things that should have changed and could not."""

    def replace(self, place: Place, text: str) -> None:
        self.edits.append(Edit(place.start, place.end, text))


def file_url(gate: str, verdict: UrlVerdict) -> str:
    """The URL of a file at Wheelgate, its fragment kept."""
    return f"{gate}/files/{verdict.project}/{quote(verdict.filename, safe=_FOR_FILES)}{verdict.fragment}"


def settle_places(places: Iterable[Place], ours: UrlClassifier, gate: str) -> Settlement:
    """Decide on all places of a text but those of a lock. The same places again change nothing."""
    done = Settlement()
    scopes: dict[Hashable, list[_Judged]] = {}
    for place in places:
        try:
            verdict = ours.classify(place.text)
        except AmbiguousUrl:
            sentence = "the address of a private source is written so that it could be read in two ways: write it plainly"
            done.left.append((place.start, sentence))
            continue
        if place.kind is PlaceKind.FILE:
            _settle_file(place, verdict, gate, done)
        elif place.kind is PlaceKind.UPLOAD:
            done.kept |= set() if "/simple" in verdict.shown else {place.text}
        elif place.kind in _INDEXES:
            scopes.setdefault(place.scope, []).append((place, verdict))
    for judged in scopes.values():
        _settle_indexes(judged, f"{gate}/simple/", done)
    return done


def _settle_file(place: Place, verdict: UrlVerdict, gate: str, done: Settlement) -> None:
    if verdict.owner is UrlOwner.FILE:
        done.replace(place, file_url(gate, verdict))
        done.replaced.append(Replaced(find_source(verdict), place.start))
        if verdict.is_pinned and "#sha" not in verdict.fragment:
            done.notes.append((place.start, describe_lost_pin(verdict)))
    elif verdict.owner is UrlOwner.NO_FILE:
        sentence = f"{verdict.shown} is not named as a wheel or sdist, so no index can serve it: rename it"
        done.left.append((place.start, sentence))
    elif verdict.owner is UrlOwner.GATE and verdict.has_literal_credential:
        _remove_token(place, verdict, done)


def describe_lost_pin(verdict: UrlVerdict) -> str:
    """Describe the pin that is not kept: Wheelgate serves the blob as it is now."""
    return (
        f"{verdict.shown} meant one version of the blob (versionid or snapshot), and Wheelgate serves the current one: "
        "add #sha256=... to the URL if it must be that one"
    )


def find_source(verdict: UrlVerdict) -> str:
    """The container or feed that a private URL lies in, as a source's ``url`` says it."""
    head, mark, tail = verdict.shown.partition("/_packaging/")
    if mark:
        return f"{head}{mark}{tail.partition('/')[0]}/pypi/simple/"
    if verdict.is_blob:
        return "/".join(verdict.shown.split("/")[:4])
    return verdict.shown


def _settle_indexes(judged: list[_Judged], index: str, done: Settlement) -> None:
    """Decide on the indexes of one scope."""
    wanted = any(verdict.owner in _OURS for _, verdict in judged)
    foreign = [entry for entry in judged if entry[1].owner is UrlOwner.FOREIGN]
    has_first = any(place.kind is PlaceKind.INDEX for place, _ in judged)
    for place, verdict in judged:
        if verdict.owner is UrlOwner.GATE and verdict.has_literal_credential:
            _remove_token(place, verdict, done)
        elif verdict.owner is UrlOwner.FOREIGN or (verdict.owner is UrlOwner.PUBLIC and not wanted):
            done.kept.add(place.text)
            if wanted:
                sentence = f"kept: the installer may take any project from {verdict.shown}; make it a source of Wheelgate instead"
                done.notes.append((place.start, sentence))
        elif verdict.owner is not UrlOwner.GATE:
            if verdict.owner in _OURS:
                done.replaced.append(Replaced(find_source(verdict), place.start))
            can_be_first = not has_first and not _is_shared(place, foreign)
            has_first = _swap_index(place, index, done, has_first=has_first, can_be_first=can_be_first)


def _swap_index(place: Place, index: str, done: Settlement, *, has_first: bool, can_be_first: bool) -> bool:
    """Swap one index for Wheelgate, in the way its place allows; return whether the scope has an index that is asked first."""
    if place.kind is PlaceKind.INDEX:
        done.replace(place, index)
    elif can_be_first and place.promotion is not None:
        if place.is_moved and place.removal is not None:
            done.edits.append(place.removal)
        else:
            done.replace(place, index)
        done.edits += [Edit(edit.start, edit.end, edit.text.replace("{index}", index)) for edit in place.promotion]
        return True
    elif has_first and place.removal is not None:
        done.edits.append(place.removal)
    elif place.kind is PlaceKind.EXTRA:
        done.replace(place, index)
        if not has_first:
            done.notes.append((place.start, _SECOND))
    else:
        done.refusals.append((place.start, f"a list of links cannot be one of Wheelgate's: write its index, {index}, instead"))
    return has_first


def _is_shared(place: Place, foreign: list[_Judged]) -> bool:
    """Say whether its setting has a value that stays."""
    return place.setting is not None and any(other.setting == place.setting for other, _ in foreign)


def _remove_token(place: Place, verdict: UrlVerdict, done: Settlement) -> None:
    done.replace(place, verdict.plain)
    done.notes.append((place.start, "removed a Wheelgate token: put it in .netrc, or in a variable that the build sets"))
