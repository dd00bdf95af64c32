"""Worlds of a private source: whether it passes public packages through, and whether the settings say so."""

from __future__ import annotations

from wheelgate.cli.checks.findings import Finding
from wheelgate.cli.checks.subjects import Subject


async def describe_passing(subject: Subject) -> list[Finding]:
    """Ask a source of which nobody said what it passes through for public names; of any other, repeat what was said."""
    if subject.public_names is not None:
        doubt = await subject.public_names.find_doubt()
        if doubt is None or not doubt.is_certain:
            return []  # that it cannot be asked is another finding
        cause = doubt.cause.removeprefix(f"source {subject.name} ")
        then = "so nothing more of it is claimed, and names that it has not claimed yet are refused"
        is_configured = bool(subject.key)  # else it was named to try a connection, which does work
        return [subject.find("passing", f"{cause}, {then}: {doubt.remedy}", ok=not is_configured, doubtful=not is_configured)]
    if subject.settings is None or not subject.settings.passes_through:
        return []
    own = ", ".join(subject.settings.only or ())
    if own:
        return [subject.find("passing", f"passes public packages through; its own are {own}, and what it claimed before")]
    said = (
        "passes public packages through, and its settings name none of its own: list them in "
        f"{subject.setting('only')} or policy.reserved, or nothing that it has not claimed yet is protected"
    )
    return [subject.find("passing", said, doubtful=True)]
