"""Accepting a file: checked against itself, its name and everyone else who has the name; in the right order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path

import pytest

from tests.support.attestations import attestation
from tests.support.clock import FakeClock
from tests.support.packages import metadata, sdist_bytes, sha256, wheel_bytes, wheel_name
from tests.support.sources import FakeSource, counted, filenames
from tests.support.stores import MemoryStore, WatchedStore
from wheelgate.core.errors import (
    BlobNotFound,
    FileExists,
    NameTaken,
    ProjectNotFound,
    StoreError,
    UploadRefused,
    UpstreamBadAnswer,
    UpstreamUnavailable,
)
from wheelgate.core.patterns import NamePatterns
from wheelgate.index.decision import Member, MergeRule
from wheelgate.index.merged import Merged
from wheelgate.runtime.metrics import Metrics
from wheelgate.sources.blob_packages import BlobPackages
from wheelgate.sources.cached import Cached
from wheelgate.storage import layout
from wheelgate.storage.change_log import Change, Kind
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.claims import Claims
from wheelgate.storage.local import LocalStore
from wheelgate.storage.tombstones import Tombstones
from wheelgate.uploads.accept import AcceptedUpload, Destination, Uploads
from wheelgate.uploads.checks import ReceivedFile

NAME = "acme-lib"
WHEEL = wheel_name(NAME, "1.0")
BODY = wheel_bytes(NAME, "1.0", requires_python=">=3.9")
PATH = layout.package(NAME, WHEEL)


class Gate:
    """Uploads into a store of its own, beside a private feed and a public index."""

    def __init__(
        self,
        folder: Path,
        clock: FakeClock,
        *,
        order: tuple[str, ...] = ("uploads", "team", "pypi"),
        merge: tuple[str, ...] = (),
        reserved: tuple[str, ...] = (),
        source: str | None = "uploads",
        writable: Mapping[str, tuple[str, ...] | None] | None = None,
    ) -> None:
        """``writable``: what may be written in place of ``uploads``, and what each is for."""
        self.folder = folder
        self._numbers = count()
        self.local = LocalStore(folder / "store")
        self.local.prepare()
        self.store = WatchedStore(self.local)
        self.team, self.pypi = FakeSource("team", clock), FakeSource("pypi", clock)
        self.metrics = Metrics()
        self.changes = StoreChanges(self.store, clock)
        self.claims = Claims(self.store, clock, self.changes)
        packages = BlobPackages(
            name="uploads", store=self.store, prefix=layout.PACKAGES, clock=clock, tombstones=Tombstones(self.store)
        )
        forever = float("inf")
        self.packages = Cached(packages, clock=clock, metrics=self.metrics, fresh_s=forever, negative_ttl_s=forever)
        self.changes.subscribe(Kind.PACKAGE, self.packages.drop)
        self.box = WatchedStore(MemoryStore())
        boxed = BlobPackages(name="box", store=self.box, prefix="", clock=clock)
        members = {
            "box": Member(boxed, private=True),
            "uploads": Member(self.packages, private=True),
            "team": Member(self.team, private=True),
            "pypi": Member(self.pypi, private=False),
        }
        self.index = Merged(
            [members[name] for name in order],
            claims=self.claims,
            clock=clock,
            metrics=self.metrics,
            reserved=NamePatterns(reserved),
            merges=[MergeRule(NamePatterns(["*"]), merge)] if merge else [],
        )
        places = {"uploads": (self.store, layout.PACKAGES), "box": (self.box, "")}
        writable = writable if writable is not None else ({source: None} if source else {})
        self.uploads = Uploads(
            store=self.store,
            targets=[
                Destination(name, *places[name], None if only is None else NamePatterns(only)) for name, only in writable.items()
            ],
            index=self.index,
            claims=self.claims,
            changes=self.changes,
            clock=clock,
            metrics=self.metrics,
        )

    async def upload(
        self, body: bytes = BODY, filename: str = WHEEL, *, take_over: bool = False, attestations: str | None = None
    ) -> AcceptedUpload:
        spooled = self.folder / f"spooled-{next(self._numbers)}"
        spooled.write_bytes(body)
        return await self.uploads.accept(ReceivedFile(spooled, filename, sha256(body), attestations), take_over=take_over)

    async def holds(self, path: str = PATH) -> bool:
        try:
            await self.local.info(path)
        except BlobNotFound:
            return False
        return True


@pytest.fixture
def make(tmp_path: Path, clock: FakeClock) -> Callable[..., Gate]:
    def made(name: str = "gate", **options: object) -> Gate:
        (tmp_path / name).mkdir()
        return Gate(tmp_path / name, clock, **options)  # type: ignore[arg-type]

    return made


@pytest.fixture
def gate(make: Callable[..., Gate]) -> Gate:
    return make()


# --- a good file


async def test_an_accepted_wheel_is_stored_claimed_described_and_on_its_page(gate: Gate, clock: FakeClock) -> None:
    with pytest.raises(ProjectNotFound):
        await gate.index.project_page(NAME)
    accepted = await gate.upload()
    assert accepted == AcceptedUpload(NAME, WHEEL, sha256(BODY), new=True)
    described = metadata(NAME, "1.0", requires_python=">=3.9")
    assert (await gate.local.read(PATH))[0] == BODY
    assert (await gate.local.read(layout.metadata(sha256(BODY))))[0] == described
    (file,) = (await gate.index.project_page(NAME)).files
    assert (file.hashes, file.size) == ({"sha256": sha256(BODY)}, len(BODY))
    assert (file.upload_time, file.requires_python) == (clock.now(), ">=3.9")
    assert file.core_metadata == {"sha256": sha256(described)}
    assert await gate.claims.holds(NAME)
    assert counted(gate.metrics, "uploads", outcome="stored") == 1


async def test_an_sdist_is_accepted_without_metadata(gate: Gate) -> None:
    await gate.upload(sdist_bytes(NAME, "1.0"), "acme_lib-1.0.tar.gz")
    (file,) = (await gate.index.project_page(NAME)).files
    assert file.core_metadata is None


async def test_the_claim_and_the_metadata_are_written_before_the_file_each_announced_before_it_is_there(gate: Gate) -> None:
    await gate.upload()
    metadata = layout.metadata(sha256(BODY))
    said = layout.CHANGED
    assert gate.store.written == [said, layout.claim(NAME), metadata, PATH, said]


async def test_a_further_version_is_written_behind_its_metadata_and_the_word_of_it(gate: Gate) -> None:
    await gate.upload()
    further = wheel_bytes(NAME, "2.0")
    gate.store.calls.clear()
    await gate.upload(further, wheel_name(NAME, "2.0"))
    *before, file, said = gate.store.written
    assert sorted(before) == sorted([layout.CHANGED, layout.metadata(sha256(further))]), "the name is claimed: in any order"
    assert (file, said) == (layout.package(NAME, wheel_name(NAME, "2.0")), layout.CHANGED)


@pytest.mark.parametrize("step", ["claims/", "metadata/", "packages/", layout.CHANGED])
async def test_an_upload_that_fails_at_any_step_is_an_error_and_succeeds_when_tried_again(gate: Gate, step: str) -> None:
    methods = ("put_if_absent", "replace_if")
    gate.store.fails = lambda method, path: method in methods and path.startswith(step)
    with pytest.raises(StoreError):
        await gate.upload()
    assert not await gate.holds(), "an upload that failed is not there"
    gate.store.up()
    assert (await gate.upload()).new
    assert filenames(await gate.index.project_page(NAME)) == [WHEEL]


@pytest.mark.parametrize("step", ["claims/", "metadata/", "packages/", layout.CHANGED])
async def test_an_upload_whose_answer_from_the_store_was_lost_succeeds_when_tried_again(gate: Gate, step: str) -> None:
    with pytest.raises(ProjectNotFound):
        await gate.index.project_page(NAME)  # its absence is remembered until the store announces a change
    gate.store.loses_answer = lambda method, path: method in ("put_if_absent", "replace_if") and path.startswith(step)
    with pytest.raises(StoreError):
        await gate.upload()
    gate.store.loses_answer = lambda method, path: False
    assert (await gate.upload()).sha256 == sha256(BODY)
    assert (await gate.local.read(PATH))[0] == BODY
    assert filenames(await gate.index.project_page(NAME)) == [WHEEL]


async def test_a_file_whose_uploader_dies_once_it_is_stored_appears_everywhere_all_the_same(gate: Gate, clock: FakeClock) -> None:
    other = StoreChanges(WatchedStore(gate.local), clock)
    told: list[str | None] = []
    other.subscribe(Kind.PACKAGE, told.append)
    await other.look()
    gate.store.loses_answer = lambda method, path: path == PATH
    with pytest.raises(StoreError):
        await gate.upload()
    assert await gate.holds()
    await other.look()
    assert told[-1:] == [NAME]


async def test_bytes_that_took_the_name_of_a_file_being_deleted_are_shown_to_nobody(gate: Gate) -> None:
    """Stored between the deletion and the uploader's second look at the tombstone, and then the uploader died."""
    await gate.upload()
    other = wheel_bytes(NAME, "1.0", requires=["idna"])
    await gate.local.put_if_absent(layout.tombstone(NAME, WHEEL), sha256(BODY).encode(), {})
    await gate.local.delete(PATH)
    await gate.local.put_if_absent(PATH, other, {"sha256": sha256(other)})
    gate.changes.emit(Change(Kind.PACKAGE, NAME))
    with pytest.raises(ProjectNotFound):
        await gate.packages.project_page(NAME)
    with pytest.raises(FileExists, match="only the same bytes may return"):
        await gate.upload(other)
    assert (await gate.upload()).new, "they give way to those that the name is kept for"
    assert (await gate.local.read(PATH))[0] == BODY
    assert filenames(await gate.packages.project_page(NAME)) == [WHEEL]


