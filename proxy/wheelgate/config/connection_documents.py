"""Connection documents, as Azure ML's tools write them.

Three forms hold the same fields: the YAML of ``az ml connection create``, the JSON of the first SDK's ``set_connection``, and
the ARM resource of the REST interface; lists and templates hold several of them. All spellings are accepted (``authType``,
``auth_type``; ``python_feed``, ``PythonFeed``). A field that is not known and cannot change who is trusted is noted; any other is
refused. Error messages repeat nothing that might be a secret in the wrong place.
"""

from __future__ import annotations

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
from wheelgate.core.urls import UnsafeUrl, parse
from wheelgate.runtime.regular_file import FileTooLarge, read_regular

_MAX_BYTES = 64 * 1024
_AUTH_TYPES = {name.lower(): name for name in get_args(AuthType)} | {"basic": "UsernamePassword"}
_CATEGORIES = {name.lower(): name for name in get_args(Category)}
_FIELDS = {name.replace("_", ""): name for name in Connection.model_fields if name != "value"} | {
    "type": "category",
    "url": "target",
}
_SECRET_FIELDS = ("pat", "password", "token", "sas", "sastoken", "clientsecret", "value")
_REPEATED = ("accountname", "containername")
"""Fields beside the address of a container that say parts of it again."""
_NO_DOCUMENT = "is not a connection document: it has no name, target and authType"
_ENUMERATIONS = ("type", "category", "authtype")
"""Fields whose values have several spellings."""
_NOISE = re.compile(r"[^a-z0-9]")
# Fields that the tools write and Wheelgate does not need.
_IGNORED = {
    *("schema", "id", "tags", "metadata", "description", "group", "error", "location", "apiversion", "systemdata", "resourceid"),
    *("isshared", "issharedtoall", "shareduserlist", "expirytime", "valueformat", "createdbyworkspacearmid"),
    *("usemanagedidentity", "perequirement", "pestatus", "creationcontext", "resourcegroup", "dependson", "etag"),
}
_TRUSTED = re.compile(
    r"key|secret|token|pass|pwd|cred|auth|sas|pat|user|client|tenant|identi|principal|role|cert|tls|ssl|verify|trust|sign|login"
    r"|account|host|ur[il]|endpoint|target|proxy|redirect|scope|audience|connect|header|cookie|allow|resource|subscription"
    r"|address|anonym|bundle|domain|insecure|server|skip"
)
"""In the name of a field that may say who is trusted, or with what."""
_PLACEHOLDER = re.compile(
    r"\$\{.*\}|\$\(.*\)|<.*>|\{\{.*\}\}|%\w+%|\[\s*\w+\(.*\]|\*+|\.+|[xX]{4,}"
    r"|\$(?:env:\w+|[A-Z_][A-Z0-9_]*)|#\{.*\}#|__\w+__|@Microsoft\.KeyVault\(.*\)"
    r"|(?i:string|secret|redacted|placeholder|changeme|null|none|todo|tbd|your[-_ ].*)"
)


class ConnectionDocument(msgspec.Struct, frozen=True):
    """Fields of a connection document, and its secret if it holds the secret itself."""

    fields: Mapping[str, Any]
    secret: Secret | None
    notes: tuple[str, ...] = ()
    """Fields, as they are written, that mean nothing here."""

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


def read_document(path: Path, name: str | None = None) -> ConnectionDocument:
    """Read a connection document from a file; :class:`ConfigurationError` if it cannot be read, or is none.

    ``name``: the one to be read where there are several.
    """
    try:
        return parse_document(read_regular(path, _MAX_BYTES), name)
    except FileNotFoundError:
        problem = "there is no such file"
    except FileTooLarge:
        problem = "is too large for a connection document"
    except OSError as error:
        problem = f"cannot be read: {(error.strerror or 'unknown reason').lower()}"
    except ValueError as error:
        problem = str(error)
    raise ConfigurationError([f"{path}: {problem}"])


