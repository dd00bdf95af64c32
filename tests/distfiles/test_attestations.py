"""Attestations of an upload: what is kept as it came, and what is not one of this file."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.attestations import attestation, encoded, statement
from wheelgate.distfiles.attestations import MAX_BYTES, BadAttestation, build_provenance

WHEEL = "acme_lib-1.0-py3-none-any.whl"
SHA256 = "ab" * 32
GOOD = attestation(WHEEL, SHA256)
NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


def made(sent: object, filename: str = WHEEL) -> dict[str, Any]:
    text = sent if isinstance(sent, str) else json.dumps(sent)
    provenance: dict[str, Any] = json.loads(build_provenance(text, filename, SHA256, NOW))
    return provenance


def test_they_are_kept_as_they_came_in_one_bundle_of_what_we_know() -> None:
    other = attestation(WHEEL, SHA256, predicateType="https://slsa.dev/provenance/v1")
    assert made([GOOD, other]) == {
        "version": 1,
        "attestation_bundles": [
            {
                "publisher": {"kind": "wheelgate-upload", "uploaded": "2026-01-02T03:04:05+00:00"},
                "attestations": [GOOD, other],
            }
        ],
    }


@pytest.mark.parametrize(
    ("filename", "stated"),
    [
        (WHEEL, "Acme.Lib-1.0-py3-none-any.whl"),
        ("acme_lib-1.0-py2.py3-none-any.whl", "acme_lib-1.0-py3.py2-none-any.whl"),
        ("acme_lib-1.0.tar.gz", "acme-lib-1.0.tar.gz"),
        ("acme_lib-1.0.tar.gz", "acme_lib-1.0.0.tar.gz"),
    ],
)
def test_one_name_spelled_in_two_ways_is_one_name(filename: str, stated: str) -> None:
    made([attestation(stated, SHA256)], filename)


def broken(change: Callable[[dict[str, Any]], object]) -> list[dict[str, Any]]:
    one = copy.deepcopy(GOOD)
    change(one)
    return [one]


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        ("", "are not a JSON list"),
        ("{}", "are not a JSON list"),
        ("[1]", "are not a JSON list"),
        ("null", "are not a JSON list"),
        ("[{}]", "are not a JSON list"),
        ('[{"version": 1}', "are not a JSON list"),
        ("[" * 100_000, "are not a JSON list"),
        (json.dumps([GOOD])[:-2] + ', "more": ' + "[" * 50_000 + "]" * 50_000 + "}]", "are not a JSON list"),
        ("[]", "are 0: send between 1 and 16"),
        ([GOOD] * 17, "are 17: send between 1 and 16"),
        (" " * MAX_BYTES + "[]", f"have more than {MAX_BYTES} bytes"),
        (broken(lambda a: a.update(version=2)), "have version 2"),
        (broken(lambda a: a.pop("verification_material")), "are not a JSON list"),
        (broken(lambda a: a["verification_material"].update(transparency_entries=None)), "are not a JSON list"),
        (broken(lambda a: a["verification_material"].update(certificate="%%%")), "contain a certificate that is not base64"),
        (broken(lambda a: a["envelope"].update(signature="")), "contain a signature that is not base64"),
        (broken(lambda a: a["envelope"].update(statement="é")), "contain a statement that is not base64"),
        (broken(lambda a: a["envelope"].update(statement=encoded(b"not json"))), "are not a JSON list"),
        (broken(lambda a: a["envelope"].update(statement=encoded(b"\xff"))), "are not a JSON list"),
        ([attestation(WHEEL, SHA256, _type="https://example.com/Statement")], "is not an in-toto statement"),
        ([attestation(WHEEL, SHA256, subject=[])], "a statement about 0 files"),
        ([attestation(WHEEL, SHA256, subject=statement(WHEEL, SHA256)["subject"] * 2)], "a statement about 2 files"),
        ([attestation(WHEEL, "cd" * 32)], "are about a file with another sha256"),
        ([attestation(WHEEL, SHA256, subject=[{"name": WHEEL, "digest": {"md5": "x"}}])], "with another sha256"),
        ([attestation("acme_lib-2.0-py3-none-any.whl", SHA256)], "are about 'acme_lib-2.0-py3-none-any.whl', not"),
        ([attestation("acme_lib-1.0.tar.gz", SHA256)], "are about 'acme_lib-1.0.tar.gz', not"),
        ([GOOD, attestation(WHEEL, "cd" * 32)], "are about a file with another sha256"),
    ],
)
def test_what_is_no_attestation_of_this_file_is_one_sentence(sent: object, sentence: str) -> None:
    with pytest.raises(BadAttestation) as raised:
        made(sent)
    assert sentence in str(raised.value)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 400
