"""Plays rows against real processes, and says in which aspects they are not as promised."""

from __future__ import annotations

import http.client
import re
import time
import urllib.error
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults import model
from tests.faults.model import Row, Seen, Site
from tests.support.gate import Gate, fetch
from tests.support.lies import MIB
from tests.support.watch import watched

PATIENCE_S = 15.0
"""How long a client waits: as long as pip."""
PROBE_S = 1.0
HELD_UP_S = 0.1
GROWN_BYTES = 128 * MIB
AT_ONCE = 16
Wrong = dict[str, str]
"""By aspect: what was not as promised."""


class NotInjected(Exception):
    """The fault did not come about, so nothing may be concluded."""


def ask(
    server: Gate, path: str, headers: dict[str, str] | None = None, method: str = "GET", patience_s: float = PATIENCE_S
) -> Seen:
    """One request as a client makes it, which gives up after ``patience_s``."""
    return ask_url(server.url + path, headers, method, patience_s)


def ask_url(url: str, headers: dict[str, str] | None = None, method: str = "GET", patience_s: float = PATIENCE_S) -> Seen:
    """One request to a whole URL; redirects are not followed."""
    return timed(lambda: fetch(url, headers, method, patience_s))


def timed(send: Callable[[], Any]) -> Seen:
    """What came of a request, however it ended."""
    began = time.monotonic()
    try:
        answer = send()
    except (OSError, http.client.HTTPException, urllib.error.URLError) as error:
        return Seen(model.BROKEN_OFF, f"{type(error).__name__}: {error}", took_s=time.monotonic() - began)
    return Seen(answer.status, answer.reason, answer.headers, answer.body, time.monotonic() - began)


def samples(server: Gate, start: str) -> float:
    """The sum of the samples whose line starts so."""
    lines = server.get("/metrics").body.decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(start))


def play(row: Row, site: Site) -> Wrong:
    """Prepare, inject, ask, heal, look again."""
    try:
        row.step.prepare(site, row.project)
    except Exception as error:  # whatever it is, the rows after this one are played all the same
        return {model.PREPARED: f"{type(error).__name__}: {str(error)[:300]}"}
    wrong: Wrong = {}
    expect, name = row.expect, row.project
    logged, asked = len(site.server.log), len(site.asked_in_public())
    counted = samples(site.server, expect.metric) if expect.metric else 0.0
    try:
        with row.fault.inject(site, name):
            seen = row.step.ask(site, name)
            wrong |= _judge_answer(row, seen)
            if expect.metric and samples(site.server, expect.metric) <= counted:
                wrong[model.METRICS] = f"{expect.metric} did not rise"
    except NotInjected as error:
        return {model.PREPARED: str(error)}
    wrong |= _judge_recovery(row, site)
    if kept := row.step.look_kept(site, name, seen):
        wrong[model.STORE] = kept
    log = site.server.log[logged:]
    if expect.log and not re.search(expect.log, log):
        wrong[model.LOG] = f"the log does not say {expect.log!r}"
    if "Traceback" in log:
        wrong[model.LEAKS] = "a traceback in the log: " + log[log.index("Traceback") :].strip().splitlines()[-1][:300]
    shown = f"{log} {seen.reason} {seen.body[:2000].decode(errors='replace')}"
    if any(secret in shown for secret in site.secrets()):
        wrong[model.LEAKS] = "a secret in the log or the answer"
    if private := [path for path in site.asked_in_public()[asked:] if f"private-{name}" in path]:
        wrong[model.PUBLIC] = f"a public index was asked for {private[0]}"
    return wrong


def _judge_answer(row: Row, seen: Seen) -> Wrong:
    expect = row.expect
    said = f"{seen.status or 'broken off'} after {seen.took_s:.1f} s: {seen.reason[:200]}"
    if seen.status not in expect.status:
        return {model.CLIENT: said}
    if seen.wrong:
        return {model.CLIENT: f"{said}; {seen.wrong}"}
    if seen.took_s > expect.within_s:
        return {model.CLIENT: said}
    if seen.status == 503 and expect.retry_after and not 1 <= int((seen.headers or {}).get("Retry-After", 0)) <= 5:
        return {model.CLIENT: f"{said}; no small Retry-After"}
    if seen.status >= 400 and expect.says and not re.search(expect.says, seen.reason):
        return {model.CLIENT: f"{said}; does not say {expect.says!r}"}
    return {}


