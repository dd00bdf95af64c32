"""Attestations as upload tools send them: right in form, and signed by nobody."""

from __future__ import annotations

import base64
import json
from typing import Any


def encoded(body: bytes) -> str:
    return base64.b64encode(body).decode()


def statement(filename: str, sha256: str, **changes: Any) -> dict[str, Any]:
    """An in-toto statement about a file; ``changes`` override its keys."""
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": filename, "digest": {"sha256": sha256}}],
        "predicateType": "https://docs.pypi.org/attestations/publish/v1",
        "predicate": None,
        **changes,
    }


def attestation(filename: str, sha256: str, **changes: Any) -> dict[str, Any]:
    """A PEP 740 attestation of a file; ``changes`` override keys of its statement."""
    return {
        "version": 1,
        "verification_material": {
            "certificate": encoded(b"a certificate"),
            "transparency_entries": [{"logIndex": "1", "inclusionProof": {"hashes": ["x"]}}],
        },
        "envelope": {
            "statement": encoded(json.dumps(statement(filename, sha256, **changes)).encode()),
            "signature": encoded(b"a signature"),
        },
    }
