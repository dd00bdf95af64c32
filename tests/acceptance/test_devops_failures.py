"""A feed that refuses us, throttles us or is not there: said plainly, never taken for an empty feed, healed without a restart."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from aiohttp import web

from tests.support import devops
from tests.support.clients import pip, uv
from tests.support.company import PAT, TEAM_URL, Company, company, connection
from tests.support.devops import HOST, Mood
from tests.support.entra import managed_identity
from tests.support.gate import Gate, gate
from tests.support.lies import wait_until
from tests.support.packages import wheel_bytes, wheel_name

REFUSED = f"connection acme was refused by {HOST}: "
NEW_PAT = "canary-pat-that-was-rotated-0123456789"


@pytest.fixture
def acme(tmp_path: Path) -> Iterator[Company]:
    with company(tmp_path / "company") as made:
        # Whoever would ask the public index for a private name would get this.
        made.public.publish("acme-lib", wheel_name("acme-lib", "99.0"), wheel_bytes("acme-lib", "99.0"))
        yield made


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Gate]]:
    """Starts servers with an environment: ``start(config, NAME=value)``."""
    with ExitStack() as stack:
        count = iter(range(100))
        yield lambda config, **env: stack.enter_context(gate(tmp_path / f"gate{next(count)}", config, env=env))


def metric(gate: Gate, name: str, *labels: str) -> float:
    """A metric's value; 0 if nothing was counted yet."""
    for line in gate.get("/metrics").body.decode().splitlines():
        if line.startswith(name) and all(label in line for label in labels):
            return float(line.rpartition(" ")[2])
    return 0.0


def assert_nobody_public_was_asked(acme: Company) -> None:
    assert not [asked for asked in acme.public.asked if "acme" in asked.path]


def _sign_in_page(status: int) -> Mood:
    return lambda request: devops.sign_in_page(status)


def _sign_in_page_for_files(request: web.BaseRequest) -> web.Response | None:
    return devops.sign_in_page(200) if "/download/" in request.path else None


MOODS: list[tuple[str, Mood, str]] = [
    ("401", lambda request: devops.challenge(""), "the credential is wrong, has expired, or is one of another organisation"),
    (
        "another organisation",
        lambda request: devops.challenge(),
        "not valid in that organisation: the PAT is mistyped, revoked or of another one",
    ),
    ("203", _sign_in_page(203), "it sent its sign-in page"),
    ("sign-in page with 200", _sign_in_page(200), "it sent its sign-in page"),
    ("redirect to sign-in", devops.to_sign_in, "it sent its sign-in page"),
    ("403", lambda request: devops.needs("ReadPackages"), "the identity may not read this feed: make it a Reader"),
    ("403 of a Reader", lambda request: devops.needs("AddUpstreamPackage"), "needs Feed and Upstream Reader"),
]


@pytest.mark.parametrize(("mood", "why"), [pytest.param(mood, why, id=name) for name, mood, why in MOODS])
def test_every_way_to_refuse_is_said_and_is_never_an_empty_page(
    acme: Company, start: Callable[..., Gate], mood: Mood, why: str
) -> None:
    gate = start(acme.config(TEAM_URL, connection()), ACME_PAT=PAT)
    acme.devops.mood = mood
    answer = gate.get("/simple/acme-lib/")
    assert answer.status == 502
    assert answer.reason.startswith(REFUSED)
    assert why in answer.reason
    assert acme.devops.activity in gate.log
    assert REFUSED in gate.log
    assert metric(gate, "wheelgate_connection_refused_total", 'connection="acme"', f'host="{HOST}"') >= 1
    tried = gate.run("connection", "test", "acme")
    assert tried.returncode == 1
    assert REFUSED in tried.stdout
    assert why in tried.stdout
    assert_nobody_public_was_asked(acme)
    acme.devops.mood = None
    assert len(gate.page("acme-lib")["files"]) == 2


