"""Azure Blob Storage on a bad day: a front before the emulator answers as the service does, or as networks do."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from tests.faults.front import StorageTalk, Trouble
from tests.faults.model import BROKEN_OFF, Expect, Fault, Row
from tests.faults.site import Company, company
from tests.faults.steps import BY_NAME, STEPS, own, package_path

IN_FRONT = "a front before the emulator"


def during(trouble: Callable[[], Trouble]) -> Callable[[Company, str], contextmanager[None]]:
    """Let the front answer so while the fault lasts; made anew for each row."""

    @contextmanager
    def inject(site: Company, _name: str) -> Iterator[None]:
        site.front.trouble = trouble()
        try:
            yield
        finally:
            site.front.trouble = None

    return inject


def every(trouble: Trouble) -> Callable[[], Trouble]:
    return lambda: trouble


def fails(status: str, code: str, message: str, *headers: str, detail: str = "") -> Callable[[], Trouble]:
    async def trouble(talk: StorageTalk) -> None:
        await talk.fail(status, code, message, *headers, detail=detail)

    return every(trouble)


def first_only(trouble: Trouble, which: Callable[[StorageTalk], bool] = lambda talk: True) -> Callable[[], Trouble]:
    """Each request fails once: its repetition is passed on."""

    def make() -> Trouble:
        seen: set[str] = set()

        async def once(talk: StorageTalk) -> None:
            key = f"{talk.asked.method} {talk.asked.target}"
            if key in seen or not which(talk):
                await talk.pass_on()
            else:
                seen.add(key)
                await trouble(talk)

        return once

    return make


def only(which: Callable[[StorageTalk], bool], trouble: Trouble) -> Callable[[], Trouble]:
    async def chosen(talk: StorageTalk) -> None:
        await (trouble(talk) if which(talk) else talk.pass_on())

    return every(chosen)


def is_write(talk: StorageTalk) -> bool:
    return talk.asked.writes


def is_body(talk: StorageTalk) -> bool:
    """A read of an upload's own bytes."""
    return talk.asked.method == "GET" and "/packages/" in talk.asked.target and not talk.asked.lists


async def busy(talk: StorageTalk) -> None:
    await talk.fail("503 The server is busy.", "ServerBusy", "The server is busy.")


async def reset(talk: StorageTalk) -> None:
    talk.reset()


async def lose_answer(talk: StorageTalk) -> None:
    await talk.forward()
    talk.reset()


async def answer_html(talk: StorageTalk) -> None:
    body = b"<html><body>Please sign in to the network</body></html>"
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    await talk.send_raw(head + (body if talk.asked.method != "HEAD" else b""))


