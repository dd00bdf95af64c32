"""Connection documents, as Azure ML's tools write them.

Three forms say the same: the YAML of ``az ml connection create``, the JSON of the first SDK's ``set_connection``, and the ARM
resource of the REST interface. Their spellings (``authType``, ``auth_type``, ``python_feed``, ``PythonFeed``) are all taken.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml
from pydantic import ValidationError

from proxy.config.connections import Connection
from proxy.config.sentences import sentences
from proxy.errors import ConfigurationError
from proxy.secret import Secret, reference_parts

_MAX_BYTES = 64 * 1024
_AUTH_TYPES = {
    "none": "None",
    "pat": "PAT",
    "usernamepassword": "UsernamePassword",
    "bearer": "Bearer",
    "managedidentity": "ManagedIdentity",
    "serviceprincipal": "ServicePrincipal",
    "sas": "SAS",
}
_CATEGORIES = {"pythonfeed": "PythonFeed", "git": "Git", "azureblob": "AzureBlob", "httpproxy": "HttpProxy"}
_FIELDS = {
    "name": "name",
    "type": "category",
    "category": "category",
    "target": "target",
    "authtype": "auth_type",
    "value": "value",
    "credentials": "credentials",
    "username": "username",
    "clientid": "client_id",
    "tenantid": "tenant_id",
    "scope": "scope",
    "allowhttp": "allow_http",
}
_SECRET_FIELDS = ("pat", "password", "token", "sas", "sastoken", "clientsecret", "value")
# What the tools write beside it and nobody needs here.
_IDLE = {
    *("schema", "id", "tags", "metadata", "description", "group", "error", "location", "apiversion", "systemdata", "resourceid"),
    *("isshared", "issharedtoall", "shareduserlist", "expirytime", "valueformat", "createdbyworkspacearmid"),
    *("usemanagedidentity", "perequirement", "pestatus"),
}


class Document(msgspec.Struct, frozen=True):
    """What a document says: the fields of a connection, and its secret if it holds the secret itself."""

    fields: Mapping[str, Any]
    secret: Secret | None

    @staticmethod
    def of_fields(said: Mapping[str, Any], secret: Secret | None = None) -> Document:
        """A document of fields by our names, their values in any of the spellings.

        Raises:
            ConfigurationError: a category or kind that nobody knows.
        """
        try:
            return Document(_spelled(said), secret)
        except _Wrong as error:
            raise ConfigurationError([str(error)]) from None

    def connection(self, **more: str) -> Connection:
        """The connection, with ``more`` fields than the document has.

        Raises:
            ConfigurationError: the fields do not make one.
        """
        try:
            return Connection.model_validate({**self.fields, **more})
        except ValidationError as error:
            raise ConfigurationError([sentence for detail in error.errors() for sentence in sentences(detail)]) from None


def read_document(path: Path, shown: str | None = None) -> Document:
    """A connection document from a file.

    Raises:
        ConfigurationError: it cannot be read, or is no connection document.
    """
    shown = shown or str(path)
    try:
        with path.open("rb") as file:
            body = file.read(_MAX_BYTES + 1)
        text = body.decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigurationError([f"{shown}: there is no such file"]) from None
    except OSError as error:
        raise ConfigurationError([f"{shown}: cannot be read: {(error.strerror or 'unknown reason').lower()}"]) from None
    except UnicodeDecodeError:
        raise ConfigurationError([f"{shown}: is not UTF-8 text"]) from None
    if len(body) > _MAX_BYTES:
        raise ConfigurationError([f"{shown}: is too large for a connection document"])
    try:
        found = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe; JSON is YAML
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark is not None else ""
        raise ConfigurationError([f"{shown}: is neither YAML nor JSON{where}"]) from None
    try:
        return _document(found)
    except _Wrong as error:
        raise ConfigurationError([f"{shown}: {error}"]) from None


class _Wrong(Exception):
    """What is wrong with a document, in words."""


def _document(found: object) -> Document:
    fields, secret = _flat(found)
    fields = _spelled({"auth_type": "None" if secret is None else "PAT", **fields})
    if secret is None:
        return Document(fields, None)
    if reference_parts(secret) is not None:
        return Document({**fields, "value": secret}, None)
    if not secret.isprintable() or not secret.strip():
        raise _Wrong("its secret is empty, or holds characters that no secret has")
    return Document(fields, Secret(secret.strip()))


def _spelled(fields: Mapping[str, Any]) -> dict[str, Any]:
    category = _known(fields.get("category", "PythonFeed"), _CATEGORIES, "category", "can be of an index")
    auth_type = _known(fields.get("auth_type", "None"), _AUTH_TYPES, "authType", "Wheelgate can sign in with")
    return {**fields, "category": category, "auth_type": auth_type}


def _flat(found: object) -> tuple[dict[str, Any], str | None]:
    """The fields of any of the forms, by our names, and the secret as it stands there."""
    fields: dict[str, Any] = {}
    secrets = []
    for key, entry in _unfolded(found).items():
        if entry is None:
            continue
        if key in _SECRET_FIELDS:
            secrets.append(_text(key, entry))
        elif key in _FIELDS:
            fields[_FIELDS[key]] = entry if isinstance(entry, bool) else _text(key, entry)
        elif key not in _IDLE:
            raise _Wrong(f"nobody knows its field {key!r}")
    secrets = [secret for secret in secrets if secret]
    if len(secrets) > 1:
        raise _Wrong("it has more than one secret")
    return fields, secrets[0] if secrets else None


def _unfolded(found: object) -> dict[str, Any]:
    """All fields side by side, wherever the form keeps them."""
    if not isinstance(found, dict):
        raise _Wrong("is no connection document: it has no name, target and authType")
    top = _plainly(found)
    if isinstance(properties := top.pop("properties", None), dict):  # an ARM resource, or what the REST interface is sent
        if "/" in str(top.get("type", "")):
            top.pop("type")
        top["name"] = str(top.get("name", "")).rpartition("/")[2]  # in a template: workspace/connection
        top |= _plainly(properties)
    value = _json_value(top.get("value"))
    credentials = top.pop("credentials", None)
    if isinstance(value, dict):
        top.pop("value")
        credentials = credentials or value
    if credentials is None:
        return top
    if not isinstance(credentials, dict):
        raise _Wrong("its credentials must be a mapping, such as {type: pat, pat: ...}")
    kept = _plainly(credentials)
    if "type" in kept:
        top["authtype"] = kept.pop("type")
    return top | kept


def _plainly(fields: Mapping[Any, Any]) -> dict[str, Any]:
    return {_plain(key): value for key, value in fields.items()}


def _json_value(value: object) -> object:
    """The first SDK takes a bare token or a JSON object as value."""
    if not isinstance(value, str) or not value.lstrip().startswith("{"):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _plain(key: object) -> str:
    return re.sub(r"[^a-z]", "", str(key).lower())


def _text(key: str, value: object) -> str:
    if isinstance(value, bool | dict | list):
        raise _Wrong(f"its field {key!r} must be text")
    return str(value)


def _known(value: object, names: Mapping[str, str], field: str, what: str) -> str:
    found = names.get(_plain(value))
    if found is None:
        raise _Wrong(f"{field} {str(value)[:40]!r} is not one that {what}: {', '.join(names.values())}")
    return found
