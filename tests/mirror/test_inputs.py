"""Every form of input, as the tools that write them do; and each broken, with the sentence that says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.clients import uv
from tests.support.index import FakeIndex
from tests.support.packages import build_backend, metadata, sdist_bytes, wheel_bytes, wheel_name
from wheelgate.core.errors import BadInput
from wheelgate.mirror.inputs import read_input, read_projects
from wheelgate.mirror.inputs_model import MirrorInput, NeededRelease
from wheelgate.mirror.targets import parse_target

LINUX, WINDOWS = parse_target("3.11", "linux-x86_64"), parse_target("3.10", "windows-x86_64")
DIGEST = "a" * 64


def read(folder: Path, text: str, name: str = "requirements.txt", **environment: str) -> MirrorInput:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return read_input(path, environment)


def written(asked: MirrorInput) -> list[str]:
    return [str(line.requirement) for line in asked.requirements]


def files(needs: list[NeededRelease]) -> list[str]:
    return sorted(need.filename or "" for need in needs)


def test_requirements_as_pip_reads_them(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "more.txt").write_text("-c ../limits.txt\nidna==3.7 # pinned\n")
    (tmp_path / "limits.txt").write_text("numpy<2\n")
    asked = read(
        tmp_path,
        "\ufeff# a comment\n"
        "--index-url https://user:secret@python.example.com/simple/\n"
        "-r sub/more.txt\n"
        "Flask[async]>=3,<4 ; python_version >= '3.8'\n"
        f"demo==1.0 \\\n    --hash=sha256:{DIGEST.upper()} \\\n    --hash=sha256:{'b' * 64}\n"
        "acme-${STAGE}==2\n--no-binary=demo,Other_One\n--pre\n\n",
        STAGE="test",
    )
    assert written(asked) == ["idna==3.7", 'Flask[async]<4,>=3; python_version >= "3.8"', "demo==1.0", "acme-test==2"]
    assert asked.requirements[2].hashes == {f"sha256:{DIGEST}", f"sha256:{'b' * 64}"}
    assert asked.requirements[2].where.endswith("requirements.txt line 5")
    assert [line.project for line in asked.constraints] == ["numpy"]
    assert asked.options.no_binary == {"demo", "other-one"}
    assert asked.options.all_releases == {":all:"}
    assert not asked.is_locked
    (note,) = asked.notes
    assert "--index-url is ignored" in note
    assert "secret" not in note


def test_odd_lines_are_read_as_pip_reads_them(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("idna\n")
    asked = read(
        tmp_path,
        f"demo==1.0 \\\\\n  --hash=sha256:{DIGEST}\n\\other \\\n ==1.0\n--index https://a\n--extra https://b --pre\n"
        "--pypi-url https://c\n-ra.txt --pre\nlast --pre --index-url https://d\n",
    )
    assert written(asked) == ["demo==1.0", "other==1.0", "idna", "last"]
    assert asked.requirements[0].hashes == {f"sha256:{DIGEST}"}
    assert asked.options.all_releases == {":all:"}
    assert [note.partition("line ")[2] for note in asked.notes] == [
        "5: --index-url is ignored: files come from the configured sources",
        "6: --extra-index-url is ignored: files come from the configured sources",
        "7: --index-url is ignored: files come from the configured sources",
    ]


def test_hashes_on_every_line_are_a_lock(tmp_path: Path) -> None:
    assert read(tmp_path, f"demo==1.0 --hash=sha256:{DIGEST}\nother===2 --hash sha256:{DIGEST}\n").is_locked
    assert not read(tmp_path, f"demo==1.* --hash=sha256:{DIGEST}\n").is_locked


def test_a_url_that_wheel_add_printed_is_that_version_by_its_hash(tmp_path: Path) -> None:
    url = f"https://wheelgate.internal/python/files/acme-tool/acme_tool-1.0%2Blocal-py3-none-any.whl#sha256={DIGEST}"
    (line,) = read(tmp_path, f"acme-tool @ {url} ; sys_platform == 'linux'\n").requirements
    assert str(line.requirement) == 'acme-tool==1.0+local; sys_platform == "linux"'
    assert line.hashes == {f"sha256:{DIGEST}"}
    assert line.holds_for(LINUX)
    assert not line.holds_for(WINDOWS)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("demo=1.0\n", "requirements.txt line 1: 'demo=1.0' is not a requirement such as demo==1.0"),
        ("\n\n-r missing.txt\n", "line 3: .*missing.txt: there is no such file"),
        ("-r requirements.txt\n", "includes itself"),
        ("-r https://example.com/x.txt\n", "line 1: -r of a file on the web"),
        ("git+https://token@example.com/acme/tool.git\n", "line 1: a URL or a path is not a file of an index"),
        ("tool @ https://token@example.com/tool-1.0.zip\n", "line 1: a URL or a path"),
        ("./tool-1.0-py3-none-any.whl\n", "line 1: a URL or a path"),
        ("tool @ https://a:token@example.com/tool.zip ; nonsense\n", "line 1: a URL or a path"),
        ("tool@a:token@example.com #x ==\n", "line 1: a URL or a path"),
        ("demo ; os_name != 'x\\n-e evil'\n", "line 1: .* is not a requirement"),
        ("demo ; os_name != 'x\\x22\\x27'\n", "line 1: .* is not a requirement"),
        ("-e .\n", "line 1: an editable project"),
        ("--frobnicate\n", "line 1: the option --frobnicate is not known"),
        ("\n--no demo\n", "line 2: the option --no is ambiguous"),
        ("demo --hash=md5:00\n", "line 1: --hash has a value that pip refuses"),
        ("demo \\\n  --hash\n", "line 1: --hash needs a value"),
        ("-f 'x\n", "line 1: a quote is not closed"),
        ("-r\n", "line 1: --requirement needs a value"),
        ("# nothing\n", "asks for nothing"),
    ],
)
def test_broken_requirements(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence) as error:
        read(tmp_path, text)
    assert "token" not in str(error.value)


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"nope\.txt: there is no such file"):
        read_input(tmp_path / "nope.txt", {})
    (tmp_path / "latin.txt").write_bytes(b"demo # \xe9\n")
    with pytest.raises(BadInput, match="is not UTF-8 text"):
        read_input(tmp_path / "latin.txt", {})


@pytest.mark.parametrize("name", ["six", "azure-ai-ml==1.2.0"])
def test_a_project_given_as_a_file_is_told_how_projects_are_named(name: str) -> None:
    with pytest.raises(BadInput, match=f"{name}: there is no such file; a project is named by --project {name}$"):
        read_input(Path(name), {})


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("setup.py", "says what a project needs only when it is built: lock it"),
        ("setup.cfg", "says what a project needs only when it is built"),
        ("Pipfile", "give the Pipfile.lock, which `pipenv lock` writes"),
        ("pixi.lock", "is pixi's, whose packages come from a conda channel"),
        ("uv.toml", "is the settings of a tool, and asks for no package"),
        ("pip.conf", "is the settings of a tool"),
        ("other.lock", "is none of the locks that are known by their names: pylock.toml, uv.lock"),
        ("Dockerfile", "is run, not read: give the requirements or conda file that it installs"),
        ("gpu.Dockerfile", "is run, not read"),
        ("wheelgate-mirror.json", "is the manifest of a mirror: copy that mirror with --from"),
        ("azureml_environment.json", "is JSON: save the conda file that it holds"),
        ("demo-1.0-py3-none-any.whl", "is a file to be installed: name its project and version with --project"),
        ("demo-1.0.tar.gz", "is a file to be installed"),
        ("train.py", "is a program: lock what it needs, with `uv lock --script`"),
    ],
)
def test_a_file_that_is_no_input_is_told_what_it_is(tmp_path: Path, name: str, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        read(tmp_path, "anything\n", name)


def test_projects_on_the_command_line() -> None:
    asked = read_projects(["pandas>=2", "demo"], {})
    assert written(asked) == ["pandas>=2", "demo"]
    with pytest.raises(BadInput, match="--project"):
        read_projects(["pandas >> 2"], {})


CONDA = """
name: train
channels: [conda-forge]
dependencies:
  - python=3.10
  - pip
  - pip:
      - pandas==2.2.2
      - --extra-index-url https://python.example.com/
      - -r more.txt
