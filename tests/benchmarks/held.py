"""A store in a folder with many names, tokens and files, written as uploads and ``token new`` leave them, without their care."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from tests.support.packages import metadata, wheel_bytes, wheel_name
from wheelgate.storage import layout
from wheelgate.storage.claims import Claim
from wheelgate.storage.tokens import Token

_NOW = datetime(2026, 1, 1, tzinfo=UTC)


def held_name(number: int) -> str:
    """One of the names that a store holds."""
    return f"acme-held-{number}"


def hold_names(store: Path, names: int) -> None:
    """A project with a file each, claimed."""
    for number in range(names):
        project = held_name(number)
        _hold_wheel(store, project, "1.0")
        _write(store / layout.claim(project), msgspec.json.encode(Claim(project, "uploads", _NOW)))


def hold_files(store: Path, project: str, files: int) -> None:
    """One project with many files."""
    for number in range(files):
        _hold_wheel(store, project, f"1.{number}")
    _write(store / layout.claim(project), msgspec.json.encode(Claim(project, "uploads", _NOW)))


def hold_tokens(store: Path, tokens: int) -> None:
    """Tokens that nobody knows."""
    for number in range(tokens):
        identifier = "".join(chr(97 + int(digit)) for digit in f"{number:08}")
        secret = hashlib.sha256(identifier.encode()).hexdigest()
        token = Token(identifier, secret, ("read",), _NOW, datetime.now(UTC) + timedelta(days=30))
        _write(store / layout.token(identifier), msgspec.json.encode(token))


def _hold_wheel(store: Path, project: str, version: str) -> None:
    body = wheel_bytes(project, version)
    digest, described = hashlib.sha256(body).hexdigest(), metadata(project, version)
    stated = {"sha256": digest, "upload_time": _NOW.isoformat(), "metadata_sha256": hashlib.sha256(described).hexdigest()}
    path = layout.package(project, wheel_name(project, version))
    _write(store / path, body)
    _write(store / ".facts" / path, msgspec.json.encode({"created": _NOW, "facts": stated, "version": digest[:32]}))


def _write(path: Path, body: bytes) -> None:
    try:
        path.write_bytes(body)
    except FileNotFoundError:
        os.makedirs(path.parent, mode=0o700, exist_ok=True)  # noqa: PTH103 - half the time of pathlib's
        path.write_bytes(body)
