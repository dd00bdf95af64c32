"""Digests that locks hold of their manifests; real tools compute the same in tests/acceptance/test_rewritten_locks.py."""

from __future__ import annotations

import hashlib
import json

import pytest

from wheelgate.rewrite.canonical_addresses import CanonicalAddresses, remove_canonical
from wheelgate.rewrite.lock_digests import swap_digest
from wheelgate.rewrite.places import apply_edits

BEFORE = '[project]\nname = "x"\ndependencies = ["a"]\n[[tool.poetry.source]]\nname = "t"\nurl = "https://a.example/simple/"\n'
AFTER = BEFORE.replace("a.example", "wheelgate.internal")
PIPFILE = '[[source]]\nname = "t"\nurl = "https://a.example/simple/"\n[packages]\na = "*"\n'


def poetry_digest(url: str) -> str:
    source = [{"name": "t", "url": url}]
    content = {"project": {"dependencies": ["a"]}, "tool": {"poetry": {"source": source}}}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def test_a_digest_is_swapped_and_the_old_one_kept() -> None:
    old, new = poetry_digest("https://a.example/simple/"), poetry_digest("https://wheelgate.internal/simple/")
    lock = f'[metadata]\nlock-version = "2.1"\ncontent-hash = "{old}"\n'
    swapped = swap_digest("poetry.lock", lock, BEFORE, AFTER)
    assert swapped is not None
    assert f'content-hash = "{new}"' in swapped
    assert CanonicalAddresses.read(swapped).registries == {"content-hash": old}


@pytest.mark.parametrize(
    "lock",
    [
        f'content-hash = "{"0" * 64}"\n',  # out of date: it stays so
        "[metadata]\n",
        "",
    ],
)
def test_a_lock_that_is_out_of_date_stays_so(lock: str) -> None:
    assert swap_digest("poetry.lock", lock, BEFORE, AFTER) is None
    assert swap_digest("poetry.lock", lock, "a = [", AFTER) is None


@pytest.mark.parametrize(
    "shape",
    [
        '{{"_meta": {{"hash": {{"sha256": "{}"}}}}}}',
        '{{\n    "_meta": {{\n        "hash": {{\n            "sha256": "{}"\n}}}}}}',
    ],
)
def test_pipenv_in_either_layout(shape: str) -> None:
    def digest(url: str) -> str:
        content = {
            "_meta": {"sources": [{"name": "t", "url": url}], "requires": {}},
            "default": {"a": "*"},
            "develop": {},
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    after = PIPFILE.replace("a.example", "wheelgate.internal")
    lock = shape.format(digest("https://a.example/simple/"))
    swapped = swap_digest("Pipfile.lock", lock, PIPFILE, after)
    assert swapped is not None
    assert json.loads(swapped)["_meta"].pop("wheelgate") == [f"{digest('https://a.example/simple/')} for content-hash"]
    assert apply_edits(swapped, remove_canonical(swapped)) == shape.format(digest("https://wheelgate.internal/simple/"))
