"""Requirements files: lines as pip makes them, each value where it is said to stand, and what `mirror` takes of them."""

from __future__ import annotations

from pathlib import Path

from pip._internal.req.req_file import preprocess

from tests.fuzzing.target import Target, assert_sentence
from wheelgate.core.errors import BadInput
from wheelgate.distfiles.requirements_file import LineKind, parse_line, split_lines
from wheelgate.mirror.inputs import read_projects
from wheelgate.mirror.inputs_model import MirrorInput
from wheelgate.mirror.requirements import RequirementsReader
from wheelgate.mirror.targets import parse_target

_ENVIRONMENT = {"NAME": "demo", "NESTED": "${NAME}${NAME}", "OPTIONS": "--pre -i https://a"}
_LONG = 2_000
_TARGETS = (parse_target("3.11", "linux-x86_64"), parse_target("3.12.4", "windows-x86_64"))


def check(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    lines = split_lines(text)
    assert "".join(text[line.start : line.end] for line in lines) == text.removeprefix("\ufeff")
    for line in lines:
        assert len(line.offsets) == len(line.text)
        _check_line(line.text)
    kept = [parse_line(line.text).text[: parse_line(line.text).comment].strip() for line in lines]
    if "${" not in text and len(text) < _LONG:  # pip's pattern for comments takes its time over blanks
        pip = [content for _, content in preprocess(text.removeprefix("\ufeff"))]
        assert [content for content in kept if content] == [content for content in pip if content]
    _check_reader(text)


def _check_line(text: str) -> None:
    line = parse_line(text)
    assert 0 <= line.comment <= len(text)
    assert isinstance(line.kind, LineKind)
    if line.url is not None:
        assert text[line.url.start : line.url.end] == line.url.text
    at = 0
    for option in line.options:
        assert at <= option.start <= option.value_start <= option.value_end <= len(text)
        assert option.start <= option.end
        at = option.end
    parse_line(text, _ENVIRONMENT)


def _check_reader(text: str) -> None:
    reader = RequirementsReader(MirrorInput(label="x"), _ENVIRONMENT)
    for line in split_lines(text):
        try:
            reader.read_line(line.text, "x line 1", Path("/dev/null"))
        except BadInput as error:
            assert_sentence(str(error))
    try:
        read_projects([line.text for line in split_lines(text)], {})
    except BadInput as error:
        assert_sentence(str(error))
    for requirement in (*reader.input.requirements, *reader.input.constraints):
        assert requirement.project
        str(requirement.pinned)
        for target in _TARGETS:
            try:
                requirement.holds_for(target)
            except BadInput as error:
                assert_sentence(str(error))
    assert isinstance(reader.input.is_locked, bool)


TARGET = Target(
    check=check,
    modules=("wheelgate.distfiles.requirements_file", "wheelgate.mirror.requirements", "wheelgate.mirror.inputs_model"),
    seeds=(
        b"\\demo \\\n ==1.0\n\\other==1.0\n# comment \\\ndemo \\\n# comment\nother \\",
        b"demo==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\nother>=1,<2 ; python_version < '3.12' # why\n",
        b"-i https://u:p@h/simple/\n--extra-index-url https://h2/\n--no-binary :all:\n--pre\n-r other.txt\n-c limits.txt\n-e .\n",
        b"demo @ https://h/files/demo/demo-1.0-py3-none-any.whl#sha256=00\n./here/demo.whl\ngit+https://h/x.git@v1#egg=x\n${NAME}==1\n",
        b"demo ; os_name ~= 'x' and platform_release < '1' or extra == 'a' and 'x' in sys_platform\ndemo[a,b]===x\n",
    ),
    words=(
        b"\n", b"\r\n", b"\r", b"\x0c", b"\x0b", b"\x1c", b"\xc2\x85", b"\xe2\x80\xa8", b"\xc2\xa0", b"\\\n", b"\\", b" #",
        b"#", b" ", b"\t", b"--hash=sha256:", b"--hash", b"-r ", b"-c ", b"-e ", b"-i ", b"-f ", b"--pre", b"--no-binary ",
        b"--", b"-", b"=", b"'", b'"', b"demo", b"==1.0", b" @ ", b"https://", b"https://[", b"file:///", b" ; ",
        b"python_version", b"os_name", b"platform_release", b"extra == 'a'", b"~= ", b"< '", b" in ", b" not in ", b" and ",
        b"(", b"${NAME}", b"${NESTED}", b"\xef\xbb\xbf", b"9" * 4400, b"\0", b"/files/demo/demo-1.0-py3-none-any.whl",
        b"#sha256=", b"git+ssh://", b"~", b"/dev/null", b"a" * 300,
    ),
    max_bytes=6_144,
)  # fmt: skip
