"""Each of the many files comes out as its table says, also the second time; whatever is damaged is never taken for clean."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.rewrite.inputs import CANARY, GATE, INPUTS, LOCKS, WORDS, Input
from wheelgate.core.errors import BadInput
from wheelgate.rewrite.classify_urls import UrlClassifier
from wheelgate.rewrite.documents import Purpose, Rewritten, rewrite_text

PURPOSE = Purpose(ours=UrlClassifier(GATE), gate=GATE)
FEED = "pkgs.dev.azure.com/acme/_packaging/team/pypi/simple"


def names(entry: Input) -> str:
    return f"{INPUTS.index(entry)}-{entry.file}"


@pytest.mark.parametrize("entry", INPUTS, ids=names)
def test_a_file_comes_out_as_its_table_says(entry: Input) -> None:
    try:
        done = rewrite_text(f"some/{entry.file}", entry.before, PURPOSE)
    except BadInput as error:
        assert entry.refused
        assert str(error).startswith(f"some/{entry.file}")
        assert entry.refused in str(error)
        assert CANARY not in str(error)
        return
    said = [*done.refusals, *done.notes, *done.left]
    assert CANARY not in "".join(sentence for _, sentence in said)
    if entry.refused:
        assert any(entry.refused in sentence for _, sentence in done.refusals)
        return
    assert not done.refusals
    assert done.text == entry.after
    assert tuple(sorted({line for line, _ in done.left})) == entry.left
    remarks = [sentence for _, sentence in done.notes]
    remarks += [] if done.has_packages else [f"{done.format} without any list of packages"]
    assert bool(remarks) == bool(entry.says)
    assert any(entry.says in remark for remark in remarks) or not entry.says
    assert entry.format in done.format or entry.format == "YAML"
    again = rewrite_text(entry.file, done.text, PURPOSE)
    assert again.text == done.text
    assert len(again.left) == len(done.left)


def test_the_table_is_wide_enough() -> None:
    assert len(INPUTS) >= 150
    assert len({(entry.format, entry.file.rpartition(".")[2]) for entry in INPUTS}) >= 40


def named(before: str, done: Rewritten) -> list[str]:
    """The lines that are named, as they were."""
    lines = before.split("\n")
    return [lines[number - 1] for number in sorted({number for number, _ in [*done.left, *done.notes]})]


def is_only_a_host(line: str) -> bool:
    """Say whether what is left of a credential on a line is the host of a URL, as far as anybody can read."""
    return bool(re.search(rf"(?::(?:/|\\u002f){{1,2}}|[-=]){CANARY}(?!\S*@)", line)) and f":{CANARY}" not in line


def assert_nothing_is_taken_for_clean(before: str, done: Rewritten) -> None:
    said = named(before, done)
    secret = [line for line in done.text.split("\n") if CANARY in line and not is_only_a_host(line)]
    assert sum(CANARY in line for line in said) >= len(secret), (secret, said)
    text = re.sub(r'"wheelgate": \[[^]]*\],', "", done.text)  # the addresses that a Pipfile.lock keeps for the way back
    addresses = [line for line in text.split("\n") if FEED in line and "#" not in line and not line.lstrip().startswith(";")]
    assert sum(FEED in line for line in said) >= len(addresses), (addresses, said)


@pytest.mark.parametrize("entry", INPUTS, ids=names)
def test_no_secret_is_left_without_a_line_that_says_so(entry: Input) -> None:
    if entry.refused:
        return
    assert_nothing_is_taken_for_clean(entry.before, rewrite_text(entry.file, entry.before, PURPOSE))


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(INPUTS), st.data())
def test_damaged_documents_are_never_taken_for_clean(entry: Input, data: st.DataObject) -> None:
    """Truncated, shuffled, with lines left out or those of another of its kind: all is read, refused, or named by line."""
    others = [other for other in INPUTS if other.file == entry.file]
    lines = entry.before.splitlines(keepends=True)
    damage = data.draw(st.sampled_from(["cut", "behead", "shuffle", "mix", "drop", "join"]))
    if damage == "cut":
        text = entry.before[: data.draw(st.integers(0, len(entry.before)))]
    elif damage == "behead":
        text = "".join(lines[data.draw(st.integers(0, len(lines))) :])  # a name that is cut in two names nothing
    elif damage == "shuffle":
        text = "".join(data.draw(st.permutations(lines)))
    elif damage == "mix":
        text = "".join(data.draw(st.permutations([*lines, *data.draw(st.sampled_from(others)).before.splitlines(keepends=True)])))
    elif damage == "drop":
        text = "".join(line for line in lines if data.draw(st.booleans()))
    else:
        text = " ".join(entry.before.split("\n"))
    try:
        done = rewrite_text(entry.file, text, PURPOSE)
    except BadInput as error:
        assert CANARY not in str(error)
        return
    if not done.refusals:
        assert_nothing_is_taken_for_clean(text, done)
        assert rewrite_text(entry.file, done.text, PURPOSE).text == done.text


@pytest.mark.parametrize("entry", LOCKS, ids=names)
def test_a_lock_is_restored_without_its_credentials(entry: Input) -> None:
    rewritten = rewrite_text(entry.file, entry.before, PURPOSE).text
    restoring = Purpose(ours=UrlClassifier(GATE), gate=GATE, restores=True)
    done = rewrite_text(entry.file, rewritten, restoring)
    canonical = entry.before.replace(WORDS["<P>"], WORDS["<E>"]).replace(WORDS["<B>"], WORDS["<B>"].partition("?")[0])
    assert done.text == canonical
