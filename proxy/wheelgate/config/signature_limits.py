"""Limits that a shared access signature (SAS) states of itself, in its query: until when, for what, with which rights."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qs


def find_signature_problem(signature: str, now: datetime) -> str | None:
    """Find why a signature cannot serve a container, by what it says of itself; ``None``: nothing it says is against it.

    ``now``: aware, UTC. The answer completes "the SAS ..." and repeats neither signature nor address.
    """
    if "://" in signature:
        return "is a whole URL: give only what follows the ? in it"
    said = {name: values[0] for name, values in parse_qs(signature.removeprefix("?")).items()}
    if "sig" not in said:
        return "is none: it has no sig="
    for name, word in (("se", "ended"), ("st", "begins only")):
        moment = _read_moment(said.get(name, ""))
        if moment is not None and (moment <= now if name == "se" else moment > now):
            return f"{word} on {moment:%Y-%m-%d %H:%M}Z ({name}): make a new one"
    if said.get("sr") == "b":
        return "is for one blob (sr=b): make one for the container"
    if "ss" in said and "b" not in said["ss"]:
        return f"is not for blobs (ss={said['ss'][:8]})"
    if "srt" in said and not {"c", "o"} <= set(said["srt"]):
        return f"is not for containers and what is in them (srt={said['srt'][:8]}): it needs c and o"
    rights = said.get("sp", "rl")  # one that names a stored policy has its rights there
    lacking = [name for letter, name in (("r", "read"), ("l", "list")) if letter not in rights]
    return f"has no right to {' or '.join(lacking)} (sp={rights[:16]}): make one with r and l" if lacking else None


def _read_moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
