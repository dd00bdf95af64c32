"""`wheelgate connection` as people run it: every way in, every mistake one sentence, and the secret nowhere."""

from __future__ import annotations

import base64
import json
import os
import pty
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.acceptance.configs import UPLOADS, index_source
from tests.support.gate import WHEELGATE, Gate, environment
from tests.support.index import SIMPLE_JSON, FakeIndex, running
from tests.support.packages import wheel_bytes, wheel_name
from tests.support.waiting import until

SECRET = "canary-7xqTz9-s3cret"
ORGANISATION = "https://pkgs.dev.azure.com/acme"


class Commands:
    """`wheelgate connection` with one configuration, run in a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.config = home / "wheelgate.toml"
        self.config.write_text("")
        self.folder = home / "data" / "connections"
        self.env: dict[str, str] = {}
        self.argv: list[list[str]] = []

    def __call__(self, *arguments: str | Path, stdin: str | bytes = "") -> subprocess.CompletedProcess[str]:
        sub, *rest = arguments
        command = [WHEELGATE, "connection", str(sub), "-c", str(self.config), "--data", str(self.home / "data"), *map(str, rest)]
        self.argv.append(command)
        done = subprocess.run(
            command,
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            timeout=60,
            env=environment(self.home, **self.env),
            cwd=self.home,
        )
        told = subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())
        assert "Traceback" not in told.stdout + told.stderr, told.stderr
        assert SECRET not in told.stdout + told.stderr + " ".join(command)
        return told

    def typed(self, keys: bytes, *arguments: str) -> tuple[int, bytes]:
        """Run it in a terminal where somebody types when asked: its exit status, and all that the terminal showed."""
        sub, *rest = arguments
        parent, child = pty.openpty()
        process = subprocess.Popen(
            [WHEELGATE, "connection", sub, "-c", self.config, "--data", self.home / "data", *rest],
            stdin=child,
            stdout=child,
            stderr=child,
            env=environment(self.home, TERM="dumb"),
            start_new_session=True,
        )
        os.close(child)
        seen = b""
        try:
            while piece := os.read(parent, 1_000):
                if b"Secret of" in seen + piece and b"Secret of" not in seen:
                    time.sleep(0.2)  # until the terminal shows nothing
                    os.write(parent, keys)
                seen += piece
        except OSError:
            pass  # the other end is closed
        os.close(parent)
        assert b"Traceback" not in seen
        return process.wait(20), seen

    def ok(self, *arguments: str | Path, stdin: str = "") -> str:
        done = self(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, *arguments: str | Path, stdin: str | bytes = "", status: int = 2) -> str:
        """One sentence (after click's usage lines), and nothing stored."""
        before = self.stored
        done = self(*arguments, stdin=stdin)
        assert done.returncode == status, (done.stdout, done.stderr)
        assert done.stdout == ""
        [sentence] = [line for line in done.stderr.splitlines() if line and not line.startswith(("Usage:", "Try '"))]
        assert self.stored == before
        return sentence

    def set(self, *more: str | Path, name: str = "acme", target: str = ORGANISATION, stdin: str = SECRET) -> str:
        return self.ok("set", "--name", name, "--target", target, *more, stdin=stdin)

    @property
    def stored(self) -> dict[str, str]:
        paths = [path for path in self.home.rglob("*") if path.is_file() and path.suffix in (".yml", ".toml")]
        return {str(path): path.read_text() for path in paths}

    @property
    def secrets(self) -> str:
        path = self.home / "data" / "secrets.toml"
        return path.read_text() if path.exists() else ""


@pytest.fixture
def connection(home: Path) -> Commands:
    return Commands(home)


class TestSet:
    """`connection set`."""

    def test_the_secret_comes_by_standard_input(self, connection: Commands) -> None:
        told = connection.ok(
            "set",
            "--name",
            "acme",
            "--category",
            "PythonFeed",
            "--target",
            ORGANISATION,
            "--auth-type",
            "PAT",
            stdin=f"{SECRET}\n",
        )
        assert re.fullmatch(
            rf"connection acme applies to {ORGANISATION} and everything below it \(secret: secret:acme-[0-9a-f]{{8}}\)\n", told
        )
        assert SECRET in connection.secrets
        assert SECRET not in (connection.folder / "acme.yml").read_text()
        for path in (connection.folder / "acme.yml", connection.folder.parent / "secrets.toml"):
            assert path.stat().st_mode & 0o077 == 0

    def test_or_at_a_prompt_that_does_not_show_it(self, connection: Commands) -> None:
        status, seen = connection.typed(SECRET.encode() + b"\n", "set", "--name", "acme", "--target", ORGANISATION)
        assert status == 0, seen
        assert SECRET.encode() not in seen
        assert SECRET in connection.secrets

    def test_a_prompt_that_is_left_empty_or_ended(self, connection: Commands) -> None:
        for keys, status, sentence in ((b"\n", 2, b"no secret was given"), (b"\x04", 130, b"stopped")):
            ended, seen = connection.typed(keys, "set", "--name", "acme", "--target", ORGANISATION)
            assert ended == status, seen
            assert sentence in seen
        assert not connection.folder.exists()

    @pytest.mark.parametrize("suffix", [".yml", ".json"])
    def test_each_form_of_document(self, connection: Commands, suffix: str) -> None:
        forms = {
            "v2": {"$schema": "x", "name": "v2", "type": "python_feed", "credentials": {"type": "pat", "pat": SECRET}},
            "v1": {"name": "v1", "category": "PythonFeed", "authType": "PAT", "value": json.dumps({"pat": SECRET})},
            "bare": {"name": "bare", "category": "PythonFeed", "authType": "PAT", "value": SECRET},
            "arm": {
                "name": "workspace/arm",
                "type": "Microsoft.MachineLearningServices/workspaces/connections",
                "properties": {"category": "PythonFeed", "authType": "PAT", "credentials": {"pat": SECRET}},
            },
        }
        for name, form in forms.items():
            target = f"https://pkgs.dev.azure.com/{name}"
            holder: Any = form.get("properties", form)
            holder["target"] = target
            path = connection.home / f"{name}{suffix}"
            path.write_text(json.dumps(form))
            done = connection("set", "-f", path)
            assert done.returncode == 0, done.stderr
            assert done.stdout.startswith(f"connection {name} applies to {target} and everything below it")
            assert done.stderr == f"wheelgate: {path} still contains the secret itself: remove it there\n"
        assert [entry["name"] for entry in json.loads(connection.ok("list", "--json"))] == ["arm", "bare", "v1", "v2"]
        assert connection.secrets.count(SECRET) == 4

    def test_options_beat_the_document_and_fill_it_in(self, connection: Commands) -> None:
        path = connection.home / "c.yml"
        path.write_text(f"type: python_feed\ntarget: {ORGANISATION}\ncredentials:\n  type: pat\n  pat: {SECRET}\n")
        assert connection.refused("set", "-f", path) == f"wheelgate: {path}: name: is missing"
        connection.ok("set", "-f", path, "--name", "mine", "--value", "env:ACME_PAT")
        assert connection.secrets == ""
        assert "value: env:ACME_PAT" in connection.ok("show", "mine")
        path.write_text(f"name: asked\ntarget: {ORGANISATION}2\nauthType: pat\n")
        connection.ok("set", "-f", path, stdin=SECRET)
        assert SECRET in connection.secrets

    def test_other_kinds(self, connection: Commands) -> None:
        connection.set("--auth-type", "managed_identity", stdin="")
        told = connection.ok("show", "acme")
        assert "authType: ManagedIdentity" in told
        assert "value" not in told
        connection.set("--auth-type", "UsernamePassword", "--username", "me", name="b", target="https://b.example.com")
        connection.set(
            "--auth-type", "ServicePrincipal", "--client-id", "1", "--tenant-id", "2", name="c", target=f"{ORGANISATION}/c"
        )
        connection.set("--auth-type", "None", name="d", target="https://d.example.com", stdin="")
        assert connection.secrets.count(SECRET) == 2

    def test_one_that_is_there_is_replaced(self, connection: Commands) -> None:
        connection.set(stdin="the former one")
        connection.set()
        assert "the former one" not in connection.secrets
        connection.set(target="https://moved.example.com", stdin="elsewhere")
        assert SECRET not in connection.secrets
        assert connection.ok("list") == "acme  PythonFeed  PAT  https://moved.example.com\n"

    def test_wrong_usage(self, connection: Commands) -> None:
        said = connection.refused
        assert "--name and --target are required, or -f FILE" in said("set", "--name", "a", stdin=SECRET)
        for stdin in ("", "\n", "  \n"):
            assert "no secret was given at the prompt or on standard input" in said(
                "set", "--name", "a", "--target", ORGANISATION, stdin=stdin
            )
        for nonsense in (b"\xff\xfe\n", b"a\x07b\n", b"x" * 20_000):
            assert "the secret must be one line of text" in said("set", "--name", "a", "--target", ORGANISATION, stdin=nonsense)
        assert "No such option" in said("set", "--secret", "x")
        assert said("set", "--name", "a", "--target", ORGANISATION, "--value", "hunter2").startswith(
            "wheelgate: value: must say where the secret is: env:NAME"
        )

    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            (("--auth-type", "OAuth2"), "authType 'OAuth2' is not supported; use one of None, PAT"),
            (("--category", "snowflake"), "category 'snowflake' is not supported; use one of PythonFeed"),
            (("--name", "a/b"), "name: must consist of letters, digits, dots, dashes and underscores, 63 at most"),
            (("--target", "ftp://x"), "target: cannot be used: it is not an absolute http(s) URL"),
            (("--target", "https://pkgs.dev.azure.com"), "target: pkgs.dev.azure.com is shared by all organisations"),
            (
                ("--target", "http://index.example.com"),
                "target: the secret would be sent unencrypted to http://index.example.com:",
            ),
            (("--auth-type", "UsernamePassword"), "username: is missing, but auth_type UsernamePassword needs it"),
            (("--auth-type", "ManagedIdentity", "--value", "env:X"), "value: auth_type ManagedIdentity does not use it"),
            (("--client-id", "1"), "client_id: auth_type PAT does not use it"),
        ],
    )
    def test_wrong_fields_are_found_before_the_secret_is_asked_for(
        self, connection: Commands, options: tuple[str, ...], sentence: str
    ) -> None:
        given = {"--name": "a", "--target": ORGANISATION, **dict(zip(options[::2], options[1::2], strict=True))}
        said = connection.refused("set", *(word for pair in given.items() for word in pair), stdin="")
        assert said.startswith(f"wheelgate: {sentence}")

    def test_one_of_a_list_is_stored_by_its_name_and_what_it_lacks_is_said(self, connection: Commands) -> None:
        path = connection.home / "c.json"
        entry = {"type": "python_feed", "flavour": "x", "credentials": {"type": "none"}}
        path.write_text(json.dumps([{**entry, "name": name, "target": f"https://{name}.example.com"} for name in ("one", "two")]))
        assert "holds 2 connections: say with --name which one (one, two)" in connection.refused("set", "-f", path)
        done = connection("set", "-f", path, "--name", "two")
        assert "connection two applies to https://two.example.com" in done.stdout
        assert f"wheelgate: {path}: its field 'flavour' is not used here" in done.stderr
        assert f"wheelgate: {path} has no credentials: the connection signs in with nothing" in done.stderr

    def test_a_signature_is_looked_at_before_it_is_stored(self, connection: Commands) -> None:
        container = (
            "--name",
            "c",
            "--category",
            "AzureBlob",
            "--auth-type",
            "SAS",
            "--target",
            "https://a.blob.core.windows.net/c",
        )
        url = f"https://a.blob.core.windows.net/c?sp=rl&sr=c&sig={SECRET}"
        assert (
            connection.refused("set", *container, stdin=url)
            == "wheelgate: the SAS of c is a whole URL: give only what follows the ? in it"
        )
        ended = f"sp=rl&sr=c&se=2020-01-01&sig={SECRET}"
        assert "the SAS of c ended on 2020-01-01 00:00Z (se): make a new one" in connection.refused(
            "set", *container, stdin=ended
        )

    def test_documents_that_are_none(self, connection: Commands) -> None:
        path = connection.home / "c.json"
        for body, sentence in {
            b"": "is not a connection document: it has no name, target and authType",
            b"\x00\x01": "is neither YAML nor JSON",
            b"\xff": "is not UTF-8 text",
            b"[" * 60_000: "is nested too deeply (line 1)",
            f"pat: {SECRET}\ntoken: {SECRET}2".encode(): "it has more than one secret",
            f"name: a\nauthType: ManagedIdentity\nvalue: {SECRET}".encode(): "it has a secret, but authType",
            f"name: a\nsomeKey: {SECRET}".encode(): "it has an unknown field 'someKey'",
            f"name: a\nsomething: {SECRET}".encode(): "target: is missing",  # it says of nobody that he is to be trusted
            b"name: a\npat: ${PAT}": "its secret is a placeholder",
            f"name: a\ntype: python_feed\ntarget: {ORGANISATION}".encode(): "it has no credentials, and Azure DevOps lets",
        }.items():
            path.write_bytes(body)
            assert connection.refused("set", "-f", path).startswith(f"wheelgate: {path}: {sentence}")
        assert connection.refused("set", "-f", "no.yml") == "wheelgate: no.yml: there is no such file"
        assert (
            connection.refused("set", "-f", connection.home)
            == f"wheelgate: {connection.home}: cannot be read: it is a folder, not a file"
        )

    def test_a_place_or_name_that_is_taken(self, connection: Commands) -> None:
        connection.config.write_text(
            f'[[connection]]\nname = "stated"\ntarget = "{ORGANISATION}"\nauth_type = "PAT"\nvalue = "env:X"\n'
        )
        said = connection.refused("set", "--name", "stated", "--target", "https://x.example.com", stdin=SECRET)
        assert said == "wheelgate: connection stated is defined in the configuration file: change it there"
        said = connection.refused("set", "--name", "new", "--target", "https://ACME.pkgs.visualstudio.com/", stdin=SECRET)
        assert said == "wheelgate: new and stated both apply to https://ACME.pkgs.visualstudio.com/: remove one of them"
        assert connection.refused("delete", "stated") == (
            "wheelgate: connection stated is defined in the configuration file: remove it there"
        )

    def test_a_folder_that_cannot_be_written(self, connection: Commands) -> None:
        (connection.home / "data").mkdir()
        (connection.home / "data" / "connections").write_text("a file")
        said = connection.refused("set", "--name", "a", "--target", ORGANISATION, stdin=SECRET)
        assert re.fullmatch(r"wheelgate: .*connections.* cannot be (read|written): (not a directory|file exists)", said)

    def test_secrets_that_others_can_read(self, connection: Commands) -> None:
        connection.set()
        (connection.folder.parent / "secrets.toml").chmod(0o644)
        said = connection.refused("set", "--name", "b", "--target", "https://b.example.com", stdin=SECRET)
        assert "is readable by other users: run chmod 600 on it" in said

    def test_a_configured_folder_that_is_not_there_yet(self, connection: Commands) -> None:
        connection.config.write_text('[server]\nconnections = "conns"\n')
        connection.set()
        assert (connection.home / "conns" / "acme.yml").exists()
        assert SECRET in (connection.home / "secrets.toml").read_text()


