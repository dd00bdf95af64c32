"""What the operator said: settings as frozen values, and where they come from. The only room that reads the environment."""

from proxy.config.load import client_settings, load
from proxy.config.settings import PUBLIC_FILES, PUBLIC_INDEX, Config, Source
from proxy.config.values import duration_s

__all__ = ["PUBLIC_FILES", "PUBLIC_INDEX", "Config", "Source", "client_settings", "duration_s", "load"]
