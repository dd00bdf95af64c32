"""Labels that tell inputs apart, whatever their names, and know each again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wheelgate.mirror.input_labels import (
    choose_labels,
    find_place,
    keep_apart,
    label_file,
    label_inputs,
    label_projects,
    recognise,
)
from wheelgate.mirror.inputs import read_input, read_projects
from wheelgate.mirror.inputs_model import MirrorInput

NAMES = ("a/requirements.txt", "b/requirements.txt", "b/deep/a/requirements.txt", "requirements.txt")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("demo\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def inputs_of(*paths: str | Path) -> list[MirrorInput]:
    found = []
    for path in map(Path, paths):
        found.append(read_input(path, {}))
        found[-1].path = path
    return found


def labels_of(*paths: str | Path) -> list[str]:
    return [asked.label for asked in label_inputs(inputs_of(*paths))]


def places_after(*runs: list[MirrorInput]) -> dict[str, str | None]:
    """The inputs of a mirror after these runs."""
    known: dict[str, str | None] = {}
    for inputs in runs:
        labelled = label_inputs(inputs)
        keep_apart(labelled, dict(known))
        known |= {asked.label: asked.path and find_place(asked.path) for asked in labelled}
    return known


def test_a_file_is_labelled_as_it_was_named() -> None:
    named = ("requirements.txt", "./requirements.txt", "./a/../b/r.txt", "../r.txt", "/home/somebody/r.txt", ".")
    labels = ["requirements.txt", "requirements.txt", "b/r.txt", "../r.txt", "r.txt", "."]
    assert [label_file(Path(name)) for name in named] == labels


def test_files_of_one_name_are_several_inputs_and_one_named_twice_is_one(folder: Path) -> None:
    absolute = [folder / name for name in NAMES]
    assert labels_of(*absolute[:2]) == ["requirements.txt", "b/requirements.txt"]
    assert labels_of(absolute[0], absolute[2]) == ["requirements.txt", "a/requirements.txt"]
    assert labels_of(absolute[0], absolute[1], absolute[2]) == ["requirements.txt", "b/requirements.txt", "a/requirements.txt"]
    assert labels_of(NAMES[0], absolute[2], absolute[1]) == [NAMES[0], "requirements.txt", "b/requirements.txt"]
    assert labels_of(NAMES[3], f"./{NAMES[3]}", absolute[3]) == ["requirements.txt"]


@pytest.mark.parametrize("absolute", [True, False])
def test_runs_in_several_folders_do_not_take_from_each_other(
    folder: Path, absolute: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: dict[str, str | None] = {}
    for _ in range(2):  # the second time each is known again
        for name in NAMES:
            monkeypatch.chdir((folder / name).parent)
            asked = label_inputs(inputs_of(folder / name if absolute else "requirements.txt"))
            keep_apart(asked, dict(known))
            known[asked[0].label] = find_place(folder / name)
        assert len(set(known.values())) == len(NAMES)
        assert len(known) == len(NAMES)
    assert list(known)[:3] == ["requirements.txt", "b/requirements.txt", "a/requirements.txt"]


def test_what_a_mirror_of_before_knows_by_name_alone_is_taken_for_it(folder: Path) -> None:
    asked = label_inputs(inputs_of(folder / NAMES[0]))
    assert keep_apart(asked, {"requirements.txt": None}) == {"requirements.txt": "requirements.txt"}


def test_what_was_carried_is_known_by_its_name(folder: Path) -> None:
    known = places_after(inputs_of(folder / NAMES[0]), inputs_of(folder / NAMES[1]))
    (folder / "usb").mkdir()
    (folder / "usb" / "requirements.txt").write_text("demo\n")
    carried, here = label_inputs(inputs_of(folder / "usb" / "requirements.txt")), label_inputs(inputs_of(folder / NAMES[1]))
    recognise(carried, known)
    recognise(here, known)
    assert (carried[0].label, here[0].label) == ("requirements.txt", "b/requirements.txt")


def test_bundles_from_several_places_do_not_take_from_each_other() -> None:
    known: dict[str, str | None] = {"requirements.txt": "1" * 16, "old.txt": None}
    brought = {"requirements.txt": "2" * 16, "old.txt": "3" * 16, "project demo": None, "new.txt": "1" * 16}
    first = choose_labels(brought, known)
    assert first == {
        "requirements.txt": "requirements.txt (22222222)",
        "old.txt": "old.txt",
        "project demo": "project demo",
        "new.txt": "requirements.txt",
    }
    known |= {first[label]: place for label, place in brought.items()}
    assert choose_labels(brought, known) == first, "the next bundle from there replaces it"


def test_the_same_projects_are_one_input_and_others_another() -> None:
    def label(*specifiers: str) -> str:
        (asked,) = label_inputs([read_projects(specifiers, {})])
        return asked.label

    assert label("demo") == "project demo"
    assert label("Demo[b,a] >=2", "app") == label("app", "Demo[a,b]>=2") == "projects Demo[a,b]>=2, app"
    many = [f"project-{number}" for number in range(40)]
    assert label(*many) == label(*reversed(many)) != label(*many[1:])
    assert label(*many).startswith("40 projects (")
    assert label_projects([]) != label_projects(["demo"])


def test_a_name_that_is_no_text_is_one_in_a_manifest() -> None:
    assert label_file(Path(os.fsdecode(b"folder/list\xff.txt"))).encode() == "folder/list\ufffd.txt".encode()
