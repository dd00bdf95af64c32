"""What becomes of each line: changed, removed, kept with a word about it, or refused."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote

import msgspec

from wheelgate.core.urls import without_user_info
from wheelgate.rewrite.classify_urls import UnreadableUrl, UrlClassifier, UrlOwner, UrlVerdict, is_variable
from wheelgate.rewrite.pip_lines import LineKind, Option, PipLine, Url, read

_REPOSITORY = re.compile(r"(?:git|hg|svn|bzr)\+(?:(ssh):)?", re.IGNORECASE)
_SIGNED = re.compile(r"[?&]sig=", re.IGNORECASE)
_ANY_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_EXTRAS = re.compile(r"[#&]egg=[^&\[]*(\[[^\]&]*\])")
_FOR_FILES = "!+~=,@()"
_PUBLISH = "publish a wheel, as an asset of a release or with `wheelgate wheel add`, and write its name and version here"


class Edit(msgspec.Struct, frozen=True):
    """A piece of a logical line, and what stands there from now on."""

    start: int
    end: int
    text: str


class RewritePlan(msgspec.Struct):
    """What becomes of a list of lines; lines are counted from 0."""

    edits: dict[int, list[Edit]] = msgspec.field(default_factory=dict)
    first: str | None = None
    """A line to put before all others."""
    refusals: list[tuple[int, str]] = msgspec.field(default_factory=list)
    notes: list[tuple[int, str]] = msgspec.field(default_factory=list)

    def change(self, line: int, start: int, end: int, text: str) -> None:
        """Note an edit."""
        self.edits.setdefault(line, []).append(Edit(start, end, text))


def towards_gate(lines: Sequence[str], ours: UrlClassifier, gate: str, *, by_name: bool) -> RewritePlan:
    """Files by their URL at Wheelgate, or by name and version; one ``--index-url`` instead of feeds and lists of links.

    The same lines again change nothing.
    """
    index = f"--index-url {gate}/simple/"
    outcome = RewritePlan()
    indexes: list[tuple[int, Option, UrlVerdict]] = []
    found = [read(line) for line in lines]
    for at, line in enumerate(found):
        named = _named(line, at, ours, outcome)
        indexes += [(at, option, judged) for option, judged in named.places]
        if named.file is None:
            continue
        url, judged = named.file
        if by_name:
            outcome.change(at, url.name_end, url.end, _pinned(url, judged))
            outcome.first = index
        else:
            there = f"{gate}/files/{judged.project}/{quote(judged.filename, safe=_FOR_FILES)}{judged.fragment}"
            outcome.change(at, url.start, url.end, there)
    if _one_index(indexes, index, outcome):
        for at, line in enumerate(found):
            if any(option.kind is LineKind.NO_INDEX for option in line.options):
                outcome.refusals.append((at, "--no-index would keep pip from asking Wheelgate: remove it"))
    return outcome


def private_blobs(lines: Sequence[str], ours: UrlClassifier) -> dict[str, int]:
    """The blobs that the lines name, without query, each with the first line that does: what has to be signed."""
    found: dict[str, int] = {}
    for at, line in enumerate(map(read, lines)):
        named = _named(line, at, ours, RewritePlan())
        if named.file is not None and named.file[1].is_blob:
            found.setdefault(named.file[1].shown, at)
    return found


def towards_storage(lines: Sequence[str], ours: UrlClassifier, signed: Mapping[str, str]) -> RewritePlan:
    """Blobs by the signed URLs given for them; everything else as it is."""
    outcome = RewritePlan()
    for at, line in enumerate(map(read, lines)):
        named = _named(line, at, ours, outcome)
        if named.file is not None and named.file[1].is_blob:
            url, judged = named.file
            outcome.change(at, url.start, url.end, signed[judged.shown] + judged.fragment)
        elif named.file is not None or any(judged.place in _OURS for _, judged in named.places):
            outcome.notes.append((at, "kept: it needs an index, and only blobs can be signed"))
    return outcome


_OURS = (UrlOwner.FILE, UrlOwner.NO_FILE)


class _Named(msgspec.Struct):
    """What one line names."""

    file: tuple[Url, UrlVerdict] | None = None
    places: list[tuple[Option, UrlVerdict]] = msgspec.field(default_factory=list)


def _named(line: PipLine, at: int, ours: UrlClassifier, outcome: RewritePlan) -> _Named:
    """What a line names that may have to change; whatever it names else is refused or remarked on at once."""
    named = _Named()
    if line.url is not None and (judged := _judged(line.url.text, at, ours, outcome)) is not None:
        if judged.place is UrlOwner.FILE:
            named.file = (line.url, judged)
        elif judged.place is UrlOwner.NO_FILE:
            outcome.refusals.append((at, f"{judged.shown} is not named as a wheel or sdist, so no index can serve it: rename it"))
        elif judged.place is UrlOwner.GATE and judged.has_literal_credential:
            _spare(at, line.url.start, line.url.end, judged.plain, outcome)
    for option in line.options:
        if "://" in option.value and (judged := _judged(option.value, at, ours, outcome)) is not None:
            if option.kind is not LineKind.OTHER:
                named.places.append((option, judged))
            elif judged.place in _OURS and (judged.credential or _SIGNED.search(judged.plain)):
                outcome.notes.append(
                    (at, f"kept, with the credential in it: {judged.shown} is neither an index nor a requirement")
                )
    if any(_is_secret(url) for url in _ANY_URL.findall(line.text, line.comment)):
        outcome.notes.append((at, "its comment holds a credential; comments are kept: remove it by hand"))
    return named


def _judged(text: str, at: int, ours: UrlClassifier, outcome: RewritePlan) -> UrlVerdict | None:
    """The URL judged, or ``None`` if all was said of it."""
    if repository := _REPOSITORY.match(text):
        _judge_repository(text, at, outcome, by_ssh=bool(repository[1]))
        return None
    try:
        judged = ours.judge(text)
    except UnreadableUrl as error:
        outcome.refusals.append((at, f"a URL of a private place cannot be read for sure: {error}; write it plainly"))
        return None
    if judged.place is UrlOwner.FOREIGN and _is_secret(text):
        outcome.notes.append((at, f"kept, with the credential in it: Wheelgate does not answer for {judged.shown}"))
    return judged


def _judge_repository(text: str, at: int, outcome: RewritePlan, *, by_ssh: bool) -> None:
    plain, credential = without_user_info(text)
    if credential is None:
        return
    shown = re.split(r"[?#]", plain, maxsplit=1)[0]
    user, colon, _ = credential.reveal().partition(":")
    if is_variable(credential):
        outcome.notes.append((at, f"{shown} takes its credential from the environment of the build: rather {_PUBLISH}"))
    elif colon or not (by_ssh or user in ("git", "hg", "svn")):  # a name alone is no secret there
        outcome.refusals.append((at, f"{shown} has a credential in it, which ends up in logs and images: {_PUBLISH}"))


def _is_secret(text: str) -> bool:
    """Whether the text of a URL holds a credential or a signature, not just the name of a variable."""
    _, credential = without_user_info(text)
    return bool(_SIGNED.search(text)) or (credential is not None and not is_variable(credential))


def _pinned(url: Url, judged: UrlVerdict) -> str:
    """What follows the name: extras are part of it already, or stand in the fragment of a bare URL."""
    if url.name:
        return f"=={judged.version}"
    extras = _EXTRAS.search(judged.fragment)
    return f"{judged.project}{extras[1] if extras else ''}=={judged.version}"


def _spare(at: int, start: int, end: int, plain: str, outcome: RewritePlan) -> None:
    outcome.change(at, start, end, plain)
    outcome.notes.append((at, "a token of Wheelgate's was removed: give it in .netrc, or as ${WHEELGATE_TOKEN} in the URL"))


def _one_index(indexes: list[tuple[int, Option, UrlVerdict]], index: str, outcome: RewritePlan) -> bool:
    """One index, Wheelgate, in the place of the first option that names what it answers for; whether any is wanted."""
    standing = next(((at, o, j) for at, o, j in indexes if j.place is UrlOwner.GATE and o.kind is LineKind.INDEX), None)
    wanted = outcome.first is not None or any(judged.place in _OURS for _, _, judged in indexes)
    if wanted:
        outcome.first = None if standing else index
        for entry in indexes:
            at, option, judged = entry
            if judged.place is UrlOwner.FOREIGN:
                _remark_on_another(at, option, judged, outcome)
            elif entry != standing:
                outcome.change(at, option.start, option.end, outcome.first or "")
                outcome.first = None
    for entry in indexes:
        at, option, judged = entry
        if judged.place is UrlOwner.GATE and judged.has_literal_credential and (entry == standing or not wanted):
            _spare(at, option.value_start, option.value_start + len(option.value), judged.plain, outcome)
    return wanted


def _remark_on_another(at: int, option: Option, judged: UrlVerdict, outcome: RewritePlan) -> None:
    if option.kind is LineKind.INDEX:
        sentence = f"{judged.shown} is an index too, and pip takes one: make it a source of Wheelgate, and remove the line"
        outcome.refusals.append((at, sentence))
    else:
        sentence = f"kept: pip may take any project from {judged.shown}; make it a source of Wheelgate instead"
        outcome.notes.append((at, sentence))
