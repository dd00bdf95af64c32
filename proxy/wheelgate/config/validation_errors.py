"""Messages for pydantic's validation errors, each beginning with the key path of the setting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

_TABLES = ("source", "connection", "policy.merge", "policy.waiver")


def format_errors(error: ValidationError, suggest: Callable[[tuple[int | str, ...]], str] = lambda _: "") -> list[str]:
    """A message for each problem. ``suggest``: what to add about an unknown setting at this location."""
    return [message for detail in error.errors() for message in _format(detail, suggest)]


def _format(detail: Any, suggest: Callable[[tuple[int | str, ...]], str]) -> list[str]:
    path = ""
    for part in detail["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    context = detail.get("ctx", {})
    match detail["type"]:
        case "contradictions":
            return [f"{path}.{problem}" if path else problem for problem in context["problems"]]
        case "extra_forbidden":
            return [f"{path}: unknown setting{suggest(detail['loc'])}"]
        case "missing":
            return [f"{path}: is missing"]
        case "literal_error":
            return [f"{path}: must be {context['expected']}, not {detail['input']!r}"]
        case "model_type":
            return [f"{path}: must be a section with settings of its own"]
        case "list_type":
            example = f"[[{path}]]" if path in _TABLES else f'{detail["loc"][-1]} = ["..."]'
            return [f"{path}: must be a list: write {example}"]
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input ").replace(" after validation", "")
    return [f"{path}: {message[0].lower()}{message[1:]}"]