class TestLooking:
    """`list`, `show` and `delete`."""

    def test_none_yet(self, connection: Commands) -> None:
        done = connection("list")
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr == "there are no connections: store one with `wheelgate connection set`\n"
        assert json.loads(connection.ok("list", "--json")) == []
        for sub in ("show", "delete", "test"):
            assert connection.refused(sub, "acme") == (
                "wheelgate: there is no connection acme: `wheelgate connection list` shows all connections"
            )

    def test_what_is_shown(self, connection: Commands) -> None:
        connection.set()
        fields = json.loads(connection.ok("show", "acme", "--json"))
        assert fields == {
            "name": "acme",
            "category": "PythonFeed",
            "target": ORGANISATION,
            "authType": "PAT",
            "value": fields["value"],
        }
        assert connection.ok("show", "acme").splitlines() == [f"{key}: {value}" for key, value in fields.items()]
        assert json.loads(connection.ok("list", "--json")) == [fields]
        path = connection.home / "again.json"
        path.write_text(json.dumps(fields))
        connection.ok("set", "-f", path)  # what is shown can be stored

    def test_what_is_deleted_is_gone(self, connection: Commands) -> None:
        connection.set()
        assert connection.ok("delete", "acme") == "deleted connection acme\n"
        assert connection.secrets == ""
        assert list(connection.folder.iterdir()) == []

    def test_a_broken_folder_is_one_sentence_in_every_command(self, connection: Commands) -> None:
        connection.set()
        path = connection.folder / "broken.yml"
        path.write_text(f"pat: [{SECRET}")
        for command in (("list",), ("show", "acme"), ("delete", "acme"), ("test", "acme")):
            assert connection.refused(*command) == f"wheelgate: {path}: is neither YAML nor JSON (line 1)"


