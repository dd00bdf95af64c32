"""The software bill of materials: what the image is made of beside its base, in CycloneDX JSON, out of the locks alone."""

from __future__ import annotations

import hashlib
import tomllib
import uuid
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from tests.docs.pages import ROOT
from tests.supply_chain.locks import LOCKS, Pinned, read_lock


def build_sbom(root: Path = ROOT) -> str:
    """Build it. The same locks give the same text: no time stands in it, and its serial number is a digest of what it lists."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    ours = Component(
        name=project["name"],
        version=project["version"],
        type=ComponentType.APPLICATION,
        description=project["description"],
        licenses=[DisjunctiveLicense(id=project["license"])],
        bom_ref=project["name"],
    )
    components = [_build_component(pinned, scope) for name, scope in LOCKS.items() for pinned in read_lock(name, root)]
    told = hashlib.sha256("".join((root / name).read_text() for name in ("pyproject.toml", *LOCKS)).encode()).hexdigest()
    bom = Bom(components=components, metadata=BomMetaData(component=ours), serial_number=uuid.uuid5(uuid.NAMESPACE_OID, told))
    bom.metadata.timestamp = None  # type: ignore[assignment] # the format has it optional, the library does not
    bom.register_dependency(ours, components)  # all of them: a lock does not say who wants what
    return make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2) + "\n"


def _build_component(pinned: Pinned, scope: str) -> Component:
    url = PackageURL("pypi", name=pinned.name, version=str(pinned.version))
    return Component(
        name=pinned.name,
        version=str(pinned.version),
        type=ComponentType.LIBRARY,
        scope=ComponentScope(scope),
        purl=url,
        bom_ref=f"{scope}:{url}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in pinned.sha256],
    )