@pytest.mark.parametrize(
    ("state", "why"), [("expired", "the PAT has expired: make a new one"), ("no scope", "lacks the scope Packaging (Read)")]
)
@pytest.mark.parametrize("place", ["file", pytest.param("secrets.toml", marks=pytest.mark.long)])
def test_an_expired_pat_is_said_and_rotating_it_in_its_place_heals(
    acme: Company, start: Callable[..., Gate], tmp_path: Path, home: Path, state: str, why: str, place: str
) -> None:
    kept = tmp_path / "pat"
    kept.write_text(PAT)
    if place == "file":
        gate = start(acme.config(TEAM_URL, connection(value=f"file:{kept}")))

        def rotate(pat: str) -> None:
            kept.write_text(pat)
    else:
        gate = start(acme.config(TEAM_URL, connection(value="secret:acme")))
        secrets = gate.data / "secrets.toml"

        def rotate(pat: str) -> None:
            secrets.parent.mkdir(parents=True, exist_ok=True)
            secrets.touch(mode=0o600)
            secrets.write_text(f'acme = "{pat}"\n')

        rotate(PAT)
    pats = acme.devops.organisation("acme").pats
    pats[PAT] = state
    answer = gate.get("/simple/acme-lib/")
    assert answer.status == 502
    assert answer.reason.startswith(REFUSED)
    assert why in answer.reason
    pip(home, "download", "--retries", "0", "--no-deps", "--index-url", gate.index_url, "-d", home / "out", "acme-lib", ok=False)
    uv(home, "pip", "install", "--index-url", gate.index_url, "--target", home / "uv", "acme-lib", ok=False)
    assert REFUSED in gate.run("connection", "test", "acme").stdout
    assert_nobody_public_was_asked(acme)

    pats[NEW_PAT] = "good"
    rotate(NEW_PAT)
    pip(home, "download", "--no-deps", "--index-url", gate.index_url, "-d", home / "out", "acme-lib")
    assert (home / "out" / "acme_lib-2.0-py3-none-any.whl").exists()
    assert gate.run("connection", "test", "acme").returncode == 0
    assert_nobody_public_was_asked(acme)


def test_the_last_good_page_and_the_kept_file_stand_in_while_the_pat_is_refused(
    acme: Company, start: Callable[..., Gate], home: Path
) -> None:
    gate = start(acme.config(TEAM_URL, connection()), ACME_PAT=PAT)
    pip(home, "download", "--no-deps", "--index-url", gate.index_url, "-d", home / "before", "acme-lib")
    acme.devops.organisation("acme").pats[PAT] = "expired"
    pip(home, "download", "--no-cache-dir", "--no-deps", "--index-url", gate.index_url, "-d", home / "after", "acme-lib")
    assert (home / "after" / "acme_lib-2.0-py3-none-any.whl").exists()
    assert REFUSED in gate.log
    assert metric(gate, "wheelgate_stale_pages_total", 'source="team-feed"') >= 1
    assert gate.get("/simple/nobody-asked-for-this/").status == 502
    assert_nobody_public_was_asked(acme)


def test_a_sign_in_page_in_place_of_a_file_is_no_file(acme: Company, start: Callable[..., Gate]) -> None:
    acme.devops.mood = _sign_in_page_for_files
    gate = start(acme.config(TEAM_URL, connection()), ACME_PAT=PAT)
    (first, _) = gate.page("acme-lib")["files"]
    answer = gate.get(first["url"])
    assert answer.status == 502
    assert b"Sign In" not in answer.body


def test_a_download_that_is_refused_is_said_like_a_page(acme: Company, start: Callable[..., Gate]) -> None:
    acme.devops.mood = lambda request: devops.challenge() if "/download/" in request.path else None
    gate = start(acme.config(TEAM_URL, connection()), ACME_PAT=PAT)
    (first, _) = gate.page("acme-lib")["files"]
    answer = gate.get(first["url"])
    assert answer.status == 502
    assert answer.reason.startswith(REFUSED)
    assert REFUSED in gate.log
    assert metric(gate, "wheelgate_connection_refused_total", 'connection="acme"') >= 1


