"""Value types of the settings (durations, sizes, dates, URLs, patterns, references), each with the message for a wrong value."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

from pydantic import BeforeValidator, ByteSize, Field

from wheelgate.core.names import normalise_name
from wheelgate.core.patterns import NamePatterns, parse_release, parse_specifier
from wheelgate.core.secret import reference_parts
from wheelgate.core.urls import UnsafeUrl, is_emulator_host, is_loopback_host, parse, suggest_url, without_user

_DURATION = re.compile(r"(\d{1,9})\s*([smhd]?)", re.ASCII)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZE = re.compile(r"\d{1,9}\s*(B|[kMGT]i?B)?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_VAULT_HOST = re.compile(r"[a-z0-9-]{3,24}\.vault\.(azure\.net|azure\.cn|usgovcloudapi\.net)")
_LONGEST_COOLDOWN_S = 3650 * 86_400.0


def parse_duration_s(text: str, *, needs_unit: bool = False) -> float:
    """Parse ``90``, ``90s``, ``15m``, ``24h`` or ``3d`` into seconds; :class:`ValueError` if it is none of these.

    ``needs_unit``: a bare number is refused, as on a command line, where it is rather meant as days.
    """
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise ValueError("must be a duration such as 90s, 15m, 24h or 3d")
    if needs_unit and not match[2]:
        raise ValueError(f"must say its unit: {match[1]}d are days, {match[1]}h hours, {match[1]}m minutes, {match[1]}s seconds")
    return int(match[1]) * _SECONDS[match[2]]


def _parse_seconds(value: object) -> object:
    if isinstance(value, bool):
        return parse_duration_s("")
    return parse_duration_s(value) if isinstance(value, str) else value


def _parse_moment(value: object) -> datetime:
    """Parse a date, which stands for its end (UTC), or a date with time and offset; as TOML has it, or as text."""
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


def _parse_cooldown(value: object) -> object:
    try:
        if isinstance(value, str) and _DURATION.fullmatch(value.strip()):
            value = parse_duration_s(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return _parse_moment(value)
        if 0 <= value <= _LONGEST_COOLDOWN_S:
            return float(value)
    except ValueError:
        pass
    raise ValueError("must be a duration up to 3650d such as 3d, or the date at which the index is frozen such as 2026-01-31")


def _parse_project(value: object) -> object:
    if not isinstance(value, str) or (name := normalise_name(value)) is None:
        raise ValueError("must be the name of one project")
    return name


def _check_size(value: object) -> object:
    """Refuse what :class:`pydantic.ByteSize` is too lenient about: booleans, fractions, trailing words."""
    if isinstance(value, bool) or not (isinstance(value, int) or (isinstance(value, str) and _SIZE.fullmatch(value.strip()))):
        raise ValueError("must be a size such as 500MiB, 10GiB or 1TiB")
    return value


def _strip_user(value: object) -> object:
    """Remove the user name that Azure DevOps puts into the URLs it shows."""
    try:
        return without_user(value) if isinstance(value, str) else value
    except UnsafeUrl as error:
        raise ValueError(f"cannot be used: {error}: keep it in a connection") from None


def _text_that(is_valid: Callable[[str], object], message: str) -> BeforeValidator:
    """Build a validator of texts. What ``is_valid`` raises as a ValueError is the message itself."""

    def check(value: object) -> object:
        if not isinstance(value, str) or not is_valid(value):
            raise ValueError(message)
        return value

    return BeforeValidator(check)


Bytes = Annotated[ByteSize, BeforeValidator(_check_size), Field(gt=0)]
Seconds = Annotated[float, BeforeValidator(_parse_seconds), Field(ge=0)]
Moment = Annotated[datetime, BeforeValidator(_parse_moment)]
Cooldown = Annotated[float | datetime, BeforeValidator(_parse_cooldown)]
"""Seconds; or the moment at which an index is frozen."""
Pattern = Annotated[str, _text_that(NamePatterns.is_valid, "must be a project name, where * stands for any characters")]
ReleaseText = Annotated[str, _text_that(parse_release, "must be a text")]
"""Read by :func:`wheelgate.core.patterns.parse_release`."""
SpecifierText = Annotated[
    str,
    _text_that(parse_specifier, 'must be a version such as "2.5.1" or a specifier such as ">=2,<3" (PEP 440)'),
]
"""Read by :func:`wheelgate.core.patterns.parse_specifier`."""
ProjectName = Annotated[str, BeforeValidator(_parse_project)]
HumanText = Annotated[
    str,
    _text_that(
        lambda text: text.strip() and len(text) <= 500 and text.isprintable(), "must be a text of one line, up to 500 characters"
    ),
]
"""A text for people to read."""
# What is not a reference may be the secret itself, so that the message does not repeat it.
Reference = Annotated[
    str,
    _text_that(
        lambda text: reference_parts(text) is not None,
        "must say where the secret is: env:NAME, file:PATH, keyvault:NAME or secret:NAME, never the secret itself",
    ),
]
PlainUrl = Annotated[str, BeforeValidator(_strip_user)]


def check_container_url(text: str) -> str | None:
    """Return what is wrong with the URL of a container in Azure Blob Storage, or ``None``."""
    hint = 'must be a folder ("file:./data") or a container ("https://ACCOUNT.blob.core.windows.net/CONTAINER")'
    if problem := check_url(text):
        return f"{hint}; this URL {problem}"
    url = parse(text)
    segments = [segment for segment in url.raw_path.split("/") if segment]
    emulator = is_emulator_host(url.host or "")
    if len(segments) < (2 if emulator else 1):
        return f"{hint}; this URL names no container"
    if url.scheme != "https" and not emulator:
        return "must be https: over http, anyone on the network could read the signed URLs, which are secrets"
    return None


def check_vault_url(text: str) -> str | None:
    """Return what is wrong with the URL of a key vault, which our identity's token is sent to, or ``None``."""
    if problem := check_url(text):
        return problem
    url = parse(text)
    host = url.host or ""
    if url.scheme != "https" or not (_VAULT_HOST.fullmatch(host) or is_loopback_host(host)) or url.raw_path.strip("/"):
        return "must be a key vault, such as https://NAME.vault.azure.net"
    return None


def check_proxy_url(text: str) -> str | None:
    """Return what is wrong with the URL of an outbound proxy, or ``None``."""
    if "@" in text:
        return "must not contain a user or password: store a connection for the proxy's URL instead"
    if problem := check_url(text):
        problem = "has no scheme" if suggest_url(text) else problem  # which one, nobody can tell of a proxy
        return f'must look like "http://proxy.example.com:3128"; this URL {problem}'
    return None if parse(text).raw_path == "/" else 'must look like "http://proxy.example.com:3128", without a path'


def check_url(text: str) -> str | None:
    """Return what is wrong with a URL that paths are appended to, or ``None``."""
    try:
        parse(text)
    except UnsafeUrl as error:
        meant = suggest_url(text)
        return f"cannot be used: {error}" if meant is None else f"has no scheme: write {meant}"
    if "?" in text or "#" in text:
        return "must end with its path, without a query or fragment"
    return None
