"""Newer rules come into force whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.clock import FakeClock
from tests.support.sources import FakeSource
from tests.support.stores import MemoryStore
from wheelgate.config import Config, Connection, SourceSettings, load
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
        self.start(FEED + PYPI, clock)

    def start(self, text: str, clock: FakeClock) -> None:
        config = self.read(text)
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
        self.enforcement = PolicyReload(config, self.book, self.index, member)

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


BARE = FEED.replace("private = true\n", "")
SERVING = Connection(name="acme", target="https://feed.example.com")


async def test_what_a_connection_serves_is_private_from_then_on(process: Process, clock: FakeClock) -> None:
    feed, pypi = process.sources
    process.start(PYPI + BARE, clock)
    pypi.publish("acme-lib", "99.0")
    feed.publish("acme-lib", "1.0")
    assert (await process.page("acme-lib")).files[0].source == "pypi"
    overtaken: list[str | None] = []
    process.index.subscribe(overtaken.append)
    process.enforcement.admit([Connection(name="else", target="https://else.example.com")])
    assert not overtaken, "nothing became of it"
    process.enforcement.admit([SERVING])
    pypi.asked.clear()
    assert (await process.page("acme-lib")).files[0].source == "feed"
    assert (pypi.asked, len(overtaken)) == ([], 1)
    process.enforcement.admit([])
    process.enforcement.admit([SERVING])
    assert len(overtaken) == 1, "it stays private, and is told apart once"
    # and the rules of a file that is read again are held against that
    merge = '[[policy.merge]]\nnames = ["acme-lib"]\nsources = ["pypi", "feed"]\n'
    with pytest.raises(ConfigurationError, match="feed is private and must come before pypi"):
        process.enforcement.replace(process.read(PYPI + BARE + merge))


async def test_a_connection_that_a_merge_does_not_fit_is_not_admitted(process: Process, clock: FakeClock) -> None:
    merge = '[[policy.merge]]\nnames = ["torch"]\nsources = ["pypi", "feed"]\n'
    process.start(PYPI + BARE + merge, clock)
    with pytest.raises(ConfigurationError) as raised:
        process.enforcement.admit([SERVING])
    (problem,) = raised.value.problems
    assert problem.startswith("policy.merge[0].sources: feed is private and must come before pypi")
    assert problem.endswith("(connection acme makes source feed private)")
    assert [member.private for member in process.index.members] == [False, False]
