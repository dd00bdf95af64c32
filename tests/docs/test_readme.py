"""The first page is short, and begins with the two commands."""

from __future__ import annotations

import tomllib

from tests.docs.pages import ROOT, blocks

README = (ROOT / "README.md").read_text()


def test_it_is_short_and_the_commands_stand_on_the_first_screen() -> None:
    assert len(README.splitlines()) <= 150
    assert README.index("**Install and serve**") < README.index("**Install and test**") < README.index("\n## ")
    _, serve, test = list(blocks(README))[:3]
    assert serve.strip() == "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/wheelgate serve"
    assert test.strip() == "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/pytest"


def test_every_page_is_linked_and_goes_into_the_source_distribution() -> None:
    included = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert {"/docs", "/CONTRIBUTING.md", "/SECURITY.md", "/CHANGELOG.md", "/deploy", "/tests"} <= set(included)
    pages = [f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")]
    for page in (*pages, "deploy/README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"):
        assert f"]({page})" in README, page
