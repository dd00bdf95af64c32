"""What becomes of a file's text: the places that Wheelgate answers for change, everything else stays byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wheelgate.config import PUBLIC_INDEX, Config, load
from wheelgate.core.errors import BadInput
from wheelgate.rewrite.classify_urls import UrlClassifier
from wheelgate.rewrite.decisions import RewritePlan, find_private_blobs, plan_for_gate, plan_for_storage
from wheelgate.rewrite.documents import Purpose, rewrite_text
from wheelgate.rewrite.formats import read_document
from wheelgate.rewrite.places import apply_edits
from wheelgate.rewrite.shown import format_diff, redact

GATE = "https://wheelgate.internal/python"
INDEX = f"--index-url {GATE}/simple/"
BLOB = "https://acct.blob.core.windows.net/wheels"
SAS = "?sv=2026-10-06&sr=b&sig=S3CRET%3D"
FEED = "https://pkgs.dev.azure.com/acme/_packaging/team/pypi/simple/"
SIGNED_IN = FEED.replace("https://", "https://build:S3CRET@")
OLD_FEED = "https://acme.pkgs.visualstudio.com/proj/_packaging/team@Release/pypi/simple/"
FEED_FILE = "https://pkgs.dev.azure.com/acme/0c1f7d0e-11aa-4b3c-9d5e-6f7081920a1b/_packaging/9d5e6f70-8192-4b3c-8a1b-0c1f7d0e11aa/pypi/download/acme-tool/1/acme_tool-1.0-py3-none-any.whl"
PUBLIC = PUBLIC_INDEX.rstrip("/")
WHEEL = "acme_tool-1.0-py3-none-any.whl"


def lines_of(text: str, name: str = "requirements.txt") -> list[str]:
    return [line for found in read_document(name, text).lists for line in found.lines]


def plan_of(text: str, config: Config | None = None, *, by_name: bool = False, name: str = "requirements.txt") -> RewritePlan:
    return plan_for_gate(lines_of(text, name), UrlClassifier(GATE, config), GATE, by_name=by_name)


def rewritten(text: str, config: Config | None = None, *, by_name: bool = False, name: str = "requirements.txt") -> str:
    done = rewrite_text(name, text, Purpose(ours=UrlClassifier(GATE, config), gate=GATE, by_name=by_name))
    assert not done.refusals
    return done.text


def refused(text: str, config: Config | None = None, *, by_name: bool = False) -> str:
    plan = plan_of(text, config, by_name=by_name)
    assert len(plan.refusals) == 1
    assert "S3CRET" not in plan.refusals[0][1]
    return plan.refusals[0][1]


def noted(text: str, config: Config | None = None) -> list[str]:
    notes = [sentence for _, sentence in plan_of(text, config).notes]
    assert "S3CRET" not in "".join(notes)
    return notes


@pytest.mark.parametrize(
    ("before", "after", "by_name"),
    [
        (f"{BLOB}/{WHEEL}", f"{GATE}/files/acme-tool/{WHEEL}", "acme-tool==1.0"),
        (f"{BLOB}/deep/er/{WHEEL}{SAS}", f"{GATE}/files/acme-tool/{WHEEL}", "acme-tool==1.0"),
        (f"{BLOB}/{WHEEL}{SAS}#sha256=00aa", f"{GATE}/files/acme-tool/{WHEEL}#sha256=00aa", "acme-tool==1.0"),
        (f"{BLOB}/{WHEEL}#egg=acme_tool[cli]", f"{GATE}/files/acme-tool/{WHEEL}#egg=acme_tool[cli]", "acme-tool[cli]==1.0"),
        (f"Acme.Tool[cli] @ {BLOB}/{WHEEL}{SAS}", f"Acme.Tool[cli] @ {GATE}/files/acme-tool/{WHEEL}", "Acme.Tool[cli]==1.0"),
        (f"a@{BLOB}/{WHEEL}{SAS} ; x > '1'", f"a@{GATE}/files/acme-tool/{WHEEL} ; x > '1'", "a==1.0 ; x > '1'"),
        (
            f"{BLOB}/{WHEEL} --hash=sha256:00",
            f"{GATE}/files/acme-tool/{WHEEL} --hash=sha256:00",
            "acme-tool==1.0 --hash=sha256:00",
        ),
        (f"{BLOB}/acme_tool-1.0.tar.gz{SAS}", f"{GATE}/files/acme-tool/acme_tool-1.0.tar.gz", "acme-tool==1.0"),
        (
            f"{BLOB}/acme_tool-1.0%2Bcu118-py3-none-any.whl",
            f"{GATE}/files/acme-tool/acme_tool-1.0+cu118-py3-none-any.whl",
            "acme-tool==1.0+cu118",
        ),
        (FEED_FILE, f"{GATE}/files/acme-tool/{WHEEL}", "acme-tool==1.0"),
        (FEED_FILE.replace("//", "//u:S3CRET@", 1), f"{GATE}/files/acme-tool/{WHEEL}", "acme-tool==1.0"),
        (f"http://acct.blob.core.windows.net/c/{WHEEL}", f"{GATE}/files/acme-tool/{WHEEL}", "acme-tool==1.0"),
    ],
)
def test_a_private_file_becomes_one_of_wheelgate(before: str, after: str, by_name: str) -> None:
    assert rewritten(before) == after
    assert rewritten(before, by_name=True) == f"{INDEX}\n{by_name}"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"--extra-index-url {SIGNED_IN}\nacme\n", f"{INDEX}\nacme\n"),
        (f"--index-url={OLD_FEED}\nacme\n", f"{INDEX}\nacme\n"),
        (f'-i "{SIGNED_IN}"\nacme\n', f"{INDEX}\nacme\n"),
        (f"acme\n--index-url {FEED}\n--extra-index-url {PUBLIC}\n--find-links {BLOB}/{SAS}\n", f"acme\n{INDEX}\n"),
        (f"--index-url {PUBLIC}\n--extra-index-url {FEED}\n", f"{INDEX}\n"),
        (f"--extra-index-url {FEED} --trusted-host h\n", f"{INDEX} --trusted-host h\n"),
        (f"--trusted-host h --index-url {PUBLIC} --extra-index-url {FEED}", f"--trusted-host h {INDEX}"),
        (f"-i {FEED} \\\n  --extra-index-url {PUBLIC} \\\n  --pre\n", f"{INDEX} \\\n  --pre\n"),
        (f"--index-url {FEED}  # ours\n--extra-index-url {PUBLIC}  # theirs\nacme\n", f"{INDEX}  # ours\n# theirs\nacme\n"),
        (f"{INDEX}\n--extra-index-url {FEED}\n", f"{INDEX}\n"),
        (f"--extra-index-url {FEED}\n--index-url {GATE}/simple\n", f"--index-url {GATE}/simple\n"),
        (f"--extra-index-url {FEED}\n--extra-index-url {GATE}/simple/\n", f"{INDEX}\n"),
        (f"--index-url https://u:${{PAT}}@{FEED[8:]}\n", f"{INDEX}\n"),
        (f"--index-url https://build:S3CRET@{GATE[8:]}/simple/\n", f"{INDEX}\n"),
        (f'-i "https://build:S3CRET@{GATE[8:]}/simple/" --pre\n', f'-i "{GATE}/simple/" --pre\n'),
        (f"--extra-index-url {FEED}\r\nacme\r\n", f"{INDEX}\r\nacme\r\n"),
        (f"\ufeff--extra-index-url {FEED}\nacme", f"\ufeff{INDEX}\nacme"),
    ],
)
def test_one_index_stands_for_all_of_ours(before: str, after: str) -> None:
    assert rewritten(before) == after
    assert rewritten(after) == after


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "acme==1.0 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n",
        f"--index-url {PUBLIC}\nacme\n",
        f"# {FEED}\nacme  # was {BLOB}/{WHEEL}\n",
        "git+https://github.com/acme/tool.git@v1\ngit+ssh://git@github.com/acme/tool.git\n",
        "https://example.com/acme_tool-1.0-py3-none-any.whl\n",
        "https://evil-pkgs.dev.azure.com/acme/_packaging/team/pypi/simple/\n",
        f"--index-url https://example.com/{FEED[8:]}\n",
        f"acme @ {GATE}/files/acme-tool/{WHEEL}\n--index-url https://build:${{WHEELGATE_TOKEN}}@{GATE[8:]}/simple/\n",
        "-r base.txt\n-c https://example.com/c.txt\n-e .\n./local.whl\n",
    ],
)
def test_what_is_not_ours_stays(text: str) -> None:
    assert rewritten(text) == text
    assert rewritten(text, by_name=True) == text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a\nURL\n", "INDEX\na\nb==1\n"),
        ("# header\n\n# why\na\nURL\n", "# header\n\nINDEX\n# why\na\nb==1\n"),
        ("# header\na\nURL\n", "INDEX\n# header\na\nb==1\n"),
        ("URL", "INDEX\nb==1"),
        ("\r\nURL\r\n", "\r\nINDEX\r\nb==1\r\n"),
    ],
)
def test_by_name_an_index_is_put_first(before: str, after: str) -> None:
    before = before.replace("URL", f"{BLOB}/b-1-py3-none-any.whl")
    assert rewritten(before, by_name=True) == after.replace("INDEX", INDEX)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("git+https://S3CRET@github.com/acme/tool.git@v1", "git+https://github.com/acme/tool.git@v1 has a credential in it"),
        ("tool @ git+https://u:S3CRET@github.com/acme/tool.git", "has a credential in it"),
        ("-e git+https://S3CRET@github.com/acme/tool.git#egg=tool", "publish a wheel"),
        ("--editable=git+https://S3CRET@github.com/a/b.git", "publish a wheel"),
        ("git+https://S3CRET@github.com/a/b.git?x=ssh://", "publish a wheel"),
        ("git+ssh://git:S3CRET@github.com/a/b.git", "publish a wheel"),
        (f"{BLOB}/tool.zip{SAS}", "is not named as a wheel or sdist"),
        (f"{BLOB}/a%2Fb/{WHEEL}{SAS}", "is ambiguous"),
        (f"https://${{ACCOUNT}}.blob.core.windows.net/c/{WHEEL}", "is ambiguous"),
        (f"https://good.example\\@acct.blob.core.windows.net/c/{WHEEL}", "is ambiguous"),
        (f"--index-url https://python.example.com/simple/\n--extra-index-url {FEED}", "pip takes one: make it a source"),
        (f"--no-index\n--find-links {BLOB}/", "--no-index would keep pip"),
    ],
)
def test_what_cannot_be_rewritten_is_refused_by_line(text: str, sentence: str) -> None:
    assert sentence in refused(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("git+https://u:${PAT}@github.com/a/b.git", "takes its credential from the environment"),
        ("https://u:S3CRET@example.com/a-1-py3-none-any.whl", "does not answer for https://example.com/a-1"),
        (f"# {SIGNED_IN}", "its comment holds a credential"),
        (f"acme # {BLOB}/{WHEEL}{SAS}", "its comment holds a credential"),
        (f"-r {BLOB}/more.txt{SAS}", "is neither an index nor a requirement"),
        (f"--extra-index-url https://python.example.com/simple/\n-i {FEED}", "pip may take any project from"),
        (f"{GATE}/files/x/x-1-py3-none-any.whl\n-i https://u:S3CRET@{GATE[8:]}/simple/", "removed a Wheelgate token"),
    ],
)
def test_what_is_kept_against_good_sense_is_said(text: str, sentence: str) -> None:
    notes = noted(text)
    assert len(notes) == 1
    assert sentence in notes[0]


@pytest.fixture
def configured(tmp_path: Path) -> Config:
    path = tmp_path / "wheelgate.toml"
    path.write_text(
        """
        [store]
        url = "https://acct.blob.core.windows.net/wheelgate"
        [[source]]
        name = "curated"
        type = "blob"
        url = "https://acct.blob.core.windows.net/curated/team"
        [[source]]
        name = "team"
        type = "devops"
        url = "https://pkgs.dev.azure.com/Acme/_packaging/team/pypi/simple/"
        [[source]]
        name = "pypi"
        type = "index"
        """
    )
    return load(path, environment={})


def test_settings_say_which_places_are_ours(configured: Config) -> None:
    for mine in (
        f"https://acct.blob.core.windows.net/curated/team/deep/{WHEEL}{SAS}",
        f"https://acct.blob.core.windows.net/wheelgate/packages/acme-tool/{WHEEL}",
        FEED_FILE,
    ):
        assert rewritten(mine, configured) == f"{GATE}/files/acme-tool/{WHEEL}"
    for feed in (
        FEED,
        FEED[:-1],
        FEED.removesuffix("simple/"),
        "https://ACME.pkgs.visualstudio.com/_packaging/team/pypi/simple/",
    ):
        assert rewritten(f"-i {feed}", configured) == INDEX
    for foreign in (
        f"https://acct.blob.core.windows.net/curated/teams/{WHEEL}",
        f"https://acct.blob.core.windows.net/other/{WHEEL}",
        f"https://acct2.blob.core.windows.net/wheelgate/{WHEEL}",
        f"-i {FEED.replace('/acme/', '/acme2/')}",
        f"-i {FEED.replace('team', 'team2')}",
        FEED_FILE.replace("/acme/", "/other/"),
    ):
        assert rewritten(foreign, configured) == foreign
    assert "does not answer for" in noted(f"https://acct.blob.core.windows.net/other/{WHEEL}{SAS}", configured)[0]
    assert "is ambiguous" in refused(f"https://acct.blob.core.windows.net/curated/team%2F{WHEEL}", configured)


def test_without_a_public_source_public_pypi_is_not_swallowed(configured: Config) -> None:
    private = configured.model_copy(update={"source": configured.source[:-1]})
    assert "pip takes one" in refused(f"-i {PUBLIC}\n--extra-index-url {FEED}", private)
    assert rewritten(f"-i {PUBLIC}\n--extra-index-url {FEED}", configured) == f"{INDEX}\n"


CONDA = f"""\
name: env   # the environment
channels: [conda-forge]
dependencies:
  - python=3.11
  - pip
  # ours
  - pip:
    - --extra-index-url {SIGNED_IN}   # feed
    - "acme-tool @ {BLOB}/{WHEEL}{SAS} ; python_version > '3'"  # wheel
    - 'other[x] @ {BLOB}/other-2-py3-none-any.whl'
    - --extra-index-url={PUBLIC}
    - --find-links {BLOB}/   # links
    - requests