@pytest.mark.parametrize("body", [b"", b"nonsense", b"0" * 10_000])
async def test_a_damaged_tombstone_keeps_its_name_from_everybody_and_no_other(
    gate: Gate, caplog: pytest.LogCaptureFixture, body: bytes
) -> None:
    path = layout.tombstone(NAME, WHEEL)
    await gate.local.put_if_absent(path, body, {})
    with pytest.raises(FileExists):
        await gate.upload()
    assert f"{path} is damaged" in caplog.text
    assert (await gate.upload(wheel_bytes(NAME, "2.0"), "acme_lib-2.0-py3-none-any.whl")).new


# --- the same name again


async def test_the_same_bytes_again_are_known(gate: Gate, clock: FakeClock) -> None:
    await gate.upload()
    before = await gate.local.info(PATH)
    clock.move(60)
    assert await gate.upload() == AcceptedUpload(NAME, WHEEL, sha256(BODY), new=False)
    assert await gate.local.info(PATH) == before
    assert counted(gate.metrics, "uploads", outcome="known") == 1


async def test_other_bytes_are_refused_in_the_words_upload_tools_look_for(gate: Gate) -> None:
    await gate.upload()
    other = wheel_bytes(NAME, "1.0", requires=["idna"])
    with pytest.raises(FileExists) as raised:
        await gate.upload(other)
    assert str(raised.value).startswith("File already exists ('acme_lib-1.0-py3-none-any.whl', with sha256 hash ")
    assert sha256(BODY) in str(raised.value)
    assert (await gate.local.read(PATH))[0] == BODY
    assert counted(gate.metrics, "uploads", outcome="refused") == 1


