"""The contract's own assertions explain themselves like those of a test module."""

import pytest

pytest.register_assert_rewrite("tests.sources.source_contract")
