"""Networks on a bad day: narrow, half-open, and names that do not resolve."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

from tests.acceptance.configs import index_source
from tests.faults.front import StorageTalk
from tests.faults.model import Expect, Fault, Row
from tests.faults.site import Company, FolderView, company
from tests.faults.steps import BY_NAME
from tests.faults.storage import during, every
from tests.support.gate import Gate, gate
from tests.support.index import FakeIndex, running

NARROW_BYTES = 50_000
"""A second."""
_RESOLVER = "127.0.0.53"


# ---- the way to storage -----------------------------------------------------------------------------------------------------


async def be_narrow(talk: StorageTalk) -> None:
    answered = await talk.forward()
    await talk.send_raw(answered.head)
    piece = NARROW_BYTES // 10
    for start in range(0, len(answered.body), piece):
        await talk.send_raw(answered.body[start : start + piece])
        await asyncio.sleep(0.1)


@contextmanager
def half_open(site: Company, _name: str) -> Iterator[None]:
    """The other side is gone, and nobody said so: connections are made by the kernel, and nothing is read."""
    site.front.deaf = True
    try:
        yield
    finally:
        site.front.deaf = False


# ---- names ------------------------------------------------------------------------------------------------------------------


class Resolver(asyncio.DatagramProtocol):
    """A name server: every name below ``test`` is this machine, unless ``moods`` says otherwise."""

    def __init__(self) -> None:
        self.moods: dict[str, str] = {}
        """First label of a name: ``nxdomain``, ``servfail``, ``silent``, ``slow``, ``inner``, ``nowhere``."""
        self._transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        label = data[13 : 13 + data[12]].decode().lower()
        end = data.index(b"\0", 12) + 5
        question, kind = data[12:end], struct.unpack(">H", data[end - 4 : end - 2])[0]
        mood = self.moods.get(label, "")
        if mood == "silent":
            return
        code = {"nxdomain": 3, "servfail": 2}.get(mood, 0)
        address = {"inner": "169.254.169.254", "nowhere": "127.0.0.77"}.get(mood, "127.0.0.1")
        packed = bytes(map(int, address.split(".")))
        records = b"" if code or kind != 1 else b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 0, 4) + packed
        answer = data[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, 1 if records else 0, 0, 0) + question + records
        asyncio.get_running_loop().call_later(2.0 if mood == "slow" else 0.0, self._transport.sendto, answer, addr)


@contextmanager
def _resolving(resolver: Resolver) -> Iterator[None]:
    loop, started = asyncio.new_event_loop(), threading.Event()
    stop = asyncio.Event()

    async def run() -> None:
        transport, _ = await loop.create_datagram_endpoint(lambda: resolver, local_addr=(_RESOLVER, 53))
        started.set()
        await stop.wait()
        transport.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), daemon=True)
    thread.start()
    assert started.wait(5), "nobody can listen on port 53"
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(5)
        loop.close()


@contextmanager
def named_company(folder: Path) -> Iterator[Company]:
    """A server whose sources have names that a resolver of ours knows: one for each row, since answers are remembered."""
    folder.mkdir(parents=True)
    (folder / "resolv.conf").write_text(f"nameserver {_RESOLVER}\n")
    with ExitStack() as stack:
        resolver = Resolver()
        stack.enter_context(_resolving(resolver))
        public = stack.enter_context(running(FakeIndex()))
        port = public.origin.rpartition(":")[2]
        config = '[[source]]\nname = "uploads"\ntype = "store"\n'
        for row in ROWS:
            if row.open_site is named_company:
                url = f"http://{row.project}.test:{port}/simple/"
                config += f'[[source]]\nname = "{row.project}"\ntype = "index"\nurl = "{url}"\nonly = ["{row.project}"]\n'
                config += "private = false\n"
        server = Gate(folder / "one", config)
        bind = f"mount --bind {folder / 'resolv.conf'} /etc/resolv.conf"
        server.prefix = ("unshare", "--mount", "sh", "-c", f'{bind} && exec "$0" "$@"')
        server.start()
        stack.callback(lambda: server.stop(signal.SIGKILL))
        made = Company(server, server, FolderView(server.data / "store", "none"), public, public)
        made.token = "no-token-is-made-here"
        made.state["resolver"] = resolver
        yield made


def _needs_names() -> str:
    return "" if os.geteuid() == 0 and shutil.which("unshare") else "a name server of one's own needs root"


def unresolved(mood: str, words: str) -> Fault:
    @contextmanager
    def inject(site: Company, name: str) -> Iterator[None]:
        moods = site.state["resolver"].moods
        moods[name] = mood
        try:
            yield
        finally:
            del moods[name]

    return Fault(f"dns-{mood}", words, "a name server on loopback, in a mount namespace", inject, _needs_names)


# ---- certificates -----------------------------------------------------------------------------------------------------------


def _certificates(folder: Path) -> dict[str, Path]:
    """By mood: a chain and its key, in one file."""
    ours, strangers = trustme.CA(), trustme.CA()
    ours.cert_pem.write_to_path(folder / "ca.pem")
    past = datetime.now(UTC) - timedelta(days=1)
    issued = {
        "good": ours.issue_cert("127.0.0.1"),
        "expired": ours.issue_cert("127.0.0.1", not_before=past - timedelta(days=9), not_after=past),
        "wrong-host": ours.issue_cert("another.test"),
        "stranger": strangers.issue_cert("127.0.0.1"),
    }
    for mood, certificate in issued.items():
        certificate.private_key_and_cert_chain_pem.write_to_path(folder / f"{mood}.pem")
    return {mood: folder / f"{mood}.pem" for mood in issued}


@contextmanager
def certified_company(folder: Path) -> Iterator[Company]:
    """A server whose public source shows whatever certificate it is told to."""
    folder.mkdir(parents=True)
    files = _certificates(folder)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(files["good"])
    tls.options |= ssl.OP_NO_TICKET  # a session that is taken up again shows no certificate
    with running(FakeIndex(), tls=tls) as public:
        names = [row.project for row in ROWS if row.open_site is certified_company]
        config = f'[server]\nca_file = "{folder / "ca.pem"}"\n' + "".join(
            index_source(public, name, only=[name], private=False) for name in names
        )
        with gate(folder / "one", config) as server:
            made = Company(
                server, server, FolderView(server.data / "store", "none"), public, public, token="no-token-is-made-here"
            )
            made.state |= {"tls": tls, "files": files}
            yield made


def shown(mood: str, words: str) -> Fault:
    @contextmanager
    def inject(site: Company, _name: str) -> Iterator[None]:
        site.state["tls"].load_cert_chain(site.state["files"][mood])
        try:
            yield
        finally:
            site.state["tls"].load_cert_chain(site.state["files"]["good"])

    return Fault(f"tls-{mood}", f"the upstream's certificate {words}", "an upstream on loopback over https", inject)


NARROW = Fault(
    "narrow", f"storage answers with {NARROW_BYTES // 1000} kB a second", "a front before the emulator", during(every(be_narrow))
)
HALF_OPEN = Fault("half-open", "storage reads nothing more, and says nothing", "a front before the emulator", half_open)
QUICK = {"dns-nxdomain/new-page", "narrow/range"}


def _row(fault: Fault, step: str, expect: Expect, open_site: Callable[[Path], AbstractContextManager[Company]] = company) -> Row:
    name = f"{fault.name}/{step}"
    return Row(
        group="network",
        fault=fault,
        step=BY_NAME[step],
        expect=expect,
        open_site=open_site,
        quick=name in QUICK,
    )


ROWS: list[Row] = [
    _row(NARROW, "page", Expect((200,), 2.0)),
    _row(NARROW, "new-own-page", Expect((200,))),
    _row(NARROW, "range", Expect((206,))),
    _row(NARROW, "stream", Expect((200,))),
    _row(NARROW, "upload", Expect((200,))),
    _row(HALF_OPEN, "page", Expect((200,), 2.0)),
    _row(HALF_OPEN, "own-page", Expect((200,), 2.0)),
    _row(HALF_OPEN, "new-page", Expect((503,))),
    _row(HALF_OPEN, "new-own-page", Expect((503,))),
    _row(HALF_OPEN, "range", Expect((206, 503))),
    _row(HALF_OPEN, "redirect", Expect((302,), 2.0)),
    _row(HALF_OPEN, "upload", Expect((503,))),
    *(
        _row(unresolved(mood, words), step, expect, named_company)
        for mood, words, page, file in (
            ("nxdomain", "the upstream's name does not exist", (503,), (503,)),
            ("servfail", "the name server fails", (503,), (503,)),
            ("silent", "the name server says nothing", (503,), (503,)),
            ("slow", "the name server takes 2 s", (200,), (200,)),
            ("inner", "the name leads to 169.254.169.254", (502, 503), (502, 503)),
            ("nowhere", "the name leads to an address where nobody listens", (503,), (503,)),
        )
        for step, expect in (("new-page", Expect(page, recovers_s=30.0)),)
    ),
    *(
        _row(shown(mood, words), "new-page", Expect((503,), says="certificate", recovers_s=30.0), certified_company)
        for mood, words in (
            ("expired", "has expired"),
            ("wrong-host", "is another host's"),
            ("stranger", "is a stranger's"),
        )
    ),
]