async def test_a_deleted_file_may_return_as_it_was_and_not_otherwise(gate: Gate) -> None:
    await gate.upload()
    await gate.local.delete(PATH)
    await gate.local.put_if_absent(layout.tombstone(NAME, WHEEL), f"{sha256(BODY)}\n".encode(), {})
    with pytest.raises(FileExists, match="was deleted, and only the same bytes may return"):
        await gate.upload(wheel_bytes(NAME, "1.0", requires=["idna"]))
    assert not await gate.holds()
    assert (await gate.upload()).new


async def test_a_name_that_others_took_and_deleted_while_we_uploaded_is_not_ours(gate: Gate) -> None:
    other = sha256(b"other bytes").encode()

    def race(method: str, path: str) -> None:
        tombstone = gate.local.root / layout.tombstone(NAME, WHEEL)
        if (method, path) == ("put_if_absent", PATH):
            tombstone.parent.mkdir(parents=True)
            tombstone.write_bytes(other)

    gate.store.before = race
    with pytest.raises(FileExists, match="was deleted, and only the same bytes may return"):
        await gate.upload()
    assert not await gate.holds()


async def test_of_two_uploads_at_once_with_the_same_bytes_both_succeed(gate: Gate) -> None:
    first, second = await asyncio.gather(gate.upload(), gate.upload())
    assert {first.new, second.new} == {True, False}
    assert first.sha256 == second.sha256


