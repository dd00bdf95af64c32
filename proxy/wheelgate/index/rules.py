"""What is withheld of a page that a source lists, and why: pure, by values alone. Time is an argument.

Rules in the order in which they are looked at; the first that applies to a file names the reason people read:

``quarantine``  the source says so of the project (PEP 792): no file of it is offered.
``deny``        the operator's block list, for every source.
``allow``       the operator's list of what may come from public sources; without one, everything may.
``cooldown``    too young, for public sources and those that have a cool-down of their own.

A waiver lifts deny, allow and cool-down for some versions of a project until it ends; never a quarantine.
What cannot be told is withheld: a version that nobody can read where a rule names versions, an age that is not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

import msgspec
from packaging.specifiers import SpecifierSet

from wheelgate.core.file_list import FileList
from wheelgate.core.model import File, ProjectPage, Withheld
from wheelgate.core.patterns import NamePatterns, Release
from wheelgate.core.versions import PageVersions

Cooldown = timedelta | datetime
"""How old a file must be; or, for an index frozen at a moment, before when it must have been uploaded. Aware, UTC."""
_QUARANTINED = "quarantined"
_MAX_QUOTED = 200
_ADVICE = "choose an older one, or ask for a policy.waiver"


class Waiver(msgspec.Struct, frozen=True):
    """An exception that somebody answers for: these versions are served until then, whatever deny, allow and cool-down say."""

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
    """Everything that may withhold a file, as one value: replaced whole, never changed."""

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
        """What the operator said.

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
        """The cool-down that the files of a source are under; ``None``: none."""
        found = self._cooldowns.get(source, None if private else self._cooldown)
        return None if found == timedelta() else found

    def waivers_for(self, project: str, now: datetime) -> list[Waiver]:
        """Those of a project that hold now."""
        return [waiver for waiver in self._waivers.get(project, ()) if now < waiver.until]

    def screen(self, page: ProjectPage, source: str, private: bool, now: datetime) -> ProjectPage:
        """The page as it may be offered: withheld files apart, each with its rule, and when the next one is let go.

        The same object if no rule applies; the same ``files`` if none is withheld. What was withheld already stays so.
        """
        if not page.files:
            return page
        if page.status is not None and page.status.status == _QUARANTINED:
            return self._quarantined(page, source)
        rulings = self._rulings(page, source, private, now)
        if not rulings:
            return page
        return self._ruled(page, source, rulings, self.waivers_for(page.project, now))

    def _rulings(self, page: ProjectPage, source: str, private: bool, now: datetime) -> list[_Ruling]:
        """The rules that may say something of the project's files, in their order."""
        project = page.project
        rulings: list[_Ruling] = []
        if (denied := self._deny.naming(project)) is not None:
            rulings.append(_Denied(denied))
        if self._allow is not None and not private:
            allowed = self._allow.naming(project)
            if allowed is None or allowed.whole is None:
                rulings.append(_NotAllowed(project, allowed))
        cooldown = self.cooldown_of(source, private)
        if cooldown is not None and project not in self._exempt:
            rulings.append(_Frozen(cooldown) if isinstance(cooldown, datetime) else _TooYoung(cooldown, now))
        return rulings

    @staticmethod
    def _quarantined(page: ProjectPage, source: str) -> ProjectPage:
        said = f" ({_quoted(page.status.reason)})" if page.status and page.status.reason else ""
        reason = f"source {source} has put project {page.project} into quarantine{said}: choose another until it is cleared"
        withheld = [Withheld(file.filename, source, "quarantine", reason) for file in page.files]
        return page.with_files(FileList((), [page.files]), (*page.withheld, *withheld))

    @staticmethod
    def _ruled(page: ProjectPage, source: str, rulings: Sequence[_Ruling], waivers: Sequence[Waiver]) -> ProjectPage:
        versions = PageVersions(page)
        withheld: dict[str, Withheld] = {}
        for ruling in rulings:
            for file, reason, until in ruling.against(versions):
                if file.filename not in withheld:
                    withheld[file.filename] = Withheld(file.filename, source, ruling.rule, reason, until)
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
        if not withheld:
            return msgspec.structs.replace(page, freshness=freshness)
        files = FileList((file for file in versions.files if file.filename not in withheld), [page.files])
        return page.with_files(files, (*page.withheld, *withheld.values()), freshness=freshness)


def limit_versions(page: ProjectPage, source: str, wanted: SpecifierSet) -> ProjectPage:
    """The part of a public page that a merge rule lets in: ``wanted`` versions alone. The same object if that is all of it."""
    versions = PageVersions(page)
    inside = {file.filename for file in versions.files_in(wanted)}
    if len(inside) == len(page.files):
        return page
    reason = f"its policy.merge rule takes versions {wanted} alone from public sources: choose one of these"
    withheld = [Withheld(file.filename, source, "merge", reason) for file in versions.files if file.filename not in inside]
    files = FileList((file for file in versions.files if file.filename in inside), [page.files])
    return page.with_files(files, (*page.withheld, *withheld))


