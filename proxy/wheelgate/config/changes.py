"""What is different between two readings of the settings."""

from __future__ import annotations

from wheelgate.config.section import Section


def changed_keys(one: Section, other: Section) -> list[str]:
    """Key paths of the settings that differ: ``policy.deny``, ``source[1].fresh``; a list of another length as a whole."""
    found: list[str] = []
    for name in type(one).model_fields:
        before, after = getattr(one, name), getattr(other, name)
        if before == after:
            continue
        if isinstance(before, Section) and isinstance(after, Section):
            found += [f"{name}.{key}" for key in changed_keys(before, after)]
        elif _are_sections(before) and _are_sections(after) and len(before) == len(after):
            for index, (was, now) in enumerate(zip(before, after, strict=True)):
                found += [f"{name}[{index}].{key}" for key in changed_keys(was, now)]
        else:
            found.append(name)
    return found


def _are_sections(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, Section) for item in value)
