"""How many descriptors a process may have: users' sockets need more than the 1,024 that many systems begin with."""

from __future__ import annotations


def raise_descriptor_limit() -> int | None:
    """Raises this process' soft limit to its hard one; children inherit it. The limit now, None where there is none."""
    try:
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ImportError, OSError, ValueError):  # not allowed here: what there is has to do
        return None
    return None if hard == resource.RLIM_INFINITY else hard
