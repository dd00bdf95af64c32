"""The services of one process: the object graph that ``wiring`` builds, and that the server and the commands are handed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from wheelgate.core.protocols import BlobStore, Clock
from wheelgate.credentials.keyring import Keyring
from wheelgate.files.delivery import Delivery
from wheelgate.files.index_documents import IndexDocuments
from wheelgate.files.metadata_files import MetadataFiles
from wheelgate.index.merged import Merged
from wheelgate.index.policy_reload import PolicyReload
from wheelgate.index.screened import RuleBook
from wheelgate.runtime.metrics import Metrics
from wheelgate.sources.absence import AbsenceEvidence
from wheelgate.sources.blob_scan import ListedWhole
from wheelgate.sources.other_callers import OtherCallers
from wheelgate.sources.public_names import PublicNames
from wheelgate.storage.changes import StoreChanges
from wheelgate.storage.claims import Claims
from wheelgate.storage.spool import Spool
from wheelgate.storage.token_expiry import ExpiredTokens
from wheelgate.storage.tokens import Tokens
from wheelgate.uploads.accept import Destination, Uploads
from wheelgate.uploads.manage import UploadManager
from wheelgate.upstream.client import SourceClient


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a server or a command works with, open until the block of ``wiring.open_services`` ends."""

    clock: Clock
    metrics: Metrics
    keyring: Keyring
    """Signs in upstream."""
    store: BlobStore
    """Ours: uploads, cached files, records."""
    spool: Spool
    changes: StoreChanges
    claims: Claims
    tokens: Tokens
    """Of clients."""
    expired_tokens: ExpiredTokens
    rules: RuleBook
    enforcement: PolicyReload
    callers: OtherCallers
    """Whom the remote sources' answers were given to."""
    index: Merged
    """All sources as one index."""
    delivery: Delivery
    metadata_files: MetadataFiles
    index_documents: IndexDocuments
    targets: Sequence[Destination]
    """Where uploads may go, in the order of the sources."""
    uploads: Uploads
    packages: UploadManager
    clients: Mapping[str, SourceClient]
    """Of the sources that are asked over HTTP."""
    absences: Mapping[str, AbsenceEvidence]
    """Of the sources that are indexes: what their "not there" is worth."""
    public_names: Mapping[str, PublicNames]
    """Of the private sources of which nobody said what they pass through: whether they list well-known public names."""
    scans: Sequence[ListedWhole]
    """The sources that are listed whole, from the start of a server on."""
    containers: Mapping[str, BlobStore]
    """The stores of those sources that are blob containers, by the source's name."""
