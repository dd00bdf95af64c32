"""The exception hierarchy: every way a request or a command can fail, each with its kind.

* WheelgateError
  * ProjectNotFound
  * FileNotListed
  * CompanionNotFound
  * FileWithheld
    * ProjectWithheld
  * UpstreamError
    * UpstreamUnavailable
      * Busy
      * FailedBelow
    * RefusedByRule
    * UpstreamBadAnswer
      * LoopDetected
      * CredentialRefused
        * NotSaved
      * AddressRefused
      * PageTooLarge
    * NotHeld
  * StoreError
    * BlobNotFound
    * BlobDamaged
    * BlobExists
    * BlobChanged
    * StoreFull
    * StillListing
  * UploadRefused
    * FileExists
    * NameTaken
  * TooLarge
  * Unauthenticated
  * Forbidden
  * ConfigurationError
  * BadInput
  * Unresolvable

A kind says what the caller may conclude; ``web/errors.py`` alone turns it into a status, ``cli`` alone into an exit status.
A message is one sentence for a person: what happened, to which project, file, source or setting, and what to do. It never
carries a URL's query, user information or a secret.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from enum import Enum
from typing import TypeVar


class ErrorKind(Enum):
    """The kind of a failure, without a word about HTTP."""

    NOT_FOUND = "not found"  # definite: asking again soon gives the same
    WITHHELD = "withheld"  # there, but a rule says no
    INVALID = "invalid"  # the caller's input cannot be used
    CONFLICT = "conflict"  # the name is taken by other content
    TOO_LARGE = "too large"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"  # a known caller without the right
    FULL = "full"  # no room to write; reading goes on
    UNAVAILABLE = "unavailable"  # unreachable, throttled or slow: try again
    BAD_ANSWER = "bad answer"  # an upstream answered wrongly, or refused our credential
    LOOP = "loop"  # the question comes back to this server
    CONFIGURATION = "configuration"  # only the operator can fix it
    INTERNAL = "internal"


class WheelgateError(Exception):
    """The base of every error people may see; ``str()`` is the sentence."""

    kind = ErrorKind.INTERNAL


AnyError = TypeVar("AnyError", bound=WheelgateError)


def without_frames(error: AnyError) -> AnyError:
    """Take an error's traces away: their frames hold what was being read, and would for as long as anybody has the error."""
    error.__context__ = None
    return error.with_traceback(None)


class ProjectNotFound(WheelgateError):
    """Definite absence: the source was heard and does not have the project.

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
        """Keep what is known of the answer.

        Args:
            message: the sentence.
            outage_since: when the source became unreachable, aware UTC; ``None``: it was heard just now.
            last_heard: when it said this, aware UTC; ``None``: just now.
            fresh_until: monotonic seconds; until then the negative cache answers. By default never.
        """
        super().__init__(message)
        self.outage_since = outage_since
        self.last_heard = last_heard
        self.fresh_until = fresh_until


class FileNotListed(WheelgateError):
    """A file that is not on the project's page, and so cannot be downloaded either."""

    kind = ErrorKind.NOT_FOUND


class CompanionNotFound(WheelgateError):
    """A listed file without the core metadata, or the provenance object, that was asked for."""

    kind = ErrorKind.NOT_FOUND


class FileWithheld(WheelgateError):
    """A file that exists and that a rule withholds; the sentence names the rule and the remedy."""

    kind = ErrorKind.WITHHELD


class ProjectWithheld(FileWithheld):
    """A project of which rules withhold every file. ``withheld``: file name to the sentence for it."""

    def __init__(self, message: str, withheld: Mapping[str, str]) -> None:
        super().__init__(message)
        self.withheld = withheld


