"""The tree of the store, in one place.

::

    packages/<project>/<filename>              uploads; facts: sha256, upload_time, yanked
    packages/<project>/<filename>.provenance   what came with it (PEP 740); likewise in a container that uploads may go to
    cache/<source>/<project>/<filename>        bytes of upstream files, verified; facts: sha256
    metadata/<sha256 of the wheel>             core metadata out of an upload: two uploaders can never mix theirs
    metadata/<home>/<sha256 of the wheel>      what an upstream says it is: no source can speak for another
    metadata/<source>/at-<file>/<place>        what the wheel there says, where no digest of it is listed; both as a sha256
    claims/<project>                           the name is private for ever; outlives every file
    released/<project>/<moment>                claims that an operator ended, and why
    tombstones/<project>/<filename>            the digest of a deleted upload: other bytes never take its name
    tokens/<id>                                inbound tokens, hashed
    records/<home>/<project>                   what is remembered of one source's project
    known/<home>                               a few projects that a source had: by them it is known again
    feeds/<source>                             what a feed is, as its service describes it
    origins/<source>/<project>                 whose a feed's project is, and when its versions came
    state/listings/<source>/                   the last listing of a container, for the next process
    state/changed                              what changes, by kind and key; written before every change, watched by replicas
    state/expired                              of the process that last removed expired tokens; as old as that is

A home is a source at a URL, ``<source>@<key of the URL>``: what is kept of a source is not taken for that of another place to
which it moved, nor lost if it moves back. Former releases kept it as ``<source>``. A copy in ``cache/`` has the key in its facts.

Every part is validated before it comes here: projects are normalised, file names safe, sources named by the operator's
configuration, digests hexadecimal. So no path can climb, and none needs quoting.
"""

from __future__ import annotations

import hashlib
from datetime import datetime

PACKAGES = "packages/"
CACHE = "cache/"
METADATA = "metadata/"
RECORDS = "records/"
CLAIMS = "claims/"
TOKENS = "tokens/"
TOMBSTONES = "tombstones/"
CHANGED = "state/changed"
EXPIRED = "state/expired"
PLACE = "place"
"""Fact of a copy in ``cache/``: the key of its source's URL when it came."""
_PROVENANCE = ".provenance"


def package(project: str, filename: str) -> str:
    """An uploaded file."""
    return f"{PACKAGES}{project}/{filename}"


def provenance(file: str) -> str:
    """The provenance object of the file at this path: beside it, so that the listing that shows the one shows the other."""
    return f"{file}{_PROVENANCE}"


def is_provenance(path: str) -> bool:
    """True if a blob is the provenance object of another."""
    return path.endswith(_PROVENANCE)


def cache_of(source: str) -> str:
    """The folder of the verified copies of one source's files."""
    return f"{CACHE}{source}/"


def cache_copy(source: str, project: str, filename: str) -> str:
    """A verified copy of an upstream file."""
    return f"{cache_of(source)}{project}/{filename}"


def metadata(wheel_sha256: str) -> str:
    """The core metadata of the wheel with this digest, read from the wheel itself."""
    return f"{METADATA}{wheel_sha256}"


def home_of(source: str, place: str) -> str:
    """A source at one place (:func:`wheelgate.core.urls.place_key`)."""
    return f"{source}@{place}"


def upstream_metadata(home: str, wheel_sha256: str) -> str:
    """The core metadata of a wheel with this digest, as an upstream sent it or a part of the wheel: nobody compared them."""
    return f"{METADATA}{home}/{wheel_sha256}"


def metadata_beside(file: str) -> str:
    """The core metadata of the wheel at this path, as a mirror stores it."""
    return f"{file}.metadata"


def located_metadata(source: str, project: str, filename: str, place: str) -> str:
    """The core metadata of the wheel at a place (a URL; a path and ETag) whose digest nobody says."""
    return f"{located_folder(source, project, filename)}{hashlib.sha256(place.encode()).hexdigest()}"


def located_folder(source: str, project: str, filename: str) -> str:
    """Folder of that metadata of one file, for every place where it ever was."""
    return f"{METADATA}{source}/at-{hashlib.sha256(f'{project}/{filename}'.encode()).hexdigest()}/"


def claim(project: str) -> str:
    """The record that makes a name private."""
    return f"{CLAIMS}{project}"


def release_record(project: str, moment: datetime) -> str:
    """The record of a claim that was ended."""
    return f"released/{project}/{moment:%Y%m%dT%H%M%S%f}Z"


def tombstone(project: str, filename: str) -> str:
    """The record of a deleted upload."""
    return f"{TOMBSTONES}{project}/{filename}"


def record(home: str, project: str) -> str:
    """The record of one source's project."""
    return f"{RECORDS}{home}/{project}"


def records_of(home: str) -> str:
    """The folder of one source's records."""
    return f"{RECORDS}{home}/"


def known_projects(home: str) -> str:
    """The record of a few projects that a source was seen to have."""
    return f"known/{home}"


def feed_description(source: str) -> str:
    """The record of what a feed is."""
    return f"feeds/{source}"


def origin(source: str, project: str) -> str:
    """The record of whose a feed's project is."""
    return f"origins/{source}/{project}"


def listing_head(source: str) -> str:
    """The head of the last listing of a container."""
    return f"state/listings/{source}/head"


def listing_part(source: str, sha256: str) -> str:
    """One of its parts."""
    return f"state/listings/{source}/{sha256}"


def token(identifier: str) -> str:
    """One inbound token's record."""
    return f"{TOKENS}{identifier}"
