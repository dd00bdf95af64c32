"""What happens inside the firewall: a bundle arrives on a disk, goes into storage, and builds install from it. Run by
`test_airgap.py` in a network namespace; prints a line a step, and ends with an error if one fails."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from azure.storage.blob.aio import BlobServiceClient

from tests.support.airgap import loopback_up, prove_that_nothing_gets_out
from tests.support.azurite import KEY, azurite
from tests.support.clients import pip, uv
from tests.support.gate import WHEELGATE, environment, gate

CONTAINER = "mirror"


def main(folder: Path) -> None:
    loopback_up()
    prove_that_nothing_gets_out()
    print("nothing gets out", flush=True)
    with azurite(folder / "azurite", memory=False) as emulator:
        asyncio.run(create(emulator.url))
        url = f"{emulator.url}/{CONTAINER}"
        carry(folder, url)
        (folder / "gate").mkdir()
        (folder / "gate" / "key").write_text(KEY)
        source = f'[[source]]\nname = "mirror"\ntype = "blob"\nlayout = "project"\nurl = "{url}"\naccount_key = "file:key"\n'
        config = f'[server]\noffline = true\n{source}[[source]]\nname = "pypi"\ntype = "index"\n'
        with gate(folder / "gate", config) as server:
            build(folder, server.index_url)


async def create(account: str) -> None:
    async with BlobServiceClient(account, credential=KEY) as service:
        await service.create_container(CONTAINER)


def carry(folder: Path, url: str) -> None:
    command = [WHEELGATE, "mirror", "--data", "data", "--account-key", "env:STORAGE_KEY"]
    env = environment(folder, STORAGE_KEY=KEY)
    for arguments in (["--from", "file:./bundle", "--to", url], ["requirements.txt", "--verify", "--to", url]):
        done = subprocess.run([*command, *arguments], cwd=folder, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        print(done.stdout.strip(), flush=True)


def build(folder: Path, index: str) -> None:
    requirements = folder / "requirements.txt"
    home = folder / "home-uv"
    home.mkdir()
    uv(home, "venv", "--python", sys.executable, home / "venv")
    inside = {"VIRTUAL_ENV": str(home / "venv")}
    uv(home, "pip", "install", "--no-cache", "--default-index", index, "-r", requirements, env=inside)
    check(home / "venv" / "bin" / "python")
    print("uv pip install: done", flush=True)
    home = folder / "home-pip"
    home.mkdir()
    pip(home, "install", "--no-cache-dir", "--index-url", index, "-r", requirements, "--target", home / "site")
    check(Path(sys.executable), home / "site")
    print("pip install -r: done", flush=True)
    # conda writes the pip section into a file beside the environment, one entry a line, and runs pip on it.
    section = [line.strip()[2:] for line in (folder / "environment.yml").read_text().split("pip:\n")[1].splitlines()]
    (folder / "condaenv.txt").write_text("\n".join(section))
    home = folder / "home-conda"
    home.mkdir()
    pip(
        home,
        "install",
        "-U",
        "--no-cache-dir",
        "-r",
        folder / "condaenv.txt",
        "--target",
        home / "site",
        env={"PIP_INDEX_URL": index},
    )
    check(Path(sys.executable), home / "site")
    print("the pip section of environment.yml: done", flush=True)


def check(python: Path, site: Path | None = None) -> None:
    """The packages work, not only lie there."""
    program = (
        "import pandas, sklearn.linear_model, mlflow, azure.identity, numpy as np\n"
        "assert pandas.DataFrame({'a': [1, 2]}).a.sum() == 3\n"
        "assert abs(sklearn.linear_model.LinearRegression().fit(np.eye(3), [1, 2, 3]).predict(np.eye(3))[0] - 1) < 1e-6\n"
    )
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **({"PYTHONPATH": str(site)} if site else {})}
    done = subprocess.run([python, "-c", program], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


if __name__ == "__main__":
    main(Path(sys.argv[1]))
