"""Documents as the newest ``azure-ai-ml`` makes them, run as the producer."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.support.servers import installed
from wheelgate.config.connection_documents import parse_document

SECRET = "7xq-Tz9+canary/s3cret=="
TARGET = "https://index.example.com/team"
PRODUCER = f"""
import json, warnings
warnings.simplefilter("ignore")
from azure.ai.ml import entities
for category in ("python_feed", "git"):
    for credentials in (
        entities.PatTokenConfiguration(pat={SECRET!r}),
        entities.UsernamePasswordConfiguration(username="me", password={SECRET!r}),
        entities.NoneCredentialConfiguration(),
    ):
        made = entities.WorkspaceConnection(name="acme", target={TARGET!r}, type=category, credentials=credentials)
        rest = made._to_rest_object()
        print(json.dumps(made._to_dict()))
        print(json.dumps({{"name": "acme", **(rest.serialize() if hasattr(rest, "serialize") else rest.as_dict())}}))
"""


@pytest.mark.long
@pytest.mark.timeout(900)
def test_what_the_newest_tool_makes_is_taken_as_it_is() -> None:
    python = installed("azure-ai-ml", "azure-ai-ml==1.35.2") / "python"
    done = subprocess.run([python, "-c", PRODUCER], capture_output=True, text=True, timeout=300, check=True)
    documents = [parse_document(line.encode()) for line in done.stdout.splitlines() if line.startswith("{")]
    kinds = ["PAT", "UsernamePassword", "None"]
    assert [document.fields["auth_type"] for document in documents] == [kind for _ in range(2) for kind in kinds for _ in "12"]
    assert [document.fields["category"] for document in documents] == ["PythonFeed"] * 6 + ["Git"] * 6
    for document in documents:
        assert (document.fields["name"], document.fields["target"]) == ("acme", TARGET)
        assert (document.secret is None) == (document.fields["auth_type"] == "None")
        assert document.secret is None or document.secret.reveal() == SECRET
        assert document.notes == ()
    listed = json.dumps([json.loads(line) for line in done.stdout.splitlines()[::2]])
    with pytest.raises(ValueError, match="holds 6 connections"):
        parse_document(listed.encode())
