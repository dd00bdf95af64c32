"""Upstreams that lie, byte by byte. The lies themselves, and the status that each deserves, are in `tests/support/lies.py`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from tests.faults.engine import ask
from tests.faults.model import Expect, Fault, Reference, Row, Seen
from tests.support import lies
from tests.support.gate import Gate, gate
from tests.support.lies import (
    COSTLY,
    FILES,
    INNER,
    ODD_PAGES,
    PAGES,
    SLOW_PAGES,
    UNAVAILABLE,
    WRONG,
    Liar,
    Lie,
    assert_nothing_wrong_is_kept,
    config_for,
    file_of,
    kept,
    running,
    witness,
)
from tests.support.packages import sha256

JSON = {"Accept": lies.JSON}
CODES = (301, 302, 303, 307, 308)
TOO_LARGE = frozenset(
    {
        *("gzip-bomb", "gzip-then-more", "gzip-of-nothing", "endless", "endless-without-framing"),
        *(
            "json-keys",
            "json-versions",
            "json-meta",
            "json-unknown",
            "json-string",
            "json-escapes",
            "json-numbers",
            "json-hashes",
        ),
    }
)
_AT_A_WITNESS = {"other-host": "another host", "other-port": "another port of its host"}


class Theatre:
    """One server, one liar with a source for each lie, and two witnesses at addresses where nobody may come."""

    def __init__(self, server: Gate, liar: Liar, witnesses: dict[str, int], seen: Sequence[Sequence[str]]) -> None:
        self.server = server
        self.liar = liar
        self._ports = witnesses
        self._seen = seen
        self.answered: dict[str, int] = {}

    def place(self, name: str) -> str:
        """An address that nobody may be led to."""
        hosts = {"other-host": "127.0.0.2", "other-port": "127.0.0.1"}
        return f"http://{hosts[name]}:{self._ports[name]}/x" if name in hosts else INNER[name]

    def came(self) -> list[str]:
        """Who came there all the same."""
        return [peer for seen in self._seen for peer in seen]

    def secrets(self) -> Sequence[str]:
        return ("user:secret",)

    def asked_in_public(self) -> Sequence[str]:
        return ()


@contextmanager
def theatre(folder: Path) -> Iterator[Theatre]:
    liar = Liar()
    lies.bomb()
    with ExitStack() as stack:
        port, seen = stack.enter_context(witness("127.0.0.2"))
        other_port, also_seen = stack.enter_context(witness("127.0.0.1"))
        stack.enter_context(running(liar))
        server = stack.enter_context(gate(folder, config_for(liar, [row.project for row in ROWS])))
        yield Theatre(server, liar, {"other-host": port, "other-port": other_port}, (seen, also_seen))
        assert_nothing_wrong_is_kept(server, liar)


class PageOfLies:
    """A page nobody has seen yet, told wrongly; afterwards the truth, page and file."""

    name = ""
    words = "a page"
    kept = "nothing of it"
    recovery = ""

    def prepare(self, site: Theatre, name: str) -> None:
        pass

    def ask(self, site: Theatre, name: str) -> Seen:
        seen = ask(site.server, self.path(name), JSON)
        site.answered[name] = seen.status
        return Seen(**{**vars(seen), "wrong": _judge_sentence(seen)})

    def path(self, name: str) -> str:
        return f"/simple/{name}/"

    def look_healed(self, site: Theatre, name: str) -> str:
        if site.answered[name] == 200:  # a page that could be read, however odd, is kept for its ten minutes
            return ""
        page, file = ask(site.server, f"/simple/{name}/", JSON), ask(site.server, file_of(name))
        if (page.status, file.body) != (200, site.liar.body(name)):
            return f"page {page.status} {page.reason}, file {file.status} {file.reason}"
        return ""

    def look_kept(self, site: Theatre, name: str, seen: Seen) -> str:
        copy = kept(site.server, name)
        if copy.exists() and sha256(copy.read_bytes()) != sha256(site.liar.body(name)):
            return "wrong bytes are kept"
        return f"a lie led to an address that the operator never named: {came}" if (came := site.came()) else ""


class PageTooLarge(PageOfLies):
    """A page that costs too much to read. It may be remembered as that, so that nobody pays for it over and over."""

    words = "a page that is larger than any is"
    recovery = "within 2 s, or within the 5 minutes that the sentence says, and the upstream is left alone until then"

    def look_healed(self, site: Theatre, name: str) -> str:
        asked = len(site.liar.asked_for(name))
        seen = ask(site.server, self.path(name), JSON)
        remembered = seen.status == WRONG and "asked for again in at most 5 minutes" in seen.reason
        if remembered and len(site.liar.asked_for(name)) == asked:
            return ""
        return super().look_healed(site, name)


class FileOfLies(PageOfLies):
    """A file whose page is right."""

    words = "a file"

    def path(self, name: str) -> str:
        return file_of(name)


def _judge_sentence(seen: Seen) -> str:
    if seen.status < 400:
        return ""
    problem = json.loads(seen.body)
    if problem["error"] != seen.status or not problem["reason"].isprintable() or "source" not in problem["reason"]:
        return f"no sentence that names the source: {seen.body[:300]!r}"
    return ""


def _told(of_pages: bool, name: str, lie: Lie | None) -> Fault:
    """``lie``: nothing: a redirect to where the name says."""

    @contextmanager
    def inject(site: Theatre, _name: str) -> Iterator[None]:
        lies_told = site.liar.pages if of_pages else site.liar.files
        lies_told[name] = lie or partial(lies.redirect, to=site.place(name.removeprefix("file-").removeprefix("to-")))
        try:
            yield
        finally:
            lies_told.pop(name)

    words = name.removeprefix("file-").replace("-", " ")
    if lie is None:
        place = name.removeprefix("file-").removeprefix("to-")
        words = f"a redirect to {_AT_A_WITNESS.get(place) or INNER[place]}"
    return Fault(name, words, "an upstream on raw sockets", inject)


def _step(name: str, of_pages: bool) -> PageOfLies:
    if name in TOO_LARGE:
        return PageTooLarge()
    return PageOfLies() if of_pages else FileOfLies()


def _row(name: str, lie: Lie | None, status: tuple[int, ...], *, within_s: float = 11.0, watched: bool = False) -> Row:
    of_pages = name not in FILES and not name.startswith("file-")
    says = "203 with a sign-in page" if name.endswith("203") else "source"
    return Row(
        group="upstream",
        fault=_told(of_pages, name, lie),
        step=_step(name, of_pages),
        expect=Expect(status, within_s, says=says, recovers_s=2.0),
        open_site=theatre,
        quick=True,
        at_once=not watched,
        watched=watched,
    )


def _code(code: int) -> Row:
    @contextmanager
    def inject(site: Theatre, name: str) -> Iterator[None]:
        site.liar.pages[name] = partial(lies.redirect, to=site.place("other-host"), code=code)
        try:
            yield
        finally:
            site.liar.pages.pop(name)

    fault = Fault(f"code-{code}", f"a {code} to another host", "an upstream on raw sockets", inject)
    return Row(
        group="upstream",
        fault=fault,
        step=PageOfLies(),
        expect=Expect((WRONG,), 5.0, says="source", recovers_s=2.0),
        open_site=theatre,
        quick=True,
        at_once=True,
    )


ROWS: list[Row] = [
    *(_row(name, lie, (status,)) for name, (lie, status) in SLOW_PAGES.items()),
    *(_row(name, lie, (UNAVAILABLE,)) for name, lie in {"file-hang": lies.hang, "file-drip-headers": lies.drip_headers}.items()),
    *(_row(name, lie, (status,)) for name, (lie, status) in PAGES.items() if name not in COSTLY),
    *(_row(name, lie, (status,)) for name, (lie, status) in FILES.items()),
    *(_row(f"to-{place}", None, (WRONG,), within_s=5.0) for place in (*INNER, *_AT_A_WITNESS)),
    *(_row(f"file-to-{place}", None, (WRONG,), within_s=5.0) for place in (*INNER, *_AT_A_WITNESS)),
    *map(_code, CODES),
    *(_row(name, PAGES[name][0], (PAGES[name][1],), watched=True) for name in COSTLY),
    *(_row(name, lie, (200, UNAVAILABLE, WRONG), watched=True) for name, lie in ODD_PAGES.items()),
]

_LYING = "tests/acceptance/test_lying_upstream.py::"
_FEED = "tests/acceptance/test_devops_failures.py::"
REFERENCES = [
    Reference(
        "upstream",
        "429 or 503 with a pause",
        "nobody asks again before it ends; 503 with a small `Retry-After`",
        _LYING + "test_a_pause_that_an_upstream_asks_for_is_kept",
    ),
    Reference(
        "upstream",
        "a pause of a day",
        "not passed on to installers, which would sleep as long",
        _LYING + "test_a_lasting_pause_is_not_passed_on_to_installers",
    ),
    Reference(
        "upstream",
        "nobody listens",
        "503, the reason phrase says so",
        _LYING + "test_a_dead_upstream_is_a_503_that_says_so_in_its_reason_phrase",
    ),
    Reference(
        "upstream",
        "a second answer behind the first, on a connection that is kept",
        "never taken for the next one",
        _LYING + "test_bytes_behind_an_answer_are_never_taken_for_the_next_one",
    ),
    Reference(
        "upstream",
        "entries that lie (38 of them), in JSON and HTML",
        "left out, the honest one stays",
        _LYING + "test_entries_that_lie_are_left_out_and_the_others_stay",
    ),
    Reference(
        "upstream",
        "mistyped optional fields (12)",
        "cost the field, not the file",
        _LYING + "test_mistyped_optional_fields_cost_the_field_and_not_the_file",
    ),
    Reference(
        "upstream",
        "a feed that refuses: 401, 403, 203, sign-in pages",
        "502 that names the connection and the remedy; no public index is asked",
        _FEED + "test_every_way_to_refuse_is_said_and_is_never_an_empty_page",
    ),
    Reference(
        "upstream",
        "an expired PAT",
        "said; heals when the secret is rotated in its place",
        _FEED + "test_an_expired_pat_is_said_and_rotating_it_in_its_place_heals",
    ),
    Reference(
        "upstream",
        "upstream down, then a restart",
        "what was seen installs for 24 hours",
        "tests/acceptance/test_over_time.py::test_after_a_restart_with_the_upstream_down_what_was_seen_installs",
    ),
    Reference(
        "upstream",
        "private upstream down, then a restart",
        "no public source answers in its place",
        "tests/acceptance/test_over_time.py::test_a_restarted_server_whose_private_source_is_down_lets_nobody_else_answer",
    ),
    Reference(
        "upstream",
        "other bytes under an old file name",
        "reach nobody; ALARM in the log, withheld by rule digest",
        "tests/acceptance/test_over_time.py::test_swapped_bytes_under_an_old_name_reach_nobody",
    ),
]
"""Played by tests that need more than one question and one answer."""