def parse_document(body: bytes, name: str | None = None) -> ConnectionDocument:
    """Parse a connection document; :class:`ValueError` if it is not one; the message says why, and repeats no secret."""
    if len(body) > _MAX_BYTES:
        raise ValueError("is too large for a connection document")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None
    fields, secret, notes = _flatten(_choose_entry(parse_plain_yaml(text), name))
    likely = "None" if secret is None else "UsernamePassword" if "username" in fields else "PAT"
    fields = _normalise_enumerations({"auth_type": likely, **fields})
    if secret is None:
        return ConnectionDocument(fields, None, notes)
    if fields["auth_type"] in ("None", "ManagedIdentity"):
        raise ValueError(f"it has a secret, but authType {fields['auth_type']} does not use one")
    if reference_parts(secret) is not None:
        return ConnectionDocument({**fields, "value": secret}, None, notes)
    if _PLACEHOLDER.fullmatch(secret.strip()):
        raise ValueError(
            "its secret is a placeholder: write the secret there, or where it is (env:NAME), or leave it out and be asked"
        )
    if not secret.isprintable() or not secret.strip():
        raise ValueError("its secret is empty or contains unprintable characters")
    return ConnectionDocument(fields, Secret(secret.strip()), notes)


def _choose_entry(content: object, name: str | None) -> object:
    """Choose the connection to be read: the only one, the one of this name, or the only one of a category that is known."""
    entries = content
    if isinstance(content, dict):
        entries = content.get("resources") if isinstance(content.get("resources"), list) else content.get("value")
        if isinstance(content.get("resources"), list):  # a template for Azure Resource Manager
            entries = [entry for entry in content["resources"] if _is_connection_resource(entry)]
    if not isinstance(entries, list):
        return content
    if not entries:
        raise ValueError("holds no connection")
    found = [entry for entry in entries if isinstance(entry, dict)]
    if len(found) < len(entries):
        raise ValueError(_NO_DOCUMENT)
    named = [entry for entry in found if name is not None and _name_of(entry) == name]
    usable = [entry for entry in found if _normalise_word(_find_category(entry)) in _CATEGORIES]
    chosen = next((few for few in (named, found, usable) if len(few) == 1), None)
    if chosen is None:
        names = ", ".join(_name_of(entry) for entry in usable or found if WORD.fullmatch(_name_of(entry)))
        raise ValueError(f"holds {len(entries)} connections: say with --name which one" + (f" ({names})" if names else ""))
    return chosen[0]


def _is_connection_resource(entry: object) -> bool:
    return isinstance(entry, dict) and str(entry.get("type", "")).lower().endswith("/connections")


def _name_of(entry: Mapping[str, Any]) -> str:
    return str(entry.get("name", "")).rpartition("/")[2]


def _find_category(entry: Mapping[str, Any]) -> object:
    properties = entry.get("properties")
    return properties.get("category") if isinstance(properties, dict) else entry.get("category", entry.get("type"))


def _normalise_enumerations(fields: Mapping[str, Any]) -> dict[str, Any]:
    category = _look_up(fields.get("category", "PythonFeed"), _CATEGORIES, "category")
    auth_type = _look_up(fields.get("auth_type", "None"), _AUTH_TYPES, "authType")
    return {**fields, "category": category, "auth_type": auth_type}


class _Collected:
    """Fields of a document side by side, wherever its form keeps them."""

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        """By normalised names."""
        self.written: dict[str, str] = {}
        """The same names as they are written."""
        self.strict: set[str] = set()
        """Those that stand among credentials, where nothing is idle."""

    def add(self, fields: Mapping[str, tuple[str, Any]], *, strict: bool = False) -> None:
        """Add fields by normalised names; one that is there already must have the same value."""
        self.fields = _merge(self.fields, {key: value for key, (_, value) in fields.items()})
        self.written = {**{key: word for key, (word, _) in fields.items()}, **self.written}
        self.strict |= set(fields) if strict else set()

    def is_idle(self, key: str) -> bool:
        """True if an unknown field cannot change who is trusted: by its name, or since it says no."""
        return _is_shown(self.written[key]) and (
            self.fields[key] is False or (key not in self.strict and _TRUSTED.search(key) is None)
        )


