"""Inputs of `mirror` as files: pylock.toml, uv.lock, and the environments of conda and Azure ML."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.fuzzing.target import Target, assert_sentence
from wheelgate.core.errors import BadInput
from wheelgate.mirror.inputs import read_input
from wheelgate.mirror.targets import parse_target

_NAMES = {
    b"p": "pylock.toml",
    b"u": "uv.lock",
    b"o": "poetry.lock",
    b"d": "pdm.lock",
    b"l": "Pipfile.lock",
    b"c": "conda.yml",
    b"r": "requirements.txt",
}
_TARGETS = (parse_target("3.11", "linux-x86_64"), parse_target("3.12.4", "windows-x86_64"))
_FOLDER = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)


def check(data: bytes) -> None:
    """The first byte says which kind of file the others are."""
    name = _NAMES.get(data[:1])
    if name is None:
        return
    path = Path(_FOLDER.name) / name
    path.write_bytes(data[1:])
    try:
        asked = read_input(path, {})
    except BadInput as error:
        assert_sentence(str(error))
        return
    finally:
        path.unlink(missing_ok=True)
    assert asked.label == name
    for target in _TARGETS:
        try:
            needed = [] if asked.lock is None else asked.lock(target).needs
            for requirement in asked.requirements:
                requirement.holds_for(target)
        except BadInput as error:
            assert_sentence(str(error))
            continue
        for release in needed:
            assert release.project
            assert isinstance(release.version, str)


_PYLOCK = b"""p
lock-version = "1.0"
created-by = "x"
[[packages]]
name = "demo"
version = "1.0"
marker = "python_version >= '3'"
[[packages.wheels]]
name = "demo-1.0-py3-none-any.whl"
url = "https://h/demo-1.0-py3-none-any.whl"
size = 1
hashes = {sha256 = "aa"}
[packages.sdist]
name = "demo-1.0.tar.gz"
url = "https://h/demo-1.0.tar.gz"
hashes = {sha256 = "aa"}
"""
_UV_LOCK = b"""u
version = 1
requires-python = ">=3.11"
[[package]]
name = "app"
version = "0.1"
source = { virtual = "." }
dependencies = [{ name = "demo", marker = "sys_platform == 'linux'" }]
[package.optional-dependencies]
x = [{ name = "demo", version = "1.0" }]
[[package]]
name = "demo"
version = "1.0"
source = { registry = "https://h/simple" }
resolution-markers = ["python_version < '4'"]
sdist = { url = "https://h/demo-1.0.tar.gz", hash = "sha256:aa", size = 1 }
wheels = [{ url = "https://h/demo-1.0-py3-none-any.whl", hash = "sha256:aa" }]
"""
TARGET = Target(
    check=check,
    modules=(
        "wheelgate.mirror.inputs",
        *(f"wheelgate.mirror.{name}" for name in ("pylock", "uv_lock", "poetry_lock", "pdm_lock", "pipfile_lock")),
        "wheelgate.mirror.lock_choices",
        "wheelgate.mirror.conda",
        "wheelgate.mirror.requirements",
    ),
    seeds=(
        _PYLOCK,
        _UV_LOCK,
        b"cname: x\ndependencies:\n- python=3.11\n- pip:\n  - demo==1.0\n  - '-r other.txt'\n",
        b"cimage: x\nconda_file:\n  dependencies:\n  - pip: [demo, 'a; os_name < 1']\n",
        b"cconda_file: other.yml\n",
        b"uversion = 1\npackage = [{ name = 1 }]\n",
        b'plock-version = "1.0"\npackages = 1\n',
        b"rdemo==1\n-r x\n",
        b'o[[package]]\nname = "a"\nversion = "1"\nmarkers = "extra == \'x\'"\n'
        b'files = [{file = "a-1.tar.gz", hash = "sha256:aa"}]\n'
        b'[extras]\nx = ["a"]\n[metadata]\nlock-version = "2.1"\npython-versions = "^3.9 || ~3.8"\n',
        b'd[metadata]\nlock_version = "4.5.0"\n[[metadata.targets]]\nrequires_python = ">=3.8"\n[[package]]\nname = "a"\n'
        b'version = "1"\ngroups = ["dev"]\nmarker = "os_name == \'nt\'"\ndependencies = ["b; os_name < \'x\'"]\nfiles = []\n',
        b'l{"_meta": {"pipfile-spec": 6, "requires": {"python_version": "3.11"}}, "default": {"a": {"version": "==1",'
        b' "hashes": ["sha256:aa"], "markers": "os_name == \'posix\'"}}}',
    ),
    words=(
        b"[[packages]]\n", b"[[package]]\n", b"version = ", b"marker = ", b"name = ", b"url = ", b"https://[", b"hashes = ",
        b"{", b"}", b"[", b"]", b"=", b'"', b"'", b"9" * 4400, b"1979-05-27", b"nan", b"true", b"python_version < '",
        b"os_name ~= 'x'", b"platform_release < '1'", b"extra == 'x'", b"source = ", b"registry", b"editable",
        b"dependencies", b"- pip:\n", b"  - ", b"\n", b": ", b"&a ", b"*a", b'"\\0"', b'"\\U00110000"', b"conda_file: ",
        b"-r ", b"\\u0000", b"%00", b"path = ", b"filename = ", b"\xef\xbb\xbf", b"\0", b"/", b"..", b"upload-time = ",
        b"size = -1", b"dev-dependencies", b"a" * 300, b"lock-version = ", b"extras = ", b"dependency-groups = ",
    ),
    max_bytes=8_192,
)  # fmt: skip
