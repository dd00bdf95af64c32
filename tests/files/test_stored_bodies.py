"""What is remembered of bodies that were read from a store."""

from __future__ import annotations

from tests.support.clock import FakeClock
from wheelgate.files.stored_bodies import BodyProofs

BLOB = ("store", "packages/demo/demo-1.0.tar.gz", "etag")


def test_one_wrong_reading_condemns_nothing_for_good(clock: FakeClock) -> None:
    """Storage was seen to deliver wrong bytes once: later it is read again, ever more seldom while it stays wrong."""
    proofs, waited = BodyProofs(clock.monotonic), []
    for _ in range(12):
        proofs.note(*BLOB, is_right=False)
        began = clock.monotonic()
        while proofs.get(*BLOB) is False:
            clock.move(1)
        assert proofs.get(*BLOB) is None
        waited.append(clock.monotonic() - began)
    assert waited[:4] == [4, 8, 16, 32]
    assert waited[-1] == 600
    proofs.note(*BLOB, is_right=True)
    assert proofs.get(*BLOB) is True
    proofs.note(*BLOB, is_right=False)
    clock.move(4)
    assert proofs.get(*BLOB) is None, "a right reading wipes the slate"
