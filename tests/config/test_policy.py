"""The ``[policy]`` section: what it takes, and what a mistake in it is told."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from wheelgate.config import Config, load
from wheelgate.config.section import find_changed_keys
from wheelgate.core.errors import ConfigurationError

Load = Callable[..., Config]
INDEX = '[[source]]\nname = "feed"\ntype = "index"\nurl = "https://index.example.com/simple/"\nprivate = true\n'
NOW = datetime(2026, 6, 1, tzinfo=UTC)
DURATION = "must be a duration up to 3650d such as 3d, or the date at which the index is frozen such as 2026-01-31"
RELEASE = 'must be a project name or pattern, optionally with versions ("urllib3==2.5.1"), or a file name'
VERSION = 'must be a version such as "2.5.1" or a specifier such as ">=2,<3" (PEP 440)'
MOMENT = "must be a date such as 2026-01-31, or a time with its offset such as 2026-01-31T12:00:00Z"
WAIVER = {"name": '"demo"', "version": '"1.0"', "reason": '"needed"', "by": '"ada"', "until": "2026-12-31"}
MERGE = '[[policy.merge]]\nnames = ["torch"]\nsources = ["uploads", "pypi"]\n'


@pytest.fixture
def given_toml(tmp_path: Path) -> Load:
    def loaded(text: str = "", *, env: dict[str, str] | None = None) -> Config:
        path = tmp_path / "wheelgate.toml"
        path.write_text(text)
        return load(path, environment=env or {})

    return loaded


def waiver(**fields: str | None) -> str:
    given = {**WAIVER, **fields}
    return "[[policy.waiver]]\n" + "".join(f"{key} = {value}\n" for key, value in given.items() if value is not None)


def test_the_whole_of_it(given_toml: Load) -> None:
    config = given_toml(
        f"""
        {INDEX.replace('name = "feed"', 'name = "feed"' + chr(10) + 'cooldown = "12h"')}
        [[source]]
        name = "old"
        type = "index"
        url = "https://old.example.com/simple/"
        private = false
        cooldown = 2026-01-31
        [policy]
        allow = ["numpy", "torch>=2,<3", "demo-1.0-py3-none-any.whl"]
        deny = ["evil-*", "urllib3==2.5.1"]
        cooldown = "3d"
        cooldown_exempt = ["acme-*"]
        [[policy.merge]]
        names = ["torch"]
        sources = ["feed", "old"]
        public_versions = "<3"
        [[policy.waiver]]
        name = "Url_Lib3"
        version = ">=2.5,<2.6"
        reason = "the mend is in it"
        by = "ada"
        until = 2026-06-01T12:00:00+02:00
        """
    )
    assert config.policy.cooldown == 3 * 86_400
    assert [source.cooldown for source in config.source] == [43_200, datetime(2026, 2, 1, tzinfo=UTC)]
    (given,) = config.policy.waiver
    assert (given.name, given.until) == ("url-lib3", datetime(2026, 6, 1, 10, tzinfo=UTC))
    assert config.policy.merge[0].public_versions == "<3"


@pytest.mark.parametrize(
    "feed",
    [
        'type = "index"\nurl = "https://devpi.acme.example/+simple/"\nprivate = true\nupstream = "public"',
        'type = "devops"\nurl = "https://pkgs.dev.azure.com/acme/_packaging/team/pypi/simple/"',
    ],
    ids=["stated", "asked of its service"],
)
def test_public_versions_limit_what_a_private_source_passes_through(given_toml: Load, feed: str) -> None:
    sources = f'[[source]]\nname = "uploads"\ntype = "store"\n[[source]]\nname = "feed"\n{feed}\n'
    merge = MERGE.replace('"pypi"', '"feed"') + 'public_versions = "<3"'
    assert given_toml(sources + merge).policy.merge[0].public_versions == "<3"
    with pytest.raises(ConfigurationError, match="none of its sources is public, or passes public packages through: remove it"):
        given_toml(sources.replace(feed, feed.replace('"public"', '"none"') + '\nonly = ["acme-*"]') + merge)


@pytest.mark.parametrize(
    ("text", "cooldown"),
    [
        ('"90s"', 90),
        ("3600", 3600),
        ('"0s"', 0),
        ("2026-01-31", datetime(2026, 2, 1, tzinfo=UTC)),
        ('"2026-01-31"', datetime(2026, 2, 1, tzinfo=UTC)),
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ('"2026-01-31T12:00:00+02:00"', datetime(2026, 1, 31, 10, tzinfo=UTC)),
    ],
)
def test_a_cooldown_is_a_duration_or_a_moment(given_toml: Load, text: str, cooldown: object) -> None:
    assert given_toml(f"[policy]\ncooldown = {text}").policy.cooldown == cooldown


def test_a_cooldown_can_be_given_in_the_environment(given_toml: Load) -> None:
    assert given_toml(env={"WHEELGATE_POLICY__COOLDOWN": "3d"}).policy.cooldown == 3 * 86_400
    assert given_toml(env={"WHEELGATE_POLICY__COOLDOWN": "2026-01-31"}).policy.cooldown == datetime(2026, 2, 1, tzinfo=UTC)


WRONG = [
    ('[policy]\nreserved = ["a b"]', "policy.reserved[0]: must be a project name"),
    ('[policy]\ndeny = ["a b"]', f"policy.deny[0]: {RELEASE}"),
    ('[policy]\ndeny = ["demo", "demo[extra]==1"]', f"policy.deny[1]: {RELEASE}"),
    ('[policy]\ndeny = ["*"]\nallow = ["-x"]', f"policy.allow[0]: {RELEASE}"),
    ('[policy]\ndeny = ["demo=1.0"]', f"policy.deny[0]: {VERSION}"),
    ('[policy]\ndeny = ["demo==banana"]', f"policy.deny[0]: {VERSION}"),
    ('[policy]\ndeny = ["demo 1.0 oder so"]', f"policy.deny[0]: {RELEASE}"),
    ('[policy]\ndeny = ["*.whl"]', "policy.deny[0]: must be the whole name of a file, in which * stands for nothing"),
    ("[policy]\ndeny = [5]", "policy.deny[0]: must be a text"),
    ('[policy]\ndeny = "demo"', 'policy.deny: must be a list: write deny = ["..."]'),
    ('[policy]\nallow = ["demo>=banana"]', f"policy.allow[0]: {VERSION}"),
    ("[policy]\nallow = []", "policy.allow: is empty, so nothing public could be installed"),
    (
        '[policy]\nallow = ["numpy", "Demo >= 1"]\ndeny = ["x", "demo>=1"]',
        "policy.deny[1]: demo>=1 is also in policy.allow[1]: remove it from one of them",
    ),
    ('[policy]\ncooldown = "3 fortnights"', f"policy.cooldown: {DURATION}"),
    ('[policy]\ncooldown = "-3d"', f"policy.cooldown: {DURATION}"),
    ("[policy]\ncooldown = -3", f"policy.cooldown: {DURATION}"),
    ("[policy]\ncooldown = true", f"policy.cooldown: {DURATION}"),
    ("[policy]\ncooldown = nan", f"policy.cooldown: {DURATION}"),
    ('[policy]\ncooldown = "9999999d"', f"policy.cooldown: {DURATION}"),
    ('[policy]\ncooldown = "2026-13-01"', f"policy.cooldown: {DURATION}"),
    ("[policy]\ncooldown = 2026-01-31T12:00:00", f"policy.cooldown: {DURATION}"),
    ('[policy]\ncooldown = "9999-12-31"', f"policy.cooldown: {DURATION}"),
    ('[policy]\ncooldown_exempt = ["a/b"]', "policy.cooldown_exempt[0]: must be a project name, where * stands for any"),
    (f'{INDEX}cooldown = "soon"', f"source[0].cooldown: {DURATION}"),
    (f'{MERGE}public_versions = "< three"', f"policy.merge[0].public_versions: {VERSION}"),
    (
        '[[source]]\nname = "a"\ntype = "store"\n[[source]]\nname = "b"\ntype = "directory"\nurl = "file:x"\n'
        '[[policy.merge]]\nnames = ["x"]\nsources = ["a", "b"]\npublic_versions = "<3"',
        "policy.merge[0].public_versions: none of its sources is public, or passes public packages through: remove it",
    ),
    (MERGE.replace('"pypi"', '"gone"'), "policy.merge[0].sources: there is no source named gone"),
    (waiver(name='"demo-*"'), "policy.waiver[0].name: must be the name of one project"),
    (waiver(name=None), "policy.waiver[0].name: is missing"),
    (waiver(version='"banana"'), f"policy.waiver[0].version: {VERSION}"),
    (waiver(version="1.0"), f"policy.waiver[0].version: {VERSION}"),
    (waiver(version='""'), f"policy.waiver[0].version: {VERSION}"),
    (waiver(reason='" "'), "policy.waiver[0].reason: must be a text of one line"),
    (waiver(by='"a\\r\\nb"'), "policy.waiver[0].by: must be a text of one line"),
    (waiver(by=None), "policy.waiver[0].by: is missing"),
    (waiver(until=None), "policy.waiver[0].until: is missing"),
    (waiver(until='"next week"'), f"policy.waiver[0].until: {MOMENT}"),
    (waiver(until="2026-01-31T12:00:00"), f"policy.waiver[0].until: {MOMENT}"),
    ("[policy]\ncool_down = 5", "policy.cool_down: unknown setting; did you mean cooldown?"),
    (waiver(till="2026-12-31"), "policy.waiver[0].till: unknown setting; did you mean until?"),
    (f'{MERGE}ceiling = "<3"', "policy.merge[0].ceiling: unknown setting"),
    (
        waiver() + waiver(name='"other"') + waiver(name='"DEMO"', version='"1.0.0"'),
        "policy.waiver[2]: overlaps policy.waiver[0] for demo: combine them into one",
    ),
]


@pytest.mark.parametrize(
    ("text", "sentence"), WRONG, ids=[f"{n}-" + re.sub(r"\W+", "-", sentence)[:50] for n, (_, sentence) in enumerate(WRONG)]
)
def test_each_wrong_value_gets_one_sentence_with_its_key_path(given_toml: Load, text: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        given_toml(text)
    (problem,) = caught.value.problems
    assert problem.startswith(sentence)


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("1.0", "1.0.0", True),
        ("1.0", "1.1", False),
        ("1.0", ">=1", True),
        ("1.0", ">1", False),
        (">=1,<2", ">=2,<3", False),
        (">=1,<=2", ">=2,<3", True),
        (">1,<3", ">2,<4", True),
        ("<1", ">=1", False),
        ("==1.*", "1.5", True),
        ("==1.*", ">=2", False),
        ("!=1.0", "!=2.0", True),
        ("<2", "<3", True),
        ("~=1.4", "==1.5.*", True),
    ],
)
def test_waivers_that_overlap(given_toml: Load, one: str, other: str, overlap: bool) -> None:
    for first, second in ((one, other), (other, one)):
        text = waiver(version=f'"{first}"') + waiver(version=f'"{second}"')
        if overlap:
            with pytest.raises(ConfigurationError):
                given_toml(text)
        else:
            assert len(given_toml(text).policy.waiver) == 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            '[policy]\ncooldown = "3d"\n' + waiver(until="2026-05-31"),
            "waiver[0]: for demo expired at 2026-06-01 00:00Z: remove or renew it",
        ),
        (waiver(), "waiver: has no effect without deny, allow or cooldown"),
        ('[policy]\ncooldown_exempt = ["x"]', "cooldown_exempt: has no effect without a cooldown"),
        ("[policy]\ncooldown = 2026-06-02", "cooldown: is a date in the future"),
        (
            '[policy]\ncooldown = "3d"\n[[source]]\nname = "a"\ntype = "store"',
            "cooldown: applies to public sources, but there is none",
        ),
        (
            f'{MERGE}[[policy.merge]]\nnames = ["Torch"]\nsources = ["uploads", "pypi"]',
            "merge[1]: has no effect: merge[0] comes first",
        ),
    ],
)
def test_what_is_certainly_without_effect(given_toml: Load, text: str, sentence: str) -> None:
    (doubt,) = given_toml(text).find_idle_policy(NOW)
    assert doubt.startswith(sentence)


@pytest.mark.parametrize(
    "text",
    [
        "",
        '[policy]\ncooldown = "3d"\ncooldown_exempt = ["x"]\n' + waiver(),
        '[policy]\ndeny = ["demo"]\n' + waiver(),
        "[policy]\ncooldown = 2026-05-31",
        f'{INDEX}cooldown = "3d"\n[policy]\ncooldown_exempt = ["x"]',
        f'{MERGE}[[policy.merge]]\nnames = ["t*"]\nsources = ["uploads", "pypi"]',
    ],
)
def test_what_has_an_effect_raises_no_doubt(given_toml: Load, text: str) -> None:
    assert given_toml(text).find_idle_policy(NOW) == []


def test_what_changed_is_named_by_key_path(given_toml: Load) -> None:
    one = given_toml(f"{INDEX}[server]\nport = 1")
    other = given_toml(f'{INDEX}fresh = "1s"\n[server]\nport = 2\n[policy]\ndeny = ["x"]')
    assert sorted(find_changed_keys(one, other)) == ["policy.deny", "server.port", "source[0].fresh"]
    assert find_changed_keys(one, one) == []
    assert find_changed_keys(one, given_toml(f'{INDEX}[[source]]\nname = "a"\ntype = "store"\n[server]\nport = 1')) == ["source"]
