"""A mirror in a folder is served with what its manifest says of each file."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.clock import FakeClock
from tests.support.packages import sdist_bytes, sha256, wheel_bytes, wheel_name
from wheelgate.core.errors import ProjectNotFound, StoreError, WheelgateError
from wheelgate.core.model import File
from wheelgate.sources.directory import RESCAN_S, Directory
from wheelgate.sources.mirror_facts import MANIFEST_NAME

WHEEL, SDIST = wheel_name("demo", "1.0"), "demo-1.0.tar.gz"
BODIES = {WHEEL: wheel_bytes("demo", "1.0", requires_python=">=3.6"), SDIST: sdist_bytes("demo", "1.0")}
TOLD = {"upload_time": "2024-05-06T07:08:09Z", "requires_python": ">=3.8", "yanked": "it broke"}


class Mirror:
    def __init__(self, root: Path, clock: FakeClock, *, by_project: bool = False) -> None:
        self.root, self.clock = root, clock
        for name, body in BODIES.items():
            (root / "demo").mkdir(parents=True, exist_ok=True)
            (root / "demo" / name).write_bytes(body)
        self.source = Directory(name="mirror", root=root, clock=clock, by_project=by_project)

    def say(self, **facts: str | None) -> None:
        """Write the manifest anew, as `wheelgate mirror` puts it in place: a file of its own."""
        files = [
            {
                "path": f"demo/{name}",
                "sha256": sha256(body),
                "size": len(body),
                "source": "pypi",
                "stored": "2025-01-01T00:00:00Z",
            }
            | {key: value for key, value in facts.items() if value is not None}
            for name, body in BODIES.items()
        ]
        self.write(json.dumps({"wheelgate_mirror": 1, "inputs": {}, "files": files}))

    def write(self, text: str) -> None:
        (self.root / "new").write_text(text)
        (self.root / "new").replace(self.root / MANIFEST_NAME)
        self.clock.move(RESCAN_S)

    async def files(self, project: str = "demo") -> dict[str, File]:
        return {file.filename: file for file in (await self.source.project_page(project)).files}


@pytest.fixture
def mirror(tmp_path: Path, clock: FakeClock) -> Mirror:
    return Mirror(tmp_path / "bundle", clock)


async def test_the_page_says_what_the_manifest_knows_and_follows_it(mirror: Mirror) -> None:
    plain = await mirror.files()
    assert [(file.yanked, file.requires_python) for file in plain.values()] == [(None, ">=3.6"), (None, None)]
    mirror.say(**TOLD)
    for file in (await mirror.files()).values():
        assert (file.yanked, file.requires_python) == ("it broke", ">=3.8")
        assert file.upload_time == datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
    mirror.say()
    assert [(file.yanked, file.requires_python) for file in (await mirror.files()).values()] == [(None, ">=3.6"), (None, None)]
    mirror.say(yanked="")
    assert [file.yanked for file in (await mirror.files()).values()] == ["", ""]
    (mirror.root / MANIFEST_NAME).unlink()
    mirror.clock.move(RESCAN_S)
    assert await mirror.files() == plain


async def test_a_moment_that_is_none_in_utc_says_nothing(mirror: Mirror) -> None:
    plain = await mirror.files()
    mirror.say(upload_time="0001-01-01T00:00:00+14:00", yanked="")
    assert [file.upload_time for file in (await mirror.files()).values()] == [file.upload_time for file in plain.values()]


@pytest.mark.parametrize("more", [b"", b"\1"], ids=["one size", "another size"])
async def test_a_file_of_other_bytes_than_it_vouches_for_is_withheld(mirror: Mirror, more: bytes) -> None:
    mirror.say(**TOLD)
    (mirror.root / "demo" / SDIST).write_bytes(BODIES[SDIST][:-1] + b"\1" + more)
    page = await mirror.source.project_page("demo")
    assert [(file.filename, file.yanked) for file in page.files] == [(WHEEL, "it broke")]
    (withheld,) = page.withheld
    assert (withheld.filename, withheld.rule) == (SDIST, "digest")
    assert "vouches for" in withheld.reason


async def test_a_file_that_was_not_read_yet_is_listed_with_the_digest_it_should_have(tmp_path: Path, clock: FakeClock) -> None:
    mirror = Mirror(tmp_path / "bundle", clock)
    mirror.source = Directory(name="mirror", root=mirror.root, clock=clock, inline_bytes=0)
    mirror.say(**TOLD)
    assert {name: file.hashes for name, file in (await mirror.files()).items()} == {
        name: {"sha256": sha256(body)} for name, body in BODIES.items()
    }
    await mirror.source.close()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is damaged"),
        ('{"wheelgate_mirror": 3}', "has version 3"),
        ('{"wheelgate_mirror": 1, "files": [{"path": "demo/x"}]}', "is damaged"),
        ('{"wheelgate_mirror": 1, "files": [{"path": "a", "sha256": "", "size": 1}]}', "is damaged"),
    ],
)
async def test_a_manifest_that_cannot_be_read_lets_nothing_yanked_through(mirror: Mirror, text: str, said: str) -> None:
    mirror.say(**TOLD)
    await mirror.files()
    mirror.write(text)
    with pytest.raises(WheelgateError, match=said) as raised:
        await mirror.files()
    assert isinstance(raised.value, StoreError)
    mirror.say(**TOLD)
    assert (await mirror.files())[WHEEL].yanked == "it broke"


async def test_by_project_only_what_lies_in_its_project_counts(tmp_path: Path, clock: FakeClock) -> None:
    mirror = Mirror(tmp_path / "bundle", clock, by_project=True)
    for path in ("other-1.0.tar.gz", "more/other-1.0.tar.gz", "demo/deep/demo-2.0.tar.gz", "demo/other-2.0.tar.gz"):
        (mirror.root / path).parent.mkdir(parents=True, exist_ok=True)
        (mirror.root / path).write_bytes(b"x")
    assert set(await mirror.files()) == {WHEEL, SDIST}
    assert sorted(await mirror.source.project_names()) == ["demo", "more"], "what lies wrong in a folder keeps its name private"
    with pytest.raises(ProjectNotFound):
        await mirror.files("other")
