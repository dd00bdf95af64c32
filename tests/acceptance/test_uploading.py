"""Uploads by the programs people use, through the real server: what they are told, and what is on the page afterwards."""

from __future__ import annotations

import itertools
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest
from uv import find_uv_bin

from tests.acceptance.configs import uploads_and
from tests.support.attestations import attestation
from tests.support.clients import pip, uv
from tests.support.gate import WHEELGATE, Gate, environment
from tests.support.index import FakeIndex
from tests.support.packages import ODD_NAMES, make_wheel, odd_wheel, sdist_bytes, sha256, wheel_bytes
from tests.support.waiting import until
from wheelgate.core.names import normalise_name


@pytest.fixture
def gate(start_gate: Callable[..., Gate], index: FakeIndex) -> Gate:
    return start_gate(uploads_and(index))


def token(gate: Gate, *scopes: str, expires: str = "1d") -> str:
    made = gate.run("token", "new", *(part for scope in scopes for part in ("--scope", scope)), "--expires", expires)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def twine(gate: Gate, password: str, *files: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "twine", "--no-color", "upload", "--non-interactive", "--disable-progress-bar"]
    env = environment(gate.folder, TWINE_USERNAME="__token__", TWINE_PASSWORD=password, COLUMNS="300")
    return subprocess.run(
        [*command, "--repository-url", f"{gate.url}/legacy/", *files], capture_output=True, text=True, env=env, timeout=60
    )


def uv_publish(gate: Gate, password: str, *files: Path) -> subprocess.CompletedProcess[str]:
    command = [find_uv_bin(), "publish", "--publish-url", f"{gate.url}/legacy/", "--token", password, *files]
    return subprocess.run(command, capture_output=True, text=True, env=environment(gate.folder), timeout=60)


Upload = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.parametrize("upload", [twine, uv_publish])
def test_a_new_upload_the_same_again_and_other_bytes(gate: Gate, tmp_path: Path, upload: Upload) -> None:
    secret = token(gate, "upload")
    wheel = make_wheel(tmp_path / "one", "acme-up", "1.0")
    sdist = tmp_path / "one" / "acme_up-1.0.tar.gz"
    sdist.write_bytes(sdist_bytes("acme-up", "1.0"))
    done = upload(gate, secret, wheel, sdist)
    assert done.returncode == 0, done.stdout + done.stderr
    page = gate.page("acme-up")
    assert {entry["filename"] for entry in page["files"]} == {wheel.name, sdist.name}
    for entry in page["files"]:
        assert gate.get(entry["url"]).body == (tmp_path / "one" / entry["filename"]).read_bytes()
        assert entry["upload-time"].endswith("Z")
    assert gate.get(f"/files/acme-up/{wheel.name}.metadata").body.startswith(b"Metadata-Version")

    assert upload(gate, secret, wheel).returncode == 0
    other = make_wheel(tmp_path / "two", "acme-up", "1.0", requires=["idna"])
    refused = upload(gate, secret, other)
    assert refused.returncode != 0
    assert "File already exists" in refused.stdout + refused.stderr
    assert gate.get(f"/files/acme-up/{wheel.name}").body == wheel.read_bytes()


def test_who_may_not_upload_is_told_why_by_their_own_program(gate: Gate, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "acme-up", "1.0")
    revoked = token(gate, "upload")
    identifier = revoked.split("_")[1]
    assert identifier in gate.run("token", "list").stdout
    assert gate.run("token", "revoke", identifier).returncode == 0
    cases = {
        token(gate, "read"): "may read, not upload",
        token(gate, "upload:other-*"): "may not upload acme-up",
        token(gate, "upload", expires="1s"): "expired",
        revoked: "revoked",
        "wgt_mistyped": "not a Wheelgate token",
    }
    time.sleep(2.5)  # until the server has heard of all of them, and one has expired
    for secret, sentence in cases.items():
        done = uv_publish(gate, secret, wheel)
        assert done.returncode != 0
        assert sentence in done.stderr, (secret[:12], done.stderr)
        assert sentence in (said := twine(gate, secret, wheel)).stdout + said.stderr
    assert gate.get("/simple/acme-up/").status == 404


