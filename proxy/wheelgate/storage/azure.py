"""The store in a container of Azure Blob Storage: shared by replicas, and read by clients directly through signed URLs.

A blob appears with its body, its facts and its visibility in one commit, made only if the name is free: two replicas that
upload one name can neither mix their bodies nor overwrite each other. Identity is Microsoft Entra's by default; an account key
is used only where it was configured.
"""

from __future__ import annotations

import asyncio
import io
import logging
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar

import msgspec
from azure.core import MatchConditions
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.core.pipeline import PipelineResponse
from azure.storage.blob import BlobBlock, BlobProperties, ContentSettings
from azure.storage.blob.aio import BlobClient, BlobServiceClient

from wheelgate.core.errors import BlobChanged, BlobDamaged, BlobExists, BlobNotFound, StoreError
from wheelgate.core.protocols import MAX_READ_BYTES, BlobInfo, Clock, Hook
from wheelgate.credentials.azure_transport import UNANSWERED, AzureTransport
from wheelgate.credentials.shared_signature import SharedAccessSignature
from wheelgate.runtime.deadline import renew_deadline
from wheelgate.runtime.logs import TroubleLog
from wheelgate.runtime.metrics import Metrics
from wheelgate.runtime.regular_file import open_regular, read_head
from wheelgate.runtime.silence_breaker import SilenceBreaker, Unanswered
from wheelgate.storage import layout
from wheelgate.storage.azure_errors import (
    FAILURES,
    FewRetries,
    build_blob_error,
    build_store_error,
    check_answered_by_storage,
    explain_signature,
    is_unanswered,
)
from wheelgate.storage.blob_listing import decode_fact, encode_facts, list_in_batches
from wheelgate.storage.containers import ContainerPlace, container_place
from wheelgate.storage.signatures import Signatures

T = TypeVar("T")
_Blocks = list[BlobBlock]  # spelt here, since AzureStore's own `list` hides the word inside it

_BLOCK_BYTES = 4 * 1024 * 1024
_ONE_REQUEST_BYTES = 1024 * 1024
_BLOCK_S = 60.0
_log = logging.getLogger(__name__)


@asynccontextmanager
async def azure_store(
    url: str,
    *,
    name: str,
    credential: Any,
    clock: Clock,
    sas_window_s: float,
    sas_life_s: float,
    ca_file: str | None = None,
    whom: str | None = None,
    metrics: Metrics | None = None,
) -> AsyncIterator[AzureStore]:
    """A store that is closed when the block ends. The credential stays the caller's.

    ``whom``: the store as clients know it, where its ``name`` alone does not tell. ``metrics``: tell how long its answers take.
    """
    place = container_place(url)
    async with AsyncExitStack() as stack:

        def note_answer(response: PipelineResponse[Any, Any]) -> None:
            check_answered_by_storage(response)
            breaker.note_answer()

        service = await stack.enter_async_context(
            BlobServiceClient(
                place.account_url,
                credential=credential,
                retry_policy=FewRetries(),
                max_single_put_size=_BLOCK_BYTES,
                max_block_size=_BLOCK_BYTES,
                max_single_get_size=_BLOCK_BYTES,
                max_chunk_get_size=_BLOCK_BYTES,
                raw_response_hook=note_answer,
                **AzureTransport(ca_file).client(connection_timeout=2, read_timeout=20),
            )
        )
        probed = service.get_container_client(place.container).get_blob_client(place.prefix + layout.CHANGED)
        breaker = SilenceBreaker(
            f"{whom or name} ({place.account_url}/{place.container})",
            probe=probed.get_blob_properties,
            unreachable=UNANSWERED,
        )
        stack.push_async_callback(breaker.close)
        given = credential if isinstance(credential, SharedAccessSignature) else None
        signatures = None
        if given is None:
            signatures = Signatures(
                service,
                place.account,
                place.container,
                account_key=credential if isinstance(credential, str) else None,
                clock=clock,
                window_s=sas_window_s,
                life_s=sas_life_s,
                breaker=breaker,
            )
            stack.push_async_callback(signatures.close)
        if metrics is not None:
            metrics.store_breaker_open.labels(name).set_function(lambda: breaker.is_open)
        yield AzureStore(service, place, signatures, name, breaker, whom or name, metrics, given)


