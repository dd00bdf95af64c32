"""Clocks on a bad day: the first replica's jumps while it runs, the other one's and the storage's stay right.

By libfaketime, which moves what a process sees of the wall clock. A time namespace can move the monotonic clocks alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.faults.engine import ask, ask_url
from tests.faults.model import Expect, Fault, Known, Row, Seen, find_known
from tests.faults.site import JSON, Company, company, listed
from tests.faults.steps import BY_NAME, Page, Redirect, body_of, own, publish, see
from tests.support.packages import wheel_bytes, wheel_name

_LIBRARIES = [Path(f"/usr/lib/{machine}-linux-gnu/faketime/libfaketimeMT.so.1") for machine in ("x86_64", "aarch64")]
_LIBRARY = next((path for path in _LIBRARIES if path.exists()), None)


def no_faketime() -> str:
    return "" if _LIBRARY else "libfaketime is not here (Debian: faketime)"


@contextmanager
def clock_company(folder: Path) -> Iterator[Company]:
    """A company whose first replica has a clock that can be moved, and a cool-down of three days."""
    folder.mkdir(parents=True, exist_ok=True)
    clock = folder / "clock"
    clock.write_text("+0")
    env = {
        "LD_PRELOAD": str(_LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    with company(folder, env=env, policy='[policy]\ncooldown = "3d"\n') as made:
        made.state["clock"] = clock
        yield made


def jumped(seconds: int, words: str) -> Fault:
    @contextmanager
    def inject(site: Company, _name: str) -> Iterator[None]:
        clock = site.state["clock"]
        clock.write_text(f"{seconds:+d}")
        try:
            yield
        finally:
            clock.write_text("+0")

    sign = "forward" if seconds > 0 else "back"
    return Fault(
        f"{sign}-{abs(seconds) // 60}m",
        f"the clock of one replica jumps {sign} by {words}, and back",
        "libfaketime",
        inject,
        no_faketime,
    )


class Signed(Redirect):
    """What storage says to the signed URL, its own clock being right."""

    name, words = "signed", "a file of ours, by a signed URL that storage accepts"

    def ask(self, site: Company, name: str) -> Seen:
        seen = super().ask(site, name)
        if seen.status != 302:
            return seen
        there = ask_url((seen.headers or {})["Location"])
        right = there.status != 200 or there.body == body_of(own(name))
        return there if right else replace(there, wrong="other bytes")

    def look_healed(self, site: Company, name: str) -> str:
        seen = self.ask(site, name)
        return seen.wrong or ("" if seen.status == 200 else f"{seen.status} {seen.reason}")


class ExpiringToken(Page):
    name, words, kept = "token-30m", "an upload with a token of 30 minutes", "nothing that was refused"

    def prepare(self, site: Company, name: str) -> None:
        done = site.server.run("token", "new", "--scope", "upload", "--expires", "30m")
        assert done.returncode == 0, done.stderr
        site.state[name] = done.stdout.strip()
        site.state["by_command_s"] = time.monotonic()
        time.sleep(2.5)

    def ask(self, site: Company, name: str) -> Seen:
        file = (wheel_name(f"fresh-{name}", "1.0"), wheel_bytes(f"fresh-{name}", "1.0"))
        return site.post({":action": "file_upload"}, file, token=site.state[name])

    def look_healed(self, site: Company, name: str) -> str:
        seen = self.ask(site, name)
        return "" if seen.status == 200 else f"{seen.status} {seen.reason}"


class YoungFile(Page):
    name, words = "cooldown", "a page with a file whose cool-down ends in 30 minutes"

    def prepare(self, site: Company, name: str) -> None:
        publish(site, name)
        uploaded = datetime.now(UTC) - timedelta(days=3) + timedelta(minutes=30)
        site.public.publish(name, wheel_name(name, "2.0"), wheel_bytes(name, "2.0"), upload_time=uploaded.isoformat())
        see(site, name)
        assert self._versions(site, name) == 1

    def _versions(self, site: Company, name: str) -> int:
        return len(listed(ask(site.server, f"/simple/{name}/", JSON).body))

    def ask(self, site: Company, name: str) -> Seen:
        seen = ask(site.server, f"/simple/{name}/", JSON)
        return seen if len(listed(seen.body)) == 2 else replace(seen, wrong="it is still withheld")

    def look_healed(self, site: Company, name: str) -> str:
        seen = ask(site.server, f"/simple/{name}/", JSON)
        return "" if seen.status == 200 else f"{seen.status} {seen.reason}"


_STEPS = ("page", "new-page", "own-page", "new-own-page", "claim", "redirect", "range", "cold-file", "metadata", "upload", "yank")
_MORE = ("delete", "revoke", "token", "readyz")
_GOOD = {"redirect": 302, "range": 206}
JUMPS = [jumped(sign * seconds, words) for seconds, words in ((3600, "1 h"), (600, "10 min")) for sign in (1, -1)]
QUICK = {"forward-60m/new-own-page", "back-10m/signed"}
KNOWN: dict[str, Known] = {}


def _row(fault: Fault, step: Page, expect: Expect) -> Row:
    name = f"{fault.name}/{step.name}"
    return Row(
        group="clock",
        fault=fault,
        step=step,
        expect=expect,
        open_site=clock_company,
        quick=name in QUICK,
        known=find_known(name, KNOWN),
    )


def _rows() -> Iterator[Row]:
    for fault in JUMPS:
        hour = fault.name.endswith("60m")
        for step in (*_STEPS, *_MORE) if hour else ("new-own-page", "upload", "yank", "delete", "revoke"):
            yield _row(fault, BY_NAME[step], Expect((_GOOD.get(step, 200),), retry_after=False))
        if not hour:
            yield _row(fault, Signed(), Expect((200,)))
        yield _row(fault, ExpiringToken(), Expect((401,) if fault.name == "forward-60m" else (200,)))
    yield _row(JUMPS[0], YoungFile(), Expect((200,)))


ROWS = list(_rows())
