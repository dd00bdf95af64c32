"""Files: small ones, big ones, redirects."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.measure import Cell, wrk
from tests.benchmarks.servers import System, fetched, wheelgate
from tests.support.gate import environment


@contextmanager
def with_token(folder: Path, origin: str) -> Iterator[tuple[System, Mapping[str, str]]]:
    """Ours where reading needs a token, and the header that carries one."""
    name = "wheelgate, token"
    with wheelgate(folder, origin, name=name, flags=["--anonymous", "none"]) as system:
        home = folder / name
        command = [str(Path(sys.executable).with_name("wheelgate")), "token", "new", "-c", str(home / "wheelgate.toml")]
        made = subprocess.run(
            [*command, "--data", str(home / "data"), "--scope", "read", "--expires", "1d"],
            capture_output=True,
            text=True,
            check=True,
            env=environment(folder),
        )
        token = re.search(r"wgt_\w+", made.stdout)
        assert token is not None, made.stdout
        yield system, {"Authorization": f"Bearer {token[0]}"}


def measure(folder: Path, origin: str, pairs: int, seconds: float) -> None:
    """A small wheel and a big one, once held."""
    print("\nfiles")
    with wheelgate(folder, origin, name="wheelgate, files") as ours:
        for project, connections in (("small-file", 16), ("big-file", 1)):
            path = f"/files/{project}/{project.replace('-', '_')}-1.0-py3-none-any.whl"
            fetched(ours.url + path)
            cell = Cell([wrk(ours, path, connections=connections, seconds=seconds, headers={}) for _ in range(pairs)])
            rate, throughput = cell.median("rate"), cell.median("bytes_per_s")
            print(
                f"  {project:22} {rate:10,.0f} requests/s {throughput / 1e6:7,.0f} MB/s {cell.median('cpu_us'):9.1f} us cpu each"
            )
