"""Packages kept as blobs, one folder a project, as in the store's own uploads."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Mapping, Sequence

from wheelgate.core.belonging import Membership
from wheelgate.core.errors import ProjectNotFound
from wheelgate.core.model import ProjectPage, Withheld
from wheelgate.core.name_table import NameTable
from wheelgate.core.names import is_listable, is_normalised, is_safe_filename, normalise_name
from wheelgate.core.packed_names import PackedNames
from wheelgate.core.protocols import BlobInfo, BlobStore, Clock
from wheelgate.core.unusable import UnusableBlobs
from wheelgate.runtime.logs import TroubleLog
from wheelgate.simple_api.render import file_url
from wheelgate.sources.emptiness import Emptiness
from wheelgate.sources.holdings import Holdings, HoldingsBuilder, Unoffered, log_unoffered
from wheelgate.sources.page_builder import page_of, stored_file
from wheelgate.storage import layout
from wheelgate.storage.kept_names import RELISTED_S, KeptNames
from wheelgate.storage.tombstones import Tombstones

_JUDGED_S = 60.0
_MAX_PROVENANCE_BYTES = 1024 * 1024
"""Whatever somebody drops beside a file, no more of it is ever held in memory."""
_log = logging.getLogger(__name__)


class BlobPackages:
    """A :class:`~wheelgate.core.protocols.Source` over ``<prefix><project>/<filename>`` in a store. One listing gives a page."""

    def __init__(
        self,
        *,
        name: str,
        store: BlobStore,
        prefix: str,
        clock: Clock,
        names_fresh_s: float = math.inf,
        public_url: str | None = None,
        tombstones: Tombstones | None = None,
        emptiness: Emptiness | None = None,
        table: NameTable | None = None,
        place: str | None = None,
    ) -> None:
        """A source over a folder of a store.

        Args:
            name: the operator's, for the source.
            store: holds the packages.
            prefix: of the folder, in the store.
            clock: the age of what was listed.
            names_fresh_s: time for which the names are known.
            public_url: what stands before ``/files/`` for the world. Without it no provenance is offered (PEP 740).
            tombstones: of the files that were deleted here; ``None``: nothing is ever uploaded to it.
            emptiness: judges a container that has nothing; ``None``: nobody but us fills and empties it.
            table: keeps the names; ``None``: nobody else has any.
            place: of the source whose copies they are, if they are: those of another place are not listed.
        """
        self.name = name
        self._emptiness = emptiness
        self._judged_s = -math.inf
        self._store = store
        self._place = place
        self._prefix = prefix
        self._clock = clock
        self._public_url = public_url
        self._tombstones = tombstones
        self._names = KeptNames(
            f"source {name}",
            find_all=self._find_folders,
            holds=self._has_files,
            clock=clock,
            relisted_s=min(names_fresh_s, RELISTED_S),
            table=table,
        )
        self._troubles = TroubleLog(_log)

    def forget(self, project: str | None = None) -> None:
        """A project may have come or gone; ``None``: any may."""
        self._names.forget(project)

    async def close(self) -> None:
        """Stop reading and writing."""
        await self._names.close()
        if self._emptiness is not None:
            await self._emptiness.close()

    async def _check_place(self) -> None:
        """Raise StoreError if nothing shows that this is the place; looked at once a minute at most."""
        if self._emptiness is None or self._clock.monotonic() - self._judged_s < _JUDGED_S:
            return
        place, is_void, projects = await self._emptiness.identify(), True, []
        async for info in self._store.list(self._prefix):
            is_void = False
            folder, slash, filename = info.path.removeprefix(self._prefix).partition("/")
            if slash and normalise_name(folder) == folder and is_listable(filename):
                projects.append(folder)
                break
        await self._emptiness.judge(place, projects=projects, is_void=is_void)
        self._judged_s = self._clock.monotonic()

    async def project_names(self) -> PackedNames:
        """Every project with a file, as of the last change that was told."""
        return await self._names.get()

    async def _find_folders(self) -> AsyncIterator[Sequence[str]]:
        async for names in self._store.list_folder(self._prefix):
            yield [name[:-1] for name in names if name.endswith("/") and is_normalised(name[:-1])]

    async def _has_files(self, project: str) -> bool:
        async for _ in self._store.list(f"{self._prefix}{project}/"):
            return True
        return False

    async def project_page(self, project: str) -> ProjectPage:
        prefix = f"{self._prefix}{project}/"
        # A mirror keeps core metadata beside its wheels: no entry of the page, and nothing unusable either.
        listed = [info async for info in self._store.list(prefix) if not info.path.endswith(".metadata") and self._is_here(info)]
        blobs = {info.path.removeprefix(prefix): info for info in listed}
        holdings, strangers = self._sort(project, blobs)
        log_unoffered(self._troubles, project, holdings.withheld)
        if (damage := holdings.damage) is not None:  # it has the project, and nothing of it that can be told
            raise UnusableBlobs(f"source {self.name} has nothing of {project} that can be used: {damage.reason}")
        provenances = {name for name, info in blobs.items() if layout.is_provenance(name) and info.size <= _MAX_PROVENANCE_BYTES}
        files = [
            stored_file(
                self.name,
                self._store.name,
                project,
                filename,
                info,
                provenance=self._provenance(project, filename) if layout.provenance(filename) in provenances else None,
            )
            for filename, info in holdings.offered.items()
        ]
        if files and self._tombstones is not None:
            digests = {file.filename: file.hashes.get("sha256") for file in files}
            displaced = await self._tombstones.find_displaced(project, digests)
            files = [file for file in files if file.filename not in displaced]
        if not files and not holdings.withheld:
            await self._check_place()
            raise ProjectNotFound(f"source {self.name} has no project {project}")
        dropped = strangers + len(holdings.offered) - len(files)
        return page_of(project, files, as_of=self._clock.now(), dropped=dropped, withheld=holdings.withheld)

    def _sort(self, project: str, blobs: Mapping[str, BlobInfo]) -> tuple[Holdings, int]:
        """Sort what lies in the folder of a project; the number of those that are no distribution files, too.

        What a page of an index may have is offered as it is.
        """
        members, builder, strangers = Membership(project), HoldingsBuilder(self.name, project), 0
        for name, info in blobs.items():
            if not is_listable(name) or "/" in name:
                strangers += not layout.is_provenance(name)
            elif info.damage is None and is_safe_filename(name) and name in members:
                builder.offer(name, info)
            else:
                builder.add(info)
        holdings = builder.finish()
        return holdings, strangers + holdings.dropped

    async def find_unoffered(self, most: int) -> Unoffered:
        """See :class:`~wheelgate.sources.holdings.Holder`."""
        named: list[Withheld] = []
        total = 0
        folder, blobs = "", dict[str, BlobInfo]()
        async for info in self._store.list(self._prefix):
            project, slash, name = info.path.removeprefix(self._prefix).partition("/")
            if not slash or not is_normalised(project):
                continue
            if project != folder:
                total += self._count_unoffered(folder, blobs, named, most)
                folder, blobs = project, {}
            if not name.endswith(".metadata"):
                blobs[name] = info
        total += self._count_unoffered(folder, blobs, named, most)
        return Unoffered(tuple(named), total)

    def _count_unoffered(self, project: str, blobs: Mapping[str, BlobInfo], named: list[Withheld], most: int) -> int:
        withheld = self._sort(project, blobs)[0].withheld
        named += withheld[: max(0, most - len(named))]
        return len(withheld)

    def _is_here(self, info: BlobInfo) -> bool:
        return self._place is None or info.facts.get(layout.PLACE, self._place) == self._place

    def _provenance(self, project: str, filename: str) -> str | None:
        """Clients take no relative URL here."""
        return None if self._public_url is None else layout.provenance(file_url(self._public_url, project, filename))