def _judge_recovery(row: Row, site: Site) -> Wrong:
    began = time.monotonic()
    while what := row.step.look_healed(site, row.project):
        if time.monotonic() - began > row.expect.recovers_s:
            return {model.RECOVERY: f"{row.expect.recovers_s:g} s after: {what[:300]}"}
        time.sleep(0.1)
    for server in filter(None, (site.server, getattr(site, "replica", None))):
        while (ready := ask(server, "/readyz")).status != 200 or b'"ready"' not in ready.body:
            if time.monotonic() - began > row.expect.recovers_s:
                return {model.RECOVERY: f"/readyz {row.expect.recovers_s:g} s after: {ready.status} {ready.body[:200]!r}"}
            time.sleep(0.1)
    probe = ask(site.server, "/livez")
    if probe.status != 200 or probe.took_s > PROBE_S:
        return {model.OTHERS: f"/livez {probe.status} after {probe.took_s:.1f} s: {probe.reason}"}
    return {}


class Sites:
    """The sites that rows are played on: opened when the first row needs one, one at a time, closed at the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._open: tuple[object, Site] | None = None
        self._opened = 0

    def get(self, open_site: Callable[[Path], AbstractContextManager[Site]]) -> Site:
        if self._open is None or self._open[0] is not open_site:
            self.close()
            self._opened += 1
            self._open = (open_site, self._stack.enter_context(open_site(self._folder / f"site{self._opened}")))
        return self._open[1]

    def close(self) -> None:
        self._open = None
        self._stack.close()


def play_all(rows: Iterable[Row], sites: Sites) -> Iterator[tuple[Row, Wrong, str, float]]:
    """Play rows in order, those that may at once.

    Each comes with what was not as promised, what this machine lacks to play it, and its seconds.
    """
    rows = list(rows)
    while rows:
        first = rows[0]
        together = [row for row in rows if row.at_once and row.open_site is first.open_site] if first.at_once else [first]
        rows = [row for row in rows if row not in together]
        began = time.monotonic()
        missing = next((missing for row in together if (missing := row.fault.needs())), "")
        wrongs = [{} for _ in together] if missing else play_together(together, sites.get(first.open_site))
        took_s = time.monotonic() - began
        yield from ((row, wrong, missing, took_s) for row, wrong in zip(together, wrongs, strict=True))


def play_together(rows: Sequence[Row], site: Site) -> list[Wrong]:
    """Play rows of one site at once; what was not as promised of each."""
    if len(rows) == 1 and not rows[0].watched:
        return [play(rows[0], site)]
    with _watched(site) as found, ThreadPoolExecutor(AT_ONCE) as pool:
        wrongs = list(pool.map(lambda row: play(row, site), rows))
    for again in range(2, 5):  # what holds the loop up by itself does so every time, a busy machine now and then
        if not found:
            break
        with _watched(site) as found, ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(partial(_ask_again, site=site, ending=f"-again-{again}"), rows))
    return [wrong | found for wrong in wrongs]


def _ask_again(row: Row, site: Site, ending: str) -> None:
    with row.fault.inject(site, row.project):
        row.step.ask(site, row.project + ending)


@contextmanager
def _watched(site: Site) -> Iterator[Wrong]:
    found: Wrong = {}
    with watched(site.server) as seen:
        yield found
    if seen.held_up_s > HELD_UP_S:
        found[model.OTHERS] = f"the loop was held up for {seen.held_up_s:.2f} s"
    if seen.grown_bytes > GROWN_BYTES:
        found[model.OTHERS] = f"memory grew by {seen.grown_bytes / MIB:.0f} MiB"


def judge(row: Row, wrong: Wrong) -> str:
    """Why a row fails; nothing if it holds, or fails as it is known to."""
    if row.known is None:
        return "; ".join(f"{aspect}: {what}" for aspect, what in wrong.items())
    if others := {aspect: what for aspect, what in wrong.items() if aspect not in row.known.aspects}:
        return "; ".join(f"{aspect}: {what}" for aspect, what in others.items())
    return "" if wrong or not row.known.always else f"it holds now: take `known={row.known.name}` away"
