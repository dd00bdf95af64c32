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
from functools import partial

import msgspec
from packaging.specifiers import SpecifierSet

from wheelgate.core.file_list import FileList
from wheelgate.core.model import File, ProjectPage, Withheld
from wheelgate.core.patterns import NamePatterns, Release
from wheelgate.core.versions import PageVersions

Cooldown = timedelta | datetime
"""The age a file must have; or the moment (aware, UTC) at which the index is frozen, before which it must have been uploaded."""
_QUARANTINED = "quarantined"
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
        if _is_quarantined(page):
            return _withhold_quarantined(page, source)
        rulings = self._find_rulings(page, source, private, now)
        return _apply(page, source, rulings, self.waivers_for(page.project, now)) if rulings else page

    def may_withhold(self, page: ProjectPage, source: str, private: bool, now: datetime) -> bool:
        """Tell whether a rule is about this page at all, without going through its files."""
        return _is_quarantined(page) or bool(self._find_rulings(page, source, private, now))

    def _find_rulings(self, page: ProjectPage, source: str, private: bool, now: datetime) -> list[_Ruling]:
        """Find the rules that may object to the project's files, in their order."""
        project = page.project
        rulings: list[_Ruling] = []
        if not page.files:
            return rulings
        if (denied := self._deny.find_mentions(project)) is not None:
            rulings.append(("deny", partial(_find_denied, denied)))
        if self._allow is not None and not private:
            allowed = self._allow.find_mentions(project)
            if allowed is None or allowed.whole is None:
                rulings.append(("allow", partial(_find_not_allowed, project, allowed)))
        cooldown = self.cooldown_of(source, private)
        if cooldown is not None and project not in self._exempt:
            find = partial(_find_late, cooldown) if isinstance(cooldown, datetime) else partial(_find_young, cooldown, now)
            rulings.append(("cooldown", find))
        return rulings


def _is_quarantined(page: ProjectPage) -> bool:
    return page.status is not None and page.status.status == _QUARANTINED


def _withhold_quarantined(page: ProjectPage, source: str) -> ProjectPage:
    said = f" ({_quote(page.status.reason)})" if page.status and page.status.reason else ""
    reason = f"source {source} has put project {page.project} into quarantine{said}: choose another until it is cleared"
    files = tuple(page.files)
    return withhold(page, files, [Withheld(file.filename, source, "quarantine", reason) for file in files])


def _apply(page: ProjectPage, source: str, rulings: Sequence[_Ruling], waivers: Sequence[Waiver]) -> ProjectPage:
    versions = PageVersions(page)
    withheld: dict[str, Withheld] = {}
    for rule, find_objections in rulings:
        for file, reason, until in find_objections(versions):
            if file.filename not in withheld:
                withheld[file.filename] = Withheld(file.filename, source, rule, reason, until)
    if not withheld:
        return page
    ends = {entry.until for entry in withheld.values() if entry.until is not None}
    for waiver in waivers:
        waived = [file.filename for file in versions.files_in(waiver.specifier) if file.filename in withheld]
        if waived:
            ends.add(waiver.until)
        for filename in waived:
            del withheld[filename]
    if page.freshness.valid_until is not None:
        ends.add(page.freshness.valid_until)
    freshness = msgspec.structs.replace(page.freshness, valid_until=min(ends, default=None))
    return withhold(msgspec.structs.replace(page, freshness=freshness), versions.files, withheld.values())


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


class _Mentions(msgspec.Struct):
    """The entries of a list that name one project, or may name one of its files."""

    whole: Release | None
    """One that names all of its versions."""
    some: list[tuple[Release, SpecifierSet]]
    files: frozenset[str]

    def find_versions(self, versions: PageVersions, *, unreadable: bool) -> dict[str | None, Release]:
        """Find the version texts that are named, each with the entry that does."""
        found: dict[str | None, Release] = {}
        for entry, specifier in self.some:
            for text in versions.texts_in(specifier, unreadable=unreadable):
                found.setdefault(text, entry)
        return found

    def find_filenames(self, versions: PageVersions) -> frozenset[str]:
        """Find the file names that are listed one by one."""
        return frozenset() if self.files.isdisjoint(versions.filenames) else self.files


