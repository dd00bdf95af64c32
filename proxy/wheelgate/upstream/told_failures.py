"""Failures that an upstream explains: another Wheelgate's, of any kind, and what the rules of other products refuse.

A refusal by a rule is no trouble with a credential, and asking again changes nothing; what another server could not get says
nothing of that server. Who tells so is believed about the one thing that was asked, and nothing is concluded from it: a server
may refuse its own files, but nobody learns that it lacks them.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import msgspec

from wheelgate.core.errors import ErrorKind, ProjectNotFound, WheelgateError

ERROR_HEADER = "X-Wheelgate-Error"
"""Kind of an error in an answer of a Wheelgate; its sentence is in the body."""
_ABSENT = "no-such-project"
"""As a kind. Such answers differ in words, by what the servers know of a name, and mean the same."""
_STATUSES = {ErrorKind.WITHHELD: 403, ErrorKind.BAD_ANSWER: 502, ErrorKind.UNAVAILABLE: 503}
_KINDS = {kind.value.replace(" ", "-"): kind for kind in _STATUSES}
# JFrog Curation and Xray, in the `errors` of Artifactory's JSON; Sonatype's Repository Firewall, in reason phrase or body.
_JFROG = re.compile(r"blocked by jfrog packages curation|download blocking policy configured in xray", re.IGNORECASE)
_QUARANTINED = re.compile(r"requested item is quarantined[^<>\r\n\"]{0,300}", re.IGNORECASE)
_USER_INFO, _QUERY = re.compile(r"(?<=://)[^\s/@]*@"), re.compile(r"(?<=://)([^\s?]*)\?[^\s#,;)\"']*")
_MAX_CHARACTERS = 1_000
_LEAST_SECRET = 6


class ToldFailure(msgspec.Struct, frozen=True):
    """A failure in an upstream's own words, fit to be shown but for what they repeat of a credential."""

    kind: ErrorKind
    """Withheld, bad answer or unavailable."""
    sentence: str


def name_kind(error: WheelgateError) -> str | None:
    """Name the kind of an error as the header does; ``None``: servers do not tell one another of such."""
    if isinstance(error, ProjectNotFound):
        return _ABSENT
    return error.kind.value.replace(" ", "-") if error.kind in _STATUSES else None


def tells_absence(response: aiohttp.ClientResponse) -> bool:
    """True for the 404 of a Wheelgate about a project, and not about a path that it does not know. Evidence it is not."""
    return response.status == 404 and response.headers.get(ERROR_HEADER) == _ABSENT


def read_told(response: aiohttp.ClientResponse, body: bytes) -> ToldFailure | None:
    """Read what an answer tells of a failure; ``None``: nothing, or not in a way that is known. ``body``: its beginning."""
    kind = _KINDS.get(response.headers.get(ERROR_HEADER, ""))
    if kind is not None and _STATUSES[kind] == response.status:
        said = _read_reason(body) if response.content_type.endswith("json") else body.decode("utf-8", "replace")
        return ToldFailure(kind, _clean(said or response.reason or "") or "it gives no reason")
    if response.status != 403:
        return None
    reason = response.reason or ""
    message = _read_message(body)
    if _JFROG.search(message):
        return ToldFailure(ErrorKind.WITHHELD, _clean(message))
    found = _QUARANTINED.search(message) or _QUARANTINED.search(reason) or _QUARANTINED.search(body.decode("utf-8", "replace"))
    return None if found is None else ToldFailure(ErrorKind.WITHHELD, _clean(found[0]))


class _ToldProblem(msgspec.Struct):
    reason: str = ""


class _JfrogError(msgspec.Struct):
    message: str = ""


class _JfrogErrors(msgspec.Struct):
    errors: list[_JfrogError] = []


def _read_reason(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_ToldProblem).reason
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""


def _read_message(body: bytes) -> str:
    try:
        return " ".join(error.message for error in msgspec.json.decode(body, type=_JfrogErrors).errors)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""


def _clean(said: str) -> str:
    """One line that can be printed, without what addresses carry beyond their path."""
    said = "".join(character if character.isprintable() else " " for character in said[: 4 * _MAX_CHARACTERS])
    return " ".join(_QUERY.sub(r"\1", _USER_INFO.sub("", said)).split())[:_MAX_CHARACTERS]


def repeats_secret(sentence: str, headers: Mapping[str, str], url: str) -> bool:
    """True if a sentence repeats what its server was asked with: ``headers``, or the query of the signed ``url``."""
    return any(len(secret) >= _LEAST_SECRET and secret in sentence for secret in _list_secrets(headers, url))


def _list_secrets(headers: Mapping[str, str], url: str) -> Iterable[str]:
    for word in (word for value in headers.values() for word in value.split()):
        yield word
        try:
            yield from base64.b64decode(word, validate=True).decode().split(":", 1)[-1:]
        except (binascii.Error, ValueError):
            continue
    yield from (value for _, value in parse_qsl(urlsplit(url).query))