class AzureStore:
    """A :class:`~wheelgate.core.protocols.BlobStore` in a container, or in a folder of one."""

    def __init__(
        self,
        service: BlobServiceClient,
        place: ContainerPlace,
        signatures: Signatures | None,
        name: str,
        breaker: SilenceBreaker,
        whom: str,
        metrics: Metrics | None,
        given: SharedAccessSignature | None = None,
    ) -> None:
        """``given``: the signature that all of it is asked with, which then signs nothing; ``None``: we sign in ourselves."""
        self.name = name
        self._given = given
        self._whom = whom
        self._breaker = breaker
        self._metrics = metrics
        self.display_url = f"{place.account_url}/{place.container}/{place.prefix}".rstrip("/")
        """For people."""
        self._container = service.get_container_client(place.container)
        self._prefix = place.prefix
        self._signatures = signatures
        self._is_preparing = False
        """Whether :meth:`prepare` is under way, which raises what is to be said."""
        self._troubles = TroubleLog(_log)

    def _blob(self, path: str) -> BlobClient:
        return self._container.get_blob_client(self._prefix + path)

    async def prepare(self) -> None:
        """Prove that the container exists and may be written, or raise :class:`StoreError`."""
        probe = f"state/probe-{uuid.uuid4().hex}"
        self._is_preparing = True
        try:
            await self.put_if_absent(probe, b"wheelgate", {})
            await self.delete(probe)
        except StoreError as error:  # of which only the operator hears
            raise StoreError(str(error) if self.display_url in str(error) else f"{self.display_url}: {error}") from None
        finally:
            self._is_preparing = False

    def check_answering(self) -> None:
        try:
            self._breaker.check()
        except Unanswered as error:
            raise build_store_error(error, self._whom) from None

    async def identify(self) -> str | None:
        """The identity of the container: another one once it was deleted and made again; ``None``: it may not be asked.

        Raises:
            StoreError: there is no such container, or it cannot be reached.
        """

        async def look() -> str | None:
            try:
                return str((await self._container.get_container_properties()).etag).strip('"')
            except ClientAuthenticationError:
                return None  # a signature for blobs alone
            except HttpResponseError as error:
                if error.status_code == 403:
                    return None
                raise

        return await self._ask("identify", "", look)

    async def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        async for batch in self._list_in_batches(prefix):
            for info in batch:
                yield msgspec.structs.replace(info, path=info.path.removeprefix(self._prefix)) if self._prefix else info

    async def list_folder(self, folder: str) -> AsyncGenerator[Sequence[str]]:
        async for batch in self._list_in_batches(folder, by_folder=True):
            yield [info.path.removeprefix(self._prefix + folder) for info in batch]

    async def _list_in_batches(self, prefix: str, *, by_folder: bool = False) -> AsyncIterator[Sequence[BlobInfo]]:
        async with aclosing(list_in_batches(self._container, self._prefix + prefix, by_folder=by_folder)) as batches:
            # What lies below a folder comes soon; of a whole container each page may take the service long.
            turn, within_s = partial(anext, batches, None), None if prefix else _BLOCK_S
            while (batch := await self._ask("list", prefix, turn, within_s=within_s)) is not None:
                yield batch

    def _info_of(self, found: BlobProperties) -> BlobInfo:
        return BlobInfo(
            path=found.name.removeprefix(self._prefix),
            size=found.size,
            etag=(found.etag or "").strip('"'),
            created=found.creation_time,
            facts={key.lower(): decode_fact(value) for key, value in (found.metadata or {}).items()},
        )

    async def info(self, path: str) -> BlobInfo:
        return self._info_of(await self._ask("info", path, self._blob(path).get_blob_properties))

    async def read(self, path: str) -> tuple[bytes, BlobInfo]:
        async def download() -> tuple[bytes, BlobInfo]:
            stream = await self._blob(path).download_blob(max_concurrency=1, decompress=False)
            if stream.size > MAX_READ_BYTES:
                raise BlobDamaged(f"{path} in {self._whom} cannot be used: it has more than {MAX_READ_BYTES} bytes: delete it")
            return await stream.readall(), self._info_of(stream.properties)

        return await self._ask("read", path, download)

    async def stream(self, path: str, start: int, end: int) -> AsyncIterator[bytes]:
        version: dict[str, Any] = {}  # of the first piece: a name that changes hands meanwhile must not mix two bodies
        while start < end:
            count = min(_BLOCK_BYTES, end - start)

            async def download(start: int = start, count: int = count) -> bytes:
                stream = await self._blob(path).download_blob(
                    offset=start, length=count, max_concurrency=1, decompress=False, **version
                )
                version.update(etag=stream.properties.etag, match_condition=MatchConditions.IfNotModified)
                body: bytes = await stream.readall()
                return body

            piece = await self._ask("stream", path, download, within_s=_BLOCK_S)
            if len(piece) != count:
                raise StoreError(f"the store's {path} is shorter than it was")
            start += count
            yield piece

    async def put_if_absent(
        self, path: str, body: Path | bytes, facts: Mapping[str, str], *, before_commit: Hook | None = None
    ) -> BlobInfo:
        settings = ContentSettings(content_type="application/octet-stream", cache_control="max-age=31536000, immutable")
        commit: dict[str, Any] = {"metadata": encode_facts(facts), "content_settings": settings}
        blob = self._blob(path)
        try:
            put: Callable[[], Awaitable[Mapping[str, Any]]]
            head = body if isinstance(body, bytes) else await asyncio.to_thread(read_head, body, _ONE_REQUEST_BYTES + 1)
            if (size := len(head)) <= _ONE_REQUEST_BYTES:
                put = partial(blob.upload_blob, head, overwrite=False, **commit)
            else:
                blocks = await self._stage_blocks(path, body)
                size = sum(block.size for block in blocks)
                put = partial(blob.commit_block_list, blocks, match_condition=MatchConditions.IfMissing, **commit)
            if before_commit is not None:
                await before_commit()
            made = await self._ask("put", path, put)
        except (BlobExists, BlobChanged):
            kept = await self.info(path)
            if dict(kept.facts) == dict(facts):  # we ourselves: the answer to our commit was lost and asked for again
                return kept
            raise BlobExists(f"the store has {path} already") from None
        except OSError as error:
            raise StoreError(f"{path} cannot be read for the upload: {(error.strerror or '').lower()}") from None
        return BlobInfo(path, size, str(made["etag"]).strip('"'), made["last_modified"], dict(facts))

    async def _stage_blocks(self, path: str, body: Path | bytes) -> _Blocks:
        """Send the body as uncommitted blocks, one at a time in memory, under random ids: nobody else's commit can name them."""
        blocks = []
        file: IO[bytes] = io.BytesIO(body) if isinstance(body, bytes) else await asyncio.to_thread(open_regular, body)
        with file:
            while piece := await asyncio.to_thread(file.read, _BLOCK_BYTES):
                block = BlobBlock(uuid.uuid4().hex)
                stage = partial(self._blob(path).stage_block, block.id, io.BytesIO(piece), length=len(piece))
                await self._ask("stage", path, stage, within_s=_BLOCK_S)
                renew_deadline()
                block.size = len(piece)
                blocks.append(block)
                del piece, stage  # else it is held while the next one is read
        return blocks

    async def replace_if(self, path: str, body: bytes, etag: str | None) -> str:
        condition = {"match_condition": MatchConditions.IfMissing} if etag is None else _if_unchanged(etag)
        upload = partial(self._blob(path).upload_blob, body, overwrite=True, **condition)
        try:
            return str((await self._ask("replace", path, upload))["etag"]).strip('"')
        except (BlobExists, BlobNotFound):
            raise BlobChanged(f"the store's {path} was changed by somebody else") from None

    async def set_facts(self, path: str, facts: Mapping[str, str], etag: str) -> str:
        change = partial(self._blob(path).set_blob_metadata, encode_facts(facts), **_if_unchanged(etag))
        try:
            return str((await self._ask("facts", path, change))["etag"]).strip('"')
        except BlobChanged:
            await self.info(path)  # the service says "changed" of what is gone, too
            raise

    async def delete(self, path: str, etag: str | None = None) -> None:
        condition = {} if etag is None else _if_unchanged(etag)
        with suppress(BlobNotFound):
            try:
                await self._ask("delete", path, partial(self._blob(path).delete_blob, **condition))
            except BlobChanged:
                await self.info(path)  # the service says "changed" of what is gone, too
                raise

    async def signed_url(self, path: str) -> str | None:
        if self._signatures is None:
            return None
        try:
            query = await self._signatures.query(self._prefix + path)
        except FAILURES as error:
            raise build_store_error(error, self._whom) from None
        return f"{self._blob(path).url}?{query}"

    def open_local(self, path: str) -> None:  # noqa: ARG002 - no body is on this machine
        return None

    async def _ask(self, operation: str, path: str, ask: Callable[[], Awaitable[T]], *, within_s: float | None = None) -> T:
        """Ask the service once, its failures translated. ``within_s``: of a large body; ``None``: as long as any answer takes."""
        began_s, given = time.perf_counter(), self._given
        try:
            return await self._breaker.ask(ask if given is None else partial(given.ask, ask), within_s=within_s, whom=self._whom)
        except FAILURES as error:
            built = build_blob_error(error, path, self._whom, explain_signature(given, operation))
            if type(built) is StoreError and not is_unanswered(error):  # of silence the breaker tells
                self._tell_operator(str(built))
            raise built from None
        finally:
            if self._metrics is not None:
                self._metrics.store_seconds.labels(self.name, operation).observe(time.perf_counter() - began_s)

    def _tell_operator(self, sentence: str) -> None:
        """Log a sentence that clients hear, with the place, which is not for them."""
        if not self._is_preparing and self.display_url not in sentence:
            self._troubles.report(sentence, f"{self.display_url}: {sentence}", logging.WARNING)


def _if_unchanged(etag: str) -> dict[str, Any]:
    return {"match_condition": MatchConditions.IfNotModified, "etag": f'"{etag}"'}
