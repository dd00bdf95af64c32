"""The manner of an index, as it is seen, kept and told."""

from __future__ import annotations

import pytest

from tests.support.clock import FakeClock
from tests.support.stores import MemoryStore, WatchedStore
from wheelgate.sources.known_projects import KnownProjects
from wheelgate.sources.manner import Manner

HABITS: dict[str, tuple[Manner, str]] = {
    "every name": (Manner(answers_every_name=True), 'answers every name: an empty page of it counts as "not there"'),
    "redirects": (
        Manner(redirects_to="pypi.org", redirects_to_source="pypi"),
        'redirects names that it does not have to pypi.org, which is source pypi: that counts as "not there"',
    ),
    "redirects to no source": (Manner(redirects_to="pypi.org"), "pypiserver: --disable-fallback; GitLab: Forward PyPI"),
    "403": (Manner(refuses_unknown=True), "answers 403 to names that it does not have"),
    "no digests": (Manner(states_digests=False), "states no digests"),
    "no times": (Manner(sends_upload_times=False), "sends no upload times"),
    "passes through": (Manner(passes_public=True), "passes public packages through"),
}


@pytest.mark.parametrize(("manner", "told"), HABITS.values(), ids=HABITS)
def test_each_habit_is_told_in_a_sentence(manner: Manner, told: str) -> None:
    (sentence,) = manner.sentences()
    assert told in sentence
    assert Manner(states_digests=True, sends_upload_times=True, passes_public=False).sentences() == ()


async def test_a_manner_is_kept_by_name_and_address_and_what_is_seen_since_counts(clock: FakeClock) -> None:
    store = MemoryStore()
    first = KnownProjects("team", url="u", store=store)
    first.note_manner(answers_every_name=True, states_digests=False)
    await first._writing.wait("keep")
    again = KnownProjects("team", url="u", store=store)
    again.note_manner(states_digests=True)
    assert again.manner == Manner(states_digests=True)
    assert await again.recall_manner() == Manner(answers_every_name=True, states_digests=True)
    assert await KnownProjects("team", url="elsewhere", store=store).recall_manner() == Manner()
    assert await KnownProjects("other", url="u", store=store).recall_manner() == Manner()
    await again._writing.wait("keep")
    assert (await KnownProjects("team", url="u", store=store).recall_manner()).states_digests is True


async def test_what_is_seen_again_and_again_is_written_once() -> None:
    store = WatchedStore()
    known = KnownProjects("team", url="u", store=store)
    for _ in range(100):
        known.note_manner(states_digests=True, sends_upload_times=False)
    await known._writing.wait("keep")
    known.note_manner(states_digests=True)
    assert store.count("replace_if") == 1
    await known.close()
