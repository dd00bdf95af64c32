"""Azure Artifacts feed: an index with a Simple API and habits of its own."""

from __future__ import annotations

import re

from wheelgate.core.errors import UpstreamBadAnswer
from wheelgate.sources.simple_index import SimpleIndex
from wheelgate.upstream.answers import PageAnswer

# Azure DevOps then says 401 instead of redirecting to its sign-in page, which a client would take for an empty index.
DEVOPS_HEADERS = {"X-TFS-FedAuthRedirect": "Suppress"}
# What it says of a feed, view or project of Azure DevOps that is missing, or hidden from us.
_NO_FEED = re.compile(rb"FeedIdNotFound|FeedNotFound|FeedViewNotFound|feed with ID|ProjectDoesNotExist|TF200016|VS800075")


class DevopsFeed(SimpleIndex):
    """A :class:`~wheelgate.core.protocols.Source` on a feed.

    Its links are taken as they are: they name the feed by identifiers and drop zeros of versions, so that nobody could build
    them. It is never asked with HEAD, offers no core metadata, and says ``no-store`` of pages that hardly change.
    """

    def _check_absence(self, project: str, answer: PageAnswer) -> None:
        """A 404 of the feed itself says nothing about what is in it."""
        if _NO_FEED.search(answer.body):
            raise UpstreamBadAnswer(
                f"source {self.name}, asked for {project}, answered that there is no such feed: are organisation, project, feed "
                "and view in its url right, and may the identity see them?",
                source=self.name,
            )
