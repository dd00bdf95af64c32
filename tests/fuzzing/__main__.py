"""``python -m tests.fuzzing TARGET --minutes 60``: atheris, guided by coverage, on one target, or on ``all`` one after another.

atheris comes from PyPI (``pip install atheris``) and is no dependency of the project. Inputs that reach something new are kept in
the work folder and are where the next run begins. What breaks is shrunk and written to ``found/`` there, each kind of failure
once, and the run goes on. ``--coverage`` (``pip install coverage``) replays all inputs and says how many lines they reach.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import re
import subprocess
import sys
import time
from pathlib import Path

from tests.fuzzing.target import find_failure, kept_inputs, load, names, shrink

_INSTRUMENTED = ["wheelgate", "packaging", "yaml", "tomllib", "zipfile", "email", "yarl"]
_DEFAULT_WORK = Path("build/fuzzing")
_STATS = re.compile(r"stat::(number_of_executed_units|average_exec_per_sec|peak_rss_mb):\s+(\d+)")
_COVERED = re.compile(r"cov: (\d+)")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing", description=__doc__)
    parser.add_argument("target", choices=[*names(), "all"])
    parser.add_argument("--minutes", type=float, default=60, help="for each target (60)")
    parser.add_argument("--work", type=Path, default=_DEFAULT_WORK, help=f"folder for inputs and findings ({_DEFAULT_WORK})")
    parser.add_argument("--coverage", action="store_true", help="only replay the inputs, and say what they cover")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    tool = "coverage" if given.coverage else "atheris"
    if importlib.util.find_spec(tool) is None:
        print(f"{tool} is not installed: pip install {tool}", file=sys.stderr)
        return 2
    if given.here:
        return _fuzz(given.target, given.work / given.target, given.minutes * 60)
    found = 0
    for name in names() if given.target == "all" else [given.target]:
        found += _measure(name, given.work / name) if given.coverage else _run(name, given.work, given.minutes)
    return int(bool(found))


def _run(name: str, work: Path, minutes: float) -> int:
    """Fuzz one target in a process of its own; how many kinds of failure were found."""
    command = [sys.executable, "-m", "tests.fuzzing", name, "--here", "--minutes", str(minutes), "--work", str(work)]
    (work / name).mkdir(parents=True, exist_ok=True)
    log = work / name / "log.txt"
    with log.open("wb") as file:
        subprocess.run(command, stdout=file, stderr=file, check=False)
    text = log.read_text(errors="replace")
    stats = {key: int(value) for key, value in _STATS.findall(text)}
    edges = _COVERED.findall(text)
    found = sorted((work / name / "found").glob("*.txt"))
    print(
        f"{name}: {stats.get('number_of_executed_units', 0):,} inputs, {stats.get('average_exec_per_sec', 0):,} a second, "
        f"{edges[-1] if edges else '?'} edges, {stats.get('peak_rss_mb', 0)} MiB at most, {len(found)} kinds of failure"
        + ("" if stats else f"; it ended early: {log}"),
        flush=True,
    )
    for path in found:
        print(f"  {path.with_suffix('')}: {path.read_text().strip()}", flush=True)
    return len(found) + (not stats)


def _fuzz(name: str, work: Path, seconds: float) -> int:
    import atheris

    with atheris.instrument_imports(include=_INSTRUMENTED):
        target = load(name)
    findings, corpus = work / "found", work / "corpus"
    for folder in (findings, corpus):
        folder.mkdir(parents=True, exist_ok=True)
    for data in (*target.seeds, *kept_inputs(name).values()):
        (corpus / hashlib.sha1(data, usedforsecurity=False).hexdigest()).write_bytes(data)
    words = work / "words.txt"
    words.write_text("".join(f'"{_quote(word)}"\n' for word in target.words if word))
    known: set[str] = set()

    def check(data: bytes) -> None:
        failure = find_failure(target, data)
        if failure is None or failure.where in known:
            return
        known.add(failure.where)
        data = shrink(data, lambda shorter: (found := find_failure(target, shorter)) is not None and found.where == failure.where)
        path = findings / hashlib.sha1(failure.where.encode(), usedforsecurity=False).hexdigest()[:12]
        path.write_bytes(data)
        path.with_suffix(".txt").write_text(f"{failure.where}: {failure.message!r}\n")

    options = {
        "max_total_time": round(seconds),
        "max_len": target.max_bytes,
        "timeout": 60,
        "rss_limit_mb": 1024,
        "print_final_stats": 1,
        "artifact_prefix": f"{findings}/",
    }
    flags = [f"-{key}={value}" for key, value in options.items()]
    atheris.Setup([sys.argv[0], *flags, *([f"-dict={words}"] if target.words else []), str(corpus)], check)
    atheris.Fuzz()
    return 0


def _quote(word: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}" for byte in word)


def _measure(name: str, work: Path) -> int:
    """Replay every input of one target under coverage.py, in this process; how many fail."""
    import coverage

    measured = coverage.Coverage(data_file=None, source_pkgs=["wheelgate"], messages=False)
    measured.start()
    target = load(name)
    inputs = [*target.seeds, *kept_inputs(name).values()]
    inputs += [path.read_bytes() for path in sorted((work / "corpus").glob("*"))]
    began = time.monotonic()
    failures = {found.where for data in inputs if (found := find_failure(target, data)) is not None}
    took = time.monotonic() - began
    measured.stop()
    print(f"{name}: {len(inputs):,} inputs in {took:.1f} s, {len(failures)} kinds of failure")
    for module in target.modules:
        path = importlib.util.find_spec(module)
        _, lines, _, missing, shown = measured.analysis2(path.origin if path else "")
        covered = 100 * (1 - len(missing) / max(1, len(lines)))
        print(f"  {module}: {covered:.0f} % of {len(lines)} lines" + (f"; not {shown}" if missing else ""))
    for failure in sorted(failures):
        print(f"  {failure}")
    return len(failures)


if __name__ == "__main__":
    sys.exit(main())
