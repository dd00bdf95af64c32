"""Local secret references: ``env:NAME``, ``file:PATH``, ``secret:NAME``.

``keyvault:`` needs a service: see :mod:`wheelgate.credentials.secrets`.
"""

from __future__ import annotations

import json
import os
import stat
import tomllib
from collections.abc import Callable
from io import FileIO
from pathlib import Path

from wheelgate.core.secret import Secret, reference_parts
from wheelgate.runtime.durable import file_lock, replace_file
from wheelgate.runtime.regular_file import FileTooLarge, open_regular, read_all

_MAX_BYTES = 1024 * 1024


class SecretMissing(Exception):
    """The secret is not available; the message says why, and repeats nothing that was read."""


class References:
    """Reader of the local secret references of one configuration."""

    def __init__(self, folder: Path, secrets_file: Path) -> None:
        """``folder``: the one that relative paths start from."""
        self._folder = folder
        self.secrets = SecretsFile(secrets_file)

    def read(self, reference: str) -> Secret:
        """Read a secret, now; :class:`SecretMissing` if it does not exist, or cannot be read."""
        kind, where = reference_parts(reference) or ("", "")
        match kind:
            case "env":
                value = os.environ.get(where, "").strip()
                if not value:
                    raise SecretMissing(f"the environment variable {where} is not set")
            case "file":
                value = self._read_file(where).strip()
                if not value:
                    raise SecretMissing(f"the file {where} is empty")
            case "secret":
                return self.secrets.read(where)
            case _:
                raise SecretMissing("references of this kind cannot be used here")
        return Secret(value)

    def _read_file(self, where: str) -> str:
        try:
            with open_regular(self._folder / where) as file:
                return _read_text(file, where)
        except OSError as error:
            raise _unreadable_error(where, error) from None

    def version(self, reference: str) -> object:
        """Compute a value that changes with the file behind a reference; always ``None`` where there is no file."""
        kind, where = reference_parts(reference) or ("", "")
        path = {"file": self._folder / where, "secret": self.secrets.path}.get(kind)
        if path is None:
            return None
        try:
            state = path.stat()
        except OSError:
            return "missing"
        return (state.st_mtime_ns, state.st_size, state.st_ino)


class SecretsFile:
    """``secrets.toml``: the secrets that `connection set` stored, by name; readable only by its owner."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, name: str) -> Secret:
        """Read one secret; :class:`SecretMissing` if there is none of that name, or others may have read the file."""
        value = self._read_all().get(name)
        if not isinstance(value, str) or not value:
            raise SecretMissing(f"{self.path} has no secret {name}: store it with `wheelgate connection set`")
        return Secret(value)

    def put(self, name: str, secret: Secret) -> None:
        """Add or replace a secret, durably; :class:`SecretMissing` or :class:`OSError` if the file cannot be used or written."""
        self._change(lambda secrets: {**secrets, name: secret.reveal()})

    def remove(self, name: str) -> None:
        """Remove a secret, which may be missing; raises as :meth:`put`."""
        self._change(lambda secrets: {key: value for key, value in secrets.items() if key != name})

    def _change(self, change: Callable[[dict[str, object]], dict[str, object]]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(self.path.parent):
            secrets = self._read_all()
            changed = change(secrets)
            if changed != secrets:
                lines = [f"{_quote_toml(name)} = {_quote_toml(value)}\n" for name, value in sorted(changed.items())]
                replace_file(self.path, "".join(lines))

    def _read_all(self) -> dict[str, object]:
        try:
            with open_regular(self.path) as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                text = _read_text(file, str(self.path))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise _unreadable_error(str(self.path), error) from None
        if mode & 0o077 and os.name == "posix":
            raise SecretMissing(f"{self.path} is readable by other users: run chmod 600 on it, and replace the secrets in it")
        try:
            return tomllib.loads(text)
        except (ValueError, RecursionError):  # ValueError itself: a number of thousands of digits
            raise SecretMissing(f"{self.path} is not valid TOML") from None


def _quote_toml(value: object) -> str:
    """Quote a TOML string, which is a JSON string but for one character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _read_text(file: FileIO, shown: str) -> str:
    try:
        return read_all(file, _MAX_BYTES).decode("utf-8")
    except FileTooLarge:
        raise SecretMissing(f"the file {shown} is too large to hold a secret") from None
    except UnicodeDecodeError:
        raise SecretMissing(f"the file {shown} cannot be read") from None


def _unreadable_error(shown: str, error: OSError) -> SecretMissing:
    return SecretMissing(f"the file {shown} cannot be read: {(error.strerror or 'unknown reason').lower()}")
