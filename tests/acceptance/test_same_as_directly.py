"""Real projects, read directly and through the server: the same files and facts, chosen alike by pip and uv, failures too."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import pip, uv
from tests.support.gate import Gate, fetch, gate
from tests.support.index import SIMPLE_JSON
from wheelgate.config import PUBLIC_INDEX
from wheelgate.core.names import version_of

pytestmark = [pytest.mark.public, pytest.mark.timeout(600)]

SHAPES = {
    "names in odd spellings": [
        "zope.interface",
        "ruamel.yaml",
        "Flask_SQLAlchemy",
        "discord.py",
        "jaraco.functools",
        "keyrings.alt",
    ],
    "yanked versions": ["attrs", "certifi", "jsonschema", "pytest", "urllib3", "litellm"],
    "eggs, installers, other files of old": [
        "setuptools",
        "Twisted",
        "simplejson",
        "cx_Oracle",
        "psycopg2",
        "MarkupSafe",
        "pycurl",
    ],
    "long lists": ["botocore", "boto3", "grpcio", "pydantic-core", "cryptography", "lxml", "tf-nightly", "awscli"],
    "files for many platforms": ["numpy", "pandas", "scipy", "torch", "polars", "orjson", "pillow", "pyzmq"],
    "requires-python of many kinds": ["six", "enum34", "futures", "dataclasses", "importlib-metadata", "virtualenv", "ipython"],
    "sdists alone": ["pycrypto", "docopt", "seqeval", "pyspark", "antlr4-python3-runtime"],
    "pre-releases alone": ["opentelemetry-instrumentation", "opentelemetry-semantic-conventions"],
    "wheels alone": ["pywin32", "nvidia-cublas-cu12", "jaxlib"],
    "odd versions": ["pytz", "PyYAML", "pyflakes", "dnspython", "opencv-python"],
    "attestations": ["sigstore", "uv", "pypi-attestations"],
    "Azure": ["azure-storage-blob", "azure-ai-ml", "azureml-core", "mlflow-skinny"],
    "nothing at all": ["wheelgate-has-no-such-project"],
}
PROJECTS = [
    pytest.param(name, id=name, marks=[] if name in ("jaraco.functools", "docopt") else [pytest.mark.long])
    for names in SHAPES.values()
    for name in names
]
SETS: dict[str, tuple[str, ...]] = {
    "a web service": ("fastapi[standard]", "sqlalchemy>=2", "psycopg2"),
    "data science": ("pandas", "scikit-learn", "matplotlib<4"),
    "Azure": ("azure-identity", "azure-storage-blob", "azure-ai-ml"),
    "models": ("mlflow-skinny", "transformers<5"),
    "a bound from below alone": ("numpy<2", "scipy"),
    "an sdist with hidden needs": ("seqeval",),
    "pre-releases alone": ("opentelemetry-instrumentation-requests",),
    "a version that was yanked": ("attrs==21.1.0",),
    "a contradiction": ("urllib3<1.20", "requests>=2.32"),
    "a version that there is not": ("idna==99.0",),
    "a name that there is not": ("wheelgate-has-no-such-project",),
}
FAIL = {"a contradiction", "a version that there is not", "a name that there is not"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    with gate(tmp_path_factory.mktemp("gate"), "") as made:
        yield made


def facts_of(page: dict[str, Any]) -> dict[str, Any]:
    """Everything that a page says, as far as it is about the project: where the files lie is the server's own affair."""
    return {
        "name": page["name"],
        "versions": sorted(page["versions"]),
        "status": page.get("project-status"),
        "files": {
            file["filename"]: {
                "hashes": file["hashes"],
                "requires-python": file.get("requires-python"),
                "size": file.get("size"),
                "uploaded": datetime.fromisoformat(file["upload-time"]),
                "yanked": file.get("yanked", False),
                "provenance": file.get("provenance"),
                "metadata": file.get("core-metadata") or None,
            }
            for file in page["files"]
        },
    }