class Guarded(FakeIndex):
    """An index that answers only who knows the password."""

    password = SECRET
    sends_on = ""
    """Where it sends those who ask for what it lacks."""

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        expected = f"Basic {base64.b64encode(f'wheelgate:{self.password}'.encode()).decode()}"
        if request.headers.get("Authorization") != expected:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        answer = await super().answer(request)
        if self.sends_on and answer.status == 404:
            return web.Response(status=302, headers={"Location": f"{self.sends_on}{request.rel_url.parts[-2]}/"})
        return answer


class Hiding(FakeIndex):
    """An index that has nothing for those who do not sign in, and refuses whoever does so wrongly, as GitLab and Nexus can."""

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        said = request.headers.get("Authorization")
        if said not in (None, f"Basic {base64.b64encode(f'wheelgate:{SECRET}'.encode()).decode()}"):
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        answer = await super().answer(request)
        if said is not None:
            return answer
        nothing = {"meta": {"api-version": "1.0"}, "projects": []}
        is_root = request.rel_url.raw_path == "/simple/"
        return web.json_response(nothing, content_type=SIMPLE_JSON) if is_root else web.Response(status=404)


@pytest.fixture
def hiding() -> Iterator[Hiding]:
    index = Hiding()
    index.publish("acme-a", wheel_name("acme-a", "1.0"), wheel_bytes("acme-a", "1.0"))
    with running(index):
        yield index


