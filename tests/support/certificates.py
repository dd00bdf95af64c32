"""Certificates of an authority that nobody knows but the test."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme


def loopback_tls(ca_file: Path) -> ssl.SSLContext:
    """TLS for a server on 127.0.0.1; who trusts ``ca_file``, written now, trusts it."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(ca_file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context
