"""No file is opened by its name but where `runtime/regular_file.py` does it, or where the name is new, or our own."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1] / "proxy" / "wheelgate"
_BY_NAME = {"open", "read_text", "read_bytes", "load_cert_chain", "load_verify_locations"}
ALLOWED = {
    ("runtime/regular_file.py", "_judge"): "the descriptor that was opened",
    ("runtime/regular_file.py", "_open"): "the one place",
    ("runtime/regular_file.py", "_open_folder"): "a folder, itself no link",
    ("runtime/regular_file.py", "open_parent"): "the root, which may be a link",
    ("runtime/regular_file.py", "read_argument"): "a pipe that this process was started with",
    ("runtime/drafts.py", "draft"): "a new name of our own, which must not exist",
    ("runtime/drafts.py", "_link"): "Windows, where only a writer may flush",
    ("runtime/durable.py", "sync_folder"): "a folder, to flush it",
    ("runtime/durable.py", "file_lock"): "a lock: no link, never read",
    ("storage/reserve.py", "_take"): "a new name of our own, which must not exist",
    ("storage/spool.py", "__init__"): "a new name of our own, which must not exist",
    ("web/server.py", "build_tls_context"): "a handle of a file that is held open",
    ("wiring/foundation.py", "check_certificates"): "a handle of a file that is held open",
    ("upstream/sessions.py", "build_tls_context"): "a handle of a file that is held open",
    ("cli/__init__.py", "_tell_output_failed"): "the null device, in the place of an output that failed",
    ("distfiles/wholeness.py", "_read_zip"): "an entry of an archive that is open already",
    ("cli/own_wheel.py", "_check_copied"): "the record of our own installation",
    ("cli/own_wheel.py", "_read"): "a file of our own installation, whose digest is compared with its record",
    ("web/acceptor.py", "start"): "the null device, to hold descriptors back",
    ("web/acceptor.py", "_recover"): "the null device, to hold descriptors back",
    ("distfiles/core_metadata.py", "_read"): "an entry of an archive that is open",
}
NOT_FILES = {
    "lane.breaker",
    "known.breaker",
    "self._delivery",
    "delivery",
    "services.delivery",
    "self._services.delivery",
    "body",
    "answer",
}


def opens() -> set[tuple[str, str]]:
    """Module and function of everything that opens a file by its name, or has it opened."""
    found = set()
    for path in sorted(ROOT.rglob("*.py")):
        for function in ast.walk(ast.parse(path.read_text())):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if any(_opens(node) for node in ast.walk(function)):
                found.add((path.relative_to(ROOT).as_posix(), function.name))
    return found


def _opens(node: ast.AST) -> bool:
    if isinstance(node, ast.Name):
        return node.id == "open"
    return isinstance(node, ast.Attribute) and node.attr in _BY_NAME and ast.unparse(node.value) not in NOT_FILES


def test_no_file_is_opened_by_its_name() -> None:
    assert opens() - ALLOWED.keys() == set(), "use runtime/regular_file.py, or say here why the name is safe"


def test_every_exception_is_needed() -> None:
    assert ALLOWED.keys() - opens() == set()
