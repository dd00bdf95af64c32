"""A line is read as pip reads it: requirement, URL, options, comment."""

from __future__ import annotations

import pytest

from wheelgate.rewrite.pip_lines import LineKind, read


@pytest.mark.parametrize(
    ("line", "url", "name"),
    [
        ("acme @ https://h/x.whl", "https://h/x.whl", "acme"),
        ("acme[a,b]@https://h/x.whl ; python_version > '3'", "https://h/x.whl", "acme[a,b]"),
        ("acme @ https://h/x.whl; python_version > '3'", "https://h/x.whl", "acme"),
        ("https://h/x.whl#sha256=00  # why", "https://h/x.whl#sha256=00", ""),
        ("  https://h/x.whl?a=b&c=d --hash=sha256:00", "https://h/x.whl?a=b&c=d", ""),
        ("https://u:p;w@h/x.whl", "https://u:p;w@h/x.whl", ""),
        ("acme==1.0", None, ""),
        ("# acme @ https://h/x.whl", None, ""),
        ("acme==1.0  # https://h/x.whl", None, ""),
        ("-e git+https://h/x.git#egg=x", None, ""),
    ],
)
def test_the_url_of_a_requirement(line: str, url: str | None, name: str) -> None:
    found = read(line).url
    assert (found and found.text) == url
    if found is not None:
        assert found.name == name
        assert line[found.start : found.end] == found.text
        assert not name or line[: found.name_end].endswith(name)


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("--index-url https://a", [(LineKind.INDEX, "https://a")]),
        ("--index-url=https://a", [(LineKind.INDEX, "https://a")]),
        ('--index-url "https://a"', [(LineKind.INDEX, "https://a")]),
        ("-i https://a", [(LineKind.INDEX, "https://a")]),
        ("-ihttps://a", [(LineKind.INDEX, "https://a")]),
        ("--pypi-url https://a", [(LineKind.INDEX, "https://a")]),
        ("--ind https://a", [(LineKind.INDEX, "https://a")]),
        ("--extra https://a -f https://b", [(LineKind.EXTRA_INDEX, "https://a"), (LineKind.FIND_LINKS, "https://b")]),
        ("--find-links='https://b'", [(LineKind.FIND_LINKS, "https://b")]),
        ("--no-index --find-links ./wheels", [(LineKind.NO_INDEX, ""), (LineKind.FIND_LINKS, "./wheels")]),
        ("-e git+https://t@h/x.git", [(LineKind.OTHER, "git+https://t@h/x.git")]),
        ("--editable=git+https://t@h/x.git", [(LineKind.OTHER, "git+https://t@h/x.git")]),
        ("-r https://h/r.txt?sig=1 # --index-url https://a", [(LineKind.OTHER, "https://h/r.txt?sig=1")]),
        ("--trusted-host h --pre --no-binary :all:", []),
        ("--no-binary --index-url", [(LineKind.INDEX, "")]),
        ("acme==1 --hash=sha256:00", []),
    ],
)
def test_options_that_name_places(line: str, options: list[tuple[LineKind, str]]) -> None:
    read_line = read(line)
    assert [(option.kind, option.value) for option in read_line.options] == options
    for option in read_line.options:
        assert line[option.start] == "-" or option.kind is LineKind.OTHER
        assert option.end <= read_line.comment
        assert line[option.value_start : option.end].rstrip("\"'") == option.value


@pytest.mark.parametrize(("line", "comment"), [("a # b", 1), ("a#b", 3), ("# b", 0), ("a  ## b", 2), ("https://h/x#y", 13)])
def test_a_comment_begins_after_white_space(line: str, comment: int) -> None:
    assert read(line).comment == comment
