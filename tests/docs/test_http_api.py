"""``docs/http-api.md`` names every route and every status that errors become."""

from __future__ import annotations

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.docs.pages import ROOT, rows
from wheelgate.core.errors import ErrorKind, WheelgateError
from wheelgate.runtime.metrics import Metrics
from wheelgate.web.errors import status_of
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
    assert str(status_of(error)) in statuses


def test_every_metric_stands_there_and_no_other() -> None:
    shown = {name.removesuffix("_total") for row in rows(PAGE, "Metrics") for name in re.findall(r"`(\w+)`", row["metric"])}
    families = text_string_to_metric_families(Metrics().exposition().decode())
    assert shown == {family.name.removesuffix("_total") for family in families if not family.name.endswith("_created")}
