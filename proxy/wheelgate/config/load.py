"""Loader of the settings: TOML file, environment variables, command line flags; all problems are reported at once.

``server.port`` in the file is ``WHEELGATE_SERVER__PORT`` in the environment and ``--port`` on the command line; a flag overrides
the environment, which overrides the file.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from wheelgate.config.connections import Connection, find_conflicts
from wheelgate.config.connections_folder import read_connections_folder
from wheelgate.config.section import format_errors
from wheelgate.config.settings import Config
from wheelgate.config.variables import PREFIX, find_unknown_variables
from wheelgate.core.errors import ConfigurationError
from wheelgate.runtime.regular_file import read_regular

_MAX_BYTES = 16 * 1024 * 1024


def read_client_settings(environment: Mapping[str, str] | None = None) -> tuple[str | None, str | None]:
    """Read ``WHEELGATE_URL`` and ``WHEELGATE_TOKEN``, the server that commands talk to and their token; ``None``: not set."""
    environment = os.environ if environment is None else environment
    return environment.get("WHEELGATE_URL") or None, environment.get("WHEELGATE_TOKEN") or None


def copy_environment() -> Mapping[str, str]:
    """Copy this process's variables, for files that refer to them and for programs that are started."""
    return os.environ.copy()


def load(
    path: Path | None = None,
    *,
    flags: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
    new_folder: bool = False,
) -> Config:
    """Load the settings from a file (or none), the environment and flags (by key path; ``None``: not given).

    ``new_folder``: the connections folder may be missing, as before the first connection is stored. Otherwise a configured
    folder must exist: without a volume that is not mounted, a private index would be asked by nobody, and hide its names.

    Raises:
        ConfigurationError: with every problem found.
    """
    settings = read_toml(path) if path else {}
    environment = os.environ if environment is None else environment
    problems: list[str] = []
    _overlay(settings, _from_environment(environment), problems)
    _overlay(settings, {key: value for key, value in (flags or {}).items() if value is not None}, problems)
    problems += [f"{key}: unknown setting" for key in ("folder", "found_connections") if key in settings]  # ours to fill in
    settings.pop("found_connections", None)
    settings["folder"] = path.absolute().parent if path else Path.cwd()
    try:
        config = Config.model_validate(settings)
    except ValidationError as error:
        problems += format_errors(error, _suggest_setting)
        raise ConfigurationError(problems) from None
    if problems:
        raise ConfigurationError(problems)
    config = _add_connections_folder(config, new_folder=new_folder)
    if problems := find_unknown_variables(environment, [settings, *map(vars, config.found_connections)]):
        raise ConfigurationError(problems)
    return config


def _add_connections_folder(config: Config, *, new_folder: bool) -> Config:
    folder = config.connections_folder
    stored: list[Connection] = []
    if folder.exists() or (config.server.connections is not None and not new_folder):
        stored, problems = read_connections_folder(folder)
        if problems := problems or find_conflicts([*config.connection, *stored]):
            raise ConfigurationError(problems)
    return config.model_copy(update={"found_connections": stored})


def read_toml(path: Path) -> dict[str, Any]:
    """Read a file of settings, not yet checked; :class:`ConfigurationError` if it cannot be read, or is not TOML."""
    try:
        return tomllib.loads(read_regular(path, _MAX_BYTES).decode())
    except FileNotFoundError:
        raise ConfigurationError([f"{path}: there is no such file"]) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigurationError([f"{path}: cannot be read: {reason}"]) from None
    except (ValueError, RecursionError) as error:  # ValueError itself: a number of thousands of digits
        raise ConfigurationError([f"{path}: is not valid TOML: {error}"]) from None


def _from_environment(environment: Mapping[str, str]) -> dict[str, object]:
    return {
        name.removeprefix(PREFIX).lower().replace("__", "."): value
        for name, value in environment.items()
        if name.startswith(PREFIX) and ("__" in name or name == "WHEELGATE_DATA")
    }


def _overlay(settings: dict[str, Any], values: Mapping[str, object], problems: list[str]) -> None:
    for key, value in values.items():
        *sections, last = key.split(".")
        at = settings
        for section in sections:
            at = at.setdefault(section, {})
            if not isinstance(at, dict):
                problems.append(f"{key}: only scalar settings can be set in the environment")
                break
        else:
            at[last] = value


def _suggest_setting(location: tuple[int | str, ...]) -> str:
    section: Any = Config
    for part in location[:-1]:
        if isinstance(part, str):
            annotation = section.model_fields[part].annotation
            section = next(iter(get_args(annotation)), annotation)  # of a list the section that it is made of
    known = section.model_fields.keys() - {"folder", "found_connections"}
    if elsewhere := _find_sections_with(str(location[-1])):
        return f"; did you mean {' or '.join(elsewhere)}?"
    close = difflib.get_close_matches(str(location[-1]), sorted(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _find_sections_with(setting: str) -> list[str]:
    """Find the places where a setting of this name belongs: ``server.host``, ``name in [[source]]``."""
    found = []
    for name, field in Config.model_fields.items():
        section: Any = next(
            (kind for kind in (*get_args(field.annotation), field.annotation) if hasattr(kind, "model_fields")), None
        )
        if name != "found_connections" and section is not None and setting in section.model_fields:
            found.append(f"{name}.{setting}" if section is field.annotation else f"{setting} in [[{name}]]")
    return found
