"""Rules from outside: what is withheld, when it appears, how it is told, and how rules are read again."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from aiohttp import web

from tests.acceptance.configs import UPLOADS, index_source, uploads_and
from tests.support.bounds import AT_ONCE_S
from tests.support.gate import Gate
from tests.support.index import SIMPLE_JSON, FakeIndex
from tests.support.packages import metadata, wheel_bytes, wheel_name


def publish(index: FakeIndex, name: str, *versions: str, **entry: object) -> None:
    for version in versions:
        index.publish(name, wheel_name(name, version), wheel_bytes(name, version), metadata=metadata(name, version), **entry)


def versions(gate: Gate, project: str) -> list[str]:
    return [entry["filename"].split("-")[1] for entry in gate.page(project)["files"]]


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def until(condition: Callable[[], bool], wait_s: float = 8) -> float:
    """Wait for it; the moment at which it was seen."""
    deadline = time.monotonic() + wait_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)
    return time.time()


def test_a_file_appears_at_the_second_on_a_page_that_was_cached_before(start_gate: Callable[..., Gate], index: FakeIndex) -> None:
    gate = start_gate(uploads_and(index, fresh="1h") + '[policy]\ncooldown = "6s"\n')
    uploaded = datetime.now(UTC)
    publish(index, "idna", "1.0")
    publish(index, "idna", "2.0", upload_time=stamp(uploaded))
    assert versions(gate, "idna") == ["1.0"]
    etag = gate.get("/simple/idna/").headers["ETag"]
    path = f"/files/idna/{wheel_name('idna', '2.0')}"
    assert gate.get(path).status == 403
    seen = until(lambda: versions(gate, "idna") == ["1.0", "2.0"])
    assert 0 <= seen - (uploaded + timedelta(seconds=6)).timestamp() < AT_ONCE_S  # without, an hour
    assert gate.get(path).status == 200
    assert gate.get(f"{path}.metadata").status == 200
    assert gate.get("/simple/idna/", {"If-None-Match": etag}).status == 200
    assert index.count("/simple/idna/") == 1


def test_a_merge_serves_its_project_from_both_and_no_other(
    start_gate: Callable[..., Gate], index: FakeIndex, second_index: FakeIndex
) -> None:
    publish(second_index, "torch", "2.5.1+acme")
    publish(index, "torch", "2.4.0", "2.5.0", "3.0.0")
    for name in ("torchvision", "torch-more", "numpy"):
        publish(second_index, name, "1.0")
        publish(index, name, "99.0")
    merge = '[[policy.merge]]\nnames = ["torch"]\nsources = ["team", "public"]\npublic_versions = "<3"\n'
    gate = start_gate(UPLOADS + index_source(second_index, "team", private=True) + index_source(index) + merge)
    assert versions(gate, "torch") == ["2.5.1+acme", "2.4.0", "2.5.0"]
    for version in ("2.4.0", "2.5.1+acme"):
        assert gate.get(f"/files/torch/{quote(wheel_name('torch', version))}").status == 200
    beyond = gate.get(f"/files/torch/{wheel_name('torch', '3.0.0')}")
    assert beyond.status == 403
    assert "its policy.merge rule takes versions <3 alone from public sources" in beyond.reason
    for name in ("torchvision", "torch-more", "numpy"):
        assert versions(gate, name) == ["1.0"]
        assert gate.get(f"/files/{name}/{wheel_name(name, '99.0')}").status == 404
    assert {asked.path for asked in index.asked if asked.path.startswith("/simple/")} == {"/simple/torch/"}


def test_allow_deny_and_waivers(start_gate: Callable[..., Gate], index: FakeIndex) -> None:
    publish(index, "idna", "1.0", "2.0", "3.0")
    publish(index, "evil", "1.0")
    publish(index, "left-pad", "1.0")
    policy = """
    [policy]
    allow = ["idna", "ev*"]
    deny = ["evil", "idna<2"]
    [[policy.waiver]]
    name = "idna"
    version = "1.0"
    reason = "the old client"
    by = "ada"
    until = 2099-01-01
    """
    gate = start_gate(uploads_and(index) + policy)
    assert versions(gate, "idna") == ["1.0", "2.0", "3.0"]
    for name, why in {
        "evil": "policy.deny has evil: choose another, or ask for a policy.waiver",
        "left-pad": "policy.allow does not name it: choose another, or ask for left-pad to be added there",
    }.items():
        answer, sentence = gate.get(f"/simple/{name}/"), f"every file of {name} is withheld: {why}"
        assert (answer.status, answer.reason) == (403, sentence)
        told = json.loads(gate.get(f"/simple/{name}/", {"Accept": SIMPLE_JSON}).body)
        assert told["reason"] == sentence
        path = f"/files/{name}/{wheel_name(name, '1.0')}"
        assert gate.get(path).status == 403
        assert gate.get(path).reason.startswith(f"{wheel_name(name, '1.0')} is withheld: policy.")
        assert gate.get(f"{path}.metadata").status == 403
        assert gate.get(f"/files/{name}/{wheel_name(name, '2.0')}").status == 404
    metrics = gate.get("/metrics").body.decode()
    assert 'wheelgate_withheld_files_total{rule="deny",source="public"} 1.0' in metrics
    assert 'wheelgate_withheld_files_total{rule="allow",source="public"} 1.0' in metrics
    told = gate.run("explain", "idna").stdout
    assert "waiver: 1.0 until 2099-01-02 00:00:00Z, by ada: the old client" in told


def test_quarantine_and_other_statuses(start_gate: Callable[..., Gate], index: FakeIndex) -> None:
    publish(index, "idna", "1.0")

    def with_status(status: str) -> None:
        async def page(_request: web.BaseRequest) -> web.Response:
            entries = [published.entry for published in index.projects["idna"].values()]
            said = {"status": status, "reason": "mal\r\nware \u2603 " + "x" * 900}
            body = {"meta": {"api-version": "1.4"}, "name": "idna", "files": entries, "project-status": said}
            return web.Response(body=json.dumps(body).encode(), headers={"Content-Type": SIMPLE_JSON})

        index.handlers["/simple/idna/"] = page

    with_status("archived")
    gate = start_gate(uploads_and(index, fresh="1s"))
    assert gate.page("idna")["project-status"]["status"] == "archived"
    assert versions(gate, "idna") == ["1.0"]
    with_status("quarantined")
    until(lambda: gate.get("/simple/idna/").status == 403)
    answer = gate.get("/simple/idna/")
    assert answer.reason.startswith(
        "every file of idna is withheld: source public has put project idna into quarantine (mal ware"
    )
    assert len(answer.reason) <= 400
    assert answer.reason.isascii()
    assert gate.get(f"/files/idna/{wheel_name('idna', '1.0')}").status == 403


def test_sighup_reads_the_rules_again_and_a_broken_file_changes_nothing(
    start_gate: Callable[..., Gate], index: FakeIndex, second_index: FakeIndex
) -> None:
    publish(index, "idna", "1.0", "2.0")
    publish(index, "acme-lib", "1.0")
    publish(second_index, "torch", "1.0")
    publish(index, "torch", "2.0")
    base = UPLOADS + index_source(second_index, "team", private=True, fresh="1h") + index_source(index, fresh="1h")
    gate = start_gate(base)
    assert versions(gate, "idna") == ["1.0", "2.0"]
    assert versions(gate, "acme-lib") == ["1.0"]
    assert versions(gate, "torch") == ["1.0"]

    merge = '[[policy.merge]]\nnames = ["torch"]\nsources = ["team", "public"]\n'
    rules = '[policy]\ndeny = ["idna==2.0"]\nreserved = ["acme-*"]\n' + merge
    gate.config.write_text(f"[server]\nport = 9999\n{base}{rules}")
    gate.send(signal.SIGHUP)
    until(lambda: versions(gate, "idna") == ["1.0"])
    assert gate.get(f"/files/idna/{wheel_name('idna', '2.0')}").status == 403
    assert gate.get("/simple/acme-lib/").status == 404
    assert versions(gate, "torch") == ["1.0", "2.0"]
    assert "rules reloaded; changed: policy.reserved, policy.deny, policy.merge" in gate.log

    broken = base + '[policy]\ndeny = ["idna=2.0"]\ncooldown = "soon"\n'
    for text, problems in {
        broken: ["policy.deny[0]: must be a version", "policy.cooldown: must be a duration"],
        base.replace('"team"', '"crew"') + '[[policy.merge]]\nnames = ["x"]\nsources = ["crew", "public"]\n': [
            "policy.merge[0].sources: there is no source named crew"
        ],
        "[policy": [f"{gate.config}: is not valid TOML"],
        "": [f"{gate.config}: is empty"],
        "# no setting yet\n": [f"{gate.config}: is empty"],
    }.items():
        gate.config.write_text(text)
        gate.send(signal.SIGHUP)
        for problem in problems:
            until(lambda sentence=f"keeping the previous rules: {problem}": sentence in gate.log)  # type: ignore[misc]
        assert versions(gate, "idna") == ["1.0"]
        assert gate.get("/simple/acme-lib/").status == 404
    gate.config.unlink()
    gate.send(signal.SIGHUP)
    until(lambda: "there is no such file" in gate.log)
    assert versions(gate, "idna") == ["1.0"]

    gate.config.write_text(base.replace('fresh = "1h"', 'fresh = "2h"\ncooldown = "3650d"', 1))
    gate.send(signal.SIGHUP)
    until(lambda: gate.get("/simple/torch/").status == 403)
    assert versions(gate, "idna") == ["1.0", "2.0"]
    assert "changed settings that take effect after a restart: source[1].fresh" in gate.log
    assert "Traceback" not in gate.log


def test_explain_tells_every_source_every_withheld_file_and_one_version(
    start_gate: Callable[..., Gate], index: FakeIndex, second_index: FakeIndex
) -> None:
    young = datetime.now(UTC) - timedelta(hours=1)
    publish(index, "idna", "1.0")
    publish(index, "idna", "2.0", upload_time=stamp(young))
    team = index_source(second_index, "team", private=True)
    gate = start_gate(UPLOADS + team + index_source(index) + '[policy]\ncooldown = "3d"\n')
    told = json.loads(gate.get("/explain/idna").body)
    assert told["owner"] == "public"
    assert told["owner_since"]
    assert [(source["source"], source["outcome"]) for source in told["sources"]] == [
        ("uploads", "absent"),
        ("team", "absent"),
        ("public", "listed"),
    ]
    for source in told["sources"]:
        assert abs((datetime.fromisoformat(source["as_of"]) - datetime.now(UTC)).total_seconds()) < 30
    (withheld,) = told["withheld"]
    assert (withheld["file"], withheld["source"], withheld["rule"]) == (wheel_name("idna", "2.0"), "public", "cooldown")
    assert datetime.fromisoformat(withheld["until"]) == young + timedelta(days=3)
    assert told["changes_at"] == withheld["until"]

    one = json.loads(gate.get("/explain/idna?version=2").body)
    assert ([entry["file"] for entry in one["withheld"]], one["listed"]) == ([wheel_name("idna", "2.0")], [])
    run = gate.run("explain", "idna", "--version", "2.0")
    assert run.returncode == 1
    assert f"withheld (cooldown): {wheel_name('idna', '2.0')} of public: it was uploaded at" in run.stdout
    run = gate.run("explain", "idna", "--version", "1.0.0")
    assert run.returncode == 0
    assert f"served: {wheel_name('idna', '1.0')} of public, uploaded 2025-01-01 00:00:00Z" in run.stdout
    assert wheel_name("idna", "2.0") not in run.stdout
    run = gate.run("explain", "idna", "--version", "7")
    assert "no source that may answer has a file of version 7" in run.stdout
    assert run.returncode == 1
    asjson = json.loads(gate.run("explain", "idna", "--json").stdout)
    assert asjson["withheld"] == told["withheld"]
    everything = gate.run("explain", "idna").stdout
    assert "owner: public since " in everything
    assert "team (private): not there (asked at " in everything


def test_check_tells_what_a_cooldown_means_and_what_has_no_effect(start_gate: Callable[..., Gate], index: FakeIndex) -> None:
    publish(index, "pip", "1.0")
    policy = """
    [policy]
    cooldown = "3d"
    [[policy.waiver]]
    name = "idna"
    version = "1.0"
    reason = "it was needed"
    by = "ada"
    until = 2020-01-01
    """
    gate = start_gate(uploads_and(index) + policy)
    done = gate.run("check")
    assert done.returncode == 0
    said = "files are served 3d after their upload; the age of a file without an upload time counts from when it was first seen"
    assert f"ok    cool-down of source public: {said}" in done.stdout
    assert "cool-down of source uploads" not in done.stdout
    assert "warn  policy.waiver[0]: for idna expired at 2020-01-02 00:00Z: remove or renew it" in done.stdout
    found = json.loads(gate.run("check", "--json").stdout)
    assert [finding["what"] for finding in found if finding["doubtful"]] == ["policy.waiver[0]"]
