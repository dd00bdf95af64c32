"""What a reference stands for, where this machine knows it: ``env:NAME``, ``file:PATH``, ``secret:NAME``.

``keyvault:`` is asked of a service, and so elsewhere (:mod:`wheelgate.credentials.secrets`).
"""

from __future__ import annotations

import json
import os
import stat
import tomllib
from collections.abc import Callable
from pathlib import Path

from wheelgate.core.secret import Secret, reference_parts
from wheelgate.runtime.durable import file_lock, replace_file

_MAX_BYTES = 1024 * 1024


class SecretMissing(Exception):
    """The secret cannot be had; the message says why, and never what was found."""


class References:
    """Reads what references of one configuration stand for."""

    def __init__(self, folder: Path, secrets_file: Path) -> None:
        """``folder``: where relative paths start."""
        self._folder = folder
        self.secrets = SecretsFile(secrets_file)

    def read(self, reference: str) -> Secret:
        """The secret, read now.

        Raises:
            SecretMissing: there is none, or it cannot be read.
        """
        kind, where = reference_parts(reference) or ("", "")
        match kind:
            case "env":
                value = os.environ.get(where, "").strip()
                if not value:
                    raise SecretMissing(f"the environment variable {where} is not set")
            case "file":
                value = _text(self._folder / where, where).strip()
                if not value:
                    raise SecretMissing(f"the file {where} is empty")
            case "secret":
                return self.secrets.read(where)
            case _:
                raise SecretMissing("this kind of reference cannot be used here")
        return Secret(value)

    def version(self, reference: str) -> object:
        """Something that changes when the file behind a reference does; the same for ever where there is none."""
        kind, where = reference_parts(reference) or ("", "")
        path = {"file": self._folder / where, "secret": self.secrets.path}.get(kind)
        if path is None:
            return None
        try:
            found = path.stat()
        except OSError:
            return "missing"
        return (found.st_mtime_ns, found.st_size, found.st_ino)


class SecretsFile:
    """``secrets.toml``: what `connection set` was told, by name; readable to its owner alone."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, name: str) -> Secret:
        """One secret.

        Raises:
            SecretMissing: there is none of that name, or others could have read it.
        """
        value = self._all().get(name)
        if not isinstance(value, str) or not value:
            raise SecretMissing(f"{self.path} has no secret {name}: `wheelgate connection set` puts it there")
        return Secret(value)

    def put(self, name: str, secret: Secret) -> None:
        """Add or replace one, for good: a crash leaves the old file or the new one.

        Raises:
            SecretMissing: the file that is there cannot be used.
            OSError: it cannot be written.
        """
        self._change(lambda known: {**known, name: secret.reveal()})

    def remove(self, name: str) -> None:
        """Forget one; a missing one is fine.

        Raises:
            SecretMissing, OSError: as for :meth:`put`.
        """
        self._change(lambda known: {key: value for key, value in known.items() if key != name})

    def _change(self, change: Callable[[dict[str, object]], dict[str, object]]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(self.path.parent):
            known = self._all()
            changed = change(known)
            if changed != known:
                lines = [f"{_toml_text(name)} = {_toml_text(value)}\n" for name, value in sorted(changed.items())]
                replace_file(self.path, "".join(lines))

    def _all(self) -> dict[str, object]:
        try:
            mode = stat.S_IMODE(self.path.stat().st_mode)
        except FileNotFoundError:
            return {}
        except OSError:
            raise SecretMissing(f"the file {self.path} cannot be read") from None
        if mode & 0o077 and os.name == "posix":
            raise SecretMissing(f"{self.path} can be read by others than its owner: chmod 600 it, and replace what it holds")
        try:
            return tomllib.loads(_text(self.path, str(self.path)))
        except (tomllib.TOMLDecodeError, RecursionError):
            raise SecretMissing(f"{self.path} is not valid TOML") from None


def _toml_text(value: object) -> str:
    """A JSON string is a TOML string too, but for one character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _text(path: Path, shown: str) -> str:
    try:
        with path.open("rb") as file:
            body = file.read(_MAX_BYTES + 1)
        if len(body) > _MAX_BYTES:
            raise SecretMissing(f"the file {shown} is too large to hold a secret")
        return body.decode("utf-8")
    except (OSError, UnicodeDecodeError):
        raise SecretMissing(f"the file {shown} cannot be read") from None
