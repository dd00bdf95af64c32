"""Projects of every shape that people lock, what two indexes publish for them, and what each project needs where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.support.index import FakeIndex
from tests.support.packages import metadata, sdist_bytes, wheel_bytes, wheel_name

LINUX, WINDOWS, MACOS = "linux-x86_64", "windows-x86_64", "macos-arm64"
PLATFORMS = (LINUX, WINDOWS, MACOS)
PUBLIC, TEAM = "https://public.example/simple/", "https://team.example/simple/"
"""The indexes in locks that are kept."""
_TAGS = {
    LINUX: "cp311-cp311-manylinux_2_17_x86_64",
    WINDOWS: "cp311-cp311-win_amd64",
    MACOS: "cp311-cp311-macosx_11_0_arm64",
}


_BACKEND = b"""
import os, tomllib, zipfile
def read():
    with open("pyproject.toml", "rb") as file:
        project = tomllib.load(file).get("project", {})
    if not project:
        with open("PKG-INFO") as file:
            said = dict(line.rstrip().split(": ", 1) for line in file if ": " in line)
        project = {"name": said["Name"], "version": said["Version"]}
    return project["name"].replace("-", "_"), project["version"], project
def metadata(project):
    lines = ["Metadata-Version: 2.1", "Name: " + project["name"], "Version: " + project["version"]]
    return "\\n".join(lines + ["Requires-Dist: " + text for text in project.get("dependencies", [])]) + "\\n"
def get_requires_for_build_wheel(config_settings=None):
    return []
get_requires_for_build_editable = get_requires_for_build_wheel
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    module, version, project = read()
    info = module + "-" + version + ".dist-info"
    os.mkdir(os.path.join(folder, info))
    with open(os.path.join(folder, info, "METADATA"), "w") as file:
        file.write(metadata(project))
    return info
