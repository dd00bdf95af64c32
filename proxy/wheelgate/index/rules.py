"""The operator's rules (block list, allow list, cool-down, waivers) and quarantine, as pure functions of a page and a moment.

In the order in which they are applied; the first that applies to a file gives the reason people read:

``quarantine``  the source says so of the project (PEP 792): no file of it is offered.
``deny``        the operator's block list, for every source.
``allow``       the operator's list of what may come from public sources; without one, everything may.
``cooldown``    too young, for public sources and those that have a cool-down of their own.

A waiver lifts deny, allow and cool-down for some versions of a project until it ends; never a quarantine.
What cannot be determined is withheld: a file of an unreadable version where a rule names versions, one of unknown age.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial

import msgspec
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from wheelgate.core.file_list import FileList
from wheelgate.core.model import File, ProjectPage, Withheld
from wheelgate.core.names import version_of
from wheelgate.core.patterns import NamePatterns, Release

Cooldown = timedelta | datetime
"""The age a file must have; or the moment (aware, UTC) at which the index is frozen, before which it must have been uploaded."""
_MAX_QUOTED = 200
_ADVICE = "choose an older one, or ask for a policy.waiver"


class Waiver(msgspec.Struct, frozen=True):
    """An exception somebody is accountable for: until then, these versions are served whatever deny, allow and cool-down say."""

    name: str
    """Normalised."""
    version: str
    """As the operator wrote it."""
    specifier: SpecifierSet
    reason: str
    by: str
    until: datetime
    """It holds before this moment. Aware, UTC."""


class Rules:
    """The rules of one configuration as one value: replaced whole, never changed."""

    def __init__(
        self,
        *,
        allow: Sequence[Release] | None = None,
        deny: Sequence[Release] = (),
        cooldown: Cooldown | None = None,
        cooldowns: Mapping[str, Cooldown] | None = None,
        exempt: Iterable[str] = (),
        waivers: Sequence[Waiver] = (),
    ) -> None:
        """Rules as the operator configured them.

        Args:
            allow: if given, nothing else comes from public sources.
            deny: comes from nowhere.
            cooldown: of every public source.
            cooldowns: of single sources, by name; theirs comes first.
            exempt: patterns of projects that no cool-down is for.
            waivers: exceptions from all of these.
        """
        self._allow = None if allow is None else _Releases(allow)
        self._deny = _Releases(deny)
        self._cooldown = cooldown
        self._cooldowns = dict(cooldowns or {})
        self._exempt = NamePatterns(exempt)
        self._waivers: dict[str, list[Waiver]] = {}
        for waiver in waivers:
            self._waivers.setdefault(waiver.name, []).append(waiver)

    def cooldown_of(self, source: str, private: bool) -> Cooldown | None:
        """The cool-down for the files of a source; ``None``: none."""
        found = self._cooldowns.get(source, None if private else self._cooldown)
        return None if found == timedelta() else found

    def waivers_for(self, project: str, now: datetime) -> list[Waiver]:
        """The waivers of a project that hold now."""
        return [waiver for waiver in self._waivers.get(project, ()) if now < waiver.until]

    def screen(self, page: ProjectPage, source: str, private: bool, now: datetime) -> ProjectPage:
        """Take withheld files off a page, each with its rule, and note when the next one is let go.

        The same object if no rule applies; the same ``files`` if none is withheld. What was withheld already stays so.
        """
        versions = PageVersions(page)
        withheld: dict[str, Withheld] = {}
        for rule, find_objections in self._find_rulings(page, source, private, now):
            for file, reason, until in find_objections(versions):
                withheld.setdefault(file.filename, Withheld(file.filename, source, rule, reason, until))
        if not withheld:
            return page
        ends = {page.freshness.valid_until, *(entry.until for entry in withheld.values())}
        for waiver in self.waivers_for(page.project, now) if not _is_quarantined(page) else ():
            if waived := withheld.keys() & {file.filename for file in versions.files_in(waiver.specifier)}:
                ends.add(waiver.until)
                withheld = {filename: entry for filename, entry in withheld.items() if filename not in waived}
        valid_until = min((end for end in ends if end is not None), default=None)
        freshness = msgspec.structs.replace(page.freshness, valid_until=valid_until)
        return withhold(msgspec.structs.replace(page, freshness=freshness), versions.files, withheld.values())

    def may_withhold(self, page: ProjectPage, source: str, private: bool, now: datetime) -> bool:
        """Tell whether a rule is about this page at all, without going through its files."""
        return bool(self._find_rulings(page, source, private, now))

    def _find_rulings(self, page: ProjectPage, source: str, private: bool, now: datetime) -> list[_Ruling]:
        """Find the rules that may object to the project's files, in their order."""
        if not page.files:
            return []
        if _is_quarantined(page):
            return [("quarantine", partial(_find_quarantined, page, source))]
        project = page.project
        rulings: list[_Ruling] = []
        denied = self._deny.find_entries(project)
        if denied or self._deny.filenames:
            rulings.append(("deny", partial(_find_denied, denied, self._deny.filenames)))
        if self._allow is not None and not private:
            allowed = self._allow.find_entries(project)
            if all(entry.specifier is not None for entry in allowed):
                rulings.append(("allow", partial(_find_not_allowed, project, allowed, self._allow.filenames)))
        cooldown = self.cooldown_of(source, private)
        if cooldown is not None and project not in self._exempt:
            rulings.append(("cooldown", partial(_find_too_new, cooldown, now)))
        return rulings