class _Named(msgspec.Struct):
    """The entries of a list that name one project, or may name one of its files."""

    whole: Release | None
    """One that names all of its versions."""
    some: list[tuple[Release, SpecifierSet]]
    files: frozenset[str]

    def by_version(self, versions: PageVersions, *, unreadable: bool) -> dict[str | None, Release]:
        """The version texts that are named, and by which entry."""
        found: dict[str | None, Release] = {}
        for entry, specifier in self.some:
            for text in versions.texts_in(specifier, unreadable=unreadable):
                found.setdefault(text, entry)
        return found

    def by_name(self, versions: PageVersions) -> frozenset[str]:
        """The file names that are named one by one."""
        return frozenset() if self.files.isdisjoint(versions.filenames) else self.files


class _Releases:
    """A list of the operator's, ready to be asked about a project; ten thousand entries cost a page nothing."""

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

    def naming(self, project: str) -> _Named | None:
        """The entries that may say something about a project's files; ``None``: there are none."""
        entries = [*self._names.get(project, ()), *(entry for names, entry in self._patterns if project in names)]
        if not entries and not self._files:
            return None
        whole = next((entry for entry in entries if entry.specifier is None), None)
        some = [(entry, entry.specifier) for entry in entries if entry.specifier is not None]
        return _Named(whole, some, self._files)


_Objection = tuple[File, str, datetime | None]
"""A file that is withheld; why, and what to do; and when it is let go by itself."""


class _Ruling(Protocol):
    """One rule, as it stands for one project at one moment."""

    @property
    def rule(self) -> str:
        """Its word for metrics."""
        ...

    def against(self, versions: PageVersions) -> Iterable[_Objection]:
        """Everything it has against a page's files."""
        ...


class _Denied:
    rule = "deny"

    def __init__(self, named: _Named) -> None:
        self._named = named

    def against(self, versions: PageVersions) -> Iterable[_Objection]:
        if self._named.whole is not None:
            reason = self._reason(self._named.whole)
            return [(file, reason, None) for file in versions.files]
        denied = self._named.by_version(versions, unreadable=True)
        reasons = {text: self._reason(entry) for text, entry in denied.items()}
        objections: list[_Objection] = [(file, reasons[text], None) for text in denied for file in versions.of(text)]
        if names := self._named.by_name(versions):
            objections += [
                (file, self._reason(Release(file.filename)), None) for file in versions.files if file.filename in names
            ]
        return objections

    @staticmethod
    def _reason(entry: Release) -> str:
        return f"policy.deny has {_quoted(entry.text)}: choose another, or ask for a policy.waiver"


class _NotAllowed:
    rule = "allow"

    def __init__(self, project: str, named: _Named | None) -> None:
        self._named = named
        self._reason = f"policy.allow does not name it: choose another, or ask for {project} to be added there"

    def against(self, versions: PageVersions) -> Iterable[_Objection]:
        if self._named is None:
            return [(file, self._reason, None) for file in versions.files]
        allowed, names = self._named.by_version(versions, unreadable=False), self._named.by_name(versions)
        return [
            (file, self._reason, None)
            for text in versions.texts
            if text not in allowed
            for file in versions.of(text)
            if file.filename not in names
        ]


class _Frozen:
    rule = "cooldown"

    def __init__(self, moment: datetime) -> None:
        self._moment = moment

    def against(self, versions: PageVersions) -> Iterable[_Objection]:
        why = f"and the index is frozen as of {in_words(self._moment)}: {_ADVICE}"
        late, ageless = f"it was uploaded later, {why}", f"its upload time is not known, {why}"
        return [
            (file, ageless if file.upload_time is None else late, None)
            for file in versions.files
            if file.upload_time is None or file.upload_time >= self._moment
        ]


class _TooYoung:
    rule = "cooldown"

    def __init__(self, period: timedelta, now: datetime) -> None:
        self._period = period
        self._newest = now - period
        self._why = f"a cool-down of {in_words(period)} holds it"

    def against(self, versions: PageVersions) -> Iterable[_Objection]:
        newest = self._newest
        young = [file for file in versions.files if file.upload_time is None or file.upload_time > newest]
        return [(file, *self._sentence(file.upload_time)) for file in young]

    def _sentence(self, uploaded: datetime | None) -> tuple[str, datetime | None]:
        if uploaded is None:
            return f"its upload time is not known, and {self._why}: {_ADVICE}", None
        try:
            until = uploaded + self._period
        except OverflowError:  # somebody else wrote that time
            return f"its upload time is {in_words(uploaded)}, and {self._why}: {_ADVICE}", None
        return f"it was uploaded at {in_words(uploaded)}, and {self._why} until {in_words(until)}: {_ADVICE}", until


def in_words(cooldown: Cooldown) -> str:
    """A period as the operator would write it (``3d``), or a moment to the second."""
    if isinstance(cooldown, datetime):
        return f"{str(cooldown.astimezone(UTC))[:19]}Z"
    seconds = int(cooldown.total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _quoted(text: str) -> str:
    """Somebody else's words within a sentence: one line, bounded."""
    return " ".join(text.split())[:_MAX_QUOTED]
