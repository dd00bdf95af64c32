"""Connection documents, as Azure ML's tools write them.

Three forms hold the same fields: the YAML of ``az ml connection create``, the JSON of the first SDK's ``set_connection``, and
the ARM resource of the REST interface. All spellings are accepted (``authType``, ``auth_type``; ``python_feed``, ``PythonFeed``).
Error messages repeat nothing that might be a secret in the wrong place.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import msgspec
from pydantic import ValidationError

from wheelgate.config.connections import AuthType, Category, Connection
from wheelgate.config.plain_yaml import NotPlainYaml, parse_plain_yaml
from wheelgate.config.section import WORD, format_errors
from wheelgate.core.errors import ConfigurationError
from wheelgate.core.secret import Secret, reference_parts
from wheelgate.runtime.regular_file import FileTooLarge, read_regular

_MAX_BYTES = 64 * 1024
_AUTH_TYPES = {name.lower(): name for name in get_args(AuthType)}
_CATEGORIES = {name.lower(): name for name in get_args(Category)}
_FIELDS = {name.replace("_", ""): name for name in Connection.model_fields if name != "value"} | {"type": "category"}
_SECRET_FIELDS = ("pat", "password", "token", "sas", "sastoken", "clientsecret", "value")
_ENUMERATIONS = ("type", "category", "authtype")
"""Fields whose values have several spellings."""
_NOISE = re.compile(r"[^a-z0-9]")
# Fields that the tools write and Wheelgate does not need.
_IGNORED = {
    *("schema", "id", "tags", "metadata", "description", "group", "error", "location", "apiversion", "systemdata", "resourceid"),
    *("isshared", "issharedtoall", "shareduserlist", "expirytime", "valueformat", "createdbyworkspacearmid"),
    *("usemanagedidentity", "perequirement", "pestatus"),
}


class ConnectionDocument(msgspec.Struct, frozen=True):
    """Fields of a connection document, and its secret if it holds the secret itself."""

    fields: Mapping[str, Any]
    secret: Secret | None

    @staticmethod
    def from_fields(fields: Mapping[str, Any], secret: Secret | None = None) -> ConnectionDocument:
        """Build a document from fields by our names, in any spelling; :class:`ConfigurationError` if a type is unknown."""
        try:
            return ConnectionDocument(_normalise_enumerations(fields), secret)
        except ValueError as error:
            raise ConfigurationError([str(error)]) from None

    def build_connection(self, **more: str) -> Connection:
        """Build the connection, with ``more`` fields; :class:`ConfigurationError` if they do not make one."""
        try:
            return Connection.model_validate({**self.fields, **more})
        except ValidationError as error:
            raise ConfigurationError(format_errors(error)) from None


def read_document(path: Path) -> ConnectionDocument:
    """Read a connection document from a file; :class:`ConfigurationError` if it cannot be read, or is none."""
    try:
        return parse_document(read_regular(path, _MAX_BYTES))
    except FileNotFoundError:
        problem = "there is no such file"
    except FileTooLarge:
        problem = "is too large for a connection document"
    except OSError as error:
        problem = f"cannot be read: {(error.strerror or 'unknown reason').lower()}"
    except ValueError as error:
        problem = str(error)
    raise ConfigurationError([f"{path}: {problem}"])


def parse_document(body: bytes) -> ConnectionDocument:
    """Parse a connection document; :class:`ValueError` if it is not one; the message says why, and repeats no secret."""
    if len(body) > _MAX_BYTES:
        raise ValueError("is too large for a connection document")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None
    fields, secret = _flatten(parse_plain_yaml(text))
    likely = "None" if secret is None else "UsernamePassword" if "username" in fields else "PAT"
    fields = _normalise_enumerations({"auth_type": likely, **fields})
    if secret is None:
        return ConnectionDocument(fields, None)
    if fields["auth_type"] in ("None", "ManagedIdentity"):
        raise ValueError(f"it has a secret, but authType {fields['auth_type']} does not use one")
    if reference_parts(secret) is not None:
        return ConnectionDocument({**fields, "value": secret}, None)
    if not secret.isprintable() or not secret.strip():
        raise ValueError("its secret is empty or contains unprintable characters")
    return ConnectionDocument(fields, Secret(secret.strip()))


def _normalise_enumerations(fields: Mapping[str, Any]) -> dict[str, Any]:
    category = _look_up(fields.get("category", "PythonFeed"), _CATEGORIES, "category")
    auth_type = _look_up(fields.get("auth_type", "None"), _AUTH_TYPES, "authType")
    return {**fields, "category": category, "auth_type": auth_type}


def _flatten(content: object) -> tuple[dict[str, Any], str | None]:
    """Collect the fields of any of the forms, by our names, and the secret as the document has it."""
    fields: dict[str, Any] = {}
    secrets = []
    for key, entry in _collect_fields(content).items():
        if key in _SECRET_FIELDS:
            secrets.append(_require_text(key, entry))
        elif key == "allowhttp":
            fields["allow_http"] = entry
        elif key in _FIELDS:
            fields = _merge(fields, {_FIELDS[key]: _require_text(key, entry)})
        elif key not in _IGNORED:
            raise ValueError(f"it has an unknown field{_quote_word(key)}")
    secrets = [secret for secret in secrets if secret]
    if len(secrets) > 1:
        raise ValueError("it has more than one secret")
    return fields, secrets[0] if secrets else None


def _collect_fields(content: object) -> dict[str, Any]:
    """Put all fields side by side, wherever the form keeps them, without those that are null."""
    top = _read_mapping(content, "is not a connection document: it has no name, target and authType")
    if (properties := top.pop("properties", None)) is not None:  # an ARM resource, or what the REST interface is sent
        if "/" in str(top.get("type", "")):
            del top["type"]
        if "/" in str(top.get("name", "")):  # in a template: workspace/connection
            top["name"] = str(top["name"]).rpartition("/")[2]
        top = _merge(top, _read_mapping(properties, "its properties must be a mapping, such as {type: pat, pat: ...}"))
    value = top.get("value")
    if isinstance(value, str) and value.lstrip().startswith("{"):  # the first SDK takes a bare token or a JSON object
        with contextlib.suppress(NotPlainYaml):
            value = parse_plain_yaml(value)
    if isinstance(value, dict):
        del top["value"]
        top = _merge(top, _read_mapping(value))
    if (credentials := top.pop("credentials", None)) is not None:
        nested = _read_mapping(credentials, "its credentials must be a mapping, such as {type: pat, pat: ...}")
        if "type" in nested:
            nested["authtype"] = nested.pop("type")
        top = _merge(top, nested)
    return top


def _read_mapping(value: object, problem: str = "") -> dict[str, Any]:
    """Read the fields of a mapping by normalised names, without those that are null."""
    if not isinstance(value, dict):
        raise ValueError(problem)
    fields: dict[str, Any] = {}
    for key, entry in value.items():
        if entry is not None:
            fields = _merge(fields, {_normalise_word(key): entry})
    return fields


def _merge(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two sets of fields; a field in both must have the same value."""
    for key in one.keys() & other.keys():
        same = _normalise_word(one[key]) == _normalise_word(other[key]) if key in _ENUMERATIONS else one[key] == other[key]
        if not same and key not in _IGNORED:
            raise ValueError(f"it has two different values for{_quote_word(key) or ' a field'}")
    return {**one, **other}


def _normalise_word(word: object) -> str:
    """Normalise ``authType``, ``auth_type`` and ``AUTH-TYPE`` to one word; anything else stays as it is, to be refused."""
    text = str(word)
    return _NOISE.sub("", text.lower()) if WORD.fullmatch(text.removeprefix("$")) else text


def _require_text(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"its field {key!r} must be text: put it in quotes")
    return value


def _look_up(value: object, names: Mapping[str, str], field: str) -> str:
    name = names.get(_normalise_word(value))
    if name is None:
        raise ValueError(f"{field}{_quote_word(value)} is not supported; use one of {', '.join(names.values())}")
    return name


def _quote_word(word: object) -> str:
    return f" {word!r}" if isinstance(word, str) and WORD.fullmatch(word) else ""
