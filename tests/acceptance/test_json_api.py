"""``/pypi/{project}/json`` of a running server, as older tools ask: Dependabot, poetry 1, pip-audit."""

from __future__ import annotations

import gzip
import http.client
import json
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.configs import UPLOADS, index_source
from tests.support.gate import Gate, gate
from tests.support.index import FakeIndex, running
from tests.support.packages import metadata, wheel_bytes, wheel_name
from tests.support.servers import installed

DEPENDABOT = {"Accept": "application/json", "User-Agent": "dependabot-core/0.3 excon/1.2", "Accept-Encoding": "deflate, gzip"}
POLICY = """
[policy]
reserved = ["acme-*"]
deny = ["evil", "requests==2.0"]
"""


def publish(index: FakeIndex, name: str, version: str, **entry: object) -> None:
    body = metadata(name, version, requires=["idna>=2 ; python_version > '3'"], requires_python=">=3.8")
    wheel = wheel_bytes(name, version, metadata_body=body)
    index.publish(name, wheel_name(name, version), wheel, metadata=body, requires_python=">=3.8", **entry)


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeIndex]:
    with running(FakeIndex()) as index:
        for version in ("1.0", "2.0", "3.0rc1"):
            publish(index, "requests", version)
        publish(index, "requests", "1.9", yanked="broken")
        publish(index, "evil", "1.0")
        publish(index, "left-pad", "1.0")
        publish(index, "down", "1.0")
        yield index


@pytest.fixture(scope="module")
def server(upstream: FakeIndex, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    settings = "[server]\npath_prefix = '/py'\n" + UPLOADS + index_source(upstream, "public") + POLICY
    with gate(tmp_path_factory.mktemp("server"), settings) as running_gate:
        yield running_gate


def ask(server: Gate, path: str, **headers: str) -> dict[str, Any]:
    answer = server.get(path, headers)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json"), answer.body[:300]
    told: dict[str, Any] = json.loads(answer.body)
    return told


def test_dependabot_reads_releases_with_their_times(server: Gate) -> None:
    """It makes ``/pypi/NAME/json`` of its index URL, and of each version reads the last file alone."""
    url = re.sub(r"/simple/?$", "/pypi/", server.index_url).removeprefix(server.url)
    answer = server.get(f"{url}requests/json", DEPENDABOT)
    assert (answer.status, answer.headers["Content-Encoding"]) == (200, "gzip")
    told = json.loads(gzip.decompress(answer.body))
    releases = {version: entries[-1] for version, entries in told["releases"].items() if entries}
    assert list(releases) == ["3.0rc1", "1.9", "1.0"], "2.0 is denied"
    assert {version: (entry["upload_time"], entry["yanked"]) for version, entry in releases.items()} == {
        "3.0rc1": ("2025-01-01T00:00:00", False),
        "1.9": ("2025-01-01T00:00:00", True),
        "1.0": ("2025-01-01T00:00:00", False),
    }
    assert told["info"]["version"] == "1.0", "the newest that is final and not yanked"
    assert told["info"]["summary"] == "made for a test"
    assert told["info"]["requires_dist"] == ["idna>=2 ; python_version > '3'"]
    assert told["urls"][0]["url"] == f"/py/files/requests/{wheel_name('requests', '1.0')}"
    assert server.get(told["urls"][0]["url"].removeprefix("/py")).status == 200


def test_pip_audit_and_others_ask_for_one_version(server: Gate) -> None:
    told = ask(server, "/pypi/requests/1.9/json")
    assert (told["info"]["version"], told["info"]["yanked"], told["info"]["yanked_reason"]) == ("1.9", True, "broken")
    assert told["vulnerabilities"] == []
    assert "releases" not in told
    assert ask(server, "/pypi/requests/3.0.rc.1/json")["info"]["version"] == "3.0rc1", "in any spelling"


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("/pypi/evil/json", 403, "every file of evil is withheld: policy.deny has evil"),
        ("/pypi/evil/1.0/json", 403, "every file of evil is withheld: policy.deny has evil"),
        ("/pypi/requests/2.0/json", 403, "requests 2.0 is withheld: policy.deny has requests==2.0"),
        ("/pypi/requests/7.0/json", 404, "project requests lists no file of a version 7.0"),
        ("/pypi/acme-lib/json", 404, "no private source has acme-lib, and acme-* is reserved for them"),
        ("/pypi/nothing/json", 404, "no source has a project nothing"),
    ],
)
def test_what_is_not_there_or_withheld_is_told_as_for_the_page(server: Gate, path: str, status: int, sentence: str) -> None:
    answer = server.get(path, DEPENDABOT)
    assert (answer.status, json.loads(answer.body)["reason"][: len(sentence)]) == (status, sentence)
    project = path.split("/")[2]
    if project != "requests":
        page = server.get(f"/simple/{project}/", DEPENDABOT)
        assert (page.status, page.reason) == (answer.status, answer.reason)


