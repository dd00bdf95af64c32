"""What every part of the settings is: frozen, closed to unknown keys, and the judge of its own contradictions."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """A part of the settings: frozen, and closed to keys that nobody knows."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        problems = self.contradictions()
        if problems:
            raise PydanticCustomError("contradictions", "contradictions", {"problems": problems})
        return self

    def contradictions(self) -> list[str]:
        """What is wrong between settings that have the right type each; a sentence each, beginning with the key path from here.

        Every section judges its own, so that one with a mistake in it hides no mistakes in the others.
        """
        return []
