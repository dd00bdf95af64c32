"""A company on Azure, on loopback: its DevOps organisation, its proxy, its certificates, and public packages beside them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.support.devops import HOST, AzureDevOps, Feed, azure_devops
from tests.support.index import FakeIndex, running
from tests.support.packages import wheel_bytes, wheel_name
from tests.support.tunnels import OutboundProxy

PAT = "canary-pat-of-acme-0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass
class Company:
    """What the tests of feeds have around them: organisation ``acme`` with one feed, and a public index."""

    devops: AzureDevOps
    proxy: OutboundProxy
    public: FakeIndex
    team: Feed
    """Organisation-scoped, with ``acme-lib`` 1.0 and 2.0; only 1.0 is promoted to its view ``Release``."""
    tools: Feed
    """Scoped to the project ``Platform``, with ``acme-tool`` 3.0.0."""
    authority: trustme.CA
    ca_file: Path

    @property
    def secrets_at_storage(self) -> list[str]:
        """Requests to storage that carried what belongs to DevOps."""
        return [asked.path for asked in self.devops.storage_asked if "authorization" in {name.lower() for name in asked.headers}]

    def server(self, **settings: str) -> str:
        """The ``[server]`` section."""
        said = {"ca_file": str(self.ca_file), "outbound_proxy": self.proxy.url, **settings}
        return "\n".join(["[server]", *(f'{key} = "{value}"' for key, value in said.items()), ""])

    def config(self, url: str, connection: str, *, name: str = "team-feed", source: str = "", **settings: str) -> str:
        """A feed and the public index behind one URL."""
        return (
            self.server(**settings)
            + f'\n[[source]]\nname = "{name}"\ntype = "devops"\nurl = "{url}"\nfresh = "0s"\nabsent = "0s"\n{source}\n'
            + self.public_source()
            + connection
        )

    def public_source(self) -> str:
        return (
            f'\n[[source]]\nname = "public"\ntype = "index"\nurl = "{self.public.url}"\nprivate = false\n'
            'outbound_proxy = "none"\nfresh = "0s"\nabsent = "0s"\n'
        )


def connection(target: str = f"https://{HOST}/acme", auth_type: str = "PAT", name: str = "acme", **fields: str) -> str:
    """A ``[[connection]]`` section."""
    if auth_type == "PAT":
        fields.setdefault("value", "env:ACME_PAT")
    said = {"name": name, "target": target, "auth_type": auth_type, **fields}
    return "\n".join(["", "[[connection]]", *(f'{key} = "{value}"' for key, value in said.items()), ""])


TEAM_URL = f"https://{HOST}/acme/_packaging/team/pypi/simple/"
TOOLS_URL = f"https://{HOST}/acme/Platform/_packaging/tools/pypi/simple/"


@contextmanager
def company(folder: Path) -> Iterator[Company]:
    """The company, gone when the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA()
    ca_file = folder / "company-ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    with ExitStack() as stack:
        devops, proxy = stack.enter_context(azure_devops(authority))
        public = stack.enter_context(running(FakeIndex()))
        organisation = devops.organisation("acme")
        organisation.pats[PAT] = "good"
        team, tools = Feed("team"), Feed("tools", project="Platform")
        organisation.feeds += [team, tools]
        team.publish("acme-lib", "1.0", views=("Release",))
        team.publish("acme-lib", "2.0")
        tools.publish("acme-tool", "3.0.0")
        public.publish("idna", wheel_name("idna", "3.20"), wheel_bytes("idna", "3.20"))
        yield Company(devops, proxy, public, team, tools, authority, ca_file)
