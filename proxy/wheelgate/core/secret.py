"""Secrets, unprintable by type, and the references that stand for them in a configuration."""

from __future__ import annotations

import re

_REFERENCE = re.compile(r"(env|file|keyvault|secret):(.+)")


class Secret:
    """A value that no log line, error, page or ``repr`` will ever show; only :meth:`reveal` does, at the moment of use."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"

    def __reduce__(self) -> str:
        raise TypeError("a secret does not travel")


def reference_parts(reference: str) -> tuple[str, str] | None:
    """``("env", "NAME")`` or ``("file", "PATH")``; ``None`` if the text is no reference (and so perhaps a secret itself)."""
    match = _REFERENCE.fullmatch(reference)
    return (match[1], match[2]) if match else None
