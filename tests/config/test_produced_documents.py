"""Documents as the newest ``azure-ai-ml`` makes them, run as the producer: each kind of connection, in each form."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.gate import command
from tests.support.servers import installed
from wheelgate.config.connection_documents import ConnectionDocument, parse_document

SECRET = "7xq-Tz9+canary/s3cret=="
SAS = f"sv=2026-10-06&sr=c&sp=rl&se=2099-01-01&sig={SECRET}"
TARGET = "https://index.example.com/team"
CLIENT, TENANT = "4c8e2e1c-7a6a-4c34-9e9f-000000000001", "4c8e2e1c-7a6a-4c34-9e9f-000000000002"
PRODUCER = f"""
import io, json, logging, warnings
warnings.simplefilter("ignore")
logging.disable(50)
from azure.ai.ml import entities
credentials = {{
    "PAT": entities.PatTokenConfiguration(pat={SECRET!r}),
    "UsernamePassword": entities.UsernamePasswordConfiguration(username="me", password={SECRET!r}),
    "None": entities.NoneCredentialConfiguration(),
    "SAS": entities.SasTokenConfiguration(sas_token={SAS!r}),
    "ManagedIdentity": entities.ManagedIdentityConfiguration(client_id={CLIENT!r}),
    "ServicePrincipal": entities.ServicePrincipalConfiguration(
        client_id={CLIENT!r}, tenant_id={TENANT!r}, client_secret={SECRET!r}),
    "AccountKey": entities.AccountKeyConfiguration(account_key={SECRET!r}),
    "AccessKey": entities.AccessKeyConfiguration(access_key_id="me", secret_access_key={SECRET!r}),
    "ApiKey": entities.ApiKeyConfiguration(key={SECRET!r}),
    "AAD": entities.AadCredentialConfiguration(),
}}


def give(category, kind, make):
    try:
        made = make()
        rest, dumped = made._to_rest_object(), io.StringIO()
        made.dump(dumped)
        texts = made._to_dict(), {{"name": "acme", **(rest.serialize() if hasattr(rest, "serialize") else rest.as_dict())}}
    except Exception as error:  # a pair that the tool itself refuses
        print(json.dumps([category, kind, type(error).__name__, None]))
        return
    for form, text in zip(("shown", "sent", "dumped"), (*map(json.dumps, texts), dumped.getvalue())):
        print(json.dumps([category, kind, form, text]))


for category in ("python_feed", "git", "container_registry", "s3", "snowflake", "azure_sql_db", "custom", "PythonFeed", "Git"):
    for kind, chosen in credentials.items():
        give(category, kind, lambda: entities.WorkspaceConnection(
            name="acme", target={TARGET!r}, type=category, credentials=chosen))
blobs = {{"name": "acme", "account_name": "acct", "container_name": "wheels", "url": "https://acct.blob.core.windows.net/wheels"}}
for kind, chosen in credentials.items():
    if kind == "None":  # the tool takes it for AAD
        continue
    give("azure_blob", kind, lambda: entities.AzureBlobStoreConnection(**blobs, credentials=chosen))
keyed = {{"name": "acme", "endpoint": {TARGET!r}, "api_key": {SECRET!r}}}
give("serverless", "ApiKey", lambda: entities.ServerlessConnection(**keyed))
give("azure_open_ai", "ApiKey", lambda: entities.AzureOpenAIConnection(
    name="acme", azure_endpoint={TARGET!r}, api_key={SECRET!r}, open_ai_resource_id=None))
