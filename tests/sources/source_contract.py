"""What every Source must do, whatever it reads. A test class inherits the suite and gives it a ``world`` fixture: the source,
and the levers that change what lies behind it.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Protocol

import pytest

from tests.support.packages import sdist_bytes, wheel_bytes, wheel_name
from tests.support.sources import filenames
from wheelgate.core.errors import ProjectNotFound, StoreError, UpstreamError
from wheelgate.core.names import is_safe_filename, normalise_name
from wheelgate.core.packed_names import PackedNames
from wheelgate.core.protocols import Source


class World(Protocol):
    """A source under test. What a lever changes is to be seen at the source's next answer: it moves what time it needs."""

    source: Source
    gives_digests: bool
    lists_names: bool

    async def publish(self, project: str, filename: str, body: bytes) -> None: ...
    async def remove(self, project: str) -> None: ...
    async def fail(self) -> None: ...
    async def mend(self) -> None: ...


async def publish_wheel(world: World, project: str, version: str) -> bytes:
    body = wheel_bytes(project, version)
    await world.publish(project, wheel_name(project, version), body)
    return body


class SourceContract:
    """Inherit, and define the fixture ``world``."""

    def test_it_has_a_name(self, world: World) -> None:
        assert normalise_name(world.source.name) == world.source.name

    async def test_a_page_lists_what_is_there(self, world: World) -> None:
        bodies = {wheel_name("acme-lib", version): await publish_wheel(world, "acme-lib", version) for version in ("1.0", "2.0")}
        bodies["acme_lib-2.0.tar.gz"] = sdist_bytes("acme-lib", "2.0")
        await world.publish("acme-lib", "acme_lib-2.0.tar.gz", bodies["acme_lib-2.0.tar.gz"])
        page = await world.source.project_page("acme-lib")
        assert page.project == "acme-lib"
        assert sorted(filenames(page)) == sorted(bodies)
        assert set(page.versions) >= {"1.0", "2.0"}
        assert page.as_of.tzinfo is not None
        assert not page.stale
        for file in page.files:
            assert (file.project, file.source) == ("acme-lib", page.files[0].source)
            assert is_safe_filename(file.filename)
            assert file.upload_time is None or file.upload_time.tzinfo is not None
            assert file.yanked is None
            if world.gives_digests:
                assert file.hashes["sha256"] == hashlib.sha256(bodies[file.filename]).hexdigest()
                assert file.size in (None, len(bodies[file.filename]))

    async def test_what_is_not_there_is_a_definite_not_found(self, world: World) -> None:
        await publish_wheel(world, "acme-lib", "1.0")
        for project in ("acme", "acme-lib-more", "nobody"):
            with pytest.raises(ProjectNotFound) as raised:
                await world.source.project_page(project)
            assert raised.value.outage_since is None
            assert project in str(raised.value)

    async def test_projects_do_not_mix(self, world: World) -> None:
        await publish_wheel(world, "acme", "1.0")
        await publish_wheel(world, "acme-lib", "2.0")
        assert filenames(await world.source.project_page("acme")) == [wheel_name("acme", "1.0")]
        assert filenames(await world.source.project_page("acme-lib")) == [wheel_name("acme-lib", "2.0")]

    async def test_names_are_those_of_projects_it_has(self, world: World) -> None:
        await publish_wheel(world, "acme-lib", "1.0")
        await publish_wheel(world, "other", "1.0")
        names = await world.source.project_names()
        assert isinstance(names, PackedNames)
        assert names == ({"acme-lib", "other"} if world.lists_names else frozenset())
        assert (await world.source.project_names()).revision == names.revision

    async def test_a_source_that_cannot_be_heard_never_says_not_there(self, world: World) -> None:
        await publish_wheel(world, "acme-lib", "1.0")
        await world.fail()
        for project in ("acme-lib", "nobody"):
            with pytest.raises((UpstreamError, StoreError)) as raised:
                await world.source.project_page(project)
            assert "\n" not in str(raised.value)
        await world.mend()
        assert filenames(await world.source.project_page("acme-lib")) == [wheel_name("acme-lib", "1.0")]

    async def test_the_same_files_are_the_same_object(self, world: World) -> None:
        """Finished pages are kept by it."""
        await publish_wheel(world, "acme-lib", "1.0")
        first = await world.source.project_page("acme-lib")
        assert (await world.source.project_page("acme-lib")).revision == first.revision

    async def test_a_new_file_appears_and_the_old_page_stays_as_it_was(self, world: World) -> None:
        await publish_wheel(world, "acme-lib", "1.0")
        before = await world.source.project_page("acme-lib")
        await publish_wheel(world, "acme-lib", "2.0")
        after = await world.source.project_page("acme-lib")
        assert sorted(filenames(after)) == [wheel_name("acme-lib", "1.0"), wheel_name("acme-lib", "2.0")]
        assert filenames(before) == [wheel_name("acme-lib", "1.0")]

    async def test_a_project_appears_and_disappears(self, world: World) -> None:
        with pytest.raises(ProjectNotFound):
            await world.source.project_page("acme-lib")
        await publish_wheel(world, "acme-stays", "1.0")  # a source that loses all it had is doubted
        await publish_wheel(world, "acme-lib", "1.0")
        assert (await world.source.project_page("acme-lib")).files
        await world.remove("acme-lib")
        with pytest.raises(ProjectNotFound):
            await world.source.project_page("acme-lib")

    async def test_many_at_once_get_one_answer(self, world: World) -> None:
        await publish_wheel(world, "acme-lib", "1.0")
        pages = await asyncio.gather(*(world.source.project_page("acme-lib") for _ in range(50)))
        assert {tuple(filenames(page)) for page in pages} == {(wheel_name("acme-lib", "1.0"),)}