variables: {{A: "b"}}
"""


def test_only_the_pip_part_of_a_conda_environment_changes() -> None:
    expected = CONDA.replace(f"--extra-index-url {SIGNED_IN}", INDEX).replace(
        f"{BLOB}/{WHEEL}{SAS}", f"{GATE}/files/acme-tool/{WHEEL}"
    )
    expected = expected.replace(f"{BLOB}/other-2", f"{GATE}/files/other/other-2").replace(
        f"    - --extra-index-url={PUBLIC}\n", ""
    )
    expected = expected.replace(f"    - --find-links {BLOB}/   # links\n", "      # links\n")
    assert rewritten(CONDA, name="environment.yml") == expected
    assert rewritten(expected, name="environment.yml") == expected
    windows = CONDA.replace("\n", "\r\n")
    assert rewritten(windows, name="environment.yml") == expected.replace("\n", "\r\n")
    assert yaml.safe_load(expected)["dependencies"][2]["pip"][1].endswith("python_version > '3'")


def test_by_name_in_a_conda_environment() -> None:
    text = f"dependencies:\n- pip:\n  - acme-tool @ {BLOB}/{WHEEL}\n"
    assert rewritten(text, name="e.yaml", by_name=True) == f"dependencies:\n- pip:\n  - {INDEX}\n  - acme-tool==1.0\n"


def test_an_azure_ml_environment_with_its_conda_file_inside() -> None:
    text = f"name: e\nimage: x\nconda_file:\n  dependencies:\n  - pip:\n    - {BLOB}/{WHEEL}\n"
    assert rewritten(text, name="e.yml").endswith(f"    - {GATE}/files/acme-tool/{WHEEL}\n")


def test_anchors_in_a_conda_environment() -> None:
    text = f"x: &x\n  - acme-tool @ {BLOB}/{WHEEL}\ndependencies:\n- pip: *x\n- {{pip: *x}}\n"
    assert rewritten(text, name="e.yml") == text.replace(f"{BLOB}/", f"{GATE}/files/acme-tool/")


@pytest.mark.parametrize(
    "text", ["", "name: x\n", "- a\n- b\n", "dependencies: [python, {pip: [requests]}]\n", "dependencies: {pip: a}\n"]
)
def test_other_yaml_stays(text: str) -> None:
    assert rewritten(text, name="e.yml") == text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("dependencies: [\n", "e.yml line 2: is not valid YAML"),
        (f"a: *S3CRET{SAS}\n", "is not valid YAML"),
        ("a: \x00\n", "is not valid YAML"),
        ("a: 1\na: 2\n", "e.yml line 2: says one thing twice"),
        ("a: &a {b: c}\nd: {<<: *a}\n", "e.yml line 2: has a YAML merge key (<<)"),
        ("[" * 3000, "line 1: is nested too deeply"),
        (f"dependencies:\n- pip:\n  - >-\n    {BLOB}/{WHEEL}\n", "line 3: write the item in one line"),
        (f"dependencies: [{{pip: ['-i {FEED}', '-f {BLOB}/']}}]\n", "line 1: write the items of pip one a line"),
    ],
)
def test_yaml_that_cannot_be_changed_safely(text: str, sentence: str) -> None:
    with pytest.raises(BadInput) as caught:
        rewritten(text, name="e.yml")
    assert sentence in str(caught.value)
    assert "S3CRET" not in str(caught.value)


def test_an_unknown_kind_of_file() -> None:
    with pytest.raises(BadInput, match=r"setup\.py: is of no kind that can be rewritten, which are requirements files"):
        read_document("setup.py", "")


def test_plan_for_storage_only_blobs_change() -> None:
    text = f"a @ {BLOB}/{WHEEL}{SAS}#sha256=00 ; x > '1'\n-i {SIGNED_IN}\n{BLOB}/{WHEEL}\n{FEED_FILE}\nb\n"
    found = read_document("r.txt", text).lists[0]
    ours = UrlClassifier(None)
    assert find_private_blobs(found.lines, ours) == {f"{BLOB}/{WHEEL}": 0}
    plan = plan_for_storage(found.lines, ours, {f"{BLOB}/{WHEEL}": f"{BLOB}/{WHEEL}?sig=new"})
    expected = f"a @ {BLOB}/{WHEEL}?sig=new#sha256=00 ; x > '1'\n-i {SIGNED_IN}\n{BLOB}/{WHEEL}?sig=new\n{FEED_FILE}\nb\n"
    assert apply_edits(text, found.edit(plan)) == expected
    assert [line for line, _ in plan.notes] == [1, 3]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://u:S3CRET@h/p?sig=S3CRET#sha256=0", "https://***@h/p?***#sha256=0"),
        ("https://S3CRET@h", "https://***@h"),
        ("https://h/team@Release/x", "https://h/team@Release/x"),
        ("https://h/x#a?b", "https://h/x#a?b"),
        ("https://u:S3/CRET@h/x", "https://***"),
        ("https://u:S3CRET\\x40h/x", "https://***"),
        ('"https://h/p?sig=S3CRET" # https://h?S3CRET', '"https://h/p?***" # https://h?***'),
        ("plain text", "plain text"),
    ],
)
def test_nothing_secret_is_shown(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_a_diff_shows_what_changed_and_nothing_beside_it() -> None:
    before = f"# password: S3CRET\n-i {SIGNED_IN}\nacme\n"
    shown = format_diff("r.txt", before, rewritten(before))
    assert "S3CRET" not in shown
    assert f"+{INDEX}" in shown
    assert "-i https://***@pkgs.dev.azure.com/acme" in shown


def test_a_diff_hides_secrets_that_are_in_no_url() -> None:
    before = f"FROM x\nENV MY_PAT=S3CRETS3CRET PIP_INDEX_URL={SIGNED_IN}\n"
    shown = format_diff("Dockerfile", before, rewritten(before, name="Dockerfile"))
    assert "S3CRET" not in shown
    assert "+***" in shown


# Lines that nothing may touch, and lines that are ours; between them every kind of line end and continuation.
_KEPT = st.sampled_from(
    [
        "",
        "   ",
        "# a comment",
        "  # indented \\",
        "requests==2.0 # why",
        "a>=1;python_version>'3'",
        "a @ https://example.com/a-1.zip#x",
        "b==1 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11",
        "c \\\n# after a continuation",
        "-r other.txt",
        "--pre",
        "\tindented",
        "--trusted-host pkgs.dev.azure.com",
        "é @ ü",
        "-e ./here",
        "a \\\r\n  ; x",
        "git+https://github.com/a/b.git",
    ]
)
_OURS = st.sampled_from(
    [
        f"{BLOB}/{WHEEL}{SAS}",
        f"a @ {BLOB}/deep/{WHEEL}{SAS}#sha256=00 ; x > '1'  # why",
        f"  b[c]@{BLOB}/{WHEEL}",
        FEED_FILE,
        f"--extra-index-url {SIGNED_IN}",
        f"--find-links={BLOB}/{SAS} # links",
        f"-i \\\n  {OLD_FEED}",
        INDEX,
        f"--extra-index-url {PUBLIC}",
        f"d @ \\\n   {BLOB}/{WHEEL}{SAS} \\\n   --hash=sha256:00",
        f"--pre --extra-index-url {FEED} --trusted-host h",
        f"-i {FEED} --extra-index-url {PUBLIC} -f {BLOB}/x/ --pre",
    ]
)
_ENDS = st.sampled_from(["\n", "\r\n", "\n\n"])
_LINES = st.lists(st.tuples(_KEPT | _OURS, _ENDS), max_size=12)


@settings(deadline=None, max_examples=400)
@given(_LINES, st.booleans(), st.booleans())
@example([(f"-i {FEED}", "\n"), (f"-f {BLOB}/", "\n")], True, False)
def test_rewriting_twice_is_rewriting_once_and_no_secret_is_left(lines: list[tuple[str, str]], by_name: bool, ends: bool) -> None:
    text = "".join(line + end for line, end in lines)
    text = text if ends else text.rstrip("\r\n")
    once = rewritten(text, by_name=by_name)
    assert rewritten(once, by_name=by_name) == once
    assert "S3CRET" not in once
    assert once.count("--index-url") <= max(1, text.count(INDEX))


@settings(deadline=None, max_examples=400)
@given(st.lists(st.tuples(_KEPT, _ENDS), max_size=8), st.lists(st.tuples(_KEPT, _ENDS), max_size=8), _OURS)
def test_everything_but_the_targeted_lines_is_the_same(
    before: list[tuple[str, str]], after: list[tuple[str, str]], ours: str
) -> None:
    head = "".join(line + end for line, end in before) + "\n"
    tail = "\n" + "".join(line + end for line, end in after)
    if head.rstrip().endswith("\\"):
        head += "#\n"
    new = rewritten(head + ours + tail)
    assert new.startswith(head)
    assert new.endswith((tail, tail.removeprefix("\n")))


_ITEMS = st.sampled_from(
    [
        "requests",
        "'quoted'",
        '"double ; x > 1"',
        f"{BLOB}/{WHEEL}{SAS}",
        f"'a @ {BLOB}/{WHEEL}{SAS} ; x > ''1'''",
        f'"-f {BLOB}/"',
        f"--extra-index-url {SIGNED_IN}   # feed",
        f"-i {PUBLIC}",
        "b==1  # why",
        "# only a comment",
        INDEX,
    ]
)


@settings(deadline=None, max_examples=300)
@given(st.lists(_ITEMS, max_size=8), st.integers(2, 6), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_a_conda_environment_stays_what_it_is_but_for_ours(items: list[str], indentation: int, end: str, by_name: bool) -> None:
    before = ["name: x  # keep", "dependencies:", "- python  # \u00e9", "- pip:"]
    lines = [" " * indentation + (item if item.startswith("#") else f"- {item}") for item in items]
    after = ["variables:", f"  A: {SIGNED_IN}"]
    text = end.join([*before, *lines, *after, ""])
    new = rewritten(text, name="e.yml", by_name=by_name)
    assert rewritten(new, name="e.yml", by_name=by_name) == new
    assert new.startswith(end.join(before) + end)
    assert new.endswith(end.join([*after, ""]))
    assert "S3CRET" not in new.removesuffix(end.join([*after, ""]))
    kept = [line for line in lines if not any(mark in line for mark in ("http", "--extra"))]
    assert [line for line in new.split(end) if line in kept] == kept