def test_a_refusal_in_the_middle_of_an_outage_is_in_the_log_too(acme: Company, start: Callable[..., Gate]) -> None:
    gate = start(acme.config(TEAM_URL, connection()), ACME_PAT=PAT)
    acme.devops.mood = lambda request: web.Response(status=500)
    assert gate.get("/simple/acme-lib/").status == 503
    assert REFUSED not in gate.log
    acme.devops.mood = None
    acme.devops.organisation("acme").pats[PAT] = "expired"
    assert gate.get("/simple/acme-lib/").status == 502
    assert REFUSED + "the PAT has expired" in gate.log
    lines = gate.log.count(REFUSED)
    for _ in range(5):
        gate.get("/simple/acme-lib/")
    assert gate.log.count(REFUSED) == lines, "the same refusal again is no news"


def test_a_feed_that_is_not_there_is_a_failure_and_says_nothing_about_projects(acme: Company, start: Callable[..., Gate]) -> None:
    gate = start(acme.config(TEAM_URL.replace("/team/", "/taem/"), connection()), ACME_PAT=PAT)
    answer = gate.get("/simple/acme-lib/")
    assert answer.status == 502
    assert "there is no such feed" in answer.reason
    assert_nobody_public_was_asked(acme)


def test_a_project_that_the_feed_does_not_have_is_asked_of_the_public_index(acme: Company, start: Callable[..., Gate]) -> None:
    gate = start(acme.config(TEAM_URL, connection()), ACME_PAT=PAT)
    assert [file["filename"] for file in gate.page("idna")["files"]] == ["idna-3.20-py3-none-any.whl"]


def test_without_a_connection_the_sentence_says_which_is_missing(acme: Company, start: Callable[..., Gate]) -> None:
    gate = start(acme.config(TEAM_URL, connection(f"https://{HOST}/other")), ACME_PAT=PAT)
    answer = gate.get("/simple/acme-lib/")
    assert answer.status == 502
    assert f"no connection is stored for {TEAM_URL}acme-lib/" in answer.reason
    assert acme.devops.authorisations == set()
    assert_nobody_public_was_asked(acme)


def test_a_throttled_feed_is_left_alone_as_long_as_it_asks(acme: Company, start: Callable[..., Gate]) -> None:
    gate = start(acme.config(TEAM_URL, connection()), ACME_PAT=PAT)
    gate.page("acme-lib")
    assert metric(gate, "wheelgate_upstream_requests_left", 'source="team-feed"') == 4321
    acme.devops.mood = lambda request: devops.throttled(3)
    answer = gate.get("/simple/acme-tool/")
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) <= 5
    assert metric(gate, "wheelgate_upstream_requests_left", 'source="team-feed"') == 0
    assert metric(gate, "wheelgate_upstream_paused_seconds", 'source="team-feed"') == 3
    assert acme.devops.activity in gate.log
    asked = len(acme.devops.asked)
    acme.devops.mood = None
    assert gate.get("/simple/acme-tool/").status == 503
    assert gate.get("/simple/acme-lib/").status == 200, "its last good page stands in"
    assert len(acme.devops.asked) == asked
    wait_until(lambda: gate.get("/simple/acme-lib/").status == 200 and len(acme.devops.asked) > asked, 8)
    assert_nobody_public_was_asked(acme)


# ---- tokens --------------------------------------------------------------------------------------------------------------------


def test_a_thousand_requests_while_the_token_is_renewed_make_one_token_request(acme: Company, start: Callable[..., Gate]) -> None:
    for number in range(50):
        acme.team.publish(f"acme-{number}", "1.0")
    with managed_identity() as identity:
        identity.life_s = 4  # azure-identity pauses half a minute between two early renewals, so let this one end
        gate = start(acme.config(TEAM_URL, connection(auth_type="ManagedIdentity")), **identity.environment)
        gate.page("acme-lib")
        assert identity.token_requests == 1
        identity.life_s = 3_600
        time.sleep(5)
        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(lambda number: gate.get(f"/simple/acme-{number % 50}/").status, range(1_000)))
        assert set(answers) == {200}
        assert identity.token_requests == 2
        assert acme.devops.authorisations == {f"Bearer {token}" for token in identity.tokens}