def wheel_add(gate: Gate, secret: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    env = environment(gate.folder, WHEELGATE_URL=gate.index_url, WHEELGATE_TOKEN=secret)
    return subprocess.run([WHEELGATE, "wheel", "add", *arguments], capture_output=True, text=True, env=env, timeout=60)


def test_wheel_add_through_the_running_server_needs_no_rights_on_the_store(gate: Gate, tmp_path: Path) -> None:
    add = partial(wheel_add, gate)
    wheel = make_wheel(tmp_path / "one", "acme-remote", "1.0")
    assert "a token is required" in add("", wheel).stderr
    secret = token(gate, "upload:acme-*")
    added = add(secret, wheel)
    assert added.returncode == 0, added.stderr
    url = added.stdout.strip()
    assert url.startswith(f"{gate.url}/files/acme-remote/{wheel.name}#sha256=")
    assert gate.get(url.removeprefix(gate.url).partition("#")[0]).body == wheel.read_bytes()
    assert add(secret, wheel).returncode == 1
    assert add(secret, "--exist-ok", wheel).returncode == 0
    other = make_wheel(tmp_path / "two", "acme-remote", "1.0", requires=["idna"])
    refused = add(secret, "--exist-ok", other)
    assert refused.returncode == 1
    assert refused.stderr.startswith("wheelgate: File already exists")
    foreign = add(secret, make_wheel(tmp_path, "foreign", "1.0"))
    assert "may not upload foreign" in foreign.stderr
    assert "Traceback" not in add(secret, tmp_path / "missing-1.0-py3-none-any.whl").stderr


@pytest.mark.parametrize(
    "upload", [twine, pytest.param(uv_publish, marks=pytest.mark.long), wheel_add], ids=lambda upload: upload.__name__
)
def test_a_file_name_survives_every_uploader_and_installs(gate: Gate, tmp_path: Path, home: Path, upload: Upload) -> None:
    secret = token(gate, "upload")
    for name, version, build in ODD_NAMES:
        wheel = odd_wheel(tmp_path / "dist", name, version, build)
        done = upload(gate, secret, wheel)
        assert done.returncode == 0, done.stdout + done.stderr
        if "has a non-normalized filename" in done.stderr:  # uv sends no such file
            assert wheel_add(gate, secret, wheel).returncode == 0
        project = normalise_name(name)
        assert wheel.name in {entry["filename"] for entry in gate.page(project)["files"]}
        for path in (wheel.name, quote(wheel.name, safe="")):
            assert gate.get(f"/files/{project}/{path}").body == wheel.read_bytes()
    name, version, _ = ODD_NAMES[0]
    pip(home, "install", "--index-url", gate.index_url, "--target", home / "pip", f"{name}=={version}")
    uv(home, "pip", "install", "--index-url", gate.index_url, "--target", home / "uv", f"{name}=={version}")


def test_wheel_add_takes_a_url_through_the_running_server(gate: Gate, second_index: FakeIndex) -> None:
    name, body = "acme_net-1.0-py3-none-any.whl", wheel_bytes("acme-net", "1.0", padding=700_000)
    second_index.publish("acme-net", name, body)
    secret = token(gate, "upload:acme-*")
    url = f"{second_index.origin}/packages/acme-net/{name}"
    wrong = wheel_add(gate, secret, f"{url}#sha256={'0' * 64}")
    assert wrong.returncode == 1
    assert "that its URL states" in wrong.stderr
    assert gate.page_names() == []
    added = wheel_add(gate, secret, url)
    assert added.returncode == 0, added.stderr
    assert added.stdout.strip() == f"{gate.url}/files/acme-net/{name}#sha256={sha256(body)}"
    assert gate.get(f"/files/acme-net/{name}").body == body
    assert all("Authorization" not in asked.headers for asked in second_index.asked)


def test_wheel_list_of_a_running_server(start_gate: Callable[..., Gate], index: FakeIndex, tmp_path: Path) -> None:
    gate = start_gate('[server]\nanonymous = "none"\n' + uploads_and(index))
    wheels = [make_wheel(tmp_path, "acme-one", "1.0"), make_wheel(tmp_path, "acme-two", "2.0")]
    assert gate.run("wheel", "add", *wheels).returncode == 0
    assert gate.run("wheel", "yank", wheels[1].name, "--reason", "odd").returncode == 0
    secret = token(gate, "read")  # serves from its first second on
    endings = itertools.cycle(["", "/", "/simple/", "/legacy/"])

    def listed(*arguments: str, secret: str = secret) -> subprocess.CompletedProcess[str]:
        env = environment(tmp_path, WHEELGATE_TOKEN=secret)
        command = [WHEELGATE, "wheel", "list", "--url", gate.url + next(endings), *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=env, timeout=60)

    rows = json.loads(listed("--json").stdout)
    assert rows == json.loads(gate.run("wheel", "list", "--json").stdout)
    assert [(row["project"], row["file"], row["version"], row["yanked"]) for row in rows] == [
        ("acme-one", wheels[0].name, "1.0", None),
        ("acme-two", wheels[1].name, "2.0", "odd"),
    ]
    assert rows[0]["size"] == wheels[0].stat().st_size
    assert rows[0]["sha256"] == sha256(wheels[0].read_bytes())
    assert rows[0]["uploaded"].endswith("Z")
    (line,) = listed("Acme.Two").stdout.splitlines()
    assert line.startswith(f"acme-two  {wheels[1].name}  2.0  {wheels[1].stat().st_size} bytes  20")
    assert line.endswith("yanked: odd")
    none = listed("acme-three")
    assert (none.returncode, none.stderr) == (0, "wheelgate: no files of acme-three\n")
    refused = listed(secret="wgt_mistyped")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "not a Wheelgate token" in refused.stderr
    assert listed(secret="").stderr == "wheelgate: a token is required: set WHEELGATE_TOKEN\n"


def test_reading_can_be_for_token_holders_alone(start_gate: Callable[..., Gate], index: FakeIndex, home: Path) -> None:
    import base64

    from tests.support.clients import pip, uv

    index.publish("acme-lib", "acme_lib-1.0-py3-none-any.whl", wheel_bytes("acme-lib", "1.0"))
    gate = start_gate('[server]\nanonymous = "none"\n' + uploads_and(index))
    for path in ("/simple/", "/simple/acme-lib/", "/simple/unknown/", "/files/acme-lib/acme_lib-1.0-py3-none-any.whl"):
        refused = gate.get(path)
        assert refused.status == 401, path
        assert refused.headers["WWW-Authenticate"].startswith("Basic ")
    assert index.asked == []  # refused before anything was looked up
    secret = token(gate, "read:acme-*")
    time_basic = base64.b64encode(f"anyone:{secret}".encode()).decode()
    for path in ("/simple/acme-lib/", "/files/acme-lib/acme_lib-1.0-py3-none-any.whl"):
        answer = gate.get(path, {"Authorization": f"Basic {time_basic}"})
        assert answer.status == 200
        assert answer.headers["Cache-Control"].startswith("private, ")  # no cache on the way may show it to anybody else
    assert gate.get("/simple/acme-lib/", {"Authorization": f"Bearer {secret}"}).status == 200
    assert gate.get("/simple/other/", {"Authorization": f"Bearer {secret}"}).status == 403
    assert gate.get("/livez").status == 200
    url = gate.index_url.replace("://", f"://build:{secret}@")
    pip(home, "download", "--no-deps", "--index-url", url, "-d", home / "out", "acme-lib")
    uv(home, "venv", "--python", sys.executable, home / "venv")
    install = ("pip", "install", "--no-cache", "--default-index", url, "acme-lib")
    uv(home, *install, env={"VIRTUAL_ENV": str(home / "venv")})
    assert secret not in gate.log


def test_malformed_uploads_are_refused_in_one_sentence(gate: Gate, tmp_path: Path) -> None:
    secret = token(gate, "upload")
    folder = tmp_path / "bad"
    broken = make_wheel(folder, "acme-bad", "1.0")
    broken.write_bytes(broken.read_bytes()[:-40])
    misnamed = folder / "acme_other-1.0-py3-none-any.whl"
    misnamed.write_bytes(wheel_bytes("acme-bad", "1.0"))
    for path, sentence in ((broken, "not a whole zip"), (misnamed, "METADATA")):
        done = wheel_add(gate, secret, path)
        assert done.returncode == 1
        assert done.stderr.startswith("wheelgate: ")
        assert done.stderr.count("\n") == 1
        assert sentence in done.stderr
    assert gate.page_names() == []


def test_the_store_keeps_its_own_copy_of_an_added_file(gate: Gate, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "acme-own", "1.0")
    original = wheel.read_bytes()
    assert gate.run("wheel", "add", wheel).returncode == 0
    with wheel.open("r+b") as file:
        file.write(b"scribble")
    stored = gate.data / "store" / "packages" / "acme-own" / wheel.name
    assert stored.read_bytes() == original


@pytest.mark.parametrize("remote", [pytest.param(False, marks=pytest.mark.long), True], ids=["store", "server"])
def test_yank_unyank_and_delete(gate: Gate, tmp_path: Path, remote: bool) -> None:
    wheel = make_wheel(tmp_path, "acme-life", "1.0")
    other = make_wheel(tmp_path / "other", "acme-life", "1.0", requires=["idna"])
    assert gate.run("wheel", "add", wheel).returncode == 0
    env = environment(tmp_path, WHEELGATE_URL=gate.url, WHEELGATE_TOKEN=token(gate, "upload:acme-*"))
    time.sleep(2.5)

    def run(*arguments: str, answer: str = "") -> subprocess.CompletedProcess[str]:
        if not remote and not answer:
            return gate.run("wheel", *arguments)
        where = [] if remote else ["-c", str(gate.config), "--data", str(gate.data)]
        given = env if remote else environment(tmp_path)
        command = [WHEELGATE, "wheel", *arguments, *where]
        return subprocess.run(command, capture_output=True, text=True, env=given, timeout=60, input=answer)

    def entry() -> dict[str, object]:
        time.sleep(0 if remote else 2.5)
        (only,) = gate.page("acme-life")["files"]
        return dict(only)

    assert run("yank", wheel.name, "--reason", "breaks on Tuesdays").returncode == 0
    assert entry()["yanked"] == "breaks on Tuesdays"
    assert run("unyank", wheel.name).returncode == 0
    assert "yanked" not in entry()
    missing = run("yank", "acme_life-2.0-py3-none-any.whl")
    assert missing.returncode == 1
    assert "the store has no file acme_life-2.0" in missing.stderr

    unasked = run("delete", wheel.name)
    assert unasked.returncode == 2
    assert "nobody can be asked: confirm with --yes" in unasked.stderr
    declined = run("delete", wheel.name, answer="n\n")
    assert declined.returncode == 1
    assert declined.stderr.endswith("wheelgate: nothing was deleted\n")
    assert "yanked" not in entry()
    assert run("delete", wheel.name, "--yes").returncode == 0
    time.sleep(2.5)
    assert gate.page("acme-life")["files"] == []
    assert gate.get(f"/files/acme-life/{wheel.name}").status == 404
    refused = gate.run("wheel", "add", other)
    assert "only the same bytes may return" in refused.stderr
    assert gate.run("wheel", "add", wheel).returncode == 0


def test_attestations_that_uv_sends_are_served_as_provenance(
    start_gate: Callable[..., Gate], index: FakeIndex, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    public = f"http://127.0.0.1:{port}/python"
    config = f'[server]\npublic_url = "{public}"\npath_prefix = "/python"\n' + uploads_and(index)
    gate = start_gate(config, "--port", str(port))
    assert gate.url == public
    wheel, plain = make_wheel(tmp_path, "acme-signed", "1.0"), make_wheel(tmp_path, "acme-signed", "2.0")
    sent = attestation(wheel.name, sha256(wheel.read_bytes()))
    (tmp_path / f"{wheel.name}.publish.attestation").write_text(json.dumps(sent))
    done = uv_publish(gate, token(gate, "upload"), *tmp_path.glob("acme_signed-*"))
    assert done.returncode == 0, done.stderr
    signed, unsigned = gate.page("acme-signed")["files"]
    assert "provenance" not in unsigned
    assert signed["provenance"] == f"{public}/files/acme-signed/{wheel.name}.provenance"
    assert f'data-provenance="{signed["provenance"]}"' in gate.get("/simple/acme-signed/").body.decode()

    path = signed["provenance"].removeprefix(public)
    answer = gate.get(path)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/vnd.pypi.integrity.v1+json"
    provenance = json.loads(answer.body)
    (bundle,) = provenance["attestation_bundles"]
    assert (provenance["version"], bundle["attestations"]) == (1, [sent])
    assert bundle["publisher"]["kind"] == "wheelgate-upload"
    assert gate.get(path, {"If-None-Match": answer.headers["ETag"]}).status == 304
    for missing in (f"{plain.name}.provenance", "acme_signed-3.0-py3-none-any.whl.provenance"):
        assert gate.get(f"/files/acme-signed/{missing}").status == 404
    assert gate.run("wheel", "delete", "--yes", wheel.name).returncode == 0
    time.sleep(2.5)
    assert gate.get(path).status == 404


def test_without_a_public_url_no_provenance_is_promised(gate: Gate, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "acme-signed", "1.0")
    (tmp_path / f"{wheel.name}.publish.attestation").write_text(json.dumps(attestation(wheel.name, sha256(wheel.read_bytes()))))
    assert uv_publish(gate, token(gate, "upload"), *tmp_path.glob("acme_signed-*")).returncode == 0
    (entry,) = gate.page("acme-signed")["files"]
    assert "provenance" not in entry
    assert gate.get(f"{entry['url']}.provenance").status == 404


def test_provenance_of_an_upstream_is_passed_on_as_it_is(gate: Gate, index: FakeIndex) -> None:
    name, url = "acme_up-1.0-py3-none-any.whl", "https://example.com/integrity/acme-up/1.0/provenance"
    index.publish("acme-up", name, wheel_bytes("acme-up", "1.0"), provenance=url)
    (entry,) = gate.page("acme-up")["files"]
    assert entry["provenance"] == url
    answer = gate.get(f"{entry['url']}.provenance")
    assert answer.status == 404
    assert url in answer.body.decode()


@pytest.mark.parametrize("to_server", [True, pytest.param(False, marks=pytest.mark.long)])
def test_attestations_beside_a_file_go_along_with_it(
    start_gate: Callable[..., Gate], index: FakeIndex, tmp_path: Path, to_server: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    gate = start_gate(f'[server]\npublic_url = "http://127.0.0.1:{port}"\n{uploads_and(index)}', "--port", str(port))
    secret = token(gate, "upload")
    folder = tmp_path / "di[s]t"
    wheel = make_wheel(folder, "acme-up", "1.0")
    plain = make_wheel(folder, "acme-plain", "1.0")
    kinds = ("publish", "slsa")
    sent = [attestation(wheel.name, sha256(wheel.read_bytes()), predicateType=f"https://example.com/{kind}") for kind in kinds]
    beside = [folder / f"{wheel.name}.{kind}.attestation" for kind in kinds]
    for path, one in zip(beside, sent, strict=True):
        path.write_text(json.dumps(one))

    def add(*files: Path) -> subprocess.CompletedProcess[str]:
        command = [WHEELGATE, "wheel", "add", *(() if to_server else ("-c", gate.config, "--data", gate.data)), *files]
        env = {"WHEELGATE_URL": gate.url, "WHEELGATE_TOKEN": secret} if to_server else {}
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment(gate.folder, **env))

    done = add(plain, *sorted(folder.glob("acme_up*")))  # as a shell makes it of dist/*
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 2
    until(lambda: gate.get(f"/files/acme-up/{wheel.name}.provenance").status == 200)
    provenance = json.loads(gate.get(f"/files/acme-up/{wheel.name}.provenance").body)
    assert provenance["attestation_bundles"][0]["attestations"] == sent
    assert gate.get(f"/files/acme-plain/{plain.name}.provenance").status == 404

    other = make_wheel(folder, "acme-up", "2.0")
    for wrong, sentence in {
        json.dumps(sent[0]): "its attestations are about",
        "no JSON": "its attestations are not a JSON list of attestations",
        " " * 300_000: "its attestations are larger than",
    }.items():
        (folder / f"{other.name}.publish.attestation").write_text(wrong)
        refused = add(other)
        assert refused.returncode == 1
        assert sentence in refused.stderr
        assert refused.stderr.count("\n") == 1
    alone = add(beside[0])
    assert (alone.returncode, alone.stdout) == (1, ""), "without its file it is none"


def test_attestations_of_another_file_are_refused_in_the_uploaders_own_words(gate: Gate, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "acme-signed", "1.0")
    (tmp_path / f"{wheel.name}.publish.attestation").write_text(json.dumps(attestation(wheel.name, "0" * 64)))
    done = uv_publish(gate, token(gate, "upload"), *tmp_path.glob("acme_signed-*"))
    assert done.returncode != 0
    assert "its attestations are about a file with another sha256" in done.stderr
    assert gate.page_names() == []


def test_a_disk_that_takes_nothing_fails_uploads_alone_and_readiness_says_so(
    start_gate: Callable[..., Gate], index: FakeIndex, tmp_path: Path
) -> None:
    """Were it not ready, its load balancer would send away everybody who installs, too."""
    disk = tmp_path / "gate0" / "data"
    disk.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk], check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        for number in (1, 2, 3):
            index.publish("idna", f"idna-{number}.0-py3-none-any.whl", wheel_bytes("idna", f"{number}.0"))
        gate = start_gate(uploads_and(index))
        secret = token(gate, "upload")
        wheel = make_wheel(tmp_path, "acme-up", "1.0")

        def state(number: int) -> tuple[int, dict[str, str], int, int]:
            ready = gate.get("/readyz")
            uploaded = uv_publish(gate, secret, wheel).returncode
            installed = gate.get(f"/files/idna/idna-{number}.0-py3-none-any.whl").status
            return ready.status, json.loads(ready.body), uploaded, installed

        spool = disk / "store" / ".spool"
        (disk / "filler").write_bytes(bytes(40 * 1024 * 1024))
        failing = {"status": "ready", "uploads": "fail: the spool takes nothing in; the server's log says why"}
        assert state(1) == (200, failing, 2, 200)
        assert f"uploads fail: the spool is full: make room at {spool}" in gate.log
        (disk / "filler").unlink()
        subprocess.run(["mount", "--bind", spool, spool], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", spool], check=True)
        assert state(2) == (200, failing, 2, 200)
        assert f"uploads fail: the spool at {spool} cannot be written" in gate.log
        subprocess.run(["umount", spool], check=True)
        assert state(3) == (200, {"status": "ready"}, 0, 200)
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
