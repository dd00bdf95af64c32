"""The rewrite plan: each line is changed, removed, kept with a remark, or refused."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from wheelgate.core.urls import without_user_info
from wheelgate.distfiles.requirements_file import LineOption, LineUrl, ParsedLine, parse_line
from wheelgate.rewrite.classify_urls import (
    AmbiguousUrl,
    UrlClassifier,
    UrlOwner,
    UrlVerdict,
    holds_secret,
    is_organisation,
    is_variable,
)
from wheelgate.rewrite.places import Edit
from wheelgate.rewrite.settle_places import describe_lost_pin, file_url, find_source

_REPOSITORY = re.compile(r"(?:git|hg|svn|bzr)\+(?:(ssh):)?", re.IGNORECASE)
_DIGEST = re.compile(r"[#&](sha256|sha384|sha512)=([0-9A-Fa-f]+)")
_SIGNED = re.compile(r"[?&]sig=", re.IGNORECASE)
_ANY_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://\S+")
_EXTRAS = re.compile(r"[#&]egg=[^#&\[]*(\[[^\]&\[]*\])")
_OURS = (UrlOwner.FILE, UrlOwner.NO_FILE)
_INDEX, _NO_INDEX = "--index-url", "--no-index"
_PLACES = (_INDEX, "--extra-index-url", "--find-links")
_PUBLISH = "publish a wheel, as an asset of a release or with `wheelgate wheel add`, and write its name and version here"


class RewritePlan(msgspec.Struct):
    """Edits, refusals and remarks for a list of lines, which are counted from 0."""

    edits: dict[int, list[Edit]] = msgspec.field(default_factory=dict)
    first: str | None = None
    """A line to put before all others."""
    refusals: list[tuple[int, str]] = msgspec.field(default_factory=list)
    notes: list[tuple[int, str]] = msgspec.field(default_factory=list)
    sources: list[tuple[int, str]] = msgspec.field(default_factory=list)
    """The private places that lines named, and that Wheelgate has to have as sources from now on."""

    def change(self, line: int, start: int, end: int, text: str) -> None:
        self.edits.setdefault(line, []).append(Edit(start, end, text))

    def refuse(self, line: int, sentence: str) -> None:
        """Refuse a line: nothing at all will be written."""
        self.refusals.append((line, sentence))

    def note(self, line: int, sentence: str) -> None:
        self.notes.append((line, sentence))


def plan_for_gate(lines: Sequence[str], ours: UrlClassifier, gate: str, *, by_name: bool) -> RewritePlan:
    """Plan files by their URL at Wheelgate, or by name and version, and one ``--index-url`` instead of feeds and lists of links.

    The same lines again change nothing.
    """
    index = f"--index-url {gate}/simple/"
    plan = RewritePlan()
    indexes: list[tuple[int, LineOption, UrlVerdict]] = []
    found = [parse_line(line) for line in lines]
    for at, line in enumerate(found):
        file, options = _find_places(line, at, ours, plan)
        indexes += [(at, option, verdict) for option, verdict in options]
        if file is None:
            continue
        url, verdict = file
        plan.sources.append((at, find_source(verdict)))
        digest = _DIGEST.search(verdict.fragment)
        if verdict.is_pinned and not digest and not line.values_of("--hash"):
            plan.note(at, describe_lost_pin(verdict))
        if by_name:
            plan.change(at, url.name_end, url.end, _format_pin(url, verdict))
            plan.first = index
            if digest and not line.values_of("--hash"):
                _keep_digest(at, line, f"{digest[1]}:{digest[2]}", found, plan)
        else:
            plan.change(at, url.start, url.end, file_url(gate, verdict))
    if _keep_one_index(indexes, index, plan):
        for at, line in enumerate(found):
            if any(option.name == _NO_INDEX for option in line.options):
                plan.refuse(at, "--no-index would keep pip from asking Wheelgate: remove it")
    return plan


def find_private_blobs(lines: Sequence[str], ours: UrlClassifier) -> dict[str, int]:
    """Find the blobs to be signed: those that the lines name, without query, each with the first line that does."""
    found: dict[str, int] = {}
    for at, line in enumerate(map(parse_line, lines)):
        file, _ = _find_places(line, at, ours, RewritePlan())
        if file is not None and file[1].is_blob:
            found.setdefault(file[1].shown, at)
    return found


def plan_for_storage(lines: Sequence[str], ours: UrlClassifier, signed: Mapping[str, str]) -> RewritePlan:
    """Plan blobs by the signed URLs given for them, and everything else as it is."""
    plan = RewritePlan()
    for at, line in enumerate(map(parse_line, lines)):
        file, options = _find_places(line, at, ours, plan)
        if file is not None and file[1].is_blob:
            url, verdict = file
            plan.change(at, url.start, url.end, signed[verdict.shown] + verdict.fragment)
        elif file is not None or any(verdict.owner in _OURS for _, verdict in options):
            plan.note(at, "kept: it needs an index, and only blobs can be signed")
    return plan


_File = tuple[LineUrl, UrlVerdict]
_Options = list[tuple[LineOption, UrlVerdict]]


def _find_places(line: ParsedLine, at: int, ours: UrlClassifier, plan: RewritePlan) -> tuple[_File | None, _Options]:
    """Find what a line names that may have to change; anything else it names is refused or remarked on at once."""
    file: _File | None = None
    options: _Options = []
    if line.url is not None and (verdict := _classify(line.url.text, at, ours, plan)) is not None:
        if verdict.owner is UrlOwner.FILE:
            file = (line.url, verdict)
        elif verdict.owner is UrlOwner.NO_FILE:
            plan.refuse(at, f"{verdict.shown} is not named as a wheel or sdist, so no index can serve it: rename it")
        elif verdict.owner is UrlOwner.GATE and verdict.has_literal_credential:
            _remove_token(at, line.url.start, line.url.end, verdict.plain, plan)
    for option in line.options:
        if "://" in option.value and (verdict := _classify(option.value, at, ours, plan)) is not None:
            if option.name in _PLACES:
                options.append((option, verdict))
            elif verdict.owner in _OURS and (verdict.credential or _SIGNED.search(verdict.plain)):
                plan.note(at, f"kept, with the credential in it: {verdict.shown} is neither an index nor a requirement")
    if any(holds_secret(url) for url in _ANY_URL.findall(line.text, line.comment)):
        plan.note(at, "its comment holds a credential; comments are kept: remove it by hand")
    return file, options


def _classify(text: str, at: int, ours: UrlClassifier, plan: RewritePlan) -> UrlVerdict | None:
    """The URL verdict, or ``None`` if all was said of it."""
    if repository := _REPOSITORY.match(text):
        _check_repository(text, at, plan, by_ssh=bool(repository[1]))
        return None
    try:
        verdict = ours.classify(text)
    except AmbiguousUrl as error:
        plan.refuse(at, f"a URL of a private source is ambiguous ({error}): write it plainly")
        return None
    if verdict.owner is UrlOwner.FOREIGN and holds_secret(text):
        plan.note(at, f"kept, with the credential in it: Wheelgate does not answer for {verdict.shown}")
    return verdict


def _check_repository(text: str, at: int, plan: RewritePlan, *, by_ssh: bool) -> None:
    plain, credential = without_user_info(text)
    if credential is None:
        return
    scheme, _, rest = plain.partition("://")
    shown = f"{scheme}://{re.split('[?#]|://', rest, maxsplit=1)[0]}"  # a URL within it may have a credential of its own
    user, colon, _ = credential.reveal().partition(":")
    if is_variable(credential):
        plan.note(at, f"{shown} takes its credential from the environment of the build: rather {_PUBLISH}")
    elif is_organisation(plain.partition("+")[2], credential):
        return
    elif colon or not (by_ssh or user in ("git", "hg", "svn")):  # a name alone is no secret there
        plan.refuse(at, f"{shown} has a credential in it, which ends up in logs and images: {_PUBLISH}")


def _format_pin(url: LineUrl, verdict: UrlVerdict) -> str:
    """Format what follows the name; extras are part of it already, or stand in the fragment of a bare URL."""
    if url.name:
        return f"=={verdict.version}"
    extras = _EXTRAS.search(verdict.fragment)
    return f"{verdict.project}{extras[1] if extras else ''}=={verdict.version}"


def _keep_digest(at: int, line: ParsedLine, digest: str, lines: Sequence[ParsedLine], plan: RewritePlan) -> None:
    """Keep the digest of a URL that goes as ``--hash``, where all others have one: pip checks those of all lines, or of none."""
    others = [other for number, other in enumerate(lines) if number != at and other.requirement]
    if others and all(other.values_of("--hash") or _DIGEST.search(other.requirement) for other in others):
        end = len(line.text[: line.comment].rstrip())
        plan.change(at, end, end, f" --hash={digest}")
    else:
        plan.note(at, f"its digest goes with its URL: only where all lines have a hash can it be kept, as --hash={digest}")


def _remove_token(at: int, start: int, end: int, plain: str, plan: RewritePlan) -> None:
    plan.change(at, start, end, plain)
    plan.note(at, "removed a Wheelgate token: put it in .netrc, or write ${WHEELGATE_TOKEN} in the URL")


def _keep_one_index(indexes: list[tuple[int, LineOption, UrlVerdict]], index: str, plan: RewritePlan) -> bool:
    """Keep one index, Wheelgate, in the place of the first option that names what it answers for; say whether one is needed."""
    standing = next((entry for entry in indexes if entry[2].owner is UrlOwner.GATE and entry[1].name == _INDEX), None)
    wanted = plan.first is not None or any(verdict.owner in _OURS for _, _, verdict in indexes)
    if wanted:
        plan.first = None if standing else index
        for entry in indexes:
            at, option, verdict = entry
            shown = verdict.shown
            if verdict.owner is UrlOwner.FOREIGN and option.name == _INDEX:
                plan.refuse(at, f"{shown} is an index too, and pip takes one: make it a source of Wheelgate, and remove the line")
            elif verdict.owner is UrlOwner.FOREIGN:
                plan.note(at, f"kept: pip may take any project from {shown}; make it a source of Wheelgate instead")
            elif entry != standing:
                if verdict.owner in _OURS:
                    plan.sources.append((at, find_source(verdict)))
                plan.change(at, option.start, option.end, plan.first or "")
                plan.first = None
    for entry in indexes:
        at, option, verdict = entry
        if verdict.owner is UrlOwner.GATE and verdict.has_literal_credential and (entry == standing or not wanted):
            _remove_token(at, option.value_start, option.value_end, verdict.plain, plan)
    return wanted
