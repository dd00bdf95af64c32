"""Every way a request or a command can fail, each with its kind.

A kind says what the caller may conclude; ``web/errors.py`` alone turns it into a status, ``cli`` alone into an exit status.
A message is one sentence for a person: what happened, to which project, file, source or setting, and what to do. It never
carries a URL's query, user information or a secret.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from enum import Enum


class ErrorKind(Enum):
    """What went wrong, without a word about HTTP."""

    NOT_FOUND = "not found"  # definite: asking again soon gives the same
    WITHHELD = "withheld"  # there, but a rule says no
    INVALID = "invalid"  # the caller's input cannot be used
    CONFLICT = "conflict"  # the name is taken by other content
    TOO_LARGE = "too large"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"  # a known caller without the right
    UNAVAILABLE = "unavailable"  # unreachable, throttled or slow: try again
    BAD_ANSWER = "bad answer"  # an upstream answered wrongly, or refused our credential
    CONFIGURATION = "configuration"  # only the operator can mend it
    INTERNAL = "internal"


class WheelgateError(Exception):
    """The base of every error people may see; ``str()`` is the sentence."""

    kind = ErrorKind.INTERNAL


class InvalidName(WheelgateError):
    """A project or file name that could never be served."""

    kind = ErrorKind.INVALID


class ProjectNotFound(WheelgateError):
    """Definitely not there: the source was heard and does not have the project.

    With ``outage_since`` the source was *not* heard just now: this repeats what it said at ``last_heard``, before it became
    unreachable. Only a caller that knows what may follow from that (:class:`wheelgate.index.merged.Merged`) looks at it.
    """

    kind = ErrorKind.NOT_FOUND

    def __init__(
        self,
        message: str,
        *,
        outage_since: datetime | None = None,
        last_heard: datetime | None = None,
        fresh_until: float = -math.inf,
    ) -> None:
        """``fresh_until``: monotonic seconds; until then nobody needs to ask again."""
        super().__init__(message)
        self.outage_since = outage_since
        self.last_heard = last_heard
        self.fresh_until = fresh_until


class FileNotListed(WheelgateError):
    """The file is not on the project's page, so it cannot be downloaded either."""

    kind = ErrorKind.NOT_FOUND


class MetadataNotFound(WheelgateError):
    """The file is listed, and has no core metadata to give."""

    kind = ErrorKind.NOT_FOUND


class ProvenanceNotFound(WheelgateError):
    """The file is listed, and has no provenance object here."""

    kind = ErrorKind.NOT_FOUND


class FileWithheld(WheelgateError):
    """The file exists and a rule keeps it back; the sentence names the rule and the remedy."""

    kind = ErrorKind.WITHHELD


class ProjectWithheld(FileWithheld):
    """The project is there, and rules keep back every file of it. ``withheld``: file name to the sentence for it."""

    def __init__(self, message: str, withheld: Mapping[str, str]) -> None:
        super().__init__(message)
        self.withheld = withheld


class UpstreamError(WheelgateError):
    """A source could not be heard. Nothing may be concluded about what it has."""

    kind = ErrorKind.UNAVAILABLE

    def __init__(self, message: str, *, source: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.source = source
        self.retry_after_s = retry_after_s


class UpstreamUnavailable(UpstreamError):
    """Unreachable, throttled, too slow, or a server error: the same request may succeed in a moment."""


class UpstreamBadAnswer(UpstreamError):
    """It answered, but not as an index: wrong type, cut short, too large, wrong digest, a sign-in page."""

    kind = ErrorKind.BAD_ANSWER


class NotHeld(UpstreamError):
    """An offline source has no copy, and is not asked. Whether it has the project is unknown, and asking again changes nothing.

    403, as for what a rule withholds: the rule is ``offline``. 404 would be a definite absence, and let a client's next index
    answer; 503 would have it try again.
    """

    kind = ErrorKind.WITHHELD


class CredentialRefused(UpstreamBadAnswer):
    """It refused our credential, or wants one that no connection provides."""


class AddressRefused(UpstreamBadAnswer):
    """A link or redirect leads to an address this source may not reach."""


class StoreError(WheelgateError):
    """The store could not be read or written."""

    kind = ErrorKind.UNAVAILABLE


class BlobNotFound(StoreError):
    """No blob of that path: definite."""

    kind = ErrorKind.NOT_FOUND


class BlobExists(StoreError):
    """Create-if-absent found a blob there already."""

    kind = ErrorKind.CONFLICT


class BlobChanged(StoreError):
    """Compare-and-swap lost: somebody else changed the blob since it was read."""

    kind = ErrorKind.CONFLICT


class UploadRefused(WheelgateError):
    """The file cannot be accepted as it is."""

    kind = ErrorKind.INVALID


class FileExists(UploadRefused):
    """The name is taken by other bytes. The sentence begins as PyPI's does: upload tools look for it."""

    kind = ErrorKind.CONFLICT


class NameTaken(UploadRefused):
    """Another source answers for the project."""

    kind = ErrorKind.CONFLICT


class TooLarge(WheelgateError):
    """More bytes than a limit allows."""

    kind = ErrorKind.TOO_LARGE


class Unauthenticated(WheelgateError):
    """No token, or one we do not know."""

    kind = ErrorKind.UNAUTHENTICATED


class Forbidden(WheelgateError):
    """A known token without this right."""

    kind = ErrorKind.FORBIDDEN


class RewriteRefused(WheelgateError):
    """A file cannot be rewritten as it is; nothing was written."""

    kind = ErrorKind.INVALID


class ConfigurationError(WheelgateError):
    """One or more settings are wrong; ``problems`` holds a sentence each, beginning with the key path."""

    kind = ErrorKind.CONFIGURATION

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class InvalidTarget(WheelgateError):
    """No such Python or platform."""

    kind = ErrorKind.INVALID


class BadInput(WheelgateError):
    """What `mirror` was given to read cannot be used; the sentence names the file and, where there is one, the line."""

    kind = ErrorKind.INVALID


class Unresolvable(WheelgateError):
    """No set of versions, or no file of a version, satisfies what was asked for."""

    kind = ErrorKind.NOT_FOUND


class NotMirrored(WheelgateError):
    """A mirror lacks a file, or holds a damaged one."""