@pytest.mark.parametrize("project", PROJECTS)
def test_a_page_says_what_the_public_one_says(server: Gate, project: str) -> None:
    name = re.sub(r"[-_.]+", "-", project).lower()
    there = fetch(f"{PUBLIC_INDEX}{name}/", {"Accept": SIMPLE_JSON})
    if there.status != 200:
        assert (there.status, server.get(f"/simple/{name}/", {"Accept": SIMPLE_JSON}).status) == (404, 404)
        return
    direct, ours = facts_of(json.loads(there.body)), facts_of(server.page(name))
    assert ours["files"].keys() == direct["files"].keys()
    for filename, said in direct["files"].items():
        known = ours["files"][filename]
        if said["metadata"] is None:  # what we found out about it, which it does not tell
            said["metadata"] = known["metadata"]
        assert known == said, filename
    assert (ours["name"], ours["status"]) == (direct["name"], direct["status"])
    more = set(ours["versions"]).difference(direct["versions"])
    assert len(ours["versions"]) - len(more) == len(direct["versions"])
    # Of old files whose names state another version than their release has; that every file has its version there is PEP 700's.
    assert more <= {version_of(filename, name) for filename in direct["files"]}


@pytest.mark.parametrize("project", PROJECTS)
def test_pip_and_uv_read_the_same(server: Gate, home: Path, project: str) -> None:
    def told(index_url: str, place: Path) -> list[str]:
        place.mkdir()
        versions = pip(place, "index", "versions", "--pre", "--index-url", index_url, project, ok=None)
        pinned = read_by_uv(place, index_url, [project], "--no-deps", "--prerelease", "allow")
        return [versions.stdout, f"pip ended with {versions.returncode}", pinned]

    assert told(server.index_url, home / "ours") == told(PUBLIC_INDEX, home / "direct")


@pytest.mark.long
@pytest.mark.parametrize("name", SETS)
def test_a_set_resolves_alike(server: Gate, home: Path, name: str) -> None:
    ours, direct = (
        resolved(home / where, url, SETS[name]) for where, url in (("ours", server.index_url), ("direct", PUBLIC_INDEX))
    )
    assert ours == direct
    assert ("ended with 0" not in ours["uv"]) == (name in FAIL)


def resolved(home: Path, index_url: str, needs: tuple[str, ...]) -> dict[str, Any]:
    """What pip and uv choose for these needs, with digests; of a failure, what they say."""
    home.mkdir()
    options = (
        "--dry-run",
        "--ignore-installed",
        "--quiet",
        "--no-cache-dir",
        "--only-binary",
        ":all:",
        "--report",
        "report.json",
    )
    done = pip(home, "install", *options, "--index-url", index_url, *needs, ok=None)
    chosen: Any = without_places(done.stderr, index_url)
    if done.returncode == 0:
        # pip reads core metadata of its own as text, with one kind of line end, and that in a wheel as it is.
        report = json.loads((home / "report.json").read_text().replace(r"\r\n", r"\n"))
        chosen = {
            item["metadata"]["name"]: (item["metadata"], item["download_info"]["archive_info"], item["is_yanked"])
            for item in report["install"]
        }
    return {"pip": chosen, "pip ended with": done.returncode, "uv": read_by_uv(home, index_url, needs)}


def read_by_uv(home: Path, index_url: str, needs: tuple[str, ...] | list[str], *options: str) -> str:
    """The lock that uv makes, or its refusal."""
    (home / "needs.in").write_text("\n".join(needs))
    more = ("--no-header", "--no-annotate", "--generate-hashes", "--no-cache", "--quiet", *options)
    certificates = {"UV_SYSTEM_CERTS": "true"}  # those by which the server reaches the public index, too
    done = uv(home, "pip", "compile", *more, "--default-index", index_url, "needs.in", env=certificates, ok=None)
    return f"{without_places(done.stdout + done.stderr, index_url)}\nended with {done.returncode}"


def without_places(text: str, index_url: str) -> str:
    return text.replace(index_url.rstrip("/"), "INDEX")
