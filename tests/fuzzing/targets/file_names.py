"""File names, project names and versions, by themselves and in the path of a request."""

from __future__ import annotations

from tests.fuzzing.target import Target, assert_sentence
from wheelgate.core.belonging import Membership, read_belonging
from wheelgate.core.names import (
    is_distribution,
    is_safe_filename,
    normalise_name,
    parse_head,
    project_in,
    same_version_key,
    version_of,
)
from wheelgate.core.patterns import NamePatterns, parse_release, parse_specifier
from wheelgate.simple_api.render import file_url
from wheelgate.web.paths import Route, parse_path

_FORBIDDEN = set("/\\%#?\"'<>&;:*|`$")


def check(data: bytes) -> None:
    """The first line is a project's name, each other one a file's, a pattern's, a version's and a path's."""
    name, *lines = data.decode("utf-8", "surrogateescape").split("\n")[:30]
    for line in (name, *lines):
        _check_file(line)
        _check_pattern(line, name)
        _check_path(line)
    project = normalise_name(name)
    if project is not None:
        assert normalise_name(project) == project
        assert normalise_name(name.upper()) == normalise_name(name.lower()) == project
        for line in lines:
            _check_member(line, project)


def _check_file(filename: str) -> None:
    is_distribution(filename)
    own = project_in(filename)
    if own is not None:
        assert own == normalise_name(own)
        assert is_safe_filename(filename)
        assert own in read_belonging(filename).projects
    for project in read_belonging(filename).projects:
        assert project == normalise_name(project)
        assert filename in Membership(project)
    if is_safe_filename(filename):
        assert not _FORBIDDEN & set(filename)
        assert filename.isascii()
        assert filename.isprintable()
        assert ".." not in filename
        assert filename[0] != "."


def _check_member(filename: str, project: str) -> None:
    version = version_of(filename, project)
    if version is not None:
        same_version_key(version)
    if not is_safe_filename(filename) or filename not in Membership(project):
        return
    stated = project_in(filename)
    # ``demo-1.0-1.tar.gz`` is a post release of demo to us, and of demo-1.0 to whoever splits at the last dash.
    assert stated in (None, project) or str(stated).startswith(f"{project}-"), (
        f"{filename} is {stated}'s, and taken for {project}'s"
    )
    for prefix in ("", "/python"):
        found = parse_path(file_url(prefix, project, filename), prefix)
        assert (found.route, found.project, found.filename) == (Route.FILE, project, filename)


def _check_pattern(text: str, name: str) -> None:
    if NamePatterns.is_valid(text):
        patterns = NamePatterns([text])
        assert (name in patterns) == (patterns.first_for(name) is not None)
        if "*" not in text and (project := normalise_name(text)) is not None:
            assert project in patterns
    for parse in (parse_release, parse_specifier):
        try:
            parse(text)
        except ValueError as error:
            assert_sentence(str(error))
    parse_head(text)


def _check_path(raw: str) -> None:
    for prefix in ("", "/python"):
        found = parse_path(raw, prefix)
        if found.route is Route.NOTHING:
            continue
        assert not found.project or normalise_name(found.project) == found.project
        assert not found.filename or is_safe_filename(found.filename)
        if found.canonical is not None:
            again = parse_path(found.canonical, prefix)
            assert (again.route, again.project, again.canonical) == (found.route, found.project, None)


TARGET = Target(
    check=check,
    modules=("wheelgate.core.names", "wheelgate.core.patterns", "wheelgate.web.paths"),
    seeds=(
        b"demo\ndemo-1.0-py3-none-any.whl\ndemo-1.0.tar.gz\ndemo_2-1-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        b"Acme.Tool\nacme_tool-1.0-1.tar.gz\nacme-tool-1.0.win32-py2.7.exe\nacme.tool-1.0-py2.7.egg\nacme-tool-extra-1.0.zip",
        b"acme-*\nurllib3==2.5.1\ntorch>=2,<3\n1!2.0a1.post1.dev2+local.1\n/simple/Demo\n/files/demo/demo-1.0.tar.gz.metadata",
        b"demo\ndemo-1..0.zip\ndemo-1.0.zip.metadata\n.demo-1.0.zip\ndemo-1.0%2e.zip\ndemo-1.0;x.zip",
        b"/simple/demo/\n/legacy/+simple/demo/\n/explain/demo\n/files/a/b%2e%2e\n//simple//x\n/python/simple/x/\n/livez",
    ),
    words=(
        b".whl", b".tar.gz", b".tar.bz2", b".tgz", b".zip", b".egg", b".exe", b"-py3-none-any.whl", b".win32", b"-", b"_",
        b".", b"--", b"..", b"%2e", b"%2f", b"%25", b"/simple/", b"/files/", b"/", b"demo", b"DEMO", b"1.0", b"1!", b"+local",
        b".post1", b"v1", b"rc1", b".dev0", b"==", b"~=", b"===", b"*", b"9" * 50, b"(", b"@", b" ", b"\xc4\xb0",
        b"\xef\xac\x81", b".metadata", b".provenance",
    ),
    max_bytes=1_024,
)  # fmt: skip
