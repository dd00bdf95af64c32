"""Small uploads made to cost much time or memory: each is refused at once, in a sentence that names the member and the rule."""

from __future__ import annotations

import io
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.archives import METADATA, Part, build_sdist, build_wheel, pax, tar_file
from tests.support.bounds import bounded
from wheelgate.distfiles.build_requirements import UnknownBuildRequirements, build_requirements
from wheelgate.distfiles.core_metadata import BadWheel
from wheelgate.distfiles.member_names import MemberNames
from wheelgate.distfiles.sdists import BadSdist, check_sdist
from wheelgate.distfiles.wheels import check_wheel

WHEEL, SDIST = "acme-1.0-py3-none-any.whl", "acme-1.0.tar.gz"


def fields(more: bytes) -> bytes:
    return build_wheel(files={"METADATA": METADATA.partition(b"\n\n")[0].rstrip() + b"\n" + more})


def entry_points(body: bytes) -> bytes:
    return build_wheel(files={"entry_points.txt": body})


OR_LIST = b" or ".join([b"os_name=='x'"] * 250)
COSTLY = {
    "many-requirements": (fields(b'Requires-Dist: a>=1; python_version<"3"\n' * 19_000), "more than 2000 Requires-Dist"),
    "long-extras": (fields(b"Requires-Dist: a[" + b",".join([b"x"] * 300_000) + b"]\n"), "Requires-Dist longer than 4096"),
    "long-marker": (
        fields(b"Requires-Dist: a; " + b" or ".join([b"os_name=='x'"] * 50_000) + b"\n"),
        "Requires-Dist longer than",
    ),
    "all-of-them-long": (
        fields((b"Requires-Dist: a; " + OR_LIST + b"\n") * 240),
        "Requires-Dist are longer than 262144 characters",
    ),
    "nested": (
        fields(b"Requires-Dist: a; " + b"(" * 1_900 + b"os_name=='x'" + b")" * 1_900 + b"\n"),
        "Requires-Dist that pip refuses",
    ),
    "continued": (fields(b"X: a\n" + b" b\n" * 340_000), "more than 20000 lines of fields in its METADATA"),
    "tag-product": (
        build_wheel(files={"WHEEL": b"Wheel-Version: 1.0\nTag: " + b"-".join([b".".join([b"a"] * 20_000)] * 3) + b"\n"}),
        "does not state",
    ),
    "sections": (
        entry_points(b"".join(b"[s%d]\n" % number for number in range(10_000))),
        "entry_points.txt of more than 1000 sections",
    ),
    "long-script": (
        entry_points(b"[console_scripts]\na = a:b" + b" " * 900_000 + b"x\n"),
        "entry_points.txt' larger than 128 KiB",
    ),
    "egg-infos": (
        build_wheel(*(Part(f"x{number}.egg-info", b"Version: 1\n") for number in range(101))),
        "more than 100 .egg-info entries",
    ),
    "spaced-script": (entry_points(b"[console_scripts]\na = a:b" + b" " * 120_000 + b"x\n"), "names no function"),
}


@pytest.mark.parametrize("case", COSTLY)
def test_a_small_wheel_that_costs_much_time_is_refused_at_once(case: str) -> None:
    body, said = COSTLY[case]
    name = WHEEL if case != "tag-product" else "acme-1.0-py3-none-win32.whl"
    began_s = time.thread_time()
    with pytest.raises(BadWheel, match=said):
        check_wheel(io.BytesIO(body), name)
    assert time.thread_time() - began_s < 0.5


@pytest.mark.parametrize("line", [b"a%b = 1", b"[a%b]", b"a = {a%b = 1}"])
def test_a_small_sdist_that_costs_much_time_is_refused_at_once(line: bytes) -> None:
    project = line % (b".a" * 20_000)
    body = build_sdist(members=tar_file("acme-1.0/PKG-INFO", METADATA) + tar_file("acme-1.0/pyproject.toml", project))
    began_s = time.thread_time()
    with pytest.raises(BadSdist, match="a line of more than 500 dots"):
        check_sdist(io.BytesIO(body), SDIST)
    with pytest.raises(UnknownBuildRequirements, match="cannot be read"):
        build_requirements(io.BytesIO(body), SDIST)
    assert time.thread_time() - began_s < 0.5


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a/" * 2_500 + "f", "longer than 4096 bytes"),
        ("é" * 2_100, "longer than 4096 bytes"),
        ("a/" * 100 + "f", "more than 100 parts"),
    ],
)
def test_a_name_that_is_long_or_deep_is_refused(name: str, said: str) -> None:
    with bounded(mib=16, seconds=5), pytest.raises(BadWheel, match=said):
        check_wheel(io.BytesIO(build_wheel(Part(name, b""))), WHEEL)
    with bounded(mib=16, seconds=5), pytest.raises(BadSdist, match=said):
        check_sdist(io.BytesIO(build_sdist(pax(path=f"acme-1.0/{name}"), tar_file("acme-1.0/f", b""))), SDIST)


def test_a_few_hundred_bytes_do_not_take_the_memory_of_all_their_folders() -> None:
    body = build_sdist(pax(path="acme-1.0/" + "a/" * 20_000 + "f"), tar_file("acme-1.0/f", b""))
    with bounded(mib=16, seconds=5), pytest.raises(BadSdist, match="longer than 4096 bytes"):
        check_sdist(io.BytesIO(body), SDIST)


def test_all_names_together_are_bounded() -> None:
    names = MemberNames(BadSdist, folds_case=False)
    with bounded(mib=128, seconds=20), pytest.raises(BadSdist, match="all together"):
        for number in range(150_000):
            names.add(f"{number}/" + "a" * 38 + "/" + "b" * 4_000)


def test_one_folder_again_and_again_is_too_many_members() -> None:
    noise = tar_file("acme-1.0/noise", random.Random(1).randbytes(512 * 1024))  # or it would be a bomb
    body = build_sdist(noise, tar_file("acme-1.0/d/", kind=b"5") * 150_001)
    with pytest.raises(BadSdist, match="more than 150000 members"):
        check_sdist(io.BytesIO(body), SDIST)


def test_the_largest_sound_names_pass() -> None:
    assert check_wheel(io.BytesIO(build_wheel(Part("a/" * 99 + "f", b""), Part("b" * 4_096, b""))), WHEEL)


def test_helpers_find_what_the_check_alone_finds() -> None:
    body = build_wheel(*(Part(f"m{number}.bin", bytes(1024 * 1024), method=8) for number in range(6)))
    with ThreadPoolExecutor(2) as helpers:
        assert check_wheel(io.BytesIO(body), WHEEL, helpers) == check_wheel(io.BytesIO(body), WHEEL)
