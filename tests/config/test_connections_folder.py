"""The connections folder: what it may hold, how it is written, and what it makes of sources."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from wheelgate.config import Config, Connection, load
from wheelgate.config.connections_folder import ConnectionsFolder, derive_secret_name, fingerprint_folder, read_connections_folder
from wheelgate.core.errors import ConfigurationError
from wheelgate.core.secret import Secret

CANARY = "canary-7xq"
TEAM = "https://team.example.com/simple/"
SOURCES = f"""
[[source]]
name = "uploads"
type = "store"
[[source]]
name = "pypi"
type = "index"
[[source]]
name = "team"
type = "index"
url = "{TEAM}"
private = true
"""


@pytest.fixture
def loaded(tmp_path: Path) -> Callable[..., Config]:
    def load_it(text: str = SOURCES, *, new_folder: bool = False) -> Config:
        path = tmp_path / "wheelgate.toml"
        path.write_text(text)
        return load(path, environment={}, flags={"data": tmp_path / "data"}, new_folder=new_folder)

    return load_it


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "data" / "connections"
    made.mkdir(parents=True)
    return made


def document(folder: Path, name: str, target: str = TEAM, **fields: str) -> Path:
    path = folder / f"{name}.yml"
    path.write_text(yaml.safe_dump({"name": name, "target": target, "authType": "PAT", "value": "env:X", **fields}))
    return path


def connection(name: str = "acme", target: str = TEAM, **fields: str) -> Connection:
    return Connection.model_validate({"name": name, "target": target, "auth_type": "PAT", "value": "env:X", **fields})


def problems(load_it: Callable[[], object]) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_it()
    assert CANARY not in str(caught.value)
    return caught.value.problems


def test_connections_stand_in_both_places(loaded: Callable[..., Config], folder: Path) -> None:
    document(folder, "team")
    (folder / "notes.txt").write_text("not a document")
    (folder / ".draft-x.yml").write_text(f"pat: {CANARY}")
    config = loaded(
        f'{SOURCES}[[connection]]\nname = "a"\ntarget = "https://a.example.com"\nauth_type = "PAT"\nvalue = "env:Y"\n'
    )
    assert [c.name for c in config.connections] == ["a", "team"]


def test_a_secret_itself_is_refused_in_both_places(loaded: Callable[..., Config], folder: Path) -> None:
    inline = f'{SOURCES}[[connection]]\nname = "a"\ntarget = "{TEAM}"\nauth_type = "PAT"\nvalue = "{CANARY}"\n'
    [problem] = problems(lambda: loaded(inline))
    assert problem.startswith("connection[0].value: must say where the secret is: env:NAME, file:PATH")
    path = document(folder, "team", value=CANARY)
    [problem] = problems(loaded)
    assert problem.startswith(f"{path}: contains the secret itself: pass it to `wheelgate connection set -f`")


def test_every_document_that_is_none_is_named_at_once(loaded: Callable[..., Config], folder: Path) -> None:
    document(folder, "good")
    document(folder, "broken").write_text("[")
    document(folder, "wrong", authType="OAuth2")
    (folder / "folder.yml").mkdir()
    said = problems(loaded)
    assert [Path(problem.partition(": ")[0]).name for problem in said] == ["broken.yml", "folder.yml", "wrong.yml"]


def test_two_for_one_place_or_of_one_name_are_refused(loaded: Callable[..., Config], folder: Path) -> None:
    document(folder, "one")
    document(folder, "two", target=TEAM.rstrip("/"))
    [problem] = problems(loaded)
    assert "two and one both apply to https://" in problem
    (folder / "two.yml").unlink()
    (folder / "same.yml").write_text("name: one\ntarget: https://other.example.com\n")
    assert "one" in problems(loaded)[0]
    (folder / "same.yml").unlink()
    [problem] = problems(
        lambda: loaded(f'{SOURCES}[[connection]]\nname = "z"\ntarget = "{TEAM}"\nauth_type = "PAT"\nvalue = "env:Y"\n')
    )
    assert "both apply to" in problem


def test_a_configured_folder_must_be_there(loaded: Callable[..., Config], tmp_path: Path) -> None:
    text = f'[server]\nconnections = "conns"\n{SOURCES}'
    [problem] = problems(lambda: loaded(text))
    assert problem == f"server.connections: {tmp_path / 'conns'} cannot be read: no such file or directory"
    config = loaded(text, new_folder=True)
    ConnectionsFolder(config).put(connection())
    assert [c.name for c in loaded(text).connections] == ["acme"]


def test_what_is_written_is_what_is_read(loaded: Callable[..., Config], folder: Path) -> None:
    config = loaded()
    kinds = [
        connection("a", "https://a.example.com/"),
        connection("b", "https://b.example.com/", auth_type="UsernamePassword", username="n\u00e4me 'x' #"),
        Connection(
            name="c", target="https://c.example.com/", auth_type="ManagedIdentity", client_id="1", scope="api://x/.default"
        ),
        Connection(name="d", target="http://d.example.com/", auth_type="Bearer", value="file:~/x y", allow_http=True),
        Connection(name="yes", target="https://e.example.com/"),
    ]
    for one in kinds:
        ConnectionsFolder(config).put(one)
    assert read_connections_folder(folder) == (kinds, [])
    assert stat.S_IMODE((folder / "a.yml").stat().st_mode) == 0o600
    said = yaml.safe_load((folder / "b.yml").read_text())
    assert said["authType"] == "UsernamePassword"


def test_the_secret_goes_beside_the_folder(loaded: Callable[..., Config], folder: Path) -> None:
    config = loaded()
    stored = ConnectionsFolder(config).put(connection(), Secret(CANARY))
    assert stored.value == f"secret:{derive_secret_name(stored)}"
    assert config.references.read(stored.value).reveal() == CANARY
    assert CANARY not in "".join(path.read_text() for path in folder.iterdir())
    assert loaded().found_connections == [stored]
    ConnectionsFolder(config).remove(stored)
    assert loaded().found_connections == []
    assert CANARY not in (folder.parent / "secrets.toml").read_text()


def test_another_place_gets_another_secret(loaded: Callable[..., Config], folder: Path) -> None:
    """A crash, or a server that reads, between secret and document must not send the new secret to the old place."""
    config = loaded()
    put = ConnectionsFolder(config).put
    old = put(connection(), Secret("old"))
    assert put(connection(value="env:OTHER"), Secret("rotated")).value == old.value
    written = folder / "acme.yml"
    before = written.read_text()
    for moved in (
        connection(target="https://other.example.com"),
        connection(auth_type="UsernamePassword", username="x"),
        connection(auth_type="ServicePrincipal", client_id="1", tenant_id="2", scope="api://x/.default"),
    ):
        assert derive_secret_name(moved) != derive_secret_name(old)
    new = put(connection(target="https://other.example.com"), Secret("new"))
    secrets = folder.parent / "secrets.toml"
    assert config.references.read(new.value or "").reveal() == "new"
    assert "rotated" not in secrets.read_text(), "nobody refers to it any more"
    written.write_text(before)  # as if it had stopped before the document
    assert "new" not in repr(old)
    assert config.references.secrets._read_all().keys() == {derive_secret_name(new)}


def test_a_secret_that_two_refer_to_stays(loaded: Callable[..., Config], folder: Path) -> None:
    config = loaded()
    config.references.secrets.put("shared", Secret(CANARY))
    one = ConnectionsFolder(config).put(connection("one", value="secret:shared"))
    two = ConnectionsFolder(config).put(connection("two", "https://two.example.com", value="secret:shared"))
    ConnectionsFolder(config).remove(one)
    assert config.references.read("secret:shared").reveal() == CANARY
    ConnectionsFolder(config).remove(two)
    assert CANARY not in (folder.parent / "secrets.toml").read_text()


def test_a_document_is_found_by_its_name_not_its_files(loaded: Callable[..., Config], folder: Path) -> None:
    config = loaded()
    (folder / "00-first.json").write_text(json.dumps({"name": "acme", "target": TEAM, "authType": "PAT", "value": "env:X"}))
    ConnectionsFolder(config).put(connection(value="env:NEW"))
    assert [path.name for path in folder.iterdir()] == ["00-first.json"]
    assert json.loads((folder / "00-first.json").read_text())["value"] == "env:NEW"
    (folder / "00-first.json").rename(folder / "other.yml")
    with pytest.raises(ConfigurationError, match=r"other\.yml is the document of another connection: rename it first"):
        ConnectionsFolder(config).put(connection("other", "https://other.example.com"))


def test_a_folder_that_cannot_be_written_is_one_sentence(loaded: Callable[..., Config], tmp_path: Path) -> None:
    config = loaded()
    (tmp_path / "data").write_text("a file in the way")
    with pytest.raises(ConfigurationError, match="cannot be written: (not a directory|file exists)") as caught:
        ConnectionsFolder(config).put(connection(), Secret(CANARY))
    assert len(caught.value.problems) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes in folders are of POSIX")
def test_a_pipe_in_the_folder_holds_nobody_up(folder: Path) -> None:
    os.mkfifo(folder / "pipe.yml")
    document(folder, "a")
    connections, problems = read_connections_folder(folder)
    assert [connection.name for connection in connections] == ["a"]
    assert problems == [f"{folder / 'pipe.yml'}: cannot be read: it is a named pipe, not a file"], "it may stand for a connection"


def test_a_version_changes_with_every_document(folder: Path) -> None:
    versions = [fingerprint_folder(folder)]
    path = document(folder, "a")
    versions.append(fingerprint_folder(folder))
    document(folder, "b")
    versions.append(fingerprint_folder(folder))
    other = document(folder, "c")
    other.replace(path)
    versions.append(fingerprint_folder(folder))
    path.unlink()
    versions.append(fingerprint_folder(folder))
    assert len({str(version) for version in versions}) == len(versions)
    now = fingerprint_folder(folder)
    (folder / ".draft-x").write_text("being written")
    (folder / "nowhere.yml").symlink_to(folder / "gone")
    assert fingerprint_folder(folder) == now
    assert fingerprint_folder(folder / "missing") is None
