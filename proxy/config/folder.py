"""The connections folder: a document each, and ``secrets.toml`` beside it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import yaml

from proxy.config.connections import Connection, ties
from proxy.config.documents import read_document
from proxy.config.references import SecretMissing
from proxy.config.settings import Config
from proxy.errors import ConfigurationError
from proxy.secret import Secret

FIELD_NAMES = {"auth_type": "authType", "client_id": "clientId", "tenant_id": "tenantId", "allow_http": "allowHttp"}


def folder_connections(folder: Path) -> tuple[list[Connection], list[str]]:
    """The connections of a folder, and a sentence for each document that is none.

    Raises:
        ConfigurationError: the folder cannot be read.
    """
    connections, problems = [], []
    for path in document_paths(folder):
        try:
            document = read_document(path)
            if document.secret is not None:
                raise ConfigurationError(
                    ["holds the secret itself: `wheelgate connection set -f` takes it as it is, and keeps the secret elsewhere"]
                )
            connections.append(document.connection())
        except ConfigurationError as error:
            problems += [problem if problem.startswith(str(path)) else f"{path}: {problem}" for problem in error.problems]
    return connections, problems + [f"{folder}: {tie}" for tie in ties(connections)]


def document_paths(folder: Path) -> list[Path]:
    """The documents of the folder, in the order of their names.

    Raises:
        ConfigurationError: the folder cannot be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if path.suffix in (".yml", ".yaml", ".json") and path.name[0] != ".")
    except OSError as error:
        why = (error.strerror or "unknown reason").lower()
        raise ConfigurationError([f"server.connections: {folder} cannot be read: {why}"]) from None


def folder_version(folder: Path) -> object:
    """Something that changes when a document in the folder does, or comes, or goes."""
    try:
        with os.scandir(folder) as entries:
            return sorted((entry.name, entry.stat().st_mtime_ns, entry.stat().st_size) for entry in entries)
    except OSError:
        return None


def document_fields(connection: Connection) -> dict[str, object]:
    """The fields of a connection, by the names they have in a document; its secret by reference."""
    said = connection.model_dump(exclude_none=True)
    return {FIELD_NAMES.get(key, key): value for key, value in said.items() if value is not False}


class ConnectionsFolder:
    """Writes the folder. A crash leaves the old document or the new one."""

    def __init__(self, config: Config) -> None:
        self._folder = config.connections_folder
        self._secrets = config.references.secrets

    def put(self, connection: Connection, secret: Secret | None = None) -> None:
        """Store a connection, and its secret as ``secret:NAME`` if there is one to store.

        Raises:
            ConfigurationError: the folder cannot be written, or its name is another's but for case.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if secret is not None:
                self._secrets.put(connection.name, secret)
            path = self._path_of(connection.name) or self._folder / f"{connection.name}.yml"
            self._write(path, yaml.safe_dump(document_fields(connection), sort_keys=False, allow_unicode=True))
        except SecretMissing as error:
            raise ConfigurationError([str(error)]) from None
        except OSError as error:
            raise ConfigurationError(
                [f"{self._folder} cannot be written: {(error.strerror or 'unknown reason').lower()}"]
            ) from None

    def remove(self, connection: Connection) -> None:
        """Forget a connection and what secrets.toml has for it.

        Raises:
            ConfigurationError: the folder cannot be written.
        """
        try:
            path = self._path_of(connection.name)
            if path is not None:
                path.unlink()
            if connection.value == f"secret:{connection.name}":
                self._secrets.remove(connection.name)
        except SecretMissing as error:
            raise ConfigurationError([str(error)]) from None
        except OSError as error:
            raise ConfigurationError(
                [f"{self._folder} cannot be written: {(error.strerror or 'unknown reason').lower()}"]
            ) from None

    def _path_of(self, name: str) -> Path | None:
        """The document that has the name, whatever its file is called."""
        for path in document_paths(self._folder):
            with contextlib.suppress(ConfigurationError):
                if read_document(path).fields.get("name") == name:
                    return path
        return None

    def _write(self, path: Path, text: str) -> None:
        descriptor, draft = tempfile.mkstemp(dir=self._folder, prefix=".draft-")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(draft).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(draft).unlink()
            raise
