"""A folder whose files are swapped, linked and rewritten while they are downloaded: never other bytes under a listed digest."""

from __future__ import annotations

import hashlib
import http.client
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.gate import Gate
from tests.support.packages import make_wheel, sha256, wheel_name

CONFIG = """
[[source]]
name = "wheels"
type = "directory"
url = "file:../wheels"
"""
PROJECTS, SIZES = 8, (20_000, 700_000)
SECONDS = 6.0
_RACER = '''
"""Swap the files of a folder, each time in another way, and let them be for a while in between."""
import os, random, sys, time
from pathlib import Path

folder, aside, seconds, seed = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
victims = sorted(folder.glob("raced_*.whl"))
choose = random.Random(seed)
originals = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in victims}


def other(path):
    """Other bytes, of equal size."""
    body = bytearray(originals[path][0])
    at = choose.randrange(len(body) // 2)
    body[at : at + 1000] = choose.randbytes(len(body[at : at + 1000]))
    return bytes(body)


def stamp(path):
    os.utime(path, ns=(originals[path][1], originals[path][1]), follow_symlinks=True)


def put(path, body):
    made = aside / path.name
    made.write_bytes(body)
    os.utime(made, ns=(originals[path][1], originals[path][1]))
    return made


def rename_over(path):
    put(path, other(path)).replace(path)


def link(path):
    made = put(path, other(path))
    made = made.rename(made.with_name("target-" + made.name))
    made.with_name("link").symlink_to(made)
    made.with_name("link").replace(path)


def rewrite(path):
    """In place, by pieces, the time as it was."""
    body = other(path)
    with path.open("r+b", buffering=0) as file:
        for at in range(0, len(body), 65536):
            file.seek(at)
            file.write(body[at : at + 65536])
            time.sleep(choose.uniform(0, 0.002))
    stamp(path)


def truncate(path):
    with path.open("r+b", buffering=0) as file:
        file.truncate(len(originals[path][0]) // 3)
        time.sleep(choose.uniform(0, 0.02))
        file.seek(0)
        file.write(other(path))
    stamp(path)


def append(path):
    with path.open("ab", buffering=0) as file:
        file.write(b"more")
    stamp(path)


def pipe(path):
    made = aside / "pipe"
    os.mkfifo(made)
    made.replace(path)


def restore(path):
    if path.is_symlink() or not path.is_file():
        path.unlink(missing_ok=True)
    put(path, originals[path][0]).replace(path)


end = time.monotonic() + seconds
ways = [rename_over, link, rewrite, truncate, append, pipe]
turn = 0
while time.monotonic() < end:
    for path in choose.sample(victims, 3):
        way = ways[turn % len(ways)]
        turn += 1
        way(path)
        print(way.__name__, flush=True)
        time.sleep(choose.uniform(0, 0.3))
        restore(path)
    time.sleep(choose.uniform(2.0, 3.5))
'''


class Downloads:
    """Downloads of everything, again and again, from several threads; whole bodies are compared with their digests."""

    def __init__(self, gate: Gate, paths: list[str]) -> None:
        self._gate = gate
        self._paths = paths
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._stop = threading.Event()

    @contextmanager
    def running(self, threads: int = 4) -> Iterator[None]:
        started = [threading.Thread(target=self._work, args=(number,)) for number in range(threads)]
        for thread in started:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in started:
                thread.join(30)

    def _work(self, number: int) -> None:
        connection = None
        turn = number
        while not self._stop.is_set():
            path = self._paths[turn % len(self._paths)]
            turn += 1
            connection = connection or http.client.HTTPConnection(str(urlsplit(self._gate.url).netloc), timeout=20)
            try:
                connection.request("GET", path)
                response = connection.getresponse()
                body = response.read()
            except (http.client.HTTPException, OSError) as error:
                connection.close()
                connection = None
                self.seen[f"broken off: {type(error).__name__}"] += 1
                continue
            etag = response.headers.get("ETag", "").strip('"')
            kind = "bystander" if "bystander" in path else "raced"
            self.seen[f"{kind} {response.status}"] += 1
            if response.status == 200 and etag and hashlib.sha256(body).hexdigest() != etag:
                self.wrong.append(f"{path}: {len(body)} bytes under {etag}")
        if connection is not None:
            connection.close()


def _paths(names: list[str]) -> list[str]:
    return [f"/files/{re.sub('[._]+', '-', name.partition('-')[0])}/{name}" for name in names]


def test_no_whole_body_ever_has_another_digest_than_it_is_served_under(start_gate: Callable[..., Gate], tmp_path: Path) -> None:
    folder, aside = tmp_path / "wheels", tmp_path / "aside"
    aside.mkdir()
    names = []
    for number in range(PROJECTS):
        made = make_wheel(folder, f"raced-{number}", "1.0", padding=SIZES[number % 2])
        names.append(made.name)
    bystander = make_wheel(folder, "bystander", "1.0", padding=600_000)
    gate = start_gate(CONFIG)
    for name in [*names, bystander.name]:
        gate.page(name.partition("-")[0].replace("_", "-"))
    downloads = Downloads(gate, _paths([*names, bystander.name]))
    command = [sys.executable, "-c", _RACER, folder, aside, str(SECONDS), "7"]
    with downloads.running():
        racer = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS + 60)
    assert racer.returncode == 0, racer.stderr
    ways = Counter(racer.stdout.split())
    print(dict(ways), dict(downloads.seen), len(downloads.wrong))
    assert downloads.wrong == []
    assert len(ways) == 6
    assert downloads.seen["raced 200"] > 500
    assert {kind for kind in downloads.seen if kind.startswith("bystander")} == {"bystander 200"}
    # Everybody is well again once nobody swaps any more.
    time.sleep(3)
    for name in names:
        gate.page(name.partition("-")[0].replace("_", "-"))
        answer = gate.get(_paths([name])[0])
        assert (answer.status, sha256(answer.body)) == (200, answer.headers["ETag"].strip('"')), name
    assert wheel_name("bystander", "1.0") == bystander.name
