"""The Simple API (PEP 503, 592, 629, 658, 691, 700, 714, 740, 792): bytes to model and back. Pure."""

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "application/vnd.pypi.simple.v1+html"
LEGACY_HTML = "text/html"
API_VERSION = "1.4"
"""The version that we fully produce. 1.5 adds namespaces (PEP 752), which a merging index cannot answer for."""
API_VERSION_WITHOUT_SIZES = "1.0"
"""The version of a page in JSON of which a file's size is not known: 1.1 demands one of each (PEP 700), and what reads a page by
its version refuses the whole of it. Keys of later versions may stand there all the same: clients skip those they do not know."""
