"""Base class of every section of the settings, and the comparison of two of them."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """A part of the settings: frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> Self:
        problems = self.find_contradictions()
        if problems:
            raise PydanticCustomError("contradictions", "contradictions", {"problems": problems})
        return self

    def find_contradictions(self) -> list[str]:
        """Find what is wrong between values that are valid by themselves; each message begins with the key path from here.

        Every section checks its own, so that a mistake in one does not hide mistakes in the others.
        """
        return []


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
