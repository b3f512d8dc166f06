"""Limits that the system sets to this process."""

import resource
from contextlib import contextmanager


@contextmanager
def file_limit(size):
    """Let the system break off a write in the middle."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
