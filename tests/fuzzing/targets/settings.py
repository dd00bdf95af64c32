"""The settings: any TOML file, environment and flags. All problems are sentences, and none repeats a secret."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path

from tests.fuzzing.target import CANARY, Target, assert_sentences
from wheelgate.config import load
from wheelgate.config.section import find_changed_keys
from wheelgate.config.settings import Config
from wheelgate.core.errors import ConfigurationError

_FOLDER = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)


def check(data: bytes) -> None:
    """TOML; after a line ``%%`` variables, one a line; after another flags, one a line."""
    file, variables, flags = [*data.split(b"\n%%\n"), b"", b""][:3]
    path = Path(_FOLDER.name) / "wheelgate.toml"
    path.write_bytes(file)
    environment, given = _pairs(variables), _pairs(flags)
    try:
        config = load(path, environment=environment, flags=given)
    except ConfigurationError as error:
        assert error.problems
        assert_sentences(problem.partition(": ")[2] for problem in error.problems)  # behind the key, which a file makes up
        return
    again = load(path, environment=environment, flags=given)
    assert again == config
    assert find_changed_keys(config, again) == []
    _look_at(config)


def _pairs(lines: bytes) -> dict[str, str]:
    text = lines.decode("utf-8", "surrogateescape")
    return {name: value for name, _, value in (line.partition("=") for line in text.split("\n")) if name}


def _look_at(config: Config) -> None:
    """Everything that wiring asks of settings that were accepted."""
    assert config.base_url
    for text in (config.data_folder, config.store_folder, config.store_location, config.connections_folder, config.references):
        str(text)
    config.find_idle_policy(datetime(2026, 1, 1, tzinfo=UTC))
    config.with_port(1)
    for source in config.source:
        for value in (source.is_private, source.fresh_s, source.index_url, config.is_offline(source)):
            str(value)
        if source.is_remote:
            assert source.all_file_hosts is not None
        config.get_source_folder(source)
    for connection in config.connections:
        assert connection.place.holds(connection.place)
        str(connection.entra_scope)
    assert CANARY not in repr(config.base_url)


_FULL = b"""
data = "./data"
[server]
host = "0.0.0.0"
port = 8080
anonymous = "read"
path_prefix = "/python"
[store]
url = "https://acct.blob.core.windows.net/wheelgate"
account_key = "env:KEY"
sas_window = "15m"
[[source]]
name = "uploads"
type = "store"
[[source]]
name = "team"
type = "devops"
url = "https://acme@pkgs.dev.azure.com/acme/_packaging/team/pypi/simple/"
only = ["acme-*"]
delivery = "cache"
cooldown = 2026-01-31
[[source]]
name = "pypi"
type = "index"
file_hosts = ["*.example.com"]
[[connection]]
name = "acme"
target = "https://pkgs.dev.azure.com/acme"
auth_type = "PAT"
value = "env:ACME_PAT"
[policy]
reserved = ["acme-*"]
cooldown = "3d"
deny = ["evil", "urllib3==2.5.1"]
allow = ["demo-1.0.tar.gz"]
[[policy.merge]]
names = ["acme-ml*"]
sources = ["team", "pypi"]
public_versions = ">=1"
[[policy.waiver]]
name = "urllib3"
version = ">=2,<3"
reason = "why"
by = "me"
until = 2026-12-31
[[policy.waiver]]
name = "urllib3"
version = "==1.*"
reason = "why"
by = "me"
until = 2026-01-31T12:00:00Z
"""
_SECRET = CANARY.encode()
TARGET = Target(
    check=check,
    modules=(
        "wheelgate.config.load",
        "wheelgate.config.section",
        "wheelgate.config.settings",
        "wheelgate.config.source",
        "wheelgate.config.policy",
        "wheelgate.config.value_types",
        "wheelgate.config.connections",
    ),
    seeds=(
        _FULL,
        b'[[connection]]\nname = "a"\ntarget = "https://me:' + _SECRET + b'@h/x"\nauth_type = "PAT"\nvalue = "' + _SECRET + b'"\n'
        b'[[connection]]\nname = "b"\ntarget = "https://h/"\nauth_type = "' + _SECRET + b'"\n',
        b'[server]\noutbound_proxy = "http://u:' + _SECRET + b'@p:3128"\n'
        b'key_vault = "https://' + _SECRET + b'@v.vault.azure.net"\n',
        b'[[source]]\nname = "a"\ntype = "blob"\nlayout = "project"\nwritable = true\naccount_key = "' + _SECRET + b'"\n'
        b'url = "https://acct.blob.core.windows.net/c?sig=' + _SECRET + b'"\n',
        b"[server]\n%%\nWHEELGATE_SERVER__PORT=80\nWHEELGATE_DATA=/tmp/x\nWHEELGATE_STORE__ACCOUNT_KEY="
        + _SECRET
        + b"\n%%\nserver.port=1",
        b'[[source]]\nname = "g"\ntype = "github"\nrepos = ["acme/tools"]\n'
        b'[[source]]\nname = "d"\ntype = "directory"\nurl = "file:./w"\n',
    ),
    words=(
        b"\n%%\n", b"WHEELGATE_", b"WHEELGATE_SERVER__", b"WHEELGATE_SOURCE__0__", b"__", b"=", b"[server]\n",
        b"[[source]]\n", b"[[connection]]\n", b"[policy]\n", b"[[policy.merge]]\n", b"[[policy.waiver]]\n", b"[store]\n",
        b"connections = ", b'"\\u0000"', b"folder = ", b"data = ", b"ca_file = ", b"{", b"}", b"[", b"]", b'"', b"'''",
        b"true", b"nan", b"inf", b"-1", b"1e400", b"0x" + b"f" * 400, b"9" * 4400, b"1979-05-27",
        b"0001-01-01T00:00:00+23:59", b"9999-12-31", b"07:32:00", b"3d", b"999999999d", b"1GiB", b"env:X", b"secret:X",
        b"file:", b"keyvault:x", b"https://", b"https://[", b"https://h/", b"file:./x", b"\\ud800", b"\xed\xa0\x80",
        b"until = ", b"reason = ", b"names = ", b"sources = ", b'type = "index"\n', b"private = ", b"delivery = ", b"a.b.c",
        b"name = ", b"==1.0", b"*", _SECRET,
    ),
    max_bytes=8_192,
)  # fmt: skip
