"""Whatever an installer reads of a wheel is read, as it stands there: whole, and by ranges."""

from __future__ import annotations

import asyncio
import io
import zipfile

import pytest

from tests.support.bounds import bounded
from tests.support.odd_wheels import CONTENTS, ELSEWHERE, OddWheel
from wheelgate.distfiles.core_metadata import BadWheel, CoreMetadata, NoMetadata, read_core_metadata
from wheelgate.distfiles.ranged_wheel import read_by_ranges
from wheelgate.distfiles.wheels import check_wheel


def read(body: bytes, filename: str) -> CoreMetadata:
    return read_core_metadata(io.BytesIO(body), filename)


@pytest.mark.parametrize("wheel", [*CONTENTS, *ELSEWHERE], ids=lambda wheel: wheel.id)
def test_what_an_installer_reads_is_read_as_it_stands_there(wheel: OddWheel) -> None:
    body = wheel.build()

    async def fetch(start: int, end: int) -> bytes:
        return body[start:end]

    if wheel.left or not wheel.is_installed:
        try:
            read(body, wheel.filename)
        except BadWheel as error:
            assert isinstance(error, NoMetadata), "the zip file is whole"
        else:
            assert not wheel.left
        return
    with bounded(mib=48, seconds=3):
        found = read(body, wheel.filename)
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        names = {name for name in archive.namelist() if name.endswith(".dist-info/METADATA") and name.count("/") == 1}
        assert found.body == archive.read(names.pop()), "of two entries of one name pip reads the last"
    assert asyncio.run(read_by_ranges(fetch, len(body), wheel.filename)) == found


@pytest.mark.parametrize(
    "odd",
    [
        *("name-encoded", "version-not-local", "metadata-twice", "metadata-bzip2", "metadata-lzma", "a-readme-as-a-field"),
        *("fields-of-2-mib", "variant", "bytes-before"),
    ],
)
def test_uploads_are_held_to_more(odd: str) -> None:
    wheel = next(wheel for wheel in CONTENTS if wheel.id == odd)
    with pytest.raises(BadWheel):
        check_wheel(io.BytesIO(wheel.build()), wheel.filename)
