"""A place without any network but its own loopback, a namespace of the kernel: what runs in it cannot get out."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1


def is_possible() -> bool:
    """Whether this machine lets us make one."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "--map-root-user", "--net", "true"], capture_output=True).returncode == 0


def run_inside(module: str, *arguments: str | Path, timeout: float = 500) -> subprocess.CompletedProcess[str]:
    """Run a module of the tests in such a place."""
    return subprocess.run(
        ["unshare", "--map-root-user", "--net", "--", sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def loopback_up() -> None:
    """A new namespace has a loopback, switched off."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14s", b"lo", 0, b"")
        flags = struct.unpack("16sH14s", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", flags | _IFF_UP, b""))


def prove_that_nothing_gets_out() -> None:
    """By name and by address: the kernel knows no way."""
    names = [line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]]
    assert names == ["lo"], names
    for address in ("192.0.2.1", "1.1.1.1"):
        try:
            socket.create_connection((address, 443), timeout=2).close()
        except OSError:
            continue
        raise AssertionError(f"{address} was reached")
    try:
        socket.getaddrinfo("example.com", 443)
    except OSError:
        return
    raise AssertionError("a name was resolved")
