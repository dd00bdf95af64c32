"""Attestations that come with an upload (PEP 740), and the provenance object they are served in.

They are checked to be attestations of this very file: their form, and the name and digest that each signed statement is
about. Who signed them, and whether the signature holds, is for whoever installs to verify; nothing here claims to know.
"""

from __future__ import annotations

import base64
from datetime import datetime

import msgspec
from packaging.utils import parse_sdist_filename

from wheelgate.core.model import FormatVersion
from wheelgate.core.wheel_names import parse_wheel_name

MAX_BYTES = 256 * 1024
"""Of all attestations of one file; a real one has some 5 KiB."""
_MAX_COUNT = 16
_STATEMENT = "https://in-toto.io/Statement/v1"
_PUBLISHER = "wheelgate-upload"


class BadAttestation(ValueError):
    """Input that cannot be served as attestations of the file; the message completes "its attestations ..."."""


class _Envelope(msgspec.Struct):
    statement: str
    signature: str


class _Material(msgspec.Struct):
    certificate: str
    transparency_entries: list[msgspec.Raw]


class _Attestation(msgspec.Struct):
    version: FormatVersion
    verification_material: _Material
    envelope: _Envelope


class _Bundle(msgspec.Struct):
    attestations: list[_Attestation]


class _Provenance(msgspec.Struct):
    version: FormatVersion
    attestation_bundles: list[_Bundle]


class _Subject(msgspec.Struct):
    name: str
    digest: dict[str, str]


class _Statement(msgspec.Struct):
    type: str = msgspec.field(name="_type")
    subject: list[_Subject]
    predicate_type: str = msgspec.field(name="predicateType")


def build_provenance(attestations: str, filename: str, sha256: str, uploaded: datetime) -> bytes:
    """Build the provenance object of a file: the attestations as they were sent, in one bundle with what we know of their origin.

    ``attestations`` is the form's field, a JSON list. Raises :class:`BadAttestation` if it has none, or those of another file.
    """
    if len(attestations) > MAX_BYTES:
        raise BadAttestation(f"have more than {MAX_BYTES} bytes")
    try:
        entries = msgspec.json.decode(attestations, type=list[msgspec.Raw])
        if not 0 < len(entries) <= _MAX_COUNT:
            raise BadAttestation(f"are {len(entries)}: send between 1 and {_MAX_COUNT}")
        for entry in entries:
            _check(msgspec.json.decode(entry, type=_Attestation), filename, sha256)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise BadAttestation("are not a JSON list of attestations as PEP 740 defines them") from None
    publisher = {"kind": _PUBLISHER, "uploaded": uploaded.isoformat(timespec="seconds")}
    return msgspec.json.encode({"version": 1, "attestation_bundles": [{"publisher": publisher, "attestations": entries}]})


def check_provenance(body: bytes, filename: str, sha256: str) -> None:
    """Check that a provenance object of an index has attestations of this very file, and of no other.

    Raises:
        BadAttestation: it has none, or those of another file.
    """
    try:
        provenance = msgspec.json.decode(body, type=_Provenance)
        if provenance.version != 1:
            raise BadAttestation(f"are in a provenance object of version {provenance.version}: only version 1 is supported")
        entries = [entry for bundle in provenance.attestation_bundles for entry in bundle.attestations]
        if not 0 < len(entries) <= _MAX_COUNT:
            raise BadAttestation(f"are {len(entries)}, where there should be between 1 and {_MAX_COUNT}")
        for entry in entries:
            _check(entry, filename, sha256)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise BadAttestation("are not in a provenance object as PEP 740 defines it") from None


def _check(attestation: _Attestation, filename: str, sha256: str) -> None:
    if attestation.version != 1:
        raise BadAttestation(f"have version {attestation.version}: only version 1 is supported")
    _decode_base64(attestation.envelope.signature, "signature")
    _decode_base64(attestation.verification_material.certificate, "certificate")
    statement = msgspec.json.decode(_decode_base64(attestation.envelope.statement, "statement"), type=_Statement)
    if statement.type != _STATEMENT:
        raise BadAttestation("contain a statement that is not an in-toto statement (v1)")
    if len(statement.subject) != 1:
        raise BadAttestation(f"contain a statement about {len(statement.subject)} files, not about this one alone")
    subject = statement.subject[0]
    if not _same_name(subject.name, filename):
        raise BadAttestation(f"are about {subject.name[:200]!r}, not about this file")
    if subject.digest.get("sha256", "").lower() != sha256:
        raise BadAttestation(f"are about a file with another sha256 than this one's ({sha256})")


def _decode_base64(text: str, what: str) -> bytes:
    try:
        decoded = base64.b64decode(text, validate=True)
    except ValueError:
        decoded = b""
    if not decoded:
        raise BadAttestation(f"contain a {what} that is not base64")
    return decoded


def _same_name(stated: str, filename: str) -> bool:
    """True if two names are of one file, compared as parsed (PEP 740): tools differ in how they normalise ``Acme.Tool``."""
    if stated == filename:
        return True
    parse = parse_wheel_name if filename.endswith(".whl") else parse_sdist_filename
    try:
        return parse(stated) == parse(filename)
    except ValueError:  # InvalidWheelFilename, InvalidSdistFilename, or a number of thousands of digits
        return False
