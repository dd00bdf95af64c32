"""A file name is the same by every way in and every way out, whatever characters its version may have."""

from __future__ import annotations

import asyncio
import http.client
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from html import unescape
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest
from azure.storage.blob.aio import BlobServiceClient
from packaging.version import Version
from uv import find_uv_bin

from tests.acceptance.configs import UPLOADS, index_source
from tests.support.azurite import KEY, Azurite, azurite
from tests.support.clients import pip, uv
from tests.support.gate import WHEELGATE, Gate, environment, fetch, gate
from tests.support.github import TOKEN, Github, github
from tests.support.index import FakeIndex, running
from tests.support.packages import ODD_NAMES, sdist_bytes, wheel_bytes

_LETTERS = "abcxyz0189"
HARDEST = "1!2.0rc1.post4.dev5+cpu.1.x"


def draw_version(chance: random.Random) -> str:
    """A version with any parts that PEP 440 has."""

    def number() -> str:
        return str(chance.choice([0, 1, 7, 20260101]))

    def segment() -> str:
        return "".join(chance.choices(_LETTERS, k=chance.randint(1, 4)))

    version = ".".join(number() for _ in range(chance.randint(1, 4)))
    version = f"{chance.choice(['', '', '1!', '2026!'])}{version}{chance.choice(['', '', 'a', 'b', 'rc'])}"
    version += number() if version[-1].isalpha() else ""
    version += f".post{number()}" if chance.random() < 0.3 else ""
    version += f".dev{number()}" if chance.random() < 0.3 else ""
    return version + (f"+{'.'.join(segment() for _ in range(chance.randint(1, 3)))}" if chance.random() < 0.7 else "")


def build_files(way: str, count: int) -> dict[str, bytes]:
    """Files of a project ``way``, by name: as many wheels, with all that names of wheels may have, and some sdists."""
    chance, files = random.Random(f"{way}{count}"), {}
    odd = [(version, build) for name, version, build in ODD_NAMES if name == "acme-odd"]
    drawn = [(draw_version(chance), chance.choice(["", "", "1", "7z_2.a"])) for _ in range(count)]
    for version, build in [(HARDEST, ""), *odd, *drawn]:
        name = "-".join(filter(None, [way, version, build, "py3-none-any.whl"]))
        files[name] = wheel_bytes(way, version)
        if not build and chance.random() < 0.3:
            files[f"{way}-{version}.tar.gz"] = sdist_bytes(way, version)
    return files


class World:
    """A server with a source of each kind, and what lies there."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.count = count
        self.files: dict[str, dict[str, bytes]] = {}
        """By project, which is named for the way that its files took."""

    def make(self, way: str) -> dict[str, bytes]:
        return self.files.setdefault(way, build_files(way, self.count))

    def write(self, way: str) -> list[Path]:
        """The files of a way on this machine, for a program that uploads."""
        folder = self.folder / "dist" / way
        folder.mkdir(parents=True)
        for name, body in self.make(way).items():
            (folder / name).write_bytes(body)
        return sorted(folder.iterdir())


def fill(world: World, emulator: Azurite, hub: Github, index: FakeIndex, html: FakeIndex) -> str:
    """Put files wherever a source lists them; the settings."""
    (world.folder / "shelf" / "deep").mkdir(parents=True)
    for name, body in world.make("infolder").items():
        (world.folder / "shelf" / "deep" / name).write_bytes(body)
    blobs = {f"any/team a/{name}": body for name, body in world.make("inblobs").items()}
    blobs |= {f"project/inproject/{name}": body for name, body in world.make("inproject").items()}
    asyncio.run(_put(emulator, blobs))
    hub.release("acme/tools", "v1", world.make("ingithub"))
    spellings: list[Callable[[str], str]] = [quote, lambda name: quote(name, safe="+!"), lambda name: quote(name).lower()]
    for made, ways in ((index, ("injson", "inredirect", "inmirror")), (html, ("inhtml",))):
        for way in ways:
            for number, (name, body) in enumerate(world.make(way).items()):
                spelt = spellings[number % len(spellings)](name) if name == name.lower() else quote(name)
                made.publish(way, name, body, url=f"../../packages/{way}/{spelt}")
    (world.folder / "key").write_text(KEY)
    github_source = f'type = "github"\nurl = "{hub.url}"\nrepos = ["acme/tools"]\nfile_hosts = ["{hub.storage_host}"]'
    return f"""{UPLOADS}