@pytest.fixture
def guarded() -> Iterator[Guarded]:
    index = Guarded()
    for name in ("acme-a", "pip"):
        index.publish(name, wheel_name(name, "1.0"), wheel_bytes(name, "1.0"))
    with running(index):
        yield index


def well(index: FakeIndex, source: str) -> str:
    """What is said of a source that works."""
    is_one = f"{index.origin.removeprefix('http://')} is an index (it has pip)"
    return f'ok    source {source} (private): answers; a 404 for a name that it lacks counts as "not there": {is_one}\n'


class TestTest:
    """`connection test`."""

    def test_what_works_and_what_does_not(self, connection: Commands, guarded: Guarded) -> None:
        connection.config.write_text(UPLOADS + index_source(guarded, "team", private=True))
        connection.set(target=guarded.origin)
        assert connection.ok("test", "acme") == f"ok    secret: is available\n{well(guarded, 'team')}"
        found = json.loads(connection.ok("test", "acme", "--json"))
        assert [(entry["check"], entry["ok"]) for entry in found] == [
            ("secret", True),
            ("source.answers", True),
            ("source.absence", True),
        ]
        assert connection.ok("test", "acme", "--url", guarded.url).endswith(well(guarded, "asked"))

        guarded.password = "another"
        done = connection("test", "acme")
        assert done.returncode == 1
        refused = f"acme was refused by {guarded.origin.removeprefix('http://')}: the credential is wrong"
        assert f"FAIL  source team (private): connection {refused}" in done.stdout
        assert json.loads(connection("test", "acme", "--json").stdout)[1]["ok"] is False

        (connection.folder.parent / "secrets.toml").write_text("")
        done = connection("test", "acme")
        assert done.returncode == 1
        assert "FAIL  secret: connection acme has no secret: " in done.stdout

    def test_what_is_not_below_it(self, connection: Commands, guarded: Guarded) -> None:
        connection.set(target=guarded.origin)
        said = connection.refused("test", "acme", "--url", "http://127.0.0.1:1/simple/")
        assert said == f"wheelgate: --url: is not below {guarded.origin}, the target of connection acme"
        assert "no configured source is under this target; pass --url to test one" in connection.ok("test", "acme")

    def test_neither_the_store_nor_another_source_has_to_work(self, connection: Commands, guarded: Guarded) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}"
        store = f'[store]\nurl = "{nowhere}/account/container"\naccount_key = "env:NOBODY"\n'
        other = f'[[source]]\nname = "other"\ntype = "index"\nurl = "{nowhere}/simple/"\nprivate = true\n'
        connection.config.write_text(store + UPLOADS + other + index_source(guarded, "team", private=True))
        connection.set(target=guarded.origin)
        before = set(connection.home.rglob("*"))
        assert connection.ok("test", "acme") == f"ok    secret: is available\n{well(guarded, 'team')}"
        assert set(connection.home.rglob("*")) == before, "nothing is left behind"

    def test_other_sources_are_not_asked_and_known_all_the_same(self, connection: Commands, guarded: Guarded) -> None:
        """It sends names that it lacks to one of them, and is not the last one."""
        with socket.create_server(("127.0.0.1", 0)) as closed:
            nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}"
        guarded.sends_on = f"{nowhere}/simple/"
        public = f'[[source]]\nname = "public"\ntype = "index"\nurl = "{nowhere}/simple/"\nprivate = false\n'
        connection.config.write_text(UPLOADS + index_source(guarded, "team", private=True) + public)
        connection.set(target=guarded.origin)
        for more in ((), ("--url", guarded.url)):
            done = connection("test", "acme", *more)
            assert done.returncode == 0, done.stdout
            assert f"to {nowhere.removeprefix('http://')}, which is source public: that counts" in done.stdout

    def test_nobody_there(self, connection: Commands) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            origin = f"http://127.0.0.1:{closed.getsockname()[1]}"
        connection.set(target=origin)
        done = connection("test", "acme", "--url", f"{origin}/simple/")
        assert done.returncode == 1
        assert "FAIL  source asked (private): source asked cannot be reached" in done.stdout


