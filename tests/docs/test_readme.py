"""The first page is short, and begins with the two commands."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.docs.pages import PAGES, PRODUCT, ROOT, blocks

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


OUR_NAME_FROM_ANYBODY = re.compile(
    r"(?:\b(?:install|uv add|uvx|pipx run|tool run) (?:--?[\w-]+ )*['\"]?wheelgate|['\" ]wheelgate\[[a-z]+\])(?![\w/-])"
)
"""An installation of our name that does not say from which index: on the public one it is nobody's, or anybody's."""


def test_nobody_is_told_to_install_our_name_from_the_public_index() -> None:
    for page in (*PAGES, ROOT / "Dockerfile", *(ROOT / "deploy").rglob("*.sh"), *PRODUCT.rglob("*.py")):
        text = re.sub(r'"\s*\n\s*f?"', "", page.read_text())  # one message may stand on several lines
        assert not OUR_NAME_FROM_ANYBODY.search(text), page


@pytest.mark.parametrize(
    ("text", "is_told"),
    [
        ("needs: pip install 'wheelgate[mirror]'", True),
        ("it needs 'wheelgate[mirror]'", True),
        ("run `uv tool install wheelgate`", True),
        ("python -m pip install -U --quiet wheelgate==0.1", True),
        ("pip install '.[mirror]' in a clone of wheelgate", False),
        ("pip install --index-url https://wheelgate.internal/simple/ wheelgate", False),
        ("`pip install .` and then wheelgate serve", False),
        ("pip install dist/wheelgate-0.1.0-py3-none-any.whl", False),
    ],
)
def test_such_a_command_is_seen(text: str, is_told: bool) -> None:
    assert bool(OUR_NAME_FROM_ANYBODY.search(text)) is is_told
