"""Errors of the HTTP client in a few words for a sentence: no class names, no tuples, no URLs."""

from __future__ import annotations

import os
import ssl

import aiohttp


def cause_of(error: BaseException) -> str:
    """The reason behind an error of the HTTP client."""
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name cannot be resolved"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return str(getattr(error.certificate_error, "verify_message", "") or "its certificate is not to be trusted")
    if isinstance(error, aiohttp.ClientConnectorError):
        return _system_reason(error.os_error)
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the body was cut short"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the connection was closed"
    if isinstance(error, OSError):
        return _system_reason(error)
    return "it answered with something that is not HTTP"


def _system_reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return "it does not speak TLS there" if error.reason == "WRONG_VERSION_NUMBER" else (error.reason or "TLS failed").lower()
    if error.errno:
        return os.strerror(error.errno).lower()  # asyncio's own text for it is a Python tuple
    return "no connection"