class TestRunning:
    """A server that runs goes by what the folder says, within seconds."""

    def config(self, guarded: FakeIndex, **settings: object) -> str:
        return UPLOADS + index_source(guarded, "team", fresh="0s", absent="0s", **{"private": True, **settings})

    def change(self, gate: Gate, *arguments: str, stdin: str = SECRET) -> None:
        sub, *rest = arguments
        command = [WHEELGATE, "connection", sub, "-c", str(gate.config), "--data", str(gate.data), *rest]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=30, env=environment(gate.folder))
        assert done.returncode == 0, done.stderr

    def test_set_rotate_move_and_delete(self, start_gate: Callable[..., Gate], guarded: Guarded) -> None:
        gate = start_gate(self.config(guarded, private=True, strict=True), "--log-level", "DEBUG")

        def status() -> int:
            return gate.get("/simple/acme-a/").status

        answer = gate.get("/simple/acme-a/")
        assert answer.status == 502
        assert f"no connection is stored for {guarded.url}acme-a/" in answer.body.decode()
        self.change(gate, "set", "--name", "team", "--target", guarded.origin, "--auth-type", "PAT")
        until(lambda: status() == 200)

        guarded.password = "rotated-7xq"
        body = gate.get("/simple/new-question/").body.decode()
        assert f"connection team was refused by {guarded.origin.removeprefix('http://')}: the credential is wrong" in body
        assert 'wheelgate_connection_refused_total{connection="team",host="127.0.0.1"}' in gate.get("/metrics").body.decode()
        self.change(gate, "set", "--name", "team", "--target", guarded.origin, "--auth-type", "PAT", stdin="rotated-7xq")
        assert gate.get("/simple/new-question/").status == 404, "a refusal makes it read the secret again at once"

        self.change(
            gate, "set", "--name", "team", "--target", f"{guarded.origin}/elsewhere", "--auth-type", "PAT", stdin="rotated-7xq"
        )
        until(lambda: gate.get("/simple/other-question/").status == 502)
        self.change(gate, "set", "--name", "team", "--target", guarded.url, "--auth-type", "PAT", stdin="rotated-7xq")
        until(lambda: gate.get("/simple/other-question/").status == 404)
        self.change(gate, "delete", "team")
        until(lambda: "no connection is stored" in gate.get("/simple/third-question/").body.decode())
        for secret in (SECRET, "rotated-7xq", base64.b64encode(f"wheelgate:{SECRET}".encode()).decode()):
            assert secret not in gate.log

    def test_a_broken_document_changes_nothing_and_is_said_once(self, start_gate: Callable[..., Gate], guarded: Guarded) -> None:
        gate = start_gate(self.config(guarded, private=True, strict=True))
        self.change(gate, "set", "--name", "team", "--target", guarded.origin, "--auth-type", "PAT")
        until(lambda: gate.get("/simple/acme-a/").status == 200)
        broken = gate.data / "connections" / "broken.yml"
        for body in (b"[" * 60_000, f"name: x\ntarget: https://x.example.com\nauthType: PAT\nvalue: {SECRET}".encode()):
            broken.write_bytes(body)
            count = gate.log.count("ignoring the changed connections folder")
            until(lambda count=count: gate.log.count("ignoring the changed connections folder") == count + 1)  # type: ignore[misc]
            time.sleep(4.5)  # two more looks
            assert gate.log.count("ignoring the changed connections folder") == count + 1
            assert gate.get("/simple/acme-a/").status == 200
        assert "is nested too deeply" in gate.log
        assert SECRET not in gate.log
        broken.unlink()
        until(lambda: "connections folder reloaded; active connections: team" in gate.log.splitlines()[-1])

    def test_what_an_index_said_to_others_is_forgotten_when_it_is_signed_in_to(
        self, start_gate: Callable[..., Gate], hiding: Hiding, index: FakeIndex
    ) -> None:
        """Without the credential the source hides the name, so that a stranger's file of it was served, and is remembered."""
        index.publish("acme-a", wheel_name("acme-a", "99.0"), wheel_bytes("acme-a", "99.0"))
        gate = start_gate(UPLOADS + index_source(hiding, "team", private=True, absent="1h") + index_source(index))
        assert [file["filename"] for file in gate.page("acme-a")["files"]] == ["acme_a-99.0-py3-none-any.whl"]
        asked = index.count("/simple/acme-a/")
        self.change(gate, "set", "--name", "team", "--target", hiding.origin, "--auth-type", "PAT")
        until(lambda: "active connections: team" in gate.log)
        assert [file["filename"] for file in gate.page("acme-a")["files"]] == ["acme_a-1.0-py3-none-any.whl"]
        assert gate.get("/files/acme-a/acme_a-99.0-py3-none-any.whl").status == 404
        assert index.count("/simple/acme-a/") == asked
        self.change(gate, "delete", "team")
        until(lambda: "active connections: none" in gate.log)
        assert gate.page("acme-a")["files"], "it is claimed, and stays so"
        assert index.count("/simple/acme-a/") == asked

    def test_a_refused_credential_lets_nothing_stand_in_that_was_heard_without_it(
        self, start_gate: Callable[..., Gate], hiding: Hiding, index: FakeIndex
    ) -> None:
        index.publish("acme-a", wheel_name("acme-a", "99.0"), wheel_bytes("acme-a", "99.0"))
        gate = start_gate(UPLOADS + index_source(hiding, "team", private=True) + index_source(index))
        assert gate.get("/simple/acme-a/").status == 200
        self.change(gate, "set", "--name", "team", "--target", hiding.origin, "--auth-type", "PAT", stdin="a wrong one")
        until(lambda: "active connections: team" in gate.log)
        assert gate.get("/simple/acme-a/").status == 502

    def test_a_source_stays_private_when_its_connection_goes(
        self, start_gate: Callable[..., Gate], guarded: Guarded, index: FakeIndex
    ) -> None:
        text = self.config(guarded, strict=True) + index_source(index)
        first = start_gate(text)
        first.stop()
        self.change(first, "set", "--name", "team", "--target", guarded.origin, "--auth-type", "PAT")
        first.start()
        index.publish("acme-b", wheel_name("acme-b", "99.0"), wheel_bytes("acme-b", "99.0"))
        self.change(first, "delete", "team")
        until(lambda: "no connection is stored" in first.get("/simple/acme-b/").body.decode())
        assert index.count("/simple/acme-b/") == 0