async def test_of_two_uploads_at_once_with_different_bytes_one_succeeds(gate: Gate) -> None:
    bodies = [BODY, wheel_bytes(NAME, "1.0", requires=["idna"])]
    outcomes = await asyncio.gather(*map(gate.upload, bodies), return_exceptions=True)
    (won,) = [outcome for outcome in outcomes if isinstance(outcome, AcceptedUpload)]
    (lost,) = [outcome for outcome in outcomes if isinstance(outcome, FileExists)]
    body, info = await gate.local.read(PATH)
    assert sha256(body) == won.sha256 == info.facts["sha256"]
    assert won.sha256 in str(lost)
    assert bodies[outcomes.index(won)] == body
    (file,) = (await gate.index.project_page(NAME)).files
    assert file.core_metadata is not None
    kept = (await gate.local.read(layout.metadata(won.sha256)))[0]
    assert file.core_metadata["sha256"] == sha256(kept), "and the metadata is the winner's"


async def test_a_file_deleted_in_the_middle_of_the_race_is_not_called_stored(gate: Gate) -> None:
    await gate.upload(wheel_bytes(NAME, "2.0"), wheel_name(NAME, "2.0"))

    def race(method: str, path: str) -> None:
        taken = gate.local.root / PATH
        if (method, path) == ("put_if_absent", PATH):
            taken.write_bytes(BODY)  # somebody was faster
        elif (method, path) == ("info", PATH) and taken.exists():
            taken.unlink()  # and thought better of it

    gate.store.before = race
    with pytest.raises(StoreError, match="was deleted during the upload: try again"):
        await gate.upload()


# --- what is no package


@pytest.mark.parametrize(
    "filename",
    [
        "../acme_lib-1.0-py3-none-any.whl",
        "acme_lib-1.0-py3-none-any.whl.metadata",
        "acme_lib..1.0.tar.gz",
        "acme_lib-1.0-py3-none-any.whl\n",
        "a/b-1.0.tar.gz",
        "%2e%2e-1.0.tar.gz",
        "",
        ".",
        "x" * 300 + "-1.0.tar.gz",
        "acme_lib-1.0.egg",
        "acme_lib.whl",
        "acme_lib-1.0.whl",
        "acme_lib-one-py3-none-any.whl",
        "acme_lib.tar.gz",
        "readme.txt",
        "_acme-1.0-py3-none-any.whl",
        "acme+lib-1.0.tar.gz",
        "acme lib-1.0.tar.gz",
    ],
)
async def test_a_name_that_is_no_packages_is_refused_before_anything_is_written(gate: Gate, filename: str) -> None:
    with pytest.raises(UploadRefused) as raised:
        await gate.upload(BODY, filename)
    assert "\n" not in str(raised.value)
    assert gate.store.calls == []


@pytest.mark.parametrize(
    ("body", "filename", "said"),
    [
        (b"", WHEEL, "is not a whole zip file"),
        (b"PK\x03\x04 and then nothing", WHEEL, "is not a whole zip file"),
        (BODY[:-30], WHEEL, "is not a whole zip file"),
        (BODY, wheel_name(NAME, "2.0"), "is named for version 2.0, but its METADATA says '1.0'"),
        (BODY, wheel_name("other", "1.0"), "is named for other, but its METADATA says 'acme-lib'"),
        (wheel_bytes(NAME, "1.0", metadata_body=b"Name: evil\nVersion: 1.0\n"), WHEEL, "its METADATA says 'evil'"),
        (b"not gzip", "acme_lib-1.0.tar.gz", "is not a whole gzip file"),
        (sdist_bytes(NAME, "1.0")[:-10], "acme_lib-1.0.tar.gz", "is not a whole gzip file"),
        (sdist_bytes("other", "1.0"), "acme_lib-1.0.tar.gz", "holds the folder"),
    ],
)
async def test_a_file_that_is_not_what_its_name_says_is_refused(gate: Gate, body: bytes, filename: str, said: str) -> None:
    with pytest.raises(UploadRefused, match=said) as raised:
        await gate.upload(body, filename)
    assert str(raised.value).startswith(f"{filename} cannot be accepted: it ")
    assert gate.store.calls == []
    assert counted(gate.metrics, "uploads", outcome="refused") == 1


