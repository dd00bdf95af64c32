"""Files rewritten for a real gate install through it, with real pip and uv; signed ones install without it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from azure.storage.blob.aio import ContainerClient

from tests.acceptance.configs import index_source
from tests.support.azurite import KEY, Azurite, azurite
from tests.support.clients import pip, uv
from tests.support.gate import Gate, command
from tests.support.index import FakeIndex
from tests.support.packages import sha256, wheel_bytes, wheel_name

SECRET = "sv=2026-10-06&sr=b&sig=S3CRET"
FEED = "/_packaging/team/pypi/simple/"


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    with azurite(tmp_path_factory.mktemp("rewriting")) as running:
        yield running


def curated(emulator: Azurite, name: str, blobs: dict[str, bytes]) -> str:
    """A new container's URL."""

    async def fill() -> str:
        async with ContainerClient.from_container_url(
            f"{emulator.url}/{name}", credential=KEY, api_version="2026-06-06"
        ) as container:
            await container.create_container()
            for path, body in blobs.items():
                await container.upload_blob(path, body)
        return f"{emulator.url}/{name}"

    return asyncio.run(fill())


def test_pip_and_uv_install_from_rewritten_files(
    emulator: Azurite,
    start_gate: Callable[..., Gate],
    index: FakeIndex,
    second_index: FakeIndex,
    home: Path,
) -> None:
    tool = wheel_bytes("acme-tool", "1.0+cu118", requires=["public-base"])
    container = curated(emulator, "curated", {f"team a/deep/{wheel_name('acme_tool', '1.0+cu118')}": tool})
    index.publish("public-base", wheel_name("public-base", "2.0"), wheel_bytes("public-base", "2.0"))
    second_index.publish("acme-feed", wheel_name("acme-feed", "3.0"), wheel_bytes("acme-feed", "3.0"))
    key = home / "key"
    key.write_text(KEY)
    blob = f'[[source]]\nname = "curated"\ntype = "blob"\nurl = "{container}"\naccount_key = "file:{key}"\n'
    gate = start_gate(blob + index_source(second_index, "feed", private=True) + index_source(index))

    url = f"{container}/team%20a/deep/acme_tool-1.0%2Bcu118-py3-none-any.whl?{SECRET}"
    before = (
        f"# all of ours\n--extra-index-url {second_index.url.replace('//', '//build:S3CRET@', 1)}\n"
        f"acme-tool @ {url}#sha256={sha256(tool)} ; python_version > '3.0'\nacme-feed==3.0 \\\n    # from the feed\n"
    )
    requirements, by_name, conda = home / "requirements.txt", home / "by-name.txt", home / "environment.yml"
    requirements.write_text(before)
    by_name.write_text(before)
    conda.write_text(
        "dependencies:\n- python\n- pip:\n"
        f"  - --extra-index-url {second_index.url.replace('//', '//build:S3CRET@', 1)}\n  - {url}\n  - acme-feed\n"
    )
    for arguments in ((requirements, conda), ("--by-name", by_name)):
        done = command(home, "rewrite", "-c", gate.config, "--url", gate.url, *arguments)
        assert done.returncode == 0, done.stderr
        assert "S3CRET" not in done.stdout + done.stderr
    assert f"{gate.url}/files/acme-tool/" in requirements.read_text()
    assert "acme-tool==1.0+cu118 ;" in by_name.read_text()
    from_conda = home / "from-conda.txt"
    from_conda.write_text("\n".join(yaml.safe_load(conda.read_text())["dependencies"][1]["pip"]))

    for position, file in enumerate((requirements, by_name, from_conda)):
        pip(home, "install", "--no-cache-dir", "-r", file, "--target", home / f"site{position}")
        for module in ("acme_tool", "acme_feed", "public_base"):
            assert (home / f"site{position}" / f"{module}.py").exists()
    uv(home, "venv", "--python", sys.executable, home / "venv")
    uv(home, "pip", "install", "--no-cache", "-r", requirements, env={"VIRTUAL_ENV": str(home / "venv")})


def test_signed_urls_install_where_no_gate_stands(emulator: Azurite, home: Path) -> None:
    body = wheel_bytes("acme-signed", "1.0")
    name = wheel_name("acme-signed", "1.0")
    container = curated(emulator, "signed", {f"sub/{name}": body})
    config = home / "wheelgate.toml"
    config.write_text(f'[[source]]\nname = "c"\ntype = "blob"\nurl = "{container}"\naccount_key = "env:STORAGE_KEY"\n')
    requirements = home / "requirements.txt"
    requirements.write_text(f"acme-signed @ {container}/sub/{name}?{SECRET}#sha256={sha256(body)}  # signed\n")
    pip(home, "install", "--no-cache-dir", "-r", requirements, "--target", home / "before", ok=False)
    done = command(home, "rewrite", requirements, "--sas", "--life", "30m", "--config", config, STORAGE_KEY=KEY)
    assert done.returncode == 0, done.stderr
    assert "the signed URLs expire at 20" in done.stderr
    signed = requirements.read_text()
    assert "sig=" not in done.stdout + done.stderr
    assert signed.split("sig=")[1].partition("&")[0] not in done.stdout + done.stderr
    assert signed.endswith(f"#sha256={sha256(body)}  # signed\n")
    pip(home, "install", "--no-cache-dir", "-r", requirements, "--target", home / "after")
    assert (home / "after" / "acme_signed.py").exists()

    requirements.write_text(f"a\n{container}/sub/acme_gone-1.0-py3-none-any.whl\n")
    done = command(home, "rewrite", requirements, "--sas", "--config", config, STORAGE_KEY=KEY)
    assert done.returncode == 1
    assert f"line 2: there is no {container}/sub/acme_gone-1.0-py3-none-any.whl" in done.stderr
