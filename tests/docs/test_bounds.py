"""Whatever lives as long as the process and may grow stands in the table of bounds, and the table names nothing else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.test_layers import MODULES, REPOSITORY, ROOT

TABLE = (REPOSITORY / "docs" / "reliability.md").read_text().partition("### Everything that lives long")[2]
GROWS = {
    *("dict", "list", "set", "deque", "OrderedDict", "Counter", "Tallies", "defaultdict", "Queue"),
    *("LRUCache", "TTLCache", "TLRUCache", "WeakValueDictionary", "WeakSet"),
    *("SingleFlight", "BackgroundTasks", "FairSlots", "Generations"),
}
"""Calls that make something that grows. So does an empty display: ``{}``, ``[]``."""
SHORT_LIVED = {
    "one page while it is parsed": {
        *("PageLinks._places", "Collector._refused", "Collector._files", "Collector._withheld", "_Target._metas"),
        *("Collector._covered", "_Target._waiting"),
        *("ListingParser.blobs", "ListingParser._text", "ListingParser._fields", "ListingParser._facts"),
    },
    "one listing while it is made": {f"ListingBuilder.{name}" for name in ("_open", "_blocks", "_fresh", "_changed")},
    "the files of one project while they are sorted": {
        *("HoldingsBuilder._offered", "HoldingsBuilder._withheld", "_Assets.files", "_Assets.withheld", "_Assets.left_out"),
    },
    "one connection document while it is read": {"_Collected.fields", "_Collected.written", "_Collected.strict"},
    "one block of names while it is changed": {"_OpenBlock.names"},
    "one archive while it is read": {
        *(
            "MemberNames._folders",
            "MemberNames._names",
            "_PartialFile._parts",
            "_Contents._kinds",
            "_Contents._links",
            "_Contents._hard_links",
        )
    },
    "one upload": {"_FormReader.fields"},
    "settings, as they were read": {"Rules._cooldowns", "Rules._waivers", "_Releases._names", "_Releases._patterns"},
    "the object graph, built once": {
        *("SourceClients.by_source", "Sources.stores", "Sources.targets", "Sources.recorders", "Sources.completed"),
        "Sources.scans",
        "Sources.feeds",
        *("Sources.absences", "Sources._listings", "Views.judges", "Views.mirrors", "Views.watches"),
    },
    "a command": {
        *(
            "Planner._sdists",
            "ToldOrigins._sides",
            *(f"ManifestFile.{name}" for name in ("_held", "_seen", "_waiting")),
            "RequirementsReader._open",
            "RequirementsReader.files",
            "UrlClassifier._feeds",
            "UrlClassifier._hosts",
        ),
        *("TomlScanner._arrays", *(f"YamlReading.{name}" for name in ("_seen", "lists", "places", "values"))),
        "Tokens._guests",  # `mirror` mints one, for its resolver
    },
}
"""Why each of these needs no bound: what it belongs to ends soon, or never changes."""


def makes_what_grows(value: ast.expr | None) -> bool:
    match value:
        case ast.Dict(keys=[]) | ast.List(elts=[]) | ast.Set(elts=[]):
            return True
        case ast.Call(func=ast.Subscript(value=called)) | ast.Call(func=called):
            return ast.unparse(called).rpartition(".")[2] in GROWS
    return False


def assignments(tree: ast.AST) -> Iterator[tuple[ast.expr, ast.expr | None]]:
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                yield from zip(targets, values, strict=True)
            case ast.Assign(targets=[target], value=value) | ast.AnnAssign(target=target, value=value):
                yield target, value


def growing_attributes(path: Path) -> Iterator[str]:
    """``Class.attribute`` for each that a method makes; class names stand once in the tree."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef):
            for target, value in assignments(node):
                if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self" and makes_what_grows(value):
                    yield f"{node.name}.{target.attr}"


def cached_functions(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                called = decorator.func if isinstance(decorator, ast.Call) else decorator
                if ast.unparse(called).rpartition(".")[2] in ("lru_cache", "cache"):
                    yield node.name


def test_whatever_may_grow_has_a_bound_in_the_table_or_ends_soon() -> None:
    long_lived = {name for path in MODULES for name in (*growing_attributes(path), *cached_functions(path))}
    named = set(
        re.findall(r"`(\w+\.\w+|\w+)`", "".join(line.split("|")[1] for line in TABLE.splitlines() if line.startswith("|")))
    )
    short_lived = set().union(*SHORT_LIVED.values())
    assert long_lived - named - short_lived == set(), "give it a bound, and say in docs/reliability.md what comes beyond it"
    assert (named | short_lived) - long_lived == set(), "these are no more"
    assert named & short_lived == set()


def test_a_function_that_remembers_says_how_much() -> None:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                for decorator in map(ast.unparse, node.decorator_list):
                    unbounded = re.fullmatch(r"(functools\.)?(cache|lru_cache(\(\)|\(.*None\))?)", decorator)
                    assert not unbounded, f"{path.relative_to(ROOT)}: {node.name}"


def test_the_tests_of_the_table_exist() -> None:
    written = "".join(path.read_text() for path in (REPOSITORY / "tests").rglob("test_*.py"))
    for test in re.findall(r"`(test_\w+)`", TABLE):
        assert f"def {test}(" in written, test


def test_the_walk_sees_what_grows() -> None:
    source = (
        "class A:\n def f(self):\n  self.a: dict[str, int] = {}\n  self.b, self.c = set(), 1\n  self.d = LRUCache[str, int](3)\n"
    )
    seen = [(ast.unparse(target), makes_what_grows(value)) for target, value in assignments(ast.parse(source))]
    assert seen == [("self.a", True), ("self.b", True), ("self.c", False), ("self.d", True)]