async def test_what_is_no_file_any_more_is_not_read(gate: Gate) -> None:
    spooled = gate.folder / "spooled"
    spooled.symlink_to("/dev/null")  # in its place since it was written
    with pytest.raises(StoreError, match=f"{WHEEL} cannot be read: it is a device, not a file"):
        await gate.uploads.accept(ReceivedFile(spooled, WHEEL, "0" * 64))
    assert gate.store.calls == []


async def test_without_a_store_source_nothing_can_be_uploaded(make: Callable[..., Gate]) -> None:
    with pytest.raises(UploadRefused, match='no source of type "store" is configured'):
        await make(source=None, order=("team", "pypi")).upload()


# --- where it goes

BOXED = f"{NAME}/{WHEEL}"
BOTH = ("box", "uploads", "team", "pypi")


@pytest.mark.parametrize(
    ("writable", "place"),
    [
        ({"box": ("acme-*",), "uploads": None}, "box"),
        ({"box": None, "uploads": None}, "box"),
        ({"box": None}, "box"),
        ({"uploads": None, "box": ("acme-*",)}, "uploads"),
        ({"box": ("other-*",), "uploads": None}, "uploads"),
        ({"uploads": ("other-*",), "box": ("acme-*",)}, "box"),
    ],
)
async def test_an_upload_goes_to_the_first_that_may_hold_its_name(
    make: Callable[..., Gate], clock: FakeClock, writable: dict[str, tuple[str, ...] | None], place: str
) -> None:
    gate = make(order=(*writable, "team", "pypi"), writable=writable)
    await gate.upload(attestations=attested())
    if place == "uploads":
        assert await gate.holds()
        assert gate.box.written == []
    else:
        assert not await gate.holds()
        body, info = await gate.box.read(BOXED)
        assert body == BODY
        described = sha256(metadata(NAME, "1.0", requires_python=">=3.9"))
        assert info.facts == {
            "sha256": sha256(BODY),
            "upload_time": clock.now().isoformat(),
            "metadata_sha256": described,
            "requires_python": ">=3.9",
        }
        assert gate.box.written == [BOXED, layout.provenance(BOXED)]
    claim = await gate.claims.get(NAME)
    assert claim is not None
    assert claim.source == place
    await gate.local.info(layout.metadata(sha256(BODY)))  # the store's own, wherever the file went
    (file,) = (await gate.index.project_page(NAME)).files
    assert file.source == place


async def test_a_name_that_nothing_may_hold_is_refused_with_what_to_change(make: Callable[..., Gate]) -> None:
    gate = make(order=BOTH, writable={"box": ("x-*",), "uploads": ("y-*",)})
    with pytest.raises(UploadRefused, match="acme-lib cannot be uploaded: `only` of box, uploads does not include"):
        await gate.upload()


async def test_the_rules_hold_in_a_container_too(make: Callable[..., Gate]) -> None:
    gate = make(order=BOTH, writable={"box": None, "uploads": None})
    other = wheel_bytes(NAME, "1.0", requires=["idna"])
    assert (await gate.upload()).new
    assert not (await gate.upload()).new
    with pytest.raises(FileExists, match=f"with sha256 hash '{sha256(BODY)}'"):
        await gate.upload(other)
    await gate.local.put_if_absent(layout.tombstone(NAME, WHEEL), sha256(BODY).encode(), {})
    await gate.box.delete(BOXED)
    with pytest.raises(FileExists, match="only the same bytes may return"):
        await gate.upload(other)
    assert (await gate.upload()).new


async def test_a_blob_that_somebody_dropped_there_is_compared_by_its_bytes(make: Callable[..., Gate]) -> None:
    gate = make(order=BOTH, writable={"box": None, "uploads": None})
    await gate.box.put_if_absent(BOXED, BODY, {})
    assert not (await gate.upload()).new
    with pytest.raises(FileExists, match=sha256(BODY)):
        await gate.upload(wheel_bytes(NAME, "1.0", requires=["idna"]))


async def test_a_name_is_private_once_its_upload_was_acknowledged_whoever_put_the_file_there(gate: Gate) -> None:
    assert not await gate.claims.holds(NAME)
    await gate.store.put_if_absent(PATH, BODY, {})
    assert not (await gate.upload()).new
    assert gate.claims.recall(NAME)
    assert await gate.holds(layout.claim(NAME))
    await gate.local.delete(PATH)
    gate.packages.drop(NAME)
    page = await gate.index.project_page(NAME)
    assert not page.files
    assert not gate.pypi.asked


