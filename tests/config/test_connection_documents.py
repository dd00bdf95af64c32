"""Connection documents: every form that Azure's tools write, and one sentence for whatever else lies in such a file."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from wheelgate.config import Connection
from wheelgate.config.connection_documents import ConnectionDocument, parse_document, read_document
from wheelgate.core.errors import ConfigurationError

SECRET = "7xq-Tz9+canary/s3cret=="
ORGANISATION = "https://pkgs.dev.azure.com/acme"


def v2(**credentials: object) -> str:
    """As `az ml connection create -f` takes it."""
    return yaml.safe_dump(
        {
            "$schema": "https://azuremlschemas.azureedge.net/latest/workspaceConnection.schema.json",
            "name": "acme",
            "type": "python_feed",
            "target": ORGANISATION,
            "is_shared": True,
            "credentials": credentials,
        }
    )


def v1(auth_type: str, value: object) -> str:
    """As `Workspace.set_connection` is told."""
    return json.dumps(
        {"name": "acme", "category": "PythonFeed", "target": ORGANISATION, "authType": auth_type, "value": value}, indent=2
    )


def arm(auth_type: str, **credentials: object) -> str:
    """A resource of a template."""
    return json.dumps(
        {
            "type": "Microsoft.MachineLearningServices/workspaces/connections",
            "apiVersion": "2025-06-01",
            "name": "my-workspace/acme",
            "properties": {
                "category": "PythonFeed",
                "target": ORGANISATION,
                "authType": auth_type,
                "isSharedToAll": True,
                "metadata": {},
                "credentials": credentials,
            },
        }
    )


IDS = {"client_id": "2222-app", "tenant_id": "1111-tenant"}
FORMS: dict[str, tuple[str, dict[str, Any], str | None]] = {
    "v2 pat": (v2(type="pat", pat=SECRET), {"auth_type": "PAT"}, SECRET),
    "v2 PAT": (v2(type="PAT", pat=SECRET), {"auth_type": "PAT"}, SECRET),
    "v2 user": (
        v2(type="username_password", username="me", password=SECRET),
        {"auth_type": "UsernamePassword", "username": "me"},
        SECRET,
    ),
    "v2 identity": (
        v2(type="managed_identity", client_id="c-1", resource_id="/subscriptions/x"),
        {"auth_type": "ManagedIdentity", "client_id": "c-1"},
        None,
    ),
    "v2 principal": (
        v2(type="service_principal", client_secret=SECRET, **IDS),
        {"auth_type": "ServicePrincipal", **IDS},
        SECRET,
    ),
    "v2 sas": (v2(type="sas", sas_token=SECRET), {"auth_type": "SAS"}, SECRET),
    "v2 none": (v2(type="none"), {"auth_type": "None"}, None),
    "v2 bare": ("name: acme\ntype: python_feed\ntarget: " + ORGANISATION, {"auth_type": "None"}, None),
    "v1 bare": (v1("PAT", SECRET), {"auth_type": "PAT"}, SECRET),
    "v1 json": (v1("PAT", json.dumps({"pat": SECRET})), {"auth_type": "PAT"}, SECRET),
    "v1 object": (v1("pat", {"pat": SECRET}), {"auth_type": "PAT"}, SECRET),
    "v1 user": (
        v1("UsernamePassword", json.dumps({"username": "me", "password": SECRET})),
        {"auth_type": "UsernamePassword", "username": "me"},
        SECRET,
    ),
    "arm pat": (arm("PAT", pat=SECRET), {"auth_type": "PAT"}, SECRET),
    "arm user": (
        arm("UsernamePassword", username="me", password=SECRET),
        {"auth_type": "UsernamePassword", "username": "me"},
        SECRET,
    ),
    "arm identity": (
        arm("ManagedIdentity", clientId="c-1", resourceId="r"),
        {"auth_type": "ManagedIdentity", "client_id": "c-1"},
        None,
    ),
    "arm principal": (
        arm("ServicePrincipal", clientId=IDS["client_id"], tenantId=IDS["tenant_id"], clientSecret=SECRET),
        {"auth_type": "ServicePrincipal", **IDS},
        SECRET,
    ),
    "arm sas": (arm("SAS", sas=SECRET), {"auth_type": "SAS"}, SECRET),
    "rest body": (
        json.dumps({"name": "acme", "properties": json.loads(arm("PAT", pat=SECRET))["properties"]}),
        {"auth_type": "PAT"},
        SECRET,
    ),
}


SHAPES = ("v1", "v1 JSON", "v1 literal", "v2", "v2 list", "REST", "REST list", "template")
KINDS: dict[str, tuple[dict[str, str], str]] = {
    "PAT": ({}, "pat"),
    "UsernamePassword": ({"username": "me"}, "password"),
    "Basic": ({"username": "me"}, "password"),
    "ServicePrincipal": ({"clientId": "2222-app", "tenantId": "1111-tenant"}, "clientSecret"),
    "SAS": ({}, "sas"),
    "ManagedIdentity": ({"clientId": "c-1"}, ""),
    "None": ({}, ""),
}
"""Beside the secret, whose name in credentials comes second."""
CATEGORIES = {
    "PythonFeed": "https://index.example.com/team",
    "Git": "https://api.github.com",
    "AzureBlob": "https://a.blob.core.windows.net/c",
}
IDLE = {"creationContext": {"createdBy": "me"}, "resourceGroup": "rg", "flavour": "x", "useWorkspaceManagedIdentity": False}


def snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


def build(shape: str, category: str, kind: str) -> str:
    """A document as one of the tools writes it."""
    more, secret = KINDS[kind]
    credentials = {**more, **({secret: SECRET} if secret else {})}
    target = CATEGORIES[category]
    if shape.startswith("v1"):
        value: object = {"v1": SECRET if not more else credentials, "v1 JSON": json.dumps(credentials)}.get(
            shape, str(credentials)
        )
        said = {"name": "acme", "category": category, "target": target, "authType": kind}
        return json.dumps(said if not credentials else {**said, "value": value})
    if shape.startswith("v2"):
        fields = {"type": kind if kind == "Basic" else snake(kind) if kind not in ("PAT", "SAS") else kind.lower()}
        named = {"sas_token" if name == "sas" else snake(name): said for name, said in credentials.items()}
        made = {"name": "acme", "type": snake(category), "target": target, "credentials": {**fields, **named}, **IDLE}
        return yaml.safe_dump([made, {"name": "other", "type": "azure_open_ai"}] if shape == "v2 list" else made)
    properties = {"category": category, "target": target, "authType": kind, "credentials": credentials or None, **IDLE}
    if shape == "template":
        resource = {
            "type": "Microsoft.MachineLearningServices/workspaces/connections",
            "apiVersion": "2025-06-01", "name": "my-workspace/acme", "dependsOn": [], "properties": properties,
        }  # fmt: skip
        storage = {"type": "Microsoft.Storage/storageAccounts", "name": "a"}
        return json.dumps({"$schema": "x", "contentVersion": "1.0.0.0", "parameters": {}, "resources": [storage, resource]})
    entity = {"id": "/subscriptions/x", "name": "acme", "type": "Microsoft.X/workspaces/connections", "properties": properties}
    other = {"name": "other", "properties": {"category": "AzureOpenAI", "authType": "AAD"}}
    return json.dumps({"value": [other, entity], "nextLink": None} if shape == "REST list" else {**entity, "systemData": {}})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_category_and_kind(shape: str, category: str, kind: str) -> None:
    document = parse_document(build(shape, category, kind).encode())
    more, secret = KINDS[kind]
    expected = {snake(name): said for name, said in more.items()}
    meant = "UsernamePassword" if kind == "Basic" else kind
    fields = {"name": "acme", "category": category, "target": CATEGORIES[category], "auth_type": meant, **expected}
    assert dict(document.fields) == fields
    assert (document.secret.reveal() if document.secret else "") == (SECRET if secret else "")
    noted = set() if shape.startswith("v1") else {"flavour", "useWorkspaceManagedIdentity"}
    assert set(document.notes) == noted


def test_one_of_many_is_chosen_by_its_name() -> None:
    entries = [{"name": name, "type": "python_feed", "target": f"{ORGANISATION}/{name}"} for name in ("one", "two")]
    assert parse_document(json.dumps(entries).encode(), "two").fields["target"] == f"{ORGANISATION}/two"
    assert parse_document(json.dumps(entries[:1]).encode(), "new-name").fields["name"] == "one", "which an option then overrides"


@pytest.mark.parametrize("shape", SHAPES)
def test_a_document_cut_or_shuffled_is_never_taken_for_another(shape: str) -> None:
    """Whatever is left of it: the whole connection, one that lacks a secret, or a sentence; and no other target or kind."""
    text = build(shape, "PythonFeed", "UsernamePassword")
    for end in range(0, len(text), 3):
        with contextlib.suppress(ValueError):
            document = parse_document(text[:end].encode())
            assert document.fields.get("auth_type") in ("None", "UsernamePassword", "PAT")
            assert CATEGORIES["PythonFeed"].startswith(document.fields.get("target", ""))
            assert document.secret is None or SECRET.startswith(document.secret.reveal())
    lines = yaml.safe_dump(yaml.safe_load(text)).splitlines()
    for at in range(len(lines)):
        judge("\n".join(lines[at:] + lines[:at]).encode())


@pytest.mark.parametrize("form", FORMS)
def test_every_form_says_the_same(form: str) -> None:
    text, expected, secret = FORMS[form]
    document = parse_document(text.encode())
    fields = {"category": "PythonFeed", "name": "acme", "target": ORGANISATION, **expected}
    assert dict(document.fields) == fields
    assert (document.secret and document.secret.reveal()) == secret
    more = {} if secret is None else {"value": "secret:acme"}
    assert document.build_connection(**more) == Connection.model_validate({**fields, **more})


@pytest.mark.parametrize("spelling", ["authType", "auth_type", "AUTHTYPE", "Auth-Type"])
@pytest.mark.parametrize(
    ("value", "meant"),
    [
        *[
            (value, "UsernamePassword")
            for value in ("username_password", "UsernamePassword", "usernamepassword", "USERNAME-PASSWORD")
        ],
        *[(value, "ManagedIdentity") for value in ("managed_identity", "managedidentity", "ManagedIdentity")],
        *[(value, "PAT") for value in ("pat", "Pat")],
    ],
)
def test_any_casing_of_type_and_kind(spelling: str, value: str, meant: str) -> None:
    for category in ("python_feed", "PythonFeed", "pythonfeed", "PYTHON_FEED"):
        document = parse_document(f"name: a\n{spelling}: {value}\nTYPE: {category}\n".encode())
        assert document.fields == {"name": "a", "auth_type": meant, "category": "PythonFeed"}


def test_values_are_text_as_they_are_written() -> None:
    for written in ("0123", "1e5", "2026-11-23", "0x1F", "12:30:00", "~x"):
        document = parse_document(f"name: a\npat: {written}".encode())
        assert document.secret is not None
        assert document.secret.reveal() == written


def test_a_byte_order_mark_and_escaped_characters() -> None:
    document = parse_document(b"\xef\xbb\xbf" + json.dumps({"name": "a", "pat": "p\N{GRINNING FACE}\u00fc"}).encode())
    assert document.secret is not None
    assert document.secret.reveal() == "p\N{GRINNING FACE}\u00fc"


@pytest.mark.parametrize("reference", ["env:ACME_PAT", "file:/run/secrets/pat", "keyvault:acme", "secret:acme"])
def test_a_reference_is_no_secret(reference: str) -> None:
    document = parse_document(v2(type="pat", pat=reference).encode())
    assert document.secret is None
    assert document.build_connection().value == reference


def bomb() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 20)]
    return "\n".join([*lines, "name: *a19"])


WRONG = {
    "empty": (b"", "is not a connection document"),
    "blank": (b"  \n", "is not a connection document"),
    "text": (b"hello", "is not a connection document"),
    "a list": (b"[1, 2]", "is not a connection document"),
    "a colon is missing": (f"pat:{SECRET}".encode(), "is not a connection document"),
    "a space is missing": (f"name: a\npat:{SECRET}".encode(), "is neither YAML nor JSON (line 2)"),
    "in braces": (f"{{'pat:{SECRET}': x}}".encode(), "it has an unknown field"),
    "unknown field": (b"name: a\nauthorityHost: x", "it has an unknown field 'authorityHost'"),
    "unknown field that is on": (b"name: a\nuseWorkspaceManagedIdentity: yes", "unknown field 'useWorkspaceManagedIdentity'"),
    "unknown among credentials": (v2(type="pat", pat=SECRET, flavour="x").encode(), "it has an unknown field 'flavour'"),
    "unknown kind": (v2(type="account_key", account_key=SECRET).encode(), "it has an unknown field 'account_key'"),
    "no entry": (b"[]", "holds no connection"),
    "no resource": (b'{"resources": [{"type": "Microsoft.Storage/storageAccounts"}]}', "holds no connection"),
    "two entries": (
        json.dumps([{"name": name, "type": "python_feed", "target": ORGANISATION} for name in ("one", "two")]).encode(),
        "holds 2 connections: say with --name which one (one, two)",
    ),
    "two entries without fit names": (
        json.dumps([{"name": SECRET}] * 2).encode(),
        "holds 2 connections: say with --name which one",
    ),
    **{
        f"placeholder {word}": (v2(type="pat", pat=word).encode(), "its secret is a placeholder")
        for word in ("${PAT}", "<PAT>", "$(Pat)", "{{ pat }}", "%PAT%", "[parameters('pat')]", "********", "string", "<your-pat>")
    },
    "unknown authType": (v1("OAuth2", "x").encode(), "authType 'OAuth2' is not supported; use one of None, PAT, "),
    "the secret as authType": (f"authType: {SECRET}".encode(), "authType is not supported; use one of None"),
    "unknown category": (b"type: snowflake\nname: a", "category 'snowflake' is not supported; use one of PythonFeed, "),
    "two secrets": (f"pat: {SECRET}\ntoken: other".encode(), "it has more than one secret"),
    "two of a kind": (f"pat: {SECRET}\ncredentials: {{pat: other}}".encode(), "it has two different values for 'pat'"),
    "two that differ in a digit": (b"pat: abc1\ncredentials: {pat: abc2}", "it has two different values for 'pat'"),
    "two kinds": (b"auth_type: sas\ncredentials: {type: pat, pat: x}", "it has two different values for 'authtype'"),
    "a key twice": (f"pat: other\npat: {SECRET}".encode(), "says one thing twice (line 2)"),
    "a key twice in JSON": (f'{{"pat": "x", "pat": "{SECRET}"}}'.encode(), "says one thing twice"),
    "a key spelled twice": (f"clientId: x\nclient_id: {SECRET}".encode(), "it has two different values for 'clientid'"),
    "a secret too many": (
        v2(type="managed_identity", token=SECRET).encode(),
        "it has a secret, but authType ManagedIdentity does not use one",
    ),
    "a secret for nobody": (f"authType: None\nvalue: {SECRET}".encode(), "it has a secret, but authType None does not use one"),
    "a list as secret": (b"pat: [a]", "its field 'pat' must be text: put it in quotes"),
    "yes as secret": (b"pat: yes", "its field 'pat' must be text: put it in quotes"),
    "lines as secret": (b"pat: |\n  one\n  two", "its secret is empty or contains unprintable characters"),
    "credentials as text": (f"credentials: {SECRET}".encode(), "its credentials must be a mapping"),
    "properties as text": (b"properties: x", "its properties must be a mapping"),
    "anchors": (b"name: &n x\ntarget: *n", "has YAML anchors, which nothing here needs (line 2)"),
    "a bomb": (bomb().encode(), "has YAML anchors, which nothing here needs (line 2)"),
    "merge key": (b"<<: {name: a}\nname: b", "it has an unknown field"),
    "a tag": (b"pat: !!binary aGVsbG8=", "has a YAML tag, which nothing here needs (line 1)"),
    "code": (b"!!python/object/apply:os.system [reboot]", "has a YAML tag, which nothing here needs (line 1)"),
    "deep": (b"[" * 60_000, "is nested too deeply (line 1)"),
    "deep JSON": (b'{"a":' * 10_000, "is nested too deeply"),
    "keys that are lists": (b"? [a]\n: b", "has a key that is not text (line 1)"),
    "broken": (b"{", "is neither YAML nor JSON (line 1)"),
    "two documents": (b"--- a\n--- b", "is neither YAML nor JSON (line 2)"),
    "binary": (b"\x7fELF\x02\x01\x01\x00\x00", "is neither YAML nor JSON"),
    "not UTF-8": ("näme: a".encode("latin-1"), "is not UTF-8 text"),
    "UTF-16": ("name: a".encode("utf-16"), "is not UTF-8 text"),
    "too large": (b"# " + b"x" * 70_000, "is too large for a connection document"),
}


@pytest.mark.parametrize("case", WRONG)
def test_one_sentence_for_each_wrong_document(case: str, tmp_path: Path) -> None:
    body, sentence = WRONG[case]
    path = tmp_path / "acme.yml"
    path.write_bytes(body)
    with pytest.raises(ConfigurationError) as caught:
        read_document(path)
    [problem] = caught.value.problems
    assert problem.startswith(f"{path}: ")
    assert sentence in problem
    assert SECRET not in problem


def test_what_no_file_says(tmp_path: Path) -> None:
    for path, sentence in {
        tmp_path / "no.yml": "there is no such file",
        tmp_path: "cannot be read: it is a folder, not a file",
    }.items():
        with pytest.raises(ConfigurationError, match=sentence):
            read_document(path)


FIELDS = {
    "no name": ({"target": ORGANISATION}, "name: is missing"),
    "no target": ({"name": "a"}, "target: is missing"),
    "odd name": (
        {"name": "a b", "target": ORGANISATION},
        "name: must consist of letters, digits, dots, dashes and underscores, 63 at most",
    ),
    "a path as name": ({"name": "../a", "target": ORGANISATION}, "name: must consist of letters"),
    "no URL": ({"name": "a", "target": "acme"}, "target: cannot be used: it is not an absolute http(s) URL"),
    "a password in the URL": (
        {"name": "a", "target": "https://me:hunter2@host/"},
        "target: cannot be used: it carries a password",
    ),
    "a query": (
        {"name": "a", "target": f"https://host/?sig={SECRET}"},
        "target: must end with its path, without a query or fragment",
    ),
    "no secret": ({"name": "a", "target": ORGANISATION, "auth_type": "PAT"}, "value: is missing, but auth_type PAT needs it"),
    "an inline secret": (
        {"name": "a", "target": ORGANISATION, "auth_type": "PAT", "value": SECRET},
        "value: must say where the secret is",
    ),
    "no user": (
        {"name": "a", "target": ORGANISATION, "auth_type": "UsernamePassword", "value": "env:X"},
        "username: is missing, but auth_type UsernamePassword needs it",
    ),
    "a user too many": (
        {"name": "a", "target": ORGANISATION, "auth_type": "Bearer", "value": "env:X", "username": "u"},
        "username: auth_type Bearer does not use it",
    ),
    "a colon": (
        {"name": "a", "target": ORGANISATION, "auth_type": "UsernamePassword", "value": "env:X", "username": "u:v"},
        "username: must be printable, without a colon (RFC 7617)",
    ),
    "every organisation": (
        {"name": "a", "target": "https://pkgs.dev.azure.com/", "auth_type": "PAT", "value": "env:X"},
        "target: pkgs.dev.azure.com is shared by all organisations",
    ),
    "another host of Azure DevOps": (
        {"name": "a", "target": "https://dev.azure.com/acme/Platform", "auth_type": "PAT", "value": "env:X"},
        "target: no feed is at dev.azure.com, so the credential would never be used: write https://pkgs.dev.azure.com/acme",
    ),
    "an old host of Azure DevOps": (
        {"name": "a", "target": "https://acme.visualstudio.com/", "auth_type": "ManagedIdentity"},
        "target: no feed is at acme.visualstudio.com, so the credential would never be used: write https://pkgs.dev.azure.com/acme",
    ),
    "readable": (
        {"name": "a", "target": "http://index.example.com/", "auth_type": "PAT", "value": "env:X"},
        "target: the secret would be sent unencrypted to http://index.example.com/:",
    ),
    "no scope": (
        {"name": "a", "target": "https://index.example.com/", "auth_type": "ManagedIdentity"},
        "scope: is missing",
    ),
    "a strange scope": (
        {"name": "a", "target": ORGANISATION, "auth_type": "ManagedIdentity", "scope": "x y"},
        'scope: must look like "api://wheelgate/.default"',
    ),
    "a strange identity": (
        {"name": "a", "target": ORGANISATION, "auth_type": "ManagedIdentity", "client_id": "a/b"},
        "client_id: must be an ID from Microsoft Entra",
    ),
}


@pytest.mark.parametrize("case", FIELDS)
def test_one_sentence_for_wrong_fields(case: str) -> None:
    said, sentence = FIELDS[case]
    with pytest.raises(ConfigurationError) as caught:
        ConnectionDocument.from_fields(said).build_connection()
    [problem] = caught.value.problems
    assert problem.startswith(sentence)
    assert SECRET not in problem
    assert "hunter2" not in problem


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
KEYS = st.sampled_from(
    [
        *("name", "type", "category", "target", "authType", "auth_type", "value", "credentials", "properties", "username"),
        *("pat", "password", "token", "sas_token", "clientSecret", "clientId", "tenant_id", "scope", "allow_http", "tags"),
    ]
)
LIKELY = st.sampled_from(
    ["acme", ORGANISATION, "PAT", "username_password", "managed_identity", "Bearer", "python_feed", "env:X", SECRET]
)
DOCUMENTS = st.dictionaries(
    KEYS | st.text(max_size=10),
    LIKELY | VALUES | st.dictionaries(KEYS, LIKELY | VALUES, max_size=5),
    max_size=8,
)


def judge(body: bytes) -> None:
    """A document, or one sentence on one line; and never the secret in it."""
    try:
        document = parse_document(body)
        assert document.secret is None or document.secret.reveal() not in map(str, [document.secret, repr(document.secret)])
        document.build_connection(**({"value": "secret:x"} if document.secret is not None else {}))
    except ConfigurationError as error:
        sentences = error.problems
    except ValueError as error:
        sentences = [str(error)]
    else:
        return
    for sentence in sentences:
        assert sentence
        assert sentence.isprintable(), sentence
        assert SECRET not in sentence


@given(DOCUMENTS)
@example({"name": SECRET, "target": SECRET, "username": f"{SECRET}:", "authType": "UsernamePassword", "password": SECRET})
@example({"credentials": {"type": SECRET}, "pat": SECRET})
@example({SECRET: SECRET})
def test_any_mapping_is_a_connection_or_a_sentence(said: dict[str, Any]) -> None:
    judge(yaml.safe_dump(said, allow_unicode=True).encode("utf-8", "surrogatepass"))
    judge(json.dumps(said).encode())


@given(st.binary(max_size=200) | st.text(alphabet="{}[]:,-?&*!|>'\"%@#\n ab0", max_size=60).map(str.encode))
def test_any_bytes_are_a_connection_or_a_sentence(body: bytes) -> None:
    judge(body)


@pytest.mark.parametrize(
    "more",
    [
        "authType: k7Qp2Zx9Lm4R\n",
        "category: k7Qp2Zx9Lm4R\n",
        "k7Qp2Zx9Lm4R: x\n",
        "credentials: {type: pat, pat: x1, k7Qp2Zx9Lm4R: 1}\n",
        f"{'k7Qp' * 20}: x\n",
        f"{'abcd' * 20}: x\n",
        'authType: PAT\nvalue: \'{"pat": "k7Qp2Zx9Lm4R"\'\n',
        'authType: PAT\nvalue: \'{"pat": "k7Qp2Zx9Lm4R", "pat": "other"}\'\n',
    ],
)
def test_a_secret_in_a_wrong_place_is_refused_and_not_repeated(more: str) -> None:
    with pytest.raises(ValueError, match=r"unknown field|not supported|begins as JSON") as refused:
        parse_document(f"name: team\ntarget: https://pkgs.dev.azure.com/acme\n{more}".encode())
    assert "k7Qp" not in str(refused.value)
    assert "abcd" not in str(refused.value)


@pytest.mark.parametrize(
    "written", ["$PAT", "$env:PAT", "#{PAT}#", "__PAT__", "@Microsoft.KeyVault(x)", "xxxxxxxx", "None", "{{ PAT }}"]
)
def test_a_placeholder_is_no_secret(written: str) -> None:
    document = f"name: team\ntarget: https://pkgs.dev.azure.com/acme\nauthType: PAT\nvalue: '{written}'\n"
    with pytest.raises(ValueError, match="placeholder"):
        parse_document(document.encode())


@pytest.mark.parametrize("field", ["ca_bundle", "insecure", "baseAddress", "skipCheck", "anonymous"])
def test_a_field_that_may_change_who_is_trusted_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match=f"unknown field '{field}'"):
        parse_document(f"name: team\ntarget: https://pkgs.dev.azure.com/acme\n{field}: true\n".encode())


def show_blobs(**more: str) -> bytes:
    """As `az ml connection show` prints one for a container."""
    names = {"account_name": "acct", "container_name": "wheels"}
    shown = {"name": "box", "type": "azure_blob", "url": "https://acct.blob.core.windows.net/wheels", **names, **more}
    return json.dumps({**shown, "credentials": {"type": "sas", "sas_token": SECRET}}).encode()


def test_the_names_of_a_container_are_those_in_its_address() -> None:
    document = parse_document(show_blobs())
    assert document.fields["target"] == "https://acct.blob.core.windows.net/wheels"
    assert (document.fields["auth_type"], document.notes) == ("SAS", ())
    assert parse_document(show_blobs(target="https://acct.blob.core.windows.net/wheels")).fields == document.fields
    for more in ({"account_name": "other"}, {"container_name": "other"}, {"url": "https://index.example.com/acct"}):
        with pytest.raises(ValueError, match="its (account|container)_name is not the one in its target"):
            parse_document(show_blobs(**more))
    with pytest.raises(ValueError, match="two different values"):
        parse_document(show_blobs(target="https://acct.blob.core.windows.net/wheels/folder"))