prepare_metadata_for_build_editable = prepare_metadata_for_build_wheel
def build_wheel(folder, config_settings=None, metadata_directory=None):
    module, version, project = read()
    name, info = module + "-" + version + "-py3-none-any.whl", module + "-" + version + ".dist-info"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        wheel.writestr(module + ".py", "built = True")
        wheel.writestr(info + "/METADATA", metadata(project))
        wheel.writestr(info + "/WHEEL", "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(info + "/RECORD", "")
    return name
build_editable = build_wheel
"""
"""A build backend that builds whatever project it is run in, named setuptools."""


def publish(public: FakeIndex, team: FakeIndex) -> None:
    """Publish what the shapes need: wheels for each platform, an sdist, one version in two indexes, builds for cpu and gpu."""
    _publish_wheels(public, "app-lib", "1.0", PLATFORMS, ["colour; sys_platform == 'win32'", "only-source"])
    public.publish("only-source", "only_source-3.0.tar.gz", sdist_bytes("only-source", "3.0"))
    backend = wheel_bytes("setuptools", "80.0", extra={"setuptools/__init__.py": b"", "setuptools/build_meta.py": _BACKEND})
    public.publish("setuptools", wheel_name("setuptools", "80.0"), backend)
    for name in ("colour", "extra-one", "extra-two", "driver"):
        _publish_pure(public, name, "1.0")
    for version in ("1.0", "2.0"):
        _publish_pure(public, "checker", version)
        _publish_wheels(public, "tensor", version, PLATFORMS)
    _publish_pure(public, "old-new", "1.0")
    _publish_pure(public, "old-new", "2.0", requires_python=">=3.12")
    _publish_pure(public, "with-extra", "1.0", extra="Provides-Extra: fast\nRequires-Dist: extra-two; extra == 'fast'\n")
    _publish_wheels(public, "tensor", "3.0+cpu", PLATFORMS)
    _publish_wheels(team, "tensor", "3.0+gpu", (LINUX, WINDOWS), ["driver"])
    _publish_wheels(public, "twin", "1.0", (LINUX,))
    _publish_wheels(team, "twin", "1.0", (WINDOWS, MACOS))


def _publish_pure(index: FakeIndex, name: str, version: str, *, requires_python: str | None = None, extra: str = "") -> None:
    body = metadata(name, version, requires_python=requires_python)
    body = body.replace(b"Summary:", extra.encode() + b"Summary:")
    index.publish(name, wheel_name(name, version), wheel_bytes(name, version, metadata_body=body), metadata=body)


def _publish_wheels(index: FakeIndex, name: str, version: str, platforms: Sequence[str], requires: Sequence[str] = ()) -> None:
    body, module = metadata(name, version, requires=requires), name.replace("-", "_")
    for platform in platforms:
        tag = _TAGS[platform]
        wheel = wheel_bytes(name, version, metadata_body=body, extra={f"{module}_for/{tag}": b""})
        index.publish(name, f"{module}-{version}-{tag}.whl", wheel, metadata=body)


def file_names(platform: str, *releases: str) -> set[str]:
    """The files of releases such as ``colour-1.0`` that a platform takes, with Python 3.11."""
    alone = {"app_lib", "tensor", "twin"}
    named = {
        release: f"{release}-{_TAGS[platform]}.whl" if release.partition("-")[0] in alone else f"{release}-py3-none-any.whl"
        for release in releases
    }
    return {"only_source-3.0.tar.gz" if release == "only_source-3.0" else name for release, name in named.items()}


@dataclass(frozen=True)
class LockShape:
    """A project of one shape, and what it needs on each platform."""

    files: Mapping[str, str]
    """By path; ``<public>`` and ``<team>`` stand for the indexes."""
    needs: Sequence[str]
    """Releases, on every platform."""
    more: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Releases besides, by platform."""
    builds: Sequence[str] = ()
    """The projects of one's own that are built where they are installed."""
    is_exported: bool = True
    """Its ``pylock.toml`` can be installed: it has no two choices in it that exclude each other."""

    def list_files(self, platform: str) -> set[str]:
        return file_names(platform, *self.needs, *self.more.get(platform, ()))


_BUILD = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
_INDEXES = (
    '[[tool.uv.index]]\nname = "team"\nurl = "<team>"\nexplicit = true\n'
    '[[tool.uv.index]]\nname = "public"\nurl = "<public>"\ndefault = true\n'
)


def _project(name: str, *dependencies: str) -> str:
    return f'[project]\nname = "{name}"\nversion = "0.1"\nrequires-python = ">=3.10"\ndependencies = {list(dependencies)}\n'


_EXTRAS = (
    '[project.optional-dependencies]\nmore = ["extra-one"]\n'
    '[dependency-groups]\ndev = ["checker<2", {include-group = "lint"}]\nlint = ["extra-two"]\n'
)
_APP, _ON_WINDOWS = ("app_lib-1.0", "only_source-3.0"), {WINDOWS: ("colour-1.0",)}
_MEMBERS = '[tool.uv.workspace]\nmembers = ["packages/*"]\n'

UV_SHAPES = {
    "own": LockShape(
        {"pyproject.toml": _project("own", "app-lib", "with-extra[fast]") + _EXTRAS + _BUILD + _INDEXES},
        (*_APP, "with_extra-1.0", "extra_one-1.0", "extra_two-1.0", "checker-1.0"),
        _ON_WINDOWS,
        builds=["own"],
    ),
    "virtual": LockShape({"pyproject.toml": _project("own", "app-lib") + _INDEXES}, _APP, _ON_WINDOWS),
    "workspace": LockShape(
        {
            "pyproject.toml": _project("root", "member-a")
            + f"[tool.uv.sources]\nmember-a = {{workspace = true}}\n{_MEMBERS}{_INDEXES}",
            "packages/a/pyproject.toml": _project("member-a", "app-lib") + '[dependency-groups]\ndev = ["checker"]\n' + _BUILD,
            "packages/b/pyproject.toml": _project("member-b", "extra-one") + _BUILD,
        },
        (*_APP, "checker-2.0", "extra_one-1.0"),
        _ON_WINDOWS,
        builds=["member-a", "member-b"],
    ),
    "rootless": LockShape(
        {
            "pyproject.toml": f'[dependency-groups]\ndev = ["checker"]\n{_MEMBERS}{_INDEXES}',
            "packages/a/pyproject.toml": _project("member-a", "app-lib") + _BUILD,
        },
        (*_APP, "checker-2.0"),
        _ON_WINDOWS,
        builds=["member-a"],
    ),
    "aside": LockShape(
        {
            "pyproject.toml": _project("root", "aside") + f'[tool.uv.sources]\naside = {{path = "aside"}}\n{_INDEXES}',
            "aside/pyproject.toml": _project("aside", "extra-one")
            + f'[project.optional-dependencies]\nnever = ["extra-two"]\n{_BUILD}',
        },
        ["extra_one-1.0"],
        builds=["aside"],
    ),
    "twin": LockShape(
        {
            "pyproject.toml": _project("two", "twin")
            + "[tool.uv.sources]\ntwin = [{index = 'team', marker = \"sys_platform != 'linux'\"},"
            + f" {{index = 'public', marker = \"sys_platform == 'linux'\"}}]\n{_INDEXES}",
        },
        ["twin-1.0"],
    ),
    "cpu-or-gpu": LockShape(
        {
            "pyproject.toml": _project("torn", "extra-one")
            + '[project.optional-dependencies]\ncpu = ["tensor==3.0+cpu"]\ngpu = ["tensor==3.0+gpu"]\n'
            + '[tool.uv]\nconflicts = [[{extra = "cpu"}, {extra = "gpu"}]]\n'
            + f'[tool.uv.sources]\ntensor = [{{index = "public", extra = "cpu"}}, {{index = "team", extra = "gpu"}}]\n{_INDEXES}',
        },
        ["extra_one-1.0", "tensor-3.0+cpu", "driver-1.0"],
        {LINUX: ["tensor-3.0+gpu"], WINDOWS: ["tensor-3.0+gpu"]},
        is_exported=False,
    ),
    "exclusive": LockShape(
        {
            "pyproject.toml": _project("torn", "tensor")
            + '[project.optional-dependencies]\none = ["tensor==1.0"]\ntwo = ["tensor==2.0"]\n'
            + '[dependency-groups]\ng1 = ["checker==1.0"]\ng2 = ["checker==2.0"]\n'
            + '[tool.uv]\nconflicts = [[{extra = "one"}, {extra = "two"}], [{group = "g1"}, {group = "g2"}]]\n'
            + _INDEXES,
        },
        ["tensor-1.0", "tensor-2.0", "checker-1.0", "checker-2.0"],
        is_exported=False,
    ),
    "members-apart": LockShape(
        {
            "pyproject.toml": '[tool.uv]\nconflicts = [[{package = "member-a"}, {package = "member-b"}]]\n' + _MEMBERS + _INDEXES,
            "packages/a/pyproject.toml": _project("member-a", "checker==1.0") + _BUILD,
            "packages/b/pyproject.toml": _project("member-b", "checker==2.0") + _BUILD,
        },
        ["checker-1.0", "checker-2.0"],
        builds=["member-a", "member-b"],
        is_exported=False,
    ),
    "fork": LockShape(
        {
            "pyproject.toml": _project(
                "forked", "old-new==1.0; python_version < '3.12'", "old-new==2.0; python_version >= '3.12'"
            )
            + _INDEXES,
        },
        ["old_new-1.0"],
    ),
}
"""Projects as uv has them."""

_FOR_PDM = '[[tool.pdm.source]]\nname = "pypi"\nurl = "<public>"\n[[tool.pdm.source]]\nname = "team"\nurl = "<team>"\n'
_FOR_POETRY = (
    '[[tool.poetry.source]]\nname = "public"\nurl = "<public>"\npriority = "primary"\n'
    '[[tool.poetry.source]]\nname = "team"\nurl = "<team>"\npriority = "explicit"\n'
)
_FOR_PIPENV = (
    '[[source]]\nname = "public"\nurl = "<public>"\nverify_ssl = true\n'
    '[[source]]\nname = "team"\nurl = "<team>"\nverify_ssl = true\n'
)
_NO_PACKAGE = "[tool.poetry]\npackage-mode = false\n"
_OWN_NEEDS = (*_APP, "with_extra-1.0", "extra_one-1.0", "extra_two-1.0", "checker-1.0")

PDM_SHAPES = {
    "own": LockShape(
        {"pyproject.toml": _project("own", "app-lib", "with-extra[fast]") + _EXTRAS + _BUILD + _FOR_PDM},
        _OWN_NEEDS,
        _ON_WINDOWS,
        builds=["own"],
    ),
    "aside": LockShape(
        {
            "pyproject.toml": _project("root")
            + '[tool.pdm]\ndistribution = false\n[dependency-groups]\ndev = ["-e file:///${PROJECT_ROOT}/aside#egg=aside"]\n'
            + _FOR_PDM,
            "aside/pyproject.toml": _project("aside", "extra-one") + _BUILD,
        },
        ["extra_one-1.0"],
        builds=["aside"],
    ),
}
POETRY_SHAPES = {
    "own": LockShape(
        {"pyproject.toml": _project("own", "app-lib", "with-extra[fast]") + _EXTRAS + _NO_PACKAGE + _FOR_POETRY},
        _OWN_NEEDS,
        _ON_WINDOWS,
    ),
    "groups": LockShape(
        {
            "pyproject.toml": f'{_NO_PACKAGE}[tool.poetry.dependencies]\npython = "^3.10"\napp-lib = "*"\n'
            'extra-one = {version = "*", optional = true}\naside = {path = "aside", develop = true}\n'
            '[tool.poetry.extras]\nmore = ["extra-one"]\n[tool.poetry.group.dev.dependencies]\nchecker = "^1.0"\n'
            '[tool.poetry.group.rare]\noptional = true\n[tool.poetry.group.rare.dependencies]\nextra-two = "1.0"\n' + _FOR_POETRY,
            "aside/pyproject.toml": _project("aside", "extra-one") + _BUILD,
        },
        (*_APP, "extra_one-1.0", "extra_two-1.0", "checker-1.0"),
        _ON_WINDOWS,
        builds=["aside"],
    ),
    "cpu-or-gpu": LockShape(
        {
            "pyproject.toml": _project("torn", "extra-one")
            + '[project.optional-dependencies]\ncpu = ["tensor==3.0+cpu"]\ngpu = ["tensor==3.0+gpu"]\n'
            + f"{_NO_PACKAGE}[tool.poetry.dependencies]\ntensor = ["
            + "{markers = \"extra == 'cpu' and extra != 'gpu'\", source = 'public'}, "
            + "{markers = \"extra == 'gpu' and extra != 'cpu'\", source = 'team'}]\n"
            + _FOR_POETRY,
        },
        ["extra_one-1.0", "tensor-3.0+cpu", "driver-1.0"],
        {LINUX: ["tensor-3.0+gpu"], WINDOWS: ["tensor-3.0+gpu"]},
    ),
    "fork": LockShape(
        {
            "pyproject.toml": f'{_NO_PACKAGE}[tool.poetry.dependencies]\npython = ">=3.10"\n'
            'old-new = [{version = "1.0", python = "<3.12"}, {version = "2.0", python = ">=3.12"}]\n' + _FOR_POETRY
        },
        ["old_new-1.0"],
    ),
    "twin": LockShape(
        {
            "pyproject.toml": f'{_NO_PACKAGE}[tool.poetry.dependencies]\npython = ">=3.10"\n'
            'twin = [{version = "1.0", source = "public", markers = "sys_platform == \'linux\'"}, '
            '{version = "1.0", source = "team", markers = "sys_platform != \'linux\'"}]\n' + _FOR_POETRY
        },
        ["twin-1.0"],
    ),
}
PIPENV_SHAPES = {
    "own": LockShape(
        {
            "Pipfile": f'{_FOR_PIPENV}[packages]\napp-lib = "*"\nwith-extra = {{version = "*", extras = ["fast"]}}\n'
            'tensor = {version = "==3.0+gpu", index = "team"}\n[dev-packages]\nchecker = "<2"\n[docs]\nextra-one = "*"\n'
            '[requires]\npython_version = "3.11"\n'
        },
        [
            *(f"{name}==1.0" for name in ("app-lib", "checker", "driver", "extra-one", "extra-two", "with-extra")),
            "only-source==3.0",
            "tensor==3.0+gpu",
        ],
    ),
}
"""Projects as the other tools have them. What a Pipfile.lock names is no file."""