async def test_a_file_name_keeps_its_bytes_when_its_project_moves(make: Callable[..., Gate]) -> None:
    gate = make(order=BOTH, writable={"box": None, "uploads": None})
    await gate.local.put_if_absent(PATH, BODY, {"sha256": sha256(BODY)})  # from before the container could be written
    with pytest.raises(FileExists, match=sha256(BODY)):
        await gate.upload(wheel_bytes(NAME, "1.0", requires=["idna"]), take_over=True)
    with pytest.raises(NameTaken, match="source uploads answers for acme-lib"):
        await gate.upload()
    assert (await gate.upload(take_over=True)).new
    assert (await gate.box.read(BOXED))[0] == BODY


async def test_a_container_that_fails_is_an_error_and_claims_nothing_else(make: Callable[..., Gate]) -> None:
    gate = make(order=BOTH, writable={"box": None, "uploads": None})
    gate.box.down()
    with pytest.raises(StoreError):
        await gate.upload()
    assert not await gate.holds(), "it does not fall through to another target"
    gate.box.up()
    assert (await gate.upload()).new


# --- attestations (PEP 740)


def attested(body: bytes = BODY, filename: str = WHEEL, **changes: str) -> str:
    return json.dumps([attestation(filename, sha256(body), **changes)])


async def bundle(gate: Gate, path: str = PATH) -> list[object]:
    body, _ = await gate.local.read(layout.provenance(path))
    (only,) = json.loads(body)["attestation_bundles"]
    return list(only["attestations"])


async def test_attestations_lie_beside_their_file_which_was_there_before_them(gate: Gate) -> None:
    await gate.upload(attestations=attested())
    assert await bundle(gate) == json.loads(attested())
    assert gate.store.written.index(PATH) < gate.store.written.index(layout.provenance(PATH))
    assert gate.store.written[0] == gate.store.written[-1] == layout.CHANGED, "announced, and made"
    assert filenames(await gate.index.project_page(NAME)) == [WHEEL]


async def test_an_sdist_has_them_too(gate: Gate) -> None:
    body, filename = sdist_bytes(NAME, "1.0"), "acme_lib-1.0.tar.gz"
    await gate.upload(body, filename, attestations=attested(body, filename))
    assert await bundle(gate, layout.package(NAME, filename)) == json.loads(attested(body, filename))


async def test_attestations_of_another_file_refuse_the_file(gate: Gate) -> None:
    for wrong in (attested(b"other bytes"), attested(filename="acme_lib-2.0-py3-none-any.whl"), "[]", "nonsense"):
        with pytest.raises(UploadRefused, match=f"^{WHEEL} cannot be accepted: its attestations ") as raised:
            await gate.upload(attestations=wrong)
        assert type(raised.value) is UploadRefused
    assert gate.store.calls == []


async def test_attestations_may_come_later_with_the_same_bytes_and_the_first_stay(gate: Gate) -> None:
    await gate.upload()
    assert not (await gate.upload(attestations=attested())).new
    assert await bundle(gate) == json.loads(attested())
    assert not (await gate.upload(attestations=attested(predicateType="https://example.com/other"))).new
    assert await bundle(gate) == json.loads(attested())
    with pytest.raises(UploadRefused, match="its attestations are about"):
        await gate.upload(attestations=attested(b"other bytes"))


async def test_the_loser_of_a_race_leaves_no_attestations_of_its_bytes(make: Callable[..., Gate]) -> None:
    gate = make()
    other = wheel_bytes(NAME, "1.0", requires=["idna"])
    results = await asyncio.gather(
        gate.upload(attestations=attested()), gate.upload(other, attestations=attested(other)), return_exceptions=True
    )
    assert sum(isinstance(result, FileExists) for result in results) == 1
    kept = (await gate.local.read(PATH))[0]
    assert await bundle(gate) == json.loads(attested(kept))


async def test_attestations_that_could_not_be_kept_are_kept_by_the_next_try(gate: Gate) -> None:
    gate.store.fails = lambda method, path: method == "put_if_absent" and path == layout.provenance(PATH)
    with pytest.raises(StoreError):
        await gate.upload(attestations=attested())
    gate.store.up()
    assert not (await gate.upload(attestations=attested())).new
    assert await bundle(gate) == json.loads(attested())


