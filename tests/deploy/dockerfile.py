"""A Dockerfile, read well enough to carry its steps out without a container engine."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import msgspec

ROOT = Path(__file__).parent.parent.parent
_PATHS = re.compile(r"(?<![\w./-])/(?:opt|src|dist|var|data)(?=[/\s\"']|$)")


class Instruction(msgspec.Struct, frozen=True):
    """``word`` in capitals, and what follows it, continuations joined."""

    word: str
    text: str

    @property
    def words(self) -> list[str]:
        """The text as a list: JSON where it is one, else split as a shell does; flags such as ``--from=`` left out."""
        rest = re.sub(r"^(?:--\S+\s+)+(?:CMD\s+)?", "", self.text)
        return list(json.loads(rest)) if rest.startswith("[") else shlex.split(rest)

    def flag(self, name: str) -> str | None:
        found = re.search(rf"--{name}=(\S+)", self.text)
        return found and found[1]


def stages() -> list[list[Instruction]]:
    """The instructions of each stage, the ``FROM`` first; what stands before all of them in front of the first one."""
    text = "\n".join(line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#"))
    found: list[list[Instruction]] = []
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if line.strip():
            word, _, rest = line.partition(" ")
            if word == "FROM" or not found:
                found.append([])
            found[-1].append(Instruction(word, rest.strip()))
    return found[1:]


def environment_of(stage: list[Instruction]) -> dict[str, str]:
    return dict(word.split("=", 1) for entry in stage if entry.word == "ENV" for word in entry.words)


def reaches_the_build(path: str) -> bool:
    """Whether ``.dockerignore`` lets a file of the top folder into the build; later lines win."""
    kept = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#") and fnmatch(path, line.removeprefix("!")):
            kept = line.startswith("!")
    return kept


def moved(text: str, image: Path) -> str:
    """The text with the image's absolute paths below a folder."""
    return _PATHS.sub(lambda match: f"{image}{match[0]}", text)


def carried_out(folder: Path, env: dict[str, str]) -> Path:
    """Every ``WORKDIR``, ``COPY`` and ``RUN`` done below a folder, a stage getting only what it copies: the last one's files."""
    image = folder / "image"
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys._base_executable)  # type: ignore[attr-defined]
    env = {**env, "PATH": f"{python.parent}:/usr/bin:/bin"}
    before = image
    for number, stage in enumerate(stages()):
        if number:
            before = folder / f"stage{number - 1}"
            image.rename(before)
        image.mkdir()
        at = image
        for entry in stage:
            if entry.word == "WORKDIR":
                at = Path(moved(entry.text, image))
                at.mkdir(parents=True)
            elif entry.word == "COPY":
                *sources, target = entry.words
                end = Path(moved(target, image)) if target.startswith("/") else at / target
                for source in sources:
                    _copy(Path(f"{before}{source}") if entry.flag("from") else ROOT / source, end)
            elif entry.word == "RUN":
                done = subprocess.run(
                    ["/bin/sh", "-c", moved(entry.text, image)], cwd=at, env=env, capture_output=True, text=True
                )
                assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return image


def _copy(origin: Path, end: Path) -> None:
    """As Docker does: the contents of a folder, or a file."""
    if origin.is_dir():
        shutil.copytree(origin, end, symlinks=True)
    else:
        shutil.copy(origin, end)
