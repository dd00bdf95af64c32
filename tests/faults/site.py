"""What the rows about storage, processes, clocks and networks are played on.

Two replicas over one container of the emulator, all their requests through a front (`front.py`); a private and a public index;
and bait: whatever is private here, the public index has with version 99.
"""

from __future__ import annotations

import base64
import http.client
import json
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import ContainerClient

from tests.acceptance.configs import UPLOADS, index_source
from tests.faults.engine import PATIENCE_S, timed
from tests.faults.front import Front, front_listening
from tests.faults.model import Seen
from tests.support.azurite import ACCOUNT, KEY, Azurite, azurite
from tests.support.gate import Answer, Gate, gate
from tests.support.index import SIMPLE_JSON, FakeIndex, running
from tests.support.packages import wheel_bytes, wheel_name

JSON = {"Accept": SIMPLE_JSON}
CONTAINER = "wheelgate"


class StoreView(Protocol):
    """The store, looked at behind the servers' back."""

    place: str
    """What nobody is shown of it: a host and port, or a folder."""

    def read(self, path: str) -> bytes | None: ...


class FolderView:
    """A store in a folder."""

    def __init__(self, folder: Path, place: str) -> None:
        self.place = place
        self._folder = folder

    def read(self, path: str) -> bytes | None:
        file = self._folder / path
        return file.read_bytes() if file.is_file() else None


class ContainerView:
    """A store in a container."""

    def __init__(self, container: ContainerClient, place: str) -> None:
        self.place = place
        self.container = container

    def read(self, path: str) -> bytes | None:
        try:
            return self.container.download_blob(path).readall()
        except ResourceNotFoundError:
            return None


@dataclass
class Company:
    """Two replicas, their storage and their indexes."""

    server: Gate
    """Redirects to storage; whoever reaches it may read."""
    replica: Gate
    """Streams; reads with a token only."""
    store: StoreView
    public: FakeIndex
    team: FakeIndex
    front: Front = None  # type: ignore[assignment]  # a company whose store is a folder has neither front nor emulator
    emulator: Azurite = None  # type: ignore[assignment]
    listening: ExitStack = None  # type: ignore[assignment]
    """Of the front."""
    token: str = ""
    """Of an uploader; may read, too."""
    at_rest_bytes: int = 0
    """Memory of the first replica before anybody asked for anything."""
    state: dict[str, Any] = field(default_factory=dict)
    """What a step has to remember between its questions, by its row's project."""

    def stop_front(self) -> None:
        self.listening.close()

    def start_front(self) -> None:
        self.listening.enter_context(front_listening(self.front))

    def secrets(self) -> Sequence[str]:
        return ("sig=", KEY, self.token)

    def asked_in_public(self) -> Sequence[str]:
        return [asked.path for asked in self.public.asked]

    def post(
        self, fields: Mapping[str, str], file: tuple[str, bytes] | None = None, server: Gate | None = None, token: str = ""
    ) -> Seen:
        """Send the upload form."""
        self.state["by_server_s"] = time.monotonic()
        return timed(lambda: post_form((server or self.server).url, token or self.token, fields, file))

    def upload(self, name: str, version: str = "1.0", body: bytes | None = None) -> Seen:
        return self.post(
            {":action": "file_upload"}, (wheel_name(name, version), wheel_bytes(name, version) if body is None else body)
        )

    def get_from(self, address: str, path: str) -> Answer:
        """One request from another loopback address."""
        place = urlsplit(self.server.url)
        connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=PATIENCE_S, source_address=(address, 0))
        try:
            connection.request("GET", path, headers=JSON)
            response = connection.getresponse()
            return Answer(response.status, response.reason, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def authorised(self) -> dict[str, str]:
        """Headers of a reader of ``replica``."""
        return {"Authorization": "Basic " + base64.b64encode(f"x:{self.token}".encode()).decode()}


def post_form(url: str, token: str, fields: Mapping[str, str], file: tuple[str, bytes] | None) -> Answer:
    boundary = uuid.uuid4().hex
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in fields.items()
    ]
    if file is not None:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="content"; filename="{file[0]}"\r\n\r\n'
        parts.append(head.encode() + file[1] + b"\r\n")
    body = b"".join(parts) + f"--{boundary}--\r\n".encode()
    place = urlsplit(url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=PATIENCE_S)
    try:
        headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Authorization": "Basic " + base64.b64encode(f"__token__:{token}".encode()).decode(),
        }
        connection.request("POST", "/legacy/", body, headers)
        response = connection.getresponse()
        return Answer(response.status, response.reason, dict(response.getheaders()), response.read())
    finally:
        connection.close()