async def test_a_name_too_long_to_keep_them_beside_is_refused_with_them(gate: Gate) -> None:
    version = "1." + "0" * 200
    body, filename = wheel_bytes(NAME, version), wheel_name(NAME, version)
    with pytest.raises(UploadRefused, match="too long to store them"):
        await gate.upload(body, filename, attestations=attested(body, filename))


# --- who else has the name


@pytest.mark.parametrize("other", ["team", "pypi"])
async def test_a_name_that_another_source_answers_is_refused_and_stays_as_it_was(gate: Gate, other: str) -> None:
    getattr(gate, other).publish(NAME, "9.0")
    with pytest.raises(NameTaken, match=f"source {other} answers for acme-lib: its files would all be hidden by yours"):
        await gate.upload()
    assert not await gate.holds()
    assert [file.source for file in (await gate.index.project_page(NAME)).files] == [other]
    if other == "pypi":
        assert not await gate.claims.holds(NAME), "a refused upload must not take the name from the public"


@pytest.mark.parametrize("other", ["team", "pypi"])
async def test_taking_over_makes_the_store_the_owner(gate: Gate, other: str) -> None:
    getattr(gate, other).publish(NAME, "9.0")
    assert (await gate.upload(take_over=True)).new
    assert [file.source for file in (await gate.index.project_page(NAME)).files] == ["uploads"]
    gate.pypi.asked.clear()
    await gate.upload(wheel_bytes(NAME, "2.0"), wheel_name(NAME, "2.0"))  # ours now: no word needed
    assert gate.pypi.asked == []


async def test_a_further_file_looks_neither_at_the_others_nor_at_the_files_that_are_there(gate: Gate) -> None:
    await gate.upload()
    await gate.upload(wheel_bytes(NAME, "2.0"), wheel_name(NAME, "2.0"))
    for asked in (gate.team.asked, gate.pypi.asked, gate.store.calls):
        asked.clear()
    await gate.upload(wheel_bytes(NAME, "3.0"), wheel_name(NAME, "3.0"))
    assert gate.team.asked == gate.pypi.asked == []
    assert "list" not in {method for method, _ in gate.store.calls}


async def test_a_name_whose_files_were_all_deleted_is_no_longer_held_against_another_source(gate: Gate) -> None:
    await gate.upload()
    await gate.store.delete(layout.package(NAME, wheel_name(NAME, "1.0")))
    gate.changes.emit(Change(Kind.PACKAGE, NAME))
    gate.team.publish(NAME, "9.0")
    with pytest.raises(NameTaken, match="source team answers for acme-lib"):
        await gate.upload(wheel_bytes(NAME, "2.0"), wheel_name(NAME, "2.0"))


MISPLACED = (wheel_name("other", "1.0"), "other-1.0.tar.gz")


@pytest.mark.parametrize("filename", MISPLACED)
async def test_a_file_of_another_project_in_its_folder_owns_nothing(gate: Gate, filename: str) -> None:
    """Nor does one that nobody could install: it keeps the name private, and is no upload."""
    gate.team.publish(NAME, "9.0")
    await gate.claims.claim(NAME, "team")
    await gate.store.put_if_absent(layout.package(NAME, filename), b"misplaced", {})
    with pytest.raises(NameTaken, match="source team answers for acme-lib"):
        await gate.upload()
    gate.team.fail()
    with pytest.raises(UpstreamUnavailable, match="cannot determine if another source answers for acme-lib"):
        await gate.upload()
    assert not await gate.holds()
    gate.team.mend()
    assert (await gate.upload(take_over=True)).new


async def test_a_misplaced_file_beside_an_upload_takes_nothing_from_it(gate: Gate) -> None:
    await gate.upload()
    gate.team.publish(NAME, "9.0")
    await gate.store.put_if_absent(layout.package(NAME, "aa-" + wheel_name("other", "1.0")), b"misplaced", {})
    assert (await gate.upload(wheel_bytes(NAME, "2.0"), wheel_name(NAME, "2.0"))).new


async def test_a_name_that_only_a_misplaced_file_keeps_private_may_be_uploaded(gate: Gate) -> None:
    gate.pypi.publish(NAME, "9.0")
    await gate.store.put_if_absent(layout.package(NAME, wheel_name("other", "1.0")), b"misplaced", {})
    assert (await gate.upload()).new
    assert not gate.pypi.asked


