"""Signatures that were pasted whole, have ended or lack a right: told by what they say of themselves."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from wheelgate.config.signature_limits import explain_refusal, find_signature_problem

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
GOOD = "sv=2024-08-04&sr=c&sp=rl&st=2026-11-01T00:00:00Z&se=2026-12-31T00:00:00Z&sig=canary-s3cret%3D"

CASES = {
    "good": (GOOD, None),
    "with a question mark": (f"?{GOOD}", None),
    "of an account": ("sv=1&ss=bf&srt=sco&sp=rwdl&se=2027-01-01&sig=x", None),
    "with a stored policy": ("sv=1&sr=c&si=readers&sig=x", None),
    "a moment nobody can read": (GOOD.replace("2026-12-31T00:00:00Z", "soon"), None),
    "a whole URL": (f"https://a.blob.core.windows.net/c?{GOOD}", "is a whole URL: give only what follows the ? in it"),
    "a token of another kind": ("ghp_canary", "is none: it has no sig="),
    "ended": (GOOD.replace("2026-12-31", "2026-11-30"), "ended on 2026-11-30 00:00Z (se): make a new one"),
    "of a key that ended": (
        f"{GOOD}&skoid=1&ske=2026-11-29T12:00:00Z",
        "rests on a delegation that ended on 2026-11-29 12:00Z (ske)",
    ),
    "a connection string": (f"BlobEndpoint=https://a/;SharedAccessSignature={GOOD}", "is a connection string: give only what"),
    "out of XML": (GOOD.replace("&", "&amp;"), "was copied out of XML or HTML: write & for each &amp; in it"),
    "escaped twice": (GOOD.replace("%3D", "%253D"), "is escaped twice: write % for each %25 in it"),
    "in quotes": (f'"{GOOD}"', "has quotes or spaces around it: give it without"),
    "ended by the day alone": (GOOD.replace("2026-12-31T00:00:00Z", "2026-11-29"), "ended on 2026-11-29 00:00Z (se)"),
    "not yet": (GOOD.replace("2026-11-01", "2026-12-01"), "begins only on 2026-12-01 00:00Z (st)"),
    "of a blob": (GOOD.replace("sr=c", "sr=b"), "is for one blob (sr=b): make a new one for the container"),
    "of a version": (GOOD.replace("sr=c", "sr=bv"), "is for one version of a blob (sr=bv)"),
    "of a snapshot": (GOOD.replace("sr=c", "sr=bs"), "is for one snapshot of a blob (sr=bs)"),
    "of a folder": (GOOD.replace("sr=c", "sr=d"), "is for one folder (sr=d)"),
    "without list": (GOOD.replace("sp=rl", "sp=r"), "has no right to list (sp=r): make a new one with r and l"),
    "to write alone": (GOOD.replace("sp=rl", "sp=cw"), "has no right to read or list (sp=cw)"),
    "of queues": ("sv=1&ss=q&srt=sco&sp=rl&sig=x", "is not for blobs (ss=q)"),
    "of services alone": ("sv=1&ss=b&srt=s&sp=rl&sig=x", "is not for containers and what is in them (srt=s)"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_signature_says_what_it_is_not_good_for(case: str) -> None:
    signature, expected = CASES[case]
    found = find_signature_problem(signature, NOW)
    assert found is None if expected is None else found is not None and found.startswith(expected)
    assert "canary" not in (found or "")


BY_CODE = {
    "AuthorizationSourceIPMismatch": "is for other addresses than this server's (sip): make a new one",
    "AuthorizationProtocolMismatch": "is for https alone (spr): correct the URL",
    "AuthorizationServiceMismatch": "is not for blobs (ss): make a new one",
    "AuthorizationResourceTypeMismatch": "is not for this kind of thing (srt): make a new one",
    "AuthorizationPermissionMismatch": "is not valid there: it is for another container or account, mistyped, or was withdrawn",
    "AuthorizationFailure": "is not good for this container, or the account keeps this server's network out: make a new one",
    "KeyBasedAuthenticationNotPermitted": "is of a kind that the account does not take: make a user delegation SAS",
    "InvalidQueryParameterValue": "has something in it that the service cannot read: copy it whole",
    "AuthenticationFailed": "is not valid there: it is for another container or account, mistyped, or was withdrawn: make a new",
    None: "is not valid there",
}
OF_ITSELF = {
    "a stored policy": (f"{GOOD}&si=readers", "AuthenticationFailed", "goes by a stored policy (si) that was ended or removed"),
    "a maker without the right": (
        f"{GOOD}&skoid=1",
        "AuthorizationPermissionMismatch",
        "was made by somebody who may not do that",
    ),
    "https alone": (f"{GOOD}&spr=https", "AuthenticationFailed", "is for https alone (spr)"),
    "an address beside the network": (f"{GOOD}&sip=10.0.0.1", "AuthorizationFailure", "is for other addresses than this"),
}


@pytest.mark.parametrize("code", BY_CODE)
def test_a_refusal_is_explained_by_its_code(code: str | None) -> None:
    assert explain_refusal(GOOD, NOW, code).startswith(BY_CODE[code])


@pytest.mark.parametrize("case", [case for case, (_, problem) in CASES.items() if problem is not None])
@pytest.mark.parametrize("code", ["AuthenticationFailed", "AuthorizationPermissionMismatch", None])
def test_what_a_signature_says_of_itself_comes_before_any_code(case: str, code: str | None) -> None:
    signature, expected = CASES[case]
    assert explain_refusal(signature, NOW, code).startswith(str(expected))


@pytest.mark.parametrize("case", OF_ITSELF)
def test_what_it_is_bound_to_is_named(case: str) -> None:
    signature, code, expected = OF_ITSELF[case]
    assert explain_refusal(signature, NOW, code, by_http=True).startswith(expected)


def test_what_was_asked_for_decides_which_right_it_lacks() -> None:
    assert explain_refusal(GOOD, NOW, None, ("cw",)).startswith(
        "has no right to write (sp=rl): make a new one with r, c, w, d and l"
    )
    assert explain_refusal(GOOD, NOW, None, ("d",)).startswith(
        "has no right to delete (sp=rl): make a new one with r, c, w, d and l"
    )
    assert explain_refusal(GOOD.replace("sp=rl", "sp=c"), NOW, "AuthenticationFailed", ("cw",)).startswith("is not valid there")
    assert explain_refusal(GOOD.replace("sr=c", "sr=b"), NOW, None, ("r",), is_of_blob=True).startswith("is not valid there")


def test_no_sentence_speaks_of_roles_and_keys() -> None:
    said = [explain_refusal(signature, NOW, code, ("d",)) for signature, _ in CASES.values() for code in BY_CODE]
    said += [explain_refusal(signature, NOW, code) for signature, code, _ in OF_ITSELF.values()]
    for sentence in said:
        assert "canary" not in sentence
        assert not {"role", "roles", "key", "keys", "identity"} & set(sentence.replace(",", " ").replace(":", " ").split())
