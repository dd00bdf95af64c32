"""File descriptors: how many this process may have, raised at start as far as is sensible."""

from __future__ import annotations

_SENSIBLE = 65_536  # more would be used by nobody, and some systems say "without limit"


def raise_descriptor_limit() -> int | None:
    """Raise the soft limit to the hard one, to 65,536 at most; the limit now, ``None`` where there is none to read."""
    try:
        import resource
    except ImportError:  # not POSIX
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _SENSIBLE if hard == resource.RLIM_INFINITY else min(hard, _SENSIBLE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return _SENSIBLE if soft == resource.RLIM_INFINITY else soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):  # macOS names a hard limit above what its kernel grants
        return soft
    return wanted
