"""What the image is made of is written down, looked up, and free of the flaws that were known when the list was made."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from importlib import metadata
from pathlib import Path

import pytest
from packaging.version import InvalidVersion, Version

from tests.docs.pages import ROOT
from tests.supply_chain.flaws import OLD_AFTER_DAYS, Advisories, read_advisories
from tests.supply_chain.locks import LOCKS, read_lock
from tests.supply_chain.sbom import build_sbom

PINNED = [pinned for name in LOCKS for pinned in read_lock(name)]


@pytest.fixture(scope="module")
def advisories() -> Advisories:
    read = read_advisories()
    print(read.describe_age(datetime.now(UTC).date()))
    return read


def test_no_locked_version_has_a_known_flaw(advisories: Advisories) -> None:
    assert advisories.find((pinned.name, pinned.version) for pinned in PINNED) == []


def test_no_installed_version_has_a_known_flaw(advisories: Advisories) -> None:
    """Of the same packages, as the tests use them: later ones, perhaps."""
    installed = []
    for package in advisories.known:
        try:
            installed.append((package, Version(metadata.version(package))))
        except (metadata.PackageNotFoundError, InvalidVersion):  # an extra that is not installed
            continue
    assert len(installed) > len(PINNED) // 2
    assert advisories.find(installed) == []


def test_everything_that_is_locked_was_looked_up_and_nothing_else(advisories: Advisories) -> None:
    assert advisories.known == {pinned.name for pinned in PINNED}
    assert not advisories.none_found & {flaw.package for flaw in advisories.flaws}


def test_each_flaw_is_well_described(advisories: Advisories) -> None:
    assert not [identifier for identifier, count in Counter(flaw.id for flaw in advisories.flaws).items() if count > 1]
    for flaw in advisories.flaws:
        assert flaw.introduced < flaw.fixed, flaw.id
        assert flaw.source in advisories.sources, flaw.id
        assert flaw.what, flaw.id
        assert flaw.stance, flaw.id
        assert "://" not in flaw.what + flaw.stance, flaw.id
    assert set(advisories.sources) == {flaw.source for flaw in advisories.flaws}


@pytest.mark.parametrize(
    ("package", "version", "flaws"),
    [
        ("aiohttp", "3.14.2", ["CVE-2026-69244", "aiohttp-3.14.4-changes"]),
        ("aiohttp", "3.14.3rc1", ["CVE-2026-69244", "aiohttp-3.14.4-changes"]),
        ("pyjwt", "2.10.0", ["CVE-2024-53861", "CVE-2025-45768", "CVE-2026-32597", "CVE-2026-48526"]),
        ("cryptography", "49.0.0", ["CVE-2026-69247"]),
        ("cryptography", "50.0.0", []),
        ("urllib3", "1.26.20", ["CVE-2025-50181", "CVE-2025-66418", "CVE-2026-21441", "CVE-2026-44431"]),
        ("lxml", "6.0.2", ["CVE-2026-41066"]),
        ("idna", "3.14", ["CVE-2026-45409"]),
        ("msgspec", "0.1", []),
    ],
)
def test_a_version_that_has_flaws_is_told_which(advisories: Advisories, package: str, version: str, flaws: list[str]) -> None:
    said = advisories.find([(package, Version(version))])
    assert [sentence.split(" has ")[1].split(" (")[0] for sentence in said] == flaws


def test_the_age_of_the_list_is_said(advisories: Advisories) -> None:
    soon = advisories.as_of + timedelta(days=OLD_AFTER_DAYS)
    assert "It is old" not in advisories.describe_age(soon)
    assert "It is old" in advisories.describe_age(soon + timedelta(days=1))
    assert str(advisories.as_of) in advisories.describe_age(soon)


@pytest.mark.long
def test_the_list_is_not_old(advisories: Advisories) -> None:
    """Before a release, by hand: a build that breaks because time has passed teaches everybody to look away."""
    today = datetime.now(UTC).date()
    assert date(2026, 1, 1) < advisories.as_of <= today
    assert advisories.age_days(today) <= OLD_AFTER_DAYS


def test_the_bill_of_materials_lists_what_the_locks_pin() -> None:
    bom = json.loads(build_sbom())
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.6")
    assert bom["metadata"]["component"]["name"] == "wheelgate"
    listed = [
        (component["scope"], component["purl"], frozenset(digest["content"] for digest in component["hashes"]))
        for component in bom["components"]
    ]
    pinned = [
        (scope, f"pkg:pypi/{each.name}@{each.version}", frozenset(each.sha256))
        for name, scope in LOCKS.items()
        for each in read_lock(name)
    ]
    assert sorted(listed, key=str) == sorted(pinned, key=str)
    assert "://" not in json.dumps(bom["components"])
    (wants,) = [entry["dependsOn"] for entry in bom["dependencies"] if entry["ref"] == "wheelgate"]
    assert sorted(wants) == sorted(component["bom-ref"] for component in bom["components"])


def test_the_bill_of_materials_says_the_same_of_the_same_locks_alone(tmp_path: Path) -> None:
    assert build_sbom() == build_sbom()
    for name in ("pyproject.toml", *LOCKS):
        (tmp_path / name).write_text((ROOT / name).read_text())
    with (tmp_path / "requirements.lock").open("a") as lock:
        lock.write(f"zzz==1.0 \\\n    --hash=sha256:{'0' * 64}\n")
    other = build_sbom(tmp_path)
    assert "pkg:pypi/zzz@1.0" in other
    assert json.loads(other)["serialNumber"] != json.loads(build_sbom())["serialNumber"]


def test_locks_are_read_whole() -> None:
    assert len(PINNED) > 40
    assert all(pinned.sha256 for pinned in PINNED)
