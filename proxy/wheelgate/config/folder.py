"""The connections folder: a document each, and ``secrets.toml`` beside it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import yaml

from wheelgate.config.connections import Connection, ties
from wheelgate.config.documents import read_document
from wheelgate.config.references import SecretMissing
from wheelgate.config.settings import Config
from wheelgate.core.errors import ConfigurationError
from wheelgate.core.secret import Secret, reference_parts
from wheelgate.runtime.durable import file_lock, replace_file

_SUFFIXES = (".yml", ".yaml", ".json")
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
        paths = [path for path in folder.iterdir() if path.suffix in _SUFFIXES and path.name[0] != "."]
        return sorted(path for path in paths if not path.is_fifo())  # reading one would never end
    except OSError as error:
        why = (error.strerror or "unknown reason").lower()
        raise ConfigurationError([f"server.connections: {folder} cannot be read: {why}"]) from None


def folder_version(folder: Path) -> object:
    """Something that changes when a document in the folder does, or comes, or goes; ``None``: the folder cannot be read."""
    found = []
    try:
        for entry in os.scandir(folder):
            if entry.name[0] != ".":
                with contextlib.suppress(FileNotFoundError):  # gone since, or a link to nowhere
                    known = entry.stat()
                    found.append((entry.name, known.st_mtime_ns, known.st_size, known.st_ino))
    except OSError:
        return None
    return sorted(found)


def secret_name(connection: Connection) -> str:
    """What the secret of a connection is called where we keep it.

    It differs when anything differs but the secret itself: while one connection is being replaced by another of its name, a crash
    between secret and document, or a server that reads them in that moment, must not send the new secret to the old place.
    """
    said = connection.model_dump(exclude={"value", "target"}, exclude_none=True)
    what = json.dumps([said, connection.place.origin, connection.place.segments], sort_keys=True)
    return f"{connection.name}-{hashlib.sha256(what.encode()).hexdigest()[:8]}"


def document_fields(connection: Connection) -> dict[str, object]:
    """The fields of a connection, by the names they have in a document; its secret by reference."""
    said = connection.model_dump(exclude_none=True)
    return {FIELD_NAMES.get(key, key): value for key, value in said.items() if value is not False}


class ConnectionsFolder:
    """Writes the folder. A crash leaves the old document or the new one."""

    def __init__(self, config: Config) -> None:
        self._stated = config.connection
        self._folder = config.connections_folder
        self._secrets = config.references.secrets

    def put(self, connection: Connection, secret: Secret | None = None) -> Connection:
        """Store a connection, or replace the one of its name; with a secret, it refers to that from then on.

        Raises:
            ConfigurationError: the folder or secrets.toml cannot be written.
        """
        if secret is not None:
            connection = connection.model_copy(update={"value": f"secret:{secret_name(connection)}"})
        with self._writing():
            known = self._path_of(connection.name)
            former = read_document(known).fields.get("value") if known else None
            path = known or self._folder / f"{connection.name}.yml"
            if known is None and path.exists():
                raise ConfigurationError([f"{path} is the document of another connection: rename it first"])
            if secret is not None:
                self._secrets.put(secret_name(connection), secret)
            fields = document_fields(connection)
            as_json = path.suffix == ".json"
            replace_file(path, json.dumps(fields, indent=2) + "\n" if as_json else yaml.safe_dump(fields, sort_keys=False))
            self._forget(former)
        return connection

    def remove(self, connection: Connection) -> None:
        """Forget a connection, and what secrets.toml has for it alone.

        Raises:
            ConfigurationError: the folder or secrets.toml cannot be written.
        """
        with self._writing():
            path = self._path_of(connection.name)
            if path is not None:
                path.unlink()
            self._forget(connection.value)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with file_lock(self._folder):
                yield
        except SecretMissing as error:
            raise ConfigurationError([str(error)]) from None
        except OSError as error:
            why = (error.strerror or "unknown reason").lower()
            raise ConfigurationError([f"{error.filename or self._folder} cannot be written: {why}"]) from None

    def _forget(self, reference: str | None) -> None:
        """Remove a secret of ours that no connection refers to any more."""
        kind, name = reference_parts(reference or "") or ("", "")
        found, _ = folder_connections(self._folder)
        if kind == "secret" and all(other.value != reference for other in [*self._stated, *found]):
            self._secrets.remove(name)

    def _path_of(self, name: str) -> Path | None:
        """The document that has the name, whatever its file is called."""
        for path in document_paths(self._folder):
            with contextlib.suppress(ConfigurationError):
                if read_document(path).fields.get("name") == name:
                    return path
        return None
