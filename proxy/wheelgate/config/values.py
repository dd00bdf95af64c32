"""The kinds of value that settings have, each with the sentence for a wrong one."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

from pydantic import BeforeValidator, Field

from wheelgate.core.names import normalise_name
from wheelgate.core.patterns import NamePatterns, release, specifier
from wheelgate.core.secret import reference_parts
from wheelgate.core.urls import UnsafeUrl, is_emulator_host, is_loopback_host, parse, without_user

_DURATION = re.compile(r"(\d{1,9})\s*([smhd]?)", re.ASCII)
_VAULT_HOST = re.compile(r"[a-z0-9-]{3,24}\.vault\.(azure\.net|azure\.cn|usgovcloudapi\.net)")
_SIZE = re.compile(r"(\d{1,9})\s*(B|[kMGT]i?B)?", re.ASCII)
_UNITS = {None: 1, "B": 1} | {
    f"{letter}{binary}B": (1024 if binary else 1000) ** power
    for power, letter in enumerate("kMGT", start=1)
    for binary in ("", "i")
}
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def duration_s(text: str) -> float:
    """``90``, ``90s``, ``15m``, ``24h`` or ``3d`` in seconds.

    Raises:
        ValueError: it is none of these.
    """
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise ValueError("must be a duration such as 90s, 15m, 24h or 3d")
    return int(match[1]) * _SECONDS[match[2]]


def _seconds(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a duration such as 90s, 15m, 24h or 3d")
    return duration_s(value) if isinstance(value, str) else value


def _pattern(value: object) -> object:
    if not isinstance(value, str) or not NamePatterns.is_valid(value):
        raise ValueError("must be a project name, where * stands for any characters")
    return value


_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_LONGEST_COOLDOWN_S = 3650 * 86_400.0


def moment(value: object) -> datetime:
    """A date, which is its end (UTC), or a date with time and offset; as TOML has it, or as text.

    Raises:
        ValueError: it is none of these.
    """
    try:
        if isinstance(value, str):
            value = date.fromisoformat(value) if _DATE.fullmatch(value) else datetime.fromisoformat(value)
        if isinstance(value, datetime) and value.tzinfo is not None:
            return value.astimezone(UTC)
        if isinstance(value, date) and not isinstance(value, datetime):
            return datetime(value.year, value.month, value.day, tzinfo=UTC) + timedelta(days=1)
    except (ValueError, OverflowError):
        pass
    raise ValueError("must be a date such as 2026-01-31, or a time with its offset such as 2026-01-31T12:00:00Z")


def _cooldown(value: object) -> object:
    """Seconds, or a moment."""
    if isinstance(value, str) and _DURATION.fullmatch(value.strip()):
        value = duration_s(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        if 0 <= value <= _LONGEST_COOLDOWN_S:
            return float(value)
    else:
        try:
            return moment(value)
        except ValueError:
            pass
    raise ValueError("must be a duration up to 3650d such as 3d, or the date at which the index is frozen such as 2026-01-31")


def _release(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("must be a text")
    release(value)
    return value


def _specifier(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError('must be a version such as "2.5.1" or a specifier such as ">=2,<3" (PEP 440)')
    specifier(value)
    return value


def _project(value: object) -> object:
    if not isinstance(value, str) or (name := normalise_name(value)) is None:
        raise ValueError("must be the name of one project")
    return name


def _said(value: object) -> object:
    if not isinstance(value, str) or not value.strip() or len(value) > 500 or not value.isprintable():
        raise ValueError("must be a text of one line, up to 500 characters")
    return value


def _bytes(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be a size such as 500MiB, 10GiB or 1TiB")
    return int(match[1]) * _UNITS[match[2]]


Bytes = Annotated[int, BeforeValidator(_bytes), Field(gt=0)]
Seconds = Annotated[float, BeforeValidator(_seconds), Field(ge=0)]
Pattern = Annotated[str, BeforeValidator(_pattern)]
Moment = Annotated[datetime, BeforeValidator(moment)]
Cooldown = Annotated[float | datetime, BeforeValidator(_cooldown)]
"""Seconds; or the moment at which an index is frozen."""
ReleaseText = Annotated[str, BeforeValidator(_release)]
"""Read by :func:`wheelgate.core.patterns.release`."""
SpecifierText = Annotated[str, BeforeValidator(_specifier)]
"""Read by :func:`wheelgate.core.patterns.specifier`."""
ProjectName = Annotated[str, BeforeValidator(_project)]
Said = Annotated[str, BeforeValidator(_said)]
"""Words for people."""


def _reference(value: object) -> object:
    """Never the secret itself; so what is no reference is not repeated either."""
    if not isinstance(value, str) or reference_parts(value) is None:
        raise ValueError(
            "must say where the secret is: env:NAME, file:PATH, keyvault:NAME or secret:NAME, never the secret itself"
        )
    return value


Reference = Annotated[str, BeforeValidator(_reference)]


def _plain_url(value: object) -> object:
    """As people copy it from Azure DevOps, less the user name that stands there and says nothing."""
    try:
        return without_user(value) if isinstance(value, str) else value
    except UnsafeUrl as error:
        raise ValueError(f"cannot be used: {error}: keep it in a connection") from None


PlainUrl = Annotated[str, BeforeValidator(_plain_url)]


def container_problem(text: str) -> str | None:
    """What is wrong with the URL of a container in Azure Blob Storage, or ``None``."""
    hint = 'must be a folder ("file:./data") or a container ("https://ACCOUNT.blob.core.windows.net/CONTAINER")'
    if problem := url_problem(text):
        return f"{hint}; this one {problem}"
    url = parse(text)
    segments = [segment for segment in url.raw_path.split("/") if segment]
    emulator = is_emulator_host(url.host or "")
    if len(segments) < (2 if emulator else 1):
        return f"{hint}; this one names no container"
    if url.scheme != "https" and not emulator:
        return "must be https: a signed URL is a secret, and would travel readable"
    return None


def vault_problem(text: str) -> str | None:
    """What is wrong with the URL of a key vault, or ``None``: our identity's token is shown to it."""
    if problem := url_problem(text):
        return problem
    url = parse(text)
    host = url.host or ""
    if url.scheme != "https" or not (_VAULT_HOST.fullmatch(host) or is_loopback_host(host)) or url.raw_path.strip("/"):
        return "must be a key vault, such as https://NAME.vault.azure.net"
    return None


def proxy_problem(text: str) -> str | None:
    """What is wrong with the URL of an outbound proxy, or ``None``."""
    if "@" in text:
        return "must not hold a user or password: store a connection for the proxy's URL"
    if problem := url_problem(text):
        return f'must look like "http://proxy.example.com:3128"; this one {problem}'
    return None if parse(text).raw_path == "/" else 'must look like "http://proxy.example.com:3128", without a path'


def url_problem(text: str) -> str | None:
    """What is wrong with a URL that everything else is appended to, or ``None``."""
    try:
        parse(text)
    except UnsafeUrl as error:
        return f"cannot be used: {error}"
    if "?" in text or "#" in text:
        return "must end with its path, without a query or fragment"
    return None