async def test_what_a_deletion_left_behind_owns_nothing(gate: Gate) -> None:
    await gate.upload()
    await gate.store.put_if_absent(layout.tombstone(NAME, wheel_name(NAME, "1.0")), b"0" * 64, {})
    gate.changes.emit(Change(Kind.PACKAGE, NAME))
    gate.team.publish(NAME, "9.0")
    with pytest.raises(NameTaken, match="source team answers for acme-lib"):
        await gate.upload(wheel_bytes(NAME, "2.0"), wheel_name(NAME, "2.0"))


@pytest.mark.parametrize("take_over", [False, True])
async def test_a_name_owned_by_a_source_that_comes_first_cannot_be_taken(make: Callable[..., Gate], take_over: bool) -> None:
    gate = make(order=("team", "uploads", "pypi"))
    gate.team.publish(NAME, "9.0")
    with pytest.raises(NameTaken, match="source team owns acme-lib and comes before uploads, so the file would never be served"):
        await gate.upload(take_over=take_over)
    assert not await gate.holds()


@pytest.mark.parametrize("other", ["team", "pypi"])
async def test_a_merge_rule_with_both_lets_the_file_in_beside_the_others(make: Callable[..., Gate], other: str) -> None:
    gate = make(order=("team", "uploads", "pypi"), merge=("uploads", other))
    getattr(gate, other).publish(NAME, "9.0")
    assert (await gate.upload()).new
    assert {file.source for file in (await gate.index.project_page(NAME)).files} == {"uploads", other}


async def test_a_merge_rule_without_the_owner_does_not_help(make: Callable[..., Gate]) -> None:
    gate = make(order=("team", "uploads", "pypi"), merge=("uploads", "pypi"))
    gate.team.publish(NAME, "9.0")
    with pytest.raises(NameTaken, match="would never be served"):
        await gate.upload()
    assert not await gate.holds()


@pytest.mark.parametrize("silent", ["team", "pypi"])
async def test_while_a_source_cannot_be_heard_a_new_name_must_wait(gate: Gate, silent: str) -> None:
    getattr(gate, silent).fail()
    with pytest.raises(
        UpstreamUnavailable, match=f"answers for acme-lib .source {silent} is down.: try again, or pass --take-over"
    ):
        await gate.upload()
    assert not await gate.holds()
    assert not await gate.claims.holds(NAME)
    assert (await gate.upload(take_over=True)).new


async def test_a_source_whose_answers_show_nothing_is_not_to_be_asked_again_but_mended(gate: Gate) -> None:
    gate.team.fail(UpstreamBadAnswer("source team answers 404, but nothing shows that an index answers there", source="team"))
    with pytest.raises(UpstreamUnavailable, match="answers there.: mend that, or pass --take-over"):
        await gate.upload()
    assert not await gate.holds()


async def test_a_source_that_repeats_what_it_said_before_an_outage_is_not_heard_either(gate: Gate, clock: FakeClock) -> None:
    gate.team.remember_absence(NAME, last_heard=clock.now(), outage_since=clock.now())
    with pytest.raises(UpstreamUnavailable):
        await gate.upload()
    assert not await gate.holds()


async def test_a_name_of_our_own_can_be_uploaded_to_whatever_the_others_do(gate: Gate) -> None:
    await gate.upload()
    gate.team.fail()
    gate.pypi.fail()
    assert (await gate.upload(wheel_bytes(NAME, "2.0"), wheel_name(NAME, "2.0"))).new


async def test_a_claimed_name_without_files_and_a_reserved_one_are_free_for_us(make: Callable[..., Gate]) -> None:
    gate = make(reserved=("acme-*",))
    assert (await gate.upload()).new
    other = make("other")
    await other.claims.claim(NAME, "team")
    assert (await other.upload()).new


async def test_a_name_differs_from_itself_in_no_spelling(gate: Gate) -> None:
    gate.pypi.publish(NAME, "9.0")
    body = wheel_bytes("Acme.Lib", "1.0")
    with pytest.raises(NameTaken):
        await gate.upload(body, "Acme.Lib-1.0-py3-none-any.whl")


async def test_who_uploads_at_the_moment_the_name_is_claimed_elsewhere_loses_nothing(gate: Gate) -> None:
    await gate.claims.claim(NAME, "another-replica")
    await gate.changes.look()
    assert (await gate.upload()).new
    claim = await gate.claims.get(NAME)
    assert claim is not None
    assert claim.source == "another-replica"
