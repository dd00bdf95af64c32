"""Which IP addresses may be connected to, in whatever clothes they come."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wheelgate.upstream.addresses import ForbiddenAddress, refuse_reason, socket_for

METADATA = "a link-local or metadata address"
NO_HOST = "not the address of a host"
INNER = "an inner address that the configuration does not name"
modestly = settings(deadline=None, max_examples=100)


def dressed(address: str) -> dict[str, str]:
    """An IPv4 address in every form in which IPv6 carries it."""
    number = int(IPv4Address(address))
    return {
        "mapped": str(IPv6Address((0xFFFF << 32) | number)),
        "mapped, dotted": f"::ffff:{address}",
        "NAT64": str(IPv6Address((0x64FF9B << 96) | number)),
        "6to4": str(IPv6Address((0x2002 << 112) | (number << 80) | 1)),
    }


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.0.1",
        "168.63.129.16",
        "fe80::1",
        "fe80::1%eth0",
        "febf::1",
        *dressed("169.254.169.254").values(),
        *dressed("168.63.129.16").values(),
    ],
)
@pytest.mark.parametrize("inner", [True, False])
def test_link_local_and_metadata_addresses_are_never_reached(address: str, inner: bool) -> None:
    assert refuse_reason(address, inner=inner) == METADATA


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "224.0.0.1", "239.1.2.3", "ff02::1", "::ffff:0.0.0.0", "::ffff:224.0.0.1"])
@pytest.mark.parametrize("inner", [True, False])
def test_what_is_no_hosts_address_is_never_reached(address: str, inner: bool) -> None:
    assert refuse_reason(address, inner=inner) == NO_HOST


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.1.2.3",
        "::1",
        "10.0.0.1",
        "10.255.255.255",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "100.100.100.200",
        "192.0.0.192",
        "192.0.2.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "240.0.0.1",
        "255.255.255.255",
        "fc00::1",
        "fd00:ec2::254",
        "fec0::1",
        "2001:db8::1",
        "2001:0:4136:e378::1",
        "100::1",
        "64:ff9b:1::a9fe:a9fe",
        "::127.0.0.1",
        "::a9fe:a9fe",
        "::ffff:0:7f00:1",
        *dressed("127.0.0.1").values(),
        *dressed("10.1.2.3").values(),
    ],
)
def test_an_inner_address_is_reached_only_where_the_operator_names_the_host(address: str) -> None:
    assert refuse_reason(address, inner=False) == INNER
    assert refuse_reason(address, inner=True) is None


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "168.63.129.15",
        "169.253.255.255",
        "172.32.0.1",
        "2606:4700::1111",
        "2a04:4e42::223",
        *dressed("8.8.8.8").values(),
    ],
)
def test_a_public_address_is_reached(address: str) -> None:
    assert refuse_reason(address, inner=False) is None


@modestly
@given(st.ip_addresses(v=4))
def test_clothes_change_nothing(address: IPv4Address) -> None:
    plain = str(address)
    for inner in (True, False):
        expected = refuse_reason(plain, inner=inner)
        assert {form: refuse_reason(text, inner=inner) for form, text in dressed(plain).items()} == dict.fromkeys(
            dressed(plain), expected
        )


@modestly
@given(st.ip_addresses())
def test_naming_a_host_only_ever_opens(address: IPv4Address | IPv6Address) -> None:
    if refuse_reason(str(address), inner=False) is None:
        assert refuse_reason(str(address), inner=True) is None


def test_a_forbidden_address_gets_no_socket() -> None:
    info = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("169.254.169.254", 80))
    with pytest.raises(ForbiddenAddress, match=r"169\.254\.169\.254 is a link-local or metadata address"):
        socket_for(info, inner=True)


def test_loopback_gets_a_socket_only_if_named() -> None:
    info = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 80))
    with pytest.raises(ForbiddenAddress, match="the configuration does not name"):
        socket_for(info, inner=False)
    with socket_for(info, inner=True) as made:
        assert (made.family, made.type) == (socket.AF_INET, socket.SOCK_STREAM)


def test_an_ipv6_address_with_its_scope_is_judged_without_it() -> None:
    info = (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("fe80::1%lo", 80, 0, 1))
    with pytest.raises(ForbiddenAddress):
        socket_for(info, inner=True)