class _Releases:
    """A block or allow list, indexed by project: ten thousand entries cost a page nothing."""

    def __init__(self, entries: Iterable[Release]) -> None:
        self._names: dict[str, list[Release]] = {}
        self._patterns: list[tuple[NamePatterns, Release]] = []
        files = set()
        for entry in entries:
            if entry.name is None:
                files.add(entry.text)
            elif entry.is_pattern:
                self._patterns.append((NamePatterns([entry.name]), entry))
            else:
                self._names.setdefault(entry.name, []).append(entry)
        self._files = frozenset(files)

    def find_mentions(self, project: str) -> _Mentions | None:
        """Find the entries that may be about a project's files; ``None``: there are none."""
        entries = [*self._names.get(project, ()), *(entry for names, entry in self._patterns if project in names)]
        if not entries and not self._files:
            return None
        whole = next((entry for entry in entries if entry.specifier is None), None)
        some = [(entry, entry.specifier) for entry in entries if entry.specifier is not None]
        return _Mentions(whole, some, self._files)


_Objection = tuple[File, str, datetime | None]
"""A file to withhold; the reason and the remedy; and when it is let go by itself."""
_Ruling = tuple[str, Callable[[PageVersions], Iterable[_Objection]]]
"""One rule as it applies to one project at one moment: its word for metrics, and its objections to a page."""


def _find_denied(denied: _Mentions, versions: PageVersions) -> Iterable[_Objection]:
    if denied.whole is not None:
        reason = _deny(denied.whole.text)
        return [(file, reason, None) for file in versions.files]
    entries = denied.find_versions(versions, unreadable=True)
    reasons = {text: _deny(entry.text) for text, entry in entries.items()}
    objections: list[_Objection] = [(file, reasons[text], None) for text in entries for file in versions.of(text)]
    if names := denied.find_filenames(versions):
        objections += [(file, _deny(file.filename), None) for file in versions.files if file.filename in names]
    return objections


def _deny(entry: str) -> str:
    return f"policy.deny has {_quote(entry)}: choose another, or ask for a policy.waiver"


def _find_not_allowed(project: str, allowed: _Mentions | None, versions: PageVersions) -> Iterable[_Objection]:
    reason = f"policy.allow does not name it: choose another, or ask for {project} to be added there"
    if allowed is None:
        return [(file, reason, None) for file in versions.files]
    texts, names = allowed.find_versions(versions, unreadable=False), allowed.find_filenames(versions)
    files = (file for text in versions.texts if text not in texts for file in versions.of(text))
    return [(file, reason, None) for file in files if file.filename not in names]


def _find_late(moment: datetime, versions: PageVersions) -> Iterable[_Objection]:
    why = f"and the index is frozen as of {in_words(moment)}: {_ADVICE}"
    late, ageless = f"it was uploaded later, {why}", f"its upload time is not known, {why}"
    return [
        (file, ageless if file.upload_time is None else late, None)
        for file in versions.files
        if file.upload_time is None or file.upload_time >= moment
    ]


def _find_young(period: timedelta, now: datetime, versions: PageVersions) -> Iterable[_Objection]:
    newest = now - period
    why = f"a cool-down of {in_words(period)} holds it"
    young = [file for file in versions.files if file.upload_time is None or file.upload_time > newest]
    return [(file, *_hold(file.upload_time, period, why)) for file in young]


def _hold(uploaded: datetime | None, period: timedelta, why: str) -> tuple[str, datetime | None]:
    if uploaded is None:
        return f"its upload time is not known, and {why}: {_ADVICE}", None
    try:
        until = uploaded + period
    except OverflowError:  # somebody else wrote that time
        return f"its upload time is {in_words(uploaded)}, and {why}: {_ADVICE}", None
    return f"it was uploaded at {in_words(uploaded)}, and {why} until {in_words(until)}: {_ADVICE}", until


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
