"""``docs/http-api.md`` names every route and every status that errors become."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime

import pytest
from aiohttp.test_utils import make_mocked_request
from prometheus_client.parser import text_string_to_metric_families

from tests.docs.pages import ROOT, rows
from wheelgate.core.errors import ErrorKind, WheelgateError
from wheelgate.core.model import ProjectPage
from wheelgate.index.decision import Decision, Outcome
from wheelgate.index.explain import explain_decision
from wheelgate.runtime.cooperative import in_slices
from wheelgate.runtime.metrics import Metrics
from wheelgate.web.errors import build_error_response
from wheelgate.web.paths import Route, parse_path

PAGE = (ROOT / "docs" / "http-api.md").read_text()


def _route(url: str) -> Route:
    path = url.strip("`").replace("{project}", "acme-tool").replace("{filename}", "acme_tool-1.0-py3-none-any.whl")
    parsed = parse_path(path, "")
    assert parsed.canonical is None, f"{url} is redirected"
    return parsed.route


def test_every_route_stands_there_and_no_other() -> None:
    shown = {_route(row["URL"]): row["method"] for row in rows(PAGE, "HTTP interface")}
    assert shown.keys() == set(Route) - {Route.NOTHING}
    assert {route for route, method in shown.items() if method == "POST"} == {Route.UPLOAD}


@pytest.mark.parametrize("kind", ErrorKind)
def test_every_status_of_an_error_stands_there(kind: ErrorKind) -> None:
    error = type("SomeError", (WheelgateError,), {"kind": kind})()
    statuses = re.findall(r"\d{3}", " ".join(row["status"] for row in rows(PAGE, "Statuses")))
    answer = build_error_response(error, make_mocked_request("GET", "/"), "1")
    assert str(answer.status) in statuses


def test_every_metric_stands_there_and_no_other() -> None:
    shown = {name.removesuffix("_total") for row in rows(PAGE, "Metrics") for name in re.findall(r"`(\w+)`", row["metric"])}
    families = text_string_to_metric_families(Metrics().exposition().decode())
    assert shown == {family.name.removesuffix("_total") for family in families if not family.name.endswith("_created")}


def test_every_field_of_an_explanation_stands_there_and_no_other() -> None:
    shown = {name for row in rows(PAGE, "Explain") for name in re.findall(r"`(\w+)`", row["field"])}
    page = ProjectPage(project="it", files=(), as_of=datetime(2026, 1, 1, tzinfo=UTC))
    assert shown == asyncio.run(in_slices(explain_decision(Decision("it", (), "because", page=page), None, version="1.0"))).keys()


def test_every_outcome_stands_there_and_no_other() -> None:
    table = PAGE[PAGE.index("| outcome |", PAGE.index("## Explain")) :]
    assert {row["outcome"].strip("`") for row in rows(f"## it\n{table}", "it")} == set(Outcome)
