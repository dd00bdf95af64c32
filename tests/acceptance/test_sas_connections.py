"""Containers that are read by a SAS, on the emulator: each way to fail speaks of the SAS, and a new one is used at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.storage.blob import generate_container_sas
from azure.storage.blob.aio import BlobServiceClient

from tests.support.azurite import ACCOUNT, KEY, Azurite, azurite
from tests.support.gate import Gate
from tests.support.packages import wheel_bytes, wheel_name

NOW = datetime.now(UTC)
TIMES = {"start": NOW - timedelta(hours=1), "expiry": NOW + timedelta(days=1)}
PAST = {"start": NOW - timedelta(days=9), "expiry": NOW - timedelta(days=2)}
FUTURE = {"start": NOW + timedelta(days=1), "expiry": NOW + timedelta(days=2)}
ENDED = f"ended on {PAST['expiry']:%Y-%m-%d %H:%M}Z (se): make a new one"
CASES: dict[str, tuple[Callable[[str], str], str]] = {
    "ended": (lambda box: sign(box, **PAST), ENDED),
    "early": (lambda box: sign(box, **FUTURE), f"begins only on {FUTURE['start']:%Y-%m-%d %H:%M}Z (st): make a new one"),
    "listless": (lambda box: sign(box, permission="r"), "has no right to list (sp=r): make a new one with r and l"),
    "tls": (lambda box: sign(box, protocol="https"), "is for https alone (spr): correct the URL, or make a new one"),
    "foreign": (lambda _: sign("another"), "is not good for this container, or the account keeps this server's network out"),
    "blob": (lambda box: sign(box).replace("sr=c", "sr=b"), "is for one blob (sr=b): make a new one for the container"),
    "queue": (lambda _: f"ss=q&srt=sco&sp=rl&se={TIMES['expiry']:%Y-%m-%d}&sv=2026-10-06&sig=canary", "is not for blobs (ss=q)"),
    "url": (lambda box: f"https://acct.blob.core.windows.net/{box}?{sign(box)}", "is a whole URL: give only what follows the ?"),
    "unsigned": (lambda _: "canary-7xq", "is none: it has no sig="),
    "quoted": (lambda box: f'"{sign(box)}"', "has quotes or spaces around it: give it without"),
    "mistyped": (lambda box: sign(box).replace("sig=", "sig=AA"), "is not good for this container, or"),
    "addressed": (
        lambda box: sign(box, ip="10.9.8.7").replace("sig=", "sig=AA"),
        "is for other addresses than this server's (sip)",
    ),
}
"""Names of containers, with what is stored as their SAS, and what is said of it."""


def sign(container: str, permission: str = "rl", **more: object) -> str:
    made: str = generate_container_sas(ACCOUNT, container, account_key=KEY, permission=permission, **{**TIMES, **more})
    return made


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    async def fill(url: str) -> None:
        async with BlobServiceClient(url, credential=KEY) as service:
            for box in CASES:
                container = await service.create_container(box)
                await container.upload_blob(wheel_name(f"{box}-x", "1.0"), wheel_bytes(f"{box}-x", "1.0"))

    with azurite(tmp_path_factory.mktemp("azurite")) as made:
        asyncio.run(fill(made.url))
        yield made


@pytest.mark.long
def test_each_way_to_fail_speaks_of_the_sas_and_a_new_one_is_used_at_once(
    emulator: Azurite, start_gate: Callable[..., Gate], tmp_path: Path
) -> None:
    folder = tmp_path / "gate0"
    folder.mkdir()
    config = ""
    for box, (make, _) in CASES.items():
        (folder / f"{box}.sas").write_text(make(box))
        config += f'[[source]]\nname = "{box}"\ntype = "blob"\nurl = "{emulator.url}/{box}"\nonly = ["{box}-x"]\n'
        config += f'[[connection]]\nname = "to-{box}"\ncategory = "AzureBlob"\ntarget = "{emulator.url}/{box}"\n'
        config += f'auth_type = "SAS"\nvalue = "file:{box}.sas"\n'
    gate = start_gate(config)
    for box, (_, expected) in CASES.items():
        answer = gate.get(f"/simple/{box}-x/")
        said = answer.body.decode()
        assert answer.status == 503, (box, said)
        assert f"the SAS of connection to-{box} {expected}" in said, box
        assert not {"role", "roles", "key", "identity", "clock"} & set(said.replace(",", " ").split()), said
    checked = gate.run("check")
    assert checked.returncode == 1
    shown = " ".join((checked.stdout + checked.stderr).split())
    for box, (_, expected) in CASES.items():
        assert f"the SAS of connection to-{box} {expected}" in shown, (box, shown)
    tested = gate.run("connection", "test", "to-listless")
    assert tested.returncode == 1
    assert CASES["listless"][1] in " ".join((tested.stdout + tested.stderr).split())
    for text in (gate.log, shown):
        assert "sig=A" not in text
        assert "canary" not in text
    for box in ("ended", "url"):
        (folder / f"{box}.sas").write_text(sign(box))
    deadline = time.monotonic() + 20
    while {gate.get(f"/simple/{box}-x/").status for box in ("ended", "url")} != {200}:
        assert time.monotonic() < deadline, gate.get("/simple/ended-x/").body
        time.sleep(0.3)
    assert gate.get("/simple/early-x/").status == 503
