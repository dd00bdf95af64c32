"""Locks of every shape, as the newest tools wrote them, swapped for Wheelgate and back."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.support.kept_locks import KEPT, read_kept
from tests.support.lock_shapes import PUBLIC, TEAM
from wheelgate.config import load
from wheelgate.rewrite.classify_urls import UrlClassifier
from wheelgate.rewrite.documents import Purpose, rewrite_text

GATE = "https://wheelgate.internal"


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> UrlClassifier:
    path = tmp_path_factory.mktemp("settings") / "wheelgate.toml"
    sources = (("public", PUBLIC), ("team", TEAM))
    path.write_text(
        "".join(f'[[source]]\nname = "{name}"\ntype = "index"\nurl = "{url}"\nprivate = false\n' for name, url in sources)
    )
    return UrlClassifier(GATE, load(path, environment={}))


@pytest.mark.parametrize(("shape", "lock"), KEPT)
def test_a_lock_is_swapped_whole_and_back(shape: str, lock: str, ours: UrlClassifier) -> None:
    before = read_kept(shape, lock)
    swapped = rewrite_text(lock, before, Purpose(ours=ours, gate=GATE))
    assert not swapped.refusals
    body = re.sub(r'"wheelgate": \[[^]]*\],', "", swapped.text.partition("# Canonical")[0])
    assert PUBLIC[:-8] not in body
    assert TEAM[:-8] not in body
    assert sorted(re.findall("[0-9a-f]{64}", body)) == sorted(re.findall("[0-9a-f]{64}", before))
    assert rewrite_text(lock, swapped.text, Purpose(ours=ours, gate=GATE)).text == swapped.text
    assert rewrite_text(lock, swapped.text, Purpose(ours=ours, gate=GATE, restores=True)).text == before


def test_a_version_from_two_indexes_stays_two_packages(ours: UrlClassifier) -> None:
    """uv refuses a lock that has one package twice, of the same version and index."""
    for shape, lock in KEPT:
        if lock == "uv.lock":
            text = rewrite_text(lock, read_kept(shape, lock), Purpose(ours=ours, gate=GATE)).text
            found = [(one["name"], one.get("version"), str(one["source"])) for one in tomllib.loads(text)["package"]]
            assert len(set(found)) == len(found), shape
            assert ("/simple/#2" in text) is (shape == "uv-twin")
