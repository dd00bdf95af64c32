"""IP addresses that may be connected to: checked on the address itself, after DNS and for literals alike."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

# Azure's wire server: a public-looking address that hands secrets to whoever asks from inside a virtual machine.
_WIRE_SERVER = IPv4Address("168.63.129.16")
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in other clothes
# `is_global` of some Pythons takes what is not known to be private for global: local NAT64 (RFC 8215), IPv4-compatible and
# site-local addresses, the clouds' 192.0.0.192.
_GLOBAL_V6 = IPv6Network("2000::/3")
_PROTOCOL_V4 = IPv4Network("192.0.0.0/24")

AddrInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]]


class ForbiddenAddress(OSError):
    """The name resolved to an address that must not be reached from here."""


def refuse_reason(address: str, *, inner: bool) -> str | None:
    """The reason why this address may not be reached, or ``None``. ``inner``: the operator's own URL names the host."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        embedded = IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None
        ip = ip.ipv4_mapped or ip.sixtofour or embedded or ip
    if ip.is_link_local or ip == _WIRE_SERVER:
        return "a link-local or metadata address"
    if ip.is_multicast or ip.is_unspecified:
        return "not the address of a host"
    if not inner and not _is_global(ip):
        return "an inner address that the configuration does not name"
    return None


def _is_global(ip: IPv4Address | IPv6Address) -> bool:
    if isinstance(ip, IPv6Address):
        return ip.is_global and ip in _GLOBAL_V6
    return ip.is_global and ip not in _PROTOCOL_V4


def check_address(address: str, *, inner: bool) -> None:
    """Raise :class:`ForbiddenAddress` for an address that :func:`refuse_reason` refuses, ``ValueError`` for what is none."""
    if reason := refuse_reason(address, inner=inner):
        raise ForbiddenAddress(f"{address} is {reason}")


def socket_for(info: AddrInfo, *, inner: bool) -> socket.socket:
    """A socket for a resolved address (aiohttp's ``socket_factory``), once it is checked.

    This is the last point before a connection, so neither a literal in a URL nor a name that resolves differently the second
    time slips past.
    """
    family, kind, protocol, _, address = info
    check_address(str(address[0]), inner=inner)
    return socket.socket(family, kind, protocol)
