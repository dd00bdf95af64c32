"""What the operator said: settings as frozen values, and where they come from. The only room that reads the environment."""

from wheelgate.config.connections import Connection, ties
from wheelgate.config.documents import ConnectionDocument, read_document
from wheelgate.config.folder import ConnectionsFolder, document_fields, folder_connections, folder_version, secret_name
from wheelgate.config.load import client_settings, load, made_private, process_environment, with_private
from wheelgate.config.policy import PolicySettings
from wheelgate.config.references import References, SecretMissing
from wheelgate.config.settings import Config, StoreSettings
from wheelgate.config.source import NO_PROXY, PUBLIC_FILES, PUBLIC_INDEX, SourceSettings
from wheelgate.config.values import container_problem, duration_s, vault_problem

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
    "client_settings",
    "container_problem",
    "document_fields",
    "duration_s",
    "folder_connections",
    "folder_version",
    "load",
    "made_private",
    "process_environment",
    "read_document",
    "secret_name",
    "ties",
    "vault_problem",
    "with_private",
]
