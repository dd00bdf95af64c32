"""The interface of a fuzz target, the judge of one input, and the inputs that are kept."""

from __future__ import annotations

import importlib
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

FOLDER = Path(__file__).parent
KEPT = FOLDER / "corpus"
"""Inputs that broke something once, by target; they are replayed in every run of the tests."""
CANARY = "C4nary!S3cret"
"""Stands where a credential stands. No message may repeat it; no reader can take it for a name."""
_SLOWEST_S = 2.0
_LONGEST = 2_000
_ROOM = "wheelgate"


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One entry point that bytes of strangers reach."""

    check: Callable[[bytes], None]
    """Hands an input to the entry point. Returns if what came out may come out, a refusal of the room's own included;
    raises an :class:`AssertionError` or whatever the entry point should not have raised."""
    modules: tuple[str, ...]
    """The modules whose coverage counts."""
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...] = ()
    """Words of the input's language."""
    examples: int = 100
    """Inputs a test run tries beside seeds and kept ones."""
    max_bytes: int = 4_096


def names() -> list[str]:
    """Names of all targets."""
    return sorted(path.stem for path in (FOLDER / "targets").glob("*.py"))


def load(name: str) -> Target:
    """Import a target by its name, and with it what it tests."""
    target: Target = importlib.import_module(f"tests.fuzzing.targets.{name}").TARGET
    return target


def kept_inputs(name: str) -> dict[str, bytes]:
    """Inputs that broke a target once, by file name."""
    folder = KEPT / name
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())} if folder.is_dir() else {}


def try_input(target: Target, data: bytes) -> None:
    """Run one input, which must also end in time: CPU time of this process, so that a busy machine changes nothing."""
    began = time.process_time()
    target.check(data)
    took = time.process_time() - began
    assert took < _SLOWEST_S, f"{len(data)} bytes take {took:.1f} s"


class Failure(msgspec.Struct, frozen=True):
    """What is wrong with an input."""

    where: str
    """The kind of error and the line it came from: the same for inputs that fail alike."""
    message: str


def find_failure(target: Target, data: bytes) -> Failure | None:
    """Try an input; ``None``: nothing is wrong with it."""
    try:
        try_input(target, data)
    except Exception as error:  # whatever it is: it should not have come out
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if _ROOM in Path(frame.filename).parts]
        at = frames[-1] if isinstance(error, AssertionError) or not ours else ours[-1]
        return Failure(f"{type(error).__name__} at {Path(at.filename).name}:{at.lineno} in {at.name}", str(error)[:300])
    return None


def shrink(data: bytes, still_fails: Callable[[bytes], bool], seconds: float = 5.0) -> bytes:
    """Take away what the failure does not need, piece by piece, as far as the time goes."""
    end = time.monotonic() + seconds
    size = max(1, len(data) // 2)
    while size:
        at = 0
        while at < len(data) and time.monotonic() < end:
            shorter = data[:at] + data[at + size :]
            if still_fails(shorter):
                data = shorter
            else:
                at += size
        size //= 2
    return data


def assert_sentence(sentence: str) -> None:
    """Assert that a refusal is a sentence for people: not empty, not a page long, without the canary.

    Control characters that it repeats are removed where it leaves: in ``web/errors.py`` and ``cli/__init__.py``.
    """
    assert sentence.strip(), "an empty sentence"
    assert len(sentence) < _LONGEST, f"a message of {len(sentence)} characters"
    assert CANARY not in sentence, "a message repeats a secret"


def assert_sentences(sentences: Iterable[str]) -> None:
    """Assert the same of several."""
    for sentence in sentences:
        assert_sentence(sentence)
