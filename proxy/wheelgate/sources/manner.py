"""The manner of an index: how it answers where indexes differ, as it was seen, with a sentence of each for people.

It is kept with the projects that the index is known by, for its name and address, and it is never evidence: whether an answer
means "not there" is asked of the index itself, anew after each start (``sources/absence.py``).

For those who print it: ``services.absences[NAME].known`` is there for each source of the Simple API that is asked over HTTP.
``known.manner`` is what was seen or kept, at once; ``await known.recall_manner()`` reads what was kept first. ``check`` awaits
``absences[NAME].describe()`` before, which asks the control questions. Each of ``manner.sentences()`` completes
"source NAME ...". Whoever finds something out says so by ``known.note_manner(passes_public=True)``.
"""

from __future__ import annotations

import msgspec

from wheelgate.upstream.hop_failures import SWITCH_OFF

ABSENCE_HABITS = ("answers_every_name", "redirects_to", "redirects_to_source", "refuses_unknown")
"""Fields of :class:`Manner` that one answer to a name that nobody can have decides together."""


class Manner(msgspec.Struct, frozen=True, omit_defaults=True):
    """The manner of an index. ``None``: nothing that would tell was seen yet."""

    answers_every_name: bool = False
    """A name that nobody can have gets an empty page."""
    redirects_to: str = ""
    """The host that it redirects names to which it does not have, with the port if that is not the scheme's own; empty: none."""
    redirects_to_source: str = ""
    """The configured source at that origin; empty: there is none."""
    refuses_unknown: bool = False
    """It answers 403 to names that it does not have."""
    states_digests: bool | None = None
    sends_upload_times: bool | None = None
    passes_public: bool | None = None
    """It answers with what is public beside its own."""

    def sentences(self) -> tuple[str, ...]:
        """Tell each habit that people should know of; every sentence completes "source NAME ..."."""
        told = []
        if self.answers_every_name:
            told.append('answers every name: an empty page of it counts as "not there"')
        if self.redirects_to_source:
            told.append(
                f"redirects names that it does not have to {self.redirects_to}, which is source {self.redirects_to_source}: that "
                'counts as "not there"'
            )
        elif self.redirects_to:
            told.append(
                f"redirects names that it does not have to {self.redirects_to}, where no source is, so they fail: {SWITCH_OFF}"
            )
        if self.refuses_unknown:
            told.append('answers 403 to names that it does not have: that counts as "not there"')
        if self.states_digests is False:
            told.append("states no digests")
        if self.sends_upload_times is False:
            told.append("sends no upload times")
        if self.passes_public:
            told.append("passes public packages through")
        return tuple(told)
