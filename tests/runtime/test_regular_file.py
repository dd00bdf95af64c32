"""Files are judged once they are open: a name that is exchanged, a link, a pipe, a folder in between."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from wheelgate.runtime.regular_file import (
    FileTooLarge,
    NotRegularFile,
    hold_open,
    open_below,
    open_parent,
    open_regular,
    read_below,
    read_regular,
    stat_below,
)


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))  # a path of at most 108 bytes


def make_device_link(path: Path) -> None:
    path.symlink_to("/dev/zero")


OTHERS: dict[str, Callable[[Path], None]] = {
    "named pipe": make_pipe,
    "socket": make_socket,
    "device": make_device_link,
    "folder": Path.mkdir,
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_no_file_is_said_so_at_once(tmp_path: Path, kind: str) -> None:
    OTHERS[kind](tmp_path / "other")
    seen: list[OSError] = []

    def read() -> None:
        try:
            read_regular(tmp_path / "other", 100)
        except OSError as error:
            seen.append(error)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(5)
    assert not reader.is_alive(), "it waits for the other end"
    (error,) = seen
    assert str(error.strerror) == f"it is a {kind}, not a file"
    assert isinstance(error, NotRegularFile | IsADirectoryError)


def test_an_operators_own_file_may_be_a_link(tmp_path: Path) -> None:
    """Mounted secrets are links, to a folder that is one."""
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..2026" / "pat").write_bytes(b"secret")
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "pat").symlink_to("..data/pat")
    assert read_regular(tmp_path / "pat", 100) == b"secret"


def test_below_a_folder_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "real" / "deep" / "file").write_bytes(b"body")
    (tmp_path / "real" / "link").symlink_to("deep/file")
    (tmp_path / "real" / "nowhere").symlink_to("gone")
    (tmp_path / "real" / "folder-link").symlink_to("deep")
    (tmp_path / "root").symlink_to("real")
    assert read_below(tmp_path / "root", "deep/file", 100) == b"body", "the folder itself may be a link"
    for path in ("link", "nowhere", "folder-link/file"):
        with pytest.raises(NotRegularFile, match="it is a symbolic link, not a file"):
            open_below(tmp_path / "root", path)
    with pytest.raises(NotRegularFile):
        stat_below(tmp_path / "root", "folder-link/file")
    for path in ("gone", "gone/file"):
        with pytest.raises(FileNotFoundError):
            open_below(tmp_path / "root", path)
    with pytest.raises(NotADirectoryError):
        open_below(tmp_path / "root", "deep/file/below")


def test_folders_that_are_made_are_made_below(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "planted").symlink_to(tmp_path / "outside")
    with open_parent(tmp_path / "root", "a/b/c", make=True) as (folder, name):
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    assert (tmp_path / "root" / "a" / "b" / "c").exists()
    with pytest.raises(NotRegularFile), open_parent(tmp_path / "root", "planted/new/file", make=True):
        pass
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize("size", [101, 2_000_000_000])
def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, size: int) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(size)
    with pytest.raises(FileTooLarge, match="it has more than 100 bytes"):
        read_regular(tmp_path / "large", 100)
    assert read_regular(tmp_path / "large", 101)[:1] == b"\0" if size == 101 else True


def test_what_was_judged_is_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"judged")
    with hold_open(tmp_path / "file") as handle, open_regular(tmp_path / "file") as opened:
        (tmp_path / "other").write_bytes(b"swapped")
        (tmp_path / "other").replace(tmp_path / "file")
        assert Path(handle).read_bytes() == b"judged"
        assert opened.read() == b"judged"


def test_nothing_stays_open(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(b"x")
    os.mkfifo(tmp_path / "a" / "b" / "pipe")
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(50):
        read_below(tmp_path, "a/b/file", 10)
        for path in ("a/b/pipe", "a/b", "a/gone/x", "a/b/file/x"):
            with pytest.raises(OSError):  # noqa: PT011
                read_below(tmp_path, path, 10)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
