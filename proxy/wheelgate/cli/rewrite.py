"""The `wheelgate rewrite` command."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs

import click

from wheelgate.cli.options import config_option, run_to_end
from wheelgate.config import Config, load, parse_duration_s, read_client_settings
from wheelgate.core.errors import BadInput, BlobNotFound, WheelgateError
from wheelgate.core.urls import UnsafeUrl, parse, suggest_url
from wheelgate.distfiles.requirements_file import read_text
from wheelgate.rewrite.classify_urls import UrlClassifier
from wheelgate.rewrite.decisions import find_private_blobs, plan_for_gate, plan_for_storage
from wheelgate.rewrite.documents import CondaDocument, RequirementsDocument, format_diff, open_document

Documents = Mapping[Path, RequirementsDocument | CondaDocument]
_SHORTEST_S, _LONGEST_S = 600.0, 2 * 86_400.0


def _parse_life(context: click.Context, parameter: click.Parameter, value: str) -> float:  # noqa: ARG001
    try:
        life_s = parse_duration_s(value, needs_unit=True)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if not _SHORTEST_S <= life_s <= _LONGEST_S:
        raise click.BadParameter(
            "must be between 10m and 2d, because anyone who has a signed URL can read the file until it expires"
        )
    return life_s


@click.command()
@config_option("The server's settings: the sources in them are rewritten. Without them: all Azure blobs and feeds.")
@click.option("--url", help="URL of Wheelgate (or WHEELGATE_URL, or the settings).")
@click.option("--by-name", is_flag=True, help="Write name==version instead of the file's URL.")
@click.option("--sas", is_flag=True, help="Sign private blob URLs for a while instead, where no Wheelgate may run.")
@click.option("--life", default="1h", show_default=True, callback=_parse_life, help="How long --sas URLs are valid.")
@click.option("--diff", "only_diff", is_flag=True, help="Show what would change, and write nothing.")
@click.option("--check", is_flag=True, help="As --diff, with exit status 1 if something would change: for CI.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def rewrite(
    config: Path | None,
    url: str | None,
    by_name: bool,
    sas: bool,
    life: float,
    only_diff: bool,
    check: bool,
    files: tuple[Path, ...],
) -> None:
    """Make requirements files and conda environments install through Wheelgate.

    Wheels in private blob containers and Azure DevOps feeds get Wheelgate's URLs; credentials and signatures go, and one
    --index-url replaces those of the feeds. Comments, order, hashes and markers stay. FILES are changed in place, all or none
    of them, and the changes shown; -r and -c lines are not followed.
    """
    if sas and by_name:
        raise click.UsageError("--by-name and --sas exclude each other: the first needs Wheelgate, the second does without it")
    loaded = load(config) if config is not None else None
    gate = None if sas else _find_gate(url, loaded)
    ours = UrlClassifier(gate, loaded)
    texts = {path: read_text(path) for path in dict.fromkeys(files)}
    documents = {path: open_document(path.name, text) for path, text in texts.items()}
    signed = run_to_end(_sign_all(documents, ours, loaded, life)) if sas else {}
    rewritten = _rewrite_all(documents, ours, gate, signed, by_name=by_name)
    changed = {path: text for path, text in rewritten.items() if text != texts[path]}
    for path, text in changed.items():
        print(format_diff(str(path), texts[path], text))
    if signed:
        ends = [datetime.fromisoformat(parse_qs(url.partition("?")[2])["se"][0]) for url in signed.values()]
        print(f"wheelgate: the signed URLs expire at {min(ends).astimezone(UTC):%Y-%m-%d %H:%M} UTC", file=sys.stderr)
    if not (only_diff or check):
        _write(changed)
    verb = "would change" if only_diff or check else "rewrote"
    said = ", ".join(str(path) for path in changed)
    print(f"wheelgate: {verb} {said}" if changed else "wheelgate: nothing to change", file=sys.stderr)
    sys.exit(1 if check and changed else 0)


def _find_gate(url: str | None, config: Config | None) -> str:
    """Find the URL of Wheelgate, without a slash at the end."""
    url = url or read_client_settings()[0]
    if url is None and config is not None:
        if config.server.public_url is None and not config.server.is_loopback:
            raise click.UsageError("specify where people reach Wheelgate: server.public_url in the settings, or --url")
        url = config.base_url
    if url is None:
        raise click.UsageError("specify where Wheelgate is: --url https://wheelgate.internal, WHEELGATE_URL or --config")
    try:
        parsed = parse(url)
    except UnsafeUrl as error:
        meant = suggest_url(url)
        what = f"cannot be used: {error}" if meant is None else f"has no scheme: write {meant}"
        raise click.UsageError(f"the URL of Wheelgate {what}") from None
    if parsed.raw_query_string or parsed.raw_fragment:
        raise click.UsageError("the URL of Wheelgate must end with its path")
    return url.rstrip("/").removesuffix("/simple").removesuffix("/legacy")


def _rewrite_all(
    documents: Documents, ours: UrlClassifier, gate: str | None, signed: Mapping[str, str], *, by_name: bool
) -> dict[Path, str]:
    """Rewrite all documents; :class:`BadInput`, naming all refused lines, if there is any."""
    texts, refusals = {}, []
    for path, found in documents.items():
        lines = found.lines
        plan = plan_for_gate(lines, ours, gate, by_name=by_name) if gate is not None else plan_for_storage(lines, ours, signed)
        for line, sentence in plan.notes:
            print(f"wheelgate: {path} line {found.numbers[line]}: {sentence}", file=sys.stderr)
        refusals += [f"{path} line {found.numbers[line]}: {sentence}" for line, sentence in sorted(plan.refusals)]
        if not plan.refusals:
            texts[path] = found.apply(plan)
    if refusals:
        raise BadInput("\nwheelgate: ".join([*refusals, "nothing was written"]))
    return texts


async def _sign_all(documents: Documents, ours: UrlClassifier, config: Config | None, life_s: float) -> dict[str, str]:
    """Sign each private blob that the files name; :class:`WheelgateError` naming file and line if one cannot be signed."""
    from wheelgate.rewrite.signing import open_signer
    from wheelgate.wiring import SystemClock, open_keyring

    config = config or Config()
    signed: dict[str, str] = {}
    async with open_keyring(config) as keyring, open_signer(config, keyring, SystemClock(), life_s) as sign:
        for path, found in documents.items():
            for url, line in find_private_blobs(found.lines, ours).items():
                try:
                    signed[url] = signed.get(url) or await sign(url)
                except BlobNotFound:
                    raise BadInput(f"{path} line {found.numbers[line]}: there is no {url}") from None
                except WheelgateError as error:
                    raise BadInput(f"{path} line {found.numbers[line]}: {error}") from None
    return signed


def _write(texts: Mapping[Path, str]) -> None:
    """Write the new texts in place of the old, with their permissions: all of them are on disk before the first is moved.

    Raises:
        BadInput: a file or its folder cannot be written.
    """
    staged: list[tuple[Path, Path]] = []
    path = Path()
    try:
        for path, text in texts.items():
            target = path.resolve()  # the file behind a link, not the link
            with tempfile.NamedTemporaryFile("wb", dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
                staged.append((Path(file.name), target))
                file.write(text.encode("utf-8"))
                file.flush()
                os.fsync(file.fileno())
            shutil.copymode(target, file.name)
        for temporary, target in staged:
            path = target
            temporary.replace(target)
    except OSError as error:
        raise BadInput(f"{path}: cannot be written: {(error.strerror or 'unknown').lower()}") from None
    finally:
        for temporary, _ in staged:
            temporary.unlink(missing_ok=True)
