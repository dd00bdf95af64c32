"""Where secrets come from on this machine, and the file that `connection set` keeps them in."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wheelgate.config import References, SecretMissing
from wheelgate.config.references import SecretsFile
from wheelgate.core.secret import Secret

CANARY = "canary-7xq"


@pytest.fixture
def references(tmp_path: Path) -> References:
    return References(tmp_path, tmp_path / "secrets.toml")


def refusal(references: References, reference: str) -> str:
    with pytest.raises(SecretMissing) as caught:
        references.read(reference)
    assert CANARY not in str(caught.value)
    return str(caught.value)


def test_the_environment(references: References, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(references, "env:ACME_PAT") == "the environment variable ACME_PAT is not set"
    monkeypatch.setenv("ACME_PAT", "  \n")
    assert refusal(references, "env:ACME_PAT") == "the environment variable ACME_PAT is not set"
    monkeypatch.setenv("ACME_PAT", f"{CANARY}\n")
    assert references.read("env:ACME_PAT").reveal() == CANARY


def test_a_file_beside_the_configuration_or_anywhere(references: References, tmp_path: Path) -> None:
    assert refusal(references, "file:pat") == "the file pat cannot be read: no such file or directory"
    (tmp_path / "pat").write_text("\n")
    assert refusal(references, "file:pat") == "the file pat is empty"
    (tmp_path / "pat").write_bytes(CANARY.encode() + b"\xff")
    assert refusal(references, "file:pat") == "the file pat cannot be read"
    (tmp_path / "pat").write_text(CANARY * 200_000)
    assert refusal(references, "file:pat") == "the file pat is too large to hold a secret"
    (tmp_path / "pat").write_text(f"{CANARY}\r\n")
    assert references.read("file:pat").reveal() == CANARY
    assert references.read(f"file:{tmp_path / 'pat'}").reveal() == CANARY
    assert refusal(references, f"file:{tmp_path}") == f"the file {tmp_path} cannot be read: it is a folder, not a file"


def test_what_is_no_reference_of_this_machine(references: References) -> None:
    for reference in ("keyvault:x", CANARY, "", "env:"):
        assert refusal(references, reference) == "references of this kind cannot be used here"


def test_the_file_of_secrets(references: References, tmp_path: Path) -> None:
    assert (
        refusal(references, "secret:acme")
        == f"{tmp_path / 'secrets.toml'} has no secret acme: store it with `wheelgate connection set`"
    )
    references.secrets.put("acme", Secret(CANARY))
    references.secrets.put("other", Secret("x"))
    assert references.read("secret:acme").reveal() == CANARY
    assert stat.S_IMODE((tmp_path / "secrets.toml").stat().st_mode) == 0o600
    references.secrets.remove("acme")
    references.secrets.remove("acme")
    assert "has no secret acme" in refusal(references, "secret:acme")
    assert references.read("secret:other").reveal() == "x"
    assert CANARY not in (tmp_path / "secrets.toml").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["secrets.toml"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_secrets_that_others_could_read_are_not_used(references: References, mode: int) -> None:
    references.secrets.put("acme", Secret(CANARY))
    references.secrets.path.chmod(mode)
    assert "is readable by other users: run chmod 600 on it, and replace the secrets in it" in refusal(references, "secret:acme")
    with pytest.raises(SecretMissing):
        references.secrets.put("other", Secret("x"))


def test_a_file_of_secrets_that_is_none(references: References) -> None:
    path = references.secrets.path
    for body in (f"acme = {CANARY}", f"acme = '{CANARY}'\nacme = 'x'", "a=" + "[" * 5_000, f'acme = ["{CANARY}"]', "acme = ''"):
        path.write_text(body)
        path.chmod(0o600)
        said = refusal(references, "secret:acme")
        assert said.startswith(f"{path} is not valid TOML") or "has no secret acme" in said
    path.unlink()
    path.mkdir(mode=0o700)
    assert "cannot be read" in refusal(references, "secret:acme")


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
@example("\"quotes\" 'and' \\backslashes\\ \\u0041 \N{SNOWMAN}\N{GRINNING FACE}")
@example("\x7f\x00\x1f\u0085\u2028")
@example('"""')
@example("#[table]\n=")
def test_any_value_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    secrets = SecretsFile(tmp_path_factory.mktemp("s") / "secrets.toml")
    secrets.put("acme", Secret(value))
    secrets.put("a.b-c_D", Secret("beside it"))
    assert secrets.read("acme").reveal() == value
    assert secrets.read("a.b-c_D").reveal() == "beside it"


def test_writers_at_once_lose_nothing(references: References) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: references.secrets.put(f"n{n}", Secret(str(n))), range(60)))
    assert [references.read(f"secret:n{n}").reveal() for n in range(60)] == [str(n) for n in range(60)]


@pytest.mark.skipif(os.name != "posix", reason="kills with SIGKILL")
def test_a_writer_that_is_killed_leaves_whole_secrets(references: References, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from wheelgate.config.references import SecretsFile\n"
        "from wheelgate.core.secret import Secret\n"
        "print('ready', flush=True)\n"
        "for n in range(1_000_000): SecretsFile(Path(sys.argv[1])).put('acme', Secret(str(n) * 2_000 + '.'))\n"
    )
    references.secrets.put("other", Secret(CANARY))
    for _ in range(5):
        writer = subprocess.Popen([sys.executable, "-c", program, references.secrets.path], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        with writer.stdout:
            writer.stdout.readline()
            before = references.version("secret:acme")
            while references.version("secret:acme") == before:
                pass
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        assert references.read("secret:acme").reveal().endswith(".")
        assert references.read("secret:other").reveal() == CANARY
        references.secrets.put("acme", Secret("next."))  # the lock went with the writer


def test_a_version_changes_with_the_file_and_only_then(references: References, tmp_path: Path) -> None:
    assert references.version("env:X") == references.version("env:X")
    assert references.version("file:pat") == references.version("file:pat") == "missing"
    (tmp_path / "pat").write_text("one")
    one = references.version("file:pat")
    assert one != "missing"
    assert references.version("file:pat") == one
    (tmp_path / "new").write_text("two")
    (tmp_path / "new").replace(tmp_path / "pat")  # as careful people rotate, perhaps within one tick of the clock
    assert references.version("file:pat") != one
    references.secrets.put("a", Secret("x"))
    before = references.version("secret:a")
    references.secrets.put("a", Secret("y"))
    assert references.version("secret:a") != before
