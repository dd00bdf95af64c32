"""The gate against the corpus: each upload is accepted, or refused in a sentence that names the member and the rule."""

from __future__ import annotations

import io
import random

import pytest

from tests.support.bounds import MIB, bounded
from tests.support.malformed import SOUND, UPLOADS, Upload
from wheelgate.distfiles.core_metadata import BadWheel
from wheelgate.distfiles.sdists import BadSdist, check_sdist
from wheelgate.distfiles.wheels import check_wheel


def check(body: bytes, filename: str) -> None:
    (check_wheel if filename.endswith(".whl") else check_sdist)(io.BytesIO(body), filename)


@pytest.mark.parametrize("upload", UPLOADS, ids=lambda upload: upload.id)
def test_each_upload_is_accepted_or_refused_as_the_table_says(upload: Upload) -> None:
    body = upload.build()
    if not upload.said:
        check(body, upload.filename)
        return
    with bounded(mib=48, seconds=10), pytest.raises((BadWheel, BadSdist)) as caught:
        check(body, upload.filename)
    assert upload.said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize("upload", UPLOADS, ids=lambda upload: upload.id)
def test_the_table_is_sound(upload: Upload) -> None:
    """What is accepted, both install; what both install is refused for a reason that is stated."""
    assert bool(upload.said) or (upload.pip and upload.uv)
    assert bool(upload.why) is (bool(upload.said) and upload.pip and upload.uv)


def test_of_several_faults_the_first_in_the_file_is_told() -> None:
    broken = next(upload for upload in UPLOADS if upload.id == "crc-wrong")
    body = broken.build()
    assert {_refusal(body) for _ in range(20)} == {"has an entry with a wrong checksum: 'acme.py'"}


def _refusal(body: bytes) -> str:
    with pytest.raises(BadWheel) as caught:
        check(body, "acme-1.0-py3-none-any.whl")
    return str(caught.value)


@pytest.mark.parametrize("upload", [each for each in SOUND if each.id != "large-and-flat"], ids=lambda upload: upload.id)
def test_a_sound_upload_with_any_bytes_changed_passes_or_is_refused(upload: Upload) -> None:
    """Nothing else than a refusal comes out of damaged files, wherever they are damaged; with few exceptions they are refused."""
    body, chance = upload.build(), random.Random(upload.id)
    passed = 0
    for _ in range(120):
        damaged = bytearray(body)
        for _ in range(chance.randint(1, 3)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            check(bytes(damaged), upload.filename)
            passed += 1
        except (BadWheel, BadSdist):
            pass
    assert passed < 60  # times, versions and permissions are nobody's business


@pytest.mark.parametrize("filename", ["acme-1.0-py3-none-any.whl", "acme-1.0.zip"])
@pytest.mark.parametrize("kept", [0, 1, 4, 21, 22, 100, 0.5, 0.9, -1])
def test_what_is_cut_short_is_refused(filename: str, kept: float) -> None:
    body = next(upload.build() for upload in SOUND if upload.filename == filename)
    end = int(kept) if kept >= 1 or kept < 0 else int(len(body) * kept)
    with pytest.raises((BadWheel, BadSdist), match="is not a whole zip file"):
        check(body[:end], filename)


@pytest.mark.long
def test_a_large_wheel_takes_little_memory() -> None:
    from tests.support.archives import Part, build_wheel

    part = Part("noise.bin", random.Random(1).randbytes(8 * MIB) * 12)
    body = build_wheel(part)
    with bounded(mib=24, seconds=60):
        check(body, "acme-1.0-py3-none-any.whl")
