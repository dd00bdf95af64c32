"""Connection documents, as Azure ML's tools write them.

Three forms say the same: the YAML of ``az ml connection create``, the JSON of the first SDK's ``set_connection``, and the ARM
resource of the REST interface. Their spellings (``authType``, ``auth_type``, ``python_feed``, ``PythonFeed``) are all taken.
What is wrong with one is said without repeating anything that might be a secret in the wrong place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from pydantic import ValidationError

from wheelgate.config.connections import Connection
from wheelgate.config.plain_yaml import NotPlainYaml, plain_yaml
from wheelgate.config.sentences import sentences
from wheelgate.core.errors import ConfigurationError
from wheelgate.core.secret import Secret, reference_parts

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
    "username": "username",
    "clientid": "client_id",
    "tenantid": "tenant_id",
    "scope": "scope",
    "allowhttp": "allow_http",
}
_SECRET_FIELDS = ("pat", "password", "token", "sas", "sastoken", "clientsecret", "value")
_SPELLED = ("type", "category", "authtype")
"""Fields whose values have several spellings."""
_NOISE = re.compile(r"[^a-z0-9]")
# No secret looks like this: anything else that stands where a word should is not repeated.
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_. -]{0,29}")
# What the tools write beside it and nobody needs here.
_IDLE = {
    *("schema", "id", "tags", "metadata", "description", "group", "error", "location", "apiversion", "systemdata", "resourceid"),
    *("isshared", "issharedtoall", "shareduserlist", "expirytime", "valueformat", "createdbyworkspacearmid"),
    *("usemanagedidentity", "perequirement", "pestatus"),
}


class ConnectionDocument(msgspec.Struct, frozen=True):
    """What a document says: the fields of a connection, and its secret if it holds the secret itself."""

    fields: Mapping[str, Any]
    secret: Secret | None

    @staticmethod
    def of_fields(said: Mapping[str, Any], secret: Secret | None = None) -> ConnectionDocument:
        """A document of fields by our names, their values in any of the spellings.

        Raises:
            ConfigurationError: a category or kind that nobody knows.
        """
        try:
            return ConnectionDocument(_spelled(said), secret)
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


def read_document(path: Path) -> ConnectionDocument:
    """A connection document from a file.

    Raises:
        ConfigurationError: it cannot be read, or is no connection document.
    """
    try:
        return document_of(_body_of(path))
    except FileNotFoundError:
        problem = "there is no such file"
    except OSError as error:
        problem = f"cannot be read: {(error.strerror or 'unknown reason').lower()}"
    except (NotPlainYaml, _Wrong) as error:
        problem = str(error)
    raise ConfigurationError([f"{path}: {problem}"])


def document_of(body: bytes) -> ConnectionDocument:
    """A connection document.

    Raises:
        ValueError: it is none; the message says why, and repeats no secret.
    """
    if len(body) > _MAX_BYTES:
        raise _Wrong("is too large for a connection document")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _Wrong("is not UTF-8 text") from None
    return _document(plain_yaml(text))


def _body_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MAX_BYTES + 1)


class _Wrong(ValueError):
    """What is wrong with a document, in words."""


def _document(found: object) -> ConnectionDocument:
    fields, secret = _flat(found)
    likely = "None" if secret is None else "UsernamePassword" if "username" in fields else "PAT"
    fields = _spelled({"auth_type": likely, **fields})
    if secret is None:
        return ConnectionDocument(fields, None)
    if fields["auth_type"] in ("None", "ManagedIdentity"):
        raise _Wrong(f"it has a secret, and authType {fields['auth_type']} needs none")
    if reference_parts(secret) is not None:
        return ConnectionDocument({**fields, "value": secret}, None)
    if not secret.isprintable() or not secret.strip():
        raise _Wrong("its secret is empty, or holds characters that no secret has")
    return ConnectionDocument(fields, Secret(secret.strip()))


def _spelled(fields: Mapping[str, Any]) -> dict[str, Any]:
    category = _known(fields.get("category", "PythonFeed"), _CATEGORIES, "category", "can be of an index")
    auth_type = _known(fields.get("auth_type", "None"), _AUTH_TYPES, "authType", "Wheelgate can sign in with")
    return {**fields, "category": category, "auth_type": auth_type}


def _flat(found: object) -> tuple[dict[str, Any], str | None]:
    """The fields of any of the forms, by our names, and the secret as it stands there."""
    fields: dict[str, Any] = {}
    secrets = []
    for key, entry in _unfolded(found).items():
        if key in _SECRET_FIELDS:
            secrets.append(_text(key, entry))
        elif key == "allowhttp":
            fields["allow_http"] = entry
        elif key in _FIELDS:
            fields = _joined(fields, {_FIELDS[key]: _text(key, entry)})
        elif key not in _IDLE:
            raise _Wrong(f"it has a field{_quoted(key)} that no connection has")
    secrets = [secret for secret in secrets if secret]
    if len(secrets) > 1:
        raise _Wrong("it has more than one secret")
    return fields, secrets[0] if secrets else None


def _unfolded(found: object) -> dict[str, Any]:
    """All fields side by side, wherever the form keeps them, less those that say nothing."""
    if not isinstance(found, dict):
        raise _Wrong("is no connection document: it has no name, target and authType")
    top = _plainly(found)
    if (properties := top.pop("properties", None)) is not None:  # an ARM resource, or what the REST interface is sent
        if "/" in str(top.get("type", "")):
            del top["type"]
        if "/" in str(top.get("name", "")):  # in a template: workspace/connection
            top["name"] = str(top["name"]).rpartition("/")[2]
        top = _joined(top, _mapping("properties", properties))
    if isinstance(value := _json_value(top.get("value")), dict):
        del top["value"]
        top = _joined(top, _plainly(value))
    if (credentials := top.pop("credentials", None)) is not None:
        kept = _mapping("credentials", credentials)
        if "type" in kept:
            kept["authtype"] = kept.pop("type")
        top = _joined(top, kept)
    return top


def _plainly(fields: Mapping[Any, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in fields.items():
        if value is not None:
            made = _joined(made, {_plain(key): value})
    return made


def _joined(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """All of both. What both say must be the same."""
    for key in one.keys() & other.keys():
        same = _plain(one[key]) == _plain(other[key]) if key in _SPELLED else one[key] == other[key]
        if not same and key not in _IDLE:
            raise _Wrong(f"it says its{_quoted(key)} twice")
    return {**one, **other}


def _mapping(field: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Wrong(f"its {field} must be a mapping, such as {{type: pat, pat: ...}}")
    return _plainly(value)


def _json_value(value: object) -> object:
    """The first SDK takes a bare token or a JSON object as value."""
    if not isinstance(value, str) or not value.lstrip().startswith("{"):
        return value
    try:
        return plain_yaml(value)
    except NotPlainYaml:
        return value


def _plain(word: object) -> str:
    """``authType``, ``auth_type`` and ``AUTH-TYPE`` are one word; what is no word stays as it is, to be refused."""
    text = str(word)
    return _NOISE.sub("", text.lower()) if _WORD.fullmatch(text.removeprefix("$")) else text


def _text(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise _Wrong(f"its field {key!r} must be text: put it in quotes")
    return value


def _known(value: object, names: Mapping[str, str], field: str, what: str) -> str:
    found = names.get(_plain(value))
    if found is None:
        raise _Wrong(f"{field}{_quoted(value)} is not one that {what}: {', '.join(names.values())}")
    return found


def _quoted(word: object) -> str:
    return f" {word!r}" if isinstance(word, str) and _WORD.fullmatch(word) else ""
