"""Settings: loaded from file, environment and flags into frozen values. No other room reads the environment."""

from wheelgate.config.connections import Connection
from wheelgate.config.load import load, read_client_settings
from wheelgate.config.references import References, SecretMissing
from wheelgate.config.settings import Config
from wheelgate.config.source import NO_PROXY, PUBLIC_INDEX, SourceSettings
from wheelgate.config.value_types import parse_duration_s

__all__ = [
    "NO_PROXY",
    "PUBLIC_INDEX",
    "Config",
    "Connection",
    "References",
    "SecretMissing",
    "SourceSettings",
    "load",
    "parse_duration_s",
    "read_client_settings",
]