async def answer_bare_404(talk: StorageTalk) -> None:
    await talk.send_raw(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")


async def answer_garbage(talk: StorageTalk) -> None:
    await talk.send_raw(b"\x16\x03\x01\x02\x00 this is not HTTP\r\n\r\n")
    talk.close()


async def stay_silent(_talk: StorageTalk) -> None:
    await asyncio.sleep(120)


async def be_slow(talk: StorageTalk, seconds: float) -> None:
    await asyncio.sleep(seconds)
    await talk.pass_on()


async def cut_body(talk: StorageTalk, how: str) -> None:
    answered = await talk.forward()
    half = len(answered.body) // 2
    if how == "honest":
        head = re.sub(rb"(?i)\r\ncontent-length: \d+", b"\r\nContent-Length: %d" % half, answered.head)
        await talk.send_raw(head + answered.body[:half])
        return
    await talk.send_raw(answered.head + answered.body[:half])
    await asyncio.sleep(0.05)
    if how == "rst":
        talk.reset()
    else:
        talk.close()


async def flip_bytes(talk: StorageTalk) -> None:
    answered = await talk.forward()
    body = bytearray(answered.body)
    for at in range(500, len(body), 50_000):
        body[at] ^= 0xFF
    answered.body = bytes(body)
    await talk.send(answered)


def change_etags() -> Trouble:
    count = iter(range(1_000_000))

    async def trouble(talk: StorageTalk) -> None:
        answered = await talk.forward()
        new = b'\r\nETag: "0x8D%012X"' % next(count)
        answered.head = re.sub(rb"(?i)\r\netag: [^\r]*", new, answered.head)
        await talk.send(answered)

    return trouble


def break_lists() -> Trouble:
    """A list comes in pages of one, and its second page never comes."""

    async def trouble(talk: StorageTalk) -> None:
        if not talk.asked.lists:
            return await talk.pass_on()
        if "marker=" in talk.asked.target:
            return await talk.fail("500 Operation timed out.", "OperationTimedOut", "Not completed in time.")
        answered = await talk.forward()
        cut = re.sub(rb"(?s)<Blobs>.*</Blobs>", b"<Blobs></Blobs>", answered.body)
        answered.body = re.sub(rb"<NextMarker\s*/>|<NextMarker></NextMarker>", b"<NextMarker>more</NextMarker>", cut)
        answered.head = re.sub(rb"(?i)content-length: \d+", b"Content-Length: %d" % len(answered.body), answered.head)
        return await talk.send(answered)

    return trouble


@contextmanager
def emulator_frozen(site: Company, _name: str) -> Iterator[None]:
    site.emulator.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        site.emulator.process.send_signal(signal.SIGCONT)


@contextmanager
def nobody_listens(site: Company, _name: str) -> Iterator[None]:
    """As while storage starts again: the port refuses, and what was connected is cut."""
    site.stop_front()
    try:
        yield
    finally:
        site.start_front()


@contextmanager
def blob_gone(site: Company, name: str) -> Iterator[None]:
    path = package_path(own(name))
    blob = site.store.container.get_blob_client(path)
    kept, facts = blob.download_blob().readall(), blob.get_blob_properties().metadata
    blob.delete_blob()
    try:
        yield
    finally:
        blob.upload_blob(kept, metadata=facts)


SKEWED = "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly."
UNUSABLE = [
    Fault(
        "busy",
        "throttled: 503 ServerBusy, `Retry-After: 30`",
        IN_FRONT,
        during(fails("503 The server is busy.", "ServerBusy", "The server is busy.", "Retry-After: 30")),
    ),
    Fault("busy-bare", "throttled: 503 ServerBusy", IN_FRONT, during(every(busy))),
    Fault(
        "timed-out",
        "500 OperationTimedOut",
        IN_FRONT,
        during(fails("500 Operation timed out.", "OperationTimedOut", "Not completed within the permitted time.")),
    ),
    Fault(
        "internal",
        "500 InternalError",
        IN_FRONT,
        during(fails("500 Internal error.", "InternalError", "The server encountered an internal error.")),
    ),
    Fault(
        "firewall",
        "403 AuthorizationFailure, as a storage firewall answers",
        IN_FRONT,
        during(fails("403 Not authorized.", "AuthorizationFailure", "This request is not authorized to perform this operation.")),
    ),
    Fault(
        "role-lost",
        "403 AuthorizationPermissionMismatch",
        IN_FRONT,
        during(fails("403 Not authorized.", "AuthorizationPermissionMismatch", "Not authorized with this permission.")),
    ),
    Fault(
        "skewed",
        "403 AuthenticationFailed, as a clock that is 20 minutes off gets it",
        IN_FRONT,
        during(fails("403 Failed.", "AuthenticationFailed", SKEWED, detail="Request date header too old")),
    ),
    Fault(
        "container-gone",
        "404 ContainerNotFound, and back",
        IN_FRONT,
        during(fails("404 Not found.", "ContainerNotFound", "The specified container does not exist.")),
    ),
    Fault(
        "container-ends",
        "409 ContainerBeingDeleted",
        IN_FRONT,
        during(fails("409 Conflict.", "ContainerBeingDeleted", "The specified container is being deleted. Try operation later.")),
    ),
    Fault("reset", "every connection is reset", IN_FRONT, during(every(reset))),
    Fault("refused", "nobody listens, as during a restart", "the front closes its port", nobody_listens),
    Fault("portal", "200 with an HTML page, as a captive portal", IN_FRONT, during(every(answer_html))),
    Fault("bare-404", "404 without a code, as a load balancer", IN_FRONT, during(every(answer_bare_404))),
    Fault("garbage", "an answer that is not HTTP", IN_FRONT, during(every(answer_garbage))),
    Fault("silent", "accepts, reads, says nothing", IN_FRONT, during(every(stay_silent))),
    Fault("frozen", "stands still", "SIGSTOP of the emulator", emulator_frozen),
    Fault(
        "writes-refused",
        "403 AuthorizationPermissionMismatch to writes alone, as to a reader",
        IN_FRONT,
        during(
            only(
                is_write,
                fails(
                    "403 Not authorized.",
                    "AuthorizationPermissionMismatch",
                    "Not authorized with this permission.",
                )(),
            )
        ),
    ),
]
"""Storage that cannot be used at all."""
PASSING = [
    Fault("busy-once", "each request is throttled once", IN_FRONT, during(first_only(busy))),
    Fault("reset-once", "each request is reset once before it is read", IN_FRONT, during(first_only(reset))),
    Fault("lost-once", "each write is done, its first answer lost", IN_FRONT, during(first_only(lose_answer, is_write))),
    Fault("etags", "every answer has another ETag", IN_FRONT, during(change_etags)),
    Fault("slow", "every answer takes 2 s", IN_FRONT, during(every(partial(be_slow, seconds=2.0)))),
    Fault("lost", "writes are done, every answer to them is lost", IN_FRONT, during(only(is_write, lose_answer))),
]
"""Storage that works after all."""
DAMAGED = [
    Fault("body-reset", "bodies reset at half", IN_FRONT, during(only(is_body, partial(cut_body, how="rst")))),
    Fault("body-cut", "bodies end at half of their length", IN_FRONT, during(only(is_body, partial(cut_body, how="fin")))),
    Fault("body-short", "bodies are half, and say so", IN_FRONT, during(only(is_body, partial(cut_body, how="honest")))),
    Fault("flipped", "bodies of the right length with wrong bytes", IN_FRONT, during(only(is_body, flip_bytes))),
    Fault("body-frozen", "bodies never come", IN_FRONT, during(only(is_body, stay_silent))),
    Fault("blob-gone", "the file's blob is deleted behind our back, and restored", "the emulator's API", blob_gone),
]
LISTS = Fault("list-broken", "a list whose second page fails: 500 OperationTimedOut", IN_FRONT, during(break_lists))


UNUSABLE_STORE = {
    "page": Expect((200,), 2.0),
    "page-after-change": Expect((200,)),
    "new-page": Expect((503,)),
    "own-page": Expect((200,), 2.0),
    "new-own-page": Expect((503,)),
    "claim": Expect((200, 503)),
    "redirect": Expect((302,), 2.0),
    "range": Expect((206, 503)),
    "stream": Expect((200, 503)),
    "token": Expect((200,), 2.0),
    "cold-file": Expect((200, 503)),
    "metadata": Expect((200, 503)),
    "upload": Expect((503,)),
    "yank": Expect((503,)),
    "delete": Expect((503,)),
    "revoke": Expect((503,), 14.0, retry_after=False),
    "readyz": Expect((200,), 2.0),
    "list": Expect((200, 503)),
}
"""While storage cannot be used: what was seen goes on, what is not known fails closed, nothing is acknowledged, nobody waits."""
WRITES_REFUSED = {
    **UNUSABLE_STORE,
    "new-page": Expect((200,)),
    "new-own-page": Expect((200,)),
    "range": Expect((206,)),
    "stream": Expect((200,)),
    "cold-file": Expect((200,)),
    "metadata": Expect((200,)),
    "list": Expect((200,)),
}
GOOD = {"redirect": 302, "range": 206}
FULL = ["busy", "firewall", "container-gone", "refused", "bare-404", "portal", "silent", "writes-refused"]
"""Those that every step is asked under; the others under a few."""
FEW = ["page-after-change", "new-page", "new-own-page", "range", "cold-file", "upload", "readyz"]
QUICK = {
    "busy/upload",
    "timed-out/new-page",
    "firewall/yank",
    "container-gone/new-own-page",
    "reset/range",
    "refused/page",
    "bare-404/yank",
    "container-ends/upload",
    "portal/new-page",
    "lost-once/upload",
    "body-cut/stream",
    "list-broken/new-own-page",
    "silent/own-page",
}


def _row(fault: Fault, step: str, expect: Expect) -> Row:
    name = f"{fault.name}/{step}"
    return Row(
        group="store",
        fault=fault,
        step=BY_NAME[step],
        expect=expect,
        open_site=company,
        quick=name in QUICK,
    )


def _good(step: str, *, or_later: bool = False) -> Expect:
    good = GOOD.get(step, 200)
    return Expect((good, 503) if or_later else (good,), retry_after=step != "revoke")


def _rows() -> Iterator[Row]:
    for fault in UNUSABLE:
        table = WRITES_REFUSED if fault.name == "writes-refused" else UNUSABLE_STORE
        for step in [step.name for step in STEPS] if fault.name in FULL else FEW:
            says = "clock is wrong" if fault.name == "skewed" and table[step].status == (503,) else ""
            yield _row(fault, step, replace(table[step], says=says))
    for fault in PASSING:
        for step in ("new-page", "new-own-page", "claim", "range", "cold-file", "upload", "yank", "delete", "revoke"):
            yield _row(fault, step, _good(step, or_later=fault.name in ("slow", "lost", "etags")))
    for fault in DAMAGED:
        if fault.name != "flipped":  # the bytes of a range have no digest: whoever joins them checks
            yield _row(fault, "range", Expect((404, 503, BROKEN_OFF)))
        yield _row(fault, "stream", Expect((404, 502, 503, BROKEN_OFF)))
    for step in ("new-own-page", "new-page", "list", "upload"):
        yield _row(LISTS, step, Expect((200, 503) if step == "list" else (503,)))


ROWS = list(_rows())
