"""Content negotiation: ``Accept`` to one of the three content types (PEP 691), ``Accept-Encoding`` to gzip or not."""

from __future__ import annotations

import re
from functools import lru_cache

from wheelgate.simple_api import HTML, JSON, LEGACY_HTML

_ALIASES = {
    "application/vnd.pypi.simple.latest+json": JSON,
    "application/vnd.pypi.simple.latest+html": HTML,
}
# Among types a client names with equal weight: JSON says most. Behind a wildcard or no header at all: what clients that
# know nothing else can read; pipenv parses HTML from `*/*`, and old pips refuse `...v1+html` if they said `text/html`.
_NAMED = (JSON, HTML, LEGACY_HTML)
_UNNAMED = (LEGACY_HTML, JSON, HTML)
_QVALUE = re.compile(r"\d+(\.\d*)?|\.\d+", re.ASCII)


@lru_cache(maxsize=256)
def content_type(accept: str | None) -> str:
    """Negotiate the content type. Nothing acceptable is never an error: uv stops at a 406, so HTML it is."""
    weights = dict(reversed(_ranges(accept or "*/*")))
    ranked = []
    for offer in _NAMED:
        # The quality of an offer is that of the most precise range that covers it (RFC 9110, 12.5.1).
        covering = (offer, offer.partition("/")[0] + "/*", "*/*")
        wanted = next((wanted for wanted in covering if wanted in weights), None)
        if wanted is not None and weights[wanted] > 0:
            order = _UNNAMED if wanted == "*/*" else _NAMED
            ranked.append((weights[wanted], -covering.index(wanted), -order.index(offer), offer))
    return max(ranked)[-1] if ranked else LEGACY_HTML


@lru_cache(maxsize=256)
def accepts_gzip(accept_encoding: str | None) -> bool:
    """True if the client takes gzip (RFC 9110, 12.5.3). Without the header: no."""
    weights = dict(_ranges(accept_encoding or ""))
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


def _ranges(header: str) -> tuple[tuple[str, float], ...]:
    found = []
    for item in header.split(",")[:64]:  # nobody honest names more
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        if name:
            found.append((_ALIASES.get(name, name), _quality(parameters)))
    return tuple(found)


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            value = value.strip()
            return min(float(value), 1.0) if _QVALUE.fullmatch(value) else 0.0
    return 1.0
