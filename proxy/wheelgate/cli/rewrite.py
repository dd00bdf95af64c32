"""The `wheelgate rewrite` command."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs

import click
import msgspec

from wheelgate.cli.options import config_option, run_to_end
from wheelgate.cli.rewrite_files import find_files, refuse_links, write_files
from wheelgate.config import Config, load, parse_duration_s, read_client_settings
from wheelgate.core.errors import BadInput, BlobNotFound, WheelgateError
from wheelgate.core.urls import UnsafeUrl, parse, suggest_url
from wheelgate.distfiles.text_files import TextFile, read_text_file
from wheelgate.rewrite.classify_urls import UrlClassifier
from wheelgate.rewrite.documents import Purpose, Rewritten, find_blobs, rewrite_text
from wheelgate.rewrite.lock_digests import list_locks, swap_digest
from wheelgate.rewrite.shown import format_diff

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
@click.option("--by-name", is_flag=True, help="Write name==version instead of the file's URL in lists of requirements.")
@click.option("--sas", is_flag=True, help="Sign private blob URLs for a while instead, where no Wheelgate may run.")
@click.option("--life", default="1h", show_default=True, callback=_parse_life, help="How long --sas URLs are valid.")
@click.option("--restore", is_flag=True, help="Give locks their canonical addresses back.")
@click.option("--diff", "only_diff", is_flag=True, help="Show what would change, and write nothing.")
@click.option("--check", is_flag=True, help="As --diff, with exit status 1 if something would change or is left: for CI.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def rewrite(
    config: Path | None,
    url: str | None,
    by_name: bool,
    sas: bool,
    life: float,
    restore: bool,
    only_diff: bool,
    check: bool,
    files: tuple[Path, ...],
) -> None:
    """Make everything that says where packages come from say Wheelgate.

    Requirements files, conda and Azure ML environments, Dockerfiles, pipelines, the settings of pip, uv, poetry, PDM, Hatch and
    pipenv, and locks. Wheels in private blob containers and Azure DevOps feeds get Wheelgate's URLs; credentials and signatures
    go, and one index replaces those of the feeds. Comments, order, hashes and markers stay. FILES, and those of known names in
    folders, are changed in place, all or none of them, and the changes shown; -r and -c lines are not followed. What looks like
    a credential, a signature or an index and is left is named by line, and makes the exit status 1.
    """
    if sas + by_name + restore > 1:
        raise click.UsageError("--by-name, --sas and --restore exclude each other: each writes other addresses")
    loaded = load(config) if config is not None else None
    gate = None if sas else _find_gate(url, loaded)
    purpose = Purpose(ours=UrlClassifier(gate, loaded), gate=gate, by_name=by_name, restores=restore)
    found, others = find_files(files)
    writes = not (only_diff or check)
    if writes:
        refuse_links(found)
    read, left = _read_all(found)
    if sas:
        signed = run_to_end(_sign_all({path: file.text for path, file in read.items()}, purpose.ours, loaded, life))
        purpose = msgspec.structs.replace(purpose, signed=signed)
    done, more = _rewrite_all(read, found, purpose)
    left += more + _tell(done, names_sources=loaded is None and not restore)
    if others:
        _say(
            f"{others} other files in the folders are of no kind that is read there: name those that say where packages come from"
        )
    changed = {path: entry.text for path, entry in done.items() if entry.text != read[path].text}
    for path, text in changed.items():
        print(format_diff(str(path), read[path].text, text))
    if purpose.signed:
        ends = [datetime.fromisoformat(parse_qs(url.partition("?")[2])["se"][0]) for url in purpose.signed.values()]
        _say(f"the signed URLs expire at {min(ends).astimezone(UTC):%Y-%m-%d %H:%M} UTC")
    if writes:
        write_files(changed, read)
    verb = "rewrote" if writes else "would change"
    _say(f"{verb} {', '.join(map(str, changed))}" if changed else "nothing to change")
    if left:
        _say(f"{left} {'thing is' if left == 1 else 'things are'} left to you, named above")
    sys.exit(1 if left or (check and changed) else 0)


def _read_all(found: Mapping[Path, bool]) -> tuple[dict[Path, TextFile], int]:
    """Read all files, and count those of folders that cannot be read."""
    read, left = {}, 0
    for path, in_folder in found.items():
        try:
            read[path] = read_text_file(path)
        except BadInput as error:
            left += _keep_going(error, in_folder=in_folder)
    return read, left


def _rewrite_all(
    read: Mapping[Path, TextFile], found: Mapping[Path, bool], purpose: Purpose
) -> tuple[dict[Path, Rewritten], int]:
    """Rewrite all texts, and count those of folders that cannot be; :class:`BadInput` if a line of any is refused."""
    done, left = {}, 0
    for path, file in read.items():
        try:
            done[path] = rewrite_text(str(path), file.text, purpose)
        except BadInput as error:
            left += _keep_going(error, in_folder=found[path])
    _refuse_all(done)
    return done, left + _align_locks(done, read)


def _align_locks(done: Mapping[Path, Rewritten], read: Mapping[Path, TextFile]) -> int:
    """Write the digests anew that locks hold of changed manifests, and count the locks of which that cannot be done."""
    left = 0
    for path, entry in done.items():
        if entry.text == read[path].text:
            continue
        for lock in (path.with_name(name) for name in list_locks(path.name)):
            if lock not in done and not lock.exists():
                continue
            swapped = None
            if lock in done:
                swapped = swap_digest(lock.name, done[lock].text, read[path].text, entry.text)
            if swapped is not None:
                done[lock].text = swapped
            else:
                left += 1
                why = "does not hold the digest of it as it was" if lock in done else "was not named"
                _say(f"{lock}: is the lock of {path}, which changes, and {why}: lock anew, or rewrite both at once")
    return left


def _say(sentence: str) -> None:
    print(f"wheelgate: {sentence}", file=sys.stderr)


def _keep_going(error: BadInput, *, in_folder: bool) -> int:
    """Say that a file of a folder cannot be read, and count it; one that was named itself stops everything."""
    if not in_folder:
        raise error
    _say(str(error))
    return 1


def _refuse_all(done: Mapping[Path, Rewritten]) -> None:
    """Raise :class:`BadInput`, naming all refused lines, if there is any."""
    refusals = [f"{path} line {line}: {sentence}" for path, entry in done.items() for line, sentence in entry.refusals]
    if refusals:
        for path, entry in done.items():
            for line, sentence in entry.notes:
                _say(f"{path} line {line}: {sentence}")
        raise BadInput("\nwheelgate: ".join([*refusals, "nothing was written"]))


def _tell(done: Mapping[Path, Rewritten], *, names_sources: bool) -> int:
    """Say everything there is to say of the files, and return how many things are left in them."""
    sources: dict[str, str] = {}
    for path, entry in done.items():
        said = {line for line, sentence in entry.notes if "credential" in sentence}
        for line, sentence in sorted([*entry.notes, *(found for found in entry.left if found[0] not in said)]):
            _say(f"{path} line {line}: {sentence}")
        if not entry.has_packages:
            _say(f"{path}: is {entry.format} without any list of packages, index or file of a package")
        for line, source in entry.sources:
            sources.setdefault(source, f"{path} line {line}")
    for source, place in sources.items() if names_sources else ():
        _say(f"{place}: {source} must be a source of Wheelgate, or its names are asked of public PyPI")
    return sum(len(entry.left) for entry in done.values())


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


async def _sign_all(texts: Mapping[Path, str], ours: UrlClassifier, config: Config | None, life_s: float) -> dict[str, str]:
    """Sign each private blob that the files name; :class:`WheelgateError` naming file and line if one cannot be signed."""
    from wheelgate.rewrite.signing import open_signer
    from wheelgate.wiring import SystemClock, open_keyring

    config = config or Config()
    signed: dict[str, str] = {}
    async with open_keyring(config) as keyring, open_signer(config, keyring, SystemClock(), life_s) as sign:
        for path, text in texts.items():
            for url, line in find_blobs(str(path), text, ours).items():
                try:
                    signed[url] = signed.get(url) or await sign(url)
                except BlobNotFound:
                    raise BadInput(f"{path} line {line}: there is no {url}") from None
                except WheelgateError as error:
                    raise BadInput(f"{path} line {line}: {error}") from None
    return signed