def test_an_identity_that_the_organisation_does_not_know_is_said_so(acme: Company, start: Callable[..., Gate]) -> None:
    acme.devops.organisation("acme").members.clear()
    with managed_identity() as identity:
        gate = start(acme.config(TEAM_URL, connection(auth_type="ManagedIdentity")), **identity.environment)
        answer = gate.get("/simple/acme-lib/")
    assert answer.status == 502
    assert answer.reason.startswith(REFUSED + "not valid in that organisation: the PAT is mistyped, revoked or of another one")


def test_a_machine_without_an_identity_is_said_so_and_nobody_is_asked(acme: Company, start: Callable[..., Gate]) -> None:
    env = {"AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential"}
    gate = start(acme.config(TEAM_URL, connection(auth_type="ManagedIdentity")), **env)
    answer = gate.get("/simple/acme-lib/")
    assert answer.status == 502
    assert "connection acme has no token: this machine has no identity" in answer.reason
    assert acme.devops.asked == []
    assert_nobody_public_was_asked(acme)


# ---- `check` -------------------------------------------------------------------------------------------------------------------


def test_check_warns_of_a_feed_that_answers_for_public_names(acme: Company, start: Callable[..., Gate]) -> None:
    gate = start(acme.config(TEAM_URL, connection()), ACME_PAT=PAT)
    assert "public names" not in gate.run("check").stdout
    acme.team.publish("pip", "26.0")
    told = gate.run("check")
    assert told.returncode == 0
    (line,) = [line for line in told.stdout.splitlines() if "team-feed" in line]
    assert "also answers for public names (it has pip)" in line
    assert "upstream sources" in line


def test_check_names_the_files_that_no_connection_covers(acme: Company, start: Callable[..., Gate]) -> None:
    """A page may be open to us by its own path alone, with its files in another organisation's or a named one's."""
    acme.team.publish("pip", "26.0")
    page = f"https://{HOST}/acme/_packaging/team/pypi/simple/"
    gate = start(acme.config(page, connection(page)), ACME_PAT=PAT)
    assert "no connection" not in gate.run("check").stdout, "its own links are covered"
    link = f"https://{HOST}/acme/_packaging/team/pypi/download/pip/26/pip-26.0-py3-none-any.whl"

    def named(request: web.BaseRequest) -> web.Response | None:
        body = f'<html><body><h1>Links for pip</h1><a href="{link}">pip-26.0-py3-none-any.whl</a></body></html>'
        return web.Response(text=body, content_type="text/html") if request.path.endswith("/pip/") else None

    acme.devops.mood = named
    told = gate.run("check")
    assert told.returncode == 1
    assert re.search(
        r"FAIL.*team-feed.*no connection covers pip-26.* target https://pkgs\.dev\.azure\.com/acme/_packaging/team/pypi would",
        told.stdout,
    ), told.stdout


# ---- the connections folder ------------------------------------------------------------------------------------------------


def test_a_connection_stored_while_the_server_runs_takes_effect_and_a_broken_one_changes_nothing(
    acme: Company, start: Callable[..., Gate]
) -> None:
    gate = start(acme.config(TEAM_URL, ""), ACME_PAT=PAT)
    assert gate.get("/simple/acme-lib/").status == 502
    folder = gate.data / "connections"
    folder.mkdir(parents=True)
    stored = f"name: acme\ntype: python_feed\ntarget: https://{HOST}/acme\nauthType: pat\nvalue: env:ACME_PAT\n"
    (folder / "acme.yml").write_text(stored)
    wait_until(lambda: gate.get("/simple/acme-lib/").status == 200, 8)

    (folder / "broken.yml").write_text(stored)  # for the same place as the other
    wait_until(lambda: "keeping the previous connections" in gate.log, 8)
    assert gate.get("/simple/acme-lib/").status == 200
    (folder / "broken.yml").unlink()

    acme.team.publish("acme-two", "1.0")

    def is_asked_without() -> bool:
        gate.get("/simple/acme-two/")
        return "Authorization" not in acme.devops.asked[-1].headers

    assert not is_asked_without()
    (folder / "acme.yml").unlink()
    wait_until(is_asked_without, 15)  # while its page stands in, it is asked every five seconds
    assert_nobody_public_was_asked(acme)
