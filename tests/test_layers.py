"""The house stands: imports point down, and each outside library is spoken to in one room."""

from __future__ import annotations

import ast
import re
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
ROOT = REPOSITORY / "proxy" / "wheelgate"
PICTURE = (REPOSITORY / "docs" / "architecture.md").read_text().partition("```text\n")[2].partition("```")[0]
IN_THE_ROOT = {"__init__", "__main__", "services"}


def ranks(picture: str) -> dict[str, int]:
    """The floor of each room: a line of the picture begins with the number of its floor, or belongs to the floor above it."""
    found, floor = {}, 0
    for line in picture.splitlines():
        number, room = re.match(r"(\d*)\s+(\w+)\s", line).groups()
        floor = int(number or floor)
        found[room] = floor
    return found


RANK = ranks(PICTURE)
MODULES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def test_the_picture_shows_the_rooms() -> None:
    assert set(RANK) == {path.name for path in ROOT.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert {path.stem for path in ROOT.glob("*.py")} <= IN_THE_ROOT
    assert len(RANK) <= 22


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def imports_of(path: Path) -> frozenset[str]:
    """Full names of everything a module imports, wherever in it."""
    found = set()
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


@cache
def uses_of(path: Path) -> frozenset[str]:
    """Full names of everything a module imports, and of everything it takes out of what it imported."""
    nodes = (node for node in ast.walk(parse(path)) if isinstance(node, ast.Attribute))
    return imports_of(path) | {f"{node.value.id}.{node.attr}" for node in nodes if isinstance(node.value, ast.Name)}


def own_imports(path: Path) -> set[str]:
    return {name.removeprefix("wheelgate.") for name in imports_of(path) if name.startswith("wheelgate.")}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_down(path: Path) -> None:
    """A module may import from its own room and from rooms on lower floors; nobody imports the room next door."""
    room = name_of(path).partition(".")[0]
    for name in own_imports(path):
        other = name.partition(".")[0]
        if room in IN_THE_ROOT or other in IN_THE_ROOT or other == room:
            continue
        assert RANK[other] < RANK[room], f"{name_of(path)} imports {name}, which is not below it"


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
    "aiohttp": ("web.", "upstream.", "client.", "credentials.azure_transport"),
    "azure": ("storage.", "credentials."),
    "os.environ": ("config",),
    "lxml": ("simple_api.",),
    "pydantic": ("config",),
    "click": ("cli",),
    "rich": ("cli",),
}


@pytest.mark.parametrize("library", ROOMS_FOR)
def test_each_library_has_its_rooms(library: str) -> None:
    for path in MODULES:
        used = any(name == library or name.startswith(library + ".") for name in uses_of(path))
        assert not used or name_of(path).startswith(ROOMS_FOR[library]), f"{name_of(path)} uses {library}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_content_never_changes_under_its_revision(path: Path) -> None:
    """A page with other files is made by ``with_files``, or caches above it would take it for the old one."""
    if name_of(path) == "core.model":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("structs.replace"):
            changed = {keyword.arg for keyword in node.keywords}
            assert changed.isdisjoint({"files", "withheld", "versions", "dropped"}), f"line {node.lineno}: {ast.unparse(node)}"


def test_nothing_is_called_utils() -> None:
    assert not [path for path in MODULES if path.stem in ("utils", "util", "helpers", "common", "misc")]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_wall_clock_is_injected(path: Path) -> None:
    """Only the wiring's clock, and log lines, read the wall clock."""
    if name_of(path) in ("wiring.foundation", "runtime.logs", "storage.local"):
        return
    calls = [
        ast.unparse(node.func)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]
    assert not {"datetime.now", "time.time", "datetime.utcnow"} & set(calls)


PARTICIPLE = re.compile(
    "(?!.*eed$).*ed|begun|bound|built|caught|chosen|done|drawn|found|given|gone|heard|held|hidden|kept|known|left|lost|made|meant|met"
    "|said|seen|sent|shown|sold|sought|spent|spoken|taken|thrown|told|written"
)
OPENERS = ("What", "Where", "Which", "How", "Who", "When", "Whether")
MOST_PARTICIPLES_PERCENT = 2.0
MOST_LINES_OF_A_FUNCTION = 60
MOST_LINES_OF_A_MODULE = 350

TREES = {path: ast.parse(path.read_text()) for path in [*MODULES, ROOT / "__init__.py"]}
FUNCTIONS = [
    (path, node) for path in TREES for node in ast.walk(TREES[path]) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
]


def is_bare_participle(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """A single word such as ``_joined`` or ``_told``: nobody can tell a query from a command by it. Properties are excepted."""
    word = node.name.strip("_")
    is_property = any(ast.unparse(decorator).endswith("property") for decorator in node.decorator_list)
    return not is_property and "_" not in word and PARTICIPLE.fullmatch(word) is not None


def test_functions_are_verbs() -> None:
    bare = [f"{name_of(path)}.{node.name}" for path, node in FUNCTIONS if is_bare_participle(node)]
    assert len(bare) <= len(FUNCTIONS) * MOST_PARTICIPLES_PERCENT / 100, bare


def test_a_class_name_stands_once() -> None:
    names = [node.name for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    assert not {name for name in names if names.count(name) > 1}


def test_functions_and_modules_stay_short() -> None:
    long = [
        f"{name_of(path)}.{node.name}" for path, node in FUNCTIONS if node.end_lineno - node.lineno + 1 > MOST_LINES_OF_A_FUNCTION
    ]
    assert not long
    assert not [name_of(path) for path in TREES if len(path.read_text().splitlines()) > MOST_LINES_OF_A_MODULE]


def test_docstrings_say_what_a_thing_is() -> None:
    """Of modules, classes and public functions: whoever searches for a word finds it in the first line."""
    nodes = [
        node
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef)
        or (isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"))
    ]
    firsts = [(ast.get_docstring(node) or "").partition("\n")[0] for node in nodes]
    asking = [first for first in firsts if first.split(" ")[0] in OPENERS]
    assert not asking
