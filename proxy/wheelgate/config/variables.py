"""Variables of the environment that begin like ours, and those of them that mean nothing: a misspelt one must not be ignored."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping

from wheelgate.config.section import Section
from wheelgate.config.settings import Config

PREFIX = "WHEELGATE_"
_OTHERS = {f"{PREFIX}{name}" for name in ("CONFIG", "DATA", "TOKEN", "URL")}
"""Variables of commands, and the one setting without a section."""
_OF_A_SERVICE = re.compile(
    r"\w+_(SERVICE_HOST=.*|SERVICE_PORT(_\w+)?=.*|PORT=\w+://.*|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?=.*)", re.ASCII
)
"""Set by Kubernetes in every container for each service of its namespace; one may be called ``wheelgate``."""


def find_unknown_variables(environment: Mapping[str, str], settings: Iterable[object]) -> list[str]:
    """Find the variables that nothing reads: a problem for each. ``settings``: what may refer to variables (``env:NAME``)."""
    referred = set(_find_referred(list(settings)))
    unread = [
        name
        for name, value in sorted(environment.items())
        if name.startswith(PREFIX)
        and "__" not in name  # a setting: its own problem if there is none of that name
        and name not in _OTHERS | referred
        and not _OF_A_SERVICE.fullmatch(f"{name}={value}")
    ]
    return [f"{name}: unknown variable{_suggest(name)}" for name in unread]


def _find_referred(value: object) -> Iterator[str]:
    if isinstance(value, str):
        kind, _, name = value.partition(":")
        if kind == "env":
            yield name
    elif isinstance(value, Mapping):
        yield from _find_referred(list(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _find_referred(part)


def _suggest(name: str) -> str:
    known = {other.removeprefix(PREFIX): other for other in _OTHERS}
    for section, key in _list_settings():
        setting = f"{PREFIX}{section}__{key}".upper()
        known |= {key.upper(): setting, f"{section}_{key}".upper(): setting}
    close = difflib.get_close_matches(name.removeprefix(PREFIX), known, n=1, cutoff=0.7)
    return f"; did you mean {known[close[0]]}?" if close else "; settings are named like WHEELGATE_SERVER__PORT"


def _list_settings() -> Iterator[tuple[str, str]]:
    """List the sections that stand once, and their keys."""
    for section, field in Config.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from ((section, key) for key in field.annotation.model_fields)
