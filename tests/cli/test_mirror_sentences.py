"""Sentences of `mirror`, as a terminal gets them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from wheelgate.cli.mirror import mirror


def write_bundle(folder: Path, body: bytes) -> None:
    (folder / "demo").mkdir(parents=True)
    (folder / "demo" / "demo-1.0.tar.gz").write_bytes(body)
    entry = {"path": "demo/demo-1.0.tar.gz", "sha256": hashlib.sha256(body).hexdigest(), "size": len(body)}
    entry |= {"source": "team\x1b[2J", "stored": "2026-11-30T00:00:00Z"}
    (folder / "wheelgate-mirror.json").write_bytes(msgspec.json.encode({"wheelgate_mirror": 2, "files": [entry]}))


def test_nothing_that_a_bundle_says_is_obeyed_by_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_bundle(tmp_path / "first", b"first")
    write_bundle(tmp_path / "other", b"other")
    assert CliRunner().invoke(mirror, ["--data", "data", "--from", "./first", "--to", "./mirror"]).exit_code == 0
    result = CliRunner().invoke(mirror, ["--data", "data", "--from", "./other", "--to", "./mirror"])
    assert (result.exit_code, "from source team [2J" in result.output, "\x1b" in result.output) == (1, True, False)
