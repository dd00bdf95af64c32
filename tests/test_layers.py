"""The house stands: imports point down, and each outside library is spoken to in one room."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "proxy"

# From the top. A module may import from its own layer (without cycles) and from those below it.
LAYERS = [
    {"cli", "wiring", "enforcement"},
    {"web"},
    {
        "delivery",
        "bodies",
        "uploads",
        "tokens",
        "packages",
        "metadata_files",
        "wheel_reader",
        "provenance_files",
        "explanation",
        "checks",
        "rewrite",
        "mirror",
    },
    {"sources"},
    {"upstream", "storage", "spool", "targets"},
    {
        "simple_api",
        "policy",
        "versions",
        "singleflight",
        "slices",
        "allocator",
        "file_lists",
        "metrics",
        "core_metadata",
        "ranged_wheel",
        "attestations",
        "sdists",
        "zips",
        "logs",
    },
    {"model", "secret", "digests", "names", "patterns", "urls", "places", "errors", "protocols", "config"},
]
RANK = {room: len(LAYERS) - at for at, layer in enumerate(LAYERS) for room in layer}
MODULES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports_of(path: Path) -> set[str]:
    """Full names of everything a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own_imports(path: Path) -> set[str]:
    return {name.removeprefix("proxy.") for name in imports_of(path) if name.startswith("proxy.")}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_down(path: Path) -> None:
    room = name_of(path).partition(".")[0]
    assert room in RANK, f"{room} has no place in the house yet: give it one in LAYERS"
    for name in own_imports(path):
        other = name.partition(".")[0]
        assert RANK[other] <= RANK[room], f"{name_of(path)} imports {name}, which is above it"


def test_there_are_no_cycles() -> None:
    names = {name_of(path) for path in MODULES}

    def module(name: str) -> str:
        while name and name not in names:
            name = name.rpartition(".")[0]
        return name

    graph = {name_of(path): {module(name) for name in own_imports(path)} - {"", name_of(path)} for path in MODULES}
    # A package's __init__ that names its commands' modules as strings imports none of them.
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"modules import one another in a circle: {error.args[1]}")


ROOMS_FOR = {
    "aiohttp.web": ("web.",),
    "aiohttp": ("web.", "upstream."),
    "azure": ("storage.azure", "storage.signatures", "upstream.credentials", "upstream.vault", "upstream.way_to_azure"),
    "os.environ": ("config",),
    "lxml": ("simple_api.",),
    "pydantic": ("config",),
    "click": ("cli",),
    "rich": ("cli",),
}


@pytest.mark.parametrize("library", ROOMS_FOR)
def test_each_library_has_its_rooms(library: str) -> None:
    for path in MODULES:
        uses = imports_of(path) | {
            f"{node.value.id}.{node.attr}"
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        }
        used = any(name == library or name.startswith(library + ".") for name in uses)
        assert not used or name_of(path).startswith(ROOMS_FOR[library]), f"{name_of(path)} uses {library}"


def test_nothing_is_called_utils() -> None:
    assert not [path for path in MODULES if path.stem in ("utils", "util", "helpers", "common", "misc")]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_wall_clock_is_injected(path: Path) -> None:
    """Only the wiring's clock, and log lines, read the wall clock."""
    if name_of(path) in ("wiring.foundation", "logs", "storage.local"):
        return
    calls = [
        ast.unparse(node.func)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]
    assert not {"datetime.now", "time.time", "datetime.utcnow"} & set(calls)
