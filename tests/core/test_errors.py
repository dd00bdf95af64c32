"""The drawing of the exception hierarchy is the hierarchy."""

from __future__ import annotations

from collections.abc import Iterator

from wheelgate.core import errors


def drawn(kind: type[Exception], depth: int = 0) -> Iterator[str]:
    yield f"{'  ' * depth}* {kind.__name__}"
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from drawn(below, depth + 1)


def test_the_module_draws_its_exceptions() -> None:
    lines = [line for line in (errors.__doc__ or "").splitlines() if line.lstrip().startswith("* ")]
    assert lines == list(drawn(errors.WheelgateError))
