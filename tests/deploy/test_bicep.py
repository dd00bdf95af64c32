"""The templates for a network: they hang together, name the roles they mean, and pass a misconfiguration scan."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.deploy.dockerfile import ROOT
from tests.deploy.tools import tool
from wheelgate.config import load

DEPLOY = ROOT / "deploy"
BICEP = DEPLOY / "bicep"
TEMPLATES = sorted(BICEP.rglob("*.bicep"))
# Built-in roles of Azure, the same in every tenant.
ROLES = {
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
    "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1": "Storage Blob Data Reader",
    "db58b8e5-c6ad-4a2a-8342-4190687cbf4a": "Storage Blob Delegator",
    "4633458b-17de-408a-b874-0445c86b69e6": "Key Vault Secrets User",
    "b86a8fe4-44ce-4948-aee5-eccb2c155cd7": "Key Vault Secrets Officer",
    "7f951dda-4ed3-4680-a7ca-43fe172d538d": "AcrPull",
}
_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_MODULE = re.compile(r"^module (\w+) '([^']+)' = (.*?)^\}", re.MULTILINE | re.DOTALL)


def params(text: str) -> dict[str, bool]:
    """Names, and whether each has to be given."""
    return {name: "=" not in rest for name, rest in re.findall(r"^param (\w+) \w+(.*)$", text, re.MULTILINE)}


def outputs(text: str) -> set[str]:
    return set(re.findall(r"^output (\w+) ", text, re.MULTILINE))


def test_every_role_is_the_one_its_name_says() -> None:
    named = 0
    for path in (*TEMPLATES, *DEPLOY.glob("*.md"), *DEPLOY.glob("*.yaml")):
        for line in path.read_text().splitlines():
            for guid in _GUID.findall(line):
                role = ROLES[guid.lower()]
                variable = re.match(r"var (\w+) = ", line)
                if variable:
                    named += 1
                    assert role.replace(" ", "").lower().endswith(variable[1].lower()), f"{path.name}: {line}"
    assert named == len(ROLES)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_modules_get_what_they_ask_for_and_give_what_they_are_asked(path: Path) -> None:
    text = path.read_text()
    for name, file, body in _MODULE.findall(text):
        module = (path.parent / file).read_text()
        inner = re.search(r"params: \{(.*?)^  \}", body, re.DOTALL | re.MULTILINE)
        assert inner
        given = set(re.findall(r"^    (\w+):", inner[1], re.MULTILINE))
        asked = params(module)
        assert given <= set(asked), f"{name} is given what it does not know"
        assert {key for key, needed in asked.items() if needed} <= given, f"{name} lacks something"
        assert set(re.findall(rf"\b{name}\.outputs\.(\w+)", text)) <= outputs(module)
    for declared in (*params(text), *re.findall(r"^var (\w+) =", text, re.MULTILINE)):
        assert len(re.findall(rf"\b{declared}\b", re.sub(r"//.*", "", text))) > 1, f"{declared} is not used"
    for loaded in re.findall(r"loadTextContent\('([^']+)'\)", text):
        assert (path.parent / loaded).exists()


def test_the_parameters_are_those_of_the_template() -> None:
    given = json.loads((BICEP / "main.parameters.json").read_text())["parameters"]
    asked = params((BICEP / "main.bicep").read_text())
    assert set(given) <= set(asked)
    assert {name for name, needed in asked.items() if needed} <= set(given)


def test_the_settings_work_with_what_the_deployment_adds(tmp_path: Path) -> None:
    app = (BICEP / "modules" / "app.bicep").read_text()
    added = set(re.findall(r"name: '(WHEELGATE_\w+)'", app))
    examples = {
        "WHEELGATE_CONFIG": "",
        "WHEELGATE_STORE__URL": "https://acct.blob.core.windows.net/wheelgate",
        "WHEELGATE_SERVER__PUBLIC_URL": "https://wheelgate.nice-name.westeurope.azurecontainerapps.io",
        "WHEELGATE_SERVER__KEY_VAULT": "https://wheelgate-abc.vault.azure.net/",
    }
    assert added == set(examples)
    image = {"WHEELGATE_DATA": "/data", "WHEELGATE_SERVER__HOST": "0.0.0.0", "WHEELGATE_SERVER__PORT": "8080"}
    text = (BICEP / "wheelgate.toml").read_text()
    everything = re.sub(r"^# (?=\[\[|\w+ = )", "", text, flags=re.MULTILINE)  # with its examples taken into use
    assert len(tomllib.loads(everything)["source"]) > len(tomllib.loads(text)["source"])
    for settings in (text, everything):
        path = tmp_path / "wheelgate.toml"
        path.write_text(settings)
        config = load(path, environment={**examples, **image})
        assert config.store.is_azure
        assert config.base_url == examples["WHEELGATE_SERVER__PUBLIC_URL"]
        assert config.server.anonymous == "read"


def test_the_probes_are_ours_and_within_what_container_apps_take() -> None:
    app = (BICEP / "modules" / "app.bicep").read_text()
    assert re.findall(r"type: '(\w+)'\s+httpGet: \{\s+path: '([^']+)'\s+port: (\d+)", app) == [
        ("Startup", "/livez", "8080"), ("Liveness", "/livez", "8080"), ("Readiness", "/readyz", "8080"),
    ]  # fmt: skip
    assert "targetPort: 8080" in app
    assert all(int(times) <= 10 for times in re.findall(r"failureThreshold: (\d+)", app))
    grace = re.search(r"terminationGracePeriodSeconds: (\d+)", app)
    assert grace
    assert 25 < int(grace[1]) <= 600  # what `serve` takes after SIGTERM, and what the platform allows
    assert "value: uniqueString(settings)" in app  # changed settings make a new revision


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_templates_parse() -> None:
    python = Path(tool("checkov")).with_name("python")
    program = "import sys, pycep; [pycep.BicepParser().parse(text=open(path).read()) for path in sys.argv[1:]]"
    done = subprocess.run([python, "-c", program, *TEMPLATES], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("framework", "path", "least"), [("bicep", "deploy", 15), ("dockerfile", "Dockerfile", 20)])
def test_a_misconfiguration_scan_finds_nothing_that_is_not_explained(framework: str, path: str, least: int) -> None:
    where = ("-f", ROOT / path) if (ROOT / path).is_file() else ("-d", ROOT / path)
    command = [tool("checkov"), *where, "--framework", framework, "--skip-download", "--output", "json"]
    done = subprocess.run(command, capture_output=True, text=True)
    report = json.loads(done.stdout)
    found = report["results"]
    assert [(check["check_id"], check["resource"]) for check in found["failed_checks"]] == []
    assert len(found["passed_checks"]) >= least
    for check in found["skipped_checks"]:
        assert len(check["check_result"]["suppress_comment"]) > 20
    text = "".join(file.read_text() for file in (TEMPLATES if framework == "bicep" else [ROOT / path]))
    assert set(re.findall(r"checkov:skip=(\w+)", text)) == {check["check_id"] for check in found["skipped_checks"]}
