"""Provenance (PEP 740) that travels with a file: fetched from where the index says, checked, kept, carried onward."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from aiohttp import web

from tests.acceptance.configs import index_source
from tests.support.attestations import attestation
from tests.support.certificates import loopback_tls
from tests.support.clock import FakeClock
from tests.support.index import FakeIndex, Handler, running
from tests.support.mirrors import HERE, Mirroring, manifest
from tests.support.packages import metadata, sha256, wheel_bytes, wheel_name
from wheelgate.core.errors import BlobDamaged
from wheelgate.core.model import File, StoredFile
from wheelgate.distfiles.attestations import BadAttestation, build_provenance, check_provenance
from wheelgate.mirror.file_origins import MirrorFile
from wheelgate.mirror.provenance import find_in_mirror
from wheelgate.storage.folder import FolderStore

NAME = wheel_name("signed", "1.0")
BODY = wheel_bytes("signed", "1.0")


def provenance_of(name: str = NAME, digest: str = sha256(BODY)) -> bytes:
    publisher = {"kind": "GitHub", "repository": "acme/signed", "workflow": "release.yml"}
    bundles = [{"publisher": publisher, "attestations": [attestation(name, digest)]}]
    return json.dumps({"version": 1, "attestation_bundles": bundles}).encode()


def test_it_comes_along_and_goes_onward_but_for_one_of_another_file(tmp_path: Path) -> None:
    sent = {"right": provenance_of(), "wrong": provenance_of(digest="0" * 64)}
    tls = loopback_tls(tmp_path / "ca.pem")
    with running(FakeIndex(), tls=tls) as index:

        def answer(kind: str) -> Handler:
            async def handle(_: web.BaseRequest) -> web.StreamResponse:
                return web.Response(body=sent[kind], content_type="application/vnd.pypi.integrity.v1+json")

            return handle

        index.handlers |= {f"/integrity/{kind}": answer(kind) for kind in sent}
        index.publish("signed", NAME, BODY, metadata=metadata("signed", "1.0"), provenance=f"{index.origin}/integrity/right")
        other = wheel_name("strange", "1.0")
        index.publish("strange", other, wheel_bytes("strange", "1.0"), provenance=f"{index.origin}/integrity/wrong")
        mirroring = Mirroring(tmp_path / "work", index, index_source(index, ca_file=str(tmp_path / "ca.pem")))
        done = mirroring.run(mirroring.input("signed\nstrange\n"), "--to", "file:./bundle", *HERE)
    assert f"strange/{other} is mirrored without its provenance: its attestations are about" in done.stderr
    mirroring.run("--from", "file:./bundle", "--to", "file:./inside")
    for place in ("bundle", "inside"):
        folder = mirroring.folder / place
        assert (folder / f"signed/{NAME}.provenance").read_bytes() == sent["right"]
        assert not (folder / f"strange/{other}.provenance").exists()
        entries = {entry["path"]: entry for entry in manifest(folder)["files"]}
        assert entries[f"signed/{NAME}"]["provenance_sha256"] == sha256(sent["right"])


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"[]", "are not in a provenance object"),
        (b'{"version": 2, "attestation_bundles": []}', "of version 2"),
        (b'{"version": 1, "attestation_bundles": []}', "are 0"),
        (provenance_of(name="other-1.0-py3-none-any.whl"), "are about 'other-1.0"),
        (provenance_of(digest="0" * 64), "another sha256"),
    ],
)
def test_what_is_none_of_this_file_is_told(body: bytes, why: str) -> None:
    with pytest.raises(BadAttestation, match=why):
        check_provenance(body, NAME, sha256(BODY))


def test_what_we_give_ourselves_is_one() -> None:
    sent = json.dumps([attestation(NAME, sha256(BODY))])
    check_provenance(build_provenance(sent, NAME, sha256(BODY), FakeClock().now()), NAME, sha256(BODY))


async def test_a_bundles_is_not_read_where_it_is_larger_than_any(tmp_path: Path) -> None:
    body = b" " * (1024 * 1024 + 1)
    (tmp_path / "signed").mkdir()
    (tmp_path / "signed" / f"{NAME}.provenance").write_bytes(body)
    file = File(filename=NAME, project="signed", source="s", location=StoredFile("s", f"signed/{NAME}", ""), hashes={}, size=1)
    with pytest.raises(BlobDamaged, match="there has more than 1 MiB"):
        await find_in_mirror(FolderStore(tmp_path))(MirrorFile(file))