def _is_quarantined(page: ProjectPage) -> bool:
    return page.status is not None and page.status.status == "quarantined"


def withhold(page: ProjectPage, files: Iterable[File], withheld: Collection[Withheld]) -> ProjectPage:
    """Take withheld files off a page whose ``files`` these are. The same object if none is withheld."""
    if not withheld:
        return page
    names = {entry.filename for entry in withheld}
    kept = FileList((file for file in files if file.filename not in names), [page.files])
    return page.with_files(kept, (*page.withheld, *withheld))


def limit_versions(page: ProjectPage, source: str, wanted: SpecifierSet) -> ProjectPage:
    """Withhold all but the ``wanted`` versions that a merge rule lets in from a public page. The same object if that is none."""
    versions = PageVersions(page)
    inside = {file.filename for file in versions.files_in(wanted)}
    reason = f"its policy.merge rule takes versions {wanted} alone from public sources: choose one of these"
    withheld = [Withheld(file.filename, source, "merge", reason) for file in versions.files if file.filename not in inside]
    return withhold(page, versions.files, withheld)


class _Releases:
    """A block or allow list, indexed by project: ten thousand entries cost a page nothing."""

    def __init__(self, entries: Sequence[Release]) -> None:
        self._names: dict[str, list[Release]] = {}
        self._patterns: list[tuple[NamePatterns, Release]] = []
        self.filenames = frozenset(entry.text for entry in entries if entry.name is None)
        """Those listed one by one."""
        for entry in entries:
            if entry.name is not None and "*" in entry.name:
                self._patterns.append((NamePatterns([entry.name]), entry))
            elif entry.name is not None:
                self._names.setdefault(entry.name, []).append(entry)

    def find_entries(self, project: str) -> list[Release]:
        """Find the entries that name a project: first those for all of its versions."""
        entries = [*self._names.get(project, ()), *(entry for names, entry in self._patterns if project in names)]
        return sorted(entries, key=lambda entry: entry.specifier is not None)