def _flatten(content: object) -> tuple[dict[str, Any], str | None, tuple[str, ...]]:
    """Collect the fields of any of the forms, by our names; the secret as the document has it; and what means nothing here."""
    fields: dict[str, Any] = {}
    secrets, notes = [], []
    collected = _collect_fields(content)
    for key, entry in collected.fields.items():
        if key in _SECRET_FIELDS:
            secrets.append(_require_text(collected.written[key], entry))
        elif key == "allowhttp":
            fields["allow_http"] = entry
        elif key in _FIELDS:
            fields = _merge(fields, {_FIELDS[key]: _require_text(collected.written[key], entry)})
        elif key in _REPEATED:
            _check_repeated(collected, key)
        elif key not in _IGNORED:
            if not collected.is_idle(key):
                raise ValueError(f"it has an unknown field{_quote_word(collected.written[key])}")
            notes.append(collected.written[key])
    secrets = [secret for secret in secrets if secret]
    if len(secrets) > 1:
        raise ValueError("it has more than one secret")
    return fields, secrets[0] if secrets else None, tuple(notes)


def _check_repeated(collected: _Collected, key: str) -> None:
    """Check that the name of an account or a container is the one in the target's address."""
    try:
        url = parse(str(collected.fields.get("target", collected.fields.get("url", ""))))
    except UnsafeUrl:
        return  # which is said of the target itself
    account, container = (url.host or "").partition(".")[0], url.path.strip("/").partition("/")[0]
    if str(collected.fields[key]).lower() != (account if key == "accountname" else container):
        raise ValueError(f"its {collected.written[key]} is not the one in its target")


def _collect_fields(content: object) -> _Collected:
    collected = _Collected()
    top = _read_mapping(content, _NO_DOCUMENT)
    if (properties := _pop(top, "properties")) is not None:  # an ARM resource, or what the REST interface is sent
        if "/" in str(top.get("type", ("", ""))[1]):
            del top["type"]
        if "/" in str(top.get("name", ("", ""))[1]):  # in a template: workspace/connection
            top["name"] = (top["name"][0], str(top["name"][1]).rpartition("/")[2])
        collected.add(_read_mapping(properties, "its properties must be a mapping, such as {type: pat, pat: ...}"))
    collected.add(top)
    value = collected.fields.get("value")
    if isinstance(value, str) and value.lstrip().startswith("{"):  # the first SDK takes a bare token or a JSON object
        text = value.strip()
        try:
            value = parse_plain_yaml(text)
        except NotPlainYaml:
            if _PLACEHOLDER.fullmatch(text) is None:
                raise ValueError("its value begins as JSON does, and cannot be read as JSON") from None
    if isinstance(value, dict):
        del collected.fields["value"]
        collected.add(_read_mapping(value), strict=True)
    if (credentials := collected.fields.pop("credentials", None)) is not None:
        nested = _read_mapping(credentials, "its credentials must be a mapping, such as {type: pat, pat: ...}")
        if "type" in nested:
            nested["authtype"] = nested.pop("type")
        collected.add(nested, strict=True)
    return collected


def _pop(fields: dict[str, tuple[str, Any]], key: str) -> object:
    return fields.pop(key, ("", None))[1]


def _read_mapping(value: object, problem: str = "") -> dict[str, tuple[str, Any]]:
    """Read the fields of a mapping by normalised names, as they are written and without those that are null."""
    if not isinstance(value, dict):
        raise ValueError(problem)
    fields: dict[str, tuple[str, Any]] = {}
    for key, entry in value.items():
        if entry is not None:
            word = _normalise_word(key)
            _merge({name: said for name, (_, said) in fields.items()}, {word: entry})
            fields[word] = (str(key), entry)
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
        raise ValueError(f"{field}{_quote_word(value)} is not supported; use one of {', '.join(dict.fromkeys(names.values()))}")
    return name


def _is_shown(word: object) -> bool:
    """Say whether a word may be repeated: one with digits within it may be a secret in the wrong place."""
    return isinstance(word, str) and WORD.fullmatch(word) is not None and re.search(r"\d(?!\d*$)", word) is None


def _quote_word(word: object) -> str:
    return f" {word!r}" if _is_shown(word) else ""
