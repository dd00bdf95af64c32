"""The errors of the settings' library, as people read them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def sentences(detail: Any, suggest: Callable[[tuple[int | str, ...]], str] = lambda _: "") -> list[str]:
    """One of pydantic's errors as people read it."""
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
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input ").replace(" after validation", "")
    return [f"{path}: {message[0].lower()}{message[1:]}"]
