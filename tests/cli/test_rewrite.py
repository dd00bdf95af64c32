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
    feed, container = "https://pkgs.dev.azure.com/acme/_packaging/team/pypi/simple/", "https://acct.blob.core.windows.net/wheels"
    assert done.stderr.splitlines() == [
        f"wheelgate: requirements.txt line 2: {feed} must be a source of Wheelgate, or its names are asked of public PyPI",
        f"wheelgate: requirements.txt line 3: {container} must be a source of Wheelgate, or its names are asked of public PyPI",
        "wheelgate: rewrote requirements.txt",
    ]
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


def test_nothing_is_written_through_a_link(home: Path, file: Path) -> None:
    (home / "link.txt").symlink_to(file)
    done = run(home, "link.txt", "--url", URL)
    assert done.returncode == 1
    assert "link.txt: is a link, and nothing is written through one" in done.stderr
    assert file.read_text() == BEFORE
    assert run(home, "link.txt", "--url", URL, "--check").returncode == 1
    (home / "folder").mkdir()
    (home / "folder" / "requirements.txt").symlink_to(file)
    assert "nothing to change" in run(home, "folder", "--url", URL).stderr
    assert file.read_text() == BEFORE


def test_a_folder_is_read_by_the_names_of_its_files(home: Path) -> None:
    for name, text in (
        ("requirements/base.txt", BEFORE),
        (
            "docker/Dockerfile",
            "FROM x\nRUN pip install -i https://build:S3CRET@pkgs.dev.azure.com/acme/_packaging/team/pypi/simple/ a\n",
        ),
        ("ml/job.yml", "command: x\nenvironment_variables:\n  MY_PAT: S3CRETS3CRET\n"),
        ("ml/odd.yml", "a: !tag b\n"),
        (".venv/requirements.txt", BEFORE),
        ("notes.md", "S3CRET\n"),
        ("story.txt", "S3CRET\n"),
    ):
        (home / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (home / "tree" / name).write_text(text)
    done = run(home, "tree", "--url", URL)
    assert done.returncode == 1
    assert (home / "tree/requirements/base.txt").read_text() == AFTER
    assert (home / "tree/docker/Dockerfile").read_text() == f"FROM x\nRUN pip install -i {URL}/simple/ a\n"
    assert (home / "tree/.venv/requirements.txt").read_text() == BEFORE
    assert "wheelgate: tree/ml/job.yml line 3: a credential is left that no rule explains: see to it by hand" in done.stderr
    assert "wheelgate: tree/ml/odd.yml line 1: has a YAML tag" in done.stderr
    assert "2 other files in the folders" in done.stderr
    assert "2 things are left to you" in done.stderr
    again = run(home, "tree", "--url", URL, "--check")
    assert again.returncode == 1
    assert "nothing to change" in again.stderr


@pytest.mark.parametrize(
    ("encoding", "first"),
    [("utf-16", ""), ("utf-16-be", "\ufeff"), ("utf-8-sig", ""), ("latin-1", "# -*- coding: latin-1 -*-\r\n")],
)
def test_a_file_keeps_its_encoding(home: Path, encoding: str, first: str) -> None:
    before = f"{first}# caf\xe9\r\n{BEFORE}"
    (home / "requirements.txt").write_bytes(before.encode(encoding))
    assert run(home, "requirements.txt", "--url", URL).returncode == 0
    after = (home / "requirements.txt").read_bytes()
    assert after == f"{first}# caf\xe9\r\n{AFTER}".encode(encoding)


def test_two_files_of_one_name_are_told_apart(home: Path) -> None:
    for folder in ("a", "b"):
        (home / folder).mkdir()
        (home / folder / "environment.yml").write_text("dependencies:\n- pip:\n  - a\n")
    (home / "b" / "environment.yml").write_text("a: [\n")
    done = run(home, "a/environment.yml", "b/environment.yml", "--url", URL)
    assert done.stderr.startswith("wheelgate: b/environment.yml line 2: is not valid YAML")


def test_a_file_without_packages_is_said_to_be_that(home: Path) -> None:
    (home / "job.yml").write_text("command: python train.py\n")
    done = run(home, "job.yml", "--url", URL, "--check")
    assert done.returncode == 0
    assert "job.yml: is a YAML document without any list of packages" in done.stderr


def test_a_lock_is_rewritten_and_restored(home: Path) -> None:
    lock = home / "uv.lock"
    before = (
        'version = 1\n[[package]]\nname = "tool"\nsource = { registry = "https://pypi.org/simple" }\n'
        'wheels = [\n    { url = "https://files.pythonhosted.org/packages/a/tool-1.0-py3-none-any.whl", hash = "sha256:00" }\n]\n'
    )
    lock.write_text(before)
    assert run(home, lock.name, "--url", URL).returncode == 0
    assert f'url = "{URL}/files/tool/tool-1.0-py3-none-any.whl", hash = "sha256:00"' in lock.read_text()
    assert run(home, lock.name, "--url", URL, "--check").returncode == 0
    done = run(home, lock.name, "--url", URL, "--restore")
    assert (done.returncode, lock.read_text()) == (0, before)
    (home / "requirements.txt").write_text("a\n")
    done = run(home, "requirements.txt", "--url", URL, "--restore")
    assert "is a requirements file, and only locks can be restored" in done.stderr


def test_the_url_may_come_from_the_settings(home: Path, file: Path) -> None:
    config = home / "wheelgate.toml"
    feed = '[[source]]\nname="team"\ntype="index"\nprivate=true\nurl="https://pkgs.dev.azure.com/acme/_packaging/team/pypi/simple/"\n'
    config.write_text(f'[server]\npublic_url="{URL}"\n{feed}')
    assert run(home, file.name, "--config", config).returncode == 1  # the signature of what is no source is left
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
    (home / "setup.py").write_text("")
    (home / "broken.yml").write_text("a: [\n")
    for name, sentence in (
        ("nowhere.txt", "nowhere.txt: there is no such file"),
        ("latin.txt", "latin.txt: is not UTF-8 text"),
        ("binary.txt", "binary.txt: is not UTF-8 text"),
        (
            "setup.py",
            "setup.py: is of no kind that can be rewritten, which are requirements files (.txt, .in); conda environments",
        ),
        ("broken.yml", "broken.yml line 2: is not valid YAML"),
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


def test_a_lock_that_knows_its_settings_must_be_rewritten_with_them(home: Path) -> None:
    (home / "pyproject.toml").write_text(
        '[[tool.poetry.source]]\nname = "team"\nurl = "https://pkgs.dev.azure.com/acme/_packaging/team/pypi/simple/"\n'
    )
    (home / "poetry.lock").write_text(f'[metadata]\ncontent-hash = "{"0" * 64}"\n')
    done = run(home, "pyproject.toml", "--url", URL, "--check")
    assert done.returncode == 1
    assert "poetry.lock: is the lock of pyproject.toml, which changes, and was not named" in done.stderr
    done = run(home, "pyproject.toml", "poetry.lock", "--url", URL)
    assert done.returncode == 1
    assert "does not hold the digest of it as it was: lock anew" in done.stderr
