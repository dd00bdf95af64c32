"""Which files of a version an installer would take."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from wheelgate.core.errors import Unresolvable
from wheelgate.core.model import File, ProjectPage, RemoteFile, Withheld
from wheelgate.mirror.inputs_model import NeededRelease, SelectionOptions
from wheelgate.mirror.selection import choose_files
from wheelgate.mirror.targets import parse_target

HERE = parse_target("3.11", "linux-x86_64")
PURE, LINUX, OLD = (
    "demo-1.0-py3-none-any.whl",
    "demo-1.0-cp311-cp311-manylinux_2_28_x86_64.whl",
    "demo-1.0-cp311-cp311-manylinux_2_17_x86_64.whl",
)
SDIST, ZIP = "demo-1.0.tar.gz", "demo-1.0.zip"


def page(*filenames: str, withheld: tuple[Withheld, ...] = (), **facts: object) -> ProjectPage:
    files = [
        File(filename=name, project="demo", source="s", location=RemoteFile(f"https://x/{name}", "s"), **facts)  # type: ignore[arg-type]
        for name in filenames
    ]
    return ProjectPage(project="demo", files=tuple(files), as_of=datetime(2026, 1, 1, tzinfo=UTC), withheld=withheld)


ANY, NO_OPTIONS = NeededRelease("demo", "1.0", where="here"), SelectionOptions()


def take(
    listed: ProjectPage, need: NeededRelease = ANY, options: SelectionOptions = NO_OPTIONS, *, all_files: bool = False
) -> list[str]:
    return [file.filename for file in choose_files(need, listed, HERE, options, all_files=all_files)]


@pytest.mark.parametrize(
    ("listed", "taken"),
    [
        ((PURE, LINUX, OLD, SDIST), LINUX),
        ((PURE, OLD, SDIST), OLD),
        ((PURE, SDIST), PURE),
        (("demo-1.0-cp311-cp311-win_amd64.whl", SDIST), SDIST),
        ((ZIP, SDIST), SDIST),
        ((ZIP,), ZIP),
        (("demo-1.0-1-py3-none-any.whl", "demo-1.0-2-py3-none-any.whl", PURE), "demo-1.0-2-py3-none-any.whl"),
        (("demo-1.0.0.tar.gz", "demo-1.0.1-py3-none-any.whl"), "demo-1.0.0.tar.gz"),
        (("demo-1.0-weird.whl", "demo-1.0.exe", SDIST), SDIST),
    ],
)
def test_the_best_wheel_else_the_sdist(listed: tuple[str, ...], taken: str) -> None:
    assert take(page(*listed)) == [taken]


def test_options_of_the_input_hold() -> None:
    listed = page(PURE, SDIST)
    assert take(listed, options=SelectionOptions(no_binary={"demo"})) == [SDIST]
    assert take(listed, options=SelectionOptions(no_binary={":all:"})) == [SDIST]
    assert take(listed, options=SelectionOptions(no_binary={"other"})) == [PURE]
    with pytest.raises(Unresolvable, match="demo 1.0 has no wheel, and --only-binary excludes what it has"):
        take(page(SDIST), options=SelectionOptions(only_binary={":all:"}))


def test_a_pinned_pre_release_is_not_for_those_who_want_final_ones_alone() -> None:
    listed, need = page("demo-2.0rc1-py3-none-any.whl"), NeededRelease("demo", "2.0rc1", where="r.txt line 1")
    for options in (
        NO_OPTIONS,
        SelectionOptions(only_final={"other"}),
        SelectionOptions(only_final={":all:"}, all_releases={"demo"}),
    ):
        assert take(listed, need, options) == ["demo-2.0rc1-py3-none-any.whl"]
    with pytest.raises(Unresolvable, match=r"r\.txt line 1: demo 2\.0rc1 is a pre-release, which --only-final excludes"):
        take(listed, need, SelectionOptions(only_final={":all:"}))


def test_all_files_are_all_of_the_version() -> None:
    listed = page(PURE, "demo-1.0-cp39-cp39-win_amd64.whl", SDIST, "demo-2.0-py3-none-any.whl", "demo-1.0.exe")
    assert take(listed, all_files=True) == [PURE, "demo-1.0-cp39-cp39-win_amd64.whl", SDIST]


def test_a_python_that_it_is_not_for_gets_another_file() -> None:
    new, old = page(PURE, requires_python=">=3.12"), page(SDIST, requires_python="nonsense")
    both = ProjectPage(project="demo", files=(*new.files, *old.files), as_of=new.as_of)
    assert take(both) == [SDIST]


def test_yanked_only_if_there_is_no_other() -> None:
    yanked, sound = page(PURE, yanked=""), page(SDIST)
    assert take(ProjectPage(project="demo", files=(*yanked.files, *sound.files), as_of=sound.as_of)) == [SDIST]
    assert take(yanked) == [PURE]


def test_a_lock_names_the_file_and_its_bytes() -> None:
    listed = page(PURE, hashes={"sha256": "aa"})
    assert take(listed, NeededRelease("demo", "1.0", PURE, frozenset({"sha256:aa"}))) == [PURE]
    assert take(page(PURE), NeededRelease("demo", "1.0", PURE, frozenset({"sha256:aa"}))) == [PURE]  # its bytes will tell
    with pytest.raises(Unresolvable, match="lock: .*locked with another hash than source s lists"):
        take(listed, NeededRelease("demo", "1.0", PURE, frozenset({"sha256:bb"}), "lock"))
    with pytest.raises(Unresolvable, match="lock: .*no source lists it any more"):
        take(listed, NeededRelease("demo", "1.0", SDIST, where="lock"))


def test_hashes_choose_among_files() -> None:
    wheel, sdist = page(PURE, hashes={"sha256": "aa"}), page(SDIST, hashes={"sha256": "bb"})
    both = ProjectPage(project="demo", files=(*wheel.files, *sdist.files), as_of=wheel.as_of)
    assert take(both, NeededRelease("demo", "1.0", hashes=frozenset({"sha256:bb", "sha256:cc"}))) == [SDIST]
    with pytest.raises(Unresolvable, match="line 1: no file of demo 1.0 that a source lists has one of its hashes"):
        take(both, NeededRelease("demo", "1.0", hashes=frozenset({"sha256:cc"}), where="line 1"))


def test_what_a_rule_withholds_is_said_with_its_reason() -> None:
    withheld = (Withheld(PURE, "s", "cooldown", "it is two days old"),)
    with pytest.raises(Unresolvable, match="withheld: it is two days old"):
        take(page(withheld=withheld))
    with pytest.raises(Unresolvable, match="withheld: it is two days old"):
        take(page(withheld=withheld), NeededRelease("demo", "1.0", PURE))
