"""The settings: one TOML file, the environment for scalars, flags over both; all problems reported at once, by key path.

``server.port`` in the file is ``WHEELGATE_SERVER__PORT`` in the environment and ``--port`` on the command line; a flag beats the
environment, which beats the file. This is the only module that reads the environment.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from proxy.errors import ConfigurationError
from proxy.patterns import NamePatterns
from proxy.urls import UnsafeUrl, parse

# The one place where public PyPI stands: its pages, and the host its pages link files on.
PUBLIC_INDEX = "https://pypi.org/simple/"
PUBLIC_FILES = "files.pythonhosted.org"

_DURATION = re.compile(r"(\d+)\s*([smhd]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SOURCE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_FILE_HOST = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?", re.IGNORECASE)
_PREFIX = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9_.~-]*)*")
_ENVIRONMENT = "WHEELGATE_"


def duration_s(text: str) -> float:
    """``90``, ``90s``, ``15m``, ``24h`` or ``3d`` in seconds.

    Raises:
        ValueError: it is none of these.
    """
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise ValueError("must be a duration such as 90s, 15m, 24h or 3d")
    return int(match[1]) * _SECONDS[match[2]]


def _seconds(value: object) -> object:
    return duration_s(value) if isinstance(value, str) else value


def _pattern(value: object) -> object:
    if not isinstance(value, str) or not NamePatterns.is_valid(value):
        raise ValueError("must be a project name, where * stands for any characters")
    return value


Seconds = Annotated[float, BeforeValidator(_seconds), Field(ge=0)]
Pattern = Annotated[str, BeforeValidator(_pattern)]


def _default_data_folder() -> Path:
    """The platform's folder for a user's data."""
    return Path(platformdirs.user_data_dir("wheelgate", appauthor=False))


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Server(_Section):
    """How clients reach us."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    anonymous: Literal["none", "read"] | None = None
    public_url: str | None = None
    path_prefix: str = ""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    ca_file: Path | None = None


class Store(_Section):
    """What must survive."""

    url: str | None = None
    delivery: Literal["redirect", "stream"] = "redirect"


class Source(_Section):
    """One place that lists projects. Its position is its precedence."""

    name: str
    type: Literal["store", "index", "directory"]
    url: str | None = None
    only: list[Pattern] | None = None
    delivery: Literal["redirect", "stream", "cache"] | None = None
    private: bool | None = None
    file_hosts: list[str] = []
    fresh: Seconds | None = None
    absent: Seconds = 60.0
    strict: bool = False

    @property
    def is_private(self) -> bool:
        """Whether names it has are never asked of a public source."""
        return self.private if self.private is not None else self.type != "index"

    @property
    def fresh_s(self) -> float:
        """How long its pages are served without asking again."""
        if self.fresh is not None:
            return self.fresh
        return 60.0 if self.is_private else 600.0

    @property
    def index_url(self) -> str:
        """The URL of an index; public PyPI's unless stated."""
        return self.url or PUBLIC_INDEX

    @property
    def all_file_hosts(self) -> tuple[str, ...]:
        """The hosts beside its own that it may fetch files from."""
        own = parse(self.index_url).host == parse(PUBLIC_INDEX).host
        return (*self.file_hosts, PUBLIC_FILES) if own else tuple(self.file_hosts)


class Merge(_Section):
    """The only way two sources share a project."""

    names: list[Pattern] = Field(min_length=1)
    sources: list[str] = Field(min_length=2)


class Policy(_Section):
    """Who may answer for which name."""

    reserved: list[Pattern] = []
    merge: list[Merge] = []


class Config(_Section):
    """Everything the operator said, checked."""

    server: Server = Server()
    store: Store = Store()
    source: list[Source] = [Source(name="uploads", type="store"), Source(name="pypi", type="index")]
    policy: Policy = Policy()
    data: Path = Field(default_factory=_default_data_folder)
    """The folder for what need not be shared (the spool), and for the store if it has no URL of its own."""
    folder: Path = Path()
    """Relative paths in the file start here."""

    @property
    def store_folder(self) -> Path:
        """Where the local store lies."""
        if self.store.url is None:
            return self.data / "store"
        return self.folder / self.store.url.removeprefix("file:")

    def source_folder(self, source: Source) -> Path:
        """The folder of a directory source."""
        return self.folder / (source.url or "").removeprefix("file:")

    def on_port(self, port: int) -> Config:
        """The same settings with the port that a socket really got (0 asks for any)."""
        return self.model_copy(update={"server": self.server.model_copy(update={"port": port})})

    @property
    def anonymous_read(self) -> bool:
        """Whether installing needs no token; uploading always does."""
        return self.server.anonymous != "none"

    @property
    def base_url(self) -> str:
        """What people put before ``/simple/``: as stated, or as this machine would say it."""
        server = self.server
        if server.public_url is not None:
            return server.public_url.rstrip("/")
        host = "127.0.0.1" if server.host in ("0.0.0.0", "::") else server.host  # noqa: S104 - compared, not bound
        host = f"[{host}]" if ":" in host else host
        return f"{'https' if server.tls_cert else 'http'}://{host}:{server.port}{server.path_prefix}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.server.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.server.host).is_loopback
        except ValueError:
            return False


def client_settings(environment: Mapping[str, str] | None = None) -> tuple[str | None, str | None]:
    """``WHEELGATE_URL`` and ``WHEELGATE_TOKEN``: the server that commands talk to, and who they are to it."""
    environment = os.environ if environment is None else environment
    return environment.get("WHEELGATE_URL") or None, environment.get("WHEELGATE_TOKEN") or None


