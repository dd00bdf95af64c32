"""Connections folder: one document for each connection, and ``secrets.toml`` beside it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import yaml

from wheelgate.config.connection_documents import read_document
from wheelgate.config.connections import Connection, find_conflicts
from wheelgate.config.references import SecretMissing
from wheelgate.config.settings import Config
from wheelgate.core.errors import ConfigurationError
from wheelgate.core.secret import Secret, reference_parts
from wheelgate.runtime.durable import file_lock, replace_file

_SUFFIXES = (".yml", ".yaml", ".json")
_FIELD_NAMES = {"auth_type": "authType", "client_id": "clientId", "tenant_id": "tenantId", "allow_http": "allowHttp"}


def read_connections_folder(folder: Path) -> tuple[list[Connection], list[str]]:
    """Read a folder's connections, and the problems of documents that cannot be used; raises as :func:`list_documents`."""
    connections, problems = [], []
    for path in list_documents(folder):
        try:
            document = read_document(path)
            if document.secret is not None:
                raise ConfigurationError(
                    ["contains the secret itself: pass it to `wheelgate connection set -f`, which stores the secret elsewhere"]
                )
            connections.append(document.build_connection())
        except ConfigurationError as error:
            problems += [problem if problem.startswith(str(path)) else f"{path}: {problem}" for problem in error.problems]
    return connections, problems + [f"{folder}: {tie}" for tie in find_conflicts(connections)]


def list_documents(folder: Path) -> list[Path]:
    """List the documents of the folder by name; :class:`ConfigurationError` if the folder cannot be read."""
    try:
        paths = [path for path in folder.iterdir() if path.suffix in _SUFFIXES and path.name[0] != "."]
        return sorted(paths)
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise ConfigurationError([f"server.connections: {folder} cannot be read: {reason}"]) from None


def fingerprint_folder(folder: Path) -> object:
    """Compute a value that changes with any document in the folder; ``None``: the folder cannot be read."""
    states = []
    try:
        for entry in os.scandir(folder):
            if entry.name[0] != ".":
                with contextlib.suppress(FileNotFoundError):  # gone since, or a link to nowhere
                    state = entry.stat()
                    states.append((entry.name, state.st_mtime_ns, state.st_size, state.st_ino))
    except OSError:
        return None
    return sorted(states)


def derive_secret_name(connection: Connection) -> str:
    """Derive the name under which we store the secret of a connection.

    It differs when anything differs but the secret itself: while one connection is being replaced by another of its name, a crash
    between secret and document, or a server that reads them in that moment, must not send the new secret to the old place.
    """
    fields = connection.model_dump(exclude={"value", "target"}, exclude_none=True)
    what = json.dumps([fields, connection.place.origin, connection.place.segments], sort_keys=True)
    return f"{connection.name}-{hashlib.sha256(what.encode()).hexdigest()[:8]}"


def build_document_fields(connection: Connection) -> dict[str, object]:
    """Build the fields of a document for a connection; the secret stays a reference."""
    fields = connection.model_dump(exclude_none=True)
    return {_FIELD_NAMES.get(key, key): value for key, value in fields.items() if value is not False}


class ConnectionsFolder:
    """Writer of the connections folder. A crash leaves the old document or the new one."""

    def __init__(self, config: Config) -> None:
        self._configured = config.connection
        self._folder = config.connections_folder
        self._secrets = config.references.secrets

    def put(self, connection: Connection, secret: Secret | None = None) -> Connection:
        """Store or replace a connection, its ``secret`` in secrets.toml; :class:`ConfigurationError` if one cannot be written."""
        if secret is not None:
            connection = connection.model_copy(update={"value": f"secret:{derive_secret_name(connection)}"})
        with self._lock():
            existing = self._find(connection.name)
            former = read_document(existing).fields.get("value") if existing else None
            path = existing or self._folder / f"{connection.name}.yml"
            if existing is None and path.exists():
                raise ConfigurationError([f"{path} is the document of another connection: rename it first"])
            if secret is not None:
                self._secrets.put(derive_secret_name(connection), secret)
            fields = build_document_fields(connection)
            as_json = path.suffix == ".json"
            replace_file(path, json.dumps(fields, indent=2) + "\n" if as_json else yaml.safe_dump(fields, sort_keys=False))
            self._remove_secret(former)
        return connection

    def remove(self, connection: Connection) -> None:
        """Remove a connection, and its secret from secrets.toml unless another one uses it; raises as :meth:`put`."""
        with self._lock():
            path = self._find(connection.name)
            if path is not None:
                path.unlink()
            self._remove_secret(connection.value)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with file_lock(self._folder):
                yield
        except SecretMissing as error:
            raise ConfigurationError([str(error)]) from None
        except OSError as error:
            reason = (error.strerror or "unknown reason").lower()
            raise ConfigurationError([f"{error.filename or self._folder} cannot be written: {reason}"]) from None

    def _remove_secret(self, reference: str | None) -> None:
        """Remove a secret from secrets.toml that no connection refers to any more."""
        kind, name = reference_parts(reference or "") or ("", "")
        stored, _ = read_connections_folder(self._folder)
        if kind == "secret" and all(other.value != reference for other in [*self._configured, *stored]):
            self._secrets.remove(name)

    def _find(self, name: str) -> Path | None:
        """Find the document with this name in it, whatever its file is called."""
        for path in list_documents(self._folder):
            with contextlib.suppress(ConfigurationError):
                if read_document(path).fields.get("name") == name:
                    return path
        return None
