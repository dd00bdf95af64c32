"""The Simple API (PEP 503, 592, 629, 658, 691, 700, 714, 740, 792): bytes to model and back. Pure."""

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "application/vnd.pypi.simple.v1+html"
LEGACY_HTML = "text/html"
API_VERSION = "1.4"
"""The version that we fully produce. 1.5 adds namespaces (PEP 752), which a merging index cannot answer for."""