[[source]]
name = "shelf"
type = "directory"
url = "file:{world.folder / "shelf"}"
{_blob_source(emulator, "any", "any")}{_blob_source(emulator, "project", "project")}
[[source]]
name = "tools"
{github_source}
{index_source(html, "html", private=True)}
{index_source(index, "redirecting", private=True, only=["inredirect"], delivery="redirect")}
{index_source(index)}
[[connection]]
name = "github"
category = "Git"
target = "{hub.url}repos/acme"
auth_type = "PAT"
value = "env:GITHUB_TOKEN"
"""


def _blob_source(emulator: Azurite, container: str, layout: str) -> str:
    url = f'url = "{emulator.url}/{container}"\naccount_key = "file:key"\nlayout = "{layout}"'
    return f'[[source]]\nname = "{container}"\ntype = "blob"\n{url}\n'


async def _put(emulator: Azurite, blobs: Mapping[str, bytes]) -> None:
    async with BlobServiceClient(emulator.url, credential=KEY) as service:
        for container in ("any", "project"):
            await service.create_container(container)
        for path, body in blobs.items():
            container, _, name = path.partition("/")
            await service.get_blob_client(container, name).upload_blob(body)


def upload(world: World, server: Gate) -> None:
    """Upload straight into the store, and by each spelling that a form may have."""
    added = server.run("wheel", "add", *world.write("tostore"))
    assert added.returncode == 0, added.stderr
    token = make_token(server)
    for way, spell in {
        "formplain": lambda name: f'filename="{name}"',
        "formencoded": lambda name: f'filename="{quote(name, safe="")}"',
        "formextended": lambda name: f"filename*=UTF-8''{quote(name, safe='')}",
    }.items():
        for name, body in world.make(way).items():
            post(server, token, spell(name), body)


def upload_by_programs(world: World, server: Gate, index: FakeIndex) -> None:
    token = make_token(server)
    client = environment(world.folder, WHEELGATE_URL=server.index_url, WHEELGATE_TOKEN=token)

    def run(*command: str | Path, **env: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, env={**client, **env}, timeout=200)
        assert done.returncode == 0, done.stdout + done.stderr

    run(WHEELGATE, "wheel", "add", *world.write("toserver"))
    for name, body in world.make("byurl").items():
        index.publish("elsewhere", name, body)
    run(WHEELGATE, "wheel", "add", *(f"{index.origin}/packages/elsewhere/{quote(name)}" for name in world.make("byurl")))
    twine = [sys.executable, "-m", "twine", "upload", "--non-interactive", "--disable-progress-bar", "--repository-url"]
    run(*twine, f"{server.url}/legacy/", *world.write("bytwine"), TWINE_USERNAME="x", TWINE_PASSWORD=token)
    sent = [path for path in world.write("byuv") if _is_normalised(path.name)]
    world.files["byuv"] = {path.name: path.read_bytes() for path in sent}
    run(find_uv_bin(), "publish", "--publish-url", f"{server.url}/legacy/", "--token", token, *sent)


def _is_normalised(name: str) -> bool:
    """True for a name that uv sends."""
    version = name.split("-")[1].removesuffix(".tar.gz")
    return str(Version(version)) == version


def make_token(server: Gate) -> str:
    return server.run("token", "new", "--scope", "upload").stdout.strip()


def post(server: Gate, token: str, filename: str, body: bytes) -> None:
    head = f'--b\r\nContent-Disposition: form-data; name="content"; {filename}\r\n\r\n'.encode()
    place = urlsplit(server.url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
    headers = {"Content-Type": "multipart/form-data; boundary=b", "Authorization": f"Bearer {token}"}
    connection.request("POST", "/legacy/", head + body + b"\r\n--b--\r\n", headers)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    connection.close()


def check_outwards(server: Gate, way: str, files: Mapping[str, bytes]) -> None:
    """Compare what a project's page says, in both forms, and what each spelling of each file's address gives."""
    page = {entry["filename"]: entry for entry in server.page(way)["files"]}
    assert page.keys() == files.keys(), (way, page.keys() ^ files.keys())
    html = server.get(f"/simple/{way}/").body.decode()
    links = {unescape(text): unescape(href) for href, text in re.findall(r'<a href="([^"#]*)[^>]*>([^<]*)</a>', html)}
    assert links.keys() == files.keys()
    for number, (name, body) in enumerate(files.items()):
        assert links[name] == page[name]["url"]
        assert unquote(links[name]) == f"/files/{way}/{name}"
        spellings = [
            page[name]["url"],
            f"/files/{way}/{name}",
            f"/files/{way}/{re.sub('%..', lambda at: at[0].lower(), quote(name))}",
        ]
        answer = server.get(spellings[number % 3])
        while answer.status == 302:
            answer = fetch(answer.headers["Location"])
        assert (answer.status, answer.body) == (200, body), (way, name)
        if number % 4 == 0:
            assert server.get(spellings[2], {"Range": "bytes=0-3"}).body == body[:4]
            if name.endswith(".whl"):
                assert server.get(f"{spellings[(number + 1) % 3]}.metadata").body.startswith(b"Metadata-Version")


IN_CI = {
    *("infolder", "inblobs", "inproject", "ingithub", "injson", "inhtml", "inredirect", "inmirror"),
    *("tostore", "formplain", "formencoded", "formextended"),
}
WAYS = IN_CI | {"toserver", "byurl", "bytwine", "byuv"}


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[tuple[Azurite, Github, FakeIndex, FakeIndex]]:
    with azurite(tmp_path / "azurite") as emulator, github() as hub, ExitStack() as stack:
        index, html = (stack.enter_context(running(FakeIndex())) for _ in range(2))
        html.html = True
        yield emulator, hub, index, html


def test_a_file_name_survives_every_source_and_form(
    outside: tuple[Azurite, Github, FakeIndex, FakeIndex], tmp_path: Path
) -> None:
    world = World(tmp_path / "gate", 4)
    with gate(world.folder, fill(world, *outside), env={"GITHUB_TOKEN": TOKEN}) as server:
        upload(world, server)
        assert world.files.keys() == IN_CI
        for way, files in world.files.items():
            check_outwards(server, way, files)
        install_hardest(uv, server, world, tmp_path)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_file_name_survives_every_way(outside: tuple[Azurite, Github, FakeIndex, FakeIndex], tmp_path: Path) -> None:
    world = World(tmp_path / "gate", 40)
    with gate(world.folder, fill(world, *outside), env={"GITHUB_TOKEN": TOKEN}) as server:
        upload(world, server)
        upload_by_programs(world, server, outside[2])
        assert world.files.keys() == WAYS
        for way, files in world.files.items():
            check_outwards(server, way, files)
        for program in (pip, uv):
            install_hardest(program, server, world, tmp_path)
        check_further(world, server, tmp_path)


def install_hardest(program: Callable[..., object], server: Gate, world: World, folder: Path) -> None:
    home = folder / program.__name__
    home.mkdir()
    wanted = [f"{way}=={HARDEST}" for way in sorted(world.files)]
    command = ("install",) if program is pip else ("pip", "install")
    program(home, *command, "--no-deps", "--index-url", server.index_url, "--target", home / "site", *wanted)
    assert {path.stem for path in (home / "site").glob("*.py")} == world.files.keys()


def check_further(world: World, server: Gate, folder: Path) -> None:
    """Compare what a mirror made through the server holds, and what a server behind that server shows."""
    bundle = folder / "bundle"
    done = server.run("mirror", "--project", f"inmirror=={HARDEST}", "--to", f"file:{bundle}")
    assert done.returncode == 0, done.stderr
    (name,) = {path.name for path in bundle.rglob("*.whl")}
    below = f'[[source]]\nname = "below"\ntype = "index"\nurl = "{server.index_url}"\nprivate = true\nonly = ["tostore"]\n'
    settings = f'[[source]]\nname = "bundle"\ntype = "directory"\nurl = "file:{bundle}"\n{below}'
    with gate(folder / "second", settings) as second:
        check_outwards(second, "inmirror", {name: world.files["inmirror"][name]})
        check_outwards(second, "tostore", world.files["tostore"])
