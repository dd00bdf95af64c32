"""Links between pages lead somewhere, and what pages name is there."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, PRODUCT, ROOT, code_spans, name_of, prose
from tests.test_layers import RANK

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_TOP = ("proxy/", "tests/", "docs/", "deploy/")


def _anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_pages_and_sections_that_exist(page: Path) -> None:
    for link in _LINK.findall(prose(page.read_text())):
        if link.startswith(("https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = page if not path else (page.parent / path).resolve()
        assert target.exists(), f"{name_of(page)}: {link}"
        assert not anchor or anchor in _anchors(target.read_text()), f"{name_of(page)}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_and_folders_that_are_named_exist(page: Path) -> None:
    """``proxy/...``, ``tests/...``; a test as ``tests/room/test_x.py::test_y``; a module or room as ``index/decision.py``."""
    for span in code_spans(page.read_text()):
        path, _, test = span.partition("::")
        if re.search(r"[\s<>*{}$=]", path):
            continue
        if path.startswith(_TOP):
            assert (ROOT / path).exists(), f"{name_of(page)}: {path}"
        elif path.partition("/")[0] in RANK and "/" in path:
            assert (PRODUCT / path).exists() or (page.parent / path).exists(), f"{name_of(page)}: {path}"
        if test:
            assert test in _functions(ROOT / path), f"{name_of(page)}: {span}"


@cache
def _functions(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@cache
def _classes() -> dict[str, set[str]]:
    """Class names of the product and what stands in their bodies."""
    found: dict[str, set[str]] = {}
    for path in PRODUCT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                members = found.setdefault(node.name, set())
                members |= {item.name for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)}
                members |= {
                    item.target.id for item in node.body if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
                }
    return found


@pytest.mark.parametrize("page", [page for page in PAGES if page.name in ("architecture.md", "CONTRIBUTING.md")], ids=name_of)
def test_classes_and_functions_that_are_named_exist(page: Path) -> None:
    """``Merged.decide`` is a method of a class of that name; ``parse_path()`` is a function of the product."""
    functions = {name for path in PRODUCT.rglob("*.py") for name in _functions(path)}
    for span in code_spans(page.read_text()):
        if method := re.fullmatch(r"([A-Z][A-Za-z]+[a-z])\.([a-z_]+)", span):
            assert method[2] in _classes().get(method[1], ()), f"{name_of(page)}: {span}"
        elif function := re.fullmatch(r"([a-z_]+)\(\)", span):
            assert function[1] in functions, f"{name_of(page)}: {span}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_extras_that_are_named_exist(page: Path) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    text = page.read_text()
    for named in re.findall(r"'?\.\[(\w+)\]'?", text):
        assert named in extras, f"{name_of(page)}: {named}"
    assert not re.search(r"pip install '?wheelgate", text), f"{name_of(page)}: the name is not published"


def test_code_cites_pages_and_promises_that_exist_and_nothing_outside() -> None:
    promises = set(re.findall(r"^### (\d+)\. ", (ROOT / "docs" / "architecture.md").read_text(), re.MULTILINE))
    for path in (*PRODUCT.rglob("*.py"), *(ROOT / "tests").rglob("*.py")):
        if path == Path(__file__):
            continue
        text = path.read_text()
        for page in re.findall(r"\bdocs/[\w-]+\.md", text):
            assert (ROOT / page).exists(), f"{name_of(path)}: {page}"
        assert set(re.findall(r"\bpromises? (\d+)\b", text)) <= promises, name_of(path)
        assert not re.search(r"azure\.md|\(P\d+\)|\bDESIGN\b", text), name_of(path)