def load(
    path: Path | None = None,
    *,
    flags: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Config:
    """The settings from a file (or none), the environment and flags (key paths such as ``server.port``; ``None``: not given).

    Raises:
        ConfigurationError: with every problem found.
    """
    settings = _file(path) if path else {}
    problems: list[str] = []
    _overlay(settings, _from_environment(os.environ if environment is None else environment), problems)
    _overlay(settings, {key: value for key, value in (flags or {}).items() if value is not None}, problems)
    settings.setdefault("folder", path.absolute().parent if path else Path.cwd())
    try:
        config = Config.model_validate(settings)
    except ValidationError as error:
        problems += [_sentence(detail) for detail in error.errors()]
        raise ConfigurationError(problems) from None
    problems += _contradictions(config)
    if problems:
        raise ConfigurationError(problems)
    return config


def _file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError([f"{path}: there is no such file"]) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigurationError([f"{path}: cannot be read: {reason}"]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError([f"{path}: is not valid TOML: {error}"]) from None


def _from_environment(environment: Mapping[str, str]) -> dict[str, object]:
    return {
        name.removeprefix(_ENVIRONMENT).lower().replace("__", "."): value
        for name, value in environment.items()
        if name.startswith(_ENVIRONMENT) and ("__" in name or name == "WHEELGATE_DATA")
    }


def _overlay(settings: dict[str, Any], values: Mapping[str, object], problems: list[str]) -> None:
    for key, value in values.items():
        *sections, last = key.split(".")
        at = settings
        for section in sections:
            at = at.setdefault(section, {})
            if not isinstance(at, dict):
                problems.append(f"{key}: only scalar settings can be given in the environment")
                break
        else:
            at[last] = value


def _sentence(detail: Any) -> str:
    path = ""
    for part in detail["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return f"{path}: unknown setting{_suggestion(detail['loc'])}"
    if kind == "missing":
        return f"{path}: is missing"
    if kind == "literal_error":
        return f"{path}: must be {context['expected']}, not {detail['input']!r}"
    message = detail["msg"].removeprefix("Value error, ")
    return f"{path}: {message[0].lower()}{message[1:]}"


def _suggestion(location: tuple[int | str, ...]) -> str:
    sections: dict[str, type[_Section]] = {"server": Server, "store": Store, "source": Source, "policy": Policy}
    section = Config if len(location) == 1 else sections.get(str(location[0]), Config)
    close = difflib.get_close_matches(str(location[-1]), section.model_fields, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _contradictions(config: Config) -> list[str]:
    """What is wrong between settings that are each right by themselves."""
    return [*_server_problems(config), *_store_problems(config), *_source_problems(config), *_merge_problems(config)]


def _server_problems(config: Config) -> list[str]:
    server, problems = config.server, []
    if (server.tls_cert is None) != (server.tls_key is None):
        problems.append("server.tls_cert and server.tls_key: give both, or neither")
    if not _PREFIX.fullmatch(server.path_prefix):
        problems.append('server.path_prefix: must look like "/python", without a slash at the end')
    if server.public_url is not None:
        try:
            parse(server.public_url)
        except UnsafeUrl as error:
            problems.append(f"server.public_url: {error}")
    if server.anonymous is None and not config.is_loopback:
        problems.append(
            f'server.anonymous: say it, since {server.host} can be reached by others: anonymous = "read" (everybody who '
            'reaches the server may install) or anonymous = "none" (tokens are needed)'
        )
    return problems


def _store_problems(config: Config) -> list[str]:
    url = config.store.url
    if url is not None and not url.startswith("file:"):
        return ['store.url: must be a folder, such as "file:./data"']
    return []


def _source_problems(config: Config) -> list[str]:
    problems: list[str] = []
    seen: set[str] = set()
    for index, source in enumerate(config.source):
        at = f"source[{index}]"
        if not _SOURCE_NAME.fullmatch(source.name):
            problems.append(f"{at}.name: must be lower-case letters, digits and dashes")
        if source.name in seen:
            problems.append(f"{at}.name: {source.name} is the name of another source too")
        seen.add(source.name)
        problems += [f"{at}.{problem}" for problem in _url_problems(source)]
        problems += [
            f"{at}.file_hosts: {host!r} is not a host, such as files.example.com or *.example.com"
            for host in source.file_hosts
            if not _FILE_HOST.fullmatch(host)
        ]
        wrong = {"store": ("stream", "cache"), "directory": ("redirect", "cache"), "index": ()}[source.type]
        if source.delivery in wrong:
            hint = "; how stored files leave is store.delivery" if source.type == "store" else ""
            problems.append(f"{at}.delivery: {source.delivery} is not possible for a {source.type}{hint}")
    if sum(source.type == "store" for source in config.source) > 1:
        problems.append("source: only one may have the type store: there is one store")
    return problems


def _url_problems(source: Source) -> list[str]:
    if source.type == "store":
        return ["url: a source of type store has none; the store's own is store.url"] if source.url else []
    if source.type == "directory":
        if source.url and source.url.startswith("file:"):
            return []
        return ['url: must be a folder, such as "file:./wheels"']
    try:
        url = parse(source.index_url)
    except UnsafeUrl as error:
        return [f"url: cannot be used: {error}"]
    if url.query_string or url.raw_fragment:
        return ["url: must end with its path, without a query or fragment"]
    return []


def _merge_problems(config: Config) -> list[str]:
    names = {source.name for source in config.source}
    return [
        f"policy.merge[{index}].sources: there is no source {name}"
        for index, merge in enumerate(config.policy.merge)
        for name in merge.sources
        if name not in names
    ]
