"""Limits that a shared access signature (SAS) states of itself, in its query: until when, for what, with which rights."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import parse_qs

READ_AND_LIST = ("r", "l")
"""Rights that are needed to serve a container: a letter each, or several where one of them suffices."""
_RIGHTS = {"r": "read", "l": "list", "c": "create", "w": "write", "d": "delete"}
_NARROW = {"b": "one blob", "bv": "one version of a blob", "bs": "one snapshot of a blob", "d": "one folder"}
_UNREADABLE = "has something in it that the service cannot read: copy it whole, or make a new one"
# By the service's error code, where what the signature says of itself does not tell.
_REFUSALS = {
    "AuthorizationSourceIPMismatch": "is for other addresses than this server's (sip): make a new one without",
    "AuthorizationProtocolMismatch": "is for https alone (spr): correct the URL, or make a new one",
    "AuthorizationServiceMismatch": "is not for blobs (ss): make a new one",
    "AuthorizationResourceTypeMismatch": "is not for this kind of thing (srt): make a new one for containers and what is in them",
    "KeyBasedAuthenticationNotPermitted": "is of a kind that the account does not take: make a user delegation SAS",
    "AuthorizationFailure": (
        "is not good for this container, or the account keeps this server's network out: make a new one for it, or have this "
        "server's network let in"
    ),
    "InvalidAuthenticationInfo": _UNREADABLE,
    "InvalidQueryParameterValue": _UNREADABLE,
    "MissingRequiredQueryParameter": _UNREADABLE,
}


def find_signature_problem(
    signature: str, now: datetime, needs: Sequence[str] = READ_AND_LIST, *, is_of_blob: bool = False
) -> str | None:
    """Find why a signature cannot serve a container, by what it says of itself; ``None``: nothing it says is against it.

    ``now``: aware, UTC. The answer completes "the SAS ..." and repeats neither signature nor address.
    """
    if (problem := find_form_problem(signature)) is not None:
        return problem
    said = _read_fields(signature)
    place = None if is_of_blob else _find_place(said)
    return _find_moment(said, now) or place or _find_lacking_right(said, needs)


def find_form_problem(signature: str) -> str | None:
    """Find why something is no signature at all; ``None``: it is one. The answer completes "the SAS ..."."""
    if "SharedAccessSignature=" in signature:
        return "is a connection string: give only what follows SharedAccessSignature= in it"
    if "://" in signature:
        return "is a whole URL: give only what follows the ? in it"
    if "&amp;" in signature:
        return "was copied out of XML or HTML: write & for each &amp; in it"
    said = _read_fields(signature)
    if "sig" not in said:
        return "is none: it has no sig="
    if re.search("%[0-9A-Fa-f]{2}", said["sig"]):
        return "is escaped twice: write % for each %25 in it"
    if signature.strip("\"'` ") != signature:
        return "has quotes or spaces around it: give it without"
    return None


def explain_refusal(
    signature: str,
    now: datetime,
    code: str | None,
    needs: Sequence[str] = READ_AND_LIST,
    *,
    by_http: bool = False,
    is_of_blob: bool = False,
) -> str:
    """Explain why storage refused a signature, by what that says of itself, and else by the service's error code.

    ``needs``: what was asked for; ``by_http``: without TLS; ``is_of_blob``: one blob was asked for, by its URL. The answer
    completes "the SAS ..." and says what to do.
    """
    if (problem := find_signature_problem(signature, now, needs, is_of_blob=is_of_blob)) is not None:
        return problem
    said = _read_fields(signature)
    if "sip" in said and code == "AuthorizationFailure":
        code = "AuthorizationSourceIPMismatch"
    if by_http and said.get("spr") == "https":
        return _REFUSALS["AuthorizationProtocolMismatch"]
    if "si" in said and code not in _REFUSALS:
        rights = " or ".join(_name_rights(needs))
        return f"goes by a stored policy (si) that was ended or removed, or gives no right to {rights}: make a new one"
    if code == "AuthorizationPermissionMismatch" and "skoid" in said:
        return "was made by somebody who may not do that either: have it made by somebody who may, or ask for that right"
    return _REFUSALS.get(
        code or "", "is not valid there: it is for another container or account, mistyped, or was withdrawn: make a new one"
    )


def _read_fields(signature: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(signature.removeprefix("?")).items()}


def _find_moment(said: Mapping[str, str], now: datetime) -> str | None:
    for name, what in (("se", "ended"), ("ske", "rests on a delegation that ended"), ("st", "begins only")):
        moment = _read_moment(said.get(name, ""))
        if moment is not None and (moment > now if name == "st" else moment <= now):
            return f"{what} on {moment:%Y-%m-%d %H:%M}Z ({name}): make a new one"
    return None


def _find_place(said: Mapping[str, str]) -> str | None:
    if said.get("sr") in _NARROW:
        return f"is for {_NARROW[said['sr']]} (sr={said['sr']}): make a new one for the container"
    if "ss" in said and "b" not in said["ss"]:
        return f"is not for blobs (ss={said['ss'][:8]}): make a new one"
    if "srt" in said and not {"c", "o"} <= set(said["srt"]):
        return f"is not for containers and what is in them (srt={said['srt'][:8]}): make a new one with c and o"
    return None


def _find_lacking_right(said: Mapping[str, str], needs: Sequence[str]) -> str | None:
    if "sp" not in said:  # one that names a stored policy has its rights there
        return None
    lacking = _name_rights([letters for letters in needs if not set(letters) & set(said["sp"])])
    if not lacking:
        return None
    letters = "r and l" if set(needs) <= set(READ_AND_LIST) else "r, c, w, d and l"
    return f"has no right to {' or '.join(lacking)} (sp={said['sp'][:16]}): make a new one with {letters}"


def _name_rights(needs: Sequence[str]) -> list[str]:
    return [_RIGHTS[letters[-1]] for letters in needs]


def _read_moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
