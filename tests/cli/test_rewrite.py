"""`wheelgate rewrite` as people run it: in place, for CI, and with everything that can be wrong."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest

from tests.support.gate import command

URL = "https://wheelgate.internal"
BEFORE = (
    "# ours\n--extra-index-url https://build:S3CRET@pkgs.dev.azure.com/acme/_packaging/team/pypi/simple/\n"
    "tool @ https://acct.blob.core.windows.net/wheels/tool-1.0-py3-none-any.whl?sv=1&sig=S3CRET\n"
)
AFTER = f"# ours\n--index-url {URL}/simple/\ntool @ {URL}/files/tool/tool-1.0-py3-none-any.whl\n"


def run(home: Path, *arguments: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    done = command(home, "rewrite", *arguments, **env)
    assert "S3CRET" not in done.stdout + done.stderr
    return done


@pytest.fixture
def file(home: Path) -> Path:
    path = home / "requirements.txt"
    path.write_text(BEFORE)
    return path


def test_it_changes_the_file_and_shows_how(home: Path, file: Path) -> None:
    file.chmod(0o640)
    done = run(home, file.name, "--url", URL)
    assert done.returncode == 0
    assert file.read_text() == AFTER
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert f"+--index-url {URL}/simple/" in done.stdout
    assert done.stderr == "wheelgate: rewrote requirements.txt\n"
    again = run(home, file.name, WHEELGATE_URL=f"{URL}/simple/")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "wheelgate: nothing to change\n")
    assert [path.name for path in home.iterdir()] == ["requirements.txt"]


@pytest.mark.parametrize(("flag", "status"), [("--check", 1), ("--diff", 0)])
def test_it_says_what_it_would_change_and_writes_nothing(home: Path, file: Path, flag: str, status: int) -> None:
    done = run(home, file.name, flag, "--url", URL)
    assert done.returncode == status
    assert f"+--index-url {URL}/simple/" in done.stdout
    assert "would change requirements.txt" in done.stderr
    assert file.read_text() == BEFORE
    file.write_text(AFTER)
    assert run(home, file.name, flag, "--url", URL).returncode == 0


def test_one_refused_line_and_no_file_is_written(home: Path, file: Path) -> None:
    (home / "other.txt").write_text("a\ngit+https://S3CRET@github.com/acme/tool.git\n")
    done = run(home, file.name, "other.txt", "--url", URL)
    assert done.returncode == 1
    assert "other.txt line 2: git+https://github.com/acme/tool.git has a credential in it" in done.stderr
    assert "nothing was written" in done.stderr
    assert done.stdout == ""
    assert file.read_text() == BEFORE


def test_a_link_stays_a_link(home: Path, file: Path) -> None:
    (home / "link.txt").symlink_to(file)
    assert run(home, "link.txt", "--url", URL).returncode == 0
    assert (home / "link.txt").is_symlink()
    assert file.read_text() == AFTER


def test_the_url_may_come_from_the_settings(home: Path, file: Path) -> None:
    config = home / "wheelgate.toml"
    feed = '[[source]]\nname="team"\ntype="index"\nprivate=true\nurl="https://pkgs.dev.azure.com/acme/_packaging/team/pypi/simple/"\n'
    config.write_text(f'[server]\npublic_url="{URL}"\n{feed}')
    assert run(home, file.name, "--config", config).returncode == 0
    assert file.read_text() == BEFORE.replace(BEFORE.splitlines()[1], f"--index-url {URL}/simple/")  # that container is no source
    config.write_text(f'[server]\nhost="0.0.0.0"\nanonymous="read"\n{feed}')
    done = run(home, file.name, "--config", config)
    assert done.returncode == 2
    assert "specify where people reach Wheelgate: server.public_url" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "Missing argument 'FILES...'"),
        (("requirements.txt",), "specify where Wheelgate is: --url"),
        (("requirements.txt", "--url", "https://u:p@wheelgate.internal"), "cannot be used: it carries user information"),
        (("requirements.txt", "--url", f"{URL}?a=b"), "must end with its path"),
        (("requirements.txt", "--sas", "--by-name"), "exclude each other"),
        (("requirements.txt", "--sas", "--life", "7d"), "must be between 10m and 2d"),
        (("requirements.txt", "--sas", "--life", "soon"), "must be a duration"),
        (("requirements.txt", "--sas", "--life", "1200"), "must say its unit: 1200d are days"),
        (("requirements.txt", "-c", "nowhere.toml"), "nowhere.toml: there is no such file"),
    ],
)
def test_wrong_usage_is_status_2(home: Path, file: Path, arguments: tuple[str, ...], sentence: str) -> None:
    done = run(home, *arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert file.read_text() == BEFORE


def test_files_that_cannot_be_rewritten(home: Path) -> None:
    (home / "latin.txt").write_bytes(b"caf\xe9\n")
    (home / "binary.txt").write_bytes(bytes(range(256)))
    (home / "pyproject.toml").write_text("")
    (home / "broken.yml").write_text("a: [\n")
    (home / "folder.txt").mkdir()
    for name, sentence in (
        ("nowhere.txt", "nowhere.txt: there is no such file"),
        ("latin.txt", "latin.txt: is not UTF-8 text"),
        ("binary.txt", "binary.txt: is not UTF-8 text"),
        ("pyproject.toml", "pyproject.toml: only requirements files (.txt, .in) and conda environments (.yml, .yaml)"),
        ("broken.yml", "broken.yml line 2: is not valid YAML"),
        ("folder.txt", "folder.txt: cannot be read: it is a folder, not a file"),
    ):
        done = run(home, name, "--url", URL)
        assert done.returncode == 1
        assert done.stderr.startswith(f"wheelgate: {sentence}")
        assert len(done.stderr.splitlines()) == 1


def test_a_place_that_cannot_be_written_stops_all_of_them(home: Path, file: Path) -> None:
    long = home / ("y" * 250 + ".txt")  # leaves no room for a temporary name, which not even root may exceed
    long.write_text(BEFORE)
    done = run(home, file.name, long.name, "--url", URL)
    assert done.returncode == 1
    assert "cannot be written: file name too long" in done.stderr
    assert file.read_text() == long.read_text() == BEFORE
    assert {path.name for path in home.iterdir()} == {file.name, long.name}


def test_without_storage_a_signature_is_refused_by_line(home: Path) -> None:
    (home / "r.txt").write_text("a\nhttp://127.0.0.1:9/devstoreaccount1/c/tool-1.0-py3-none-any.whl\n")
    config = home / "wheelgate.toml"
    config.write_text(
        '[[source]]\nname="c"\ntype="blob"\nurl="http://127.0.0.1:9/devstoreaccount1/c"\naccount_key="env:STORAGE_KEY"\n'
    )
    done = run(home, "r.txt", "--sas", "-c", config, STORAGE_KEY="a2V5")
    assert done.returncode == 1
    assert done.stderr.startswith("wheelgate: r.txt line 2: http://127.0.0.1:9/devstoreaccount1/c cannot be reached")
    assert "STORAGE_KEY is not set" in run(home, "r.txt", "--sas", "-c", config).stderr
