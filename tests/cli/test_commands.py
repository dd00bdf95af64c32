"""The commands as people run them: right and wrong, always one clear sentence, never a traceback."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web

from tests.acceptance.configs import UPLOADS, index_source, uploads_and
from tests.support.gate import WHEELGATE, Gate, environment
from tests.support.index import FakeIndex
from tests.support.packages import make_wheel, sdist_bytes, sha256, wheel_bytes, wheel_name


def run(home: Path, *arguments: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [WHEELGATE, *arguments], capture_output=True, text=True, timeout=30, env=environment(home, **env), cwd=home
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done


def config_file(home: Path, text: str) -> Path:
    path = home / "wheelgate.toml"
    path.write_text(text)
    return path


def test_help_names_every_command(home: Path) -> None:
    told = run(home, "--help").stdout
    for command in ("serve", "check", "connection", "wheel", "explain", "token"):
        assert command in told
        assert run(home, command, "--help").returncode == 0


def test_version(home: Path) -> None:
    assert run(home, "--version").stdout.startswith("wheelgate 0.")


@pytest.mark.parametrize(
    "arguments", [("frobnicate",), ("serve", "--nonsense"), ("serve", "--port", "x"), ("wheel", "add"), ("explain",)]
)
def test_wrong_usage_is_status_2(home: Path, arguments: tuple[str, ...]) -> None:
    done = run(home, *arguments)
    assert done.returncode == 2
    assert "Usage:" in done.stderr


def test_every_wrong_setting_is_named_at_once(home: Path) -> None:
    path = config_file(home, '[server]\nprt = 1\nhost = "0.0.0.0"\n[[source]]\nname = "A"\ntype = "index"\nurl = "ftp://x"\n')
    done = run(home, "serve", "-c", path)
    assert done.returncode == 2
    assert "server.prt: unknown setting; did you mean port?" in done.stderr
    done = run(home, "check", "-c", config_file(home, path.read_text().replace("prt = 1\n", "")))
    assert done.returncode == 2
    for sentence in ("server.anonymous: must be set", "source[0].name: must consist of", "source[0].url: cannot be used"):
        assert sentence in done.stderr


def test_a_missing_or_broken_file(home: Path) -> None:
    assert "there is no such file" in run(home, "serve", "-c", home / "nowhere.toml").stderr
    done = run(home, "serve", "-c", config_file(home, "[server\n"))
    assert done.returncode == 2
    assert "is not valid TOML" in done.stderr


def test_a_name_in_a_message_sends_no_terminal_codes(home: Path) -> None:
    (home / "requirements.txt").write_text("-r a\x1b[2Jb\x9b\n")
    done = run(home, "mirror", "requirements.txt", "--to", "file:./out", "--platform", "linux-x86_64", "--python", "3.12")
    assert done.returncode == 1
    assert "there is no such file" in done.stderr
    assert done.stderr.replace("\n", "").isprintable()


def test_beyond_this_machine_serve_wants_to_be_told_who_may_read(home: Path) -> None:
    done = run(home, "serve", "--host", "0.0.0.0")
    assert done.returncode == 2
    assert 'anonymous = "read"' in done.stderr
    assert 'anonymous = "none"' in done.stderr


def test_a_taken_port_is_one_sentence(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run(home, "serve", "--data", home / "data", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert "address already in use; choose another with --port" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_one_sentence(home: Path) -> None:
    (home / "file").write_text("not a folder")
    done = run(home, "serve", "--port", "0", "--data", home / "file" / "data")
    assert done.returncode == 1
    assert done.stderr.startswith("wheelgate: the store at ")
    assert done.stderr.count("\n") == 1


def test_unreadable_tls_files_are_one_sentence(home: Path) -> None:
    (home / "cert.pem").write_text("nonsense")
    done = run(home, "serve", "--data", home / "d", "--tls-cert", home / "cert.pem", "--tls-key", home / "missing.pem")
    assert done.returncode == 2
    assert "server.tls_cert, server.tls_key" in done.stderr
    assert run(home, "serve", "--tls-cert", home / "cert.pem").returncode == 2


def test_check_and_serve_want_certificates_that_can_be_read(home: Path) -> None:
    (home / "bad.pem").write_text("nonsense")
    for line, sentence in {
        'ca_file = "missing.pem"': "missing.pem: there is no such file",
        'ca_file = "bad.pem"': "bad.pem holds no readable certificates",
        'tls_cert = "missing.pem"\ntls_key = "bad.pem"': "no such file",
    }.items():
        path = config_file(home, f"[server]\n{line}\n")
        for command in (["check"], ["serve", "--port", "0"]):
            done = run(home, *command, "-c", path, "--data", home / "data")
            assert done.returncode == 2, line
            assert sentence in done.stderr
            assert done.stderr.count("\n") == 1


def test_serve_says_what_to_paste_and_where_things_lie(start_gate: Callable[..., Gate], index: FakeIndex) -> None:
    gate = start_gate(uploads_and(index))
    for line in (
        f"Wheelgate serves {gate.index_url}",
        f"pip install --index-url {gate.index_url} PACKAGE",
        f"uv pip install --default-index {gate.index_url} PACKAGE",
        "uploads: private, the store",
        f"public: public, {index.url}",
        str(gate.data / "store"),
    ):
        assert line in gate.log


def test_sigterm_and_sigint_end_it_cleanly(start_gate: Callable[..., Gate], index: FakeIndex) -> None:
    for how in (signal.SIGTERM, signal.SIGINT):
        gate = start_gate(uploads_and(index))
        assert gate.stop(how) == 0
        assert "stopping" in gate.log
        assert gate.log.endswith("stopped\n")
        assert "Traceback" not in gate.log
        assert list((gate.data / "store" / ".spool").iterdir()) == []


def test_json_logs_are_json_and_carry_request_ids(start_gate: Callable[..., Gate], index: FakeIndex) -> None:
    gate = start_gate(uploads_and(index), "--log-format", "json")
    assert gate.get("/simple/nothing-here/", {"X-Request-ID": "from-the-balancer"}).headers["X-Request-ID"] == "from-the-balancer"
    assert (
        gate.get("/simple/nothing-here/", {"X-Request-ID": "no spaces, please\t"}).headers["X-Request-ID"] != "no spaces, please"
    )
    gate.get("/favicon.ico?token=secret")
    gate.stop()
    lines = [json.loads(line) for line in gate.log.splitlines()]  # the first and the last too
    assert lines[0]["message"] == f"Wheelgate serves {gate.index_url}"
    assert lines[-1]["message"] == "stopped"
    assert "secret" not in gate.log
    assert next(line for line in lines if line.get("route") == "nothing")["path"] == "/favicon.ico"
    entry = next(line for line in lines if line.get("request_id") == "from-the-balancer")
    assert entry["status"] == 404
    assert (entry["project"], entry["path"]) == ("nothing-here", "/simple/nothing-here/")
    assert entry["time"].endswith("Z")


def test_metrics_count_by_route_and_source(start_gate: Callable[..., Gate], index: FakeIndex) -> None:
    gate = start_gate(uploads_and(index))
    gate.get("/simple/nothing-here/")
    text = gate.get("/metrics").body.decode()
    assert 'wheelgate_requests_total{route="project",status="404"} 1.0' in text
    assert 'wheelgate_upstream_requests_total{outcome="404",source="public"} 1.0' in text
    assert "nothing-here" not in text


def test_check_tries_every_source(home: Path, index: FakeIndex) -> None:
    (home / "wheels").mkdir()
    folder = '[[source]]\nname = "shared"\ntype = "directory"\nurl = "file:./wheels"\n'
    path = config_file(home, UPLOADS + folder + index_source(index))
    done = run(home, "check", "-c", path, "--data", home / "data")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok    source public (public): answers" in done.stdout
    assert "ok    source shared (private): answers" in done.stdout

    (home / "wheels").rmdir()
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    path.write_text(
        UPLOADS
        + folder
        + f'[[source]]\nname = "dead"\ntype = "index"\nprivate = false\nurl = "http://127.0.0.1:{port}/simple/"\n'
    )
    done = run(home, "check", "-c", path, "--data", home / "data")
    assert done.returncode == 1
    assert "FAIL  source dead (public): source dead cannot be reached" in done.stdout
    assert "FAIL  source shared (private)" in done.stdout
    findings = json.loads(run(home, "check", "-c", path, "--data", home / "data", "--json").stdout)
    assert {(finding["check"], finding["source"]): finding["ok"] for finding in findings} == {
        ("store", None): True,
        ("source.answers", "uploads"): True,
        ("source.answers", "shared"): False,
        ("source.answers", "dead"): False,
        ("source.meanwhile", "shared"): True,
        ("source.meanwhile", "dead"): True,
    }


def test_check_says_of_a_dead_source_once_and_nowhere_else(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    dead = f'[[source]]\nname = "dead"\ntype = "index"\nprivate = true\nurl = "http://127.0.0.1:{port}/simple/"\n'
    box = '[[source]]\nname = "box"\ntype = "blob"\nurl = "http://127.0.0.1:9/acct/c"\naccount_key = "env:BOX_KEY"\n'
    path = config_file(home, UPLOADS + dead + box)
    done = run(home, "check", "-c", path, "--data", home / "data", BOX_KEY="a2V5")
    assert done.returncode == 1
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "ok    store",
        "ok    source uploads (private)",
        "FAIL  source dead (private)",
        "FAIL  source box (private)",
    ]


def test_check_lists_a_secret_that_cannot_be_had_beside_the_rest(home: Path, index: FakeIndex) -> None:
    box = '[[source]]\nname = "{}"\ntype = "blob"\nurl = "http://127.0.0.1:9/acct/c"\naccount_key = "{}"\n'
    path = config_file(home, UPLOADS + box.format("one", "env:NOT_SET") + index_source(index) + box.format("two", "file:gone"))
    done = run(home, "check", "-c", path, "--data", home / "data")
    assert done.returncode == 1
    assert done.stderr == ""
    for line in (
        "ok    store: ",
        "ok    source public (public): answers",
        "FAIL  source one (private): source[1].account_key: the environment variable NOT_SET is not set\n",
        "FAIL  source two (private): source[3].account_key: the file gone cannot be read: no such file or directory\n",
    ):
        assert line in done.stdout
    store = '[store]\nurl = "http://127.0.0.1:9/acct/store"\naccount_key = "env:NOT_SET"\n'
    done = run(home, "check", "-c", config_file(home, store + UPLOADS + box.format("one", "file:gone")), "--json")
    assert [finding["what"] for finding in json.loads(done.stdout)] == ["store", "source one (private)"]
    assert done.returncode == 1


def test_check_says_of_a_store_that_cannot_be_used(home: Path) -> None:
    (home / "file").write_text("not a folder")
    done = run(home, "check", "--data", home / "file" / "data")
    assert done.returncode == 1
    assert done.stdout.startswith("FAIL  store: the store at ")


def test_a_token_of_five_seconds_has_to_be_meant(home: Path) -> None:
    done = run(home, "token", "new", "--data", home / "data", "--scope", "read", "--expires", "5")
    assert done.returncode == 2
    assert "--expires: must say its unit: 5d are days" in done.stderr


@pytest.mark.parametrize(
    ("settings", "warned"),
    [("", True), ('[store]\nurl = "file:kept"\n', False)],
    ids=["nothing said", "a folder that was chosen"],
)
def test_a_public_server_with_a_store_that_nobody_chose_warns(home: Path, settings: str, warned: bool) -> None:
    server = Gate(home / "gate", settings + '[server]\npublic_url = "https://wheelgate.example.com"\n')
    server.start()
    server.stop()
    assert ("uploads and records are kept in" in server.log) is warned


def test_token_list_tells_expired_ones_from_others(home: Path) -> None:
    data = ("--data", home / "data")
    for life, note in (("1s", "short"), ("1d", "long")):
        assert run(home, "token", "new", *data, "--scope", "read", "--expires", life, "--note", note).returncode == 0
    time.sleep(1)
    lines = run(home, "token", "list", *data).stdout.splitlines()
    assert {line.split()[-1]: line.split()[1] for line in lines} == {"short": "expired", "long": "until"}
    rows = json.loads(run(home, "token", "list", *data, "--json").stdout)
    assert {row["note"]: row["expired"] for row in rows} == {"short": True, "long": False}
    assert [row["id"] for row in rows] == sorted(line.split()[0] for line in lines)


def test_check_names_an_index_whose_files_lie_elsewhere(home: Path, index: FakeIndex) -> None:
    body = wheel_bytes("pip", "1.0")
    index.publish("pip", wheel_name("pip", "1.0"), body, url="https://files.example.com/pip-1.0-py3-none-any.whl")
    done = run(home, "check", "-c", config_file(home, UPLOADS + index_source(index)), "--data", home / "data")
    assert done.returncode == 1
    assert "file_hosts" in done.stdout


def test_who_may_only_read_a_store_can_look_into_it(home: Path, index: FakeIndex) -> None:
    """A backup, a snapshot, a volume mounted to be read. Nothing is written, and nothing is said of that."""
    index.publish("idna", wheel_name("idna", "1.0"), wheel_bytes("idna", "1.0"))
    common = ("-c", config_file(home, uploads_and(index)), "--data", home / "data")
    assert run(home, "wheel", "add", *common, make_wheel(home, "acme-a", "1.0")).returncode == 0
    data = home / "data"
    if subprocess.run(["mount", "--bind", data, data], check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a folder to be read")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", data], check=True)
        listed = run(home, "wheel", "list", *common)
        assert (listed.returncode, listed.stderr) == (0, "")
        assert listed.stdout.startswith("acme-a  acme_a-1.0-py3-none-any.whl  1.0")
        for name, owner in (("acme-a", "uploads"), ("idna", "public")):
            told = run(home, "explain", *common, name)
            assert (told.returncode, told.stderr) == (0, "")
            assert f"owner: {owner}" in told.stdout
        for writing in (
            ("wheel", "add", *common, home / "acme_a-1.0-py3-none-any.whl"),
            ("token", "new", *common, "--scope", "read"),
        ):
            refused = run(home, *writing)
            assert refused.returncode == 1
            assert refused.stderr == f"wheelgate: the store at {data / 'store'} cannot be written: read-only file system\n"
    finally:
        subprocess.run(["umount", "-l", data], check=True)
    (home / "file").write_text("in the way")
    done = run(home, "wheel", "list", "--data", home / "file" / "data")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "cannot be written: not a directory" in done.stderr


def test_what_is_damaged_is_named_beside_what_is_listed(home: Path, index: FakeIndex) -> None:
    common = ("-c", config_file(home, uploads_and(index)), "--data", home / "data")
    wheels = [make_wheel(home, "acme-a", version) for version in ("1.0", "2.0")]
    assert run(home, "wheel", "add", *common, *wheels).returncode == 0
    (facts,) = (home / "data" / "store" / ".facts").rglob("acme_a-2.0*")
    facts.write_bytes(b"{")
    for more in ((), ("acme-a",), ("--json",)):
        listed = run(home, "wheel", "list", *common, *more)
        assert listed.returncode == 0
        assert "acme_a-1.0" in listed.stdout
        assert "acme_a-2.0" not in listed.stdout
        assert listed.stderr.count("\n") == 1
        assert listed.stderr.startswith("wheelgate: source uploads: the store's facts about packages/acme-a/acme_a-2.0")
        assert f"delete {facts}" in listed.stderr


class TestWheelAdd:
    """`wheelgate wheel add`, straight into the store."""

    @pytest.fixture
    def add(self, home: Path, index: FakeIndex) -> Callable[..., subprocess.CompletedProcess[str]]:
        path = config_file(home, uploads_and(index))
        return lambda *arguments: run(home, "wheel", "add", "-c", path, "--data", home / "data", *arguments)

    def test_a_wheel_and_an_sdist(self, add: Callable[..., subprocess.CompletedProcess[str]], home: Path) -> None:
        sdist = home / "acme_a-1.0.tar.gz"
        sdist.write_bytes(sdist_bytes("acme-a", "1.0"))
        done = add(make_wheel(home, "acme-a", "1.0"), sdist)
        assert done.returncode == 0, done.stderr
        assert "/files/acme-a/acme_a-1.0-py3-none-any.whl#sha256=" in done.stdout
        listed = run(home, "wheel", "list", "-c", home / "wheelgate.toml", "--data", home / "data", "Acme_A", "--json")
        assert {entry["file"] for entry in json.loads(listed.stdout)} == {"acme_a-1.0-py3-none-any.whl", "acme_a-1.0.tar.gz"}

    def test_the_same_again(self, add: Callable[..., subprocess.CompletedProcess[str]], home: Path) -> None:
        wheel = make_wheel(home, "acme-a", "1.0")
        assert add(wheel).returncode == 0
        assert "--exist-ok" in add(wheel).stderr
        assert add("--exist-ok", wheel).returncode == 0
        other = make_wheel(home / "other", "acme-a", "1.0", requires=["idna"])
        refused = add("--exist-ok", other)
        assert refused.returncode == 1
        assert refused.stderr.startswith("wheelgate: File already exists")
        assert refused.stderr.count("sha256") == 1
        assert len([word for word in refused.stderr.replace("'", " ").split() if len(word) == 64]) == 2

    def test_what_is_not_a_distribution(self, add: Callable[..., subprocess.CompletedProcess[str]], home: Path) -> None:
        cases = {
            "notes.txt": (b"hello", "is not the name of a wheel or sdist"),
            "acme_a-1.0-py3-none-any.whl": (b"hello", "not a whole zip file"),
            "acme_b-1.0-py3-none-any.whl": (wheel_bytes("acme-a", "1.0"), "METADATA says 'acme-a'"),
            "acme_a-2.0-py3-none-any.whl": (wheel_bytes("acme-a", "1.0"), "METADATA says '1.0'"),
            "acme_a-1.0.tar.gz": (b"hello", "not a whole gzip file"),
            "acme_d-1.0-py3-none-any.whl": (wheel_bytes("acme-d", "1.0", without=("RECORD",)), "has no RECORD"),
            "acme_c-1.0.tar.gz": (sdist_bytes("acme-a", "1.0"), "holds the folder"),
        }
        for name, (body, sentence) in cases.items():
            (home / name).write_bytes(body)
            done = add(home / name)
            assert done.returncode == 1, name
            assert sentence in done.stderr, done.stderr
            assert done.stderr.count("\n") == 1
        assert "there is no such file" in add(home / "missing-1.0-py3-none-any.whl").stderr
        assert not (home / "data" / "store" / "packages").exists()

    def test_a_name_that_another_source_answers(
        self, add: Callable[..., subprocess.CompletedProcess[str]], home: Path, index: FakeIndex
    ) -> None:
        index.publish("requests", wheel_name("requests", "2.0"), wheel_bytes("requests", "2.0"))
        wheel = make_wheel(home, "requests", "99.0")
        assert "--take-over" in add(wheel).stderr
        assert add("--take-over", wheel).returncode == 0

    def test_one_bad_file_does_not_stop_the_others(
        self, add: Callable[..., subprocess.CompletedProcess[str]], home: Path
    ) -> None:
        (home / "notes.txt").write_text("hello")
        done = add(home / "notes.txt", make_wheel(home, "acme-a", "1.0"))
        assert done.returncode == 1
        assert "/files/acme-a/" in done.stdout

    def test_an_empty_name_and_a_folder_are_one_sentence_each(
        self, add: Callable[..., subprocess.CompletedProcess[str]], home: Path
    ) -> None:
        for argument, sentence in (("", "a file name is empty"), (home, "is a folder: pass the files in it")):
            done = add(argument)
            assert done.returncode == 1
            assert done.stderr.startswith("wheelgate: ")
            assert done.stderr.count("\n") == 1
            assert sentence in done.stderr


class TestWheelAddFromUrl:
    """`wheelgate wheel add URL`, straight into the store."""

    @pytest.fixture
    def add(self, home: Path, second_index: FakeIndex) -> Callable[..., subprocess.CompletedProcess[str]]:
        path = config_file(home, uploads_and(second_index))
        return lambda *arguments: run(home, "wheel", "add", "-c", path, "--data", home / "data", *arguments)

    @pytest.fixture
    def url(self, index: FakeIndex) -> str:
        index.publish("acme-net", wheel_name("acme-net", "1.0"), wheel_bytes("acme-net", "1.0", padding=300_000))
        return f"{index.origin}/packages/acme-net/{wheel_name('acme-net', '1.0')}"

    def test_it_is_stored_with_its_digest_and_nothing_is_left_behind(
        self, add: Callable[..., subprocess.CompletedProcess[str]], home: Path, url: str
    ) -> None:
        body = wheel_bytes("acme-net", "1.0", padding=300_000)
        done = add(f"{url}#sha256={sha256(body)}")
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip().endswith(f"/files/acme-net/{wheel_name('acme-net', '1.0')}#sha256={sha256(body)}")
        assert (home / "data" / "store" / "packages" / "acme-net" / wheel_name("acme-net", "1.0")).read_bytes() == body
        assert list((home / "data" / "store" / ".spool").iterdir()) == []
        assert "--exist-ok" in add(url).stderr
        assert add("--exist-ok", url).returncode == 0

    def test_what_cannot_be_added_is_one_sentence(
        self, add: Callable[..., subprocess.CompletedProcess[str]], home: Path, index: FakeIndex, url: str
    ) -> None:
        index.publish("acme-net", wheel_name("acme-net", "2.0"), b"<html>")
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        for wrong, sentence in {
            f"{url}#sha256={'0' * 64}": "that its URL states",
            url.replace("1.0", "9.0"): "there is no such file (404)",
            url.replace("1.0", "2.0"): "not a whole zip file",
            f"{index.origin}/notes.txt": "there is no such file",
            f"http://127.0.0.1:{port}/x-1.0-py3-none-any.whl": "(connection refused)",
            "http://example.com/x-1.0-py3-none-any.whl": "use an https URL",
            "s3://bucket/x-1.0-py3-none-any.whl": "the URL cannot be used",
        }.items():
            done = add(wrong)
            assert done.returncode == 1, wrong
            assert done.stderr.startswith("wheelgate: ")
            assert done.stderr.count("\n") == 1
            assert sentence in done.stderr, done.stderr
        assert not (home / "data" / "store" / "packages").exists()

    @pytest.mark.parametrize("says_its_size", [True, False])
    def test_a_large_one_has_a_bar_at_a_terminal(self, home: Path, index: FakeIndex, url: str, says_its_size: bool) -> None:
        body = wheel_bytes("acme-net", "3.0", padding=6_000_000)

        async def slowly(request: web.BaseRequest) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Length": str(len(body))} if says_its_size else {})
            await response.prepare(request)
            for at in range(0, len(body), 1_000_000):
                await response.write(body[at : at + 1_000_000])
                await asyncio.sleep(0.1)
            return response

        name = wheel_name("acme-net", "3.0")
        index.handlers[f"/packages/acme-net/{name}"] = slowly
        ours, theirs = pty.openpty()
        command = [WHEELGATE, "wheel", "add", "-c", config_file(home, UPLOADS), "--data", home / "data"]
        done = subprocess.Popen(
            [*command, url.replace("1.0", "3.0")],
            stdout=subprocess.PIPE,
            stderr=theirs,
            env=environment(home, TERM="xterm", COLUMNS="150"),
        )
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # the terminal's other end is closed
            while piece := os.read(ours, 10_000):
                shown += piece
        os.close(ours)
        assert done.communicate(timeout=30)[0].strip().endswith(sha256(body).encode())
        assert name.encode() in shown
        assert b"MB" in shown
