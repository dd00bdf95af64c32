"""Settings: loaded from file, environment and flags into frozen values. No other room reads the environment."""

from wheelgate.config.connection_documents import ConnectionDocument, read_document
from wheelgate.config.connections import Connection, find_conflicts
from wheelgate.config.connections_folder import (
    ConnectionsFolder,
    build_document_fields,
    derive_secret_name,
    fingerprint_folder,
    read_connections_folder,
)
from wheelgate.config.load import copy_environment, find_sources_made_private, load, make_sources_private, read_client_settings
from wheelgate.config.policy import PolicySettings
from wheelgate.config.references import References, SecretMissing
from wheelgate.config.settings import Config, StoreSettings
from wheelgate.config.source import NO_PROXY, PUBLIC_FILES, PUBLIC_INDEX, SourceSettings
from wheelgate.config.value_types import check_container_url, check_vault_url, parse_duration_s

__all__ = [
    "NO_PROXY",
    "PUBLIC_FILES",
    "PUBLIC_INDEX",
    "Config",
    "Connection",
    "ConnectionDocument",
    "ConnectionsFolder",
    "PolicySettings",
    "References",
    "SecretMissing",
    "SourceSettings",
    "StoreSettings",
    "build_document_fields",
    "check_container_url",
    "check_vault_url",
    "copy_environment",
    "derive_secret_name",
    "find_conflicts",
    "find_sources_made_private",
    "fingerprint_folder",
    "load",
    "make_sources_private",
    "parse_duration_s",
    "read_client_settings",
    "read_connections_folder",
    "read_document",
]
