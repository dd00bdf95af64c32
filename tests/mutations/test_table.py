"""The table of mutations fits the code as it is: each defence stands where the table takes it out, each test is there."""

from __future__ import annotations

import ast
import re
from collections import Counter

import pytest

from tests.docs.pages import PRODUCT, ROOT
from tests.mutations.runner import why
from tests.mutations.table import MUTATIONS, Mutation

PROMISES = {int(number) for number in re.findall(r"^### (\d+)\. ", (ROOT / "docs" / "architecture.md").read_text(), re.MULTILINE)}


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: f"{mutation.promise}-{mutation.without}")
def test_each_defence_stands_in_the_code_once_and_can_be_taken_out(mutation: Mutation) -> None:
    whole = (PRODUCT / mutation.path).read_text()
    assert whole.count(mutation.text) == 1, (
        "change the text in tests/mutations/table.py with the code, and see the test fail again"
    )
    before, after = ast.parse(whole), ast.parse(whole.replace(mutation.text, mutation.instead))
    assert ast.dump(before) != ast.dump(after)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: f"{mutation.promise}-{mutation.without}")
def test_each_test_is_there(mutation: Mutation) -> None:
    path, _, name = mutation.test.partition("::")
    functions = (
        node
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    assert name in {function.name for function in functions}


def test_each_promise_has_a_mutation_and_each_is_told_apart() -> None:
    assert {mutation.promise for mutation in MUTATIONS} == PROMISES
    assert [mutation.promise for mutation in MUTATIONS] == sorted(mutation.promise for mutation in MUTATIONS)
    assert max(Counter(mutation.without for mutation in MUTATIONS).values()) == 1


def test_what_failed_is_found_in_what_pytest_said() -> None:
    assert why("x\n>       assert a\nE       assert 1 == 2\nE        +  where\nFAILED x\n") == "assert 1 == 2"
    assert why("  |\n  | E   ValueError: no\n") == "ValueError: no"
    assert why("no tests\nran\n") == "ran"
