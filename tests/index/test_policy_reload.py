"""Newer rules come into force whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.clock import FakeClock
from tests.support.sources import FakeSource
from tests.support.stores import MemoryStore
from wheelgate.config import Config, SourceSettings, load
from wheelgate.core.errors import ConfigurationError, ProjectWithheld
from wheelgate.core.model import ProjectPage
from wheelgate.core.patterns import NamePatterns
from wheelgate.index.decision import Member
from wheelgate.index.merged import Merged
from wheelgate.index.policy_reload import PolicyReload, rules_of
from wheelgate.index.screened import RuleBook, Screened
from wheelgate.runtime.metrics import Metrics
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.claims import Claims

FEED = '[[source]]\nname = "feed"\ntype = "index"\nprivate = true\nurl = "https://feed.example.com/simple/"\n'
PYPI = '[[source]]\nname = "pypi"\ntype = "index"\n'


class Process:
    """Two sources under the rules of a file that can be written anew."""

    def __init__(self, path: Path, clock: FakeClock) -> None:
        self.path = path
        self.sources = [FakeSource(name, clock) for name in ("feed", "pypi")]
        config = self.read(FEED + PYPI)
        self.book = RuleBook(rules_of(config))
        metrics = Metrics()
        by_name = {source.name: source for source in self.sources}

        def member(settings: SourceSettings) -> Member:
            screened = Screened(by_name[settings.name], private=settings.is_private, book=self.book, clock=clock, metrics=metrics)
            return Member(screened, settings.is_private)

        self.index = Merged(
            [member(source) for source in config.source],
            claims=Claims(MemoryStore(), clock, StoreChanges(MemoryStore(), clock)),
            clock=clock,
            metrics=metrics,
            reserved=NamePatterns([]),
        )
        self.enforcement = PolicyReload(config, self.book, self.index)

    def read(self, text: str) -> Config:
        self.path.write_text(text)
        return load(self.path, environment={})

    async def page(self, project: str) -> ProjectPage:
        return await self.index.project_page(project)


@pytest.fixture
def process(tmp_path: Path, clock: FakeClock) -> Process:
    return Process(tmp_path / "wheelgate.toml", clock)


async def test_every_kind_of_rule_comes_into_force(process: Process) -> None:
    feed, pypi = process.sources
    feed.publish("torch", "1.0")
    pypi.publish("torch", "2.0")
    pypi.publish("idna", "1.0")
    assert len((await process.page("torch")).files) == 1
    assert len((await process.page("idna")).files) == 1
    policy = '[policy]\ncooldown = "1d"\n[[policy.merge]]\nnames = ["torch"]\nsources = ["feed", "pypi"]\n'
    replaced = process.enforcement.replace(process.read(FEED + PYPI + policy))
    assert (replaced.in_force, replaced.after_restart) == (["policy.cooldown", "policy.merge"], [])
    with pytest.raises(ProjectWithheld):
        await process.page("idna")
    torch = await process.page("torch")
    assert ([file.source for file in torch.files], [entry.source for entry in torch.withheld]) == (["feed"], ["pypi"])
    replaced = process.enforcement.replace(process.read(FEED + PYPI + 'cooldown = "0s"\n' + policy))
    assert replaced.in_force == ["source[1].cooldown"]
    assert len((await process.page("torch")).files) == 2


def test_nothing_else_is_taken_over(process: Process) -> None:
    rules = process.book.rules
    text = FEED.replace("private = true", 'private = true\nfresh = "1s"') + PYPI + "[server]\nport = 81\n"
    replaced = process.enforcement.replace(process.read(text))
    assert (replaced.in_force, sorted(replaced.after_restart)) == ([], ["server.port", "source[0].fresh"])
    assert process.book.rules is rules, "what was made by them stays"


def test_rules_must_fit_the_sources_that_run(process: Process) -> None:
    """The newer file makes another source private; a merge that is right there would let a public one go first here."""
    rules = process.book.rules
    other = FEED.replace("private = true", "private = false") + PYPI + "private = true\n"
    merge = '[[policy.merge]]\nnames = ["torch"]\nsources = ["pypi", "feed"]\n'
    with pytest.raises(ConfigurationError) as raised:
        process.enforcement.replace(process.read(other + merge + '[policy]\ndeny = ["x"]\n'))
    (problem,) = raised.value.problems
    assert problem.startswith("policy.merge[0].sources: feed is private and must come before pypi")
    assert process.book.rules is rules


def test_a_source_that_is_gone_from_the_file_keeps_its_cooldown(process: Process) -> None:
    process.enforcement.replace(process.read(FEED + PYPI + 'cooldown = "3d"\n'))
    assert process.book.rules.cooldown_of("pypi", private=False)
    replaced = process.enforcement.replace(process.read(FEED))
    assert replaced.after_restart == ["source"]
    assert process.book.rules.cooldown_of("pypi", private=False)
