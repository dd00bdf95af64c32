"""Attestations that come with an upload (PEP 740), and the provenance object that is made of them."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import msgspec

from tests.fuzzing.target import Target, assert_sentence
from wheelgate.distfiles.attestations import BadAttestation, build_provenance

_NAME = "demo-1.0-py3-none-any.whl"
_SHA = "a" * 64
_NOW = datetime(2026, 1, 1, tzinfo=UTC)


def check(data: bytes) -> None:
    """The text as it comes, and as the statement within an attestation that is well-formed."""
    for text in (data.decode("utf-8", "replace"), _wrap(data)):
        try:
            made = build_provenance(text, _NAME, _SHA, _NOW)
        except BadAttestation as error:
            assert_sentence(str(error))
            continue
        provenance = msgspec.json.decode(made)
        assert provenance["attestation_bundles"][0]["attestations"] == msgspec.json.decode(text)


def _wrap(statement: bytes) -> str:
    encoded = base64.b64encode(statement).decode()
    envelope = {"statement": encoded, "signature": "AAAA"}
    material = {"certificate": "AAAA", "transparency_entries": [{}]}
    return msgspec.json.encode([{"version": 1, "verification_material": material, "envelope": envelope}]).decode()


_STATEMENT = (
    b'{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"demo-1.0-py3-none-any.whl","digest":{"sha256":"'
    + b"a" * 64
    + b'"}}],"predicateType":"https://docs.pypi.org/attestations/publish/v1","predicate":null}'
)
TARGET = Target(
    check=check,
    modules=("wheelgate.distfiles.attestations",),
    seeds=(_STATEMENT, _wrap(_STATEMENT).encode(), b"[]"),
    words=(
        b'"name":"', b"demo-1.0-1-py3-none-any.whl", b"demo-1.0-" + b"9" * 4400 + b"-py3-none-any.whl", b"9" * 4400, b"1e400",
        b"[", b"{", b"null", b"\\ud800", b"\\u0000", b'"version":', b'"digest":', b"AAAA", b"===", b"demo-1!1.tar.gz",
    ),
    max_bytes=8_192,
)  # fmt: skip