"""
TAKEN = ("PAT", "UsernamePassword", "None", "SAS", "ManagedIdentity", "ServicePrincipal")
FOREIGN = ("AccountKey", "AccessKey", "ApiKey", "AAD")
"""Ways to sign in that mean nothing to an index, a repository or a container here."""


@pytest.fixture(scope="module")
def produced() -> Sequence[tuple[str, str, str, str | None]]:
    """Category, way to sign in, form and text of each; ``None``: the tool makes none."""
    python = installed("azure-ai-ml", "azure-ai-ml==1.35.2") / "python"
    done = subprocess.run([python, "-c", PRODUCER], capture_output=True, text=True, timeout=300, check=True)
    return [tuple(json.loads(line)) for line in done.stdout.splitlines() if line.startswith("[")]


def check_taken(document: ConnectionDocument, category: str, kind: str) -> None:
    assert (document.fields["name"], document.fields["category"], document.fields["auth_type"]) == ("acme", category, kind)
    expected = None if kind in ("None", "ManagedIdentity") else SAS if kind == "SAS" else SECRET
    assert (document.secret.reveal() if document.secret is not None else None) == expected
    if kind in ("ManagedIdentity", "ServicePrincipal"):
        assert document.fields["client_id"] == CLIENT
        assert document.fields.get("tenant_id") == (TENANT if kind == "ServicePrincipal" else None)
    more = {"value": "env:IT"} if expected else {}
    if kind in ("ManagedIdentity", "ServicePrincipal") and category != "AzureBlob":
        more["scope"] = "api://index/.default"
    document.build_connection(**more)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_what_the_newest_tool_makes_is_taken_as_it_is(produced: Sequence[tuple[str, str, str, str | None]]) -> None:
    ours = {"python_feed": "PythonFeed", "git": "Git", "azure_blob": "AzureBlob", "PythonFeed": "PythonFeed", "Git": "Git"}
    taken = []
    for category, kind, form, text in produced:
        if category in ours and kind in TAKEN and text is not None:
            document = parse_document(text.encode())
            check_taken(document, ours[category], kind)
            if category != "azure_blob":
                assert document.fields["target"] == TARGET
                assert document.notes == (), form
            taken.append((ours[category], kind, form))
    assert {pair[:2] for pair in taken} >= {(category, kind) for category in ("PythonFeed", "Git") for kind in TAKEN[:3]}
    assert ("AzureBlob", "SAS", "sent") in taken
    assert {form for *_, form in taken} == {"shown", "sent", "dumped"}


@pytest.mark.long
@pytest.mark.timeout(900)
def test_what_means_nothing_here_is_refused_by_its_name(produced: Sequence[tuple[str, str, str, str | None]]) -> None:
    refused = 0
    for category, kind, form, text in produced:
        if text is not None and (kind in FOREIGN or category not in ("python_feed", "git", "azure_blob", "PythonFeed", "Git")):
            with pytest.raises(ValueError, match=r"(category|authType).* is not supported; use one of|unknown field") as caught:
                parse_document(text.encode())
            assert "canary" not in str(caught.value), (category, kind, form)
            refused += 1
    assert refused > 60


@pytest.mark.long
@pytest.mark.timeout(900)
def test_each_is_set_and_one_of_a_list_is_chosen(
    produced: Sequence[tuple[str, str, str, str | None]], home: Path, tmp_path: Path
) -> None:
    def set_up(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return command(home, "connection", "set", *arguments, "--data", tmp_path / "data")

    seen = set()
    for category, kind, form, text in produced:
        if text is not None and category in ("python_feed", "git", "azure_blob") and kind in TAKEN and (kind, form) not in seen:
            seen.add((kind, form))
            file = tmp_path / f"{kind}-{form}{'.yml' if form == 'dumped' else '.json'}"
            file.write_text(text)
            scope = ("--scope", "api://i/.default") if kind in ("ManagedIdentity", "ServicePrincipal") else ()
            done = set_up("-f", file, *scope)
            assert (done.returncode, "applies to" in done.stdout) == (0, True), (category, kind, form, done.stderr)
            assert "canary" not in done.stdout + done.stderr
    shown = [json.loads(text) for category, _, form, text in produced if text and form == "shown" and category == "python_feed"]
    for at, one in enumerate(shown):
        one["name"] = f"acme-{at}"
    with pytest.raises(ValueError, match=f"holds {len(shown)} connections: say with --name which one"):
        parse_document(json.dumps(shown).encode())
    assert parse_document(json.dumps(shown).encode(), "acme-1").fields["auth_type"] == "UsernamePassword"
