"""Base class of every section of the settings, the comparison of two of them, and the messages for invalid ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any, Self, get_args

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError
from pydantic_core.core_schema import ErrorType

# No secret looks like this; messages do not repeat anything else that stands in place of a word.
WORD = re.compile(r"[A-Za-z][A-Za-z0-9_. -]{0,29}")
_KNOWN_KINDS = frozenset(get_args(ErrorType))
_TABLES = ("source", "connection", "policy.merge", "policy.waiver")


class Section(BaseModel):
    """A part of the settings: frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> Self:
        problems = self.find_contradictions()
        if problems:
            raise PydanticCustomError("contradictions", "contradictions", {"problems": problems})
        return self

    @model_validator(mode="wrap")  # below the other, which it must contain
    @classmethod
    def _report_all(cls, given: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        """Report, beside the values that are invalid by themselves, what is wrong between the others."""
        try:
            return validate(given)
        except ValidationError as error:
            details = error.errors()
            wrong = {detail["loc"][0] for detail in details if detail["loc"]}
            if not wrong or not isinstance(given, dict) or any(isinstance(part, str) for it in details for part in it["loc"][1:]):
                raise
            rest = {key: value for key, value in given.items() if key not in wrong}
            more = _find_problems_between(validate, rest, wrong)
            raise ValidationError.from_exception_data(cls.__name__, [*map(_as_line, details), *more]) from None

    def find_contradictions(self) -> list[str]:
        """Find what is wrong between values that are valid by themselves; each message begins with the key path from here.

        Every section checks its own, so that a mistake in one does not hide mistakes in the others.
        """
        return []


def _find_problems_between(
    validate: Callable[[dict[str, Any]], object], rest: dict[str, Any], wrong: Collection[object]
) -> list[InitErrorDetails]:
    """Find the contradictions among settings that are valid, other than those that the invalid ones may have caused."""
    try:
        validate(rest)
    except ValidationError as error:
        for detail in error.errors():
            if detail["type"] == "contradictions":
                found = detail["ctx"]["problems"]
                kept = [
                    problem for problem in found if not any(re.search(rf"\b{re.escape(str(key))}\b", problem) for key in wrong)
                ]
                if kept:
                    return [_as_line({**detail, "ctx": {"problems": kept}})]
    return []


def _as_line(detail: ErrorDetails) -> InitErrorDetails:
    """Make an error anew, for raising it together with others."""
    kind, context = detail["type"], detail.get("ctx", {})
    what = kind if kind in _KNOWN_KINDS else PydanticCustomError(kind, detail["msg"], context)
    return InitErrorDetails(type=what, loc=detail["loc"], input=detail["input"], ctx=context)


def find_changed_keys(one: Section, other: Section) -> list[str]:
    """Key paths of the settings that differ: ``policy.deny``, ``source[1].fresh``; a list of another length as a whole."""
    changed: list[str] = []
    for name in type(one).model_fields:
        before, after = getattr(one, name), getattr(other, name)
        if before == after:
            continue
        if isinstance(before, Section) and isinstance(after, Section):
            changed += [f"{name}.{key}" for key in find_changed_keys(before, after)]
        elif _are_sections(before) and _are_sections(after) and len(before) == len(after):
            for index, (was, now) in enumerate(zip(before, after, strict=True)):
                changed += [f"{name}[{index}].{key}" for key in find_changed_keys(was, now)]
        else:
            changed.append(name)
    return changed


def _are_sections(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, Section) for item in value)


def format_errors(error: ValidationError, suggest: Callable[[tuple[int | str, ...]], str] = lambda _: "") -> list[str]:
    """Format a message for each problem. ``suggest``: what to add about an unknown setting at this location."""
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
            return [f"{path}: must be {context['expected']}{_show(detail['input'])}"]
        case "model_type":
            return [f"{path}: must be a section with settings of its own"]
        case "list_type":
            example = f"[[{path}]]" if path in _TABLES else f'{detail["loc"][-1]} = ["..."]'
            return [f"{path}: must be a list: write {example}"]
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input ").replace(" after validation", "")
    return [f"{path}: {message[0].lower()}{message[1:]}"]


def _show(given: object) -> str:
    return f", not {given!r}" if not isinstance(given, str) or WORD.fullmatch(given) else ""
