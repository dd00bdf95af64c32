"""The table of installers that were tried names those that the tests try."""

from __future__ import annotations

import re

from tests.acceptance.test_every_installer import INSTALLERS
from tests.test_layers import REPOSITORY

TABLE = (REPOSITORY / "docs" / "clients.md").read_text().partition("## Installers that were tried")[2].partition("\n## ")[0]


def test_the_table_names_every_installer_that_is_tried_and_no_other() -> None:
    rows = [line.split("|")[1:3] for line in TABLE.splitlines() if line.startswith("|")][2:]
    named = [f"{name.strip()} {release}" for name, releases in rows for release in re.findall(r"\d+(?:\.\d+)+", releases)]
    assert sorted(named) == sorted(str(one) for one in INSTALLERS if one.release != "here")