def listed(page: bytes) -> dict[str, dict[str, Any]]:
    """The entries of a page in JSON, by file name."""
    return {entry["filename"]: entry for entry in json.loads(page)["files"]}


@contextmanager
def company(
    folder: Path, env: Mapping[str, str] | None = None, policy: str = "", prefix: Sequence[str] = (), data_bytes: int = 0
) -> Iterator[Company]:
    """All of it, over a container of the emulator; gone when the block ends.

    Args:
        folder: for everybody's files.
        env: further variables of the first replica.
        policy: more of the configuration.
        prefix: commands that start the first replica.
        data_bytes: size of the disk that the first replica has for its own data; 0: the machine's.
    """
    with ExitStack() as stack:
        emulator = stack.enter_context(azurite(folder / "azurite"))
        store = ContainerClient(emulator.url, CONTAINER, credential={"account_name": ACCOUNT, "account_key": KEY})
        stack.enter_context(store)
        store.create_container()
        front, listening = Front(int(emulator.url.split(":")[2].partition("/")[0])), stack.enter_context(ExitStack())
        listening.enter_context(front_listening(front))
        if data_bytes:
            stack.enter_context(small_disk(folder / "one" / "data", data_bytes))
        made = stack.enter_context(
            _company_over(
                folder,
                f'url = "{front.url}/{ACCOUNT}/{CONTAINER}"\naccount_key = "env:STORAGE_KEY"\n',
                ContainerView(store, urlsplit(front.url).netloc),
                {"STORAGE_KEY": KEY},
                env or {},
                policy,
                prefix,
            )
        )
        made.front, made.emulator, made.listening = front, emulator, listening
        yield made
        emulator.process.send_signal(signal.SIGCONT)


@contextmanager
def folder_company(folder: Path, store_bytes: int) -> Iterator[Company]:
    """The same over a folder, which is a disk of its own of so many bytes: mounted, and bound to where the servers look."""
    disk, store = folder / "disk", folder / "store"
    store.mkdir(parents=True)
    view = FolderView(disk, str(store))
    with (
        small_disk(disk, store_bytes),
        bound(disk, store),
        _company_over(folder, f'url = "file:{store}"\n', view, {}, {}, "", ()) as made,
    ):
        yield made


@contextmanager
def _company_over(
    folder: Path,
    store: str,
    view: StoreView,
    both: Mapping[str, str],
    env: Mapping[str, str],
    policy: str,
    prefix: Sequence[str],
) -> Iterator[Company]:
    with ExitStack() as stack:
        public, team = stack.enter_context(running(FakeIndex())), stack.enter_context(running(FakeIndex()))
        config = (
            f'[server]\nanonymous = "{{anonymous}}"\n[store]\ndelivery = "{{delivery}}"\n{store}'
            + UPLOADS
            + index_source(team, "team", only=["team-*"], private=True)
            + index_source(public, "public")
            + policy
        )
        shared = {"anonymous": "read", "delivery": "redirect"}
        server = Gate(folder / "one", config.format(**shared), env={**both, **env})
        server.prefix = prefix
        server.start()
        stack.callback(lambda: server.stop(signal.SIGKILL))
        replica = stack.enter_context(gate(folder / "two", config.format(anonymous="none", delivery="stream"), env=dict(both)))
        made = Company(server, replica, view, public, team, at_rest_bytes=server.rss_bytes())
        made.token = new_token(made)
        yield made


@contextmanager
def small_disk(place: Path, size_bytes: int) -> Iterator[None]:
    """A disk of its own there, until the block ends."""
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=755", "faults", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@contextmanager
def bound(disk: Path, place: Path) -> Iterator[None]:
    """The disk, seen at another place too."""
    subprocess.run(["mount", "--bind", disk, place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def new_token(company: Company, *scopes: str) -> str:
    """The text of a new token; for uploads, which lets read too, unless scopes are given."""
    wanted = [part for scope in scopes or ("upload", "read") for part in ("--scope", scope)]
    done = company.server.run("token", "new", *wanted)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