def test_an_upstream_that_is_down_is_no_absence(server: Gate, upstream: FakeIndex) -> None:
    upstream.down = True
    try:
        answers = [server.get(path) for path in ("/pypi/down/json", "/simple/down/")]
    finally:
        upstream.down = False
    assert [answer.status for answer in answers] == [503, 503]
    assert all("Retry-After" in answer.headers for answer in answers)


def test_names_heads_and_conditions_are_as_everywhere(server: Gate) -> None:
    moved = server.get("/pypi/Left_Pad/1.0/json?x=1")
    assert (moved.status, moved.headers["Location"]) == (301, "/py/pypi/left-pad/1.0/json?x=1")
    assert server.get("/pypi/left-pad/json/?ignored").status == 200, "a slash at the end is fine, as on PyPI"
    whole = server.get("/pypi/left-pad/json")
    head = server.get("/pypi/left-pad/json", method="HEAD")
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(whole.body)))
    assert whole.headers["Cache-Control"] == "no-cache"
    assert (whole.headers["Vary"], "Age" in whole.headers) == ("Accept-Encoding", True)
    held = server.get("/pypi/left-pad/json", {"If-None-Match": whole.headers["ETag"]})
    assert (held.status, held.body, held.headers["ETag"]) == (304, b"", whole.headers["ETag"])
    assert server.get("/pypi/left-pad/json", method="POST").status == 405
    for nothing in (
        "/pypi/left-pad",
        "/pypi/left-pad/1.0",
        "/pypi/left-pad/1.0/2.0/json",
        "/pypi/left-pad/a%2Fb/json",
        "/pypi/-/json",
    ):
        assert server.get(nothing).status == 404, nothing


def test_the_second_answer_comes_from_memory(server: Gate, upstream: FakeIndex) -> None:
    def warm() -> float:
        found = re.search(r"^wheelgate_warm_requests_total (\S+)", server.get("/metrics").body.decode(), re.MULTILINE)
        return float(found[1]) if found else 0.0

    kept = http.client.HTTPConnection(server.url.removeprefix("http://").partition("/")[0])

    def again() -> bytes:
        kept.request("GET", "/py/pypi/requests/1.0/json")
        return kept.getresponse().read()

    first = again()
    again()
    asked, before = len(upstream.asked), warm()
    assert {again() for _ in range(3)} == {first}
    assert (len(upstream.asked), warm()) == (asked, before + 3)
    kept.close()


def test_where_a_token_is_needed_it_is_needed_here(upstream: FakeIndex, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    public = f"http://localhost:{port}/py"
    settings = f'[server]\nanonymous = "none"\npublic_url = "{public}"\npath_prefix = "/py"\n{index_source(upstream, "public")}'
    with gate(tmp_path / "closed", settings, ["--port", str(port)]) as closed:
        minted = closed.run("token", "new", "--scope", "read:left-*").stdout
        token = {"Authorization": f"Bearer {re.findall('wgt_[^ ]+', minted)[0].strip()}"}
        refused = closed.get("/pypi/left-pad/json")
        assert (refused.status, "WWW-Authenticate" in refused.headers) == (401, True)
        assert closed.get("/pypi/requests/json", token).status == 403
        answer = closed.get("/pypi/left-pad/json", token)
        assert (answer.status, answer.headers["Cache-Control"]) == (200, "private, no-cache")
        link = json.loads(answer.body)["urls"][0]["url"]
        assert link == f"{public}/files/left-pad/{wheel_name('left-pad', '1.0')}", "readers of this API make nothing absolute"


POETRY = """
import sys, json
from poetry.repositories.pypi_repository import PyPiRepository
from poetry.core.packages.dependency import Dependency
repository = PyPiRepository(url=sys.argv[1], disable_cache=True, fallback=False)
package = repository.package("left-pad", repository.find_packages(Dependency("left-pad", "*"))[0].version)
needed = [requirement.to_pep_508() for requirement in package.requires]
print(json.dumps([package.pretty_name, str(package.version), package.python_versions, needed]))
"""


@pytest.mark.long
@pytest.mark.public
@pytest.mark.timeout(600)
def test_poetry_1_reads_what_it_takes_for_pypi(server: Gate, tmp_path: Path) -> None:
    """Its reader of PyPI, pointed here: it has another one for indexes, which reads pages."""
    python = installed("poetry-1.8", "poetry==1.8.5") / "python"
    done = subprocess.run([python, "-c", POETRY, f"{server.url}/"], capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2_000:]
    assert json.loads(done.stdout) == ["left-pad", "1.0", ">=3.8", ['idna (>=2) ; python_version > "3"']]
