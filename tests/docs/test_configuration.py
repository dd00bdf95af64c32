"""``docs/configuration.md`` names every setting there is, with its default, and no other."""

from __future__ import annotations

import re
import tomllib
from typing import Annotated, Any

import pytest
from pydantic import TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tests.docs.pages import ROOT, rows
from wheelgate.config import load
from wheelgate.config.connections import Connection
from wheelgate.config.policy import MergeSettings, PolicySettings, WaiverSettings
from wheelgate.config.section import Section
from wheelgate.config.settings import Config, ServerSettings, StoreSettings
from wheelgate.config.source import SourceSettings

PAGE = (ROOT / "docs" / "configuration.md").read_text()
SECTIONS: dict[str, type[Section]] = {
    "server": ServerSettings,
    "store": StoreSettings,
    "connection": Connection,
    "policy": PolicySettings,
    "policy.merge": MergeSettings,
    "policy.waiver": WaiverSettings,
}
OURS_TO_FILL_IN = {"folder", "found_connections"}


def _settings(heading: str) -> dict[str, dict[str, str]]:
    return {row["setting"].strip("`"): row for row in rows(PAGE, heading)}


def _of_sources() -> dict[str, dict[str, str]]:
    """Their section begins with a table of the types."""
    return _settings_from(PAGE[PAGE.index("| setting |", PAGE.index("\n## source\n")) :])


def _settings_from(text: str) -> dict[str, dict[str, str]]:
    return {row["setting"].strip("`"): row for row in rows(f"## it\n{text}", "it")}


def _shows(cell: str, field: FieldInfo) -> bool:
    """Whether a cell says the field's default: ``required``, ``none``, or the value as TOML has it."""
    if field.is_required():
        return cell == "required"
    default = field.get_default(call_default_factory=False)
    if default is None:
        return cell == "none"
    value: Any = tomllib.loads(f"it = {cell.strip('`')}")["it"]
    annotation: Any = field.annotation
    if field.metadata:
        annotation = Annotated[annotation, *field.metadata]
    return bool(TypeAdapter(annotation).validate_python(value) == default)


@pytest.mark.parametrize("section", [*SECTIONS, "source"])
def test_every_setting_of_a_section_stands_there_with_its_default(section: str) -> None:
    model = SECTIONS.get(section, SourceSettings)
    shown = _of_sources() if section == "source" else _settings(section)
    assert shown.keys() == model.model_fields.keys()
    for name, field in model.model_fields.items():
        assert _shows(shown[name]["default"], field), f"{section}.{name}: {shown[name]['default']}"
        assert shown[name]["type"], f"{section}.{name}"
        assert shown[name]["meaning"], f"{section}.{name}"


def test_the_top_level() -> None:
    shown = _settings("Top level")
    assert shown.keys() == Config.model_fields.keys() - OURS_TO_FILL_IN
    sources = Config.model_fields["source"].default
    assert sources is not PydanticUndefined
    assert re.findall(r"`(\w+)` \((\w+)\)", shown["source"]["default"]) == [(one.name, one.type) for one in sources]
    assert shown["data"]["environment"] == "`WHEELGATE_DATA`"


@pytest.mark.parametrize("section", ["server", "store", "policy"])
def test_scalars_and_they_alone_have_a_variable(section: str) -> None:
    for name, row in _settings(section).items():
        is_list = row["type"].startswith("list")
        assert row["environment"] == ("" if is_list else f"`WHEELGATE_{section.upper()}__{name.upper()}`"), name


def test_a_variable_is_read_as_the_page_says() -> None:
    variables = {
        "WHEELGATE_SERVER__PORT": "8081",
        "WHEELGATE_STORE__SAS_WINDOW": "20m",
        "WHEELGATE_POLICY__COOLDOWN": "3d",
    }
    config = load(environment=variables)
    assert (config.server.port, config.store.sas_window, config.policy.cooldown) == (8081, 1200.0, 259_200.0)


def test_the_types_of_sources_are_those_there_are() -> None:
    shown = {row["type"].strip("`"): row for row in rows(PAGE, "source")}
    for kind, row in shown.items():
        # A value of each: private or not by type alone.
        private = SourceSettings.model_construct(name="it", type=kind, private=None).is_private
        assert row["private unless configured"].startswith("yes" if private else "no"), kind
    kinds = SourceSettings.model_fields["type"].annotation
    assert shown.keys() == set(kinds.__args__)  # type: ignore[union-attr]