"""


def test_a_conda_file(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("idna\n")
    asked = read(tmp_path, CONDA, "environment.yml")
    assert written(asked) == ["pandas==2.2.2", "idna"]
    assert asked.python is not None
    assert asked.python.said == "=3.10"
    assert any("2 conda packages are ignored" in note for note in asked.notes)


def test_anchors_in_a_conda_file(tmp_path: Path) -> None:
    """A node stands in several places; it is read once, so that a few lines never become a terabyte."""
    bomb = "".join(f"a{n}: &a{n} {{pip: [{', '.join([f'*i{n}'] * 50)}]}}\n" for n in range(50))
    items = "".join(f"i{n}: &i{n} demo{n}==1\n" for n in range(50))
    uses = ", ".join(f"*a{n}" for n in range(50))
    asked = read(tmp_path, f"{items}{bomb}dependencies: [{', '.join([uses] * 50)}]\n", "environment.yml")
    assert written(asked) == [f"demo{n}==1" for n in range(50)]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("dependencies: [python=3.10]\n", "has no pip section"),
        ("name: x\n", "no list of dependencies"),
        ("dependencies: [a\n", r"is not valid YAML \(line"),
        ("dependencies:\n- pip: [1]\n", "environment.yml line 2: the pip item is not text"),
        ("dependencies:\n- pip: ['demo=1']\n", "environment.yml line 2: 'demo=1' is not a requirement"),
        ("image: mcr.example.com/x\n", "names no conda_file"),
        ("image: x\nconda_file:\n", "names no conda_file"),
        ("build: {path: .}\n", "is built from a Dockerfile: give the requirements or conda file that this one installs"),
        ("command: python x.py\nenvironment: azureml:x@latest\n", "has its packages from an environment: give that one's file"),
        ("jobs: {}\n", "is a job, a component or a deployment"),
        ("package: []\nmetadata: {}\nversion: 1\n", "is a lock of conda, .*: give the environment.yml that it was made from"),
        ("dependencies:\n- python>=abc\n", "line 2: '>=abc' does not say which Python it is for"),
        ("x: &x {name: a}\n<<: *x\n", r"has a YAML merge key \(<<\): write out what it stands for \(line 2\)"),
        ("dependencies: []\ndependencies: []\n", r"says one thing twice \(line 2\)"),
        ("dependencies:\n- !!str pip\n", r"has a YAML tag.* \(line 2\)"),
        ("[" * 60_000, "is nested too deeply"),
        ("dependencies: &a [*a]\n", "line 1: the dependency is neither a conda package nor a list for pip"),
    ],
)
def test_broken_conda_files(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        read(tmp_path, text, "environment.yml")


def test_an_azure_ml_environment_folder(tmp_path: Path) -> None:
    folder = tmp_path / "env"
    folder.mkdir()
    (folder / "environment.yml").write_text("$schema: x\nname: train\nimage: base\nconda_file: conda/conda.yml\n")
    (folder / "conda").mkdir()
    (folder / "empty").mkdir()
    (folder / "conda" / "conda.yml").write_text("dependencies:\n- python=3.9\n- pip: [demo==1]\n")
    (folder / "requirements.txt").write_text("idna\n")
    asked = read_input(folder, {})
    assert written(asked) == ["demo==1", "idna"]
    assert asked.python is not None
    assert asked.python.said == "=3.9"
    with pytest.raises(BadInput, match=r"neither a conda file .* nor a requirements.txt"):
        read_input(folder / "empty", {})


def publish(index: FakeIndex) -> None:
    """``app-lib`` needs ``colour`` on Windows alone, and has wheels for two platforms; ``only-source`` is an sdist."""
    body = metadata("app-lib", "1.0", requires=["colour; sys_platform == 'win32'", "only-source"])
    for tag in ("cp311-cp311-manylinux_2_17_x86_64", "cp310-cp310-win_amd64"):
        name = f"app_lib-1.0-{tag}.whl"
        wheel = wheel_bytes("app-lib", "1.0", metadata_body=body, extra={f"app_lib/{tag}": b""})
        index.publish("app-lib", name, wheel, metadata=body)
    index.publish("colour", wheel_name("colour", "2.0"), wheel_bytes("colour", "2.0"), metadata=metadata("colour", "2.0"))
    index.publish("only-source", "only_source-3.0.tar.gz", sdist_bytes("only-source", "3.0"))
    index.publish("extra-one", wheel_name("extra-one", "1.0"), wheel_bytes("extra-one", "1.0"))
    index.publish("setuptools", wheel_name("setuptools", "80.0"), build_backend("only-source", "3.0"))


def locked_with_uv(index: FakeIndex, folder: Path) -> Path:
    publish(index)
    folder.mkdir(exist_ok=True)
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "app"\nversion = "0"\nrequires-python = ">=3.10"\ndependencies = ["app-lib"]\n'
        '[project.optional-dependencies]\nmore = ["extra-one"]\n'
    )
    uv(folder, "lock", "--default-index", index.url)
    return folder


@pytest.mark.long
@pytest.mark.parametrize("form", ["uv.lock", "pylock.toml"])
def test_locks_that_uv_wrote(index: FakeIndex, tmp_path: Path, form: str) -> None:
    folder = locked_with_uv(index, tmp_path / "project")
    if form == "pylock.toml":
        uv(
            folder,
            "export",
            "--default-index",
            index.url,
            "--format",
            "pylock.toml",
            "--all-extras",
            "-o",
            "pylock.toml",
            "-q",
            "--no-emit-project",
        )
    asked = read_input(folder / form, {})
    assert asked.is_locked
    assert asked.lock is not None
    everywhere = ["extra_one-1.0-py3-none-any.whl", "only_source-3.0.tar.gz"]
    linux = asked.lock(LINUX).needs
    assert files(linux) == ["app_lib-1.0-cp311-cp311-manylinux_2_17_x86_64.whl", *everywhere]
    windows = asked.lock(WINDOWS).needs
    assert files(windows) == ["app_lib-1.0-cp310-cp310-win_amd64.whl", "colour-2.0-py3-none-any.whl", *everywhere]
    (source,) = (need for need in linux if need.project == "only-source")
    assert source.version == "3.0"
    assert source.hashes == {f"sha256:{index.projects['only-source']['only_source-3.0.tar.gz'].entry['hashes']['sha256']}"}
    with pytest.raises(BadInput, match=r"app.lib.*Python 3.12 on macos-arm64|Python 3.12 on macos-arm64.*app-lib"):
        asked.lock(parse_target("3.12", "macos-arm64"))


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("pylock.toml", 'lock-version = "7.0"\ncreated-by = "x"\npackages = []\n', "version that is not supported.*1.0 is"),
        ("pylock.toml", 'lock-version = "1.0"\n', "not a valid pylock.toml"),
        ("pylock.toml", "=", "not valid TOML"),
        ("uv.lock", "version = 9\n", "version 9, which is not supported; 1 is"),
        ("uv.lock", "x = 1\n", "is no lock, or not a whole one: it does not say of which version it is"),
        ("uv.lock", "version = 1\n[[package]]\nname = 1\n", "not a valid uv.lock"),
        (
            "uv.lock",
            'version = 1\n[[package]]\nname = "a"\nsource = { virtual = "." }\ndependencies = [{ name = "b" }]\n',
            "incomplete: b",
        ),
        (
            "uv.lock",
            'version = 1\n[[package]]\nname = "a"\nversion = "1"\nsource = { git = "https://x" }\n',
            "a is locked to a repository",
        ),
    ],
)
def test_broken_locks(tmp_path: Path, name: str, text: str, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        asked = read(tmp_path, text, name)
        assert asked.lock is not None
        asked.lock(LINUX)