class PageVersions:
    """A page's files grouped by version, so that each distinct one is parsed and compared once; read when a rule first asks."""

    def __init__(self, page: ProjectPage) -> None:
        self.files = tuple(page.files)
        self._project = page.project

    @cached_property
    def by_text(self) -> dict[str | None, list[File]]:
        """The files of each version, by its text (:func:`version_of`); ``None``: their names have no place for one."""
        found: dict[str | None, list[File]] = {}
        for file in self.files:
            found.setdefault(version_of(file.filename, self._project), []).append(file)
        return found

    @cached_property
    def _parsed(self) -> dict[str | None, Version | None]:
        """The distinct versions; ``None``: PEP 440 cannot read it."""
        return {text: _parse_version(text) for text in self.by_text}

    def files_in(self, specifier: SpecifierSet | None, *, unreadable: bool = False) -> Sequence[File]:
        """Find the files whose version matches, pre-releases included. ``unreadable``: whether one that nobody can read does."""
        if specifier is None:
            return self.files
        return [
            file
            for text, version in self._parsed.items()
            if (unreadable if version is None else specifier.contains(version, prereleases=True))
            for file in self.by_text[text]
        ]


def _parse_version(text: str | None) -> Version | None:
    try:
        return None if text is None else Version(text)
    except InvalidVersion:
        return None


_Objection = tuple[File, str, datetime | None]
"""A file to withhold; the reason and the remedy; and when it is let go by itself."""
_Ruling = tuple[str, Callable[[PageVersions], Iterable[_Objection]]]
"""One rule as it applies to one project at one moment: its word for metrics, and its objections to a page."""


def _find_quarantined(page: ProjectPage, source: str, versions: PageVersions) -> Iterable[_Objection]:
    said = f" ({_quote(page.status.reason)})" if page.status and page.status.reason else ""
    reason = f"source {source} has put project {page.project} into quarantine{said}: choose another until it is cleared"
    return [(file, reason, None) for file in versions.files]


def _find_denied(entries: Sequence[Release], filenames: Collection[str], versions: PageVersions) -> Iterable[_Objection]:
    named = [
        *((file, entry.text) for entry in entries for file in versions.files_in(entry.specifier, unreadable=True)),
        *((file, file.filename) for file in versions.files if file.filename in filenames),
    ]
    return [(file, f"policy.deny has {_quote(text)}: choose another, or ask for a policy.waiver", None) for file, text in named]


def _find_not_allowed(
    project: str, entries: Sequence[Release], filenames: Collection[str], versions: PageVersions
) -> Iterable[_Objection]:
    reason = f"policy.allow does not name it: choose another, or ask for {project} to be added there"
    allowed = {file.filename for entry in entries for file in versions.files_in(entry.specifier)}.union(filenames)
    return [(file, reason, None) for file in versions.files if file.filename not in allowed]


def _find_too_new(cooldown: Cooldown, now: datetime, versions: PageVersions) -> Iterable[_Objection]:
    if isinstance(cooldown, datetime):
        why, hold = f"the index is frozen as of {in_words(cooldown)}", None
        newest = cooldown - datetime.resolution
    else:
        why, hold = f"a cool-down of {in_words(cooldown)} holds it", cooldown
        newest = now - cooldown
    for file in versions.files:
        uploaded, until = file.upload_time, None
        if uploaded is not None and uploaded <= newest:
            continue
        if uploaded is None:
            reason = f"its upload time is not known, and {why}"
        elif hold is None:
            reason = f"it was uploaded later, and {why}"
        else:
            try:
                until = uploaded + hold
                reason = f"it was uploaded at {in_words(uploaded)}, and {why} until {in_words(until)}"
            except OverflowError:  # somebody else wrote that time
                reason = f"its upload time is {in_words(uploaded)}, and {why}"
        yield file, f"{reason}: {_ADVICE}", until


def in_words(cooldown: Cooldown) -> str:
    """Format a period as the operator would write it (``3d``), or a moment to the second."""
    if isinstance(cooldown, datetime):
        return f"{str(cooldown.astimezone(UTC))[:19]}Z"
    seconds = int(cooldown.total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _quote(text: str) -> str:
    """Quote somebody else's words within a sentence: one line, bounded."""
    return " ".join(text.split())[:_MAX_QUOTED]