class UpstreamError(WheelgateError):
    """A source that could not be heard. Nothing may be concluded about what it has.

    ``retry_after_s``: seconds after which it asked to be asked again; ``None``: it did not say.
    """

    kind = ErrorKind.UNAVAILABLE

    def __init__(self, message: str, *, source: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.source = source
        self.retry_after_s = retry_after_s
        self.answer: object = None
        """The answer itself, where it may mean something to those who know the upstream; ``None``: it means nothing else."""


class UpstreamUnavailable(UpstreamError):
    """An upstream that is unreachable, throttled, too slow or broken: the same request may succeed in a moment."""


class Busy(UpstreamUnavailable):
    """A question that this server had no time, connection or memory for. It says nothing of the source."""


class FailedBelow(UpstreamUnavailable):
    """A Wheelgate that answers, and that was itself answered wrongly, or refused, by a source of its own: in its words.

    It was asked well and answered well, so nothing is held against it, and it is not asked again at once.
    """

    kind = ErrorKind.BAD_ANSWER


class RefusedByRule(UpstreamError):
    """An upstream whose own rule withholds what was asked for, in its words: a Wheelgate's, Artifactory's or Nexus's.

    It was heard, and its rule holds: neither a credential nor another attempt changes it, and what it said before does not stand
    in for it. Whether it has the project is unknown all the same: one that is offline says so too.
    """

    kind = ErrorKind.WITHHELD


class UpstreamBadAnswer(UpstreamError):
    """An answer that is not an index's: wrong type, cut short, too large, wrong digest, a sign-in page."""

    kind = ErrorKind.BAD_ANSWER


class LoopDetected(UpstreamBadAnswer):
    """A source that is this server, or asks it in turn. ``chain``: the marks of the servers on the way; empty: not said."""

    kind = ErrorKind.LOOP

    def __init__(self, sentence: str, *, source: str = "", chain: str = "") -> None:
        super().__init__(sentence, source=source)
        self.chain = chain


class NotHeld(UpstreamError):
    """A miss of an offline source, which has no copy and is not asked. Whether it has the project is unknown, for good.

    403, as for what a rule withholds: the rule is ``offline``. 404 would be a definite absence, and let a client's next index
    answer; 503 would have it try again.
    """

    kind = ErrorKind.WITHHELD


def advise_mirroring(project: str) -> str:
    """Say how a project comes to a server that is offline."""
    return (
        f"mirror it where there is a network (wheelgate mirror --project {project} --to ...) into a source of this server, "
        "or build once online"
    )


class CredentialRefused(UpstreamBadAnswer):
    """An upstream that refused our credential, or wants one that no connection provides."""


class NotSaved(CredentialRefused):
    """A feed that has saved no version of a project, asked by an identity that may not have it save one.

    Whether its upstreams have the project is unknown. That it has no version of its own is certain.
    """


class AddressRefused(UpstreamBadAnswer):
    """A link or redirect to an address that this source may not reach."""


class PageTooLarge(UpstreamBadAnswer):
    """A page of more bytes, or of more entries, than any index page is."""


class StoreError(WheelgateError):
    """A store that could not be read or written."""

    kind = ErrorKind.UNAVAILABLE


class BlobNotFound(StoreError):
    """Definite absence of a blob of that path."""

    kind = ErrorKind.NOT_FOUND


class BlobDamaged(StoreError):
    """A blob that is there and cannot be believed: damaged facts, too large, a link, unreadable. The others are as good as ever.

    Nothing may be concluded about what it said; above all not that there is no such blob.
    """


class BlobExists(StoreError):
    """A lost create-if-absent: there is a blob already."""

    kind = ErrorKind.CONFLICT


class BlobChanged(StoreError):
    """A lost compare-and-swap: somebody else changed the blob since it was read."""

    kind = ErrorKind.CONFLICT


class StoreFull(StoreError):
    """A disk, a quota or a limit of this process without room for more. Reading goes on, and so does what makes room.

    The message is the operator's, with the folder; ``public`` is the same for anybody else.
    """

    kind = ErrorKind.FULL

    def __init__(self, what: str, folder: object) -> None:
        """``what`` is full: ``the spool``. ``folder``: where room has to be made."""
        super().__init__(f"{what} is full: make room at {folder}")
        self.public = f"{what} is full: whoever runs this server has to make room"


class StillListing(StoreError):
    """A source that is being listed for the first time. Nothing may be concluded about what it has, and it will soon be known.

    ``wait``: awaits the end of that listing.
    """

    def __init__(self, message: str, *, wait: Callable[[], Awaitable[object]]) -> None:
        super().__init__(message)
        self.wait = wait


class UploadRefused(WheelgateError):
    """An upload that cannot be accepted as it is."""

    kind = ErrorKind.INVALID


class FileExists(UploadRefused):
    """An upload whose file name is taken by other bytes. The sentence begins as PyPI's does: upload tools look for it."""

    kind = ErrorKind.CONFLICT


class NameTaken(UploadRefused):
    """An upload to a project that another source answers for."""

    kind = ErrorKind.CONFLICT


class TooLarge(WheelgateError):
    """More bytes than a limit allows."""

    kind = ErrorKind.TOO_LARGE


class Unauthenticated(WheelgateError):
    """A caller without a token, or with one that is unknown."""

    kind = ErrorKind.UNAUTHENTICATED


class Forbidden(WheelgateError):
    """A caller whose token is known and lacks this right."""

    kind = ErrorKind.FORBIDDEN


class ConfigurationError(WheelgateError):
    """One or more settings are wrong; ``problems`` holds a sentence each, beginning with the key path."""

    kind = ErrorKind.CONFIGURATION

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class BadInput(WheelgateError):
    """An input of `mirror` or `rewrite` that cannot be used; the sentence names the file and, where there is one, the line."""

    kind = ErrorKind.INVALID


class Unresolvable(WheelgateError):
    """Requirements that no set of versions, or no file of a version, satisfies."""

    kind = ErrorKind.NOT_FOUND
