"""Requirements files are read as pip reads them, held against its own reader; and every value stands where it is said to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pip._internal.exceptions import CommandError
from pip._internal.req.req_file import OptionParsingError, get_line_parser, preprocess

from wheelgate.distfiles.requirements_file import LineKind, LogicalLine, ParsedLine, parse_line, split_lines

HASH = "--hash=sha256:" + "a" * 64
ENVIRONMENT = {
    "NAME": "demo",
    "TOKEN": "s3cret",
    "EMPTY": "",
    "NESTED": "${NAME}",
    "OPTIONS": "--pre -i https://a",
    "HASHED": "a #b",
}
# pip takes a blank alone for what ends a requirement: a line with other white space there is no requirement to it.
_UNLIKE_PIP = re.compile(r"[^\S ]-")

_LISTS = {
    "extra_index_urls": "--extra-index-url",
    "find_links": "--find-links",
    "requirements": "--requirement",
    "constraints": "--constraint",
    "editables": "--editable",
    "trusted_hosts": "--trusted-host",
}
_SWITCHES = {
    "no_index": "--no-index",
    "require_hashes": "--require-hashes",
    "no_require_hashes": "--no-require-hashes",
    "pre": "--pre",
    "prefer_binary": "--prefer-binary",
}

CORPUS = {
    "empty": "",
    "blank lines": "\n\n  \n\t\n",
    "no line end": "demo",
    "windows line ends": "demo==1\r\nother\r\n",
    "old Mac line ends": "demo==1\rother\r",
    "form feed is a line end": "demo\x0cother\x0b-i https://a",
    "unicode line ends": "demo\u2028other\x85third",
    "a byte-order mark in the middle": "demo\n\ufeffother",
    "comment": "# demo",
    "indented comment": "   # demo",
    "comment after": "demo==1 # why",
    "comment after a tab": "demo==1\t# why",
    "hash sign without white space": "demo==1#why",
    "fragment": "demo @ https://h/demo-1.zip#sha256=00",
    "fragment and comment": "demo @ https://h/demo-1.zip#egg=demo # why",
    "comment within quotes": "--index-url 'https://h #x'",
    "joined": "demo==1 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb",
    "joined with two backslashes": f"demo==1.0 \\\\\n {HASH}",
    "joined without white space": "de\\\nmo==1",
    "backslash at the start": "\\demo==1.0",
    "backslash at the start of a joined line": "\\demo \\\n ==1.0",
    "backslash before a blank": "demo \\ \nother",
    "backslash at the end of the file": "demo \\",
    "nothing but a backslash": "\\",
    "nothing but backslashes": "\\\\\\\n\\\\",
    "comment within joined lines": "demo \\\n# comment\nother",
    "comment that ends in a backslash": "# comment \\\ndemo",
    "comment after that ends in a backslash": "demo # comment \\\nother",
    "blank line after a backslash": "demo \\\n\nother",
    "windows joined": "demo \\\r\n ; python_version > '3'",
    "marker with a dash": "demo ; sys_platform == 'x-y'",
    "marker with a separate dash": "demo ; extra == 'a -b'",
    "extras": "demo[a,b]>=1,<2",
    "spaces around": "   demo == 1.0   ",
    "many blanks before an option": f"demo==1     {HASH}",
    "name with a dash": "demo-two -- --pre",
    "URL with @ alone": "demo@https://h/x.whl",
    "URL with a variable": "demo @ https://u:${TOKEN}@h/x.whl",
    "bare URL": "https://h/x.whl?a=b&c=d --hash=sha256:00",
    "path": "./here/demo-1.0-py3-none-any.whl",
    "repository": "git+https://h/x.git@v1#egg=x",
    "index": "--index-url https://a",
    "index joined": "--index-url=https://a",
    "index short": "-i https://a",
    "index short joined": "-ihttps://a",
    "index short with an equals sign": "-i=https://a",
    "index under its old name": "--pypi-url https://a",
    "index abbreviated": "--index URL",
    "index much abbreviated": "--i URL",
    "extra index abbreviated": "--extra URL",
    "old name abbreviated": "--py=https://a",
    "find-links abbreviated": "--find ./wheels",
    "ambiguous": "--no https://a",
    "ambiguous too": "--pr",
    "ambiguous in newer pips": "--only :all:",
    "unknown": "--frobnicate",
    "unknown short": "-x",
    "switch with a value": "--pre=yes",
    "no value": "demo --hash",
    "no value at all": "--index-url",
    "an option as value": "--no-binary --index-url",
    "an empty value": "--index-url=",
    "several options": "--pre --extra-index-url https://a -f ./b --trusted-host h",
    "the same twice": "-i https://a -i https://b",
    "words between": "--pre demo -i https://a",
    "dash alone": "- --pre",
    "two dashes": "--pre -- -i https://a",
    "quoted": '--index-url "https://a"',
    "quoted joined": "--find-links='./with blank'",
    "quoted in part": "--find-links ./'a b'/c",
    "whole option quoted": '"--index-url=https://a"',
    "option quoted after the first": '--pre "--index-url=https://a"',
    "escaped blank": "-f ./with\\ blank -i https://a",
    "open quote": "--index-url 'https://a",
    "open quote in a requirement": "demo ; os_name == 'x",
    "reference": "-r other.txt",
    "reference joined": "-rother.txt",
    "reference abbreviated": "--requirem=other.txt",
    "constraint": "-c limits.txt # why",
    "two references": "-r a.txt -r b.txt -c c.txt",
    "editable": "-e .",
    "editable repository": "--editable=git+https://h/x.git#egg=x",
    "editable and a reference": "-e . -r a.txt",
    "requirement and an index": "demo -i https://a",
    "hash alone": HASH,
    "hash by another algorithm": "demo --hash=sha512:00",
    "hash that is too weak": "demo --hash=md5:00",
    "hash without an algorithm": "demo --hash=00",
    "hash abbreviated": "demo --has sha256:00",
    "hash behind a tab": "--pre\t--hash\tsha256:00",
    "settings": "demo -C a=b --config-settings='c=d e'",
    "settings without a value": "demo -C a",
    "binary": "--no-binary :all:\n--only-binary=demo,other",
    "variable as name": "${NAME}==1",
    "variable that is empty": "demo${EMPTY}",
    "variable that is not set": "demo${NOT_SET}",
    "variable in small letters": "${name}",
    "variable that holds another": "${NESTED} ${NAME}",
    "variable that holds options": "${OPTIONS} --no-index",
    "variable that holds a comment": "-f ${HASHED}",
    "variable in a comment": "demo # ${OPTIONS}",
    "no-break space": "demo\u00a0==1",
    "no-break space at the end": "demo\u00a0",
    "letters of the world": "d\u00e9mo @ https://h/\u00fc.whl",
    "null": "demo\x00",
}


@pytest.fixture(autouse=True, scope="module")
def environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        yield


def read(text: str) -> list[tuple[LogicalLine, ParsedLine]]:
    lines = [(line, parse_line(line.text, ENVIRONMENT)) for line in split_lines(text)]
    return [(line, parsed) for line, parsed in lines if parsed.kind is not LineKind.EMPTY]


def assert_read_as_pip_does(text: str) -> None:
    ours = read(text)
    theirs = list(preprocess(text))
    assert [(line.number, parsed.text) for line, parsed in ours] == theirs
    for (_, parsed), (_, content) in zip(ours, theirs, strict=True):
        if _UNLIKE_PIP.search(content):
            continue
        try:
            requirement, options = get_line_parser(None)(content)
        except (OptionParsingError, CommandError):
            assert parsed.problem is not None
        else:
            assert parsed.problem is None
            assert parsed.requirement == requirement.strip()
            assert said_by(parsed) == as_pip_says(vars(options))


def said_by(parsed: ParsedLine) -> dict[str, object]:
    said: dict[str, object] = {key: parsed.values_of(name) for key, name in _LISTS.items()}
    said |= {key: bool(parsed.values_of(name)) for key, name in _SWITCHES.items()}
    said["index_url"] = (parsed.values_of("--index-url") or [None])[-1]
    said["hashes"] = sorted(parsed.values_of("--hash"))
    said["config_settings"] = sorted(parsed.values_of("--config-settings"))
    return said


def as_pip_says(options: dict[str, Any]) -> dict[str, object]:
    settings = {
        key: values if isinstance(values, list) else [values] for key, values in (options["config_settings"] or {}).items()
    }
    return {
        **{key: options[key] or [] for key in _LISTS},
        **{key: bool(options[key]) for key in _SWITCHES},
        "index_url": options["index_url"],
        "hashes": sorted(f"{kind}:{digest}" for kind, digests in (options["hashes"] or {}).items() for digest in digests),
        "config_settings": sorted(f"{key}={value}" for key, values in settings.items() for value in values),
    }


def assert_everything_stands_where_it_is_said_to(text: str) -> None:
    """The physical lines tile the file; each character, option, value, URL and comment is in its place."""
    at = 0
    for line in split_lines(text):
        assert line.start == at
        at = line.end
        assert line.number == len(text[: line.start].splitlines()) + 1
        assert len(line.text) == len(line.offsets)
        for character, offset in zip(line.text, line.offsets, strict=True):
            assert line.start <= offset < line.end
            assert character in (text[offset], " ")  # a blank is put before a comment that ends joined lines
        assert line.offsets == sorted(line.offsets)
        parsed = parse_line(line.text)
        assert parsed.text == line.text
        assert not line.text[parsed.comment :] or line.text[parsed.comment :].lstrip().startswith("#")
        ends = 0
        for option in parsed.options:
            assert ends <= option.start <= option.value_start <= option.value_end <= option.end <= parsed.comment
            ends = option.end
        if parsed.url is not None:
            assert line.text[parsed.url.start : parsed.url.end] == parsed.url.text
            assert parsed.url.text in parsed.requirement
    assert at == len(text)


@pytest.mark.parametrize("case", CORPUS)
def test_the_corpus_is_read_as_pip_reads_it(case: str) -> None:
    assert_read_as_pip_does(CORPUS[case])
    assert_everything_stands_where_it_is_said_to(CORPUS[case])


PIECES = st.sampled_from(
    [
        *("demo", "==1.0", "[a]", " @ ", "https://h/x.whl", "; os_name == 'a'", "${NAME}", "${NESTED}", "${EMPTY}", "${", "}"),
        *(
            " ",
            " ",
            " ",
            "  ",
            "\t",
            "\\",
            "\\",
            "\n",
            "\n",
            "\r\n",
            "\\\n",
            "\x0b",
            "\u2028",
            "\u00a0",
            "#",
            " # c",
            "=",
            "'",
            '"',
        ),
        *(
            " -",
            " --",
            "-i ",
            "--index-url=",
            "--in ",
            "--extra ",
            "--no-",
            "--pre",
            "--pr",
            " --hash=sha256:00",
            " --hash md5:0",
        ),
        *(
            "--no-binary a",
            "--only-b ",
            "-r a.txt",
            "-cb.txt",
            "-e ",
            "--edit=",
            "-f",
            "--find-links ",
            "--no-index",
            "-C a=b",
            "--trusted-host ",
            "-x",
            " --x ",
        ),
    ]
)


@settings(deadline=None, max_examples=1500)
@given(st.lists(PIECES, max_size=16).map("".join))
@example("a \\\n# comment\nb")
def test_any_file_is_read_as_pip_reads_it(text: str) -> None:
    assert_read_as_pip_does(text)
    assert_everything_stands_where_it_is_said_to(text)


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet=st.characters(max_codepoint=0x2030), max_size=40))
def test_any_text_is_read_as_pip_reads_it(text: str) -> None:
    assert_read_as_pip_does(text)
    assert_everything_stands_where_it_is_said_to(text)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("", LineKind.EMPTY),
        ("  ", LineKind.EMPTY),
        ("# x", LineKind.COMMENT),
        ("demo", LineKind.REQUIREMENT),
        ("demo --hash=sha256:00", LineKind.REQUIREMENT),
        ("demo\t--hash=sha256:00", LineKind.REQUIREMENT),
        ("demo @ https://h/x", LineKind.URL),
        ("https://h/x -i https://a", LineKind.URL),
        ("-e . -r a", LineKind.EDITABLE),
        ("--pre -r a", LineKind.REFERENCE),
        ("-c a", LineKind.REFERENCE),
        ("--pre", LineKind.OPTIONS),
        ("--frobnicate", LineKind.OPTIONS),
    ],
)
def test_what_a_line_is(line: str, kind: LineKind) -> None:
    assert parse_line(line).kind is kind


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
    found = parse_line(line).url
    assert (found and found.text) == url
    if found is not None:
        assert found.name == name
        assert line[found.start : found.end] == found.text
        assert not name or line[: found.name_end].endswith(name)


INDEX, EXTRA_INDEX, LINKS = "--index-url", "--extra-index-url", "--find-links"


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("--index-url https://a", [(INDEX, "https://a")]),
        ("--index-url=https://a", [(INDEX, "https://a")]),
        ('--index-url "https://a"', [(INDEX, "https://a")]),
        ("-i https://a", [(INDEX, "https://a")]),
        ("-ihttps://a", [(INDEX, "https://a")]),
        ("--pypi-url https://a", [(INDEX, "https://a")]),
        ("--ind https://a", [(INDEX, "https://a")]),
        ("--extra https://a -f https://b", [(EXTRA_INDEX, "https://a"), (LINKS, "https://b")]),
        ("--find-links='https://b'", [(LINKS, "https://b")]),
        ("--no-index --find-links ./wheels", [("--no-index", ""), (LINKS, "./wheels")]),
        ("-e git+https://t@h/x.git", [("--editable", "git+https://t@h/x.git")]),
        ("--editable=git+https://t@h/x.git", [("--editable", "git+https://t@h/x.git")]),
        ("-r https://h/r.txt?sig=1 # --index-url https://a", [("--requirement", "https://h/r.txt?sig=1")]),
        ("--pre https://a", [("--pre", ""), ("", "https://a")]),
        ("--frobnicate=https://a", [("", "https://a")]),
        ("-i 'https://a", [(INDEX, "'https://a")]),
        ("acme==1 --hash=sha256:00", [("--hash", "sha256:00")]),
    ],
)
def test_options_and_where_their_values_stand(line: str, options: list[tuple[str, str]]) -> None:
    parsed = parse_line(line)
    assert [(option.name, option.value) for option in parsed.options] == options
    for option in parsed.options:
        assert line[option.start] == "-" or not option.name
        assert line[option.value_start : option.value_end] == option.value


@pytest.mark.parametrize(("line", "comment"), [("a # b", 1), ("a#b", 3), ("# b", 0), ("a  ## b", 2), ("https://h/x#y", 13)])
def test_a_comment_begins_after_white_space(line: str, comment: int) -> None:
    assert parse_line(line).comment == comment


def test_a_byte_order_mark_belongs_to_no_line() -> None:
    (line,) = split_lines("\ufeffdemo\n")
    assert (line.text, line.start, line.offsets[0]) == ("demo", 1, 1)
